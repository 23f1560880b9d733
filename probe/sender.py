"""From the training thread to file and socket: a bounded queue, and one thread that empties it.

The training thread appends and returns. Everything that may wait (encoding, disk, sockets, a device's event) happens
on the sending thread, which wakes a few times a second. When it cannot follow, the oldest items fall out and are counted.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from msgspec import structs

from lsmon.protocol.clean import NAME_LENGTH
from lsmon.protocol.codec import encode
from lsmon.protocol.detectors.standstill import Standstill
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, RunEnded, RunStarted, Scalars
from lsmon.protocol.regime import Regime

from .collected import Collected
from .guard import Guard
from .heartbeat import Heart, Pulse
from .readings import Reading, arrived, taken

QUEUE = 1 << 14
"""Items that wait for the sending thread: 16 s of a loop at 1000 steps a second, a few megabytes."""

WAKE_SECS = 0.1
"""The screen redraws ten times a second. A wake-up costs as much as the frames of a tenth of a second: at 0.02 a loop of
50 steps a second lost 1.7 % of its time to this thread alone."""

ALONE_SECS = 0.25
"""While nobody watches, when there is only a file to write, which is flushed twice a second: another 0.25 % of a core."""

TURN_ITEMS = 4096
"""Then heartbeat and sockets get their turn."""

LAST_PART = 0.7
"""Of the time that the training waits for the end, after which what is still queued gives way: a process that leaves
takes everything with it that is not in the file by then."""

LAST_ITEMS = 256
"""The newest, which are sent all the same: results are logged last."""

LAST_WAIT_SECS = 0.01
"""At the end, between two looks at whether a value has come from its device."""


class Sink(Protocol):
    """Where frames go: the recorder, the sockets, or a list in a test."""

    @property
    def quiet(self) -> bool:
        """Nobody waits for what it is given."""
        ...

    def write(self, frame: AnyFrame, data: bytes) -> None: ...

    def tick(self) -> None: ...

    def close(self) -> None: ...


_Item = tuple[int, int, int, float, Any]
"""Number, step, attempt, wall time, and named numbers or a frame. A bare tuple: the training thread pays for it."""


class Sender:
    """Numbers, merges, rounds and encodes; shows each frame to the detectors; hands it to every sink."""

    def __init__(
        self,
        header: RunStarted,
        sinks: Sequence[Sink],
        *,
        guard: Guard,
        pulse: Callable[[], Pulse] = Pulse,
        watch: Watch | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
        on_wish: Callable[[str], None] = lambda why: None,
        on_end: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        queue: int = QUEUE,
    ) -> None:
        self.dropped = 0
        self.steps = 0
        """Training steps done, counted by the training thread."""
        self.cpu_secs = 0.0
        """CPU time of the sending thread."""
        self._header = header
        self._sinks = list(sinks)
        self._guard = guard
        self._heart = Heart(header, pulse, clock())
        self._watch = watch or Watch()
        self._standstill = Standstill()
        self._on_alert = on_alert
        self._on_wish = on_wish
        self._on_end = on_end
        self._clock = clock
        self._queue: deque[_Item] = deque(maxlen=queue)
        self._intake = itertools.count()
        self._expected = 0
        self._head: _Item | None = None
        self._collected = Collected(clock)
        self._seq = header.seq
        self._last: tuple[int, int] = (header.step, header.attempt)
        self._regime = Regime() if header.parameters else None  # without a model only what is logged is told
        self._folds = Folds()
        self._folds.add(header)
        self._closing = threading.Event()
        self._done = threading.Event()
        self._ended = RunEnded()
        self._until = math.inf
        """When what is still queued at the end gives way."""
        self._thread: threading.Thread | None = None

    # ---- on the training thread

    def put(self, step: int, attempt: int, payload: dict[str, Any] | AnyFrame) -> None:
        """Queue named numbers (floats or Readings), or a frame, of this step. Never waits."""
        self._queue.append((next(self._intake), step, attempt, time.time(), payload))

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="lsmon-sender", daemon=True)
        self._thread.start()

    def close(self, ended: RunEnded, timeout: float) -> bool:
        """Ask for the end and wait at most ``timeout`` seconds for it; True when it is written."""
        self._until = self._clock() + LAST_PART * timeout
        self.end(ended)
        return self.wait(timeout)

    def end(self, ended: RunEnded) -> None:
        """Ask for the end. On any thread, also on the sending one."""
        self._ended = ended
        self._closing.set()
        if self._thread is None:
            self._finish()

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds for the end that was asked for; True when it is written."""
        # A join that Ctrl-C interrupts is never one again.
        return self._thread is None or self._done.wait(timeout)

    # ---- on the sending thread

    def _run(self) -> None:
        while not self._closing.wait(ALONE_SECS if all(sink.quiet for sink in self._sinks) else WAKE_SECS):
            self._guard.run("sender", self.turn)
            self.cpu_secs = time.thread_time()
        self._guard.run("sender", self._finish)
        self._done.set()

    def turn(self) -> None:
        """Empty the queue, beat when due, and let every sink do what is due."""
        self._drain()
        if self._collected.due:
            self._flush()
        now = self._clock()
        if now >= self._heart.due:
            self._beat(now)
        self._tick()

    def _tick(self) -> None:
        for sink in self._sinks:
            self._call(sink, sink.tick)

    def _finish(self) -> None:
        try:
            while self._queue or self._head is not None:
                if self._clock() >= self._until:
                    while len(self._queue) > LAST_ITEMS:
                        self._queue.popleft()  # the next one tells how many were dropped
                self._drain(final=True)
                self._tick()
                if self._head is not None:
                    self._done.wait(LAST_WAIT_SECS)
            self._flush()
            self._beat(self._clock())
            for summary in self._folds.close():
                self._hand_out(summary)
            ended = structs.replace(self._ended, dropped=self.dropped)
            self._send(ended, *self._last, time.time(), fold=False)
        finally:
            for sink in self._sinks:
                self._call(sink, sink.close)
            self._on_end()

    def _drain(self, *, final: bool = False) -> None:
        """Some of the queue; at the end without waiting for devices longer than there is time."""
        for _ in range(LAST_ITEMS if final else TURN_ITEMS):
            if self._closing.is_set() and not final:
                return
            if self._head is None:
                try:
                    self._head = self._queue.popleft()
                except IndexError:
                    return
                number = self._head[0]
                self.dropped += number - self._expected
                self._expected = number + 1
            item = self._head
            late = final and self._clock() >= self._until
            if not late and isinstance(item[4], dict) and not arrived(item[4].values()):
                return  # a value is still on the device; what comes after it keeps its place
            self._head = None
            self._take(item, late)

    def _take(self, item: _Item, late: bool) -> None:
        _, step, attempt, wall, payload = item
        at = step, attempt, wall
        if isinstance(payload, dict):
            values = self._read(payload, late)
            complete = self._collected.add(at, values) if values else ()
        elif isinstance(payload, Scalars):
            complete = self._collected.add(at, payload.values, payload.errors, payload.words)
        else:
            self._flush()
            self._send(payload, *at)
            return
        for frame in complete:
            self._send(frame, frame.step, frame.attempt, frame.wall)
        if self._collected.alike:
            self._guard.notes["names"] = f"some differ only beyond {NAME_LENGTH} letters: one of each is kept"

    def _read(self, payload: dict[str, float | Reading], late: bool) -> dict[str, float]:
        """The values that can be had. What a device that failed does not give is told; what is still on one when there
        is no time left is counted."""
        try:
            if not late:
                return {name: taken(value) for name, value in payload.items()}
        except Exception:  # noqa: BLE001, S110  one by one, then: the others are numbers
            pass
        values = {}
        for name, value in payload.items():
            try:
                if not late or arrived([value]):
                    values[name] = taken(value)
                else:
                    self.dropped += 1
            except Exception as error:  # noqa: BLE001  whatever a device says
                self._guard.fault(f"value {name}", error)
        return values

    def _flush(self) -> None:
        for frame in self._collected.take():
            self._send(frame, frame.step, frame.attempt, frame.wall)

    def _send(self, frame: AnyFrame, step: int, attempt: int, wall: float, fold: bool = True) -> None:
        """Number a frame, hand it out, and then whatever follows from it."""
        self._seq += 1
        self._last = (max(step, self._last[0]) if attempt == self._last[1] else step, attempt)
        frame = structs.replace(
            frame, seq=self._seq, step=step, wall=round(wall, 4), rank=self._header.rank, attempt=attempt
        )
        self._hand_out(frame)
        if fold:
            for summary in self._folds.add(frame):
                self._hand_out(summary)
        if isinstance(frame, Alert):
            self._on_alert(frame)
        for alert in self._watch.see(frame):
            self._send(alert, alert.step, alert.attempt, wall)
        if isinstance(frame, Curvature) and self._watch.wants:
            self._on_wish(self._watch.wants)
        verdict = self._regime.see(frame) if self._regime is not None else None
        if verdict is not None:
            self._send(verdict.scalars(frame), step, attempt, wall)

    def _hand_out(self, frame: AnyFrame) -> None:
        data = encode(frame)
        for sink in self._sinks:
            try:
                sink.write(frame, data)
            except Exception as error:  # noqa: BLE001  as in ``_call``, of which there would be one a frame
                self._let_go(sink, error)

    def _beat(self, now: float) -> None:
        beat = self._heart.beat(now, self.steps, self._expected, self._seq, *self._last, self.dropped)
        self._hand_out(beat)
        if alert := self._standstill.see(beat):
            self._send(alert, alert.step, alert.attempt, time.time())

    def _call(self, sink: Sink, method: Callable[[], None]) -> None:
        try:
            method()
        except Exception as error:  # noqa: BLE001  training must not feel it, whatever it is
            self._let_go(sink, error)

    def _let_go(self, sink: Sink, error: Exception) -> None:
        """A sink that fails; the others go on."""
        self._sinks = [other for other in self._sinks if other is not sink]
        self._guard.fault(type(sink).__name__.strip("_").lower(), error)
