"""The dashboard: its tick turns the feed, one view goes to every panel, keys act on a panel or open a page."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from lsmon.protocol.counts import grouped
from lsmon.protocol.frames import Alert
from lsmon.protocol.names import quantity

from ..abscissa import Abscissa
from ..feed import Feed
from ..lens import Lens
from ..remembered import Remembered
from ..view import View
from ..widgets.bars import Bar, ReplayBar
from ..widgets.curve import CurvePanel
from ..widgets.ground import Patch
from ..widgets.layout import ORDER, enlarged, holds_strip, pages
from ..widgets.panel import Panel, Scene
from ..widgets.phases import PhaseStrip
from .ask import Ask, no_regex
from .looking import Looking
from .panels import HIDDEN, by_panel, matching_panels, panel_of, present_panels, reading_order
from .watching import Keys


class Dashboard(Looking):
    """Everything about one run on one screen."""

    OWN_KEYS = (
        ("enter", "enlarge"),
        ("y", "log"),
        ("d", "detail"),
        ("l", "layers"),
        ("s", "spectrum"),
        ("a", "alerts"),
        ("r", "runs"),
        ("?", "help"),
        ("q", "quit"),
    )

    class InVain(Message):
        """There is nothing to watch: the source gave up before anything came from it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.leave", "Quit", tooltip="Leave; the training goes on", id="quit"),
        Binding(
            "slash", "filter", "Filter", key_display="/", tooltip="Only quantities that match", id="filter"
        ),
        Binding("y", "log", "Log", tooltip="Logarithmic or linear axis", id="log"),
        Binding(
            "enter", "enlarge", "Enlarge", tooltip="The focused panel over the whole screen", id="enlarge"
        ),
        Binding(
            "pagedown",
            "turn(1)",
            "More panels",
            show=False,
            tooltip="Panels for which there is no room here",
            id="more_panels",
        ),
        Binding(
            "pageup",
            "turn(-1)",
            "Panels before",
            show=False,
            tooltip="Back to the panels before",
            id="panels_before",
        ),
        Binding("escape", "shrink", "Back", tooltip="All panels again", id="shrink", show=False),
        *(
            Binding(
                str(i),
                f"enlarge({i})",
                f"Panel {i}",
                show=False,
                tooltip="Enlarge this panel",
                id=f"panel_{i}",
            )
            for i in range(1, 10)
        ),
    ]

    def __init__(
        self, feed: Feed, *, fps: float, ascii_only: bool = False, recalled: Remembered | None = None
    ) -> None:
        """``recalled``: how it was left the last time."""
        super().__init__(feed, ascii_only=ascii_only)
        self._fps = fps
        self._panels: dict[str, Panel] = {}
        self._present: tuple[str, ...] = ()
        self._known: frozenset[str] = frozenset()
        self._names: dict[str, list[str]] = {}
        recalled = recalled or Remembered()
        self.lens = recalled.lens
        self._logs = dict(recalled.log)
        self._large = recalled.large if recalled.large in ORDER else ""
        self._page = self._pages = 0
        """Which of the pages of panels is shown, and how many there are."""
        self._scene: Scene | None = None
        self._shown: tuple[View, tuple[Alert, ...], bool] | None = None
        self._only: re.Pattern[str] | None = None
        self._sifted: tuple[View, View] | None = None

    def take(self, feed: Feed) -> None:
        """Show another run from now on."""
        self.feed = feed
        self._present, self._known, self._names, self._large, self._shown = (), frozenset(), {}, "", None
        self._page, self._scene = 0, None
        self.query_one(ReplayBar).display = feed.seekable is not None
        self._arrange()
        self.tick()

    def body(self) -> Iterable[Widget]:
        yield Patch(*(self._made(name) for name in ORDER), id="panels")

    def _made(self, name: str) -> Panel:
        panel = panel_of(name)
        if isinstance(panel, CurvePanel):
            panel.scale_log = self._logs.get(name)
        panel.display = False
        self._panels[name] = panel
        return panel

    def on_mount(self) -> None:
        self.set_interval(1 / self._fps, self.tick)
        self.call_after_refresh(self.tick)  # what is there already follows the first paint at once

    def tick(self) -> None:
        super().tick()
        if self.feed.vain and self.is_current:
            self.post_message(self.InVain())

    def on_resize(self) -> None:
        self.call_after_refresh(self._arrange)

    def on_screen_suspend(self) -> None:
        """Behind a page the view grows old, and an old one keeps alive what has been folded and thinned since."""
        self._shown = self._sifted = self._scene = None
        for drawn in (*self._panels.values(), *self.query(Bar)):
            drawn.forget()

    def renew(self) -> None:
        view = self._filtered(self.view)
        alerts = (*view.alerts, *self.feed.own)
        ended = self.over
        if self._shown is not None and self._shown[0] is view and self._shown[1:] == (alerts, ended):
            return
        self._shown = (view, alerts, ended)
        if view.series.keys() != self._known:
            self._known, self._names = frozenset(view.series), by_panel(view.series)
        present = present_panels(view, self._names) if self._only is None else matching_panels(self._names)
        if present != self._present:
            self._present = present
            self._arrange()
        over = Abscissa.of(view, self.lens.kind)
        self._scene = Scene(view, alerts, self._names, self._ascii, self.lens, over, ended)
        for panel in self._panels.values():
            if panel.display:
                panel.show(self._scene)

    def _arrange(self) -> None:
        """Give every panel its place, or none."""
        body = self.query_one("#panels")
        width, height = self.size
        bars = 3 if self.feed.seekable is not None else 2
        strip = holds_strip(width, height - bars, self._present)
        self.query_one(PhaseStrip).display = strip
        height -= bars + strip
        if width < 1 or height < 1:
            return
        book = pages(width, height, self._present)
        self._pages = len(book)
        self._page = min(self._page, self._pages - 1)
        page, large = book[self._page], self._large
        places = enlarged(width, height, large) if large else page
        if new := [name for name in places if name not in self._panels]:
            body.mount(*(self._made(name) for name in new))
        numbered = {name: i for i, name in enumerate(reading_order(page), 1)}
        for name, panel in self._panels.items():
            place = places.get(name)
            panel.display = place is not None
            panel.number = numbered.get(name, 0) if numbered.get(name, 0) <= 9 else 0
            if place is None:
                panel.forget()
                continue
            if self._scene is not None:
                panel.show(self._scene)
            panel.boxed = place.boxed
            panel.styles.offset = (place.region.x, place.region.y)
            panel.styles.width, panel.styles.height = place.region.width, place.region.height
            panel.ascii_only = self._ascii

    @property
    def sifted(self) -> View:
        return self._filtered(self.view)

    def _filtered(self, view: View) -> View:
        """With those quantities alone whose name or label the filter finds."""
        only = self._only
        if only is None:
            return view
        if self._sifted is None or self._sifted[0] is not view:
            kept = {
                name: track
                for name, track in view.series.items()
                if only.search(name) or only.search(quantity(name).label)
            }
            self._sifted = view, replace(view, series=kept)
        return self._sifted[1]

    def words(self) -> str:
        """What a person must know of the filter, and of what else is not as usual."""
        # A run without tokens is drawn over its steps, whatever was chosen for the last one.
        lens = replace(self.lens, kind=Abscissa.of(self.view, self.lens.kind).kind)
        said = [lens.words(self.view.step)]
        if self._only is not None:
            found, every = len(self._filtered(self.view).series), len(self.view.series)
            said.insert(0, f"filter {self._only.pattern}: {found} of {grouped(every)} names")
        if self._page and not self._large:
            said.append(f"page {self._page + 1} of {self._pages}")
        return ", ".join(filter(None, said))

    @property
    def own_keys(self) -> Keys:
        if self._large or self._pages < 2:
            return self.OWN_KEYS
        turns = ("pgup", "back") if self._page == self._pages - 1 else ("pgdn", "more")
        return (*self.OWN_KEYS[:-2], turns, *self.OWN_KEYS[-2:])

    @property
    def hidden(self) -> tuple[str, ...]:
        if self._large or self._page:
            return ()
        placed = {name for name, panel in self._panels.items() if panel.display}
        return tuple(name for name in self._names if name not in placed and name not in HIDDEN)

    def look(self, lens: Lens) -> None:
        self.lens, self._shown = lens, None
        self.show()

    def dots(self) -> int:
        panel = self._chosen()
        return panel.dots if isinstance(panel, CurvePanel) else 2 * self.size.width

    # Keys.

    def action_filter(self) -> None:
        said = self._only.pattern if self._only else ""
        self.app.push_screen(Ask("filter", value=said, refuse=no_regex), self._filter)

    def _filter(self, typed: str | None) -> None:
        if typed is not None:
            self._only = re.compile(typed, re.IGNORECASE) if typed else None
            self._sifted = self._shown = None
            self._large, self._page = "", 0
            self.show()

    def chosen_panel(self) -> Panel | None:
        if self._large:
            return self._panels[self._large]
        return super().chosen_panel()

    def remembered(self, theme: str) -> Remembered:
        chosen = {
            name: panel.scale_log
            for name, panel in self._panels.items()
            if isinstance(panel, CurvePanel) and panel.scale_log is not None
        }
        lens = self.lens
        return Remembered(
            theme=theme, large=self._large, log=chosen,
            over=lens.kind, smoothing=lens.smoothing, usual=lens.usual, blocks=lens.blocks,
        )  # fmt: skip

    def action_log(self) -> None:
        panel = self._chosen()
        if isinstance(panel, CurvePanel):
            panel.toggle_log()

    def _chosen(self) -> Panel:
        """The enlarged panel, else the focused one, else the loss."""
        panel = self.chosen_panel()
        return self._panels["loss"] if panel is None else panel

    def action_enlarge(self, number: int = 0) -> None:
        numbered = {panel.number: name for name, panel in self._panels.items() if panel.number}
        name = numbered.get(number, "") if number else str(self._chosen().name)
        if name:
            self._large = "" if self._large == name else name
            self._panels[name].focus()
            self._arrange()
            self.show()

    def action_turn(self, by: int) -> None:
        if not self._large:
            self._page = min(max(self._page + by, 0), self._pages - 1)
            self._arrange()
            self.show()

    def action_shrink(self) -> None:
        if self._large and self.lens.cursor is None:
            self._large = ""
            self._arrange()
            self.show()
        elif not self.unlook():
            self.set_focus(None)
            self.action_turn(-self._page)
