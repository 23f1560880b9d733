"""Curves in braille: golden pictures at small sizes, spikes kept, holes left open, every value on its place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from lsmon.tui.abscissa import labels
from lsmon.tui.axes import StepAxis, ValueAxis
from lsmon.tui.binning import binned
from lsmon.tui.braille import plot, sparkline
from lsmon.tui.columns import Columns
from lsmon.tui.format import number, short, with_error
from lsmon.tui.loss_course import averaged
from lsmon.tui.series import Series
from lsmon.tui.tick_names import tick_names
from lsmon.tui.view import Track
from lsmon.tui.widgets.run_list import course
from lsmon.tui.widgets.value_axis import between


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


def test_the_largest_numbers_there_are_can_be_drawn() -> None:
    """Their differences and sums are more than a float holds."""
    axis = ValueAxis.linear(-1e300, 1e300, 3)
    assert picture([dots_of([1e300] * 8, 8)], axis, 1) == ["⠉⠉⠉⠉"]
    assert picture([dots_of([-1e300] * 8, 8)], axis, 1) == ["⣀⣀⣀⣀"]
    assert sparkline(dots_of([-1e300] * 4 + [1e300] * 4, 8), 4) == "▁▁██"
    assert sparkline(binned(track([1e300] * 8), StepAxis(0.0, 4.0), 4), 2)
    assert course([-1e300, 1e300], 2) == "▁█"
    assert averaged([1.7e308] * 4, 2) == (1.7e308, 1.7e308)


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
    ("low", "high"),
    [
        (0.1, 0.2), (-3.0, 40.0), (5.0, 5.0), (0.0, 0.0), (-1e-9, 1e9), (1e-12, 2e-12), (-1e300, 1e300),
        (-5e299, 5e299), (1e300, 1e300), (-1e300, 0.0), (0.0, 5e-324),
    ],
)  # fmt: skip
def test_linear_limits_are_round_and_hold_everything(low: float, high: float) -> None:
    """Limits enclose the data, ticks lie within the limits."""
    axis = ValueAxis.linear(low, high, 3)
    slack = 1e-6 * (high / 2 - low / 2)
    assert axis.low - slack <= low <= high <= axis.high + slack
    assert axis.low < axis.high
    assert 1 <= len(axis.ticks) <= 3
    assert all(axis.low - 1e-12 <= tick <= axis.high + 1e-12 for tick in axis.ticks)
    assert math.isfinite(axis.low) and math.isfinite(axis.high)
    assert -1e-9 <= axis.height(low) <= axis.height(high) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("low", "high"),
    [(1e-6, 1e3), (0.4, 0.6), (1.0, 1.0), (3e-300, 1e300), (9.99, 10.01), (1e300, 1e300), (1.0, 9e299)],
)
def test_logarithmic_limits_hold_everything(low: float, high: float) -> None:
    """As above, on decades."""
    axis = ValueAxis.logarithmic(low, high, 3)
    assert axis.low <= low * 1.000001
    assert axis.high >= high * 0.999999
    assert math.isfinite(axis.high)
    assert axis.low < axis.high
    assert 1 <= len(axis.ticks) <= 4


def test_counts_begin_at_zero_but_not_on_a_logarithmic_axis() -> None:
    """Which has no zero: it begins at the least of them."""
    assert between(3.0, 40.0, 3, log=False, share=False, whole=True).low == 0
    assert between(3.0, 40.0, 3, log=True, share=False, whole=True).low == pytest.approx(2)
    assert between(0.0, 2.0, 3, log=False, share=False, whole=True).ticks == (0.0, 1.0, 2.0), (
        "no one counts 1.5"
    )


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


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (-1.5e-3, "−.0015"), (-1.23e6, "−1.23M"), (-2.6e-10, "−3e-10"), (1.6e302, "2e302"), (-12_500, "−12.5k"),
        (-0.0125, "−.0125"), (-99_700, "−99.7k"), (-123_456, "−123 k"), (12_500, "12.5 k"), (9.997e14, "1e15"),
        (1.05e-3, "1e-3"), (-0.125, "−0.125"),
    ],
)  # fmt: skip
def test_a_short_number_gives_up_digits_and_nothing_else(value: float, said: str) -> None:
    """It has the room that it promises, for the labels of an axis cut what is longer: −1.23 M became −1.23."""
    assert short(value) == said


def test_ticks_have_labels_that_tell_them_apart() -> None:
    """More digits where they have room; what would be read as another tick, or does not fit, has none."""
    assert tick_names([-123_457.0, -123_456.0, -123_455.0]) == ["", "", ""]
    assert tick_names([-2.5e-10, -2e-10, -1.5e-10, -1e-10]) == ["", "−2e-10", "", "−1e-10"]
    assert tick_names([1.0e-3, 1.05e-3, 1.1e-3]) == ["1e-3", ".00105", "1.1e-3"]
    assert tick_names([56_150.0, 56_152.0]) == ["56 150", "56 152"]
    assert tick_names([-2e-302, 0.0]) == ["", "0"]
    assert labels("step", [1_234_500.0, 1_234_600.0]) == ["1.2345M", "1.2346M"]
    assert labels("elapsed", [60.0]) == ["1:00"]


def lit(codes: list[list[int]]) -> set[tuple[int, int]]:
    """(Row, column) of the dots that are on, by Unicode's numbering of them."""
    order = ((0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1))
    return {
        (4 * y + order[bit][0], 2 * x + order[bit][1])
        for y, row in enumerate(codes)
        for x, code in enumerate(row)
        for bit in range(8)
        if code and (code - 0x2800) >> bit & 1
    }


