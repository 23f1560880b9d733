"""Damaged recordings: cut, flipped, zeroed, bombed, killed, and written to a full disk. Never a crash, never a wrong value."""

from __future__ import annotations

import os
import random
import signal
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import Alert, AnyFrame, Heartbeat, RunEnded, RunStarted, Scalars, Summary
from lsmon.protocol.recording.about import About
from lsmon.protocol.recording.chunks import MAGIC, BadChunk, Chunks
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.repair import repair
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.replay import Replay
from tests.clock import Clock

HEADER = RunStarted(seq=1, run="r1", name="a run", wall=1000.0)


def frame_of(seq: int) -> AnyFrame:
    """The only frame that may ever be read under this number."""
    if seq % 10 == 0:
        return Alert(seq=seq, step=seq, wall=1000.0 + seq, kind="stall", evidence={"loss": seq / 7})
    return Scalars(seq=seq, step=seq, wall=1000.0 + seq, values={"loss": seq / 7, "lr": 0.1})


def written(folder: Path, chunks: int, frames_a_chunk: int, finish: bool = True) -> int:
    """A recording of so many chunks behind the header's. Returns its last number."""
    clock = Clock()
    recorder = Recorder(folder, HEADER, clock=clock)
    last = 1
    for _ in range(chunks):
        for _ in range(frames_a_chunk):
            last += 1
            recorder.write(frame_of(last), encode(frame_of(last)))
        clock.now += 0.5
        recorder.tick()
    if finish:
        recorder.write(RunEnded(seq=last + 1, step=last), encode(RunEnded(seq=last + 1, step=last)))
        recorder.close()
    return last


def salvaged(path: Path) -> set[int]:
    """Numbers of what can be read; fails on anything but the frames that were written. Empty when it says why not."""
    try:
        recording = Recording.open(path)
    except LsmonError as error:
        assert "\n" not in str(error)
        return set()
    with recording:
        found: set[int] = set()
        alerts: set[int] = set()
        last = 0
        for frame in recording.frames():
            if isinstance(frame, RunStarted):
                assert frame.run in ("r1", "")
            elif not isinstance(frame, RunEnded):
                assert frame == frame_of(frame.seq)
            assert frame.seq > last or isinstance(frame, RunStarted)
            last = frame.seq
            found.add(frame.seq)
            if isinstance(frame, Alert):
                alerts.add(frame.seq)
        assert all(event == frame_of(event.seq) for event in recording.events())
        # More when the overview kept a copy of a lost one.
        assert {event.seq for event in recording.events()} >= alerts
        assert recording.lost >= 0
        if found:
            missing = set(range(min(found), max(found) + 1)) - found - {0, 1}
            assert recording.lost >= len(missing) or "the beginning of" in recording.damage[-1]
            assert bool(recording.damage) >= bool(missing)
        list(recording.summaries(64))
        return found


def chunk_ends(path: Path) -> list[tuple[int, int]]:
    """(byte behind a chunk, last number in it)."""
    chunks = Chunks(path)
    ends = []
    for number, offset in enumerate(chunks.offsets):
        (length,) = struct.unpack("<Q", path.read_bytes()[offset + 1 : offset + 9])
        ends.append((offset + 9 + length, max(message.sequence for message in chunks.messages(number))))
    chunks.close()
    return ends


def positions(size: int, ends: list[tuple[int, int]]) -> list[int]:
    """Every byte of the file's start and of the chunks with frames, some of the schemas and of the summary behind."""
    first, last = ends[0][0], ends[-1][0]
    return [*range(120), *range(120, first, 37), *range(first, last + 100), *range(last + 100, size, 37)]


def test_cut_at_every_byte_every_whole_chunk_is_read(tmp_path: Path) -> None:
    """What lies before the cut in whole chunks is read, all of it and nothing else."""
    written(tmp_path, chunks=3, frames_a_chunk=2)
    path = tmp_path / "000.mcap"
    whole, ends = path.read_bytes(), chunk_ends(path)
    cut = tmp_path / "cut.mcap"
    for size in positions(len(whole) + 1, ends):
        cut.write_bytes(whole[:size])
        expected = max((last for end, last in ends if end <= size), default=0)
        assert salvaged(cut) == set(range(1, expected + 1)), size


