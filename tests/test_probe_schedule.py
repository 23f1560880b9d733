"""The budget is kept on an injected clock."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest

from lsmon.probe import schedule
from lsmon.probe.cadence import AIM, APPROACHING, AT_THE_EDGE, COMPLETE, DENSEST, REST, SPARSEST, Cadence
from lsmon.probe.plan import CHANGES, GROW, GUESS, LONGEST, SHRINK, Plan
from lsmon.probe.schedule import HEAD_START, SAVINGS, Budget, Pace
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


def test_a_stall_of_the_machine_is_counted_and_not_earned_back() -> None:
    """As many turns follow one of 2 s in which the process ran for 10 ms as without it; one that did work is paid for."""
    done = {}
    for name, ran in (("stalled", 0.01), ("worked", 2.0), ("elsewhere", None), ("usual", 0.01)):
        clock = Clock(100.0)
        budget = Budget(0.05, clock=clock)
        account, done[name] = budget.account(1.0), 0
        while clock.now < 160.0:
            clock.now += 0.01
            if account.affords(0.01):
                long = done[name] == 60 and name != "usual"
                clock.now += 0.01
                account.charge(2.0 if long else 0.01, ran if long else 0.01)
                done[name] += 1
        assert budget.spent == pytest.approx(0.01 * done[name] + (1.99 if name != "usual" else 0))
    assert done["stalled"] == pytest.approx(done["usual"], abs=2)
    assert done["worked"] == done["elsewhere"] == pytest.approx(done["usual"] - 199, abs=2)


def test_slow_turns_are_paid_for_where_all_are() -> None:
    """On a machine that others use too the process runs for a third of each turn: the training is as slow."""
    clock = Clock(100.0)
    account = Budget(0.05, clock=clock).account(1.0)
    spent = 0.0
    for _ in range(40_000):
        clock.now += 0.01
        if account.affords(0.01):
            clock.now += 0.03
            account.charge(0.03, 0.01)
            spent += 0.03
    assert spent <= 0.05 * (clock.now - 100.0) + HEAD_START + 0.03


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
    assert small.rate == pytest.approx(0.02)
    budget.close(big)
    assert small.rate == pytest.approx(0.1)
    assert big.rate == 0.0


def test_the_heaviest_gets_what_the_others_leave() -> None:
    """What is not used is not lost: at 10 %, with 0.5 % used by the other, 9.5 % are left."""
    clock = Clock(100.0)
    budget = Budget(0.1, clock=clock, head_start=0.0)
    big, small = budget.account(4.0), budget.account(1.0)
    clock.now += 10.0
    small.charge(0.05)
    assert big.rate == pytest.approx(0.095)
    assert small.rate == pytest.approx(0.02)


def test_what_is_left_is_given_once() -> None:
    """Two are equally heavy: what the third leaves is not spent by both of them."""
    clock = Clock(100.0)
    budget = Budget(0.09, clock=clock, head_start=0.0)
    accounts = [budget.account(weight) for weight in (1.0, 4.0, 4.0)]
    clock.now += 10.0
    rates = [account.rate for account in accounts[1:]]
    assert rates == pytest.approx([0.05, 0.04])


def test_overhead_is_paid_first() -> None:
    """What the calls and the sending thread cost is taken from what measurements may cost, down to a fifth."""
    clock = Clock(100.0)
    budget = Budget(0.1, clock=clock)
    account = budget.account(1.0)
    clock.now += 100.0
    budget.overhead, budget.elsewhere = 2.0, 4.0
    assert account.rate == pytest.approx(0.04)
    clock.now += 100.0
    budget.elsewhere = 50.0
    assert account.rate == pytest.approx(0.02)
    assert budget.share == pytest.approx(0.26)


def test_an_expensive_start_is_forgotten() -> None:
    """A second of imports at the beginning does not starve the measurements a minute later."""
    clock = Clock(100.0)
    budget = Budget(0.1, clock=clock)
    account = budget.account(1.0)
    budget.overhead = 1.0
    for _ in range(60):
        clock.now += 1.0
        rate = account.rate
    assert rate == pytest.approx(0.1, abs=2e-3)


def test_it_is_not_asked_again_before_it_can_be_paid_for() -> None:
    """20 ms at 5 % are saved in 0.4 s, and 15 ms of them in 0.3; for what takes longer it is asked after half a second."""
    clock = Clock(100.0)
    account = Budget(0.05, clock=clock, head_start=0.0).account(1.0)
    assert not account.affords(0.02)
    assert account.not_before == pytest.approx(100.4)
    clock.now += 0.1
    assert not account.affords(0.02)
    assert account.not_before == pytest.approx(100.4)
    assert not account.affords(0.3)
    assert account.not_before == pytest.approx(100.1 + 0.5)
    clock.now = 100.4 + 1e-6
    assert account.affords(0.02)


def test_nobody_saves_for_more_than_a_short_burst() -> None:
    """Work dearer than what can be saved begins in debt, instead of waiting for ever or for a long burst."""
    clock = Clock(100.0)
    budget = Budget(0.05, clock=clock, head_start=0.0)
    account = budget.account(1.0)
    account.affords(0.0)
    clock.now += 2 * SAVINGS / 0.05
    assert account.affords(30.0)
    account.charge(30.0)
    assert not account.affords(30.0)


def test_the_pace_is_the_median_of_the_training_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the probe takes between ``enter`` and ``leave`` does not count, nor does one slow step."""
    clock = Clock(100.0)
    monkeypatch.setattr(schedule, "time", SimpleNamespace(perf_counter=clock, monotonic=clock))
    pace = Pace()
    for step in range(40):
        pace.enter()
        clock.now += 0.5
        pace.leave()
        clock.now += 3.0 if step == 20 else 0.01
    assert pace.seconds == pytest.approx(0.01)


