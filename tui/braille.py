"""Curves as braille, two by four dots a cell, vectorised: a mean line, and what lies between minimum and maximum
as a stipple behind it, so that neither the course nor a single spike of a million samples is lost.

Half blocks, one by two a cell, are for fonts without braille; ASCII has a character a cell.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from .axes import ValueAxis
from .columns import Columns, Floats, bridged

Dots = NDArray[np.bool_]
"""Of shape (curves, rows, columns)."""

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = "_.-=+*%#"
ASCII_MARKS = "*o+x#@"

_PATTERNS = ((1, 0), (2, 4), (1, 3), (5, 7))
"""(Columns of dots drawn, of so many) for each curve, told apart without colour; of 0 is unbroken."""

# Upper half, lower half, both: by the bits that _halves gives.
_BLOCKS = np.array([0, 0x2580, 0x2584, 0x2588], dtype=np.uint32)

# Unicode's numbering of the eight dots, row by row of the cell.
_WEIGHTS = (0x01, 0x08, 0x02, 0x10, 0x04, 0x20, 0x40, 0x80)
_CODES = np.array(
    [sum(_WEIGHTS[bit] for bit in range(8) if packed >> bit & 1) for packed in range(256)], dtype=np.uint32
)
"""By the dots of a cell as bits, row by row."""


@dataclass(frozen=True)
class Picture:
    """A plot in cells: ``codes`` are code points and 0 where nothing is; ``owners`` tells whose the cell is:
    the index of the curve, or -1 - index where only its stipple is."""

    codes: NDArray[np.uint32]
    owners: NDArray[np.int16]

    @cached_property
    def filled(self) -> list[tuple[int, int, str, int]]:
        """(row, column, character, owner) of each cell with something in it."""
        ys, xs = self.codes.nonzero()
        chars = map(chr, self.codes[ys, xs].tolist())
        return list(zip(ys.tolist(), xs.tolist(), chars, self.owners[ys, xs].tolist(), strict=True))


def plot(
    curves: Sequence[Columns],
    axis: ValueAxis,
    rows: int,
    *,
    band: bool = True,
    ascii_only: bool = False,
    blocks: bool = False,
) -> Picture:
    """All curves, one at least, in one picture of ``rows`` cells; the first is on top, the others are dashed."""
    values = [[bridged(curve) for curve in curves]]
    if band:
        values += [[curve.highs for curve in curves], [curve.lows for curve in curves]]
    places = _dot_rows(_heights(np.array(values), axis), rows * 4)
    return _picture(places.tobytes(), len(curves), rows, band, ascii_only, blocks)


@lru_cache(maxsize=16)
def _picture(places: bytes, count: int, rows: int, band: bool, ascii_only: bool, blocks: bool) -> Picture:
    """From rows of dots, of shape (line, and both ends of the band; curves; columns): most of the time a curve has grown by
    less than a dot since the last drawing."""
    bits = _halves if blocks else _cells
    lines, *ends = np.frombuffer(places).reshape(3 if band else 1, count, -1)
    cols = lines.shape[1] // 2
    codes = np.zeros((rows, cols), dtype=np.uint32)
    owners = np.full((rows, cols), -1000, dtype=np.int16)
    for index, cells in reversed(list(enumerate(bits(_lines(lines, rows * 4))))):
        codes |= cells
        np.copyto(owners, index, where=cells > 0)
    for index, cells in enumerate(bits(_bands(ends[0], ends[1], rows * 4)) if band else ()):
        here = (cells > 0) & (codes == 0)
        np.copyto(codes, cells, where=here)
        np.copyto(owners, -1 - index, where=here)
    filled = codes > 0
    if ascii_only:
        marks = np.array([ord(mark) for mark in ASCII_MARKS], dtype=np.uint32)
        codes[filled] = np.where(owners >= 0, marks[owners % len(marks)], ord("."))[filled]
    elif blocks:
        codes = _BLOCKS[codes]
    else:
        codes[filled] += 0x2800
    codes.flags.writeable = owners.flags.writeable = False
    return Picture(codes, owners)


def sparkline(curve: Columns, cols: int, *, log: bool = False, ascii_only: bool = False) -> str:
    """One row of blocks; of ``2 * cols`` columns of dots each pair becomes a block, empty where nothing is."""
    values = bridged(curve)[: 2 * cols].tolist()
    if log:
        values = [math.log10(value) if value > 0 else math.nan for value in values]
    pairs = zip(values[::2], values[1::2], strict=True)
    levels = [
        right if math.isnan(left) else left if math.isnan(right) else left / 2 + right / 2
        for left, right in pairs
    ]
    # The mean of the largest numbers there are may be more than a float holds.
    levels = [min(max(level, -sys.float_info.max), sys.float_info.max) for level in levels]
    seen = [level for level in levels if not math.isnan(level)]
    if not seen:
        return " " * cols
    low, high = min(seen), max(seen)
    glyphs = ASCII_LEVELS if ascii_only else BLOCKS
    # A constant is drawn low and flat rather than as a full bar.
    span = high / 2 - low / 2
    span = span if span > 5e-10 * max(abs(high), abs(low)) else math.inf
    most = len(glyphs) - 1
    return "".join(
        " " if math.isnan(level) else glyphs[int((level / 2 - low / 2) / span * most + 0.5)]
        for level in levels
    )


def _heights(values: Floats, axis: ValueAxis) -> Floats:
    if not axis.log:
        return (values / 2 - axis.low / 2) / (axis.high / 2 - axis.low / 2)
    logs = np.log10(values, out=np.full_like(values, np.nan), where=values > 0)
    bottom = np.log10(axis.low)
    heights: Floats = (logs - bottom) / (np.log10(axis.high) - bottom)
    return heights


def _dot_rows(heights: Floats, rows: int) -> Floats:
    """Row of dots from the top, clipped to the picture; NaN stays."""
    placed: Floats = np.clip(np.rint((1 - heights) * (rows - 1)), 0, rows - 1)
    return placed


def _lines(y: Floats, rows: int) -> Dots:
    """A connected line of each: every column reaches half-way to its neighbours."""
    between = (y[:, 1:] + y[:, :-1]) / 2
    top, bottom = y.copy(), y.copy()
    for side in (np.s_[:, 1:], np.s_[:, :-1]):
        np.fmin(top[side], between, out=top[side])
        np.fmax(bottom[side], between, out=bottom[side])
    np.ceil(top, out=top)
    np.floor(bottom, out=bottom)
    for index, line in enumerate(top):
        drawn, period = _PATTERNS[min(index, 3)]
        if period:
            # Where the line is steep a gap would hide a jump, so it is drawn there.
            line[(np.arange(len(line)) % period >= drawn) & (bottom[index] - line < 2)] = np.nan
    return _between(top, bottom, rows)


def _bands(high: Floats, low: Floats, rows: int) -> Dots:
    """A stipple from minimum to maximum of each."""
    dots = _between(high, low, rows)
    dots &= _stipple(*dots.shape[1:])
    return dots


@lru_cache(maxsize=32)
def _stipple(rows: int, dots: int) -> Dots:
    """Every fourth dot, slanting."""
    stipple: Dots = (np.arange(rows)[:, None] + 2 * np.arange(dots)[None, :]) % 4 == 0
    return stipple


def _between(top: Floats, bottom: Floats, rows: int) -> Dots:
    y = np.arange(rows, dtype=np.float64)[:, None]
    dots: Dots = y >= top[:, None]
    dots &= y <= bottom[:, None]
    return dots


def _cells(dots: Dots) -> NDArray[np.uint32]:
    count, rows, cols = dots.shape[0], dots.shape[1] // 4, dots.shape[2] // 2
    grouped = dots[:, : rows * 4, : cols * 2].reshape(count, rows, 4, cols, 2).transpose(0, 1, 3, 2, 4)
    return _CODES[np.packbits(grouped.reshape(-1), bitorder="little")].reshape(count, rows, cols)


def _halves(dots: Dots) -> NDArray[np.uint32]:
    """1 where the upper half of a cell has a dot, 2 where the lower has, 3 where both have."""
    count, rows, cols = dots.shape[0], dots.shape[1] // 4, dots.shape[2] // 2
    grouped = dots[:, : rows * 4, : cols * 2].reshape(count, rows, 2, 2, cols, 2)
    halves: NDArray[np.uint32] = np.asarray(grouped.any(axis=(3, 5)), dtype=np.uint32)
    return halves[:, :, 0] + 2 * halves[:, :, 1]
