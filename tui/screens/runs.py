"""The runs there are: on this machine and on the hosts that were named; open one, or lay several over one another."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Static
from textual.worker import get_current_worker

from lsmon.protocol.errors import LsmonError
from lsmon.protocol.sources.source import Source

from ..catalog import Found, Listed, search, source_of
from ..widgets.canvas import plain
from ..widgets.drawn import Drawn
from ..widgets.ground import Ground
from ..widgets.key_line import KeyLine
from ..widgets.progress import Progress
from ..widgets.run_list import RunList
from .ask import Ask, no_regex

if TYPE_CHECKING:
    from lsmon.protocol.wire.carrier import Carrier

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

AGAIN_SECS = 10.0
"""Between two looks at what is there."""
_KEYS = (
    ("?", "help"),
    ("r", "look again"),
    ("/", "filter"),
    ("c", "compare"),
    ("space", "pick"),
    ("enter", "open"),
    ("esc", "back"),
)


class RunsScreen(Ground):
    """Fills while it looks; what it knows already can be opened meanwhile."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Back", tooltip="All runs again, then as q", id="runs_back"),
        Binding("q,backspace", "app.leave_runs", "Leave", tooltip="Back to the run, or leave", id="runs_leave"),
        Binding("enter", "open", "Open", tooltip="Open the chosen run", id="runs_open"),
        Binding("c", "compare", "Compare", tooltip="Lay the picked runs over one another", id="runs_compare"),
        Binding("slash", "filter", "Filter", key_display="/", tooltip="Only those that match", id="runs_filter"),
        Binding("r", "again", "Look again", tooltip="Look again at what is there", id="runs_again"),
        Binding("question_mark,h", "app.help", "Help", key_display="?", tooltip="Keys and quantities", id="runs_help"),
    ]  # fmt: skip

    class Step(Message):
        """The search has come a step further."""

        def __init__(self, found: Found) -> None:
            super().__init__()
            self.found = found

    class Ready(Message):
        """What was to be opened is open, and the app's from now on; or will not open, in a sentence."""

        def __init__(self, sources: Sequence[Source], trouble: str = "") -> None:
            super().__init__()
            self.sources, self.trouble = sources, trouble

    class Reading(Message):
        """How far the opening of a recording has come that has to be read for it."""

        def __init__(self, run: str, done: int, total: int) -> None:
            super().__init__()
            self.run, self.done, self.total = run, done, total

    def __init__(
        self,
        hosts: Sequence[tuple[Carrier, str]] = (),
        *,
        here: bool = True,
        ascii_only: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``hosts``: carriers, each with the run that alone is wanted there, or "". ``here``: this machine too."""
        super().__init__()
        self._hosts, self._here, self._ascii = tuple(hosts), here, ascii_only
        self._clock = clock
        self._found: Found | None = None
        self._only: re.Pattern[str] | None = None

    def compose(self) -> ComposeResult:
        said = plain(HOW_TO_START) if self._ascii else HOW_TO_START
        yield Static(said, id="how-to-start", markup=False)
        yield RunList("runs")
        yield Progress()
        yield KeyLine(_KEYS, [self.BINDINGS, RunList.BINDINGS], "warning")

    def on_mount(self) -> None:
        for widget in self.query(Drawn):
            widget.ascii_only = self._ascii
        self.query_one("#how-to-start").display = False
        self.query_one(RunList).focus()
        self.query_one(Progress).tell("looking for runs")
        self.action_again()
        self.set_interval(AGAIN_SECS, self.action_again)

    def action_again(self) -> None:
        self._look()

    @work(thread=True, exclusive=True, group="look", exit_on_error=True)
    def _look(self) -> None:
        worker = get_current_worker()
        for found in search(self._hosts, self._here):
            if worker.is_cancelled:
                return
            self.post_message(self.Step(found))

    @on(Step)
    def _further(self, message: Step) -> None:
        before, found = self._found, message.found
        if before is not None and found.doing:
            # A second look must not take away what the first has read.
            known = {item.key: item for item in before.listed if item.run.loss}
            listed = tuple(known.get(item.key, item) if not item.run.loss else item for item in found.listed)
            theirs = tuple(
                item for item in before.listed if item.carrier and item.key not in {i.key for i in listed}
            )
            found = Found((*listed, *theirs), found.trouble, found.doing, found.done, found.total)
        first = before is None or bool(before.doing)
        self._found = message.found if not message.found.doing else found
        self.query_one(Progress).tell(found.doing if first else "", found.done, found.total)
        if found.trouble:
            self.say(" ".join(found.trouble))
        self.show()

    def show(self) -> None:
        found = self._found
        if found is None:
            return
        runs = self.query_one(RunList)
        runs.tell(found.listed, self._clock(), self._only)
        nothing = not found.listed and not found.doing
        if nothing and self._hosts:
            names = ", ".join(carrier.name for carrier, _ in self._hosts)
            said = Text(f"No runs on {names}." if not found.trouble else "\n".join(found.trouble))
            self.query_one("#how-to-start", Static).update(said)
        self.query_one("#how-to-start").display = nothing
        runs.display = not nothing

    def say(self, words: str) -> None:
        """In the lowest line, until there is something newer."""
        self.query_one(KeyLine).tell(words)

    def action_filter(self) -> None:
        self.app.push_screen(
            Ask("filter", value=self._only.pattern if self._only else "", refuse=no_regex), self._filtered
        )

    def _filtered(self, typed: str | None) -> None:
        if typed is not None:
            self._only = re.compile(typed, re.IGNORECASE) if typed else None
            self.show()

    async def action_back(self) -> None:
        if self._only is not None:
            self._filtered("")
        else:
            await self.run_action("app.leave_runs")

    @on(RunList.Opened)
    def action_open(self) -> None:
        chosen = self.query_one(RunList).chosen
        if chosen is not None:
            self._open([chosen])

    def action_compare(self) -> None:
        runs = self.query_one(RunList)
        picks, chosen = runs.picks, runs.chosen
        if len(picks) == 1 and chosen is not None and chosen.key != picks[0].key:
            picks = [*picks, chosen]
        if len(picks) < 2:
            self.notify(
                "Pick two or more with space, then c lays them over one another.", markup=False, timeout=4
            )
        else:
            self._open(picks)

    def _open(self, items: Sequence[Listed]) -> None:
        self.query_one(Progress).tell("opening " + ", ".join(item.run.name for item in items))
        self._opening(tuple(items))

    @work(thread=True, exclusive=True, group="open")
    def _opening(self, items: Sequence[Listed]) -> None:
        sources: list[Source] = []
        try:
            for item in items:
                sources.append(source_of(item, partial(self._told, item.run.name)))
        except LsmonError as error:
            for source in sources:
                source.close()
            self.post_message(self.Ready((), str(error)))
        else:
            self.post_message(self.Ready(sources))

    def _told(self, run: str, done: int, total: int) -> None:
        self.post_message(self.Reading(run, done, total))

    @on(Reading)
    def _reading(self, message: Reading) -> None:
        self.query_one(Progress).tell(f"opening {message.run}", message.done, message.total)

    @on(Ready)
    def _ready(self, message: Ready) -> None:
        self.query_one(Progress).tell("")
        if message.trouble:
            self.say(message.trouble)
