"""Saddles and grokking on trajectories whose truth is known."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Ritz, Scalars

Vector = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def watched(frames: Iterator[AnyFrame]) -> list[Alert]:
    """The alerts, numbered as the sender numbers them."""
    watch, seq, found = Watch(), 0, []
    for frame in frames:
        seq += 1
        for alert in watch.see(structs.replace(frame, seq=seq)):
            seq += 1
            numbered = structs.replace(alert, seq=seq)
            watch.see(numbered)
            found.append(numbered)
    return found


def descent(
    loss: Callable[[Vector], float],
    gradient: Callable[[Vector], Vector],
    hessian: Callable[[Vector], Vector],
    start: list[float],
    *,
    lr: Callable[[int], float],
    steps: int,
    every: int = 10,
    noise: float = 0.0,
    seed: int = 0,
) -> Iterator[AnyFrame]:
    """Gradient descent with the exact Hessian every few steps."""
    x, draw = np.array(start), np.random.default_rng(seed)
    before: tuple[Vector, Vector] | None = None
    for step in range(steps):
        g = gradient(x)
        yield Scalars(step=step, values={"loss": loss(x), "lr": lr(step)})
        if step % every == 0:
            h = hessian(x)
            values = np.linalg.eigvalsh(h)
            size = float(g @ g)
            u = x - (x if before is None else before[0])
            length = float(u @ u)
            excess = 0.0 if before is None else loss(x) - loss(before[0]) - float(before[1] @ u)
            before = x, g
            yield Curvature(
                step=step, top=(Ritz(float(values[-1]), 0.0, True),), bottom=(Ritz(float(values[0]), 0.0, True),),
                grad_norm=math.sqrt(size), grad_curvature=float(g @ h @ g) / size if size else 0.0, loss=loss(x),
                displacement=math.sqrt(length) if length else None, displacement_curvature=2 * excess / length if length else None,
            )  # fmt: skip
        x = x - lr(step) * (g + noise * draw.normal(size=x.shape))


def product(s: float, start: float, **more: float) -> Iterator[AnyFrame]:
    """½ (s - a b)²: a saddle at 0 with λ_min = -s, minima where a b = s (Saxe et al. 2014, one mode)."""

    def hessian(x: Vector) -> Vector:
        a, b = x
        return np.array([[b * b, 2 * a * b - s], [2 * a * b - s, a * a]])

    return descent(
        lambda x: 0.5 * (s - x[0] * x[1]) ** 2 + 1e-6,
        lambda x: -(s - x[0] * x[1]) * x[::-1],
        hessian,
        [start, start],
        lr=lambda step: 0.01,
        steps=int(more.get("steps", 4000)),
        noise=more.get("noise", 0.0),
        every=int(more.get("every", 10)),
    )


def half_learned(s: float, start: float) -> float:
    """Step at which a² = s/2 from a₀: da/dt = a (s - a²) has t = ln(a²(s - a₀²) / (a₀²(s - a²))) / 2s."""
    a2, a02 = s / 2, start**2
    return math.log(a2 * (s - a02) / (a02 * (s - a2))) / (2 * s) / 0.01


def test_an_escape_is_told_once_near_the_step_at_which_theory_has_it() -> None:
    for s, start in ((2.0, 1e-3), (1.0, 1e-2), (3.0, 1e-4)):
        entered, escaped = watched(product(s, start))
        assert (entered.kind, escaped.kind) == ("saddle_entered", "saddle_escape")
        assert escaped.follows == entered.seq
        assert abs(escaped.step - half_learned(s, start)) <= 40
        assert entered.step < half_learned(s, start)
        assert abs(escaped.evidence["hessian/min"] + s) < 0.1 * s


def test_an_escape_between_two_measurements_is_told_by_the_way() -> None:
    """At neither is the curvature along the gradient negative but the way came down from the saddle."""
    frames = list(product(2.0, 0.1, every=400, steps=1300))
    measured = [frame for frame in frames if isinstance(frame, Curvature)]
    assert measured[0].grad_curvature is not None and measured[0].grad_curvature < 0
    hidden = [
        structs.replace(frame, grad_curvature=abs(frame.grad_curvature or 0.0))
        if isinstance(frame, Curvature)
        else frame
        for frame in frames
    ]
    (told,) = watched(iter(hidden))
    assert told.kind == "saddle_escape" and told.onset_step == 0 and told.step == 400
    assert told.evidence["displacement_curvature/|H|"] < -0.2 and "on the way" in told.message
    blind = [
        structs.replace(f, displacement_curvature=None) if isinstance(f, Curvature) else f for f in hidden
    ]
    assert watched(iter(blind)) == []


def test_gradient_noise_does_not_hide_the_escape() -> None:
    kinds = [alert.kind for alert in watched(product(2.0, 1e-2, noise=0.002))]
    assert kinds == ["saddle_entered", "saddle_escape"]


def test_without_curvature_along_the_gradient_nothing_is_called_a_saddle() -> None:
    """A plateau and a drop of the loss alone are right one time in eight: it is called what it is."""
    frames = (frame for frame in product(2.0, 1e-3) if isinstance(frame, Scalars))
    (left,) = watched(frames)
    assert (left.kind, left.severity) == ("plateau_left", "info")
    assert left.confidence is not None and left.confidence <= 0.5


def quadratic(lr: Callable[[int], float]) -> Iterator[AnyFrame]:
    curvatures = np.array([1.0, 0.05, 0.001])
    return descent(
        lambda x: float(0.5 * curvatures @ (x * x)) + 0.1,
        lambda x: curvatures * x,
        lambda x: np.diag(curvatures),
        [1.0, 1.0, 1.0],
        lr=lr,
        steps=3000,
        noise=0.1,
    )


def test_a_convex_plateau_with_a_learning_rate_drop_is_no_saddle() -> None:
    assert watched(quadratic(lambda step: 0.5 if step < 1500 else 0.05)) == []


def test_a_negative_eigenvalue_alone_is_no_saddle() -> None:
    """Every ordinary network has one all its life."""
    frames = (
        Curvature(step=step, top=(Ritz(5.0, 0.0, True),), bottom=(Ritz(-1.0, 0.0, True),), grad_curvature=2.0)
        if step % 10 == 0
        else Scalars(step=step, values={"loss": math.exp(-step / 300)})
        for step in range(2000)
    )
    assert watched(frames) == []


def accuracies(
    train: Callable[[int], float],
    val: Callable[[int], float],
    *,
    noise: float = 0.0,
    steps: int = 300,
    seed: int = 0,
) -> Iterator[AnyFrame]:
    draw = random.Random(seed)
    for step in range(steps):
        values = {"train/acc": train(step), "val/acc": val(step) + draw.gauss(0, noise)}
        yield Scalars(step=step * 10, values=values)


def rise(step: float, middle: float, width: float) -> float:
    return 1 / (1 + math.exp(-(step - middle) / width))


def test_grokking_is_told_in_three_chapters_and_onset_before_half() -> None:
    for noise in (0.0, 0.01):
        found = watched(
            accuracies(lambda t: rise(t, 20, 4), lambda t: 0.02 + 0.97 * rise(t, 200, 10), noise=noise)
        )
        assert [alert.kind for alert in found] == ["memorized", "grokking_onset", "grokking_complete"]
        memorized, onset, complete = found
        assert (onset.follows, complete.follows) == (memorized.seq, onset.seq)
        assert 320 <= memorized.step <= 450
        assert 1700 <= onset.step <= 2000
        assert complete.step <= 2400


def test_controls_that_do_not_grok() -> None:
    fast = lambda t: rise(t, 20, 4)
    controls = {
        "validation follows": accuracies(fast, lambda t: 0.95 * rise(t, 24, 4)),
        "never": accuracies(fast, lambda t: 0.1, noise=0.02),
        "overfits": accuracies(fast, lambda t: 0.8 - t / 1000, noise=0.01),
        "slow learner": accuracies(lambda t: rise(t, 150, 30), lambda t: 0.9 * rise(t, 160, 30)),
    }
    for name, frames in controls.items():
        kinds = {alert.kind for alert in watched(frames)}
        assert not kinds & {"grokking_onset", "grokking_complete"}, name


def test_a_learning_rate_drop_that_lifts_validation_is_not_grokking() -> None:
    def frames() -> Iterator[AnyFrame]:
        for step in range(200):
            lr = 0.1 if step < 100 else 0.01
            val = 0.3 if step < 102 else 0.55
            yield Scalars(step=step, values={"train/acc": rise(step, 20, 4), "val/acc": val, "lr": lr})

    assert [alert.kind for alert in watched(frames())] == ["memorized"]


def test_a_resumed_run_does_not_grok_by_coming_back_with_other_accuracies() -> None:
    frames = [Scalars(step=i, values={"train/acc": 1.0, "val/acc": 0.1}) for i in range(10)]
    frames += [Scalars(step=i, attempt=2, values={"train/acc": 1.0, "val/acc": 0.9}) for i in range(10)]
    assert [alert.kind for alert in watched(iter(frames))] == ["memorized"]


NUMBER = st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NUMBER, NUMBER, NUMBER, NUMBER), max_size=300))
def test_no_sequence_raises(rows: list[tuple[float, float, float, float]]) -> None:
    def frames() -> Iterator[AnyFrame]:
        for step, (a, b, c, d) in enumerate(rows):
            yield Scalars(step=step, values={"train/acc": a, "val/acc": b, "loss": c, "lr": d})
            yield Curvature(step=step, top=(Ritz(a, 0.0),), bottom=(Ritz(b, 0.0),), grad_curvature=c)

    watched(frames())


def test_a_gradient_that_is_exactly_zero_raises_nothing() -> None:
    """As where every unit is dead: there is no growth of it to speak of."""
    watched(
        Curvature(
            seq=step, step=step, top=(Ritz(1.0, 0.0, True),), bottom=(Ritz(-1.0, 0.0, True),), loss=1.0,
            grad_norm=0.0, grad_curvature=-0.9,
        )
        for step in range(1, 50)
    )  # fmt: skip


def test_other_examples_are_no_jump_of_the_sharpness() -> None:
    """The engine may find that it can afford more of them."""

    def frames(batch: int) -> Iterator[AnyFrame]:
        for step in range(0, 400, 20):
            later = step >= 200
            yield Curvature(
                step=step, batch=batch if later else 64, top=(Ritz(5.0 if later else 1.0, 0.0, True),)
            )

    assert [alert.kind for alert in watched(frames(64))] == ["curvature_spike"]
    assert watched(frames(512)) == []


def test_measurements_that_come_late_do_not_shorten_the_rest_between_alerts() -> None:
    """Their step is that of the parameters they were taken at."""
    watch, told = Watch(), []
    for step in range(2000):
        loss = 5.0 if step % 100 > 90 and step > 100 else 0.1
        for frame in (
            Scalars(step=step, values={"loss": loss}),
            Curvature(step=max(0, step - 50), top=(Ritz(1.0, 0.0),)),
        ):
            told += [step for alert in watch.see(frame) if alert.kind == "loss_spike"]
    assert told and all(later - earlier >= 200 for earlier, later in pairwise(told))
