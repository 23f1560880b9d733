"""Viewers that stall, crawl and sleep: the training does not feel them, and they catch up without a gap."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from lsmon.protocol.codec import decode
from lsmon.protocol.frames import AnyFrame, RunEnded, RunStarted
from lsmon.protocol.wire.order import Order
from tests.waiting import until

TRAINING = """
import sys, time
from lsmon.probe import Probe

step = 0
with Probe(name="many") as probe:
    print("ready", flush=True)
    for order in sys.stdin:
        for _ in range(int(order)):
            step += 1
            probe.step(1 / step)
        while probe._sender._queue:  # what the sending thread has not taken yet: its own pace is no viewer's doing
            time.sleep(0.001)
        print(step, flush=True)
"""

PART = 2000
"""Steps. Four of them are more than libzmq and the kernel hold for a viewer that does not read (6000)."""

LSMON = f"{sys.executable} -m lsmon.tui"
DIRECT = ("tail", "many", "--json")
RELAYED = ("tail", "many", "--json", "--via", "env LSMON_LOG=", "--remote-command", LSMON)


class Viewer:
    """``lsmon tail --json``, to a file, or to a pipe that is read when we like."""

    def __init__(self, words: tuple[str, ...], out: Path | None) -> None:
        self._path = out
        sink = out.open("wb") if out else subprocess.PIPE
        self.process = subprocess.Popen([*LSMON.split(), *words], stdout=sink)
        if out and not isinstance(sink, int):
            sink.close()
        self._read = b""
        until(lambda: b"run_started" in self.read(1 << 16), 60.0)

    def read(self, size: int = -1) -> bytes:
        """What it has printed: so many bytes more of the pipe, or all of the file."""
        if self._path:
            return self._path.read_bytes()
        assert self.process.stdout is not None
        self._read += os.read(self.process.stdout.fileno(), size) if size > 0 else self.process.stdout.read()
        return self._read

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def finish(self) -> list[AnyFrame]:
        """Every frame that it printed; it says by its exit code whether any was lost."""
        said = self.read()
        assert self.process.wait(30) == 0
        frames = [
            frame
            for line in (said if not self._path else self.read()).splitlines()
            if (frame := decode(line))
        ]
        return frames

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


class Run:
    """A training that takes as many steps as it is told to."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", TRAINING], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def train(self) -> int:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{PART}\n")
        self._process.stdin.flush()
        return int(self._line())

    def finish(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(30) == 0

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ExitStack]:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "home"))
    monkeypatch.delenv("LSMON_STRICT", raising=False)
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)  # what is printed comes without it too
    with ExitStack() as stack:
        yield stack


def whole(frames: list[AnyFrame]) -> bool:
    """From the header to the end, each number once, none missing; what was folded stands for its stretch."""
    order = Order()
    assert all(order.admit(frame) is not None for frame in frames)
    end = frames[-1]
    assert isinstance(frames[0], RunStarted) and isinstance(end, RunEnded)
    assert end.dropped == 0  # the queue of the training never ran over: nobody held up what empties it
    return order.lost == 0 and order.last == end.seq


@pytest.mark.parametrize("when", ["before its end", "after its end"])
def test_viewers_that_sleep_hold_nothing_up_and_catch_up(stack: ExitStack, tmp_path: Path, when: str) -> None:
    """Directly and over a relay, whether the run goes on when they wake, or has ended and only its recording is left."""
    run = Run()
    stack.callback(run.close)
    viewers = []
    for number, words in enumerate((DIRECT, RELAYED)):
        viewers.append(Viewer(words, tmp_path / str(number)))
        stack.callback(viewers[-1].close)
    for viewer in viewers:
        viewer.send(signal.SIGSTOP)
    assert [run.train() for _ in range(4)] == [PART, 2 * PART, 3 * PART, 4 * PART]
    if when == "after its end":
        run.finish()
    for viewer in viewers:
        viewer.send(signal.SIGCONT)
    if when == "before its end":
        until(lambda: all(_reached(viewer.read()) >= 4 * PART for viewer in viewers), 90.0)
        run.train()
        run.finish()
    for viewer in viewers:
        assert whole(viewer.finish())


def _reached(said: bytes) -> int:
    """Number of the last whole frame."""
    lines = said[: said.rfind(b"\n") + 1].splitlines()
    return int(json.loads(lines[-1]).get("seq", 0)) if lines else 0


@pytest.mark.parametrize("words", [DIRECT, RELAYED], ids=["direct", "relayed"])
def test_a_viewer_that_crawls_holds_nothing_up_and_gets_it_all(
    stack: ExitStack, words: tuple[str, ...]
) -> None:
    """Its output is read a kilobyte for every two thousand frames; the rest when the run is over."""
    run = Run()
    stack.callback(run.close)
    viewer = Viewer(words, None)
    stack.callback(viewer.close)
    for part in range(4):
        assert run.train() == (part + 1) * PART
        viewer.read(1 << 10)
    run.finish()
    assert whole(viewer.finish())