def test_a_flipped_bit_anywhere_costs_at_most_one_chunk(tmp_path: Path) -> None:
    """A bit that depends on where the byte is: no wrong value, and all the other chunks."""
    last = written(tmp_path, chunks=3, frames_a_chunk=2)
    path = tmp_path / "000.mcap"
    whole = bytearray(path.read_bytes())
    flipped = tmp_path / "flipped.mcap"
    for position in positions(len(whole), chunk_ends(path)):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position * 5 % 8)
        flipped.write_bytes(damaged)
        found = salvaged(flipped)
        assert len(set(range(2, last + 1)) - found) <= 3, position


@pytest.mark.parametrize("finish", [True, False])
def test_one_flipped_bit_among_many_chunks_leaves_99_percent(tmp_path: Path, finish: bool) -> None:
    """Of 100 chunks at most one is lost, with an index and without, and its frames are counted."""
    last = written(tmp_path, chunks=100, frames_a_chunk=10, finish=finish)
    path = tmp_path / "000.mcap"
    whole = path.read_bytes()
    for position in range(5, len(whole), len(whole) // 60):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        found = salvaged(tmp_path)
        assert len(found & set(range(2, last + 1))) >= 0.98 * (last - 1), position


def test_lost_frames_are_told_with_their_place(tmp_path: Path) -> None:
    """A chunk in the middle is destroyed: its ten frames are lost near their step, and lost stays ten when read again."""
    written(tmp_path, chunks=20, frames_a_chunk=10)
    path = tmp_path / "000.mcap"
    end, last = chunk_ends(path)[9]
    data = bytearray(path.read_bytes())
    data[end - 20 : end] = bytes(20)
    path.write_bytes(data)
    with Recording.open(tmp_path) as recording:
        for _ in range(2):
            recording.verify()
            assert recording.lost == 10
            assert recording.damage == (f"10 frames lost near step {last + 1}",)
            assert recording.frame_count == 192
        assert [frame.seq for frame in recording.frames(last - 10)][:2] == [last + 1, last + 2]


def test_a_damaged_last_chunk_is_told(tmp_path: Path) -> None:
    """There is no number behind it to count from, so the end is called damaged."""
    last = written(tmp_path, chunks=3, frames_a_chunk=10, finish=False)
    path = tmp_path / "000.mcap"
    end, _ = chunk_ends(path)[-1]
    data = bytearray(path.read_bytes())
    data[end - 9] ^= 1
    path.write_bytes(data)
    with Recording.open(tmp_path) as recording:
        recording.verify()
        assert recording.damage == (f"the end of 000.mcap is damaged, after frame {last - 10}",)


@pytest.mark.parametrize("zeros", [1, 9, 64, 5000])
def test_a_tail_of_zeros_is_the_end(tmp_path: Path, zeros: int) -> None:
    """Both behind the last record, as after a power cut, and in place of it."""
    last = written(tmp_path, chunks=5, frames_a_chunk=10, finish=False)
    path = tmp_path / "000.mcap"
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(zeros))
    assert salvaged(tmp_path) == set(range(1, last + 1))
    path.write_bytes(whole[: len(whole) - min(zeros, len(whole))] + bytes(zeros))
    expected = max(
        (seq for end, seq in chunk_ends_of(whole, tmp_path) if end <= len(whole) - zeros), default=0
    )
    assert salvaged(tmp_path) >= set(range(2, expected + 1))


def chunk_ends_of(data: bytes, folder: Path) -> list[tuple[int, int]]:
    path = folder / "copy.bin"
    path.write_bytes(data)
    return chunk_ends(path)


def chunk_record(data: bytes, size: int, checksum: int) -> bytes:
    body = struct.pack("<QQQII", 0, 0, size, checksum, 4) + b"zstd" + struct.pack("<Q", len(data)) + data
    return struct.pack("<BQ", 6, len(body)) + body


