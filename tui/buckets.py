"""The buckets that a series had at one moment, without a copy of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

REALS = 7
"""Numbers of a bucket that are no whole ones: first and last step, wall, low, high, total, doubt; ..."""
WHOLES = 2
"""... and those that are: samples, attempt."""

Bucket = tuple[tuple[float, ...], tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Buckets:
    """The first ``closed`` rows of arrays that only ever get more, and the bucket that was being filled.

    A column is cut out when it is asked for: all of them, of every quantity, ten times a second, would take as much
    memory again as the buckets themselves.
    """

    reals: array[float] = field(default_factory=lambda: array("d"))
    wholes: array[int] = field(default_factory=lambda: array("q"))
    closed: int = 0
    open: Bucket | None = None
    doubted: bool = False
    """Whether an error ever came with a sample."""
    lowest: float = math.inf
    """Of all finite samples; infinite where there is none, and so is ``highest``."""
    highest: float = -math.inf

    def __len__(self) -> int:
        return self.closed + (self.open is not None)

    def rows(self, begin: int) -> Iterator[Bucket]:
        """The closed ones from ``begin`` on."""
        reals, wholes = (
            self.reals[begin * REALS : self.closed * REALS],
            self.wholes[begin * WHOLES : self.closed * WHOLES],
        )
        return zip(
            zip(*[iter(reals)] * REALS, strict=True), zip(*[iter(wholes)] * WHOLES, strict=True), strict=True
        )

    def real(self, at: int) -> array[float]:
        column = self.reals[at : self.closed * REALS : REALS]
        if self.open is not None:
            column.append(self.open[0][at])
        return column

    def whole(self, at: int) -> array[int]:
        column = self.wholes[at : self.closed * WHOLES : WHOLES]
        if self.open is not None:
            column.append(self.open[1][at])
        return column

    def columns(self, begin: int = 0) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """All columns at once, of the closed buckets from ``begin`` on, of shapes (REALS, buckets) and (WHOLES, buckets).

        They are copies: while an array is looked at nothing can be appended to it.
        """
        import numpy as np  # not before: the first paint needs none

        reals = np.asarray(memoryview(self.reals)[begin * REALS : self.closed * REALS])
        wholes = np.asarray(memoryview(self.wholes)[begin * WHOLES : self.closed * WHOLES])
        return reals.reshape(-1, REALS).T.copy(), wholes.reshape(-1, WHOLES).T.copy()

    def moved(self, firsts: bytes, steps: bytes, begin: int = 0) -> Buckets:
        """With these in place of the steps, and without the first ``begin`` buckets."""
        reals, wholes = self.reals[: self.closed * REALS], self.wholes[: self.closed * WHOLES]
        if self.open is not None:
            reals.extend(self.open[0])
            wholes.extend(self.open[1])
        reals[0::REALS], reals[1::REALS] = array("d", firsts), array("d", steps)
        if not begin:
            return replace(self, reals=reals, wholes=wholes, closed=len(self), open=None)
        del reals[: begin * REALS], wholes[: begin * WHOLES]
        return Buckets(
            reals, wholes, len(self) - begin, None, self.doubted,
            min(reals[3::REALS], default=math.inf), max(reals[4::REALS], default=-math.inf),
        )  # fmt: skip
