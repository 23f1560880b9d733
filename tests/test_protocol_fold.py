"""Folding frames into summaries: closed forms, spikes, attempts, levels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.codec import MAX_FRAME, decode, encode
from lsmon.protocol.fold import LEVELS, Fold, Folds
from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Mark, Ritz, Scalars, Summary
from lsmon.protocol.names import MOST_NAMES


def scalars(values: list[float], attempt: int = 1) -> Iterator[Scalars]:
    for seq, value in enumerate(values, start=1):
        yield Scalars(seq=seq, step=10 * seq, wall=100.0 + seq, attempt=attempt, values={"loss": value})


def fold(level: int, frames: Iterator[AnyFrame]) -> list[Summary]:
    folder = Fold(level)
    rows = [row for frame in frames if (row := folder.add(frame)) is not None]
    last = folder.close()
    return [*rows, last] if last is not None else rows


def test_a_row_has_the_closed_form_of_an_arithmetic_series() -> None:
    """The numbers 1 to 64 have minimum 1, maximum 64, mean 32.5 and last 64."""
    (row,) = fold(64, scalars([float(n) for n in range(1, 65)]))
    assert row.series["loss"] == (64, 1.0, 64.0, 32.5, 64.0, 0)
    assert (row.first_seq, row.seq, row.first_step, row.step) == (1, 64, 10, 640)
    assert (row.first_wall, row.wall, row.level) == (101.0, 164.0, 64)


def test_a_single_spike_survives_both_levels() -> None:
    """One frame of 8192 a million times larger than the rest is the maximum of its coarse row."""
    values = [1.0] * 8192
    values[5000] = 1e6
    folds = Folds()
    rows = [row for frame in scalars(values) for row in folds.add(frame)] + folds.close()
    coarse = [row for row in rows if row.level == LEVELS[1]]
    assert [row.series["loss"][2] for row in coarse] == [1.0, 1e6]
    assert [(row.first_seq, row.seq) for row in coarse] == [(1, 4096), (4097, 8192)]


def test_a_late_measurement_is_not_among_newer_ones() -> None:
    """Its sharpness was told in time; what has nothing newer of its name is folded, and a resume does go back."""

    def sharpness(seq: int, step: int, value: float, attempt: int = 1, low: float | None = None) -> Curvature:
        bottom = () if low is None else (Ritz(low, 0.1),)
        return Curvature(seq=seq, step=step, attempt=attempt, top=(Ritz(value, 0.1),), bottom=bottom)

    frames = [sharpness(1, 100, 3.0), sharpness(2, 60, 2.0, low=-1.0)]
    frames += [sharpness(3, 90, 9.0), sharpness(4, 100, 4.0), sharpness(5, 70, 5.0, 2)]
    one, two, resumed = fold(2, iter(frames))
    assert one.series["hessian/max"] == (1, 3.0, 3.0, 3.0, 3.0, 0)
    assert one.series["hessian/min"] == (1, -1.0, -1.0, -1.0, -1.0, 0)
    assert two.series["hessian/max"] == (1, 4.0, 4.0, 4.0, 4.0, 0)
    assert resumed.series["hessian/max"] == (1, 5.0, 5.0, 5.0, 5.0, 0)


def test_what_was_measured_keeps_its_steps_at_both_levels() -> None:
    """It is told later than its step was; what the loop logs with it is of the stretch."""
    folds, rows = Folds(), list[Summary]()
    for seq in range(1, LEVELS[1] + 1):
        frame: AnyFrame = Scalars(seq=seq, step=seq, values={"loss": 1.0})
        if seq % 500 == 0:
            frame = Curvature(seq=seq, step=seq - 300, top=(Ritz(2.0, 0.1),))
        elif seq % 1000 == 250:
            values = {"loss": 1.0, "temperature/noise": 3.0}
            frame = Scalars(seq=seq, step=seq, values=values, errors={"temperature/noise": 0.1})
        rows += folds.add(frame)
    *fine, coarse = (decode(encode(row)) for row in rows)
    assert isinstance(coarse, Summary)
    assert coarse.measured["hessian/max"] == (200, 3700) and coarse.measured["temperature/noise"] == (
        250,
        3250,
    )
    told = [
        row.measured["hessian/max"]
        for row in fine
        if isinstance(row, Summary) and "hessian/max" in row.measured
    ]
    assert told == [(step - 300, step - 300) for step in range(500, 4001, 500)]
    assert "loss" not in coarse.measured and not any("loss" in row.measured for row in rows)


def test_nonfinite_values_are_counted_and_change_nothing_else() -> None:
    """NaN and infinities do not enter minimum, maximum, mean or last."""
    (row,) = fold(64, scalars([2.0, math.nan, 4.0, math.inf, -math.inf]))
    assert row.series["loss"] == (2, 2.0, 4.0, 3.0, 4.0, 3)
    (row,) = fold(64, scalars([math.nan]))
    assert row.series["loss"] == (0, 0.0, 0.0, 0.0, 0.0, 1)


def test_large_values_do_not_overflow_the_mean() -> None:
    """The mean of the largest doubles is finite, so the row survives JSON, which has no infinity."""
    (row,) = fold(64, scalars([1.7e308, 1.7e308, -1.7e308, 1.7e308]))
    assert row.series["loss"][3] == pytest.approx(0.85e308, rel=1e-6)
    assert decode(encode(row)) == row


def test_a_new_attempt_closes_the_row_before_it() -> None:
    """Rows never mix attempts, so a step that goes back stays visible."""
    frames = [*scalars([1.0, 2.0]), *scalars([3.0], attempt=2)]
    first, second = fold(64, iter(frames))
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.series["loss"][1:3] == (1.0, 2.0)


def test_heartbeats_are_not_folded_and_frames_without_numbers_count() -> None:
    """A Heartbeat takes no number and no place in a row; a Mark takes one."""
    folder = Fold(2)
    assert folder.add(Heartbeat(seq=1)) is None
    assert folder.add(Mark(seq=1)) is None
    row = folder.add(Mark(seq=2))
    assert row is not None and (row.first_seq, row.seq, row.series) == (1, 2, {})


def test_a_row_with_a_negative_count_adds_nothing() -> None:
    """Rows come from peers and files as well, which may say nonsense."""
    folder = Fold(4096)
    for count in (2, -2):
        assert folder.add(Summary(seq=64, series={"loss": (count, 1.0, 2.0, 1.5, 2.0, 0)})) is None
    row = folder.close()
    assert row is not None and row.series["loss"] == (2, 1.0, 2.0, 1.5, 2.0, 0)


def test_ever_new_names_make_no_row_that_cannot_be_read() -> None:
    """The first thousand have their place in every row, and the well-known ones; what comes beside them has none."""
    frames = [
        Scalars(seq=seq, values={f"{'x' * 100}/{seq}/{n}": 1.0 for n in range(10)} | {"steady": 2.0})
        for seq in range(1, 8193)
    ]
    frames.append(Scalars(seq=8193, values={"hessian/max": 3.0, "late": 4.0}))
    rows = fold(4096, iter(frames))
    assert all(decode(encode(row)) == row and len(encode(row)) < MAX_FRAME for row in rows)
    assert len(rows[0].series) == MOST_NAMES
    assert [row.series["steady"][0] for row in rows[:2]] == [4096, 4096]
    assert set(rows[2].series) == {"hessian/max"}


def test_nothing_added_gives_no_row() -> None:
    """An empty fold closes to nothing."""
    assert Fold(64).close() is None
    assert Folds().close() == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6) | st.just(math.nan), max_size=400))
def test_rows_of_rows_equal_rows_of_frames(values: list[float]) -> None:
    """Folding fine rows gives what folding the frames gives, and every frame is in exactly one row."""
    fine = fold(64, scalars(values))
    assert sum(row.series["loss"][0] + row.series["loss"][5] for row in fine) == len(values)
    for one, other in zip(fold(4096, iter(fine)), fold(4096, scalars(values)), strict=True):
        left, right = one.series["loss"], other.series["loss"]
        assert (left[0], left[1], left[2], left[4], left[5]) == (
            right[0],
            right[1],
            right[2],
            right[4],
            right[5],
        )
        assert left[3] == pytest.approx(right[3], rel=1e-5, abs=1e-3)
