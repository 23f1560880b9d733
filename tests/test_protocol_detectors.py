"""Detectors on traces whose truth is known."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.detectors.divergence import Divergence
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import Alert, Curvature, Ritz, Scalars


def alerts(losses: list[float], attempts: list[int] | None = None) -> list[Alert]:
    watch = Watch()
    found = []
    for step, loss in enumerate(losses):
        attempt = attempts[step] if attempts else 1
        found += watch.see(Scalars(seq=step + 1, step=step, attempt=attempt, values={"loss": loss}))
    return found


def noisy(length: int, seed: int = 0, noise: float = 0.1) -> list[float]:
    """A loss that falls from 2 to 0.2 with multiplicative noise."""
    draw = random.Random(seed)
    return [(0.2 + 1.8 * math.exp(-step / 300)) * draw.lognormvariate(0, noise) for step in range(length)]


def test_nan_is_reported_once_with_the_step_at_which_it_came() -> None:
    losses = noisy(100) + [math.nan] * 500
    assert [(alert.kind, alert.step, alert.severity) for alert in alerts(losses)] == [
        ("nonfinite", 100, "critical")
    ]


def test_nan_that_comes_back_after_a_long_recovery_is_a_second_event() -> None:
    losses = [*noisy(100), math.nan, *noisy(50), math.inf, *noisy(200), math.nan]
    assert [alert.step for alert in alerts(losses) if alert.kind == "nonfinite"] == [100, 352]


def test_a_spike_is_one_alert_within_three_steps_of_its_onset() -> None:
    losses = noisy(1000)
    losses[600:640] = [3.0] * 40
    (alert,) = alerts(losses)
    assert (alert.kind, alert.onset_step) == ("loss_spike", 600)
    assert 600 < alert.step <= 602


def test_ordinary_training_raises_nothing() -> None:
    for seed in range(20):
        assert alerts(noisy(5000, seed)) == []


def test_a_single_bad_batch_is_not_a_spike() -> None:
    losses = noisy(1000)
    losses[500] = 50.0
    assert alerts(losses) == []


def test_what_was_lost_for_good_is_one_divergence_wherever_the_loss_swings() -> None:
    """About the limit itself, and under a noise that brings it down by a tenth again and again."""
    draw = random.Random(1)
    about = [1.15 + 0.15 * math.sin(step / 60) + draw.gauss(0, 0.05) for step in range(4000)]
    loud = [2.0 * draw.lognormvariate(0, 0.8) for _ in range(4000)]
    for after in (about, loud):
        kinds = [alert.kind for alert in alerts(noisy(1000) + after)]
        assert kinds.count("divergence") == 1


def test_overfitting_names_the_best_evaluation_though_one_came_before_the_training() -> None:
    """As a loop evaluates that begins with ``step % 500 == 0``: what its first evaluation gave is ten times the rest."""
    draw, watch, found = random.Random(0), Watch(), list[Alert]()
    for step in range(16_001):
        loss = 1.6 * 0.5 ** min(step / 60, 7) * (1 - step / 20_000) + draw.gauss(0, 1e-3)
        values = {"loss": loss}
        if step % 500 == 0:
            values["val/loss"] = 1.636 if step == 0 else 0.127 + 8e-6 * (step - 500) + draw.gauss(0, 1e-3)
        found += watch.see(Scalars(step=step, values=values))
    (alert,) = (alert for alert in found if alert.kind == "overfitting")
    assert alert.step <= 9000 and 500 <= alert.onset_step <= 1500
    assert 0.12 < alert.evidence["lowest val/loss"] < 0.14
    assert 0.009 < alert.evidence["loss then"] < 0.03
    assert "that of step 500;" in alert.advice


def test_a_balance_that_its_own_words_doubt_is_not_told() -> None:
    def told(words: str) -> list[str]:
        watch, name = Watch(), "temperature/equilibrium"
        frames = (
            Scalars(step=step, values={name: 1.0}, errors={name: 0.05}, words={name: words})
            for step in range(10)
        )
        return [alert.kind for frame in frames for alert in watch.see(frame)]

    assert told("equilibrium; by energy, n=200") == ["equilibrium"]
    assert told("equilibrium; unreliable: loss_fn gives another gradient than the loop's own") == []


def wandering(seed: int, steps: int = 4000) -> list[float]:
    """Around zero like the loss of a policy: white noise, and as much that is forgotten in 200 steps."""
    draw, slow, losses = random.Random(seed), 0.0, list[float]()
    for _ in range(steps):
        slow = 0.995 * slow + math.sqrt(1 - 0.995**2) * draw.gauss(0, 1)
        losses.append(slow + draw.gauss(0, 1))
    return losses


@pytest.mark.parametrize("constant", [0.0, 1.0, 10.0])
def test_a_loss_around_zero_is_not_lost_because_it_has_no_size_of_its_own(constant: float) -> None:
    """Whatever is added to it; where it leaves what it scatters by, it is."""
    for seed in range(10):
        losses = [constant + loss for loss in wandering(seed)]
        for after, told in (([], 0), ([constant + 20.0] * 400, 1)):
            detector = Divergence()
            frames = (
                Scalars(step=step, values={"loss": loss}) for step, loss in enumerate([*losses, *after])
            )
            assert sum(detector.see(frame) is not None for frame in frames) == told


def test_a_loss_below_zero_that_is_lost_is_told_as_soon_as_any_other() -> None:
    """As of a density's log-likelihood: from -1 down to -10, and lost for good within 60 samples of the smoothed one."""
    falls = [-10 + 9 * math.exp(-step / 50) for step in range(500)]
    (alert,) = (alert for alert in alerts([*falls, *[-0.5] * 300]) if alert.kind == "divergence")
    assert 560 <= alert.step <= 600