def test_the_whole_wall_time_means_no_limit() -> None:
    """budget=1 measures whenever there is something to measure; budget=0 never does."""
    clock = Clock(100.0)
    unlimited = Budget(1.0, clock=clock).account(1.0)
    unlimited.charge(1e6)
    assert unlimited.affords(1e6)
    nothing = Budget(0.0, clock=clock, head_start=0.0).account(1.0)
    clock.now += 1e6
    assert not nothing.affords(0.0)


def test_cadence_is_sparse_while_nothing_moves_and_dense_when_it_does() -> None:
    """Equal values space the measurements out to the limit; a value that moved brings them together."""
    cadence = Cadence()
    assert cadence.due("sharpness", 0) and cadence.due("complete", 0)
    cadence.began("complete", 10)
    assert cadence.due("sharpness", 11)
    cadence.covered(10)
    assert not cadence.due("sharpness", 11)
    for value in [5.0] * 12:
        cadence.found(value)
    assert cadence.interval == SPARSEST
    assert cadence.next("sharpness") == 10 + SPARSEST
    assert cadence.next("complete") == 10 + COMPLETE * SPARSEST
    for value in [8.0, 3.0, 9.0, 2.0, 20.0]:
        cadence.found(value)
    assert cadence.interval == DENSEST


@pytest.mark.parametrize("unit", [1e-6, 1.0, 1e6])
def test_the_unit_of_the_loss_does_not_space_the_measurements(unit: float) -> None:
    """A change of a twentieth leaves the spacing as it is, of a fiftieth makes it wider, and of a fifth halves it."""
    for change, interval in ((1.05, 50), (1.02, 75), (1.2, 25), (1 / 1.2, 25)):
        cadence = Cadence()
        cadence.found(5.0 * unit)
        cadence.found(5.0 * unit * change)
        assert cadence.interval == interval


def test_a_complete_measurement_that_is_done_late_does_not_bring_back_an_older_sharpness() -> None:
    """Nor a newer one when it is itself the newer."""
    for complete, newest in ((10, 40), (60, 60)):
        cadence = Cadence()
        cadence.began("sharpness", 40)
        cadence.covered(complete)
        assert cadence.next("sharpness") == newest + cadence.interval


def test_a_request_is_granted_once_in_a_while() -> None:
    """After an event everything is measured at once; the same event a step later changes nothing."""
    cadence = Cadence()
    cadence.began("complete", 100)
    assert not cadence.due("complete", 110)
    assert cadence.request(110)
    assert cadence.due("complete", 110) and cadence.interval == DENSEST
    cadence.began("complete", 110)
    assert not cadence.request(111)
    assert not cadence.due("complete", 112)
    assert cadence.request(110 + REST)


