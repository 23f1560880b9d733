"""A recording in the formats of others: a table, JSON lines, TensorBoard events."""

from __future__ import annotations

import csv
import math
import struct
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, TextIO

from msgspec import structs

from lsmon.protocol.codec import encode
from lsmon.protocol.frames import UNNUMBERED, AnyFrame
from lsmon.protocol.names import scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.rows import ERROR
from lsmon.protocol.sources.tfevents import masked
from lsmon.protocol.told import Told

EVERY = 1000
"""Frames between two words about how far it has come."""


def _told(recording: Recording, told: Told) -> Iterator[AnyFrame]:
    for count, frame in enumerate(recording.frames()):
        if count % EVERY == 0:
            told(count, recording.frame_count)
        yield frame


def _by_step(recording: Recording, told: Told) -> Iterator[AnyFrame]:
    """Frames with numbers, each at its step, which may lie far behind the one at which it was measured: to a reader of a
    table a step that goes back is a training that was resumed."""
    late = sorted(_late(recording), key=_place)
    behind = {frame.seq for frame in late}
    waiting, wall = deque(late), -math.inf
    for frame in _told(recording, told):
        if isinstance(frame, UNNUMBERED) or frame.seq in behind:
            continue
        while waiting and _place(waiting[0])[:2] < _place(frame)[:2]:
            yield _done_by(waiting.popleft(), wall)
        yield frame
        wall = frame.wall
    yield from (_done_by(frame, wall) for frame in waiting)


def _late(recording: Recording) -> Iterator[AnyFrame]:
    """Those of a step that their training had left behind when they came."""
    attempt = reached = 0
    for frame in recording.frames():
        if isinstance(frame, UNNUMBERED):
            continue
        if frame.attempt != attempt:
            attempt, reached = frame.attempt, frame.step
        if frame.step < reached:
            yield frame
        reached = max(reached, frame.step)


def _place(frame: AnyFrame) -> tuple[int, int, int]:
    return frame.attempt, frame.step, frame.seq


def _done_by(frame: AnyFrame, wall: float) -> AnyFrame:
    """At the time of what was there at its step."""
    return structs.replace(frame, wall=min(frame.wall, wall)) if wall > -math.inf else frame


def to_jsonl(recording: Recording, out: BinaryIO, told: Told) -> None:
    """A frame a line, as ``lsmon tail --json`` prints them: all there is, and `lsmon replay` opens it."""
    out.writelines(encode(frame) + b"\n" for frame in _told(recording, told))


def to_csv(recording: Recording, out: TextIO, told: Told) -> None:
    """A row for all that was measured at one step and time, with a column for each quantity and each error.

    Numbers as Python writes them, which lose nothing; an empty cell where there is none. A step that
    goes back is a training that was resumed. No time where none was written down.
    """
    names, timed = _names(recording), not recording.header.untimed
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["step", "wall", *names])
    key: tuple[int, float] | None = None
    row: dict[str, float] = {}
    for frame in _by_step(recording, told):
        values, errors = scalars(frame)
        if not values:
            continue
        here = frame.step, frame.wall
        if key is not None and here != key:
            table.writerow([key[0], key[1] if timed else "", *(row.get(name, "") for name in names)])
            row = {}
        key = here
        row |= values
        row |= {f"{name}{ERROR}": error for name, error in errors.items()}
    if key is not None:
        table.writerow([key[0], key[1] if timed else "", *(row.get(name, "") for name in names)])


def _names(recording: Recording) -> list[str]:
    """Every column there will be, from the frames themselves: what is folded has no errors, and not all names."""
    known: dict[str, None] = {}
    doubted: dict[str, None] = {}
    for frame in recording.frames():
        if not isinstance(frame, UNNUMBERED):
            values, errors = scalars(frame)
            known.update(dict.fromkeys(values))
            doubted.update(dict.fromkeys(errors))
    return [
        column for name in known for column in (name, f"{name}{ERROR}") if column == name or name in doubted
    ]


def to_tensorboard(recording: Recording, out: BinaryIO, told: Told) -> None:
    """An event file of scalars; the name of the file must have ``tfevents`` in it for TensorBoard to see it."""
    out.write(_record(_field(1, 1, struct.pack("<d", recording.header.wall)) + _text(3, b"brain.Event:2")))
    for frame in _by_step(recording, told):
        values, _ = scalars(frame)
        if not values:
            continue
        summary = b"".join(
            _text(1, _text(1, name.encode()) + _field(2, 5, struct.pack("<f", _narrowed(value))))
            for name, value in values.items()
        )
        clock = b"" if recording.header.untimed else _field(1, 1, struct.pack("<d", frame.wall))
        head = clock + _field(2, 0, _varint(frame.step))
        out.write(_record(head + _text(5, summary)))


def _narrowed(value: float) -> float:
    """As a float of four bytes, infinite beyond them."""
    try:
        struct.pack("<f", value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
    return value


def _record(data: bytes) -> bytes:
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def _field(number: int, kind: int, data: bytes) -> bytes:
    return _varint(number << 3 | kind) + data


def _text(number: int, data: bytes) -> bytes:
    return _field(number, 2, _varint(len(data)) + data)


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
