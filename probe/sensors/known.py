"""What one measurement of curvature leaves for the later ones."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field

from torch import Tensor

from ..algorithms.lanczos import Krylov
from ..operators.difference import Difference
from ..operators.hessian import Hessian
from ..reference import Reference
from .sensor import Finding
from .way import Way

Work = Generator[None, None, list[Finding]]
"""A measurement, a unit of work between two yields; it ends with what was found."""


class NotMeasured(ValueError):
    """This time: a product that is not finite, or no memory for a basis."""


@dataclass
class Known:
    """What later measurements take over."""

    sharpness: float | None = None
    undersampled: float | None = None
    """Mean λ_max of the halves of the examples over that of all of them, less one."""
    fresh: float | None = None
    """The same, until it has been told."""
    halves: tuple[Hessian, ...] = ()
    """Of the examples of the last sharpness, where it was found."""
    excess: str = ""
    """How far λ_max of the examples measured on is above that of all, in words."""
    level: float = 0.0
    """λ_max of all examples over that of those measured on: at least so much, when it was looked at last."""
    compared: bool = False
    """That has been looked at, and need not be for a while."""
    vector: Tensor | None = None
    """The top Ritz vector of the last measurement, ..."""
    point: Hessian | Difference | None = None
    """... and where it was found, for that comparison."""
    way: Way = field(default_factory=Way)
    """From one complete measurement to the next."""
    sharpest: Tensor | None = None
    """Where the curvature was largest as the optimizer sees it, in its coordinates; None before it was searched for, ..."""
    felt: float = 0.0
    """... how large, ..."""
    followed: int = 0
    """... and looks since the search."""
    delta: float | None = None
    """δ of the volume, fixed at the first one so that volumes can be compared."""

    def forget(self) -> None:
        """What was measured is of another trajectory; δ stays."""
        delta = self.delta
        self.__init__()  # type: ignore[misc]
        self.delta = delta

    def searched(self, found: Krylov) -> None:
        """The largest curvature as the optimizer sees it has been looked for among all directions."""
        self.sharpest, self.felt, self.followed = found.vector, found.extremes.top[0].value, 0

    def take_over(self, found: Krylov) -> None:
        """The newest sharpness."""
        self.sharpness, self.vector, self.point = found.extremes.top[0].value, found.vector, None

    def level_of(self, part: Reference, whole: Reference | None) -> float:
        """λ_max of all examples over that of this part: at least so much; 0 while it is not known."""
        return self.level if part.part_of(whole) else 1.0

    def begin_overshoot(
        self, part: Reference, whole: Reference | None
    ) -> tuple[Tensor, Hessian, float] | None:
        """Now and then, when there is something to compare with: the top Ritz vector, where it was found, its value."""
        vector, point, value = self.vector, self.point, self.sharpness
        self.point = None
        if self.compared or whole is None or not part.part_of(whole):
            return None
        self.excess = self.excess or f"{part.examples} of {whole.examples} examples, to keep to the budget"
        self.compared = point is not None
        return (
            (vector, point, value)
            if vector is not None and isinstance(point, Hessian) and value is not None and value > 0
            else None
        )
