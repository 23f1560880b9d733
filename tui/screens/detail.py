"""The quantities of a panel one by one, with their definitions: temperature and volume first."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from ..widgets.detail import DetailPanel, section_of
from ..widgets.panel import Scene
from .dashboard import Dashboard
from .page import Page
from .watching import Keys


class DetailPage(Page):
    """Opens on the panel that keys act on."""

    OWN_KEYS: ClassVar[Keys] = (("?", "help"), ("↑ ↓", "scroll"), ("c", "next"), ("esc", "back"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "section", "Next", tooltip="The next group of quantities", id="detail_section"),
    ]

    def body(self) -> Iterable[Widget]:
        bottom = self.app.screen_stack[0]
        panel = bottom.chosen_panel() if isinstance(bottom, Dashboard) else None
        yield DetailPanel("detail", section_of(str(panel.name)) if panel is not None else "")

    def on_mount(self) -> None:
        self.query_one(DetailPanel).focus()

    def renew(self) -> None:
        self.query_one(DetailPanel).show(Scene(self.view, (), {}, self._ascii, over=self.over))

    def action_section(self) -> None:
        self.query_one(DetailPanel).turn()
