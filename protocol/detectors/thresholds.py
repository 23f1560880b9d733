"""Every threshold of every detector, each with the reason for its value; all of them can be set.

Counts are of measurements or samples, not of steps, unless a name says so: a run logged every tenth step, or in tokens,
then gets the same verdicts. Values were chosen on the tuning part of ``tests/corpus``, never on the part held out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from .setting import known, names_of, number


def _within(default: Any, low: float, high: float = math.inf) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True, slots=True)
class OfSaddle:
    """``saddle_entered`` and ``saddle_escape``: curvature along the gradient."""

    turned: float = _within(-0.03, -1.0, 0.0)
    """ĝᵀHĝ/|H| below this is negative: ordinary networks scatter around zero by 0.01 late in training."""
    aligned: float = _within(0.5, 0.0, 1.0)
    """Or ĝᵀHĝ below this part of λ_min: the gradient lies in the way out, however sharp another direction is."""
    negative: float = _within(1e-3, 0.0, 1.0)
    """λ_min must be below minus this times |H|, so that the sign is not the rounding of a flat valley."""
    in_a_row: int = _within(2, 1, 100)
    """Measurements: one may be off by an unconverged λ."""
    grown: float = _within(1.1, 1.0, 100.0)
    """|∇L| over its smallest since the sign: what rolls off a saddle speeds up, what only crosses a ridge does not."""
    fallen: float = _within(0.02, 0.0, 1.0)
    """Part of the loss at the first sign that must be gone at the end: less is no event in the landscape."""
    gently_aligned: float = _within(0.1, 0.0, 1.0)
    """ĝᵀHĝ below this part of λ_min turns gently: a plateau that is hardly one is left so, and ..."""
    gently_negative: float = _within(0.05, 0.0, 1.0)
    """... λ_min must be below minus this times |H| there, ..."""
    gently_in_a_row: int = _within(4, 1, 1000)
    """... in so many measurements, ..."""
    gently_fallen: float = _within(0.1, 0.0, 1.0)
    """... after which this part of the loss must be gone."""
    plain_turn: float = _within(-0.1, -1.0, 0.0)
    """One measurement as negative as this is enough, or the way between two, when measurements are rare ..."""
    plain_fall: float = _within(0.05, 0.0, 1.0)
    """... when the loss then falls by this part of itself, ..."""
    faint_fall: float = _within(0.3, 0.0, 1.0)
    """... or by this part when that one measurement was less plain, ..."""
    plain_plateau: float = _within(0.7, 0.0)
    """... and if it had fallen by no more than this part of it since the measurement before, or would have at the slope
    that it had: the first steps are a descent."""
    memory: float = _within(0.9, 0.0, 0.999)
    """Of the smoothed loss, where the measurement has none of its own: the last ten samples."""
    floor: float = _within(1e-5, 0.0, 1.0)
    """Part of the largest loss of the run: below it float32 rounds away what curvature there is, cross-entropy above all."""
    plateau_steps: int = _within(0, 0)
    """Fewest steps from the first sign to the escape; none, since how long a plateau lasts is the learning rate's affair."""


@dataclass(frozen=True, slots=True)
class OfPlateau:
    """``plateau_left``: the loss alone, where no curvature along the gradient is measured."""

    samples: int = _within(25, 2)
    """Fewest samples of a plateau: with fewer, the noise of the batches makes one anywhere."""
    quiet_samples: int = _within(12, 2)
    """The same where the loss scatters by less than what is called flat: then each sample counts as it is, unsmoothed."""
    flat: float = _within(0.03, 0.0, 1.0)
    """Part of itself by which a loss on a plateau may drift: what a person would call flat on the screen."""
    drop: float = _within(0.15, 0.0, 1.0)
    """Part of the plateau's loss that must be gone when it has been left."""
    deviations: float = _within(4.0, 0.0)
    """And as many standard deviations of the smoothed loss, so that noise does not leave a plateau."""
    floor: float = _within(1e-3, 0.0, 1.0)
    """Part of the largest loss of the run: what still moves below it is of no consequence."""
    quicker: float = _within(3.0, 1.0, 100.0)
    """How many times shorter the fall is than the plateau was: a steady descent under noise takes as long as that."""
    noisiest: float = _within(0.06, 0.0)
    """Those deviations as a part of the loss, beyond which no plateau is seen: under more noise anything may look like one."""
    memory: float = _within(0.9, 0.0, 0.999)
    """Of the smoothed loss: the last ten samples."""


