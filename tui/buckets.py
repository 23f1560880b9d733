"""The buckets that a series had at one moment, without a copy of them."""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
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

    def __len__(self) -> int:
        return self.closed + (self.open is not None)

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

    def columns(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """All columns at once, of shapes (REALS, buckets) and (WHOLES, buckets)."""
        import numpy as np  # not before: the first paint needs none

        reals, wholes = np.empty((REALS, len(self))), np.empty((WHOLES, len(self)), dtype=np.int64)
        reals[:, : self.closed] = (
            np.asarray(memoryview(self.reals)[: self.closed * REALS]).reshape(-1, REALS).T
        )
        wholes[:, : self.closed] = (
            np.asarray(memoryview(self.wholes)[: self.closed * WHOLES]).reshape(-1, WHOLES).T
        )
        if self.open is not None:
            reals[:, -1], wholes[:, -1] = self.open
        return reals, wholes

    def moved(self, firsts: bytes, steps: bytes, begin: int = 0) -> Buckets:
        """With these in place of the steps, and without the first ``begin`` buckets."""
        reals, wholes = self.reals[: self.closed * REALS], self.wholes[: self.closed * WHOLES]
        if self.open is not None:
            reals.extend(self.open[0])
            wholes.extend(self.open[1])
        reals[0::REALS], reals[1::REALS] = array("d", firsts), array("d", steps)
        return Buckets(
            reals[begin * REALS :], wholes[begin * WHOLES :], len(self) - begin, doubted=self.doubted
        )
