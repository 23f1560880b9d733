"""What travels between a relay and its viewer, over any stdin and stdout.

Down: a magic line, since a shell may print something first; then records: four bytes of length, and that many of one
zlib stream that goes through all of them (29 bytes a frame of five numbers instead of 173, also when a record has but
a few). A record holds lines: the state of the link, then frames. Up: a line at the start, and one with the number of
records that have been taken in after each, by which the relay knows what the link carries.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from ..clean import clean_line, clean_name
from ..codec import MAX_FRAME
from ..errors import NewerFormat, Unreachable
from ..sources.source import Phase

MAGIC = b"lsmon-relay "
VERSION = b"2\n"
NOISE_BYTES = 1 << 16
"""A shell's start-up files may print this much before the magic line."""
RECORD_BYTES = 1 << 18
"""Of lines, after which a record is closed: 1700 frames; the last one may be as long as a frame can be."""
LONGEST = RECORD_BYTES + 2 * MAX_FRAME
"""Bytes of a record, packed or not, that a reader takes: what is longer is not from us."""


class State(msgspec.Struct, omit_defaults=True):
    """First line of each record: the link as the far end sees it."""

    run: str = ""
    phase: Phase = "connecting"
    words: str = ""
    behind: bool = False
    """More of what the run had told before this relay began is still to come."""


class Record(NamedTuple):
    state: State
    lines: list[bytes]


class Packer:
    """Lines in, records out, in the order in which they are to be read."""

    def __init__(self) -> None:
        self._stream = zlib.compressobj(6)

    def pack(self, state: State, lines: Iterable[bytes]) -> bytes:
        text = b"\n".join([msgspec.json.encode(state), *lines])
        packed = self._stream.compress(text) + self._stream.flush(zlib.Z_SYNC_FLUSH)
        return struct.pack(">I", len(packed)) + packed


class RelayReader:
    """Bytes in, in any pieces; records out. Holds no more than one record and what was fed at once.

    Raises Unreachable when the other end is not a relay, or an earlier one, NewerFormat when it is a later one.
    """

    def __init__(self) -> None:
        self.started = False
        """Whether the magic line has been seen."""
        self._bytes = bytearray()
        self._stream = zlib.decompressobj()

    def feed(self, data: bytes) -> Iterator[Record]:
        self._bytes += data
        if not self.started and not self._start():
            return
        while len(self._bytes) >= 4:
            (length,) = struct.unpack_from(">I", self._bytes)
            if length > LONGEST:
                raise Unreachable("The other end stopped speaking lsmon in the middle.")
            if len(self._bytes) < 4 + length:
                return
            packed = bytes(self._bytes[4 : 4 + length])
            del self._bytes[: 4 + length]
            yield self._unpacked(packed)

    def _start(self) -> bool:
        at = self._bytes.find(MAGIC)
        end = self._bytes.find(b"\n", at)
        if at < 0 or end < 0:
            if len(self._bytes) > NOISE_BYTES:
                raise Unreachable(
                    "The shell there prints more at start-up than can be skipped; make it quiet."
                )
            return False
        version = bytes(self._bytes[at + len(MAGIC) : end + 1])
        if version != VERSION:
            if len(version) <= len(VERSION) and version.strip().isdigit() and version < VERSION:
                raise Unreachable("The lsmon there is an older one than this; update it there.")
            raise NewerFormat("The lsmon there is a later one than this; update lsmon here.")
        del self._bytes[: end + 1]
        self.started = True
        return True

    def _unpacked(self, packed: bytes) -> Record:
        try:
            text = self._stream.decompress(packed, LONGEST)
            first, *lines = text.split(b"\n")
            state = msgspec.json.decode(first, type=State)
        except (zlib.error, ValueError, RecursionError):
            raise Unreachable("The other end sends what is not lsmon's.") from None
        if self._stream.unconsumed_tail:
            raise Unreachable("The other end sends more in one piece than lsmon does.")
        words = clean_line(state.words)
        return Record(State(clean_name(state.run), state.phase, words, state.behind), lines)
