"""Neighbouring buckets of a series joined, so that there are about half as many."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .buckets import WHOLES, Buckets

Wholes = NDArray[np.int64]


def joined(
    reals: array[float], wholes: array[int], stride: int, odd: int
) -> tuple[array[float], array[int], int]:
    """The buckets at twice the stride, or as often twice as it takes, and that stride.

    ``odd`` is how many non-finite samples there are in all.
    """
    columns, (counts, attempts) = Buckets(reals, wholes, len(wholes) // WHOLES).columns()
    begins, stride = _begins(counts, attempts, stride, odd)
    ends = np.append(begins[1:], len(counts)) - 1
    with np.errstate(all="ignore"):  # sums of what is near the largest number
        rows = np.column_stack((
            columns[0][begins], columns[1][ends], columns[2][ends],
            np.minimum.reduceat(columns[3], begins), np.maximum.reduceat(columns[4], begins),
            np.add.reduceat(columns[5], begins), np.maximum.reduceat(columns[6], begins),
        ))  # fmt: skip
    held = np.column_stack((np.add.reduceat(counts, begins), attempts[ends]))
    return array("d", rows.tobytes()), array("q", held.tobytes()), stride


def rows_of(kind: str, *columns: Sequence[float]) -> bytes:
    """Columns of equal length as rows behind each other, of that type."""
    return np.array(columns, dtype=kind).T.tobytes()


def _begins(counts: Wholes, attempts: Wholes, stride: int, odd: int) -> tuple[Wholes, int]:
    """Where the joined buckets begin: neighbours of one attempt join that hold no more samples together than the new
    stride, which is the least that lets two join."""
    total = int(counts.sum()) + odd
    sizes = np.maximum(counts, 1)  # a bucket of non-finite samples only counts as one sample here
    both, alike = sizes[:-1] + sizes[1:], attempts[:-1] == attempts[1:]
    least = int(both.min(where=alike, initial=total))
    stride *= 2
    while stride < least and stride <= total:
        stride *= 2
    three = both[:-1:2] + sizes[2::2]
    if alike.all() and counts.all() and both[::2].max() <= stride < three.min():  # as nearly always
        return np.arange(0, len(counts), 2), stride
    # So many attempts that they alone exceed the cap: then they join as well.
    across = stride > total
    starts, held = [0], int(counts[0])
    rest = zip(counts[1:].tolist(), sizes[1:].tolist(), alike.tolist(), strict=True)
    for at, (count, size, same) in enumerate(rest, start=1):
        if (held or 1) + size <= stride and (across or same):
            held += count
        else:
            starts.append(at)
            held = count
    return np.array(starts), stride
