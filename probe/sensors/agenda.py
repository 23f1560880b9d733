"""The measurements of curvature that are under way, what begins next, and whose turn it is.

The sharpness λ_1 alone comes often, the complete measurement seldom, and one of each may be under way. What only checks
them, or takes hundreds of products, has time.
"""

from __future__ import annotations

from collections import deque

from ..cadence import COMPLETE, DENSEST, SPARSEST, Cadence
from ..schedule import SAVINGS, UNLIMITED
from .known import Work
from .sensor import Context

TURNS = {"sharpness": 8, "complete": 32}
"""Products of a measurement as a rule, gradient included: what is saved up for before one begins."""

FOLLOWED = 4
"""The same of a look near the edge, which follows the sharpness from the last one."""

SEARCH_TURNS = 3
"""Turns of the search for a way to the curvature between two sharpnesses."""

OPENING = 2 * TURNS["sharpness"]
"""Turns in which a complete measurement, which finds the sharpness first, is waited for; where there is no memory for a
basis it tells nothing before its end."""

RESERVE = 2
"""Such looks that are kept for the crossing, while it is far enough away to wait for the next one."""

CHECKS = frozenset({"halves", "overshoot", "density", "layers"})

CHECK_TURNS = 8
"""Turns of which such work gets one, while there is other work."""


class Agenda:
    """``work`` by kind, in the order in which it gets its turn."""

    def __init__(self) -> None:
        self.cadence = Cadence()
        self.work: dict[str, Work] = {}
        self._turn = 0
        self._took: deque[int] = deque(maxlen=2)
        """Turns of the last two complete measurements once they had told the sharpness: every second one searches anew for
        what Adam feels."""
        self._turns_of_complete = 0
        self._since_sharpness = self._takes  # the very first one waits for nothing
        self.opening = False
        """The complete measurement under way will tell the sharpness, and has not."""
        self.searched = False
        """A complete measurement is done: it looks longest, and what it found is where the next ones begin."""
        self.doubtful = False
        """What was measured before the way was checked cannot be right: nothing is until it is."""

    def begin_anew(self) -> None:
        """What is half measured is of another trajectory, or of other examples; the search for a method goes on."""
        self.work = {kind: work for kind, work in self.work.items() if kind == "ladder"}
        self.cadence = Cadence()
        self._turns_of_complete = 0
        self.opening = self.searched = False

    def told(self, step: int) -> None:
        """The complete measurement of this step has told the sharpness, and goes on: the next one waits for no turns
        of it, since the opening took as many, or this would be the longest gap."""
        self.opening = False
        self.cadence.covered(step)
        self._turns_of_complete, self._since_sharpness = 0, self._takes

    def completed(self, step: int) -> None:
        """A complete measurement of this step is done."""
        self.opening, self.searched = False, True
        self.cadence.covered(step)
        self._took.append(self._turns_of_complete)
        self._turns_of_complete = 0

    def due(self, kind: str, context: Context, *, always: bool) -> bool:
        """Whether "sharpness" or "complete" is to begin.

        ``always``: the sharpness is all that this model allows.
        """
        if kind in self.work or (self.doubtful and "ladder" in self.work):
            return False
        if always:
            return kind == "sharpness" and self.cadence.due(kind, context.step)
        near = self.cadence.near_edge
        unlimited = context.allowance >= UNLIMITED
        begun = self.cadence.next("complete") > 0
        if kind == "sharpness" and (near or (unlimited and self.searched)):
            return self.cadence.due(kind, context.step)
        if kind == "complete" and near:
            patience = COMPLETE * DENSEST if unlimited else (COMPLETE - 1) * SPARSEST
            return self.cadence.age(kind, context.step) >= patience
        if unlimited:  # one after the other
            return kind == "complete"
        if kind == "complete":
            # The sharpness comes first in it, so it begins with the one that is nearest.
            soon = self.cadence.due(kind, context.step + self.cadence.interval // 2)
            return not begun or (soon and self.cadence.due("sharpness", context.step))
        if "complete" in self.work and self.opening and self._turns_of_complete < OPENING:
            return False
        if self.work.keys() & {"complete", "ladder"}:  # which must get done
            if "ladder" in self.work:
                got = self._since_sharpness >= SEARCH_TURNS
            else:  # With its part of the turns it comes a fifth as often: both in time, or late by the same factor.
                got = self._since_sharpness * COMPLETE >= self._takes or self._in_time(context)
            # Within a tight budget turns are up to two DENSEST apart, and it begins at one.
            patience = SPARSEST - DENSEST if self._in_time(context) else SPARSEST
            return got and self.cadence.age(kind, context.step) >= patience
        return self.cadence.due(kind, context.step)

    def take(self, context: Context) -> tuple[str, Work] | None:
        """Whose turn it is; the others may not wait for a check, nor the sharpness for anything."""
        if not self.work:
            return None
        self._turn += 1
        late = not self.searched or ("complete" in self.work and not self._in_time(context))
        patient = self.work.keys() - CHECKS and (late or self._turn % CHECK_TURNS)
        if context.allowance >= UNLIMITED:
            patient = False
        kind = next(kind for kind in self.work if not patient or kind not in CHECKS)
        # It is short, and begun only when it is wanted; near the edge hardly anything else is.
        if "sharpness" in self.work and (kind not in CHECKS or self.cadence.near_edge):
            kind = "complete" if self._waits(context) and self._turn % 2 else "sharpness"
        self._turns_of_complete += kind == "complete"
        self._since_sharpness = 0 if kind == "sharpness" else self._since_sharpness + (kind not in CHECKS)
        return kind, self.work.pop(kind)

    def put_back(self, kind: str, work: Work) -> None:
        """It has more to do, behind the others."""
        self.work[kind] = work

    def put_first(self, kind: str, work: Work) -> None:
        """It waits for the next step."""
        self.work = {kind: work, **self.work}

    def pause(self, context: Context, cost: float) -> tuple[int, float]:
        """Steps until something is to be done, and the seconds to have saved by then, when a product costs so many."""
        saved = context.step_secs * context.allowance
        missing = max(0.0, (1 + RESERVE) * FOLLOWED * cost - context.saved)
        self.cadence.price = missing / saved if saved > 0 else 0.0
        if self.work:
            # What a look costs stays in reserve: one that is half paid for would be of a step long ago.
            spared = self.cadence.near_edge and "sharpness" not in self.work and not self._waits(context)
            return 1, (FOLLOWED + 1) * cost if spared else cost
        kind = min(TURNS, key=self.cadence.next)
        every = max(1, self.cadence.next(kind) - context.step)
        if kind == "sharpness" and self.cadence.near_edge:
            return every, min(SAVINGS, FOLLOWED * cost)
        # No more than can be saved until then, or what is due would wait.
        return every, max(cost, min(SAVINGS, TURNS[kind] * cost, every * saved))

    @property
    def _takes(self) -> int:
        """Turns of a complete measurement, from when it has told the sharpness."""
        took = self._took or [TURNS["complete"] - TURNS["sharpness"]]
        return sum(took) // len(took)

    def _in_time(self, context: Context) -> bool:
        """A complete measurement is as far as it should be by now; of one that takes longer than usual nobody knows."""
        age, turns = self.cadence.age("complete", context.step), self._turns_of_complete
        return turns < self._takes and turns * COMPLETE * SPARSEST >= self._takes * age

    def _waits(self, context: Context) -> bool:
        """Near the edge a complete measurement has let the many looks go first for long enough."""
        waited = self.cadence.age("complete", context.step)
        return self.cadence.near_edge and "complete" in self.work and waited > SPARSEST
