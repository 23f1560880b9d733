"""The dashboard: one tick feeds it, one view goes to every panel, keys act on the feed or on a panel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Container
from textual.screen import Screen

from lsmon.protocol.frames import Alert
from lsmon.protocol.names import quantity

from ..feed import Feed
from ..view import View
from ..widgets.alerts import AlertsPanel
from ..widgets.bars import Header, Moment, ReplayBar, Status
from ..widgets.curve import CurvePanel, Look, NegativePanel
from ..widgets.gauges import GaugesPanel
from ..widgets.layout import ORDER, enlarged, plan
from ..widgets.panel import Panel, Scene

LOOKS = {
    "loss": Look(("loss", "val/loss"), empty="no loss yet: probe.step(loss) sends it"),
    "sharpness": Look(
        ("hessian/max", "hessian/min"), edge="hessian/edge", edge_unless="hessian/preconditioned",
        sensor="curvature", empty="curvature is not measured yet",
    ),
    "preconditioned": Look(edge="hessian/edge", sensor="curvature"),
    "negative curvature": Look(
        ("hessian/negative_at_least",), whole=True, sensor="curvature", empty="curvature is not measured yet",
    ),
    "temperature": Look(
        ("temperature/noise",), spoken=("temperature/thermal_loss",), sensor="temperature",
        empty="temperature is not measured yet",
    ),
    "accuracy": Look(("train/acc", "val/acc"), share=True, empty='none logged: probe.log(**{"val/acc": a})'),
}  # fmt: skip
_HIDDEN = ("probe",)
"""Panels of quantities that the header shows."""
_MOST_OTHERS = 12
_FIRST_GUESS = tuple(name for name in ORDER if name != "accuracy")
"""Shown before the first frame: what the probe measures by itself."""


class Dashboard(Screen[None]):
    """Everything about one run on one screen."""

    AUTO_FOCUS = ""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "app.quit", "Quit", tooltip="Leave; the training goes on", id="quit"),
        Binding("space", "pause", "Pause", tooltip="Live: freeze the eye. Replay: play or pause", id="pause"),
        Binding("l", "log", "Log", tooltip="Logarithmic or linear axis", id="log"),
        Binding(
            "enter", "enlarge", "Enlarge", tooltip="The focused panel over the whole screen", id="enlarge"
        ),
        Binding("escape", "shrink", "Back", tooltip="All panels again", id="shrink", show=False),
        Binding("question_mark,h", "help", "Help", tooltip="Keys and quantities", key_display="?", id="help"),
        Binding("left", "seek_by(-0.01)", "Back 1 %", tooltip="Back by 1 % of the recording", id="back"),
        Binding("right", "seek_by(0.01)", "On 1 %", tooltip="Forward by 1 %", id="forward"),
        Binding(
            "shift+left,left_square_bracket",
            "seek_by(-0.1)",
            "Back 10 %",
            id="far_back",
            tooltip="Back by 10 %",
        ),
        Binding(
            "shift+right,right_square_bracket",
            "seek_by(0.1)",
            "On 10 %",
            id="far_forward",
            tooltip="On by 10 %",
        ),
        Binding("comma", "frame(-1)", "Step back", tooltip="One step back", id="frame_back"),
        Binding("full_stop", "frame(1)", "Frame on", tooltip="One frame forward", id="frame_forward"),
        Binding("minus,less_than_sign", "speed(-1)", "Slower", tooltip="Slower, down to 0.1×", id="slower"),
        Binding(
            "plus,greater_than_sign,equals_sign",
            "speed(1)",
            "Faster",
            tooltip="Faster, up to 1000×",
            id="faster",
        ),
        Binding("n", "seek_alert(1)", "Next alert", tooltip="To the next alert", id="next_alert"),
        Binding("N", "seek_alert(-1)", "Previous alert", tooltip="To the alert before", id="previous_alert"),
        Binding("home", "seek_end(0)", "Start", tooltip="To the first step", id="start"),
        Binding("end", "seek_end(1)", "End", tooltip="To the last step", id="end"),
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

    def __init__(self, feed: Feed, *, fps: float, ascii_only: bool = False) -> None:
        super().__init__()
        self.feed = feed
        self._fps, self._ascii = fps, ascii_only
        self._panels: dict[str, Panel] = {}
        self._present: tuple[str, ...] = ()
        self._known: frozenset[str] = frozenset()
        self._names: dict[str, list[str]] = {}
        self._large = ""
        self._shown: tuple[View, tuple[Alert, ...]] | None = None

    def compose(self) -> ComposeResult:
        yield Header()
        with Container(id="panels"):
            for name in ORDER:
                yield self._made(name)
        yield ReplayBar()
        yield Status()

    def _made(self, name: str) -> Panel:
        panel: Panel
        if name == "alerts":
            panel = AlertsPanel(name)
        elif name == "trainability":
            panel = GaugesPanel(name)
        elif name == "negative curvature":
            panel = NegativePanel(name, LOOKS[name])
        else:
            panel = CurvePanel(name, LOOKS.get(name, Look()))
        panel.display = False
        self._panels[name] = panel
        return panel

    def on_mount(self) -> None:
        self.query_one(ReplayBar).display = self.feed.seekable is not None
        self.set_interval(1 / self._fps, self.tick)
        # Draw at once, read afterwards: the first paint waits for no source.
        self._show()

    def on_resize(self) -> None:
        self.call_after_refresh(self._arrange)

    # The tick.

    def tick(self) -> None:
        """Feed, then show what has changed."""
        self.feed.tick()
        self._show()

    def _show(self) -> None:
        feed, view = self.feed, self.feed.view
        alerts = (*view.alerts, *feed.silences)
        moment = Moment(
            view, feed.link, feed.age, feed.paused, feed.newest.step - view.step, feed.timeline, feed.trouble,
            self._ascii,
        )  # fmt: skip
        with self.app.batch_update():
            for bar in (Header, Status, ReplayBar):
                self.query_one(bar).show(moment)
            if self._shown is not None and self._shown[0] is view and self._shown[1] == alerts:
                return
            self._shown = (view, alerts)
            if view.series.keys() != self._known:
                self._known, self._names = frozenset(view.series), by_panel(view.series)
            present = present_panels(view, self._names)
            if present != self._present:
                self._present = present
                self._arrange()
            scene = Scene(view, alerts, self._names, self._ascii)
            for panel in self._panels.values():
                panel.show(scene)

    def _arrange(self) -> None:
        """Give every panel its place, or none."""
        body = self.query_one("#panels")
        width, height = body.size
        new = [name for name in self._present if name not in self._panels]
        if new:
            body.mount(*(self._made(name) for name in new))
        if not width or not height:
            return
        large = self._large
        places = enlarged(width, height, large) if large else plan(width, height, self._present)
        numbered = {name: i for i, name in enumerate(reading_order(plan(width, height, self._present)), 1)}
        for name, panel in self._panels.items():
            place = places.get(name)
            panel.display = place is not None
            panel.number = numbered.get(name, 0) if numbered.get(name, 0) <= 9 else 0
            if place is None:
                continue
            panel.boxed = place.boxed
            panel.styles.offset = (place.region.x, place.region.y)
            panel.styles.width, panel.styles.height = place.region.width, place.region.height
            panel.ascii_only = self._ascii

    # Keys.

    def action_pause(self) -> None:
        self.feed.toggle_pause()
        self._show()

    def action_log(self) -> None:
        panel = self._chosen()
        if isinstance(panel, CurvePanel):
            panel.toggle_log()

    def _chosen(self) -> Panel:
        """The enlarged panel, else the focused one, else the loss."""
        if self._large:
            return self._panels[self._large]
        return self.focused if isinstance(self.focused, Panel) else self._panels["loss"]

    def action_enlarge(self, number: int = 0) -> None:
        numbered = {panel.number: name for name, panel in self._panels.items() if panel.number}
        name = numbered.get(number, "") if number else str(self._chosen().name)
        if name:
            self._large = "" if self._large == name else name
            self._panels[name].focus()
            self._arrange()

    def action_shrink(self) -> None:
        if self._large:
            self._large = ""
            self._arrange()
        else:
            self.set_focus(None)

    def action_help(self) -> None:
        from .help import Help

        self.app.push_screen(Help(self.feed.newest.series, replay=self.feed.seekable is not None))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of a replay do nothing on a live run."""
        if action in ("seek_by", "frame", "speed", "seek_alert", "seek_end"):
            return self.feed.seekable is not None
        return True

    def action_seek_by(self, share: float) -> None:
        self.feed.seek_by(share)
        self.tick()

    def action_seek_end(self, end: int) -> None:
        timeline = self.feed.timeline
        if timeline is not None:
            self.feed.seek(timeline.last_step if end else timeline.first_step)
            self.tick()

    def action_frame(self, direction: int) -> None:
        self.feed.frame_by(direction)
        self.tick()

    def action_speed(self, direction: int) -> None:
        self.feed.faster(direction)
        self._show()

    def action_seek_alert(self, direction: int) -> None:
        if self.feed.seek_alert(direction):
            self.tick()
        else:
            self.notify(
                f"No alert {'after' if direction > 0 else 'before'} this step.", markup=False, timeout=3
            )

    @on(ReplayBar.Sought)
    def _seek_clicked(self, message: ReplayBar.Sought) -> None:
        self.feed.seek(message.step)
        self.tick()


def by_panel(series: Iterable[str]) -> dict[str, list[str]]:
    """Panel → names of its series, in the order in which they came."""
    names: dict[str, list[str]] = {}
    for name in series:
        names.setdefault(quantity(name).panel, []).append(name)
    return names


def present_panels(view: View, seen: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The panels that have something to show, or of which a probe with a model will say why not."""
    by_probe = bool(view.header.model) or not view.seq  # a probe without a model only logs
    always = _FIRST_GUESS if by_probe else ("loss", "alerts") if "loss" in seen else ("alerts",)
    known = [name for name in ORDER if name in seen or name in always]
    others = sorted(set(seen).difference(ORDER, _HIDDEN))[:_MOST_OTHERS]
    return (*known, *others)


def reading_order(places: Iterable[str]) -> list[str]:
    """Names in the order of their number keys: ours first, always the same."""
    names = list(places)
    return [name for name in ORDER if name in names] + [name for name in names if name not in ORDER]
