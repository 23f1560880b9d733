"""Commands found by name: Textual's palette, which pages only through a list that is there."""

from __future__ import annotations

from textual.command import CommandList, CommandPalette


class Palette(CommandPalette):
    """The palette of commands, and of themes."""

    def _action_command_list(self, action: str) -> None:
        # OptionList pages by its lines, and has none before its first layout: the key would end the app.
        if not action.startswith("page_") or self.query_one(CommandList).scrollable_content_region:
            super()._action_command_list(action)