@pytest.mark.parametrize("loss", [2.0, -2.0])
def test_a_jump_of_the_sharpness_is_told_below_zero_too(loss: float) -> None:
    """And where the loss falls for it, by more than a fifth of its size, it is not."""
    for after, told in ((loss, ["curvature_spike"]), (loss - 1.0, [])):
        watch = Watch()
        frames = (
            Curvature(step=step, loss=after if step == 10 else loss, top=(Ritz(9.0 if step == 10 else 1.0, 0.0),))
            for step in range(11)
        )  # fmt: skip
        assert [alert.kind for frame in frames for alert in watch.see(frame)] == told


def test_scale_of_the_loss_changes_no_verdict() -> None:
    losses = noisy(1000)
    losses[600:640] = [3.0] * 40
    scaled = [(alert.kind, alert.step) for alert in alerts([10 * loss for loss in losses])]
    assert scaled == [(alert.kind, alert.step) for alert in alerts(losses)]


def resumed(at: int, losses: list[float]) -> list[Alert]:
    """After a thousand steps a second attempt goes back to step ``at`` and has these losses."""
    watch, found = Watch(), list[Alert]()
    for attempt, first, series in ((1, 0, noisy(1000)), (2, at, losses)):
        for step, loss in enumerate(series, start=first):
            found += watch.see(Scalars(step=step, attempt=attempt, values={"loss": loss}))
    return found


@pytest.mark.parametrize("at", [0, 3, 130, 600, 950])
def test_a_resumed_run_starts_from_the_loss_that_it_had_there(at: int) -> None:
    assert resumed(at, noisy(1500)[at:]) == []


def test_a_resumed_run_that_comes_back_without_what_it_had_learned_is_told_of() -> None:
    (alert,) = resumed(950, noisy(60))
    assert (alert.kind, alert.attempt, alert.step) == ("loss_spike", 2, 951)


def test_what_was_held_back_on_a_line_that_was_left_is_not_told() -> None:
    spiked = noisy(1000)
    spiked[900] = spiked[950] = math.inf
    watch, found = Watch(), list[Alert]()
    for attempt, first, series in ((1, 0, spiked), (2, 920, noisy(2000)[920:])):
        for step, loss in enumerate(series, start=first):
            found += watch.see(Scalars(step=step, attempt=attempt, values={"loss": loss}))
    assert [(alert.kind, alert.step) for alert in found] == [("nonfinite", 900)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=600))
def test_no_sequence_raises_or_floods(losses: list[float]) -> None:
    """At most one alert of a kind in 100 steps, whatever comes."""
    by_kind: dict[str, list[int]] = {}
    for alert in alerts(losses):
        by_kind.setdefault(alert.kind, []).append(alert.step)
    for steps in by_kind.values():
        assert all(later - earlier >= 100 for earlier, later in pairwise(steps))
