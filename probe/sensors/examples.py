"""Which examples curvature is measured on: chosen once, by what the budget allows, and corrected by what products cost."""

from __future__ import annotations

from ..plan import Plan
from ..reference import EXAMPLES, Reference, size_of
from ..schedule import UNLIMITED
from .sensor import Context


class Examples:
    """``part`` of the reference batch; None until enough is known to choose it."""

    def __init__(self) -> None:
        self.part: Reference | None = None
        self.settled = False
        """Their number is right, and stays: a complete measurement may begin."""
        self._plan: Plan | None = None

    def choose(self, context: Context) -> str | None:
        """What is still missing, in words that may be empty; None once there is a part."""
        if self.part is not None:
            return None
        context.gather()
        reference = context.reference
        assert reference is not None  # a Probe with a model has one
        if not reference.complete:
            some = f"{reference.examples} of the {EXAMPLES} examples of the reference batch so far"
            return some if reference.batches else "pass the batch to step() or reference= to Probe"
        if context.allowance < UNLIMITED and not context.step_secs:
            return ""  # the first few steps tell how long one takes
        trained_on = 0 if context.batch is None else size_of(context.batch)
        self._plan = Plan(
            reference.examples,
            trained_on,
            context.step_secs,
            allowance(context),
            thinnest=reference.thinnest,
            fewest=reference.fewest,
        )
        self.part = reference.thinned(self._plan.examples)
        self.settled = allowance(context) >= UNLIMITED
        return None

    def correct(self, context: Context, cost: float) -> bool:
        """Products took so many seconds. Whether they are from now on made on other examples."""
        assert self._plan is not None and context.reference is not None
        if self._plan.corrected(cost, context.step_secs, allowance(context)):
            self.part = context.reference.thinned(self._plan.examples)
            return True
        self.settled = True
        return False

    @property
    def all(self) -> bool:
        """The budget has room for the whole reference batch."""
        return self._plan is not None and self._plan.examples >= self._plan.available


def allowance(context: Context) -> float:
    """What the plan may count with: a reference that was given is measured whole, then only less often."""
    assert context.reference is not None
    return UNLIMITED if context.reference.given else context.allowance
