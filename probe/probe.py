"""The face: what a training loop holds and calls."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, SupportsInt

from msgspec import structs

from lsmon.protocol.clean import clean_message
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Alert, AnyFrame, Mark, RunEnded

from .guard import Guard
from .guest import guest
from .intake import Intake, written
from .lifetime import CLOSE_SECS, EXIT_SECS, Run, begin, by_hand, ending, over, replace, while_alive
from .listeners import Listeners
from .resumes import Resumes
from .schedule import Budget
from .settings import allowed_share, door_at, own_rank, speaks, thresholds_of
from .signals import heed
from .stride import Stride

if TYPE_CHECKING:
    from lsmon.protocol.detectors.thresholds import Thresholds
    from lsmon.protocol.wire.tcp import Listening

    from .heartbeat import Pulse
    from .instruments import Instruments
    from .sender import Sender
    from .sensors.sensor import Context, Sensor

FAULTS = 10
"""Calls that failed as a whole, after which the probe stops trying: then it is not one sensor that is broken."""

ATTEMPTS = 8
"""A run is resumed so often at most; more is a loop that counts its steps otherwise, and is told so."""


class Probe:
    """Watches a training from inside: ``step`` once a training step, ``log`` for whatever else is known.

    With a model, an optimizer and ``loss_fn(model, batch) -> scalar loss`` it also measures curvature, temperature
    and scale; without them it logs numbers from any framework and loads no torch. It never changes the training,
    never raises into it and never blocks it. What ``loss_fn`` draws its randomness from, and what it writes to, is put
    back, but not an iterator that it advances.

    A probe that nothing refers to any more ends its run, and in a notebook a new one ends the one before it that has
    the same name, so that a cell can be run again. A copy, pickled or not, is switched off: the run is the original's.

    Args:
        reference: the fixed batch, or list of batches, that curvature is measured on, all of it. By default the first
            batches given to ``step``, up to 512 examples, of which the budget may leave a part; how many, and what that does, is said.
        budget: largest share of the wall time that the probe may cost; 1 lifts the limit.
        listen: ``"tcp://HOST:PORT"`` lets viewers in over TCP too, at this port and the next: only those whose keys
            `lsmon keys allow` has put on the list, and encrypted. Without it no port is opened.
        record: write a recording (also ``LSMON_RECORD=0``).
        sensors: ``"off"``, ``"light"`` (no backward pass of its own), ``"default"``, ``"full"``, or Sensor objects.
        clip: threshold of the loop's gradient-norm clipping, so that what is measured after it can say so.
        examples: how many examples an epoch draws without replacement; the noise of a batch of B of them is smaller by
            1 - B/N, and a batch of all of them has none.
        config: settings of the run, kept in the record as its first mark. What is under ``"alerts"`` sets thresholds of
            the detectors: ``config={"alerts": {"saddle.plateau_steps": 200}}``.

    Raises UsageError for arguments that make no sense.
    """

    def __init__(
        self,
        model: Any = None,
        optimizer: Any = None,
        loss_fn: Callable[[Any, Any], Any] | None = None,
        *,
        name: str | None = None,
        config: Mapping[str, Any] | None = None,
        reference: Any = None,
        budget: float = 0.05,
        record: bool = True,
        listen: str | None = None,
        sensors: str | Sequence[Sensor] = "default",
        clip: float | None = None,
        examples: int | None = None,
        seed: int = 0,
    ) -> None:
        self._on = False
        rank = own_rank()
        if not speaks(rank):
            return
        door = door_at(listen)
        thresholds = thresholds_of(config)
        self._guard = Guard(strict=os.environ.get("LSMON_STRICT") == "1")
        self._budget = Budget(allowed_share(budget))
        self._stride = Stride(self._budget.allowed)
        self._resumes = Resumes()
        self._step = 0
        self._attempt = 1
        self._faults = 0
        self._intake = Intake(self._guard)
        self._listeners = Listeners(self._guard)
        self._instruments: Instruments | None = None
        try:
            from .equipment import choose, context_of, is_torch

            context = context_of(model, optimizer, loss_fn, reference, clip, examples, seed)
            context.notes, context.share = self._guard.notes, lambda: self._budget.share
            chosen = choose(sensors, context.model if is_torch(model) else None)
        except UsageError:
            raise
        except Exception as error:  # noqa: BLE001  a torch that we cannot work with must not stop it from training
            heed(error)
            self._guard.fault("probe", error)
            return
        record = record and os.environ.get("LSMON_RECORD") != "0"
        if not self._guard.run("probe", self._open, name, rank, record, context, chosen, thresholds, door):
            return
        self._on = True
        if config:
            self._guard.run("config", lambda: self.mark(written(config)))

    def _open(
        self,
        name: str | None,
        rank: int,
        record: bool,
        context: Context,
        sensors: list[Sensor],
        thresholds: Thresholds,
        door: Listening | None,
    ) -> None:
        from lsmon.protocol.detectors.watch import Watch

        from .header import run_header
        from .heartbeat import Pulse
        from .outlets import Outlets
        from .sender import Sender

        header = run_header(name, self._budget.allowed, rank, context)
        if by_hand():
            replace(header.name)
        if context.reference is not None:
            from .subject import trouble

            words = trouble(context.model)
            if words:
                sensors = []
                context.notes["sensors"] = words
        # Both exist whenever the probe is on.
        self._outlets = outlets = Outlets(header, record=record, guard=self._guard, door=door)  # pyright: ignore[reportUninitializedInstanceVariable]
        self._sender: Sender = Sender(  # pyright: ignore[reportUninitializedInstanceVariable]
            outlets.header,
            outlets.sinks,
            guard=self._guard,
            pulse=while_alive(self._pulse, Pulse()),
            watch=Watch(thresholds),
            on_alert=while_alive(self._heard, None),
            on_wish=while_alive(self._wish, None),
            on_end=outlets.forget,
        )
        self._guard.tell_to(while_alive(self._tell, None))
        if sensors:
            from .instruments import Instruments

            self._instruments = Instruments(sensors, context, self._budget, self._guard, self._found)
        self._sender.start()
        self._run = Run(  # pyright: ignore[reportUninitializedInstanceVariable]
            header.name, while_alive(self._leave, None), while_alive(self._finish, None)
        )
        begin(self._run, self._sender)
        weakref.finalize(self, self._sender.end, RunEnded()).atexit = False

    @guest
    def step(self, loss: Any = None, batch: Any = None, *, step: SupportsInt | None = None) -> None:
        """One training step is done. ``loss`` may be a number or a tensor on any device; nothing waits for it.

        ``step`` defaults to one more than the last; a smaller one than the last opens a new attempt (a resume).
        """
        began = time.perf_counter()
        now = self._intake.placed(step, self._step + 1)
        if now < self._step:
            self._begin_attempt()
        self._step = now
        sender, budget = self._sender, self._budget
        sender.steps += 1
        if loss is not None and self._stride.tells(sender.steps, loss):
            self._put({"loss": loss}, now)
        budget.overhead += time.perf_counter() - began
        if self._instruments is not None:
            budget.elsewhere = sender.cpu_secs
            self._instruments.step(now, self._attempt, batch)
        self._listeners.call_back()
        self._guard.surface()

    @guest
    def log(self, /, *, step: Any = None, **values: Any) -> None:
        """Numbers by name, for the current step or a given one: ``probe.log(**{"val/loss": 0.3})``.

        Of a loop that only logs, a quantity that goes back to an earlier step opens a new attempt (a resume).
        """
        now = self._intake.placed(step, self._step)
        if not self._sender.steps and self._resumes.back(values, now):
            self._begin_attempt()
            self._step = now
        self._step = max(self._step, now)
        self._put(values, now)

    @guest
    def mark(self, note: str) -> None:
        """A note at this step, drawn on the curves."""
        self._sender.put(self._step, self._attempt, Mark(note=clean_message(str(note))))

    @guest
    def on(self, kind: str, callback: Callable[[Alert], None]) -> None:
        """Call ``callback(alert)`` on the training thread, in the ``step`` after an alert of this kind."""
        self._listeners.add(kind, callback)

    def close(self, error: BaseException | str | None = None) -> None:
        """The training is over, because of ``error`` if one is given. Waits at most 2 s; later calls do nothing."""
        if self._on:
            self._close(error, CLOSE_SECS)
            self._guard.surface()

    def _close(self, error: BaseException | str | None, timeout: float) -> None:
        self._on = False
        over(self._run)
        ended = ending(error)
        try:
            if self._instruments is not None:
                self._guard.run("close", self._instruments.close)
        finally:  # a second Ctrl-C may come at any moment
            self._guard.run("close", self._sender.close, ended, timeout)

    def _finish(self, error: BaseException | None, timeout: float, note: str) -> None:
        if note:
            self.mark(note)
        self._close(error, timeout)

    def _leave(self) -> None:
        self._on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(error)

    def __reduce__(self) -> tuple[Callable[[], Probe], tuple[()]]:
        return _silent, ()

    @property
    def share(self) -> float:
        """Share of the wall time since the start that the probe has cost; 0 when it is off."""
        return self._budget.share if self._on else 0.0

    def _put(self, values: Mapping[str, Any], step: int) -> None:
        if numbers := self._intake.numbers(values):
            self._sender.put(step, self._attempt, numbers)

    def _begin_attempt(self) -> None:
        self._attempt += 1
        if self._attempt > ATTEMPTS:
            self._guard.notes["step"] = (
                f"step= went back {self._attempt - 1} times; each time is a new attempt"
            )

    # ---- from the sensors (training thread) and from the sender (its own thread)

    def _found(self, found: Mapping[str, Any] | AnyFrame) -> None:
        if isinstance(found, Mapping):
            self._put(found, self._step)
        else:
            self._sender.put(found.step, self._attempt, found)

    def _tell(self, alert: Alert) -> None:
        self._sender.put(self._step, self._attempt, structs.replace(alert, onset_step=self._step))

    def _heard(self, alert: Alert) -> None:
        if self._instruments is not None:
            self._instruments.request(alert.kind)
        self._listeners.hear(alert)

    def _wish(self, why: str) -> None:
        """A detector is undecided: denser curvature would tell."""
        if self._instruments is not None:
            self._instruments.request(why)

    def _pulse(self) -> Pulse:
        from .heartbeat import Pulse

        words = self._stride.look(self._sender.cpu_secs + self._budget.overhead, time.monotonic())
        if words:
            self._guard.notes["steps"] = words
        else:
            self._guard.notes.pop("steps", None)
        return Pulse(self._budget.share, self._outlets.words, dict(self._guard.notes))

    def _fault(self, part: str, error: Exception) -> None:
        self._faults += 1
        self._guard.fault(part, error)
        if self._faults >= FAULTS:
            self._close("the probe switched itself off after too many faults", EXIT_SECS)


def _silent() -> Probe:
    """What a copy of a probe is."""
    probe = Probe.__new__(Probe)
    probe._on = False
    return probe
