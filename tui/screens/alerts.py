"""Every alert and mark of the run: a list, what is known of the chosen one, and the way to its step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widget import Widget

from lsmon.protocol.frames import Alert

from ..widgets.alert_detail import AlertDetail
from ..widgets.alert_list import AlertList
from ..widgets.ground import Patch
from ..widgets.panel import Scene
from .page import Page

_BESIDE = 96
"""From so many columns on the detail stands beside the list, else below it."""


class AlertsPage(Page):
    """The newest first, live and in a replay."""

    OWN_KEYS = (
        ("c", "compare"),
        ("x", "pick"),
        ("o", "onset"),
        ("enter", "go there"),
        ("?", "help"),
        ("↑ ↓", "choose"),
        ("esc", "back"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,g", "jump", "Go there", tooltip="Replay: to the step of the alert", id="jump"),
        Binding("x", "pick", "Pick", tooltip="Pick or unpick, to compare two steps", id="alert_pick"),
        Binding(
            "c",
            "compare",
            "Compare",
            tooltip="What followed two picked steps, and how the valley changed",
            id="alert_compare",
        ),
        Binding("o", "jump(True)", "Onset", tooltip="Replay: to where it began", id="jump_onset"),
    ]

    def body(self) -> Iterable[Widget]:
        yield Patch(AlertList("alerts"), AlertDetail("detail"), id="alerts-body")

    def on_mount(self) -> None:
        self.query_one(AlertList).focus()

    def on_resize(self) -> None:
        beside = self.size.width >= _BESIDE
        self.query_one("#alerts-body").set_class(beside, "beside")
        self._share_rows()

    def _share_rows(self) -> None:
        """Below each other, the list takes the lines that it has, up to half of the room."""
        listed = self.query_one(AlertList)
        if self.size.width >= _BESIDE:
            listed.styles.height = "100%"
        else:
            listed.styles.height = min(
                max(len(listed.held.entries), 3) + 2, max(self.size.height // 2 - 1, 3)
            )

    def renew(self) -> None:
        feed = self.feed
        timeline, listed = feed.timeline, self.query_one(AlertList)
        if timeline is not None:
            listed.later = sum(step > feed.view.step for step in timeline.alerts)
        scene = Scene(self.view, (*feed.view.alerts, *feed.own), {}, self._ascii, over=self.over)
        listed.show(scene)
        self._share_rows()
        self._tell(scene)

    def _tell(self, scene: Scene) -> None:
        detail = self.query_one(AlertDetail)
        detail.chosen = self.query_one(AlertList).chosen
        detail.show(scene)

    def action_pick(self) -> None:
        self.query_one(AlertList).pick_chosen()

    def action_compare(self) -> None:
        """The picked steps; one alone with the chosen one, or with the beginning."""
        listed = self.query_one(AlertList)
        steps = {entry.step for entry in listed.picked}
        if len(steps) < 2 and listed.chosen is not None:
            steps.add(listed.chosen.step)
        if len(steps) == 1:
            steps.add(self.feed.view.first_step)
        if len(steps) < 2:
            self.notify(
                "Pick two alerts or marks with x; c compares what followed them.", markup=False, timeout=4
            )
        else:
            self.post_message(self.Compared(sorted(steps)))

    class Compared(Message):
        """What followed these steps is wanted over one another."""

        def __init__(self, steps: Sequence[int]) -> None:
            super().__init__()
            self.steps = steps

    @on(AlertList.Moved)
    def _moved(self) -> None:
        scene = self.query_one(AlertList).scene
        if scene is not None:
            self._tell(scene)

    @on(AlertList.Opened)
    def _opened(self) -> None:
        self.action_jump()

    def action_jump(self, onset: bool = False) -> None:
        entry = self.query_one(AlertList).chosen
        if entry is None:
            return
        if self.feed.seekable is None:
            self.notify(
                "A live run cannot go back to a step; a replay of its recording can.", markup=False, timeout=4
            )
            return
        since = entry.onset_step if isinstance(entry, Alert) else 0
        self.feed.seek(since if onset and since > 0 else entry.step)
        self.feed.tick()
        self.app.pop_screen()