@pytest.mark.parametrize("slope", [1e-5, 1e-4, 1e-3])
@pytest.mark.parametrize("constant", [0.0, 2e-3])
def test_the_plan_finds_its_batch(slope: float, constant: float) -> None:
    """Whatever products really cost, a few corrections lead to a number of examples that the budget can pay, or to the
    fewest there may be."""
    step_secs, allowance = 0.05, 0.045
    plan = Plan(512, 32, step_secs, allowance)
    for _ in range(10):
        plan.corrected(constant + slope * plan.examples, step_secs, allowance)
    target = step_secs * plan._target(step_secs, allowance)
    cost = constant + slope * plan.examples
    assert cost <= 1.5 * target or plan.examples == plan.fewest
    assert cost >= 0.6 * target or plan.examples == 512


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_what_costs_nothing_is_not_saved(noise: float) -> None:
    """97 parameters: a product takes 0.317 ms on two examples and 0.397 ms on 512, and 5 % pay for neither."""
    dice = random.Random(0)
    plan = Plan(512, 64, 0.4e-3, 0.05)
    for _ in range(10):
        secs = 0.317e-3 + (0.397e-3 - 0.317e-3) / 510 * plan.examples
        plan.corrected(secs * (1 + noise * dice.random()), 0.4e-3, 0.05)
    assert plan.examples == 512


def test_of_what_hardly_costs_more_so_much_is_taken_as_adds_half() -> None:
    """A product takes 3 steps and 0.03 for every example, and less than one step is paid for: 50 examples add half of what
    it takes anyway; from the first guess that leads there within the corrections that there are."""
    plan = Plan(512, 64, 0.1, 0.05)
    while plan.corrected(0.1 * (3 + 0.03 * plan.examples), 0.1, 0.05):
        pass
    assert SHRINK * plan.examples <= 50 <= GROW * plan.examples


def test_a_batch_is_corrected_a_few_times_and_then_stays() -> None:
    """Whatever timings say: a series of measurements on ever other examples would mean nothing; of none they say nothing."""
    plan = Plan(512, 32, 0.05, 0.045)
    assert not plan.corrected(0.0, 0.05, 0.045) and not plan.corrected(0.1, 0.0, 0.045)
    changes = sum(plan.corrected(1e3 if turn % 2 else 1e-6, 0.05, 0.045) for turn in range(40))
    assert 2 <= changes <= CHANGES


def test_a_large_budget_has_a_limit_too() -> None:
    """Six tenths of the wall time pay for a product as long as steps may take, and all of it for any."""
    assert Plan(512, 32, 0.05, 0.6).examples == round(32 * LONGEST / GUESS)
    assert Plan(512, 32, 0.05, 1.0).examples == Plan(512, 32, 0.0, 0.6).examples == 512


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_one_example_more_is_not_worth_being_late(noise: float) -> None:
    """A small language model: 34 ms on one sequence, which is more than 5 % pay for, and 42 ms on two."""
    dice = random.Random(0)
    plan = Plan(512, 8, 0.05, 0.0345)
    for _ in range(10):
        plan.corrected((0.026 + 0.008 * plan.examples) * (1 + noise * dice.random()), 0.05, 0.0345)
    assert plan.examples == 1


@pytest.mark.parametrize(
    ("trained_on", "step_secs", "constant", "each", "most"),
    [(8, 0.06, 0.04, 0.012, 3), (128, 0.033, 0.0065, 0.55e-3, 70)],
)
def test_timings_that_scatter_make_no_example_free(
    trained_on: int, step_secs: float, constant: float, each: float, most: int
) -> None:
    """A small language model and a small convolutional network, of whose timings two in a row say that more examples cost
    nothing: a product on all that were tried then would last seconds."""
    for seed in range(200):
        dice = random.Random(seed)
        plan, tried = Plan(512, trained_on, step_secs, 0.036), 0
        for _ in range(10):
            tried = max(tried, plan.examples)
            secs = (constant + each * plan.examples) * (1 + 0.2 * dice.random())
            if not plan.corrected(secs, step_secs * (1 + 0.2 * dice.random()), 0.036):
                break
        assert tried <= most