@dataclass(frozen=True, slots=True)
class OfGrokking:
    """``memorized``, ``grokking_onset`` and ``grokking_complete``."""

    learned: float = _within(0.98, 0.0, 1.0)
    """Training accuracy that counts as known by heart; 0.95 changed no verdict."""
    gap: float = _within(0.35, 0.0, 1.0)
    """Between training and validation accuracy: ordinary overfitting stays below."""
    in_a_row: int = _within(3, 1, 100)
    """Evaluations; two to five changed no verdict."""
    memory: float = _within(0.6, 0.0, 0.999)
    """Of the smoothed accuracies: the last two or three evaluations."""
    rise: float = _within(0.15, 0.0, 1.0)
    """Of validation accuracy above its lowest since memorising: at 0.1 runs that learn a little more by heart seem to grok."""
    deviations: float = _within(5.0, 0.0)
    """The same in units of its own noise, so that a small validation set does not grok by chance."""
    stays: float = _within(0.9, 0.0, 1.0)
    """Training accuracy meanwhile: when it falls too, something else happens."""
    complete: float = _within(0.9, 0.0, 1.0)
    """Part of the training accuracy that validation has reached when it is over."""
    lr_jump: float = _within(2.0, 1.0)
    """A learning rate that changed by this factor within the window lifts validation by itself: start over."""
    window: int = _within(25, 2, 10_000)
    """Evaluations over which the noise and the learning rate are looked at."""
    losses_learned: float = _within(0.1, 0.0, 1.0)
    """Without accuracies: part of the first training loss below which the data counts as known by heart ..."""
    losses_gap: float = _within(10.0, 1.0)
    """... when the validation loss is this many times as large, ..."""
    losses_unknown: float = _within(0.8, 0.0)
    """... and still this part of what it was at first: a validation loss that has come down has learned something, ..."""
    losses_turn: float = _within(0.7, 0.0, 1.0)
    """... the part of its largest since then at which it has turned, ..."""
    losses_done: float = _within(0.2, 0.0, 1.0)
    """... and at which it is over."""


@dataclass(frozen=True, slots=True)
class OfGeneralization:
    """``generalization_lost``: validation accuracy that was there and goes."""

    had: float = _within(0.3, 0.0, 1.0)
    """Validation accuracy must have risen by this much above its lowest: else there was nothing to lose."""
    lost: float = _within(0.15, 0.0, 1.0)
    """Of validation accuracy below its best: overfitting of the ordinary kind costs less."""
    deviations: float = _within(5.0, 0.0)
    """The same in units of its own noise."""
    stays: float = _within(0.05, 0.0, 1.0)
    """How far training accuracy may have fallen since the best: when it falls as much, it is a setback of all."""
    in_a_row: int = _within(3, 1, 100)
    """Evaluations, as for grokking."""
    memory: float = _within(0.6, 0.0, 0.999)
    """Of the smoothed accuracies."""


@dataclass(frozen=True, slots=True)
class OfOverfitting:
    """``overfitting``: validation loss that rises while the training loss falls."""

    rise: float = _within(0.15, 0.0)
    """Above its smallest, as a part of it: validation losses of healthy runs come back from 5 to 10 %."""
    material: float = _within(0.03, 0.0)
    """The same as a part of the first validation loss: a loss that has all but vanished may double, and nothing is lost."""
    again: float = _within(0.2, 0.0, 1.0)
    """How much lower, as a part, a later lowest must be for a second alert."""
    deviations: float = _within(4.0, 0.0)
    """The same in units of its own noise."""
    in_a_row: int = _within(3, 1, 100)
    """Evaluations, as for grokking."""
    memory: float = _within(0.6, 0.0, 0.999)
    """Of the smoothed validation loss: the last two or three evaluations."""
    train_memory: float = _within(0.9, 0.0, 0.999)
    """Of the smoothed training loss: ten evaluations, since between two of them there may be few batches."""


@dataclass(frozen=True, slots=True)
class OfLossSpike:
    """``loss_spike``: the loss jumps well above where it was, and stays there for more than one batch."""

    warm_up: int = _within(50, 1)
    """Samples before the first verdict: the averages have forgotten their start by then (0.95^50 = 8 %)."""
    memory: float = _within(0.95, 0.0, 0.999)
    """Of the running mean and deviation: about the last 20 samples."""
    deviations: float = _within(8.0, 0.0)
    """Mean absolute deviations above the mean: 6.4 σ for normal noise, and heavy-tailed batch losses pass."""
    rise: float = _within(0.3, 0.0)
    """And at least this part of the mean: where the noise is tiny, a jump that nobody would see is not an event."""
    plain: float = _within(5.0, 0.0)
    """A rise by so many times the mean is plain in two samples of three; a smaller one needs all three, since smaller
    batches only scatter more."""
    floor: float = _within(1e-4, 0.0, 1.0)
    """Part of the largest loss of the run: below it what moves is rounding, or of no consequence."""
    calm: int = _within(20, 1)
    """Samples in a row below the limit after which it may alert again: one event is one alert."""


