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

from lsmon.protocol.clean import clean_line

from ..themes import THEMES, palette_for
from ..widgets.canvas import cells, fit

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
    TITLE = "lsmon"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q,escape", "quit", "Quit", tooltip="Choose nothing", id="quit"),
        Binding("ctrl+c,ctrl+q", "quit", show=False, priority=True, tooltip="Choose nothing", id="quit_hard"),
    ]

    def __init__(self, live: Sequence[Choice], recorded: Sequence[Choice], notes: Sequence[str] = ()) -> None:
        super().__init__()
        self._live, self._recorded, self._notes = live, recorded, notes
        self._listed: list[Choice] = []
        for theme, _ in THEMES.values():
            self.register_theme(theme)
        self.theme = "lsmon-dark"

    def compose(self) -> ComposeResult:
        ink = palette_for(self.current_theme).text
        with Vertical(id="chooser"):
            yield Static(Text("lsmon", ink("faint")), id="chooser-title")
            if not self._live and not self._recorded:
                yield Static(Text(HOW_TO_START, ink("ink")), id="how-to-start")
                yield Static(Text("q quit", ink("faint")), id="chooser-keys")
            else:
                yield OptionList(*self._options(), id="runs")
                for note in self._notes:
                    yield Static(Text(clean_line(note), ink("warning")), classes="chooser-note")
                yield Static(Text("enter open   q quit", ink("faint")), id="chooser-keys")

    def _options(self) -> list[Option]:
        ink = palette_for(self.current_theme).text
        every = [*self._live, *self._recorded]
        names = min(max(cells(choice.name) for choice in every), 40)
        hosts = min(max(cells(choice.host) for choice in every), 24)
        states = min(max(cells(choice.state) for choice in every), 40)
        options: list[Option] = []
        for title, choices, sign, colour in (
            ("training now", self._live, "●", "good"), ("recorded", self._recorded, "■", "dim"),
        ):  # fmt: skip
            if not choices:
                continue
            heading = f"\n{title}" if options else title
            options.append(Option(Text(heading, ink("faint")), disabled=True))
            for choice in choices:
                line = Text(f"{sign} ", ink(colour), no_wrap=True, overflow="ellipsis")
                line.append(_padded(choice.name, names), ink("bold ink"))
                line.append(
                    f"  {_padded(choice.host, hosts)}  {_padded(choice.state, states)}  {choice.age}",
                    ink("dim"),
                )
                options.append(Option(line, id=str(len(self._listed))))
                self._listed.append(choice)
        return options

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        if event.option.id is not None:
            self.exit(self._listed[int(event.option.id)])


def _padded(text: str, width: int) -> str:
    text = fit(text, width)
    return text + " " * (width - cells(text))


def choose(live: Sequence[Choice], recorded: Sequence[Choice], notes: Sequence[str] = ()) -> Choice | None:
    """Opens the list on the terminal, with what went wrong below it; None when the person chose nothing."""
    return ChooserApp(live, recorded, notes).run()