def wanted(means: list[float], low: float, high: float, rows: int, *, log: bool) -> set[tuple[int, int]]:
    """The dots of a line, one by one: each column's own, and up or down half-way to its neighbours."""

    def place(value: float) -> float | None:
        if math.isnan(value) or (log and value <= 0):
            return None
        share = math.log(value / low) / math.log(high / low) if log else (value - low) / (high - low)
        return min(max(round((1 - share) * (rows - 1)), 0), rows - 1)

    places = [place(value) for value in means]
    dots = set()
    for x, y in enumerate(places):
        if y is None:
            continue
        beside = [places[at] for at in (x - 1, x + 1) if 0 <= at < len(places)]
        ends = [y, *((y + other) / 2 for other in beside if other is not None)]
        dots |= {(row, x) for row in range(rows) if min(ends) <= row <= max(ends)}
    return dots


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("seed", range(6))
def test_every_dot_of_a_line_is_where_its_value_is(seed: int, log: bool) -> None:
    """Dot by dot against a reference that knows neither numpy nor bits; no other dot is on."""
    rng = np.random.default_rng(seed)
    values = np.exp(rng.normal(size=60)) if seed % 2 else np.exp(np.cumsum(rng.normal(size=60)) / 5)
    values[10:14] = np.nan
    axis = ValueAxis.logarithmic(0.05, 20.0, 3) if log else ValueAxis.linear(0.0, float(np.nanmax(values)), 3)
    columns = dots_of(values.tolist(), 60)
    codes = plot([columns], axis, 7, band=False).codes.tolist()
    assert lit(codes) == wanted(values.tolist(), axis.low, axis.high, 28, log=log)


def test_the_band_is_between_minimum_and_maximum_and_nowhere_else() -> None:
    """Every fourth dot of it, and at every extreme in the cells that the line leaves free."""
    rng = np.random.default_rng(0)
    values = rng.uniform(size=4000)
    codes = plot([dots_of(values.tolist(), 40)], UNIT, 10).codes.tolist()
    line = lit(plot([dots_of(values.tolist(), 40)], UNIT, 10, band=False).codes.tolist())
    blocks = values.reshape(40, 100)
    top = np.rint((1 - blocks.max(axis=1)) * 39)
    bottom = np.rint((1 - blocks.min(axis=1)) * 39)
    for row, column in lit(codes) - line:
        assert top[column] <= row <= bottom[column] and (row + 2 * column) % 4 == 0


def test_half_blocks_are_on_where_a_dot_is() -> None:
    """The same picture in cells of one by two: a half is on when any of its four dots is."""
    rng = np.random.default_rng(3)
    columns = dots_of(rng.uniform(size=40).tolist(), 40)
    dots = lit(plot([columns], UNIT, 6, band=False).codes.tolist())
    halves = {(row // 2, column // 2) for row, column in dots}
    shown = picture([columns], UNIT, 6, band=False, blocks=True)
    upper = {(2 * y, x) for y, row in enumerate(shown) for x, char in enumerate(row) if char in "▀█"}
    lower = {(2 * y + 1, x) for y, row in enumerate(shown) for x, char in enumerate(row) if char in "▄█"}
    assert upper | lower == halves
    assert set("".join(shown)) <= set(" ▀▄█")
