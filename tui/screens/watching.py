"""What every screen over a run has: the bars around its body, and the keys that move the feed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widget import Widget

from lsmon.protocol.sources.source import OVER

from ..feed import Feed
from ..keys import hinted
from ..widgets.bars import Header, Moment, ReplayBar, Status, last_heard
from ..widgets.phases import PhaseStrip
from .takeaway import Takeaway

Keys = tuple[tuple[str, str], ...]

LIVE_KEYS: Keys = (("space", "pause"),)
REPLAY_KEYS: Keys = (
    ("space", "play"),
    ("← →", "seek"),
    (", .", "step"),
    ("+ -", "speed"),
    ("n", "next alert"),
)


class Watching(Takeaway):
    """Subclasses give a body and show the feed's view in it; whichever of them is on top is kept up to date."""

    AUTO_FOCUS = ""
    OWN_KEYS: ClassVar[Keys] = ()
    """Named on the status line as far as there is room, the most needed last."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "pause", "Pause", tooltip="Live: freeze the eye. Replay: play or pause", id="pause"),
        Binding("a", "app.page('alerts')", "Alerts", tooltip="All alerts, with their evidence", id="alerts"),
        Binding("l", "app.page('layers')", "Layers", tooltip="Scale and sharpness by layer", id="layers"),
        Binding("s", "app.page('spectrum')", "Spectrum", tooltip="Density of the curvatures", id="spectrum"),
        Binding(
            "question_mark,h", "app.help", "Help", tooltip="Keys and quantities", key_display="?", id="help"
        ),
        Binding(
            "d",
            "app.page('detail')",
            "Detail",
            tooltip="Each quantity with its definition",
            id="detail",
        ),
        Binding(
            "r", "app.runs", "Runs", tooltip="All runs, here and on the hosts that were named", id="runs"
        ),
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
        Binding("full_stop", "frame(1)", "Step on", tooltip="One step forward", id="frame_forward"),
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
    ]

    def __init__(self, feed: Feed, *, ascii_only: bool = False) -> None:
        super().__init__(feed)
        self._ascii = ascii_only

    def body(self) -> Iterable[Widget]:
        """What is between the bars; together it fills the height that they leave."""
        raise NotImplementedError

    def renew(self) -> None:
        """Show the feed's view in the body."""
        raise NotImplementedError

    def compose(self) -> ComposeResult:
        yield Header()
        yield PhaseStrip()
        yield from self.body()
        yield ReplayBar()
        yield Status()

    def on_mount(self) -> None:
        self.query_one(ReplayBar).display = self.feed.seekable is not None
        # Draw at once, read afterwards: the first paint waits for no source.
        self.show()

    def on_screen_resume(self) -> None:
        if self.is_mounted:
            self.show()

    def tick(self) -> None:
        """Feed, then show what has changed on the screen that is on top of the others of its kind."""
        if not self.app.is_running:  # the screens are taken down one by one, and the timer goes with the last
            return
        self.feed.tick()
        stack = reversed(self.app.screen_stack)
        top = next((screen for screen in stack if isinstance(screen, Watching)), self)
        if top.is_mounted:  # one that is being opened shows itself when it is
            top.show()

    def show(self) -> None:
        feed, view = self.feed, self.view
        replayed = feed.timeline is not None
        with self.app.batch_update():
            self.renew()  # first: the status line tells what the body has no room for
            moment = Moment(
                view, feed.link, last_heard(feed.age), feed.paused, feed.newest.step - view.step, feed.timeline, feed.trouble,
                self._ascii, len(feed.own),
                self.hints((REPLAY_KEYS if replayed else LIVE_KEYS) + self.own_keys), self.words(), self.hidden, feed.place,
            )  # fmt: skip
            for bar in (Header, PhaseStrip, Status, ReplayBar):
                self.query_one(bar).show(moment)

    @property
    def over(self) -> bool:
        """Whether nothing more will come: the training ended, or its process did, or the recording does here."""
        timeline = self.feed.timeline
        gone = self.feed.link.phase in OVER or (timeline is not None and timeline.at_end)
        return self.view.ended or gone

    def words(self) -> str:
        """What the status line says of this screen."""
        return ""

    @property
    def hidden(self) -> tuple[str, ...]:
        """Panels that have something to show and no place on it."""
        return ()

    @property
    def own_keys(self) -> Keys:
        """Those that do something now."""
        return self.OWN_KEYS

    def hints(self, keys: Keys) -> Keys:
        """In the person's own keys."""
        keymap = self.app._keymap
        if not keymap:
            return keys
        classes = (kind.__dict__.get("BINDINGS", ()) for kind in type(self).__mro__)
        return hinted(keys, classes, keymap)

    def action_pause(self) -> None:
        self.feed.toggle_pause()
        self.show()

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
            if end:
                self.feed.seek_end()
            else:
                self.feed.seek(timeline.first_step)
            self.tick()

    def action_frame(self, direction: int) -> None:
        self.feed.frame_by(direction)
        self.tick()

    def action_speed(self, direction: int) -> None:
        self.feed.faster(direction)
        self.show()

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
