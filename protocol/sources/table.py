"""CSV files: a line of names, one of them the step, then numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..clean import clean_line
from ..errors import BadRecording
from .reading import Reading
from .rows import MOST_NAMES, STEPS, WALLS, Row

LONGEST_LINE = 1 << 20
"""Characters: 2000 numbers take 40 000."""


def rows(path: Path, reading: Reading) -> Iterator[Row]:
    """The rows in the order of the file; what cannot be read is left out, and counted in the notes at the end.

    Raises BadRecording for a file without a column of steps, or without a number that can be read.
    """
    unread, found, told = 0, False, False
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        first = file.readline(LONGEST_LINE)
        delimiter = max(",;\t", key=first.count)
        names = [
            name.strip() for name in next(csv.reader([first.replace("\0", "")], delimiter=delimiter), [])
        ][:MOST_NAMES]
        lower = [name.lower() for name in names]
        at = next((lower.index(name) for name in STEPS if name in lower), None)
        if at is None:
            shown = clean_line(", ".join(names), 200) or "none"
            raise BadRecording(f"This table has no column `step` (its columns: {shown}): {path}")
        wall_at = next((lower.index(name) for name in WALLS if name in lower), None)
        left_out = {at, wall_at}
        for line in _lines(file, reading):
            cells = next(csv.reader([line], delimiter=delimiter), []) if line is not None else []
            if delimiter == ";":  # of a country that writes 0,5
                cells = [cell.replace(",", ".") for cell in cells]
            step = reading.step(_number(cells[at])) if at < len(cells) else None
            if step is None:
                unread += bool(cells) or line is None
                continue
            wall = _number(cells[wall_at]) if wall_at is not None and wall_at < len(cells) else float("nan")
            values = {
                name: number
                for index, (name, cell) in enumerate(zip(names, cells, strict=False))
                if index not in left_out and name and ((number := _number(cell)) == number or _is_nan(cell))
            }
            found, told = True, told or bool(values)
            yield Row(step, wall if 0 < wall < 1e12 else None, values)
    if unread and not found:
        raise BadRecording(f"No line of this table has a step that can be read: {path}")
    if found and not told:
        raise BadRecording(f"This table has no number beside its steps that can be read: {path}")
    reading.over(unread)


def _lines(file: TextIO, reading: Reading) -> Iterator[str | None]:
    """Lines without NUL; None for one that is too long."""
    while line := file.readline(LONGEST_LINE):
        reading.passed(len(line))  # which is its bytes, but for the few letters that are not ASCII
        if len(line) >= LONGEST_LINE and not line.endswith("\n"):
            while (more := file.readline(LONGEST_LINE)) and not more.endswith("\n"):
                pass
            yield None
        else:
            yield line.replace("\0", "").rstrip("\r\n")


def _number(cell: str) -> float:
    """NaN for what is no number; underscores and the like are none."""
    try:
        return float(cell) if "_" not in cell else float("nan")
    except ValueError:
        return float("nan")


def _is_nan(cell: str) -> bool:
    return cell.strip().lower() in ("nan", "+nan", "-nan")
