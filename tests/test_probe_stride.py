"""A loop that is faster than the budget can tell step by step."""

from __future__ import annotations

import math

import pytest

from lsmon.probe.stride import RAREST, Stride


def told(allowed: float, share: float, looks: int = 40) -> Stride:
    """After so many seconds in which telling every step would take ``share`` of the time."""
    stride, cpu = Stride(allowed), 0.5  # imports
    for second in range(looks):
        stride.look(cpu, float(second))
        cpu += share / stride.every
    return stride


@pytest.mark.parametrize("share", [0.001, 0.02, 0.12, 0.5, 3.0])
def test_sending_stays_within_the_budget(share: float) -> None:
    stride = told(0.05, share)
    assert share / stride.every <= 0.05 * 0.8 or stride.every == RAREST
    assert (
        stride.every == 1 or 2 * share / stride.every > 0.05 * 0.8
    )  # and no more is left out than that takes


def test_a_slower_loop_is_told_step_by_step_again() -> None:
    stride = told(0.05, 0.2)
    assert stride.every > 1
    for second in range(100, 130):
        words = stride.look(10.0 + 0.001 * second, float(second))
    assert stride.every == 1 and words == ""


def test_a_start_is_no_habit() -> None:
    """One busy second changes nothing."""
    stride = Stride(0.05)
    for second, cpu in enumerate((0.0, 0.9, 0.91, 0.92)):
        assert stride.look(cpu, float(second)) == ""


def test_what_is_told() -> None:
    """Every second step, by the loop's own count, and any loss that is plainly not finite."""
    stride = told(0.05, 0.06)
    assert stride.every == 2
    assert [step for step in range(8) if stride.tells(step, 1.0)] == [0, 2, 4, 6]
    assert stride.tells(3, math.nan) and stride.tells(3, math.inf)


def test_what_is_left_out_is_said_and_nothing_else() -> None:
    """A loop that only logs is told whole, however fast it is."""
    stride = told(0.05, 3.0)
    assert stride.every == RAREST
    assert stride.look(200.0, 100.0) == ""
    assert not stride.tells(1, 1.0)
    assert stride.look(201.0, 101.0) == f"one of {RAREST} is told, to keep to the budget"


def test_without_a_budget_nothing_is_left_out() -> None:
    assert told(0.0, 0.5).every == told(1.0, 0.5).every == 1
