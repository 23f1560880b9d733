"""A damaged recording written anew: whatever can be read of it, in whole files with an index and an overview.

Numbers stay as they were, so that what is missing stays a hole that every reader counts. The original is only read.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import LsmonError
from ..frames import UNNUMBERED, AnyFrame
from .reader import Recording
from .record import record

_REPORT_FRAMES = 5000
"""Frames between two words about the progress: a tenth of a second."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """What was saved, and what could not be."""

    frames: int
    """Numbered frames in the new recording."""
    first_step: int
    last_step: int
    lost: int
    damage: tuple[str, ...]


def repair(
    damaged: Path, into: Path, progress: Callable[[int, int], None] = lambda done, of: None
) -> Repaired:
    """Write what can be read of ``damaged`` (a folder or one of its files) to the new folder ``into``.

    ``progress`` is told how many frames of about how many are done. Raises LsmonError when there is nothing to read,
    when ``into`` exists, and when the disk does not take it; then nothing is left behind.
    """
    if os.path.lexists(into):
        raise LsmonError(f"A repaired recording goes to a new folder; this one exists already: {into}")
    with Recording.open(damaged) as recording:
        try:
            into.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{into.name}-", dir=into.parent))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LsmonError(f"Cannot make a folder for the repaired recording ({reason}): {into}") from None
        try:
            record(draft, recording.header, _told(recording, progress))
            with Recording.open(draft) as written:
                written.verify()
                repaired = Repaired(
                    written.frame_count,
                    written.first_step,
                    written.last_step,
                    max(recording.lost, written.lost),  # a frame of a later lsmon is in the first only
                    recording.damage or written.damage,
                )
            draft.rename(into)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise LsmonError(f"The repaired recording could not be finished ({reason}): {into}") from None
        finally:
            shutil.rmtree(draft, ignore_errors=True)  # gone by its new name, unless something went wrong
    return repaired


def _told(recording: Recording, progress: Callable[[int, int], None]) -> Iterator[AnyFrame]:
    total, done = recording.frame_count, 0
    for frame in recording.frames():
        if done % _REPORT_FRAMES == 0:
            progress(done, max(total, done))
        done += not isinstance(frame, UNNUMBERED)
        yield frame
    progress(done, done)
