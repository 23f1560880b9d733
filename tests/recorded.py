"""Recordings made of frames, as the probe's sender makes them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from lsmon.protocol.codec import encode
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import AnyFrame, RunStarted
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.writer import Recorder


def record(root: Path, frames: Iterable[AnyFrame]) -> Path:
    """Writes them below ``root``, the header first; the folder."""
    story = list(frames)
    header = story[0]
    assert isinstance(header, RunStarted)
    folder = new_folder(root, header)
    recorder, folds = Recorder(folder, header), Folds()
    folds.add(header)
    for frame in story[1:]:
        recorder.write(frame, encode(frame))
        for summary in folds.add(frame):
            recorder.write(summary, encode(summary))
    for summary in folds.close():
        recorder.write(summary, encode(summary))
    recorder.close()
    return folder
