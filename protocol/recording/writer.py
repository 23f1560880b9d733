"""The recorder: frames in, a folder that survives a kill, a full disk and a copy made while it was written out."""

from __future__ import annotations

import errno
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

from ..codec import encode
from ..fold import LEVELS
from ..frames import UNNUMBERED, Alert, AnyFrame, Mark, RunEnded, RunStarted, Summary, state
from .ending import written
from .folder import META, make_folder, overview_path, segment_path, write_meta
from .outfile import OutFile

RETRY_SECS = 10.0
"""After trouble. Somebody frees a disk in minutes; trying costs one ``open``."""

FLUSHES_A_FILE = 1024
"""The index of a file is kept in memory until the file is finished, 0.8 kB a flush: 0.8 MB in the 9 minutes of them. A
file costs 17 kB and 0.3 ms when the recording is opened."""

OVERVIEW_SECS = 5.0
OVERVIEW_SHARE = 1e-3
"""The overview is flushed every 5 s or every thousandth of the run's age, whichever is longer: a week then makes 6000
chunks instead of 120 000, and what a kill takes from it is refolded from the segments."""
OVERVIEW_BYTES = 1 << 17
"""Some 300 rows, 20 000 frames: refolding as many takes a reader a fifth of a second."""

_STORY = (RunStarted, Alert, Mark, RunEnded)


