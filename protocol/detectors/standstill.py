"""A training that lives and does not go on: a deadlock, a loader that gives nothing, another rank that never comes."""

from __future__ import annotations

from ..frames import Alert, Heartbeat

LEAST_SECS = 120.0
"""Evaluating and saving take that long in many a training, and are over then."""

TIMES = 3.0
"""Times as long as the longest stop that was over: the next evaluation takes about as long as the last."""


class Standstill:
    """Sees every heartbeat, in order. One alert a stop."""

    __slots__ = ("_idle", "_longest", "_told")

    def __init__(self) -> None:
        self._idle = self._longest = 0.0
        self._told = False

    def see(self, beat: Heartbeat) -> Alert | None:
        """The alert that this heartbeat completes; its ``seq`` and ``wall`` are filled in by the caller."""
        if not beat.idle:
            self._longest, self._idle, self._told = max(self._longest, self._idle), 0.0, False
            return None
        self._idle = beat.idle
        if self._told or beat.idle < max(LEAST_SECS, TIMES * self._longest):
            return None
        self._told = True
        at = f" The loop is at {beat.where}." if beat.where else ""
        return Alert(
            kind="hang", severity="warning", step=beat.step, onset_step=beat.step, attempt=beat.attempt,
            message=f"No step for {beat.idle:.0f} s, though the process lives.{at}",
            evidence={"seconds": beat.idle, "longest stop before": self._longest},
            advice="If that is no evaluation or checkpoint, look at what it waits for: a data loader, another rank, a lock.",
        )  # fmt: skip
