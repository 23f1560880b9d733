"""The far end of ssh: a run's frames as bytes on stdout, until stdin ends.

A magic line, since a shell may print something first; then records: four bytes of length, and that many of zlib,
which hold lines: the state of the link, then frames. Nothing but ``after`` travels the other way.
"""

from __future__ import annotations

import select
import struct
import time
import zlib
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

import msgspec

from ..cards import Card
from ..clean import clean_line, clean_name
from ..codec import MAX_FRAME, encode
from ..errors import NewerFormat, Unreachable
from ..sources.live import Live
from ..sources.source import Phase

MAGIC = b"lsmon-relay "
VERSION = b"1\n"
NOISE_BYTES = 1 << 16
"""A shell's start-up files may print this much before the magic line."""
RECORD_BYTES = 1 << 18
"""Of lines, after which a record is closed: 1700 frames; the last one may be as long as a frame can be."""
LONGEST = RECORD_BYTES + 2 * MAX_FRAME
"""Bytes of a record, packed or not, that a reader takes: what is longer is not from us."""
PAUSE_SECS = 0.02
"""Between records: what comes in it travels together, and a person does not see it."""
BEAT_SECS = 1.0
"""A record goes out at least this often, so that a silent connection can be told from a silent training."""


class State(msgspec.Struct, omit_defaults=True):
    """First line of each record: the link as the far end sees it."""

    run: str = ""
    phase: Phase = "connecting"
    words: str = ""


class _HasDescriptor(Protocol):
    def fileno(self) -> int: ...


def relay(card: Card, out: BinaryIO, stdin: _HasDescriptor, after: int = 0) -> int:
    """Write the run's frames after number ``after`` to ``out`` until stdin ends or the run does; the exit code."""
    live = Live(card, after=after)
    try:
        out.write(MAGIC + VERSION)
        out.flush()
        _forward(live, out, stdin.fileno())
    except BrokenPipeError:
        pass  # the viewer is gone, which is how it says goodbye
    finally:
        live.close()
    return 0


def _forward(live: Live, out: BinaryIO, stdin: int) -> None:
    said = State()
    beat_at = 0.0
    while True:
        lines: list[bytes] = []
        size = 0
        while size < RECORD_BYTES:
            frames = live.read(max_items=200)
            if not frames:
                break
            lines += map(encode, frames)
            size += sum(map(len, lines[-len(frames) :]))
        link = live.link
        state = State(live.card.run, link.phase, link.words)
        now = time.monotonic()
        if lines or state != said or now >= beat_at:
            out.writelines(records(state, lines))
            out.flush()
            said, beat_at = state, now + BEAT_SECS
        if size < RECORD_BYTES:
            if link.phase in ("ended", "dead"):
                return
            if stdin in live.wait(BEAT_SECS / 2, stdin):
                return  # nothing is ever sent this way: it ended
        if select.select([stdin], [], [], 0 if size >= RECORD_BYTES else PAUSE_SECS)[0]:
            return


def records(state: State, lines: list[bytes]) -> Iterator[bytes]:
    """The lines in as many records as they need; one without any when there are none."""
    part, size = [msgspec.json.encode(state)], 0
    for line in lines:
        if size > RECORD_BYTES:
            yield _packed(part)
            part, size = part[:1], 0
        part.append(line)
        size += len(line)
    yield _packed(part)


def _packed(lines: list[bytes]) -> bytes:
    packed = zlib.compress(b"\n".join(lines), 1)
    return struct.pack(">I", len(packed)) + packed


class Record(NamedTuple):
    state: State
    lines: list[bytes]


class RelayReader:
    """Bytes in, in any pieces; records out. Holds no more than one record and what was fed at once.

    Raises Unreachable when the other end is not a relay, NewerFormat when it is a later one.
    """

    def __init__(self) -> None:
        self.started = False
        """Whether the magic line has been seen."""
        self._bytes = bytearray()

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
            yield _unpacked(packed)

    def _start(self) -> bool:
        at = self._bytes.find(MAGIC)
        if at < 0 or len(self._bytes) < at + len(MAGIC + VERSION):
            if len(self._bytes) > NOISE_BYTES:
                raise Unreachable(
                    "The shell there prints more at start-up than can be skipped; make it quiet."
                )
            return False
        if not self._bytes.startswith(VERSION, at + len(MAGIC)):
            raise NewerFormat("The lsmon there is a later one than this; update lsmon here.")
        del self._bytes[: at + len(MAGIC + VERSION)]
        self.started = True
        return True


def _unpacked(packed: bytes) -> Record:
    opener = zlib.decompressobj()
    try:
        text = opener.decompress(packed, LONGEST)
        first, *lines = text.split(b"\n")
        state = msgspec.json.decode(first, type=State)
    except (zlib.error, ValueError, RecursionError):
        raise Unreachable("The other end sends what is not lsmon's.") from None
    if opener.unconsumed_tail:
        raise Unreachable("The other end sends more in one piece than lsmon does.")
    return Record(State(clean_name(state.run), state.phase, clean_line(state.words)), lines)
