"""Which way to the curvature this model allows, tried in order and named in words.

1. double backward on a kept graph: exact (``Hessian``)
2. differences of gradients, for what cannot be differentiated twice, or gives nonsense when it is (``Difference``)
3. forward passes alone: critical sharpness along the update, for what has no gradient to spare (``Along``)

The choice is made once, on a few examples of the reference batch, where the first two are compared on one vector, and
again when the chosen way begins to fail::

    chosen = ladder.choose(context)             # or, a piece at a time: chosen = yield from ladder.choosing(context)
    if chosen.rung in (1, 2):
        operator = chosen.snapshot()            # the parameters as they are now; raises what the model raises
        operator.matvec(v), operator.loss, operator.gradient, operator.grad_norm, operator.error
    elif chosen.rung == 3:
        critical = yield from chosen.along().critical(update, learning_rate)
    else:
        context.notes["curvature"] = chosen.reason
    ...
    except Exception as error:                  # of snapshot() or a product: out of memory, a branch not met before
        chosen = ladder.choose(context, after=chosen, because=error)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import nn

from lsmon.protocol.clean import clean_line

from ..signals import heed
from .along import Along
from .compare import Found, Product, differences, disagreement, exact_product, moves, unless
from .copies import Changed
from .difference import MOVING, Difference, numbers
from .hessian import Hessian
from .reach import reach, talks
from .snapshot import (
    COMPLEX,
    NOTHING_TO_DIFFERENTIATE,
    NOTHING_TRAINED,
    PAST_THE_MODEL,
    Examples,
    LossFn,
)
from .still import STEPS

T = TypeVar("T")

CHECKED = 4
"""Examples in the comparison: what makes double backward fail or lie does not depend on their number."""

MORE = 32
"""Where those say nothing, since none of them has a label, or a zero loss already; and after these all."""

GOOD = 1e-4
"""Error in single precision below which double precision is not worth its cost. Smooth nets have 4e-5 … 8e-5; more
means kinks, and then the error on one vector says little about another (estimated 4e-4, found 1.2e-3)."""

NO_MEMORY, NOT_FINITE = "not enough memory", "the loss on the reference batch is not finite"

HOPELESS = (NOTHING_TO_DIFFERENTIATE, PAST_THE_MODEL, STEPS, NOTHING_TRAINED, COMPLEX)
"""On no rung and in no mode there is more."""

KINKS = ("ReLU", "MaxPool", "Hardtanh", "Hardswish", "Hardsigmoid", "AdaptiveMaxPool")


class Subject(Protocol):
    """What is to be measured; the sensors' Context is one."""

    @property
    def model(self) -> Any: ...
    @property
    def loss_fn(self) -> Any: ...
    @property
    def reference(self) -> Any: ...


@dataclass(frozen=True)
class Chosen:
    """A rung of the ladder, and how to take a snapshot on it."""

    rung: int
    """1, 2 or 3; 0 when none is possible."""
    method: str
    """For the screen: ``exact: double backward, kept graph``; empty when none is possible."""
    error: float | None = None
    """Relative error of a product, as estimated when the choice was made; None for an exact one."""
    notes: tuple[str, ...] = ()
    """What to say beside the numbers: why a better way was not taken, what is not to be believed."""
    reason: str = ""
    """Why there is no curvature, in one sentence; empty when there is."""
    model: nn.Module | None = None
    loss_fn: LossFn | None = None
    reference: Examples | None = None
    step: float = 0.0
    precision: torch.dtype | None = None

    def snapshot(self) -> Hessian | Difference:
        """The operator at the parameters that the model has now; about one gradient.

        Raises RuntimeError on a rung without products, and whatever the model raises.
        """
        model, loss_fn, reference = self._subject()
        if self.rung == 1:
            return Hessian(model, loss_fn, reference)
        if self.rung == 2:
            return Difference(model, loss_fn, reference, step=self.step, precision=self.precision)
        raise RuntimeError("this model has no Hessian-vector products: " + (self.reason or self.method))

    def along(self) -> Along:
        """For critical sharpness, on any rung."""
        return Along(*self._subject())

    def _subject(self) -> tuple[nn.Module, LossFn, Examples]:
        if self.model is None or self.loss_fn is None or self.reference is None:
            raise RuntimeError(self.reason)
        return self.model, self.loss_fn, self.reference


