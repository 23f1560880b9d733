"""Another's file with a training's numbers, opened as a recording by writing it anew.

CSV, JSON lines and TensorBoard events become a recording in a temporary folder, which is gone when it is closed. So
replay, alerts and the rest have one way to go, and the detectors have said their word about it.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from pathlib import Path

from msgspec import structs

from ..codec import encode
from ..detectors.watch import Watch
from ..errors import BadRecording
from ..fold import Folds
from ..frames import UNNUMBERED, Alert, AnyFrame, RunEnded, RunStarted
from ..recording.reader import Recording
from ..recording.segment import Segment
from ..recording.writer import Recorder
from ..told import Told, untold
from . import json_lines, table, tfevents
from .reading import Reading
from .rows import Row, frames

FLUSH_FRAMES = 2000
"""Frames between two flushes: no one reads it meanwhile."""

RowReader = Callable[[Path, Reading], Iterator[Row]]

_BY_SUFFIX: dict[str, RowReader] = {
    ".csv": table.rows, ".tsv": table.rows, ".jsonl": json_lines.rows, ".ndjson": json_lines.rows, ".json": json_lines.rows,
}  # fmt: skip


class Imported(Recording):
    """A recording made of another's file."""

    def __init__(self, path: Path, segments: list[Segment], overviews: Sequence[Path]) -> None:
        """For ``open`` only."""
        self.notes: list[str] = []
        """What of the file could not be read, or not as it stands there, in words."""
        self.unread = 0
        """Lines and records of it that could not be."""
        self.origin = path
        """The file or folder that it was made of."""
        super().__init__(path, segments, overviews)

    @property
    def size(self) -> int:
        """Bytes of that file, or of the event files in that folder."""
        return _size(self.origin)

    @property
    def lost(self) -> int:
        """Frames and lines that are missing."""
        return super().lost + self.unread

    @property
    def damage(self) -> tuple[str, ...]:
        return (*super().damage, *self.notes)

    def close(self) -> None:
        super().close()
        shutil.rmtree(self.path, ignore_errors=True)


def imported(path: Path, told: Told = untold) -> Imported | None:
    """The recording made of this file or folder; None when it is nobody's. Raises BadRecording or OSError.

    ``told`` hears of the bytes that have been read.
    """
    reader = _reader(path)
    return None if reader is None else _imported(path, reader, Reading(_size(path), told))


def _size(path: Path) -> int:
    files = [path] if path.is_file() else tfevents.event_files(path)
    return sum(file.stat().st_size for file in files)


def _reader(path: Path) -> Callable[[Path, Reading], Iterator[AnyFrame]] | None:
    """How to read it; None when there is no way."""
    if path.is_file() and (rows := _BY_SUFFIX.get(path.suffix.lower())) is not None:
        if rows is json_lines.rows and json_lines.are_frames(path):
            return json_lines.recorded
        return lambda file, reading: frames(rows(file, reading), file.stem, file.stat().st_mtime)
    if path.exists() and not any(path.glob("*.mcap")) and tfevents.event_files(path):
        return lambda file, reading: frames(tfevents.rows(file, reading), file.name)
    return None


def _imported(
    path: Path, reader: Callable[[Path, Reading], Iterator[AnyFrame]], reading: Reading
) -> Imported:
    folder = Path(tempfile.mkdtemp(prefix="lsmon-"))  # which only the owner can enter
    try:
        _write(folder, reader(path, reading), path)
        recording = Imported.open(folder)
        assert isinstance(recording, Imported)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    recording.notes, recording.unread, recording.origin = reading.notes, reading.lost, path
    return recording


def _write(folder: Path, read: Iterator[AnyFrame], path: Path) -> None:
    """As the probe's sender does it: numbered, recorded, and shown to the detectors, whose alerts are recorded too."""
    first = next(read, None)
    if first is None:
        raise BadRecording(f"There is nothing in this file: {path}")
    header = (
        first
        if isinstance(first, RunStarted)
        else RunStarted(name=path.stem, step=first.step, wall=first.wall)
    )
    header = structs.replace(header, seq=1, recording="", pid=0)
    recorder = Recorder(folder, header)
    folds, watch, seq = Folds(), Watch(), 1
    last: AnyFrame = header

    def write(frame: AnyFrame) -> None:
        nonlocal seq
        seq += 1
        frame = structs.replace(frame, seq=seq)
        recorder.write(frame, encode(frame))
        for summary in folds.add(frame):
            recorder.write(summary, encode(summary))
        for alert in watch.see(frame):
            write(structs.replace(alert, wall=frame.wall))

    folds.add(header)
    for frame in chain((first,), read):
        if isinstance(frame, (RunStarted, RunEnded, Alert, *UNNUMBERED)):
            continue
        write(last := frame)
        if seq % FLUSH_FRAMES == 0:
            recorder.tick()
    for summary in folds.close():
        recorder.write(summary, encode(summary))
    ended = RunEnded(seq=seq + 1, step=last.step, attempt=last.attempt, wall=last.wall)
    recorder.write(ended, encode(ended))
    recorder.close()
    if recorder.trouble:
        raise BadRecording(f"Cannot write the temporary copy ({recorder.trouble}): {path}")
