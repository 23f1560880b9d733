"""The budget: how much of the run's wall time the probe may cost, and who may spend it now.

Allowance accrues with wall time and work is charged at what it really took, so that a slow machine, a large model or
a busy core means fewer measurements and never a slower training.
"""

from __future__ import annotations

import math
import statistics
import time
from collections import deque
from collections.abc import Callable

HEAD_START = 0.2
"""Seconds that may be spent ahead of the allowance, so that a run's first curvature does not wait for minutes."""

FLOOR = 0.2
"""Part of the budget that is left to measurements even when a very fast loop spends all of it on sending."""

SAVINGS = 0.4
"""Largest sum, in seconds, that an account saves up for one piece of work: a minute at 5 % is 3 s, and what is spent
at once must not lift that minute above 6 %."""

PATIENCE_SECS = 0.5
"""Longest time without asking again: the rate changes when a sensor goes off or the loop gets slower."""

WINDOW_SECS = 10.0
"""What others cost is averaged over about this long: their share at the start, with its imports, is not the future's."""

TURNS = 16
"""Turns of work whose median is what one usually takes."""

STALL = 4.0
"""Times as long as usual a turn must have lasted, while the process hardly ran, for the machine to be the reason."""

UNLIMITED = 1.0
"""A budget of the whole wall time or more is read as "measure whenever you can"."""


class Rate:
    """Seconds spent per second of wall time, averaged over about the last ten seconds."""

    def __init__(self, now: float) -> None:
        self.value = 0.0
        self._then, self._total, self._known = now, 0.0, 0.0

    def see(self, total: float, now: float) -> float:
        """``total`` seconds have been spent by ``now``."""
        passed = now - self._then
        if passed >= 1.0:  # over less, one measurement would look like a habit
            self._known += passed
            # A plain mean until the window is full, then an exponential one.
            weight = max(passed / self._known, 1.0 - math.exp(-passed / WINDOW_SECS))
            self.value += weight * ((total - self._total) / passed - self.value)
            self._then, self._total = now, total
        return self.value


class Budget:
    """The whole allowance, ``share`` of the wall time, divided among accounts by weight.

    What a lighter account does not use, the heaviest one gets, or the first of them: it is what the budget is for.
    """

    def __init__(
        self,
        share: float,
        *,
        head_start: float = HEAD_START,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.allowed = max(0.0, share)
        self.head_start = head_start if share > 0 else 0.0
        self.overhead = 0.0
        """Seconds that were nobody's measurement: the calls themselves."""
        self.elsewhere = 0.0
        """CPU seconds of the sending thread; it competes for the interpreter, so it counts."""
        self._clock = clock
        self._accounts: list[Account] = []
        self._started = clock()
        self._paid = Rate(self._started)

    @property
    def elapsed(self) -> float:
        return self._clock() - self._started

    @property
    def spent(self) -> float:
        """Seconds that the probe has cost so far."""
        return self.overhead + self.elsewhere + sum(account.spent for account in self._accounts)

    @property
    def share(self) -> float:
        """Share of the wall time since the start that the probe has cost."""
        elapsed = self.elapsed
        return min(1.0, self.spent / elapsed) if elapsed > 0 else 0.0

    def account(self, weight: float) -> Account:
        account = Account(self, weight)
        self._accounts.append(account)
        return account

    def close(self, account: Account) -> None:
        """What this account would have been given goes to the others."""
        account.weight = 0.0

    def rate(self, account: Account) -> float:
        """Seconds of work per second of wall time for this account, once the overhead is paid."""
        if not account.weight:
            return 0.0
        total = sum(each.weight for each in self._accounts)
        now = self._clock()
        paid = self._paid.see(self.overhead + self.elsewhere, now)
        free = max(FLOOR * self.allowed, self.allowed - paid)
        rate = free * account.weight / total
        if account is max(self._accounts, key=lambda each: each.weight):
            for other in self._accounts:
                if other.weight < account.weight:
                    rate += max(0.0, free * other.weight / total - other.used.see(other.spent, now))
        return rate

    def now(self) -> float:
        return self._clock()

    def part(self, weight: float) -> float:
        total = sum(account.weight for account in self._accounts)
        return self.head_start * weight / total if total else 0.0


class Account:
    """One sensor's part of the allowance: a bucket that fills with time and is emptied by work."""

    def __init__(self, budget: Budget, weight: float) -> None:
        self.weight = weight
        self.spent = 0.0
        self.not_before = 0.0
        """Clock time before which asking again is not worth the microsecond that it takes."""
        self.used = Rate(budget.now())
        self._budget = budget
        self._balance: float | None = None
        self._seen = budget.now()
        self._turns: deque[float] = deque(maxlen=TURNS)

    @property
    def rate(self) -> float:
        """Seconds of work per second of wall time."""
        return UNLIMITED if self._budget.allowed >= UNLIMITED else self._budget.rate(self)

    @property
    def saved(self) -> float:
        """Seconds of work that may be done at once, when last asked; below zero what is owed."""
        return self._balance or 0.0

    def affords(self, cost: float) -> bool:
        """May work that takes about ``cost`` seconds begin now? What costs more than can be saved begins in debt."""
        budget = self._budget
        if budget.allowed >= UNLIMITED:
            return True
        now = budget.now()
        if self._balance is None:  # at the first question, when all accounts are open
            self._balance = budget.part(self.weight)
        rate = budget.rate(self)
        cost = min(max(cost, 0.0), max(SAVINGS, budget.part(self.weight)))
        # Savings are capped: an hour without work must not be followed by three minutes of nothing but work.
        cap = max(budget.part(self.weight), 1.5 * cost, self._balance)
        self._balance = min(self._balance + (now - self._seen) * rate, cap)
        self._seen = now
        missing = cost - self._balance
        if missing > 0 or self._balance <= 0:
            self.not_before = now + min(PATIENCE_SECS, max(missing, 0.0) / rate if rate else PATIENCE_SECS)
            return False
        return True

    def charge(self, seconds: float, ran: float | None = None) -> None:
        """A turn took so long; ``ran`` of it on the processor, where nothing else worked for it.

        All of it is counted. But a stall of the machine, which the training might as well have met a moment later, is
        not to be earned back: one of 170 ms would keep curvature off a small network for more than 200 steps.
        """
        self.spent += seconds
        if self._balance is not None:
            self._balance -= self._worked(seconds, ran)

    def _worked(self, seconds: float, ran: float | None) -> float:
        usual = statistics.median(self._turns) if len(self._turns) == TURNS else math.inf
        self._turns.append(seconds)
        if ran is not None and seconds > STALL * usual and ran < seconds / 2:
            return max(usual, ran)
        return seconds


class Pace:
    """How long the training's own step takes: the median of the last ones, measured between two visits."""

    def __init__(self, steps: int = 64) -> None:
        self.seconds = 0.0
        """0 until eight steps have been seen."""
        self._taken: deque[float] = deque(maxlen=steps)
        self._left: float | None = None
        self._until_next = 8

    def enter(self) -> None:
        """The training has done a step and comes by."""
        if self._left is None:
            return
        self._taken.append(time.perf_counter() - self._left)
        self._until_next -= 1
        if self._until_next == 0:
            self.seconds = statistics.median(self._taken)
            self._until_next = 16

    def leave(self) -> None:
        self._left = time.perf_counter()
