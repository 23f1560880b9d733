"""The Hessian's spectrum on the reference batch, measured while the training goes on.

A measurement takes a snapshot of the parameters at one step and spreads its products over the following steps, at most
one a step and only when the budget allows, so what is reported belongs to the step of the snapshot. There are two
kinds, and one of each may be under way: the sharpness λ_1 alone, often, and the complete measurement, seldom.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from ..cadence import COMPLETE, DENSEST, SPARSEST, Cadence
from ..operators import ladder
from ..operators.ladder import Chosen
from ..plan import PRODUCTS, Plan
from ..reference import Reference, size_of
from ..schedule import SAVINGS, UNLIMITED
from ..survey import MOST, plainly
from .critical_sharpness import critical
from .known import Known, NotMeasured, Work
from .layer_sharpness import layer_sharpness
from .look import look
from .sensor import Context, Finding, Sensor
from .spectral_density import density
from .undersampling import compare_halves, overshoot

MAX_MEMORY = 1 << 30
"""Bytes of one Krylov basis; above it the space is restarted with fewer vectors."""

TURNS = {"sharpness": 8, "complete": 32}
"""Products of a measurement as a rule, gradient included: what is saved up for before one begins."""

HALVES_EVERY = 8
"""Complete measurements from one comparison of the reference batch's halves to the next: it costs half of one."""

CHECKS = frozenset({"halves", "overshoot", "density", "layers"})
"""Work that has time: it asks whether the examples are enough, or takes hundreds of products."""

TIMED = 3
"""Products whose median cost tells whether the examples are too many or too few."""

DENSITY_EVERY = 4
"""Complete measurements from one spectral density to the next."""

DENSITY_PRODUCTS = 512
"""Products that a density takes: 8 probes of 64."""

CHECK_TURNS = 8
"""Turns of which such work gets one, while there is other work."""

FAIR = 12
"""Products that a complete measurement gets between two of the sharpness alone, in a loop so fast that the latter would
take the whole budget,"""
TOO_MUCH = 2.0
"""which is one whose planned products cost so many times what the budget allows for them."""

EXACT = "exact: double backward, kept graph"
UNCHECKED = "not yet checked against a finite difference"

CALM = frozenset({"probe_fault", "silent", "equilibrium"})
"""Kinds of alert that say nothing of the landscape."""


