"""What a recording costs to write, to open, to go to any step of, and to play at 1000×; a million frames, or ten.

    python -m tests.bench.recording [--frames 10_000_000] [--folder KEEP]

A recording that lies in KEEP already is not written again. "Cold" means that its pages were thrown out of memory before
it was opened and before every seek; "torn" that its files were cut by a hundredth.
"""

from __future__ import annotations

import math
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from lsmon.protocol.codec import encode, shorten
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Ritz, RunStarted, Scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.replay import Replay
from lsmon.protocol.sources.seeking import EXACT_FRAMES
from lsmon.tui.feed import Feed
from lsmon.tui.free_memory import settle
from tests.bench.terminal import Terminal

RATE = 1000  # frames a second of recorded time
SEEKS = 30
"""To anywhere, besides those to places where they may take longer."""
PLAY_SECS = 8.0


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


def write(folder: Path, count: int) -> tuple[float, float]:
    """Microseconds a frame in the recorder alone, and with encoding and folding."""
    recorder, folds = (
        Recorder(folder, RunStarted(seq=1, run="bench", name="bench", wall=1_800_000_000)),
        Folds(),
    )
    inside, start = 0.0, time.process_time()
    for frame in frames(count):
        data = encode(frame)
        rows = [(row, encode(row)) for row in folds.add(frame)]
        before = time.process_time()
        recorder.write(frame, data)
        for row in rows:
            recorder.write(*row)
        recorder.tick()
        inside += time.process_time() - before
    recorder.close()
    return inside / count * 1e6, (time.process_time() - start) / count * 1e6


def places(folder: Path, last: int) -> list[int]:
    """The middle first, then where a seek has most to do: all the frames that come raw and one more, either side of
    where a file ends, the end and what a torn file has lost there; and anywhere."""
    chance = random.Random(0)
    firsts = [Recording.open(path) for path in sorted(folder.glob("[0-9]*.mcap"))]
    edges = [step for file in firsts for step in (file.first_step, file.last_step)]
    for file in firsts:
        file.close()
    near = [edge + off for edge in edges for off in (-1, 0, 1, 600, 2500)]
    end = [last - off for off in (0, 1, 1000, 3000, *range(10_000, 160_000, 15_000))]
    anywhere = [chance.randrange(last) for _ in range(SEEKS)]
    wanted = [last // 2, 0, last, EXACT_FRAMES, EXACT_FRAMES + 2, *near, *end, *anywhere]
    return [min(max(step, 0), last) for step in wanted]


def read(folder: Path, cold: bool) -> None:
    """Opens, seeks and plays, in a process of its own so that its memory can be told."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if cold:
        forget(folder)
    start, spent = time.perf_counter(), time.process_time()
    recording = Recording.open(folder)
    replay = Replay(recording, playing=False)
    feed = Feed(replay)
    last = replay.timeline.last_step  # which the screen shows at once
    settle()  # as the screen does after its first paint
    print(f"open {time.perf_counter() - start:.3f} s (CPU {time.process_time() - spent:.3f})", end="")
    seeks: list[tuple[float, float, int]] = []
    targets = places(folder, last)
    for target in targets:
        if cold:
            forget(folder)
        start, spent = time.perf_counter(), time.process_time()
        feed.seek(target)
        feed.tick()
        seeks.append((time.perf_counter() - start, time.process_time() - spent, target))
        assert feed.view.step <= target + 2, (feed.view.step, target)
        assert feed.view.step >= target - 2 or feed.view.lost or replay.link.lost, (feed.view.step, target)
    (first, first_cpu, _), (worst, worst_cpu, where) = seeks[0], max(seeks)
    print(
        f", first seek {first:.3f} s (CPU {first_cpu:.3f}), worst of {len(seeks)} {worst:.3f} "
        f"(CPU {worst_cpu:.3f}, to step {where:,}), most CPU {max(cpu for _, cpu, _ in seeks):.3f}, "
        f"median {sorted(seeks)[len(seeks) // 2][0]:.3f}", end="",
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"; RSS {before:.0f} MB before, {after:.0f} MB at most")
    feed.seek(0)
    feed.tick()
    replay.set_speed(1000.0)
    replay.play(True)
    begun, spent = time.perf_counter(), time.process_time()
    wall = feed.newest.wall
    longest = 0.0
    while (now := time.perf_counter()) - begun < PLAY_SECS and not replay.timeline.at_end:
        feed.tick()
        took = time.perf_counter() - now
        longest = max(longest, took)
        time.sleep(max(0.0, 0.1 - took))
    took = time.perf_counter() - begun
    passed = feed.newest.wall - max(wall, recording.header.wall)
    cpu = (time.process_time() - spent) / took
    print(f"  played at 1000x: {passed / took:.0f} recorded seconds a second, CPU {100 * cpu:.0f} %", end="")
    print(f", longest tick {longest * 1e3:.0f} ms, {feed.newest.lost} frames lost")
    replay.close()


def watch(folder: Path) -> None:
    """The whole screen in a terminal: its first curve, and its memory after playing and seeking."""
    command = [str(Path(sys.executable).with_name("lsmon")), "replay", str(folder), "--speed", "1000"]
    terminal = Terminal(command, 120, 36)
    curve = terminal.read_until(
        lambda data: any(0x2801 <= ord(char) <= 0x28FF for char in data.decode(errors="replace"))
    )
    cpu = terminal.cpu_secs()
    terminal.watch(PLAY_SECS)
    for key in b"[[]][[[[]]]]":
        terminal.press(bytes((key,)))
        terminal.watch(0.5)
    status = Path(f"/proc/{terminal.pid}/status").read_text().split("VmHWM:")[1].split()[0]
    terminal.close()
    print(
        f"  lsmon replay: first curve after {curve or math.nan:.2f} s (CPU {cpu:.2f}), peak RSS {int(status) / 1024:.0f} MB"
    )


def forget(folder: Path) -> None:
    """Throws the files' pages out of memory, as if they had not been read since the machine was started."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def told(folder: Path, kind: str = "") -> None:
    for how in ("cold", "warm"):
        print(f"{kind}{how}: ", end="", flush=True)
        if how == "warm":
            for path in folder.iterdir():
                with path.open("rb") as file:
                    while file.read(1 << 20):
                        pass
        command = [sys.executable, "-m", "tests.bench.recording", "--read", str(folder)]
        subprocess.run([*command, "--cold"] if how == "cold" else command, check=True)


def measure(folder: Path, count: int) -> None:
    if not folder.exists():
        folder.mkdir(parents=True)
        recorder, everything = write(folder, count)
        print(f"write {recorder:.2f} µs a frame, {everything:.2f} with making, encoding and folding it")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{count:,} frames, {size / count:.0f} bytes a frame, {len(list(folder.iterdir()))} files")
    told(folder)
    watch(folder)


def main() -> None:
    """Prints the figures."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--read", type=Path, help="used by itself: the process that reads")
    parser.add_argument("--cold", action="store_true", help="of --read: before every seek")
    args = parser.parse_args()
    if args.read:
        read(args.read, args.cold)
    elif args.folder:
        measure(args.folder, args.frames)
    else:
        with tempfile.TemporaryDirectory() as root:
            folder = Path(root) / "whole"
            measure(folder, args.frames)
            for path in folder.glob("*.mcap"):
                os.truncate(path, path.stat().st_size * 99 // 100)
            told(folder, "torn, ")


if __name__ == "__main__":
    main()