class Recorder:
    """Writes frames as they come. Never raises: what goes wrong is in ``trouble``, and it tries again by itself.

    Belongs to one thread, the probe's IO thread. Makes the folder, and goes on in a new file after trouble. What was
    not flushed before it and what came during it is missing from the record, which its reader sees as a hole in the
    numbers; ``missing`` counts it.
    """

    quiet = True
    """Nobody waits for what is written."""

    def __init__(
        self,
        folder: Path,
        header: RunStarted,
        *,
        rotate_bytes: int = 256 << 20,
        rotate_secs: float = 3600,
        flush_secs: float = 0.5,
        sync_secs: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.trouble = ""
        self.missing = 0
        """Frames that are not recorded because of trouble that is over."""
        self._folder, self._header, self._header_data = folder, header, encode(header)
        self._rotate_bytes, self._rotate_secs = rotate_bytes, rotate_secs
        self._flush_secs, self._sync_secs = flush_secs, sync_secs
        self._clock = clock
        self._born = clock()
        self._retry_at = 0.0
        self._opened = self._flushed = self._synced = self._overview_flushed = self._born
        self._number = 0
        self._segment: OutFile | None = None
        self._overview: OutFile | None = None
        self._states: dict[tuple[type, str], tuple[AnyFrame, bytes]] = {}
        """Copied beside every coarse row, so that a seek knows the state at that row."""
        self._begun = False
        self._frames = 1 if header.seq else 0
        self._safe_seq = header.seq
        self._resuming = False
        self._last: AnyFrame | None = None
        self._ended = ""
        self._guard(self._begin)

    @property
    def words(self) -> str:
        """How it goes when it does not, or did not, simply record; else nothing."""
        if self.trouble or not self.missing:
            return self.trouble
        return f"again, {self.missing} frame{' is' if self.missing == 1 else 's are'} missing"

    def write(self, frame: AnyFrame, data: bytes) -> None:
        """Takes a frame and its encoded bytes. On disk after the next flush."""
        if self._segment is not None:
            self._guard(self._write, frame, data)

    def tick(self) -> None:
        """Flushes, syncs and rotates when due; tries again after trouble. To be called about every 50 ms."""
        if self._segment is not None:
            self._guard(self._tick)
        elif self.trouble and self._clock() >= self._retry_at:
            self._guard(self._begin)

    def close(self) -> None:
        """Finishes the files. Calling it twice is fine."""
        if self._segment is not None:
            self._guard(self._finish)
        self._retry_at = math.inf

    def _guard(self, act: Callable[..., None], *args: object) -> None:
        try:
            act(*args)
        except Exception as error:  # noqa: BLE001  training must not feel it, whatever it is; the screen says it
            self._stop(error)

    def _begin(self) -> None:
        now = self._clock()
        self._begun = self._begun and (self._folder / META).exists()  # somebody may have cleared it away
        if not self._begun:
            make_folder(self._folder)
        while True:
            try:
                self._segment = OutFile(segment_path(self._folder, self._number))
                break
            except FileExistsError:
                self._number += 1
        self._head(self._segment)
        if self._overview is None:
            self._overview = OutFile(overview_path(self._folder, self._number))
            self._head(self._overview)
            self._overview_flushed = now
        if not self._begun:
            write_meta(self._folder, self._header)
            self._begun = True
        self._resuming = self._resuming or bool(self.trouble)
        self._opened = self._flushed = self._synced = now
        self.trouble = ""

    def _head(self, file: OutFile) -> None:
        file.add(self._header, self._header_data)
        file.flush()  # a chunk of its own: damage further on leaves the header

    def _write(self, frame: AnyFrame, data: bytes) -> None:
        assert self._segment is not None and self._overview is not None
        if isinstance(frame, RunStarted) and frame.seq <= self._header.seq:
            return  # stands at the head already
        if isinstance(frame, Summary):
            if frame.level > LEVELS[0]:
                for kept in self._states.values():
                    self._overview.add(*kept)
                self._states.clear()
            self._overview.add(frame, data)
            return
        self._segment.add(frame, data)
        slot = state(frame)
        if slot is not None:
            self._states[slot] = (frame, data)
        elif isinstance(frame, _STORY):
            self._overview.add(frame, data)
            if isinstance(frame, RunEnded):
                self._ended = written(frame)
        if not isinstance(frame, UNNUMBERED):
            if self._resuming:
                self._resuming = False
                self.missing += max(frame.seq - self._safe_seq - 1, 0)
                if self._last is not None:
                    self._frames -= max(self._last.seq - self._safe_seq, 0)  # taken, and never flushed
            self._frames, self._last = self._frames + 1, frame
        if self._segment.size >= self._rotate_bytes:
            self._rotate()

    def _tick(self) -> None:
        assert self._segment is not None and self._overview is not None
        now = self._clock()
        if now - self._opened >= self._rotate_secs or self._segment.flushes >= FLUSHES_A_FILE:
            self._rotate()
        elif now - self._synced >= self._sync_secs:
            self._segment.sync()
            self._flushed = self._synced = now
        elif now - self._flushed >= self._flush_secs:
            self._segment.flush()
            self._flushed = now
        age = now - self._overview_flushed
        if (
            age >= max(OVERVIEW_SECS, OVERVIEW_SHARE * (now - self._born))
            or self._overview.pending > OVERVIEW_BYTES
        ):
            self._overview.sync()
            self._overview_flushed = now

    def _rotate(self) -> None:
        assert self._segment is not None
        segment, self._segment = self._segment, None
        try:
            segment.finish()
        finally:
            self._safe_seq = max(self._safe_seq, segment.safe_seq)
        self._number += 1
        self._begin()

    def _finish(self) -> None:
        assert self._segment is not None and self._overview is not None
        segment, overview = self._segment, self._overview
        self._segment = self._overview = None
        try:
            segment.finish()
        finally:
            overview.finish()
        last = self._last
        write_meta(
            self._folder, self._header, frames=self._frames, last_step=last.step if last else 0,
            ended=self._ended, seconds=last.wall - self._header.wall if last else 0.0,
        )  # fmt: skip

    def _stop(self, error: Exception) -> None:
        if self._segment is not None:
            self._safe_seq = max(self._safe_seq, self._segment.safe_seq)
        for file in (self._segment, self._overview):
            if file is not None:
                file.abandon()
        self._segment = self._overview = None
        self._states.clear()
        self._retry_at = self._clock() + RETRY_SECS
        self.trouble = f"stopped: {_words(error)}"


def _words(error: Exception) -> str:
    if not isinstance(error, OSError):
        return f"{type(error).__name__}: {error}"
    if error.errno == errno.ENOSPC:
        return "disk full"
    if error.errno == errno.ENOENT:
        return "the folder is gone"
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return "a file is where the folder should be"
    return os.strerror(error.errno).lower() if error.errno else str(error)
