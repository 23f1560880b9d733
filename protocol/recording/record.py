"""Recording what is there already: a whole sequence of frames at once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ..codec import encode
from ..errors import LsmonError
from ..fold import Folds
from ..frames import AnyFrame, RunStarted
from .writer import Recorder


def record(folder: Path, header: RunStarted, frames: Iterable[AnyFrame]) -> None:
    """Writes frames into ``folder``, with their overview. Raises LsmonError when the disk does not take them."""
    recorder = Recorder(folder, header)
    folds = Folds()
    folds.add(header)
    try:
        for frame in frames:
            recorder.write(frame, encode(frame))
            for row in folds.add(frame):
                recorder.write(row, encode(row))
            recorder.tick()
            if recorder.trouble:
                break
        for row in folds.close():
            recorder.write(row, encode(row))
    finally:
        recorder.close()
    if recorder.trouble:
        raise LsmonError(f"The recording {recorder.trouble}: {folder}")