@pytest.mark.parametrize("claimed", [1 << 40, 1 << 30, 1000])
@pytest.mark.parametrize("says_its_size", [True, False])
def test_a_zstd_bomb_is_not_inflated(tmp_path: Path, claimed: int, says_its_size: bool) -> None:
    """A gigabyte of zeros in 33 kB, whatever the record claims; the chunks before and behind it are read."""
    last = written(tmp_path, chunks=4, frames_a_chunk=3, finish=False)
    path = tmp_path / "000.mcap"
    packer = zstandard.ZstdCompressor(write_content_size=says_its_size).compressobj(
        size=1 << 30 if says_its_size else -1
    )
    bomb = b"".join(packer.compress(bytes(1 << 24)) for _ in range(64)) + packer.flush()
    whole = path.read_bytes()
    middle = chunk_ends(path)[2][0]
    path.write_bytes(whole[:middle] + chunk_record(bomb, claimed, 0) + whole[middle:])
    before = memory()
    assert salvaged(tmp_path) == set(range(1, last + 1))
    assert memory() - before < 200_000


def memory() -> int:
    """Most memory this process has held, in kB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def test_a_chunk_without_a_checksum_is_not_believed(tmp_path: Path) -> None:
    """MCAP allows a CRC of zero for "none"; ours always have one."""
    raw = struct.pack("<BQHIQQ", 5, 22 + 2, 2, 9, 0, 0) + b"{}"
    path = tmp_path / "000.mcap"
    packed = zstandard.compress(raw)
    path.write_bytes(
        MAGIC + chunk_record(packed, len(raw), 0) + chunk_record(packed, len(raw), zlib.crc32(raw))
    )
    chunks = Chunks(path)
    assert len(chunks) == 2
    with pytest.raises(BadChunk, match="checksum"):
        list(chunks.messages(0))
    assert [bytes(message.data) for message in chunks.messages(1)] == [b"{}"]
    chunks.close()


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_no_recording(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, magic: bool
) -> None:
    """One sentence, whatever they are."""
    path = tmp_path_factory.mktemp("random") / "000.mcap"
    path.write_bytes((MAGIC if magic else b"") + data)
    with pytest.raises(LsmonError):
        Recording.open(path)


def test_lost_headers_are_found_elsewhere(tmp_path: Path) -> None:
    """In meta.json for a folder; a lone file does without, and says so."""
    last = written(tmp_path, chunks=3, frames_a_chunk=10)
    path = tmp_path / "000.mcap"
    data = bytearray(path.read_bytes())
    data[chunk_ends(path)[0][0] - 9] ^= 1
    path.write_bytes(data)
    with Recording.open(tmp_path) as recording:
        assert recording.header == HEADER
        assert recording.lost == 0
    (tmp_path / "meta.json").unlink()
    with Recording.open(path) as recording:
        assert recording.damage == ("the header is lost",)
        assert [frame.seq for frame in recording.frames()][1:-1] == list(range(2, last + 1))


KILLED = """
import sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from lsmon.protocol.codec import encode
from lsmon.protocol.frames import RunStarted, Scalars
from lsmon.protocol.recording.writer import Recorder

recorder = Recorder(Path(sys.argv[1]), RunStarted(seq=1, run="r1"), flush_secs=0.02, rotate_bytes=60_000)
for seq in range(2, 10_000_000):
    frame = Scalars(seq=seq, step=seq, wall=1000.0 + seq, values={{"loss": seq / 7, "lr": 0.1}})
    recorder.write(frame, encode(frame))
    recorder.tick()
    if seq % 50 == 0:
        recorder._segment and recorder._segment.flush()
        print(seq, flush=True)
