"""JSON-lines files: an object a line with a step and numbers, or the frames that ``lsmon tail --json`` prints."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..clean import clean_line
from ..codec import MAX_FRAME, decode
from ..errors import BadFrame, BadRecording
from ..frames import AnyFrame
from .reading import Reading
from .rows import STEPS, WALLS, Row

DEEPEST = 4
"""Objects within objects, whose names are joined by a slash."""


def rows(path: Path, reading: Reading) -> Iterator[Row]:
    """The rows in the order of the file; what cannot be read is left out, and counted in the notes at the end.

    Raises BadRecording when no line has a step.
    """
    unread = found = 0
    names: dict[str, None] = {}
    for line in lines(path):
        reading.passed(len(line) + 1)
        facts = _object(line)
        if facts is None:
            unread += bool(line.strip())
            continue
        values = dict(_numbers(facts, "", DEEPEST))
        key = next((name for name in STEPS if name in values), None)
        step = reading.step(values.pop(key)) if key is not None else None
        if step is None:
            unread += 1
            names.update(dict.fromkeys(list(facts)[:20]))
            continue
        wall = next((values.pop(name) for name in WALLS if name in values), math.nan)
        found += 1
        yield Row(step, wall if 0 < wall < 1e12 else None, values)
    if not found:
        shown = clean_line(", ".join(names), 200) or "none"
        raise BadRecording(f"No line of this file is an object with a `step` (its names: {shown}): {path}")
    reading.over(unread)


def recorded(path: Path, reading: Reading) -> Iterator[AnyFrame]:
    """The frames of a file whose lines are frames."""
    unread = 0
    for line in lines(path):
        reading.passed(len(line) + 1)
        try:
            frame = decode(line)
        except BadFrame:
            unread += bool(line.strip())
            continue
        if frame is not None:
            yield frame
    reading.over(unread)


def are_frames(path: Path) -> bool:
    """Whether the first line is one of our frames."""
    facts = _object(next(lines(path), b""))
    return facts is not None and isinstance(facts.get("type"), str) and "seq" in facts


def lines(path: Path) -> Iterator[bytes]:
    """Lines of at most a megabyte; of a longer one nothing that could be decoded is left."""
    with path.open("rb") as file:
        while line := file.readline(MAX_FRAME):
            if len(line) == MAX_FRAME and not line.endswith(b"\n"):
                while (more := file.readline(MAX_FRAME)) and not more.endswith(b"\n"):
                    pass
                line = b"?"
            yield line.rstrip(b"\r\n")


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        facts = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return facts if isinstance(facts, dict) else None


def _numbers(facts: dict[str, Any], prefix: str, depth: int) -> Iterator[tuple[str, float]]:
    for name, value in facts.items():
        if isinstance(value, dict) and depth:
            yield from _numbers(value, f"{prefix}{name}/", depth - 1)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            try:
                yield f"{prefix}{name}", float(value)
            except OverflowError:
                pass