def test_a_machine_that_gets_slower_does_not_make_examples_dear() -> None:
    """Two examples are timed while everything takes as it should, and one while everything takes twice as long."""
    plan, steady = Plan(512, 8, 0.05, 0.0345), Plan(512, 8, 0.05, 0.0345)
    for slow in (1.0, 2.0, 1.0, 1.5, 1.0, 2.0):
        plan.corrected(slow * (0.026 + 0.008 * plan.examples), slow * 0.05, 0.0345)
        steady.corrected(0.026 + 0.008 * steady.examples, 0.05, 0.0345)
        assert plan.examples == steady.examples


def test_without_a_limit_all_examples_are_used() -> None:
    """budget=1 never thins the reference batch."""
    plan = Plan(512, 32, 0.05, 1.0)
    assert plan.examples == 512
    assert not plan.corrected(10.0, 0.05, 1.0)


def approaching(speed: float = 0.005) -> Cadence:
    """0.1 below the edge, with this rise a step."""
    cadence = Cadence()
    for step in (0, 20):
        cadence.began("sharpness", step)
        cadence.against_edge(step, 0.9 - speed * (20 - step), 0.0)
    return cadence


def test_the_edge_is_looked_at_when_half_of_the_way_is_done() -> None:
    """20 steps from it at its speed: in ten; 80 steps from it: in 40; never in fewer than ten, nor, where looks are cheap,
    in more than 50."""
    assert approaching(0.005).next("sharpness") == 20 + 10
    assert approaching(0.00125).next("sharpness") == 20 + 40
    assert approaching(0.02).next("sharpness") == 20 + 10
    assert approaching(1e-5).next("sharpness") == 20 + 2 * DENSEST


def test_a_speed_is_trusted_for_twice_as_long_as_it_was_seen() -> None:
    """A hundred steps of 1e-4 each: the crossing is 1000 steps away, and half of the way too far to wait."""
    cadence = Cadence()
    for step in (0, 100):
        cadence.began("sharpness", step)
        cadence.against_edge(step, 0.9 - 1e-4 * (100 - step), 0.0)
    assert cadence.next("sharpness") == 100 + 200


def test_where_looks_are_dear_the_crossing_is_aimed_at() -> None:
    """A look halfway that takes until the crossing to be paid for would be the last one before it."""
    cadence = approaching(0.001)
    cadence.price = 120.0
    assert cadence.next("sharpness") == 20 + round(AIM * 100)
    cadence.price = 40.0
    assert cadence.next("sharpness") == 20 + 50
    cadence = approaching(1e-5)
    cadence.price = 1000.0
    assert cadence.next("sharpness") == 20 + SPARSEST


def test_the_edge_is_watched_closely_only_while_it_nears() -> None:
    """A rise towards the edge wants looks of its own; one that rests below it, that hovers, or that is far beyond does
    not, or nothing else would be measured any more. In its band every tenth step tells whether it hovers."""
    cadence = Cadence()
    cadence.began("sharpness", 0)
    for step, ratio in enumerate([0.3, 0.5, 0.72, 0.78, 0.84], 1):
        cadence.against_edge(step, ratio, 0.0)
        assert cadence.near_edge == (ratio >= APPROACHING)
    for step in range(6, 30):
        cadence.against_edge(step, 0.84, 0.0)
    assert not cadence.near_edge
    cadence.against_edge(30, 0.9, 0.0)
    assert cadence.near_edge
    cadence.against_edge(20, 0.3, 0.0)  # a complete measurement that began earlier
    assert cadence.near_edge
    cadence.against_edge(31, 0.88, 0.0)
    assert cadence.next("sharpness") == AT_THE_EDGE
    for step, ratio in enumerate([1.0, 1.01, 1.02, 1.02], 32):
        cadence.against_edge(step, ratio, 0.0)
    assert not cadence.near_edge
    for beyond in (5.0, 50.0):
        cadence = Cadence()
        cadence.against_edge(1, beyond, 0.0)
        assert not cadence.near_edge
