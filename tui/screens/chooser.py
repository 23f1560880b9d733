"""Which run to open: those that train now, those that were recorded, or how to start one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from rich.text import Text
from textual import on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from ..themes import THEMES, palette_for

HOW_TO_START = """\
Nothing trains here with lsmon, and nothing has been recorded yet.

A demo that groks within two minutes:

    lsmon demo

In your own training:

    from lsmon.probe import Probe

    probe = Probe(model, optimizer, loss_fn)
    probe.step(loss, batch)          # once a step

A recording, or a run on another machine:

    lsmon replay PATH
    lsmon HOST:
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of the list; ``value`` is the caller's own."""

    name: str
    host: str = ""
    state: str = ""
    """In words: "training, step 41 200", "ended", "ended early"."""
    age: str = ""
    """When it started, in words: "12 min ago"."""
    value: object = None


class ChooserApp(App["Choice | None"]):
    """Lists runs; returns the chosen one, or None."""

    CSS_PATH = "../lsmon.tcss"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "quit", "Quit", tooltip="Choose nothing", id="quit"),
    ]

    def __init__(self, live: Sequence[Choice], recorded: Sequence[Choice]) -> None:
        super().__init__()
        self._live, self._recorded = live, recorded
        self._listed: list[Choice] = []
        for theme, _ in THEMES.values():
            self.register_theme(theme)
        self.theme = "lsmon-dark"

    def compose(self) -> ComposeResult:
        style = palette_for(self.current_theme).style
        with Vertical(id="chooser"):
            yield Static(Text("lsmon", style("faint")), id="chooser-title")
            if not self._live and not self._recorded:
                yield Static(Text(HOW_TO_START, style("ink")), id="how-to-start")
            else:
                yield OptionList(*self._options(), id="runs")
            yield Static(Text("enter open   q quit", style("faint")), id="chooser-keys")

    def _options(self) -> list[Option]:
        style = palette_for(self.current_theme).style
        options = []
        for title, choices, ink in (("live", self._live, "good"), ("recorded", self._recorded, "dim")):
            if not choices:
                continue
            options.append(Option(Text(title, style("faint")), disabled=True))
            for choice in choices:
                line = Text("● " if ink == "good" else "■ ", style(ink))
                line.append(choice.name, style("bold ink"))
                line.append(f" @ {choice.host}" if choice.host else "", style("dim"))
                for part in (choice.state, choice.age):
                    line.append(f"   {part}" if part else "", style("dim"))
                line.no_wrap, line.overflow = True, "ellipsis"
                options.append(Option(line, id=str(len(self._listed))))
                self._listed.append(choice)
        return options

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        if event.option.id is not None:
            self.exit(self._listed[int(event.option.id)])


def choose(live: Sequence[Choice], recorded: Sequence[Choice]) -> Choice | None:
    """Opens the list on the terminal; None when the person chose nothing."""
    return ChooserApp(live, recorded).run()