def choose(subject: Subject, *, after: Chosen | None = None, because: Exception | None = None) -> Chosen:
    """The best way that works, in one go: some 25 gradients of 4 examples, and 40 of all when it comes to rung 2. Never raises for what the model does.

    ``after`` a choice that began to fail, ``because`` of an error, only what is below it is tried.
    """
    work = choosing(subject, after=after, because=because)
    while True:
        try:
            next(work)
        except StopIteration as done:
            chosen: Chosen = done.value
            return chosen


def choosing(
    subject: Subject, *, after: Chosen | None = None, because: Exception | None = None
) -> Generator[None, None, Chosen]:
    """``choose`` in pieces of about two gradients (the first of five, of 4 examples, and once or twice more of more of
    them where those say nothing), with a yield between them; the model may move on meanwhile, since what is compared is
    of copies taken at once.

    Raises Changed where they are not, because of a frozen parameter that moved.
    """
    model, loss_fn, reference = subject.model, subject.loss_fn, subject.reference
    why = _impossible(subject)
    if why:
        return Chosen(0, "", reason=why)
    whole = Chosen(0, "", model=model, loss_fn=loss_fn, reference=reference)
    notes: list[str] = []
    floor = 0
    if after is not None:
        floor = after.rung
        why = words_of(because) if because is not None else "it began to fail"
        notes.append(f"not {_short(after)}: {why}")

    def differing(precision: torch.dtype | None, of: Examples) -> Callable[[], Difference]:
        return lambda: Difference(model, loss_fn, of, precision=precision)

    small: Examples = reference
    hessian: Hessian | Exception | None = None
    double: Difference | Exception | None = None
    single: Difference | Exception | None = None
    for small in _samples(reference):
        hessian = double = single = None  # before the next ones are made
        # All copies are taken before a yield: what is compared must be of the same parameters.
        hessian = _try(partial(Hessian, model, loss_fn, small)) if floor < 1 else None
        double = _try(differing(torch.float64, small)) if floor < 2 else None
        single = _try(differing(None, small)) if floor < 2 else None
        yield
        if not (yield from _mute(single if isinstance(hessian, Exception | None) else hessian)):
            break
    exact: Product | None = None
    if floor < 1:
        try:
            exact = yield from exact_product(unless(hessian))
        except Exception as error:  # noqa: BLE001  a model may raise anything
            _pass_on(error)
            why = words_of(error)
            notes.append(f"no double backward: {why}")
    del hessian  # its graph may be large
    if floor < 2:
        found: list[Found] = []
        try:
            found = yield from differences(double, single, exact)
        except Exception as error:  # noqa: BLE001
            _pass_on(error)
            why = words_of(error)
            if exact is None:
                notes.append(f"no finite difference: {why}")
        if exact is not None:
            lie = yield from disagreement(exact.product, found)
            if not lie:
                return _first(whole, found)
            if (yield from moves((single, double))):
                return _first(whole, (), MOVING)
            notes.append(lie)
        if found:
            try:
                # How many kinks a step meets does depend on the number of examples, so the step is found on all.
                double, single = (
                    _try(differing(precision, reference)) for precision in (torch.float64, None)
                )
                yield
                return _second(whole, (yield from differences(double, single, None)), notes)
            except Exception as error:  # noqa: BLE001
                _pass_on(error)
                why = words_of(error)
                notes.append(f"no finite difference: {why}")
    if floor < 3 and why not in HOPELESS:
        try:
            (loss,) = yield from numbers(Along(model, loss_fn, small).loss())
            if math.isfinite(loss):
                method = "forward only: critical sharpness"
                return replace(whole, rung=3, method=method, notes=tuple(notes))
            why = NOT_FINITE
        except Exception as error:  # noqa: BLE001
            heed(error)
            why = words_of(error)
    # Some models return other things then, and their loss is none.
    other = model.training and why not in (*HOPELESS, NO_MEMORY, NOT_FINITE)
    mode = " (in eval mode, in which it is measured)" if other else ""
    return Chosen(0, "", notes=tuple(notes), reason=f"curvature cannot be measured here: {why}{mode}")