"""


@pytest.mark.parametrize("lines", [3, 40, 333])
def test_kill_9_loses_no_flushed_frame(tmp_path: Path, lines: int) -> None:
    """A writer is killed at whatever it was doing; all that it had flushed is there, and only frames that it wrote."""
    script = KILLED.format(path=sys.path)
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        flushed = 0
        for _ in range(lines):
            flushed = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().split(b"\n")[:-1]
    flushed = int(rest[-1]) if rest else flushed
    with Recording.open(tmp_path) as recording:
        frames = list(recording.frames())
        assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
        assert len(frames) >= flushed
        assert all(
            isinstance(frame, Scalars) and frame.values["loss"] == frame.seq / 7 for frame in frames[1:]
        )
        assert recording.ended is None and recording.damage == ()


def test_a_damaged_overview_only_costs_time(tmp_path: Path) -> None:
    """Whatever byte of it is flipped, events and rows are the same, read from the segments where need be."""
    written(tmp_path, chunks=10, frames_a_chunk=20)
    path = tmp_path / "overview.mcap"
    whole = path.read_bytes()
    for position in range(3, len(whole), len(whole) // 50):
        damaged = bytearray(whole)
        damaged[position] ^= 1 << (position % 8)
        path.write_bytes(damaged)
        with Recording.open(tmp_path) as recording:
            assert [event.seq for event in recording.events()] == list(range(10, 202, 10))
            assert sum(row.series["loss"][0] for row in recording.summaries(64)) == 180


def test_a_file_that_shrinks_while_it_is_read_is_no_crash(tmp_path: Path) -> None:
    """Frames already given stay; the rest is called damaged."""
    written(tmp_path, chunks=20, frames_a_chunk=10)
    with Recording.open(tmp_path) as recording:
        frames: Iterator[AnyFrame] = recording.frames()
        assert next(frames) == HEADER
        os.truncate(tmp_path / "000.mcap", 100)
        assert all(isinstance(frame, RunEnded) or frame == frame_of(frame.seq) for frame in frames)
        assert recording.damage


def mutated(data: bytes, dice: random.Random) -> bytes:
    """Bytes changed, removed, inserted, repeated, or the rest cut off."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 2, 10])):
        at, length = dice.randrange(len(changed) + 1), dice.randrange(1, 200)
        change = dice.randrange(5)
        if change == 0:
            changed[at : at + 8] = dice.choice([bytes(8), b"\xff" * 8, dice.randbytes(8)])
        elif change == 1:
            del changed[at : at + length]
        elif change == 2:
            changed[at:at] = dice.randbytes(length)
        elif change == 3:
            changed[at:at] = changed[:length]
        else:
            del changed[-length:]
    return bytes(changed)


@pytest.mark.parametrize("seed", range(60))
def test_whatever_happened_to_its_files_a_recording_opens_or_says_why_not(tmp_path: Path, seed: int) -> None:
    """All of it: frames, rows, events, what it says of itself, replay. No crash, no wrong frame."""
    dice = random.Random(seed)
    written(tmp_path, dice.randrange(1, 5), dice.randrange(1, 30), finish=dice.random() < 0.7)
    for path in sorted(tmp_path.iterdir()):
        if dice.random() < 0.6:
            path.write_bytes(mutated(path.read_bytes(), dice))
    salvaged(tmp_path)
    try:
        recording = Recording.open(tmp_path)
    except LsmonError:
        return
    About.of(recording)
    with closing(Replay(recording, playing=False)) as replay:
        for step in (0, 10, 10**12):
            replay.seek(step)
            replay.read()
        assert replay.timeline.first_step <= replay.timeline.last_step
        assert "\n" not in replay.link.words


NONSENSE = st.sampled_from([0, 1, 2, -1, 70, 2**31, 2**32 + 1, 2**63 - 1, -(2**63)])


@st.composite
def nonsense(draw: st.DrawFn) -> AnyFrame:
    """A frame that is well formed and means nothing."""
    seq, step, attempt = draw(NONSENSE), draw(NONSENSE), draw(NONSENSE)
    wall, odd = draw(st.sampled_from([0.0, 1.0, -1e300, 1e300])), draw(NONSENSE)
    row = (odd, 1e308, -1e308, 1e308, 0.0, odd)
    frames: list[AnyFrame] = [
        Scalars(seq=seq, step=step, wall=wall, attempt=attempt, values={"loss": 1e308}),
        Alert(seq=seq, step=step, wall=wall, attempt=attempt),
        Heartbeat(seq=seq, step=step, wall=wall, attempt=attempt, dropped=odd),
        Summary(seq=seq, step=step, wall=wall, attempt=attempt, first_seq=odd, series={"loss": row}),
        Summary(seq=seq, step=step, wall=wall, level=4096, first_step=odd, series={"loss": row}),
        RunStarted(seq=seq, step=step, wall=wall, attempt=attempt),
    ]
    return draw(st.sampled_from(frames))


