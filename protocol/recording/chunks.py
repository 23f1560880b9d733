"""The chunks of an MCAP file, whole, torn or damaged, and nothing in it believed that has no checksum.

A finished file has an index at its end. Without a valid one the record headers are walked, and where they make no
sense the next chunk is searched for. The file is read with ``pread``, never mapped: it may shrink meanwhile.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import zstandard

from ..errors import BadRecording

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK = 4 << 20
"""Bytes after decompression. Ours have half a megabyte, and one frame more at most; a zstd bomb of 33 kB would take a
gigabyte."""
MAX_SUMMARY = 256 << 20
_MAX_CHUNKS = 1 << 22
"""Of a file; a segment has 7200. Bounds the memory that a hostile file can take."""
_MAX_STRAY = 1000
"""Records between two chunks; ours have a dozen. Keeps the walk linear in a file made to hinder it."""
_BLOCK = 1 << 12
"""A page: between the heads of two large chunks lies what is not looked at."""
_OLD_CHUNKS = 2

_MESSAGE_HEAD_SIZE = 22
_CHUNK, _MESSAGE, _FOOTER, _CHUNK_INDEX, _LAST_OPCODE = 0x06, 0x05, 0x02, 0x08, 0x0F
_SHORTEST = {0x03: 14, 0x04: 16, _MESSAGE: _MESSAGE_HEAD_SIZE}
"""Bytes of what may stand in a chunk: schemas, channels, messages. Else a chunk of zeros would be a million records."""
TURN = 1 << 32
"""A message carries the number of its frame modulo this."""

_RECORD = struct.Struct("<BQ")  # opcode, length
_RECORD_OF_MESSAGE = struct.Struct("<BQHI")  # and the channel and the sequence of a message; two times follow
_CHUNK_HEAD = struct.Struct(
    "<QQQII"
)  # start time, end time, uncompressed size and CRC, length of the next string
_FOOTER_BODY = struct.Struct("<QQI")  # summary start, summary offset start, summary CRC
_ZSTD_STRING = b"\x04\x00\x00\x00zstd"


class BadChunk(Exception):
    """A chunk whose bytes are not what was written."""


class Message(NamedTuple):
    """A recorded frame, not decoded yet."""

    channel: int
    sequence: int
    """Low 32 bits of the frame's number."""
    data: memoryview


