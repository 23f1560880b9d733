"""One real training from end to end: process, sockets, file, and what a viewer folds from them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pytest

from lsmon.protocol.cards import Card, read_cards
from lsmon.protocol.frames import UNNUMBERED, AnyFrame, Curvature, Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.live import Live
from lsmon.protocol.sources.replay import Replay
from lsmon.protocol.sources.source import Source
from lsmon.tui.store import Store
from lsmon.tui.view import View

TRAINING = """
import hashlib, sys
import torch
from torch import nn
from lsmon.probe import Probe

torch.set_num_threads(1)
torch.manual_seed(int(sys.argv[2]))
model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 1))
optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
loss_fn = lambda model, batch: (model(batch[0]) - batch[1]).square().mean()
inputs = torch.randn(256, 8)
targets = inputs[:, :1] * inputs[:, 1:2]

step = 0
with Probe(model, optimizer, loss_fn, name=sys.argv[1], reference=(inputs, targets), budget=1) as probe:
    print("ready", flush=True)
    for order in sys.stdin:
        for _ in range(int(order)):
            step += 1
            rows = torch.randint(256, (32,))
            batch = (inputs[rows], targets[rows])
            loss = loss_fn(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            probe.step(loss, batch)
            if step % 20 == 0:
                probe.log(**{"val/loss": loss.item() + 1})
        print(step, flush=True)
state = b"".join(value.numpy().tobytes() for value in model.state_dict().values())
print(hashlib.sha256(state).hexdigest())
"""


class Training:
    """A process that takes as many steps as it is told to, and then waits: nothing here depends on speed."""

    def __init__(self, name: str = "mlp", seed: int = 0, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", TRAINING, name, str(seed)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment},
        )  # fmt: skip
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def train(self, steps: int) -> int:
        """The step it has reached."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return int(self._line())

    def finish(self) -> str:
        """Digest of the parameters and buffers it ended with."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        digest = self._line()
        assert self.process.wait(30) == 0
        return digest

    @property
    def card(self) -> Card:
        (card,) = (card for card in read_cards() if card.pid == self.process.pid)
        return card

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Eye:
    """Looks at a source until it has seen what it waits for, and keeps every frame."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.frames: list[AnyFrame] = []

    def until(self, condition: Callable[[Eye], bool], secs: float = 60.0) -> Eye:
        deadline = time.monotonic() + secs
        while not condition(self):
            assert time.monotonic() < deadline, f"not seen within {secs:g} s: {self.source.link}"
            got = self.source.read()
            self.frames += got
            if not got:
                time.sleep(0.005)
        return self

    def until_step(self, step: int) -> Eye:
        """All numbers of the step, which come as one frame."""
        return self.until(lambda eye: any(f.step >= step for f in eye.frames if isinstance(f, Scalars)))

    def until_end(self) -> Eye:
        return self.until(lambda eye: any(isinstance(frame, RunEnded) for frame in eye.frames))

    @property
    def numbered(self) -> list[AnyFrame]:
        return numbered(self.frames)


def numbered(frames: list[AnyFrame]) -> list[AnyFrame]:
    return [frame for frame in frames if not isinstance(frame, UNNUMBERED)]


def numbers(frames: list[AnyFrame]) -> list[int]:
    return [frame.seq for frame in numbered(frames)]


def tail(run: str) -> subprocess.Popen[str]:
    """A viewer in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "lsmon.tui", "tail", run, "--json"], stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    return tmp_path


@dataclass
class Watched:
    """A training of 120 steps, and what was seen of it by viewers that came, came late, and were killed."""

    first: list[AnyFrame]
    late: list[AnyFrame]
    phase: str
    recording: Path
    digest: str


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LSMON_DIR", str(tmp_path_factory.mktemp("home")))
        with Training() as training, closing(Live(training.card)) as live:
            card, first = training.card, Eye(live).until(lambda eye: eye.source.link.phase == "live")
            training.train(40)
            with tail(card.run) as viewer:
                assert viewer.stdout is not None
                assert "run_started" in viewer.stdout.readline()
                training.train(20)
                viewer.kill()
            first.until_step(60)
            with closing(Live(card)) as joined:
                late = Eye(joined)
                training.train(60)
                late.until_step(120)
                first.until_step(120)
                digest = training.finish()
                late.until_end()
                first.until_end()
                yield Watched(first.frames, late.frames, live.link.phase, Path(card.recording), digest)


def test_a_viewer_sees_every_frame_of_a_training_once(watched: Watched) -> None:
    """From the header with number 1 to the end, without a gap or a duplicate."""
    seen = numbered(watched.first)
    assert isinstance(seen[0], RunStarted)
    assert isinstance(seen[-1], RunEnded)
    assert numbers(seen) == list(range(1, len(seen) + 1))
    losses = [frame.step for frame in seen if isinstance(frame, Scalars) and "loss" in frame.values]
    assert losses == list(range(1, 121))
    assert watched.phase == "ended"


def test_a_viewer_that_came_late_sees_the_same(watched: Watched) -> None:
    assert numbered(watched.late) == numbered(watched.first)


def test_the_recording_holds_the_frames_that_were_seen_live(watched: Watched) -> None:
    recording = Recording.open(watched.recording)
    try:
        assert numbered(list(recording.frames())) == numbered(watched.first)
        assert recording.ended is not None and recording.ended.reason == "finished"
        assert recording.lost == 0 and recording.damage == ()
    finally:
        recording.close()


def test_curvature_is_measured_on_the_way(watched: Watched) -> None:
    """With its doubt: the residuals, the batch and the cost."""
    curvature = [frame for frame in watched.first if isinstance(frame, Curvature) and frame.top]
    assert curvature
    for frame in curvature:
        assert not frame.bottom or frame.top[0].value > frame.bottom[0].value
        assert frame.top[0].residual >= 0 and 0 < frame.batch <= 256 and frame.seconds > 0


def test_viewers_that_come_go_and_are_killed_change_nothing_in_training(watched: Watched, home: Path) -> None:
    """The parameters and BatchNorm buffers equal, bit for bit, those of a training without a probe."""
    with Training(LSMON="0") as alone:
        assert alone.train(120) == 120
        assert alone.finish() == watched.digest
    assert read_cards() == [] and not list(home.glob("recordings/*"))


def until_shown(step: int, frames: list[AnyFrame]) -> list[AnyFrame]:
    """All up to the last numbered frame before training went beyond this step."""
    beyond = next(
        i for i, frame in enumerate(frames) if not isinstance(frame, UNNUMBERED) and frame.step > step
    )
    while isinstance(frames[beyond - 1], UNNUMBERED):
        beyond -= 1
    return frames[:beyond]


def folded(frames: list[AnyFrame]) -> View:
    store = Store()
    for frame in frames:
        store.fold(frame)
    return store.view()


@pytest.mark.parametrize("step", [1, 20, 63, 119])
def test_the_replayed_view_at_a_step_is_the_live_view_at_that_step(watched: Watched, step: int) -> None:
    """Every value, bucket, doubt and word of it. A heartbeat from before the viewer came is in the file only."""
    heard = [frame for frame in watched.first if isinstance(frame, Heartbeat)]
    with closing(Replay(Recording.open(watched.recording), playing=False)) as replay:
        replay.seek(step)
        shown: list[AnyFrame] = []
        while got := replay.read():
            shown += got
    unheard = [frame for frame in shown if isinstance(frame, Heartbeat) and frame not in heard]
    assert all(frame.wall < heard[0].wall for frame in unheard)
    live = folded(until_shown(step, watched.first))
    assert folded([frame for frame in shown if frame not in unheard]) == live
    assert live.step == step and live.series["loss"].step == step


def test_kill_9_is_told_within_seconds_and_loses_no_flushed_frame(home: Path) -> None:
    """The link says dead; the recording, which has no end, is a prefix of what was seen live and as long as the file was."""
    with Training() as training, closing(Live(training.card)) as live:
        folder = Path(training.card.recording)
        training.train(100)
        eye = Eye(live).until_step(100)
        flushed = eye.until(lambda _: last_step(folder) == 100)
        training.process.send_signal(signal.SIGKILL)
        training.process.wait()
        eye.until(lambda eye: eye.source.link.phase == "dead", secs=5.0)
        assert live.link.words
        seen = flushed.numbered
        recording = Recording.open(folder)
        with closing(recording):
            kept = numbered(list(recording.frames()))
            assert recording.ended is None
            assert recording.lost == 0
        assert kept == seen[: len(kept)]
        assert max(frame.step for frame in kept) == 100


def last_step(folder: Path) -> int:
    """What the file of a training that still runs holds by now."""
    with closing(Recording.open(folder)) as recording:
        return recording.last_step


def test_two_runs_at_once_are_told_apart(home: Path) -> None:
    with Training("left", seed=1) as left, Training("right", seed=2) as right:
        assert {card.name for card in read_cards() if card.alive} == {"left", "right"}
        with closing(Live(left.card)) as live_left, closing(Live(right.card)) as live_right:
            left.train(30)
            right.train(30)
            seen = [Eye(live_left).until_step(30).numbered, Eye(live_right).until_step(30).numbered]
        headers = [frames[0] for frames in seen]
        assert [header.name for header in headers if isinstance(header, RunStarted)] == ["left", "right"]
        losses = [
            [f.values["loss"] for f in frames if isinstance(f, Scalars) and "loss" in f.values]
            for frames in seen
        ]
        assert len(losses[0]) == len(losses[1]) == 30 and losses[0] != losses[1]
        left.finish()
        right.finish()
        assert not any(card.alive for card in read_cards())