@settings(max_examples=60, deadline=None)
@given(st.lists(nonsense(), max_size=30), NONSENSE)
def test_nonsense_in_sound_chunks_is_no_crash(
    tmp_path_factory: pytest.TempPathFactory, frames: list[AnyFrame], first: int
) -> None:
    """A hostile file has valid checksums: numbers, steps and times that make no sense."""
    folder = tmp_path_factory.mktemp("nonsense")
    recorder = Recorder(folder, RunStarted(seq=first, run="r1"), rotate_bytes=2000)
    for frame in frames:
        recorder.write(frame, encode(frame))
    recorder.close()
    assert recorder.trouble == ""
    recording = Recording.open(folder)
    About.of(recording)
    with closing(Replay(recording, playing=False)) as replay:
        list(recording.frames(3))
        list(recording.summaries(64, 1, 70))
        for step in (0, 70, 2**62):
            replay.seek(step)
            replay.read()
        replay.set_speed(1000.0)
        replay.play(True)
        replay.read()
        assert replay.timeline.speed == 1000.0


def test_a_segment_that_was_cut_off_is_missed_by_the_overview(tmp_path: Path) -> None:
    """Half a copy of the frames beside the whole overview: whoever reads to the end learns how many are missing."""
    last = written(tmp_path, 20, 100) + 1
    with Recording.open(tmp_path) as whole:
        whole.verify()
        assert (whole.lost, whole.frame_count) == (0, last)
    path = tmp_path / "000.mcap"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with Recording.open(tmp_path) as torn:
        there = sum(not isinstance(frame, Heartbeat) for frame in torn.frames())
        assert 100 < there < last - 100
        assert (torn.lost, torn.frame_count) == (last - there, there)
        spaced = f"{torn.lost:,} frames lost near step {there:,}".replace(",", " ")
        assert torn.damage == (spaced,)


def test_a_file_of_another_run_is_left_out_and_told(tmp_path: Path) -> None:
    """Copied into the folder, it would be told as later steps of this run."""
    written(tmp_path / "one", 3, 20)
    last = written(tmp_path / "other", 6, 20)
    stray = tmp_path / "one" / "001.mcap"
    stray.write_bytes((tmp_path / "other" / "000.mcap").read_bytes())
    with Recording.open(tmp_path / "one") as recording:  # the same run: its later part
        assert recording.last_seq == last + 1 and not recording.damage
    recorder = Recorder(tmp_path / "third", RunStarted(seq=1, run="r2"))
    for seq in range(2, 200):
        recorder.write(frame_of(seq), encode(frame_of(seq)))
    recorder.close()
    stray.write_bytes((tmp_path / "third" / "000.mcap").read_bytes())
    with Recording.open(tmp_path / "one") as recording:
        frames = list(recording.frames())
        assert frames[-1] == RunEnded(seq=62, step=61)
        assert recording.damage == ("001.mcap is of another run, and left out",)
        assert recording.ended is not None


def test_a_file_that_is_there_twice_is_told_once(tmp_path: Path) -> None:
    """Its heartbeats too: behind the end of the run they would be taken for the end of a recording made of it."""
    folder, clock = tmp_path / "run", Clock()
    recorder = Recorder(folder, HEADER, clock=clock)
    for seq in range(2, 60):
        for frame in (frame_of(seq), Heartbeat(seq=seq, step=seq)):
            recorder.write(frame, encode(frame))
    recorder.write(RunEnded(seq=60, step=59), encode(RunEnded(seq=60, step=59)))
    recorder.close()
    with Recording.open(folder) as recording:
        once = list(recording.frames())
    (folder / "001.mcap").write_bytes((folder / "000.mcap").read_bytes())
    with Recording.open(folder) as recording:
        assert list(recording.frames()) == once
    assert repair(folder, tmp_path / "mended").lost == 0