class Chunks:
    """The chunks of one file, by number. ``whole`` is true when the file was finished and its index is valid."""

    def __init__(self, path: Path) -> None:
        """Raises BadRecording when this is no file that can be read."""
        self.path = path
        try:
            if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
                raise BadRecording(f"Not a file that can be read as a recording: {path}")
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise BadRecording(f"Cannot read a part of the recording ({error.strerror}): {path}") from None
        self.size = os.fstat(self._file.fileno()).st_size
        self.breaks: set[int] = set()
        """Numbers of the chunks that had to be searched for: something before them makes no sense."""
        self._block_start, self._block = 0, b""
        self._raw: dict[int, bytes] = {}
        indexed = self._indexed()
        self.whole = indexed is not None
        self.offsets = array("Q") if indexed is None else indexed
        if indexed is None:
            self._scan()

    def __len__(self) -> int:
        return len(self.offsets)

    def close(self) -> None:
        self._file.close()

    def forget(self) -> None:
        """Drops the chunks kept in memory: a long run has hundreds of files."""
        self._raw.clear()

    def messages(self, number: int) -> Iterator[Message]:
        """The messages of a chunk, in the order they were written. Raises BadChunk."""
        data, spans = self.spans(number)
        for channel, sequence, start, end in spans:
            yield Message(channel, sequence, data[start:end])

    def spans(self, number: int) -> tuple[memoryview, Iterator[tuple[int, int, int, int]]]:
        """The same for who needs few of them: the chunk's bytes, and of each message channel, sequence, start and end.
        Raises BadChunk, also while iterating."""
        raw = self._inflated(number)
        return memoryview(raw), _spans(raw)

    def _inflated(self, number: int) -> bytes:
        raw = self._raw.get(number)
        if raw is None:
            raw = self._inflate(self.offsets[number])
            while len(self._raw) >= _OLD_CHUNKS:
                del self._raw[next(iter(self._raw))]
            self._raw[number] = raw
        return raw

    def _inflate(self, offset: int) -> bytes:
        body = self._chunk_body(offset)
        if body is None:
            raise BadChunk("its header is damaged")
        start, length, compression, size, checksum = body
        data = self._pread(start, length)
        if compression == b"":
            raw = data
        elif compression == b"zstd":
            try:
                if zstandard.frame_content_size(data) not in (
                    size,
                    -1,
                ):  # else it would be believed and allocated
                    raise BadChunk("its size is damaged")
                raw = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK).decompress(
                    data, max_output_size=size
                )
            except zstandard.ZstdError:
                raise BadChunk("it does not decompress") from None
        else:
            raise BadChunk("it is compressed in a way that lsmon does not write")
        if len(raw) != size or zlib.crc32(raw) != checksum:
            raise BadChunk("it does not match its checksum")
        return raw

    def _chunk_body(self, offset: int) -> tuple[int, int, bytes, int, int] | None:
        """Where a chunk's data starts, its length, compression, inflated size and CRC; None where no chunk can be."""
        head = self._at(offset, _RECORD.size + _CHUNK_HEAD.size + 16)
        if len(head) < _RECORD.size + _CHUNK_HEAD.size + 8:
            return None
        opcode, length = _RECORD.unpack_from(head)
        first, last, size, checksum, name = _CHUNK_HEAD.unpack_from(head, _RECORD.size)
        names = _RECORD.size + _CHUNK_HEAD.size
        if opcode != _CHUNK or name > 8 or len(head) < names + name + 8:
            return None
        compression = head[names : names + name]
        (data,) = struct.unpack_from("<Q", head, names + name)
        start = offset + names + name + 8
        consistent = (
            first <= last and size <= MAX_CHUNK and data <= MAX_CHUNK
            and length == _CHUNK_HEAD.size + name + 8 + data and start + data <= self.size
        )  # fmt: skip
        return (start, data, compression, size, checksum) if consistent else None

    def _indexed(self) -> array[int] | None:
        """Offsets of the chunks according to the summary at the end, when it is there and its CRC is right."""
        tail = _RECORD.size + _FOOTER_BODY.size + len(MAGIC)
        end = self.size - tail
        footer = self._pread(end, tail) if end > len(MAGIC) else b""
        if footer[-len(MAGIC) :] != MAGIC or _RECORD.unpack_from(footer) != (_FOOTER, _FOOTER_BODY.size):
            return None
        start, _, checksum = _FOOTER_BODY.unpack_from(footer, _RECORD.size)
        if not len(MAGIC) < start < end or end - start > MAX_SUMMARY:
            return None
        summary = self._pread(start, end - start)
        if zlib.crc32(footer[: _RECORD.size + _FOOTER_BODY.size - 4], zlib.crc32(summary)) != checksum:
            return None
        offsets = array("Q")
        position = 0
        while position + _RECORD.size + 24 <= len(summary):
            opcode, length = _RECORD.unpack_from(summary, position)
            if opcode == _CHUNK_INDEX and length >= 24:
                offsets.append(struct.unpack_from("<Q", summary, position + _RECORD.size + 16)[0])
            position += _RECORD.size + length
        return offsets

    def _scan(self) -> None:
        """Finds the chunks without an index. After each chunk the headers are followed; where they end or make no
        sense, the search goes on right behind the last chunk, since a damaged length may have led over others."""
        behind = position = len(MAGIC) if self._at(0, len(MAGIC)) == MAGIC else 0
        stray = 0
        while len(self.offsets) < _MAX_CHUNKS:
            head = self._at(position, _RECORD.size)
            opcode, length = _RECORD.unpack(head) if len(head) == _RECORD.size else (0, 0)
            plausible = 0 < opcode <= _LAST_OPCODE and position + _RECORD.size + length <= self.size
            if plausible and opcode != _CHUNK and stray < _MAX_STRAY:
                position += _RECORD.size + length
                stray += 1
                continue
            if not plausible or opcode != _CHUNK or self._chunk_body(position) is None:
                found = self._next_chunk(behind)
                if found is None:
                    return
                self.breaks.add(len(self.offsets))
                position = found
                (length,) = struct.unpack("<Q", self._at(position + 1, 8))
            self.offsets.append(position)
            stray = 0
            behind = position = position + _RECORD.size + length

    def _next_chunk(self, position: int) -> int | None:
        """Offset of the first chunk at or after ``position``, told by its compression string."""
        before = _RECORD.size + _CHUNK_HEAD.size - 4
        search = position + before
        while search < self.size:
            block = self._pread(search, 1 << 20)
            found = block.find(_ZSTD_STRING)
            while found >= 0:
                if self._chunk_body(search + found - before) is not None:
                    return search + found - before
                found = block.find(_ZSTD_STRING, found + 1)
            search += max(len(block) - len(_ZSTD_STRING) + 1, 1)
        return None

    def _at(self, offset: int, length: int) -> bytes:
        """A few bytes, from a block kept in memory: record headers lie close together."""
        start = offset - self._block_start
        if start < 0 or start + length > len(self._block):
            self._block_start, self._block = offset, self._pread(offset, max(length, _BLOCK))
            start = 0
        return self._block[start : start + length]

    def _pread(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes; fewer at the end of the file, none when the disk fails."""
        try:
            return os.pread(self._file.fileno(), length, offset)
        except (OSError, OverflowError):
            return b""


def full(sequence: int, near: int) -> int:
    """The whole number whose low 32 bits a message carries, nearest to one that is known."""
    return near + (sequence - near + TURN // 2) % TURN - TURN // 2


def _spans(raw: bytes) -> Iterator[tuple[int, int, int, int]]:
    unpack = _RECORD_OF_MESSAGE.unpack_from
    position, end = 0, len(raw)
    while position + _RECORD_OF_MESSAGE.size <= end:
        opcode, length, channel, sequence = unpack(raw, position)
        start = position + _RECORD.size
        position = start + length
        if opcode == _MESSAGE and length >= _MESSAGE_HEAD_SIZE and position <= end:
            yield channel, sequence, start + _MESSAGE_HEAD_SIZE, position
        elif position > end or length < _SHORTEST.get(opcode, end):
            raise BadChunk("a record in it makes no sense")
    if position + _RECORD.size <= end:
        raise BadChunk("a record in it makes no sense")
