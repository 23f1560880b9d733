"""A small recording cut at every byte, and every bit of a chunk flipped: ``python -m tests.bench damage``.

Each damaged copy is opened, read, folded and replayed. What is read must be what was written under that number; what
lies in whole chunks must be read.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import RunEnded, RunStarted, Scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.replay import Replay
from lsmon.tui.store import Store
from tests.test_protocol_salvage import chunk_ends, frame_of, salvaged, written

CHUNKS, FRAMES_A_CHUNK = 12, 25


@dataclass
class Tally:
    """What became of the copies of one kind of damage."""

    copies: int = 0
    intact: int = 0
    """Frames, over all copies, in chunks that the damage did not touch."""
    read: int = 0
    """Of these."""
    crashes: int = 0
    wrong: int = 0

    def __str__(self) -> str:
        share = self.read / self.intact if self.intact else 1.0
        return (
            f"{self.copies:6} copies  crashes {self.crashes}  wrong {self.wrong}  "
            f"read {self.read} of {self.intact} intact frames, {share:.2%}"
        )


def shown(path: Path) -> None:
    """Fold what a replay shows; the last loss on the screen must be one that was written."""
    try:
        recording = Recording.open(path)
    except LsmonError:
        return
    with closing(Replay(recording, playing=False)) as replay:
        replay.seek(10**9)
        store = Store()
        while frames := replay.read():
            for frame in frames:
                store.fold(frame)
        view = store.view()
        if "loss" in view.series:
            last = view.series["loss"]
            truth = frame_of(last.step)
            assert isinstance(truth, Scalars) and truth.values["loss"] == last.value


def judge(tally: Tally, path: Path, intact: set[int], *, replayed: bool = True) -> None:
    tally.copies += 1
    tally.intact += len(intact)
    try:
        found = salvaged(path)
        if replayed:
            shown(path)
    except AssertionError:
        tally.wrong += 1
        return
    except Exception as error:  # noqa: BLE001  whatever it is, it counts
        print(f"{type(error).__name__}: {error}")
        tally.crashes += 1
        return
    tally.read += len(found & intact)


def numbers(ends: list[tuple[int, int]]) -> list[set[int]]:
    """The frames in each chunk."""
    firsts = [1, *(last + 1 for _, last in ends)]
    return [set(range(first, last + 1)) for first, (_, last) in zip(firsts, ends, strict=False)]


def cuts(folder: Path, name: str) -> Iterator[tuple[str, Tally]]:
    """The segment ends at every byte: alone, and beside its overview."""
    path = folder / name
    whole, ends = path.read_bytes(), chunk_ends(path)
    frames = numbers(ends)
    with tempfile.TemporaryDirectory() as other:
        alone = Path(other) / "cut.mcap"
        for where, target in (("alone", alone), ("in its folder", path)):
            tally = Tally()
            for size in range(len(whole) + 1):
                target.write_bytes(whole[:size])
                intact = set[int]().union(
                    *(f for (end, _), f in zip(ends, frames, strict=True) if end <= size)
                )
                judge(tally, target if target is alone else folder, intact)
            yield where, tally
    path.write_bytes(whole)


def flips(folder: Path, name: str, chunk: int, *, replayed: int = 8) -> Tally:
    """Every bit between the end of one chunk and the end of the next; so many of each byte are replayed as well."""
    path = folder / name
    whole, ends = path.read_bytes(), chunk_ends(path)
    frames = numbers(ends)
    intact = set[int]().union(*(found for number, found in enumerate(frames) if number != chunk))
    tally = Tally()
    for position in range(ends[chunk - 1][0], ends[chunk][0]):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[position] ^= 1 << bit
            path.write_bytes(damaged)
            judge(tally, folder, intact, replayed=(bit + position) % 8 < replayed)
    path.write_bytes(whole)
    return tally


def main() -> None:
    for finish in (True, False):
        with tempfile.TemporaryDirectory() as home:
            folder = Path(home) / "run"
            written(folder, CHUNKS, FRAMES_A_CHUNK, finish=finish)
            kind = "finished" if finish else "without an index"
            size = (folder / "000.mcap").stat().st_size
            print(f"{kind}: {CHUNKS} chunks of {FRAMES_A_CHUNK} frames, {size} bytes")
            print(f"  every bit of chunk 6 flipped     {flips(folder, '000.mcap', 6)}")
            for where, tally in cuts(folder, "000.mcap"):
                print(f"  cut at every byte, {where:<14} {tally}")
            if finish:
                print(f"  overview cut at every byte      {overview_cuts(folder)}")
            shutil.rmtree(folder)


def overview_cuts(folder: Path) -> Tally:
    """Nothing is lost by it: the segments tell the story anew."""
    path, tally = folder / "overview.mcap", Tally()
    whole = path.read_bytes()
    with Recording.open(folder) as recording:
        intact = {f.seq for f in recording.frames() if not isinstance(f, (RunStarted, RunEnded))}
    for size in range(0, len(whole) + 1, 7):
        path.write_bytes(whole[:size])
        judge(tally, folder, intact)
    path.write_bytes(whole)
    return tally


if __name__ == "__main__":
    main()