class CurvatureSensor(Sensor):
    """λ_max, λ_min, the certified count of negative directions, and the curvature along the gradient.

    ``steps`` is the largest number of Lanczos products of a complete measurement, which stops by itself. ``density``
    adds fractions, trace, volume and the sharpness by layer; None means: where the budget leaves room.
    """

    name = "curvature"
    needs = ("model", "loss_fn")
    weight = 12.0  # the dearest by far, and what the budget is for

    def __init__(
        self, steps: int = MOST, *, density: bool | None = None, max_memory: int = MAX_MEMORY
    ) -> None:
        self.steps = steps
        self.density = density
        self.max_memory = max_memory
        self.cadence = Cadence()
        self.plan: Plan | None = None
        self._turns_of_complete = 0
        self.price = 0.0
        self._chosen: Chosen | None = None
        self._part: Reference | None = None
        self._known = Known()
        self._work: dict[str, Work] = {}
        self._costs: list[float] = []  # seconds of the last products
        self._turns: deque[bool] = deque()  # whose cost is not known yet: was it a whole product?
        self._completes = 0
        self._next_halves = 1
        self._next_density = 1
        self._turn = 0
        self._settled = False  # the number of examples is right, and stays: a complete measurement may begin
        self._attempt = 1
        self._step = 0

    def measure(self, context: Context) -> Sequence[Finding]:
        self._step = context.step
        self._turns.append(False)
        if context.attempt != self._attempt:
            self._attempt = context.attempt
            self._begin_anew()
        if self._plan(context):
            self._begin(context)
        found = self._advance(context)
        self._arrange(context)
        return found

    def took(self, seconds: float) -> None:
        if self._turns.popleft():
            self._costs.append(seconds)
            del self._costs[:-8]

    def request(self, why: str) -> bool:
        return why not in CALM and self.cadence.request(self._step)

    def close(self) -> None:
        self._begin_anew()
        self._work.clear()
        self._part = self._chosen = None

    # ---- which examples

    def _plan(self, context: Context) -> bool:
        """Whether it is known what to measure on; a note says what is missing."""
        reference = context.reference
        assert reference is not None  # a Probe with a model has one
        if self._part is not None:
            return True
        if context.gather() is None:
            some = f"{reference.examples} examples of the reference batch so far"
            context.notes[self.name] = (
                some if reference.batches else "pass the batch to step() or reference= to Probe"
            )
            return False
        if context.allowance < UNLIMITED and not context.step_secs:
            return False  # the first few steps tell how long one takes
        trained_on = 0 if context.batch is None else size_of(context.batch)
        self.plan = Plan(reference.examples, trained_on, context.step_secs, _allowance(context))
        self._part = reference.thinned(self.plan.examples)
        self._settled = _allowance(context) >= UNLIMITED
        return True

    def _correct(self, context: Context) -> None:
        """After a sharpness: are products on so many examples as dear as was thought? If not, once more with others."""
        assert self.plan is not None and context.reference is not None
        if len(self._costs) < TIMED:
            return
        cost = statistics.median(self._costs)
        if self.plan.corrected(cost, context.step_secs, _allowance(context)):
            self._part = context.reference.thinned(self.plan.examples)
            if self._chosen is not None:
                self._chosen = replace(self._chosen, reference=self._part)
            self._costs.clear()
            self._begin_anew()
        else:
            self._settled = True

    def _begin_anew(self) -> None:
        """What is half measured is of another trajectory, or of other examples."""
        self._work = {kind: work for kind, work in self._work.items() if kind == "ladder"}
        self._known.forget()
        self.cadence = Cadence()

    # ---- when

    def _begin(self, context: Context) -> None:
        assert self._part is not None
        if self._chosen is None:
            if "ladder" in self._work:
                return
            self._chosen = Chosen(
                1,
                EXACT,
                notes=(UNCHECKED,),
                model=context.model,
                loss_fn=context.loss_fn,
                reference=self._part,
            )
            self._work["ladder"] = self._choose(context, self._part)
        for kind in sorted(TURNS):  # "complete" first: while things move the sharpness is always due
            if kind == "complete" and ("ladder" in self._work or not self._settled):
                continue
            if kind not in self._work and self._due(kind, context):
                self.cadence.began(kind, context.step)
                self._work[kind] = self._safely(context, self._run(context, kind))
                return  # a snapshot is work enough for one step
        if "density" not in self._work and self._completes >= self._next_density and self._has_room(context):
            self._next_density = self._completes + DENSITY_EVERY
            work = density(context, self._chosen, self._part, self._known, self.max_memory)
            self._work["density"] = self._safely(context, work)
            layers = layer_sharpness(context, self._chosen, self.max_memory)
            self._work["layers"] = self._safely(context, layers)

    def _due(self, kind: str, context: Context) -> bool:
        assert self._chosen is not None
        if self._chosen.rung == 3:
            return kind == "sharpness" and self.cadence.due(kind, context.step)
        if context.allowance >= UNLIMITED:  # whenever possible; the sharpness is in the complete measurement
            return kind == "complete"
        if kind == "sharpness" and self._work.keys() & {"complete", "ladder"}:  # which must get done
            fast = "complete" in self._work and self._is_fast(context)
            waited = self._turns_of_complete >= FAIR or not fast
            return waited and self.cadence.age(kind, context.step) >= SPARSEST - DENSEST
        return self.cadence.due(kind, context.step)

    def _is_fast(self, context: Context) -> bool:
        """Both kinds together cost more than is allowed, whatever the examples."""
        cost = statistics.median(self._costs) if self._costs else 0.0
        return PRODUCTS * cost > TOO_MUCH * COMPLETE * SPARSEST * context.step_secs * context.allowance

    def _has_room(self, context: Context) -> bool:
        """For a spectral density: half of what is allowed from one to the next pays for it."""
        assert self._chosen is not None and self.plan is not None
        if self.density is not None or self._chosen.rung == 3:
            return bool(self.density) and self._chosen.rung != 3
        if self.plan.examples < self.plan.available or not self._costs:
            return False
        until = DENSITY_EVERY * COMPLETE * SPARSEST * context.step_secs
        return DENSITY_PRODUCTS * statistics.median(self._costs) <= until * context.allowance / 2

    def _advance(self, context: Context) -> list[Finding]:
        """One unit of work of one of the measurements under way: in turns, unless the sharpness is getting old."""
        if not self._work:
            return []
        self._turn += 1
        late = "complete" in self._work and self.cadence.age("complete", context.step) > 2 * SPARSEST
        patient = self._work.keys() - CHECKS and (late or self._turn % CHECK_TURNS)
        if context.allowance >= UNLIMITED:
            patient = False
        kind = next(kind for kind in self._work if not patient or kind not in CHECKS)
        if "sharpness" in self._work and kind not in CHECKS:  # short, and begun only when it is wanted
            kind = "sharpness"
        work = self._work.pop(kind)
        # The others have products of parts.
        self._turns[-1] = kind == "sharpness" or (kind == "complete" and not self._completes)
        try:
            with plainly(context.model):
                next(work)  # an exception leaves it out: a generator that raised cannot go on
        except StopIteration as done:
            if kind == "sharpness" and not self._settled:
                self._correct(context)
            found: list[Finding] = done.value
            return found
        self._work[kind] = work  # behind the others
        self._turns_of_complete = 0 if kind == "sharpness" else self._turns_of_complete + (kind == "complete")
        return []

    def _arrange(self, context: Context) -> None:
        """When to come back, and how much to have saved by then."""
        cost = statistics.median(self._costs) if self._costs else 0.0
        self.every, self.price = 1, cost
        if self._work or context.allowance >= UNLIMITED or self._chosen is None:
            return
        kind = min(TURNS, key=self.cadence.next)
        self.every = max(1, self.cadence.next(kind) - context.step)
        # No more than can be saved until then, or what is due would wait.
        until = self.every * context.step_secs * context.allowance
        self.price = max(cost, min(SAVINGS, TURNS[kind] * cost, until))

    # ---- what

    def _choose(self, context: Context, part: Reference, because: Exception | None = None) -> Work:
        """The way to the curvature that this model allows, or the next one when the first began to fail."""
        before = self._chosen
        if because is not None:
            self._chosen = None
        subject = Context(context.model, context.optimizer, context.loss_fn, reference=part)
        chosen = yield from ladder.choosing(subject, after=before if because else None, because=because)
        if chosen.rung == 0:
            raise ValueError(chosen.reason)
        if before is None or chosen.rung != before.rung:
            self._begin_anew()
        self._chosen = replace(chosen, model=context.model, reference=self._part)
        return []

    def _safely(self, context: Context, work: Work) -> Work:
        """A way to the curvature that fails in the middle of a measurement is given up for the next one."""
        assert self._part is not None
        try:
            return (yield from work)
        except NotMeasured as error:
            context.notes[self.name] = f"not measured at step {self._step}: {error}"
        except Exception as error:  # out of memory, a branch of the model not met before
            if self._chosen is not None:  # else the search for the next one has begun already
                if self._chosen.rung == 3:
                    raise
                # What else is half measured on this way goes with it, and the search is not kept waiting.
                self._work = {"ladder": self._choose(context, self._part, error)}
        return []

    def _run(self, context: Context, kind: str) -> Work:
        """One measurement, and whatever follows from it."""
        assert self._chosen is not None and self._part is not None
        if self._chosen.rung == 3:
            return (yield from critical(context, self._chosen))
        complete, step = kind == "complete", context.step
        halves = not complete and self._completes >= self._next_halves and self._chosen.rung == 1
        found = yield from look(
            context,
            self._chosen,
            self._part,
            self._known,
            complete=complete,
            products=self.steps,
            max_bytes=self.max_memory,
            halves=halves,
        )
        if complete:
            self._completes += 1
            self.cadence.covered(step)
        if self._known.sharpness is not None:
            self.cadence.found(self._known.sharpness)
        if self._known.halves:
            self._next_halves = self._completes + HALVES_EVERY
            check = compare_halves(self._known, context.seed, self.max_memory)
            self._work["halves"] = self._safely(context, check)
        elif top := self._known.begin_overshoot(self._part, context.reference):
            check = overshoot(self._known, top, self._part, context.reference)
            self._work["overshoot"] = self._safely(context, check)
        return found


def _allowance(context: Context) -> float:
    """What the plan may count with: a reference that was given is measured whole, then only less often."""
    assert context.reference is not None
    return UNLIMITED if context.reference.given else context.allowance
