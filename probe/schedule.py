"""The budget: how much of the run's wall time the probe may cost, and who may spend it now.

Allowance accrues with wall time and work is charged at what it really took, so that a slow machine, a large model or
a busy core means fewer measurements and never a slower training.
"""

from __future__ import annotations

import time
from collections.abc import Callable

HEAD_START = 0.2
"""Seconds that may be spent ahead of the allowance, so that a run's first curvature does not wait for minutes."""

FLOOR = 0.2
"""Part of the budget that is left to measurements even when a very fast loop spends all of it on sending."""

PATIENCE_SECS = 0.5
"""Longest time without asking again: the rate changes when a sensor goes off or the loop gets slower."""

UNLIMITED = 1.0
"""A budget of the whole wall time or more is read as "measure whenever you can"."""


class Budget:
    """The whole allowance, ``share`` of the wall time, divided among accounts by weight."""

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

    def rate(self, weight: float) -> float:
        """Seconds of work per second of wall time for this weight, once the overhead is paid."""
        total = sum(account.weight for account in self._accounts)
        elapsed = self.elapsed
        paid = (self.overhead + self.elsewhere) / elapsed if elapsed > 1.0 else 0.0
        return max(FLOOR * self.allowed, self.allowed - paid) * weight / total if total else 0.0

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
        self._budget = budget
        self._balance: float | None = None
        self._seen = budget.now()

    def affords(self, cost: float) -> bool:
        """May work that takes about ``cost`` seconds begin now?"""
        budget = self._budget
        if budget.allowed >= UNLIMITED:
            return True
        now = budget.now()
        if self._balance is None:  # at the first question, when all accounts are open
            self._balance = budget.part(self.weight)
        rate = budget.rate(self.weight)
        # Savings are capped: an hour without work must not be followed by three minutes of nothing but work.
        cap = max(budget.part(self.weight), 1.5 * cost, self._balance)
        self._balance = min(self._balance + (now - self._seen) * rate, cap)
        self._seen = now
        missing = max(cost, 0.0) - self._balance
        if missing > 0 or self._balance <= 0:
            self.not_before = now + min(PATIENCE_SECS, missing / rate if rate else PATIENCE_SECS)
            return False
        return True

    def charge(self, seconds: float) -> None:
        self.spent += seconds
        if self._balance is not None:
            self._balance -= seconds
