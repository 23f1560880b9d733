"""The Hessian's spectrum on the reference batch, measured while the training goes on.

A measurement takes a snapshot of the parameters at one step and spreads its products over the following steps, at most
one a step and only when the budget allows, so what is reported belongs to the step of the snapshot.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from inspect import GEN_CREATED, getgeneratorstate

from lsmon.protocol.frames import Curvature, Scalars

from ..cadence import SPARSEST
from ..operators.copies import Changed
from ..operators.ladder import Chosen, words_of
from ..optimizers import edge
from ..reference import Reference
from ..schedule import UNLIMITED
from ..signals import heed
from ..survey import MOST, plainly, skewed
from .agenda import TURNS, Agenda
from .checks import Checks, has_room
from .critical_sharpness import critical
from .edge_look import edge_look
from .examples import Examples
from .known import Known, NotMeasured, Work
from .layer_sharpness import layer_sharpness
from .look import look
from .price import Price
from .rungs import UNCHECKED, Rungs
from .sensor import Context, Finding, Sensor
from .spectral_density import density
from .trained import Trained, Turn
from .undersampling import compare_halves, overshoot

MAX_MEMORY = 1 << 30
"""Bytes of one Krylov basis; above it the space is restarted with fewer vectors."""

CALM = frozenset({"probe_fault", "silent", "hang", "equilibrium"})
"""Kinds of alert that say nothing of the landscape."""


class CurvatureSensor(Sensor):
    """λ_max, λ_min, the certified count of negative directions, and the curvature along the gradient.

    ``steps`` is the largest number of Lanczos products of a complete measurement, which stops by itself. ``density``
    adds fractions, trace, volume and the sharpness by layer; None means: where the budget leaves room.
    """

    name = "curvature"
    needs = ("model", "loss_fn")
    weight = 20.0  # the dearest by far, and what the budget is for

    def __init__(
        self, steps: int = MOST, *, density: bool | None = None, max_memory: int = MAX_MEMORY
    ) -> None:
        self.steps = steps
        self.density = density
        self.max_memory = max_memory
        self.price = 0.0
        self.examples = Examples()
        self.agenda = Agenda()
        self._known = Known()
        self._rungs = Rungs()
        self._product = Price()
        self._checks = Checks()
        self._told: list[Finding] = []
        """What a measurement that goes on has found, until it is handed on."""
        self._trained = Trained()
        self._attempt = 1
        self._step = 0

    def measure(self, context: Context) -> Sequence[Finding]:
        self._step = context.step
        self._product.begin_turn()
        if context.attempt != self._attempt:
            self._attempt = context.attempt
            self._begin_anew()
            self._rungs.try_again(context.step)
        chosen = self.examples.part is not None
        self._trained.look(context)
        missing = self.examples.choose(context)
        if missing is None:
            if not chosen:
                context.notes[self.name] = "the first measurement is under way, as the budget allows"
            self._begin(context)
        elif missing:
            context.notes[self.name] = missing
        found = self._advance(context)
        self.every, self.price = 1, self._product.seconds
        if context.allowance < UNLIMITED and self._rungs.chosen is not None:
            self.every, self.price = self.agenda.pause(context, self._product.seconds)
        return found

    def took(self, seconds: float) -> None:
        self._product.took(seconds)

    def request(self, why: str) -> bool:
        return why not in CALM and self.agenda.cadence.request(self._step)

    def close(self) -> None:
        self._begin_anew()
        self.agenda.work.clear()
        self.examples = Examples()
        self._rungs = Rungs()

    def _begin_anew(self) -> None:
        self.agenda.begin_anew()
        self._known.forget()

    def _begin(self, context: Context) -> None:
        part = self.examples.part
        assert part is not None
        if "ladder" not in self.agenda.work and self._rungs.wanted(context, part):
            self._begin_anew()
            self.agenda.work["ladder"] = self._choose(context, part)
        chosen = self._rungs.chosen
        if chosen is None:
            return
        always = chosen.rung == 3
        for kind in sorted(TURNS):  # "complete" first: while things move the sharpness is always due
            if kind == "complete" and ("ladder" in self.agenda.work or not self.examples.settled):
                continue
            if self.agenda.due(kind, context, always=always):
                if not self._in_turn(context):
                    return
                self.agenda.cadence.began(kind, context.step)
                self.agenda.work[kind] = self._safely(context, self._run(context, chosen, kind, part))
                return  # a snapshot is work enough for one step
        if "density" not in self.agenda.work and self._checks.density_due and self._has_room(context, chosen):
            self._checks.began_density()
            work = density(context, chosen, part, self._known, self.max_memory)
            self.agenda.work["density"] = self._safely(context, work, beside="density")
            layers = layer_sharpness(context, chosen, self.max_memory)
            self.agenda.work["layers"] = self._safely(context, layers, beside="sharpness by layer")

    def _has_room(self, context: Context, chosen: Chosen) -> bool:
        """For a spectral density."""
        if self.density is not None or chosen.rung == 3:
            return bool(self.density) and chosen.rung != 3
        cost = self._product.seconds
        return self.examples.all and cost > 0 and has_room(cost, context.step_secs, context.allowance)

    def _advance(self, context: Context) -> list[Finding]:
        """One unit of work of one of the measurements under way."""
        taken = self.agenda.take(context)
        if taken is None:
            return []
        kind, work = taken
        if kind != "ladder" and getgeneratorstate(work) == GEN_CREATED and not self._in_turn(context):
            self.agenda.put_first(kind, work)  # its snapshot would be of others
            return []
        # The others have products of parts.
        self._product.is_product(kind == "sharpness" or (kind == "complete" and not self._checks.completes))
        try:
            with plainly(context.model):
                next(work)  # an exception leaves it out: a generator that raised cannot go on
        except StopIteration as done:
            if kind == "sharpness" and not self.examples.settled:
                self._correct(context)
            found: list[Finding] = done.value
            return found
        self.agenda.put_back(kind, work)
        told, self._told = self._told, []
        return told

    def _tell(self, step: int, found: list[Finding]) -> None:
        """The sharpness, of a complete measurement that goes on."""
        self._told = found
        self.agenda.told(step)
        self._saw(found)

    def _correct(self, context: Context) -> None:
        """After a sharpness: are products on so many examples as dear as was thought? If not, once more with others."""
        if self._product.known and self.examples.correct(context, self._product.seconds):
            self._rungs.on(self.examples.part)
            self._product.forget()
            self._begin_anew()

    def _choose(self, context: Context, part: Reference, because: Exception | None = None) -> Work:
        """The way to the curvature that this model allows, or the next one when the first began to fail."""
        try:
            if (yield from self._rungs.choosing(context, part, because)):
                self._begin_anew()
            self.agenda.doubtful = False
        except Changed as error:
            self._rungs.chosen = None  # and is looked for once more
            context.notes[self.name] = f"not measured at step {self._step}: {error}"
            return []
        if self._rungs.chosen is None:
            context.notes[self.name] = self._rungs.waiting
        self._rungs.on(self.examples.part)
        return []

    def _safely(self, context: Context, work: Work, *, beside: str = "") -> Work:
        """A way to the curvature that fails in the middle of a measurement is given up for the next one; not for what is
        measured ``beside`` it, which asks more of it."""
        part = self.examples.part
        assert part is not None
        try:
            return (yield from work)
        except (NotMeasured, Changed) as error:
            context.notes[self.name] = f"not measured at step {self._step}: {error}"
        except Exception as error:  # out of memory, a branch of the model not met before
            heed(error)
            if self._trained.others(context):
                return []
            if beside:
                context.notes[self.name] = f"no {beside} at step {self._step}: {words_of(error)}"
                return []
            if self._rungs.hopeless:
                raise
            if self._rungs.chosen is not None:  # else the search for the next one has begun already
                # What else is half measured on this way goes with it, and the search is not kept waiting.
                self.agenda.work = {"ladder": self._choose(context, part, error)}
        return []

    def _in_turn(self, context: Context) -> bool:
        """Whether what is measured is trained at this step."""
        turn = self._trained.turn(context)
        if turn is Turn.NEW:
            self._begin_anew()
        return turn is not Turn.OTHERS

    def _run(self, context: Context, chosen: Chosen, kind: str, part: Reference) -> Work:
        """One measurement, and whatever follows from it."""
        if chosen.rung == 3:
            found = yield from critical(context, chosen)
            self._rungs.worked(chosen)
            return found
        complete, step, known = kind == "complete", context.step, self._known
        whole = context.allowance >= UNLIMITED  # then the plain sharpness is in the complete measurements
        cadence = self.agenda.cadence
        near = not complete and (cadence.near_edge or (whole and known.sharpest is not None))
        trained = [p for p in context.model.parameters() if p.requires_grad]
        follows = near and edge(context.optimizer, trained) is not None
        if near and not follows and (whole or cadence.age("plain", step) < SPARSEST):
            alone = yield from edge_look(context, chosen, part, known, self.max_memory)
            self._compare(alone)
            return alone
        cadence.began("plain", step)
        tells = complete and not whole
        if tells:
            self.agenda.opening = True
        halves = not complete and self._checks.halves_due and chosen.rung == 1
        found = yield from look(
            context,
            chosen,
            part,
            known,
            complete=complete,
            products=self.steps,
            max_bytes=self.max_memory,
            halves=halves,
            follows=follows,
            tell=partial(self._tell, step) if tells else None,
        )
        if UNCHECKED in chosen.notes and any(isinstance(one, Curvature) and skewed(one) for one in found):
            self.agenda.doubtful = True
            return []
        self._rungs.worked(chosen)
        told = tells and not self.agenda.opening
        if complete:
            self._checks.completes += 1
            known.compared = known.compared and not self._checks.compares_anew
            self.agenda.completed(step)
        if not told:
            self._saw(found, follows=follows)
        if known.halves:
            self._checks.began_halves()
            check = compare_halves(known, context.seed, self.max_memory)
            self.agenda.work["halves"] = self._safely(context, check)
        elif top := known.begin_overshoot(part, context.reference):
            check = overshoot(known, top, part, context.reference)
            self.agenda.work["overshoot"] = self._safely(context, check)
        return found

    def _saw(self, found: Sequence[Finding], *, follows: bool = False) -> None:
        """What moved, and how near the edge is, decide when the sharpness is wanted again."""
        if self._known.sharpness is not None and not follows:
            self.agenda.cadence.found(self._known.sharpness)
        self._compare(found)

    def _compare(self, found: Sequence[Finding]) -> None:
        name = "stability/ratio"
        for one in found:
            if isinstance(one, Scalars) and name in one.values:
                self.agenda.cadence.against_edge(one.step, one.values[name], one.errors[name])
