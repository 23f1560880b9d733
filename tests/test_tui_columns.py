"""Binning, smoothing and clipping, sample by sample against plain loops: attempts, gaps and errors kept as such."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from lsmon.tui.axes import StepAxis
from lsmon.tui.binning import Binning, binned
from lsmon.tui.columns import bridged, smoothed, usual
from lsmon.tui.series import Series

Sample = tuple[int, int, float, float]
"""Step, attempt, value, error."""


def folded(samples: list[Sample]) -> Series:
    series = Series("loss")
    for step, attempt, value, error in samples:
        series.add(step, float(step), attempt, value, error, "")
    return series


def test_the_latest_attempt_is_the_line_and_the_others_lie_behind_it() -> None:
    """A resume from step 40 draws over what came after it, which stays in the band."""
    chance = random.Random(0)
    samples = [(step, 1, chance.gauss(5, 1), math.nan) for step in range(100)]
    samples += [(step, 2, chance.gauss(1, 1), math.nan) for step in range(40, 80)]
    axis = StepAxis(0.0, 4.0)
    got = binned(folded(samples).track(), axis, 30)
    for column in range(30):
        inside = [sample for sample in samples if sample[0] // 4 == column]
        if not inside:
            assert np.isnan(got.means[column])
            continue
        latest = max(attempt for _, attempt, _, _ in inside)
        mine = [value for _, attempt, value, _ in inside if attempt == latest]
        assert got.means[column] == pytest.approx(sum(mine) / len(mine))
        assert got.lows[column] == min(value for _, _, value, _ in inside)
        assert got.highs[column] == max(value for _, _, value, _ in inside)


def test_an_attempt_of_nothing_finite_does_not_take_the_line() -> None:
    """What came before it is still there."""
    samples = [(step, 1, 3.0, math.nan) for step in range(8)] + [
        (step, 2, math.nan, math.nan) for step in range(8)
    ]
    got = binned(folded(samples).track(), StepAxis(0.0, 1.0), 8)
    assert got.means.tolist() == [3.0] * 8 and not got.broken.any()


def test_the_band_reaches_one_error_from_the_mean() -> None:
    """And as far as the samples where they lie further out; a sample without an error has none."""
    samples = [(step, 1, float(step % 3), 0.5 + step % 5 if step < 50 else math.nan) for step in range(100)]
    got = binned(folded(samples).track(), StepAxis(0.0, 10.0), 10)
    for column in range(10):
        inside = samples[10 * column : 10 * column + 10]
        mean = sum(value for _, _, value, _ in inside) / 10
        errors = [error for _, _, _, error in inside if not math.isnan(error)]
        low = min([value for _, _, value, _ in inside] + [mean - max(errors) for _ in errors[:1]])
        high = max([value for _, _, value, _ in inside] + [mean + max(errors) for _ in errors[:1]])
        assert (got.lows[column], got.highs[column]) == (pytest.approx(low), pytest.approx(high))


def test_errors_survive_the_folding_of_buckets() -> None:
    """The largest of a stretch stays, also where buckets have joined and where samples without one came between."""
    series = Series("T", cap=8)
    for step in range(100):
        series.add(step, float(step), 1, 1.0, 0.1 * step if step % 2 else math.nan, "")
    errors = np.frombuffer(series.track().errors)
    lasts = np.frombuffer(series.track().steps)
    firsts = np.frombuffer(series.track().firsts)
    for first, last, error in zip(firsts, lasts, errors, strict=True):
        assert error == pytest.approx(
            max(0.1 * step for step in range(int(first), int(last) + 1) if step % 2)
        )
    assert Series("x").track().errors == b""


def test_a_gap_stays_open_and_rare_samples_are_joined() -> None:
    """A line over a suspended run, or over frames that were lost, would invent a past."""
    steps = [*range(100), *range(600, 700)]
    got = binned(folded([(step, 1, 1.0, math.nan) for step in steps]).track(), StepAxis(0.0, 10.0), 70)
    line = bridged(got)
    assert np.isnan(line[11:59]).all()
    assert not np.isnan(line[:10]).any() and not np.isnan(line[60:70]).any()
    rare = [(step, 1, 1.0, math.nan) for step in (0, 100, 150, 400, 500, 690)]
    assert not np.isnan(bridged(binned(folded(rare).track(), StepAxis(0.0, 10.0), 70))).any()


def test_a_sensor_that_waits_for_its_budget_makes_no_gap() -> None:
    """The demo at the edge of stability has its norms every 11 steps, and after a curvature not for 495."""
    steps = [*range(0, 1100, 11), *range(1600, 2700, 11)]
    waits = folded([(step, 1, 1.0, math.nan) for step in steps]).track()
    assert not np.isnan(bridged(binned(waits, StepAxis(0.0, 30.0), 88))).any()


def test_a_stretch_that_was_folded_elsewhere_and_has_no_sample_is_no_gap() -> None:
    """In a replay at its end the buckets are rows of 64 frames, whose ends touch."""
    series = Series("x")
    for row in (*range(20), *range(25, 60)):
        series.add_folded(64 * row, 64 * row + 63, 1.0, 1, (6, 1.0, 1.0, 1.0, 1.0, 0))
    assert not np.isnan(bridged(binned(series.track(), StepAxis(0.0, 42.0), 91))[1:90]).any()


def test_several_samples_of_a_step_make_no_gap_to_the_next_step() -> None:
    """A loss that is logged twice a step is a line from the beginning, and not a row of dots."""
    twice = [(step, 1, float(step), math.nan) for step in range(10) for _ in range(2)]
    assert not np.isnan(bridged(binned(folded(twice).track(), StepAxis(0.0, 0.1), 91))).any()


def test_a_gap_at_the_edge_of_what_is_seen() -> None:
    """Zoomed into its middle, nothing is drawn; zoomed to its end, the line begins there."""
    steps = [*range(100), *range(600, 700)]
    track = folded([(step, 1, 1.0, math.nan) for step in steps]).track()
    assert np.isnan(bridged(binned(track, StepAxis(200.0, 10.0), 30))).all()
    end = bridged(binned(track, StepAxis(500.0, 10.0), 30))
    assert np.isnan(end[:10]).all() and not np.isnan(end[10:20]).any()


@pytest.mark.parametrize("radius", [0.7, 3.0, 40.0])
def test_smoothing_is_the_mean_weighted_by_a_gaussian(radius: float) -> None:
    """Over the columns that have samples, at each of them; holes stay holes, minimum and maximum stay."""
    chance = np.random.default_rng(0)
    values = chance.normal(size=60).tolist()
    steps = [step for step in range(60) if not 20 <= step < 30]
    curve = binned(
        folded([(step, 1, values[step], math.nan) for step in steps]).track(), StepAxis(0.0, 1.0), 60
    )
    got = smoothed(curve, radius)
    reach = math.ceil(3 * radius)
    for column in range(60):
        if column not in steps:
            assert np.isnan(got.means[column])
            continue
        near = [step for step in steps if abs(step - column) <= reach]
        weights = [math.exp(-0.5 * ((step - column) / radius) ** 2) for step in near]
        wanted = sum(weight * values[step] for weight, step in zip(weights, near, strict=True)) / sum(weights)
        assert got.means[column] == pytest.approx(wanted)
    np.testing.assert_array_equal(got.lows, curve.lows)
    np.testing.assert_array_equal(got.highs, curve.highs)
    assert smoothed(curve, 0.0) is curve


def test_what_is_usual_leaves_out_spikes_and_nothing_else() -> None:
    """Three interquartile ranges from the quartiles; a constant with spikes keeps them, as nothing tells how far is far."""
    chance = np.random.default_rng(1)
    values = chance.normal(size=1000)
    spiked = np.concatenate([values, [40.0, -60.0, np.nan]])
    assert usual(spiked) == (values.min(), values.max())
    assert usual(np.array([1.0] * 99 + [5.0])) == (1.0, 5.0)
    assert usual(np.array([2.0, np.nan])) == (2.0, 2.0)


@pytest.mark.parametrize("seed", range(12))
def test_binned_from_drawing_to_drawing_is_binned_at_once(seed: int) -> None:
    """To the last bit, over resumes, gaps, nan, errors, frames that come late, joined buckets and other axes."""
    chance = random.Random(seed)
    series, binning = Series("loss", chance.choice([8, 64])), Binning()
    step, attempt, axis, doubted = 0, 1, StepAxis(0.0, 1.0), chance.random() < 0.5
    for _ in range(60):
        for _ in range(chance.choice([0, 1, 5, 60])):
            step += 300 if chance.random() < 0.02 else chance.choice([1, 1, 2, 5])
            if chance.random() < 0.02:
                attempt, step = attempt + 1, max(step - chance.randrange(100), 0)
            value = math.nan if chance.random() < 0.1 else chance.gauss(0, 10.0 ** chance.choice([0, 8]))
            error = chance.random() if doubted and chance.random() < 0.5 else math.nan
            late = chance.random() < 0.02
            series.add(step, float(step), max(attempt - late, 1), value, error, "")
        if chance.random() < 0.5:
            axis = chance.choice(
                [StepAxis.over(0.0, step, 40), StepAxis(step / 2, chance.choice([1.0, 9.5]))]
            )
        got, wanted = binning.columns(series.track(), axis, 40), binned(series.track(), axis, 40)
        for each in ("means", "lows", "highs", "broken"):
            assert getattr(got, each).tobytes() == getattr(wanted, each).tobytes()