def _samples(reference: Any) -> Iterator[Examples]:
    """Parts to compare on, each larger than the one before."""
    size = 0
    for wanted in (CHECKED, MORE, None):
        examples: Examples = reference.first(wanted) if wanted else reference
        if sum(examples.sizes) > size:
            size = sum(examples.sizes)
            yield examples


def _mute(point: Hessian | Difference | Exception | None) -> Generator[None, None, bool]:
    """Whether nothing can be compared on its examples; what raised would do so on more of them too."""
    if isinstance(point, Exception | None):
        return False
    facts = [fact.to(point.device, point.dtype) for fact in (point.loss, point.grad_norm)]
    loss, norm = yield from numbers(torch.stack(facts))
    return not (math.isfinite(loss) and math.isfinite(norm) and norm > 0)


def _pass_on(error: Exception) -> None:
    """Raise what says nothing of this way: a frozen parameter that moved, or what a signal handler raised."""
    if isinstance(error, Changed):
        raise error
    heed(error)


def _try(make: Callable[[], T]) -> T | Exception:
    try:
        return make()
    except Exception as error:  # noqa: BLE001  a model may raise anything
        heed(error)
        return error.with_traceback(None)  # whose frames would keep half a graph in memory


def _first(whole: Chosen, found: Sequence[Found], why: str = "none is to be believed here") -> Chosen:
    unchecked = not any(one.believed for one in found)
    notes = (f"not checked against a finite difference: {why}",) if unchecked else ()
    return replace(whole, rung=1, method="exact: double backward, kept graph", notes=notes)


def _second(whole: Chosen, found: Sequence[Found], notes: list[str]) -> Chosen:
    """The cheapest finite difference that is good enough, else the best one, with a warning when it is bad."""
    good = [one for one in found if one.precision is None and one.calibration.error <= GOOD]
    best = min(good or found, key=lambda one: one.doubt)
    precision, calibration = best.precision, best.calibration
    method = f"finite difference, error {calibration.error:.0e}"
    if precision is not None:
        method += ", double precision"
    if not best.believed:
        assert whole.model is not None
        kinks = sorted({n for m in whole.model.modules() for n in KINKS if type(m).__name__.startswith(n)})
        cause = f"the gradient jumps at {' and '.join(kinks)}" if kinks else "the gradient is too rough"
        notes.append(f"the finite difference is not to be believed: {cause}")
    return replace(
        whole,
        rung=2,
        method=method,
        error=calibration.error,
        notes=tuple(notes),
        step=calibration.step,
        precision=precision,
    )


def _impossible(subject: Subject) -> str:
    if subject.loss_fn is None:
        return "curvature needs loss_fn(model, batch), which was not given"
    if subject.reference is None or not subject.reference.batches:
        return "curvature needs a reference batch, and there is none yet"
    return talks(subject.model, reach(subject.model, subject.loss_fn))


def _short(chosen: Chosen) -> str:
    return {1: "double backward", 2: "finite difference"}.get(chosen.rung, chosen.method)


def words_of(error: Exception, most: int = 160) -> str:
    """The first line of what was raised, or that there was no memory."""
    text = str(error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "not enough memory" in text:
        return NO_MEMORY
    if isinstance(error, KeyError):  # which says no more than the key
        text = f"KeyError: {text}"
    return clean_line(text.partition("\n")[0] or type(error).__name__, most)
