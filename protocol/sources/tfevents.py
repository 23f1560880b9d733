"""TensorBoard event files: their scalars, read from the bytes, without TensorFlow.

The file is a TFRecord: length, checksum of the length, data, checksum of the data. The data is a protocol buffer,
``Event { wall_time = 1; step = 2; summary = 5 }``, ``Summary { value = 1 }``, ``Value { tag = 1; simple_value = 2;
tensor = 8 }`` (tensorflow/core/util/event.proto and framework/summary.proto). Nothing else of it is looked at.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator
from pathlib import Path

from ..errors import BadRecording
from .reading import Reading
from .rows import Row, as_step

PREFIX = "events.out.tfevents."

LARGEST = 1 << 16
"""Bytes of a record that is looked at; scalars take a hundred, and what is larger is an image or a graph."""

DEEPEST = 3
"""Folders below the one given: writers make one for each run, and one for each group of scalars."""

MOST_FILES = 1000

_FLOAT, _DOUBLE, _INT32, _INT64 = 1, 2, 3, 9
"""TensorFlow's types of a tensor's elements."""

Fields = Iterator[tuple[int, int, int | bytes]]
"""Number, wire type and content of the fields of a message."""


def event_files(path: Path) -> list[Path]:
    """The event files that this path names: itself, whatever it is called, or those in a folder and below."""
    if path.is_file():
        return [path] if is_named(path) or _begins_a_record(path) else []
    found: list[Path] = []
    folders = [path]
    for _ in range(DEEPEST):
        inside = [child for folder in folders for child in sorted(folder.iterdir()) if not child.is_symlink()]
        found += [child for child in inside if child.is_file() and child.name.startswith(PREFIX)]
        folders = [child for child in inside if child.is_dir()][:MOST_FILES]
    return found[:MOST_FILES]


def is_named(path: Path) -> bool:
    """Whether it is called what TensorBoard looks for."""
    return "tfevents" in path.name


def _begins_a_record(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(12)
    return len(head) == 12 and struct.unpack("<I", head[8:])[0] == masked(head[:8])


def rows(path: Path, reading: Reading) -> Iterator[Row]:
    """The scalars in the order of their steps; the files of one folder follow one another, as after a resume.

    Scalars in a folder below have its name before their own. Raises BadRecording when there is none.
    """
    files = event_files(path)
    root = path if path.is_dir() else path.parent
    by_folder: dict[str, list[Path]] = {}
    for file in files:
        prefix = file.parent.relative_to(root).as_posix()
        by_folder.setdefault("" if prefix == "." else f"{prefix}/", []).append(file)
    parts = [_of_folder(prefix, inside, reading) for prefix, inside in by_folder.items()]
    merged = (
        heapq.merge(*parts, key=lambda row: row.step) if len(parts) > 1 else parts[0] if parts else iter(())
    )
    found = 0
    for row in _joined(merged):
        found += 1
        yield row
    if not found:
        raise BadRecording(f"There are no scalars in these TensorBoard events: {path}")


def _of_folder(prefix: str, files: list[Path], reading: Reading) -> Iterator[Row]:
    for file in files:
        for data in _records(file, reading):
            row = _event(data, prefix)
            if row is not None:
                yield row


def _joined(rows: Iterator[Row]) -> Iterator[Row]:
    """One row a step: writers make an event of each scalar."""
    last: Row | None = None
    for row in rows:
        if last is not None and (row.step != last.step or row.values.keys() & last.values.keys()):
            yield last
            last = None
        last = row if last is None else Row(row.step, last.wall, {**last.values, **row.values})
    if last is not None:
        yield last


def _records(path: Path, reading: Reading) -> Iterator[bytes]:
    """The records whose length is sound; nothing behind one whose length is not can be found."""
    with path.open("rb") as file:
        size = path.stat().st_size
        while len(head := file.read(12)) == 12:
            length, checksum = struct.unpack("<QI", head)
            if checksum != masked(head[:8]) or length > size:
                reading.missing(f"the end of {path.name} is damaged")
                return
            reading.passed(length + 16)
            if length > LARGEST:
                file.seek(length + 4, 1)
                continue
            data = file.read(length)
            tail = file.read(4)
            if len(data) < length or len(tail) < 4:
                return  # it is being written
            if struct.unpack("<I", tail)[0] == masked(data):
                yield data
            else:
                reading.missing(f"a record of {path.name} is damaged")


def _event(data: bytes, prefix: str) -> Row | None:
    step, wall, values = 0, 0.0, dict[str, float]()
    try:
        for number, kind, content in _fields(data):
            if number == 1 and kind == 1 and isinstance(content, bytes):
                (wall,) = struct.unpack("<d", content)
            elif number == 2 and isinstance(content, int):
                step = content
            elif number == 5 and isinstance(content, bytes):
                for inner, _, value in _fields(content):
                    if inner == 1 and isinstance(value, bytes):
                        values.update(_value(value, prefix))
    except (ValueError, struct.error):
        return None
    known = as_step(float(step))
    return Row(known, wall if 0 < wall < 1e12 else None, values) if values and known is not None else None


def _value(data: bytes, prefix: str) -> dict[str, float]:
    tag, found = "", None
    for number, kind, content in _fields(data):
        if number == 1 and isinstance(content, bytes):
            tag = content.decode("utf-8", "replace")
        elif number == 2 and kind == 5 and isinstance(content, bytes):
            (found,) = struct.unpack("<f", content)
        elif number == 8 and isinstance(content, bytes):
            found = _tensor(content)
    return {prefix + tag: found} if tag and found is not None else {}


def _tensor(data: bytes) -> float | None:
    """The number in a tensor of one element."""
    kind, content = 0, b""
    found: float | None = None
    for number, wire, part in _fields(data):
        if number == 1 and isinstance(part, int):
            kind = part
        elif number == 4 and isinstance(part, bytes):
            content = part
        elif number in (5, 6) and isinstance(part, bytes):
            form = "<f" if number == 5 else "<d"
            found = struct.unpack(form, part)[0] if len(part) == struct.calcsize(form) else None
        elif number in (7, 10) and wire == 0 and isinstance(part, int):
            found = float(part - (1 << 64) if part >> 63 else part)
    whole = {_FLOAT: "<f", _DOUBLE: "<d", _INT32: "<i", _INT64: "<q"}.get(kind)
    if whole is not None and len(content) == struct.calcsize(whole):
        found = float(struct.unpack(whole, content)[0])
    return found


def _fields(data: bytes) -> Fields:
    """The fields of a message. Raises ValueError where the bytes are none."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(data, at)
            yield number, wire, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError("a wire type that is not in use")
        if at + length > len(data):
            raise ValueError("a field that ends behind its message")
        yield number, wire, data[at : at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 64:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise ValueError("a number that does not end")


def masked(data: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and offset as TFRecord does."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _table() -> tuple[int, ...]:
    entries = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
        entries.append(crc)
    return tuple(entries)


_TABLE = _table()
