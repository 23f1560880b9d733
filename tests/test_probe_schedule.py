"""The budget is kept on an injected clock."""

from __future__ import annotations

import pytest

from lsmon.probe.schedule import HEAD_START, Budget
from tests.clock import Clock


def simulate(
    budget: Budget, clock: Clock, *, cost: float, step: float, steps: int, weight: float = 1.0
) -> int:
    """Train for so many steps of so many seconds, working whenever it is affordable; how often it was."""
    account, done = budget.account(weight), 0
    last = 0.0
    for _ in range(steps):
        clock.now += step
        if account.affords(last):
            clock.now += cost
            account.charge(cost)
            last, done = cost, done + 1
    return done


@pytest.mark.parametrize("share", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("cost", [0.0001, 0.003, 0.5])
def test_the_share_is_kept(share: float, cost: float) -> None:
    """Whatever a unit of work costs, no more is spent than the share, the head start and one unit."""
    clock = Clock(100.0)
    budget = Budget(share, clock=clock)
    done = simulate(budget, clock, cost=cost, step=0.01, steps=20_000)
    assert done > 0
    assert budget.spent <= share * budget.elapsed + HEAD_START + cost + 1e-9
    assert done == 20_000 or budget.spent >= 0.8 * share * budget.elapsed


def test_the_first_measurement_does_not_wait() -> None:
    """The head start pays for the first work at once."""
    clock = Clock(100.0)
    account = Budget(0.01, clock=clock).account(1.0)
    assert account.affords(0.0)
    account.charge(0.1)
    assert account.affords(0.05)
    account.charge(0.11)
    assert not account.affords(0.0)


def test_savings_are_capped() -> None:
    """An hour without work does not buy minutes of nothing but work."""
    clock = Clock(100.0)
    account = Budget(0.5, clock=clock).account(1.0)
    assert account.affords(0.01)
    clock.now += 3600
    spent = 0.0
    while account.affords(0.01):
        account.charge(0.01)
        spent += 0.01
    assert spent <= HEAD_START + 0.02


def test_accounts_share_by_weight_and_inherit() -> None:
    """A sensor that is switched off leaves its part to the others."""
    clock = Clock(100.0)
    budget = Budget(0.1, clock=clock, head_start=0.0)
    big, small = budget.account(4.0), budget.account(1.0)
    assert budget.rate(4.0) == pytest.approx(0.08)
    budget.close(big)
    assert budget.rate(small.weight) == pytest.approx(0.1)


def test_overhead_is_paid_first() -> None:
    """What the calls and the sending thread cost is taken from what measurements may cost, down to a fifth."""
    clock = Clock(100.0)
    budget = Budget(0.1, clock=clock)
    budget.account(1.0)
    clock.now += 100.0
    budget.overhead, budget.elsewhere = 2.0, 4.0
    assert budget.rate(1.0) == pytest.approx(0.04)
    budget.elsewhere = 50.0
    assert budget.rate(1.0) == pytest.approx(0.02)
    assert budget.share == pytest.approx(0.52)


def test_the_whole_wall_time_means_no_limit() -> None:
    """budget=1 measures whenever there is something to measure; budget=0 never does."""
    clock = Clock(100.0)
    unlimited = Budget(1.0, clock=clock).account(1.0)
    unlimited.charge(1e6)
    assert unlimited.affords(1e6)
    nothing = Budget(0.0, clock=clock, head_start=0.0).account(1.0)
    clock.now += 1e6
    assert not nothing.affords(0.0)
