"""A run elsewhere: ``ssh HOST lsmon relay RUN``, or another carrier than ssh, over its stdin and stdout."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable, Iterator

from ..cards import RUN_ID
from ..clean import clean_line
from ..codec import decode
from ..errors import BadFrame, LsmonError, Unreachable, UsageError
from ..frames import AnyFrame, RunEnded
from ..wire.carried import PATIENCE_SECS, Carried
from ..wire.carrier import Carrier
from ..wire.order import Order
from ..wire.records import Record, RelayReader, State
from .source import OVER, Link

STALE_SECS = 3.0
"""The relay speaks every second."""
SILENT_SECS = 15.0
"""After this the connection is taken for dead: a laptop slept, a network changed, and TCP has not noticed."""
ANSWER_SECS = 40.0
"""For the first sign of the relay: jump hosts, a slow agent and a cold Python all take their time."""
HUNG_SECS = 0.05
"""Patience with an ssh that has said nothing for so long: the screen waits meanwhile."""
RETRY_SECS, RETRY_MAX_SECS = 0.5, 10.0
_HOPELESS = re.compile("Permission denied|Host key verification failed|Too many authentication failures")
"""Words of ssh after which trying again by itself is of no use, and gets a person locked out."""


class Remote:
    """Watches ``run`` (or the only one) where ``carrier`` goes; comes back after a broken connection without losing
    a frame.

    ``read`` raises Unreachable, with the remedy, when there is no hope: no connection at the start, no lsmon there,
    no such run.
    """

    def __init__(
        self,
        carrier: Carrier,
        run: str = "",
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if run.startswith("-"):
            raise UsageError(f"Not the name of a run: {clean_line(run, 80)!r}.")
        self.place = carrier.name
        self._carrier = carrier
        self._run = run
        self._clock = clock
        self._order = Order()
        self._carried: Carried | None = None
        self._alone = False
        """Whether the last connection went silent: the next one shares nothing with it."""
        self._why = ""
        self._reader = RelayReader()
        self._records: Iterator[Record] = iter(())
        self._taken = self._told = 0
        """Records of this connection that have been taken in, and of which the relay knows."""
        self._lines: deque[bytes] = deque()
        self._state = State()
        self._joined = False
        self._failures = 0
        self._retry_at = 0.0
        self._heard = clock()
        self._called = 0.0
        self._ended: RunEnded | None = None
        self._over = False
        """Nothing more will come, as it should be."""
        self._hopeless = ""
        """Why nothing more will come, when that is no good: a sentence."""

    @property
    def link(self) -> Link:
        lost = self._order.lost
        behind = self._state.behind or bool(self._lines)
        if self._ended is not None:
            return Link("ended", self._ended.error, lost)
        if self._hopeless:
            return Link("dead", self._hopeless, lost)
        words = f"On {self.place}: {self._state.words}" if self._state.words else ""
        if self._over:
            return Link("ended early" if self._state.phase == "ended early" else "dead", words, lost)
        silent = self._clock() - self._heard
        if not self._joined:
            return Link("connecting", f"connecting to {self.place}", lost, behind=True)
        if self._carried is None or not self._reader.started:
            why = f" ({self._why})" if self._why else ""
            words = f"reconnecting to {self.place}, attempt {max(1, self._failures)}{why}"
            return Link("stale" if silent > STALE_SECS else "connecting", words, lost, behind)
        if silent > STALE_SECS:
            return Link("stale", f"Nothing from {self.place} for {silent:.0f} s.", lost, behind)
        return Link(self._state.phase, words, lost, behind)

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        """What has come since the last call. Raises Unreachable, or NewerFormat when lsmon there is a later one."""
        if self._hopeless:
            raise Unreachable(self._hopeless)
        until = self._clock() + max_secs
        frames: list[AnyFrame] = []
        while len(frames) < max_items:
            if self._lines:
                frame = self._decode(self._lines.popleft())
                if frame is not None:
                    frames.append(frame)
                if isinstance(frame, RunEnded):
                    self._ended = frame
            else:
                try:
                    if not self._next_record():
                        break
                except LsmonError:
                    if frames:
                        break  # first what has come; the next read says why there is no more
                    raise
            if self._clock() >= until:
                break
        return frames

    def close(self) -> None:
        self._over = True
        if self._carried is not None:
            self._carried.close()
            self._carried = None

    def _decode(self, line: bytes) -> AnyFrame | None:
        try:
            frame = decode(line)
        except BadFrame:
            return None  # its number is missing now, and counted
        return None if frame is None else self._order.admit(frame)

    def _next_record(self) -> bool:
        """Whether something has come, if only a part of a record. The one before has been taken in."""
        if (
            self._carried is not None
            and self._told < self._taken
            and self._carried.tell(b"%d\n" % self._taken)
        ):
            self._told = self._taken
        try:
            record = next(self._records, None)
        except LsmonError as error:
            if self._state.phase in OVER:
                self._hang_up("")  # the relay had its say; a shell's farewell is nobody's business
                return False
            if self._joined and self._reader.started:
                self._hang_up("what came was garbled")
                return False
            self._hopeless = f"{error.args[0]} The place is {self.place}."
            self.close()
            raise type(error)(self._hopeless) from None
        if record is not None:
            self._taken += 1
            self._lines.extend(record.lines)
            self._state = record.state
            if RUN_ID.fullmatch(record.state.run) and not record.state.run.startswith("-"):
                self._run = record.state.run  # the same one again, whatever else starts there meanwhile
            self._joined = True
            self._alone = False
            if record.lines:
                self._failures, self._why = 0, ""
            return True
        now = self._clock()
        if self._carried is None:
            if self._over or now < self._retry_at:
                return False
            self._reader = RelayReader()
            self._carried = Carried(self._command())
            self._carried.tell(b"0\n")  # by which the relay knows that there will be more
            self._taken = self._told = 0
            self._called = now
        data = self._carried.read()
        if data:
            self._heard = now
            self._records = self._reader.feed(data)
            return True
        waited = now - max(self._heard, self._called)
        if data == b"":
            self._hang_up("")
        elif waited > (SILENT_SECS if self._reader.started else ANSWER_SECS):
            self._hang_up(f"no answer for {waited:.0f} s")
        return False

    def _hang_up(self, silence: str) -> None:
        """The connection is over: be content, give up, or try again later."""
        carried, self._carried = self._carried, None
        code = carried.close(HUNG_SECS if silence else PATIENCE_SECS) if carried is not None else 0
        why = silence or (carried.words if carried is not None else "")
        self._alone = bool(silence)
        if self._ended is not None or (self._reader.started and self._state.phase in OVER):
            self._over = True
        elif self._reader.started or (self._joined and self._is_broken(code, why)):
            self._failures += 1
            self._why = why
            self._retry_at = self._clock() + min(RETRY_SECS * 2 ** (self._failures - 1), RETRY_MAX_SECS)
        else:
            self._hopeless = self._sentence(code, why)
            raise Unreachable(self._hopeless)

    def _is_broken(self, code: int, why: str) -> bool:
        return self._carrier.is_broken(code, why) and not _HOPELESS.search(why)

    def _sentence(self, code: int, why: str) -> str:
        if why.startswith("lsmon: ") and self._joined:
            return f"The run ended while the connection was broken; {self.place} says: {why.removeprefix('lsmon: ')}"
        return self._carrier.failure(code, why)

    def _command(self) -> list[str]:
        run = (self._run,) if self._run else ()
        after = ("--after", str(self._order.last)) if self._order.last else ()
        return self._carrier.command("relay", *run, *after, alone=self._alone)
