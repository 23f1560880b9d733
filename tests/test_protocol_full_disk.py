"""A recorder in trouble: a disk that is full or broken, a folder that cannot be written to or vanishes."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import Alert, AnyFrame, RunStarted, Scalars
from lsmon.protocol.recording import folder as folders
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import RETRY_SECS, Recorder
from tests.clock import Clock

HEADER = RunStarted(seq=1, run="r1", name="a run", wall=1000.0)


def frame_of(seq: int) -> AnyFrame:
    """An alert every tenth, a loss otherwise."""
    if seq % 10 == 0:
        return Alert(seq=seq, step=seq, wall=1000.0 + seq, kind="stall")
    return Scalars(seq=seq, step=seq, wall=1000.0 + seq, values={"loss": seq / 7})


class Disk:
    """Stands in for ``os.write``: takes so many bytes, then fails, and half of the last write gets through."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, error: int = errno.ENOSPC) -> None:
        self.room, self._error, self._write = room, error, os.write
        monkeypatch.setattr(os, "write", self.write)

    def write(self, file: int, data: bytes) -> int:
        if self.room <= 0:
            raise OSError(self._error, os.strerror(self._error))
        written = self._write(file, bytes(data)[: self.room])
        self.room -= written
        return written


def recorded(path: Path) -> list[int]:
    with Recording.open(path) as recording:
        return [frame.seq for frame in recording.frames()]


def feed(recorder: Recorder, clock: Clock, first: int, last: int) -> None:
    """Frames, flushed one by one."""
    for seq in range(first, last + 1):
        recorder.write(frame_of(seq), encode(frame_of(seq)))
        clock.now += 0.5
        recorder.tick()


@pytest.mark.parametrize(
    ("error", "words"), [(errno.ENOSPC, "stopped: disk full"), (errno.EIO, "input/output")]
)
def test_a_full_disk_stops_the_recorder_in_words_and_it_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int, words: str
) -> None:
    """What was flushed stays readable, the rest is a hole in the numbers, and a new segment goes on when there is room."""
    disk, clock = Disk(monkeypatch, 1 << 30, error), Clock()
    recorder = Recorder(tmp_path, HEADER, clock=clock)
    feed(recorder, clock, 2, 20)
    assert recorder.trouble == ""
    disk.room = 50
    feed(recorder, clock, 21, 25)
    assert words in recorder.trouble
    assert recorded(tmp_path) == list(range(1, 21))
    clock.now += RETRY_SECS
    recorder.tick()
    assert words in recorder.trouble
    assert len(folders.segments(tmp_path)) == 1  # what was begun in vain is not left lying about
    disk.room = 1 << 30
    feed(recorder, clock, 26, 30)
    assert words in recorder.trouble  # not yet: it does not hammer a full disk
    clock.now += RETRY_SECS
    recorder.tick()
    assert recorder.trouble == ""
    feed(recorder, clock, 31, 60)
    assert (recorder.missing, recorder.words) == (10, "again, 10 frames are missing")
    recorder.close()
    meta = folders.read_meta(tmp_path)
    assert meta is not None and meta.frames == 50
    assert recorded(tmp_path) == [*range(1, 21), *range(31, 61)]
    with Recording.open(tmp_path) as recording:
        assert (recording.lost, recording.damage) == (10, ("10 frames lost near step 31",))
        assert [event.seq for event in recording.events()] == [10, 20, 40, 50, 60]
        assert sum(row.series["loss"][0] for row in recording.summaries(64)) == 44


@pytest.mark.parametrize("room", range(0, 9000, 450))
def test_a_disk_that_fills_at_any_moment_is_no_trouble_for_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    """Nothing is raised, whichever file was being written; what can be read is a prefix."""
    Disk(monkeypatch, room)
    clock = Clock()
    recorder = Recorder(tmp_path, HEADER, clock=clock, rotate_bytes=500)
    feed(recorder, clock, 2, 30)
    trouble = recorder.trouble
    recorder.close()
    assert trouble or recorder.trouble or room > 6000
    try:
        found = recorded(tmp_path)
    except LsmonError:
        return
    assert found == list(range(1, len(found) + 1))


def test_a_recorder_that_cannot_begin_says_so_and_begins_when_it_can(tmp_path: Path) -> None:
    """A file stands where the folder should be: no raise, words, frames are taken without harm; then it makes way."""
    (tmp_path / "file").write_text("")
    clock = Clock()
    recorder = Recorder(tmp_path / "file" / "run", HEADER, clock=clock)
    assert recorder.trouble == recorder.words == "stopped: a file is where the folder should be"
    feed(recorder, clock, 2, 5)
    (tmp_path / "file").unlink()
    clock.now += RETRY_SECS
    recorder.tick()
    assert recorder.trouble == ""
    feed(recorder, clock, 6, 9)
    recorder.close()
    assert recorder.words == "again, 4 frames are missing"
    with Recording.open(tmp_path / "file" / "run") as recording:
        assert [frame.seq for frame in recording.frames()] == [1, *range(6, 10)]
        assert recording.lost == 4


def test_a_read_only_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the start, and when it becomes so in the middle."""

    def read_only(*_: object) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    clock = Clock()
    recorder = Recorder(tmp_path / "run", HEADER, clock=clock, rotate_secs=3.0)
    monkeypatch.setattr(os, "open", read_only)
    feed(recorder, clock, 2, 9)
    assert recorder.trouble == "stopped: read-only file system"
    assert Recorder(tmp_path / "other", HEADER, clock=clock).trouble == recorder.trouble
    monkeypatch.undo()
    clock.now += RETRY_SECS
    recorder.tick()
    assert recorder.trouble == ""
    recorder.close()


def test_a_folder_that_vanishes_is_told(tmp_path: Path) -> None:
    """Deleting it does not fail any write, so it is looked for; it is made again, and recording goes on."""
    folder = tmp_path / "run"
    folder.mkdir()
    clock = Clock()
    recorder = Recorder(folder, HEADER, clock=clock)
    feed(recorder, clock, 2, 5)
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    feed(recorder, clock, 6, 20)
    assert recorder.trouble == "stopped: the folder is gone"
    clock.now += RETRY_SECS
    recorder.tick()
    assert recorder.trouble == ""
    feed(recorder, clock, 21, 25)
    assert recorded(folder) == [1, *range(21, 26)]
    meta = folders.read_meta(folder)
    assert meta is not None and meta.run is not None and meta.run.run == HEADER.run
    for path in folder.iterdir():  # and when only what is in it is gone
        path.unlink()
    feed(recorder, clock, 26, 40)
    clock.now += RETRY_SECS
    recorder.tick()
    feed(recorder, clock, 41, 45)
    recorder.close()
    assert recorded(folder) == [1, *range(41, 46)]
    assert folders.read_meta(folder) is not None
