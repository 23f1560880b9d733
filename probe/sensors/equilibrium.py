"""The equilibrium gauge: does the loss still fall because the gradient pulls, or do noise and descent balance?

Takes a batch's two halves apart, at the parameters that the update starts from, once in a while: two backward passes of
half a batch and a Hessian product on the batch before. That gives the temperature without the bias of consecutive
differences, the noise scale, and the gauge R; the loss on the reference batch, a forward pass, gives R once more by the
balance of energy. Where the loop accumulates micro-batches their gradients are used.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from lsmon.protocol.frames import Scalars

from ..algorithms.estimate import Estimate
from ..optimizers import gain, kind, unknown
from ..readings import Reading
from ..reference import size_of
from ..subject import eval_mode
from .energy import Energy, memory
from .full_batch import FullBatch
from .gauge_reading import GRADIENT, PLAIN_TRACE, SHORTEST, STRANGENESS, TRACE, read_gauge
from .sampling import UNCOUNTED, ranks, uncounted
from .sensor import Context, Finding, Sensor
from .temperature import NEWS, WINDOW
from .turn import Turn
from .update_noise import UpdateNoise
from .window import FEWEST, Window, changed

LONGEST = 2048
"""Estimates kept for the gauge: with 1000 of them R has an error between 0.04 and 0.3."""

ALIEN = 0.05
"""1 - cos (18°) between the halves' gradient and the loop's own, above which ``loss_fn`` is not what the loop computes."""


class Equilibrium(Sensor):
    """``temperature/equilibrium`` (R), ``noise/scale``, and ``temperature/noise`` where there are no micro-batches."""

    name = "equilibrium"
    needs = ("model", "optimizer", "loss_fn")
    weight = 4.0

    def __init__(self) -> None:
        self._context: Context | None = None
        self._update: UpdateNoise | None = None
        self._energy = Energy(LONGEST)
        self._gains: list[float] = []
        self._attempt = 1
        self._turn = Turn()
        self._coming: deque[tuple[int, Reading]] = deque()
        self._window = Window(LONGEST)
        self._full_batch = FullBatch()
        self._dim = 0.0
        self._fresh = 0

    def expect(self, context: Context) -> None:
        self._context = context
        if self._update is None:
            self._update = UpdateNoise(context)
        self._update.expect()

    def before_update(self, context: Context) -> None:
        assert self._update is not None
        if unknown(context.optimizer):
            return
        gains = [gain(group) for group in context.optimizer.param_groups]
        if context.attempt != self._attempt or changed(gains, self._gains):
            self._attempt, self._gains = context.attempt, gains
            self._restart()
        if self._update.begin(context):
            self._restart()

    def _restart(self) -> None:
        self._window.clear()
        self._energy.clear()
        self._coming.clear()
        self._fresh = 0
        self._speaks(False)

    def _speaks(self, halves: bool) -> None:
        """Whether the temperature is this sensor's; it must not stay so when this one is switched off."""
        if self._context is not None:
            self._context.by_halves = halves

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        update = self._update
        if update is None:
            return None
        self.aside = update.seconds()
        update.rest()
        # In the middle of an accumulation the next micro-batches must be seen too.
        self.busy = update.under_way
        words = self._unmeasured(context, update)
        if words:
            context.notes[self.name] = words
            return None
        if update.form is not None and (context.batch is not None or update.parts > 1):
            self._energy.look(context, update.form, update.parts)
        reading = self._turn.of(context, update)
        if self._turn.trouble:
            context.notes[self.name] = self._turn.trouble
        if reading is not None:
            self._coming.append((context.step, reading))
        self._energy.take()
        while self._coming and self._coming[0][1].ready():
            step, reading = self._coming.popleft()
            *numbers, self._dim = reading.values()
            self._window.add(*numbers, float(step))
            self._fresh += 1
        count = len(self._window)
        if self._fresh < max(1, min(count, WINDOW) // NEWS) or count < FEWEST:
            return None
        self._fresh = 0
        found: list[Finding] = [*self._temperature(context, update), *self._noise_scale(context, update)]
        if count < SHORTEST:
            context.notes[self.name] = f"{count} of the first {SHORTEST} estimates"
            return found
        context.notes.pop(self.name, None)
        gauge = read_gauge(self._window, self._energy, memory(context.optimizer))
        if gauge is None:
            context.notes[self.name] = "the curvature along the noise is not positive: no gauge"
            return found
        words = f"{gauge.label}; {gauge.way}; {self._words(context, update, gauge.estimates)}"
        return [*found, _one(context.step, "temperature/equilibrium", gauge.ratio, words)]

    def _unmeasured(self, context: Context, update: UpdateNoise) -> str:
        """Why there is no gauge here, in words."""
        if words := unknown(context.optimizer):
            return words
        if ranks(context) > 1:
            return "with several ranks the gauge is not measured yet"
        words = self._full_batch.words(context, update.parts)
        return f"{words}: there is no noise to balance the descent" if words else ""

    def _temperature(self, context: Context, update: UpdateNoise) -> list[Scalars]:
        if update.parts > 1:
            return []  # the other sensor has it, from the same micro-batches and more of them
        self._speaks(True)
        last = min(len(self._window), WINDOW)
        heat, words = self._window.mean(TRACE, last), self._words(context, update, last)
        names, parts = ("temperature/noise", "temperature/thermal_loss"), (2 * max(self._dim, 1.0), 4.0)
        return [
            Scalars(
                step=context.step,
                values={name: heat.value / part for name, part in zip(names, parts, strict=True)},
                errors={name: heat.se / part for name, part in zip(names, parts, strict=True)},
                words=dict.fromkeys(names, words),
            )
        ]

    def _noise_scale(self, context: Context, update: UpdateNoise) -> list[Scalars]:
        """McCandlish et al. 2018, arXiv:1812.06162: B tr(PC)/|∇L|²_P, ratio of window means."""
        last = min(len(self._window), WINDOW)
        ratio = self._window.clear_ratio(PLAIN_TRACE, GRADIENT, last)
        if ratio is None or context.batch is None or update.parts > 1:
            return []
        size = size_of(context.batch)
        scale = Estimate(size * ratio.value, size * ratio.se)
        words = f"{self._words(context, update, last)}; B={size}"
        return [_one(context.step, "noise/scale", scale, words)]

    def _words(self, context: Context, update: UpdateNoise, count: int) -> str:
        metric = "Adam" if kind(context.optimizer) == "Adam" else "identity"
        way = f"micro-batches, M={update.parts}" if update.parts > 1 else "two halves of the batch"
        words = [f"{way}, n={count}, {metric} metric, d={self._dim:.0f}"]
        words += [UNCOUNTED] if uncounted(context) else []
        if update.parts == 1:
            words.append(eval_mode(context.model).partition(":")[0])
            if self._window.mean(STRANGENESS, min(len(self._window), WINDOW)).value > ALIEN:
                words.append("unreliable: loss_fn gives another gradient than the loop's own")
        return "; ".join(words)

    def close(self) -> None:
        self._speaks(False)
        if self._update is not None:
            self._update.close()
        self._energy.clear()
        self._turn.close()


def _one(step: int, name: str, estimate: Estimate, words: str) -> Scalars:
    return Scalars(step=step, values={name: estimate.value}, errors={name: estimate.se}, words={name: words})
