"""What a recording of a million frames costs to write, to open, and to go to the middle of."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from lsmon.protocol.codec import encode, shorten
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Ritz, RunStarted, Scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.replay import Replay

FRAMES = 1_000_000
RATE = 1000  # frames a second of recorded time


def frames(count: int) -> Iterator[AnyFrame]:
    """A plausible run: two scalars a step, curvature every 200 steps, a heartbeat a second."""
    for seq in range(2, count + 2):
        wall = 1_800_000_000 + seq / RATE
        loss = shorten(math.exp(-seq / count) + 0.1 * math.sin(seq * 0.7))
        if seq % 200:
            yield Scalars(
                seq=seq, step=seq, wall=wall, values={"loss": loss, "grad/norm": shorten(loss * 1.7)}
            )
        else:
            yield Curvature(
                seq=seq, step=seq, wall=wall, top=(Ritz(loss * 40, 0.01, True),), method="lanczos"
            )
        if seq % RATE == 0:
            yield Heartbeat(seq=seq, step=seq, wall=wall, rate=RATE, share=0.03)


def write(folder: Path) -> tuple[float, float]:
    """Microseconds a frame in the recorder alone, and with encoding and folding."""
    recorder, folds = (
        Recorder(folder, RunStarted(seq=1, run="bench", name="bench", wall=1_800_000_000)),
        Folds(),
    )
    inside, start = 0.0, time.process_time()
    for frame in frames(FRAMES):
        data = encode(frame)
        rows = [(row, encode(row)) for row in folds.add(frame)]
        before = time.process_time()
        recorder.write(frame, data)
        for row in rows:
            recorder.write(*row)
        recorder.tick()
        inside += time.process_time() - before
    recorder.close()
    return inside / FRAMES * 1e6, (time.process_time() - start) / FRAMES * 1e6


def read(folder: Path) -> None:
    """Opens and goes to the middle, in a process of its own so that its memory can be told."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start = time.perf_counter()
    recording = Recording.open(folder)
    opened = time.perf_counter()
    replay = Replay(recording, playing=False)
    replay.seek(FRAMES // 2)
    shown = replay.read()
    sought = time.perf_counter()
    replay.seek(FRAMES // 4)
    replay.read()
    again = time.perf_counter()
    print(f"open {opened - start:.3f} s, middle {sought - opened:.3f} s with {len(shown)} frames, ", end="")
    print(f"again elsewhere {again - sought:.3f} s, at step {replay.timeline.step}", end="")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f", RSS {before:.0f} MB before, {after:.0f} MB at most")
    replay.close()


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as root:
        folder = Path(root) / "whole"
        folder.mkdir()
        recorder, everything = write(folder)
        size = sum(path.stat().st_size for path in folder.iterdir())
        print(
            f"write {recorder:.2f} µs a frame, {everything:.2f} with making, encoding and folding it; ",
            end="",
        )
        print(f"{size / FRAMES:.0f} bytes a frame, {len(list(folder.iterdir()))} files")
        for tear in (0, 1000):
            if tear:
                for path in folder.glob("*.mcap"):
                    os.truncate(path, path.stat().st_size * 99 // 100)
            print("torn:  " if tear else "whole: ", end="", flush=True)
            subprocess.run([sys.executable, __file__, str(folder)], check=True)


if __name__ == "__main__":
    read(Path(sys.argv[1])) if len(sys.argv) > 1 else main()
