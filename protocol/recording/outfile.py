"""One MCAP file being written: what has been flushed survives whatever happens to the process."""

from __future__ import annotations

import errno
import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from mcap.writer import CompressionType, Writer

from ..frames import UNNUMBERED, AnyFrame, Summary
from .topics import PROFILE, TOPICS, channel_of, json_schema

CHUNK_BYTES = 1 << 19
"""Of frames before compression. Half a megabyte inflates in about a millisecond, and is all that a damaged byte costs."""

_MAX_WALL = 18e9
"""Seconds; MCAP's times are unsigned 64-bit nanoseconds, which end in the year 2554."""


class _Stream:
    """An unbuffered file, since a buffer would be written twice by a forked child and hide a full disk until later."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        self.position = 0

    def write(self, data: bytes) -> int:
        rest = memoryview(data)
        while rest:
            written = os.write(self._file, rest)
            self.position += written
            rest = rest[written:]
        return len(data)

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        pass

    def sync(self) -> None:
        os.fsync(self._file)
        if os.fstat(self._file).st_nlink == 0:  # deleted under us: it would be written to for nothing
            raise FileNotFoundError(errno.ENOENT, "the file was deleted")

    def cut(self, size: int) -> None:
        os.ftruncate(self._file, size)

    def close(self) -> None:
        os.close(self._file)


class OutFile:
    """Adds frames to chunks; ``flush`` writes the chunk and its Metadata record. All methods raise OSError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = _Stream(path)
        self._pending = 0
        self.flushes = 0
        self._good = 0
        self.safe_seq = 0
        """Number of the last frame that has been flushed; 0 when none has."""
        self._log_time = 0
        self._last_seq = 0
        self._waiting: list[tuple[AnyFrame, bytes]] = []
        try:
            # The library closes a chunk by itself at chunk_size; here only flush does, so that each has its Metadata.
            self._mcap = Writer(
                cast(Any, self._stream),  # of a file it uses write, tell and flush
                chunk_size=1 << 40,
                compression=CompressionType.ZSTD,
            )
            self._mcap.start(profile=PROFILE, library="lsmon")
            for topic, kind in TOPICS:
                schema = self._mcap.register_schema(
                    name=kind.__name__, encoding="jsonschema", data=json_schema(kind)
                )
                self._mcap.register_channel(topic=topic, message_encoding="json", schema_id=schema)
        except BaseException:
            self.abandon()
            raise

    @property
    def size(self) -> int:
        """Bytes on disk, and those that are still to be compressed."""
        return self._stream.position + self._pending

    @property
    def pending(self) -> int:
        return self._pending

    def add(self, frame: AnyFrame, data: bytes) -> None:
        """Puts an encoded frame into the chunk; the chunk is flushed when it is full."""
        # Records are made all at once at the flush, which is cheaper than each between other work.
        self._waiting.append((frame, data))
        self._pending += len(data)
        if self._pending >= CHUNK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hands everything added so far to the operating system: it survives ``kill -9``, not yet a power cut."""
        if not self._waiting:
            return
        seqs: list[int] = []
        for frame, data in self._waiting:
            if math.isfinite(frame.wall) and 0 <= frame.wall < _MAX_WALL:
                self._log_time = max(self._log_time, int(frame.wall * 1e9))
            time, number = self._log_time, frame.seq & 0xFFFFFFFF
            self._mcap.add_message(channel_of(frame), time, data, time, number)
            if isinstance(frame, Summary):
                seqs += (frame.first_seq, frame.seq)
            elif not isinstance(frame, UNNUMBERED):
                seqs.append(frame.seq)
        steps = [frame.step for frame, _ in self._waiting]
        self._waiting.clear()
        self._mcap.flush()  # type: ignore[no-untyped-call]
        first = min(seqs, default=self._last_seq + 1)  # only heartbeats: an empty range after the last
        self._last_seq = max(seqs, default=self._last_seq)
        self._mcap.add_metadata(
            "lsmon.chunk",
            {
                "first_step": str(min(steps)),
                "last_step": str(max(steps)),
                "first_seq": str(first),
                "last_seq": str(self._last_seq),
            },
        )
        self._pending = 0
        self.flushes += 1
        self._good = self._stream.position
        self.safe_seq = self._last_seq

    def sync(self) -> None:
        """Hands it to the disk: it survives a power cut."""
        self.flush()
        self._stream.sync()

    def finish(self) -> None:
        """Writes the summary that makes the file quick to open, and closes it."""
        try:
            self.flush()
            self._mcap.finish()  # type: ignore[no-untyped-call]
            self._stream.sync()
        except OSError:
            self.abandon()
            raise
        self._stream.close()

    def abandon(self) -> None:
        """Closes the file as it was after the last whole flush; one that holds no more than a header is removed."""
        with suppress(OSError):  # a torn end is skipped by the reader as well
            self._stream.cut(self._good)
        with suppress(OSError):
            self._stream.close()
        if self.flushes <= 1:
            with suppress(OSError):
                self._path.unlink()
