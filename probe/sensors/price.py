"""What a product of a measurement costs, by the last ones that were timed."""

from __future__ import annotations

import statistics
from collections import deque

TIMED = 3
"""Products whose median cost tells whether the examples are too many or too few."""

KEPT = 8


class Price:
    """Seconds of a product. What a turn of work took is known later than what it was: on a GPU some steps later."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=KEPT)
        self._turns: deque[bool] = deque()
        """Whose cost is not known yet: was it a product on the examples, and nothing less?"""

    def begin_turn(self) -> None:
        self._turns.append(False)

    def is_product(self, whole: bool) -> None:
        """Of the turn that has begun."""
        self._turns[-1] = whole

    def took(self, seconds: float) -> None:
        """The earliest turn that is not told yet."""
        if self._turns.popleft():
            self._seconds.append(seconds)

    def forget(self) -> None:
        """The next products are on other examples."""
        self._seconds.clear()

    @property
    def known(self) -> bool:
        return len(self._seconds) >= TIMED

    @property
    def seconds(self) -> float:
        """0 before the first."""
        return statistics.median(self._seconds) if self._seconds else 0.0