@dataclass(frozen=True, slots=True)
class OfDivergence:
    """``divergence``: what had been learned is lost, or the loss is above where it began, and it stays so."""

    lost: float = _within(0.5, 0.0)
    """Part of all that the loss had come down which is lost again: a spike that comes back loses more, but not for long."""
    above: float = _within(0.3, 0.0)
    """Part of the first loss by which it is above it: no first steps are that bad for long."""
    samples: int = _within(60, 2)
    """For so many samples in a row: spikes of healthy runs are over in fewer."""
    share: float = _within(0.05, 0.0, 1.0)
    """And for this part of all samples so far: an hour in a day."""
    recovering: float = _within(0.9, 0.0, 1.0)
    """Part of the level at its beginning below which the loss is on its way back, and the count starts anew."""
    memory: float = _within(0.9, 0.0, 0.999)
    """Of the smoothed loss: the last ten samples."""
    deviations: float = _within(4.0, 0.0)
    """And by so many standard deviations of the loss before: one around zero, as of a policy, has no size of its own."""


@dataclass(frozen=True, slots=True)
class OfCurvatureSpike:
    """``curvature_spike``: the sharpness jumps, and the loss has not fallen for it."""

    at_once: float = _within(1.5, 1.0)
    """Over the measurement just before: what grows little by little, as on the way out of a saddle, is no jump."""
    times: float = _within(3.0, 1.0)
    """Over the median of the last measurements: progressive sharpening stays below 1.5 from one to the next."""
    deviations: float = _within(6.0, 0.0)
    """And so many median absolute deviations of ln λ_max: where it scatters by itself, a jump must be larger."""
    measurements: int = _within(9, 3, 1000)
    """Of which the median is taken."""
    fewest: int = _within(5, 2, 1000)
    """Measurements before the first verdict."""
    loss_stays: float = _within(0.8, 0.0, 10.0)
    """Part of the loss at the measurement before that must still be there: on the way out of a saddle it rises for the good."""


@dataclass(frozen=True, slots=True)
class OfStall:
    """``stall``: the weights hardly move and the loss does not fall."""

    update: float = _within(1e-4, 0.0)
    """|Δθ|/|θ| of a step below which nothing moves: a tenth of what is healthy."""
    samples: int = _within(15, 2)
    """Measurements of the update ratio in a row."""
    edge: float = _within(1e-2, 0.0)
    """Sharpness over the optimizer's edge, where it is measured: above it the learning rate is not too small."""
    fall: float = _within(0.02, 0.0, 1.0)
    """Part of the loss at the beginning of the count: what falls by more does learn, if slowly."""
    learned: float = _within(0.3, 0.0, 1.0)
    """Part of the first loss that is gone: what has learned that much has arrived, and not stalled."""
    annealed: float = _within(0.1, 0.0, 1.0)
    """Part of the largest learning rate: below it the run is being brought to rest on purpose."""
    memory: float = _within(0.9, 0.0, 0.999)
    """Of the smoothed loss: the last ten samples."""


@dataclass(frozen=True, slots=True)
class OfNonfinite:
    """``nonfinite``: NaN and infinities."""

    quiet: int = _within(100, 1)
    """Finite samples of a name after which it may alert again: a blip that comes back every few steps is one event."""
    watched: int = _within(1000, 1)
    """Names remembered; more than that is a mistake in the loop, and memory stays bounded."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """All of them, by detector."""

    saddle: OfSaddle = OfSaddle()
    plateau: OfPlateau = OfPlateau()
    grokking: OfGrokking = OfGrokking()
    generalization: OfGeneralization = OfGeneralization()
    overfitting: OfOverfitting = OfOverfitting()
    loss_spike: OfLossSpike = OfLossSpike()
    divergence: OfDivergence = OfDivergence()
    curvature_spike: OfCurvatureSpike = OfCurvatureSpike()
    stall: OfStall = OfStall()
    nonfinite: OfNonfinite = OfNonfinite()

    def changed(self, settings: Mapping[str, Any]) -> Self:
        """With some of them set by name: ``{"saddle.plateau_steps": 200}``; values may be numbers or their text.

        Raises UsageError for a name that is none, for what is not a number and for a value that makes no sense.
        """
        after = self
        for name, value in settings.items():
            detector, threshold = known(str(name), self.names())
            group = getattr(after, detector)
            after = replace(
                after, **{detector: replace(group, **{threshold: number(group, threshold, str(name), value)})}
            )
        return after

    @classmethod
    def names(cls) -> list[str]:
        """All that can be set, as "detector.threshold"."""
        every = cls()
        return [
            f"{detector}.{name}"
            for detector in names_of(every)
            for name in names_of(getattr(every, detector))
        ]
