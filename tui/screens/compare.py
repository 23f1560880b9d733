"""Two runs or more, or what followed two steps of one, laid over one another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType

from ..feed import Feed
from ..side import ALIGNMENTS, Side, called, common_names, sides_of
from ..widgets.drawn import Drawn
from ..widgets.ground import Ground, Patch
from ..widgets.key_line import KeyLine
from ..widgets.overlay import MOST_SIDES, OverlayPanel
from ..widgets.progress import Progress
from ..widgets.sides import COLUMNS, SidesPanel

_KEYS = (("?", "help"), ("pgdn", "more"), ("y", "log"), ("enter", "enlarge"), ("x", "align"), ("esc", "back"))
_WORDS = {
    "step": "aligned by step",
    "time": "aligned by time",
    "loss": "aligned by the best loss",
}
_PANELS = 6
_FIRST = (*COLUMNS, "train/acc", "grad/norm", "update/ratio", "lr")


class CompareScreen(Ground):
    """Owns the feeds of the sides and turns them; what lives goes on here too."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,backspace", "back", "Back", tooltip="All plots again, then back", id="compare_leave"),
        Binding("x", "align", "Align", tooltip="Align by step, time or loss", id="compare_align"),
        Binding("y", "log", "Log", tooltip="Logarithmic or linear axis", id="compare_log"),
        Binding("enter", "enlarge", "Enlarge", tooltip="One quantity over the whole screen", id="compare_enlarge"),
        Binding("pagedown,n", "turn(1)", "More", tooltip="The next quantities", id="compare_more"),
        Binding("pageup,N", "turn(-1)", "Before", tooltip="The quantities before", id="compare_before"),
        Binding("question_mark,h", "app.help", "Help", key_display="?", tooltip="Keys and quantities", id="compare_help"),
    ]  # fmt: skip

    def __init__(
        self,
        feeds: Sequence[Feed],
        *,
        origins: Sequence[int] = (),
        fps: float = 4.0,
        ascii_only: bool = False,
        mine: bool = True,
    ) -> None:
        """``origins``: steps of the one feed that are compared. ``mine``: the feeds are turned and closed here."""
        super().__init__()
        self._feeds, self._origins, self._mine = list(feeds), tuple(origins), mine
        self._fps, self._ascii = fps, ascii_only
        self._how, self._page, self._large = ALIGNMENTS[0], 0, False
        if mine:
            for feed in self._feeds:
                feed.seek_last()

    def compose(self) -> ComposeResult:
        yield SidesPanel("compared")
        yield Patch(*(OverlayPanel(f"overlay {i}") for i in range(_PANELS)), id="overlays")
        yield Progress()
        yield KeyLine(_KEYS, [self.BINDINGS])

    def on_mount(self) -> None:
        for widget in self.query(Drawn):
            widget.ascii_only = self._ascii
        self.set_interval(1 / self._fps, self.tick)
        self.call_after_refresh(self.tick)

    def on_unmount(self) -> None:
        if self._mine:
            for feed in self._feeds:
                feed.source.close()

    def on_resize(self) -> None:
        self.call_after_refresh(self.show)

    @property
    def sides(self) -> list[Side]:
        if self._origins:
            view = self._feeds[0].view
            return [Side(called(view), view, origin) for origin in self._origins]
        return sides_of(self._feeds)

    def tick(self) -> None:
        if self._mine:
            for feed in self._feeds:
                feed.tick(0.5 / max(len(self._feeds), 1) / self._fps)
        self.show()

    def show(self) -> None:
        if not (self.app.is_running and self.display):  # it is taken down, its widgets first
            return
        sides = self.sides
        shown = self._arranged(sides)
        with self.app.batch_update():
            self.query_one(SidesPanel).tell(sides, self._how)
            for panel, name in shown:
                panel.tell(name, sides, self._how)
            waiting = [called(feed.view) for feed in self._feeds if not feed.view.seq]
            self.query_one(Progress).tell(
                f"reading {', '.join(waiting)}" if waiting else "",
                len(self._feeds) - len(waiting),
                len(self._feeds),
            )
            self.query_one(KeyLine).tell(self._said(sides))

    def _said(self, sides: Sequence[Side]) -> str:
        words = [_WORDS[self._how]]
        if len(sides) > MOST_SIDES:
            words.append(f"the first {MOST_SIDES} of {len(sides)} are drawn")
        trouble = [feed.trouble for feed in self._feeds if feed.trouble]
        names = self._names(sides)
        if len(names) > self._room:
            first, last = self._first + 1, min(self._first + self._room, len(names))
            which = f"quantity {first}" if first == last else f"quantities {first} to {last}"
            words.append(f"{which} of {len(names)}")
        return ", ".join([*trouble, *words])

    def _names(self, sides: Sequence[Side]) -> list[str]:
        names = [name for name in common_names(sides) if name not in ("regime", "probe/share")]
        return sorted(names, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))

    @property
    def _room(self) -> int:
        if self._large:
            return 1
        rows = max((self.size.height - 6) // 9, 1)
        return min(self._columns * min(rows, 2), _PANELS)

    @property
    def _columns(self) -> int:
        return 1 if self.size.width < 70 else 2 if self.size.width < 130 else 3

    @property
    def _first(self) -> int:
        return self._page * self._room

    def _arranged(self, sides: Sequence[Side]) -> Iterable[tuple[OverlayPanel, str]]:
        """Places the panels, and gives each with its quantity."""
        names, room = self._names(sides), self._room
        self._page = min(self._page, max((len(names) - 1) // room, 0))
        wanted = names[self._first : self._first + room]
        table = self.query_one(SidesPanel)
        tall = min(table.height_wanted, max(self.size.height // 3, 3))
        table.styles.height = tall
        height, width = max(self.size.height - tall - 2, 0), self.size.width
        columns = min(self._columns, max(len(wanted), 1))
        rows = max(-(-len(wanted) // columns), 1)
        shown = []
        for index, panel in enumerate(self.query(OverlayPanel)):
            panel.display = index < len(wanted) and height >= 4
            if not panel.display:
                continue
            column, row = index % columns, index // columns
            left, right = width * column // columns, width * (column + 1) // columns
            top, bottom = height * row // rows, height * (row + 1) // rows
            panel.styles.offset = (left, top)
            panel.styles.width, panel.styles.height = right - left, bottom - top
            shown.append((panel, wanted[index]))
        return shown

    def action_back(self) -> None:
        if self._large:
            self.action_enlarge()
        else:
            self.dismiss(None)

    def action_align(self) -> None:
        self._how = ALIGNMENTS[(ALIGNMENTS.index(self._how) + 1) % len(ALIGNMENTS)]
        if self._how == "time" and any(feed.view.header.untimed for feed in self._feeds):
            self._how = ALIGNMENTS[-1]
        self.show()

    def action_log(self) -> None:
        for panel in self.query(OverlayPanel):
            if panel.display and (panel.has_focus or self._large or self.focused is None):
                panel.toggle_log()
        self.show()

    def action_enlarge(self) -> None:
        panels = [panel for panel in self.query(OverlayPanel) if panel.display]
        chosen = next((i for i, panel in enumerate(panels) if panel.has_focus), 0)
        first = self._first
        self._large = not self._large
        self._page = first + chosen if self._large else first // max(self._room, 1)
        self.call_after_refresh(self.show)

    def action_turn(self, by: int) -> None:
        self._page = max(self._page + by, 0)
        self.show()
