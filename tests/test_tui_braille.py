"""Curves in braille: golden pictures at small sizes, spikes kept, holes left open, every value on its place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lsmon.tui.axes import StepAxis, ValueAxis
from lsmon.tui.braille import Columns, binned, plot, sparkline
from lsmon.tui.format import number, with_error
from lsmon.tui.series import Series
from lsmon.tui.view import Track


def track(values: list[float], every: int = 1) -> Track:
    series = Series("loss")
    for i, value in enumerate(values):
        series.add(i * every, float(i), 1, value, math.nan, "")
    return series.track()


def picture(curves: list[Columns], axis: ValueAxis, rows: int, **options: bool) -> list[str]:
    codes = plot(curves, axis, rows, **options).codes
    return ["".join(chr(code) if code else " " for code in row) for row in codes.tolist()]


def dots_of(values: list[float], dots: int) -> Columns:
    return binned(track(values), StepAxis(0.0, len(values) / dots), dots)


UNIT = ValueAxis(0.0, 1.0, False, (0.0, 1.0))


def test_a_rising_line() -> None:
    """From the lower left to the upper right corner."""
    assert picture([dots_of([i / 15 for i in range(16)], 16)], UNIT, 2) == ["    ⣀⠤⠒⠉", "⣀⠤⠒⠉    "]


def test_a_constant_at_the_bottom_and_at_the_top() -> None:
    """Limits are inside the picture."""
    assert picture([dots_of([0.0] * 8, 8)], UNIT, 2) == ["    ", "⣀⣀⣀⣀"]
    assert picture([dots_of([1.0] * 8, 8)], UNIT, 2) == ["⠉⠉⠉⠉", "    "]


def test_a_jump_is_connected() -> None:
    """A step is one upright stroke, not two loose ends."""
    assert picture([dots_of([0.0] * 4 + [1.0] * 4, 8)], UNIT, 2) == ["  ⡏⠉", "⣀⣸  "]


def test_the_second_curve_is_dashed() -> None:
    """Curves are told apart without colour."""
    flat = dots_of([0.0] * 16, 16)
    top = dots_of([1.0] * 16, 16)
    assert picture([top, flat], UNIT, 2) == ["⠉⠉⠉⠉⠉⠉⠉⠉", "⣀ ⣀ ⣀ ⣀ "]


def test_ascii_form() -> None:
    """A character a cell where a terminal has no braille; another one for each curve."""
    flat, top = dots_of([0.0] * 8, 8), dots_of([1.0] * 8, 8)
    assert picture([top, flat], UNIT, 2, ascii_only=True) == ["****", "o o "]


def test_a_spike_among_a_hundred_thousand_samples_is_seen() -> None:
    """The band reaches up to the one sample that was high."""
    values = [0.0] * 100_000
    values[50_000] = 1.0
    shown = plot([dots_of(values, 80)], UNIT, 5)
    assert (shown.codes[0] > 0).sum() == 1


def test_a_hole_of_nan_stays_open() -> None:
    """Nothing is drawn where nothing finite was; a gap between rare samples is bridged."""
    holed = picture([dots_of([0.0, 0.0, math.nan, math.nan, math.nan, math.nan, 0.0, 0.0], 8)], UNIT, 1)
    assert holed == ["⣀  ⣀"]
    rare = binned(track([0.0, 0.0], every=7), StepAxis(0.0, 1.0), 8)
    assert picture([rare], UNIT, 1) == ["⣀⣀⣀⣀"]


def test_what_a_logarithm_cannot_show_is_left_out() -> None:
    """Zero and negative values on a logarithmic axis draw nothing and break nothing."""
    axis = ValueAxis.logarithmic(0.1, 10.0, 3)
    columns = dots_of([-1.0, 0.0, -1.0, 0.0], 4)
    assert picture([columns], axis, 1) == ["  "]


def test_binning_keeps_minimum_maximum_and_mean() -> None:
    """Against numpy on the raw samples."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=1000)
    columns = binned(track(values.tolist()), StepAxis(0.0, 10.0), 100)
    blocks = values.reshape(100, 10)
    np.testing.assert_allclose(columns.means, blocks.mean(axis=1))
    np.testing.assert_array_equal(columns.lows, blocks.min(axis=1))
    np.testing.assert_array_equal(columns.highs, blocks.max(axis=1))


def test_sparkline() -> None:
    """Eight heights; a constant is low; nothing is blank; ASCII when asked."""
    assert sparkline(dots_of([float(i // 2) for i in range(16)], 16), 8) == "▁▂▃▄▅▆▇█"
    assert sparkline(dots_of([3.0] * 8, 8), 4) == "▁▁▁▁"
    assert sparkline(binned(Track("x"), StepAxis(0.0, 1.0), 8), 4) == "    "
    assert sparkline(dots_of([float(i // 2) for i in range(16)], 16), 8, ascii_only=True) == "_.-=+*%#"


@pytest.mark.parametrize("span", [1, 7, 99, 1234, 10**6, 10**9])
def test_the_run_fills_nine_tenths_of_its_axis_and_never_leaves_it(span: int) -> None:
    """The axis grows by a tenth at a time."""
    axis = StepAxis.over(100, 100 + span, 80)
    assert axis.column(100) == 0
    assert (0 if span == 1 else 70) <= axis.column(100 + span) <= 79


@pytest.mark.parametrize(
    ("low", "high"), [(0.1, 0.2), (-3.0, 40.0), (5.0, 5.0), (0.0, 0.0), (-1e-9, 1e9), (1e-12, 2e-12)]
)
def test_linear_limits_are_round_and_hold_everything(low: float, high: float) -> None:
    """Limits enclose the data, ticks lie within the limits."""
    axis = ValueAxis.linear(low, high, 3)
    slack = 1e-6 * (high - low)
    assert axis.low - slack <= low <= high <= axis.high + slack
    assert axis.low < axis.high
    assert 1 <= len(axis.ticks) <= 3
    assert all(axis.low - 1e-12 <= tick <= axis.high + 1e-12 for tick in axis.ticks)


@pytest.mark.parametrize(
    ("low", "high"), [(1e-6, 1e3), (0.4, 0.6), (1.0, 1.0), (3e-300, 1e300), (9.99, 10.01)]
)
def test_logarithmic_limits_hold_everything(low: float, high: float) -> None:
    """As above, on decades."""
    axis = ValueAxis.logarithmic(low, high, 3)
    assert axis.low <= low * 1.000001
    assert axis.high >= high * 0.999999
    assert axis.low < axis.high
    assert 1 <= len(axis.ticks) <= 4


@pytest.mark.parametrize(
    "value",
    [
        0.0,
        1e-300,
        -1e-5,
        0.00999,
        0.0101,
        0.9999,
        9.995,
        99.95,
        999.7,
        999999.9,
        1e6,
        -1e22,
        math.inf,
        math.nan,
    ],
)
def test_numbers_are_short(value: float) -> None:
    """At most eight cells for three digits, a sign and an exponent."""
    assert 1 <= len(number(value)) <= 9
    assert len(with_error(value, abs(value) * 0.04 if math.isfinite(value) else 1.0)) <= 20
