"""The sensors of one run: which may measure at the next step, what each costs, and which are off."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from .device_time import DeviceTime, on_processor
from .guard import Guard
from .hook import Hook
from .schedule import UNLIMITED, Account, Budget, Pace
from .sensors.sensor import Context, Finding, Sensor
from .signals import heed
from .subject import unborn
from .unscaled import unscaled

Post = Callable[[Any], None]


class _Slot:
    """A sensor with its account."""

    def __init__(self, sensor: Sensor, account: Account) -> None:
        self.sensor = sensor
        self.account = account
        self.armed = False
        self.next_step: int | None = None
        self.turn = 0.0  # seconds of the measurement under way
        self.ran = 0.0  # and those of them that the process ran
        self.cost = 0.0  # seconds that the last one took
        self.owed = 0.0  # seconds since it last rested

    @property
    def price(self) -> float:
        """Seconds to be saved up for the next one."""
        return self.cost if self.sensor.price is None else self.sensor.price


class Instruments:
    """Runs every sensor under the guard and on its account; the training loop only calls ``step``."""

    def __init__(
        self, sensors: Sequence[Sensor], context: Context, budget: Budget, guard: Guard, post: Post
    ) -> None:
        self.context = context
        self._budget = budget
        self._guard = guard
        self._post = post
        self._handles: list[Any] = []
        self._slots: list[_Slot] = []
        self._pace = Pace()
        self._device = DeviceTime(context.model)
        self._on_processor = on_processor(context.model)
        self._heard: deque[str] = deque(maxlen=16)
        for sensor in sensors:
            missing = [need for need in sensor.needs if getattr(context, need) is None]
            if missing:
                context.notes[sensor.name] = f"needs {' and '.join(missing)} given to Probe"
            elif words := self._unfit(sensor):
                context.notes[sensor.name] = words
            else:
                self._slots.append(_Slot(sensor, budget.account(sensor.weight)))
        if any(_watches_updates(slot.sensor) for slot in self._slots):
            self._attach()
        born = context.model is None or not unborn(context.model)
        for slot in list(self._slots):
            slot.armed = born and slot.account.affords(0.0)
            self._expect(slot)

    def _unfit(self, sensor: Sensor) -> str:
        try:
            return sensor.unfit(self.context)
        except Exception as error:  # noqa: BLE001  a sensor may be anybody's code
            heed(error)
            self._guard.fault(sensor.name, error)
            return self.context.notes[sensor.name]

    def _attach(self) -> None:
        optimizer = self.context.optimizer
        try:
            self._handles = [
                optimizer.register_step_pre_hook(Hook(self._before_update)),
                optimizer.register_step_post_hook(Hook(self._after_update)),
            ]
        except AttributeError:
            for slot in filter(lambda slot: _watches_updates(slot.sensor), self._slots):
                self.context.notes[slot.sensor.name] = "needs an optimizer with step hooks (torch.optim)"
                self._drop(slot)

    def _before_update(self, _: Any, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        self.context.updates += 1
        self.context.closure = callable(given[1] if len(given) > 1 else named.get("closure"))
        self._at_update(lambda sensor: sensor.before_update)

    def _after_update(self, *_: Any) -> None:
        self._at_update(lambda sensor: sensor.after_update)

    def _at_update(self, work: Callable[[Sensor], Callable[[Context], None]]) -> None:
        armed = [slot for slot in self._slots if slot.armed and _watches_updates(slot.sensor)]
        if not armed:
            return
        try:
            with unscaled(self.context.optimizer):
                for slot in armed:
                    self._timed(slot, work(slot.sensor))
        except Exception as error:  # noqa: BLE001  the loop's own update must not feel it
            heed(error)
            for slot in armed:
                self._drop(slot)
            self._guard.fault("gradients", error)

    def step(self, step: int, attempt: int, batch: Any) -> None:
        """One training step is done: measure what is armed, then arm what may measure at the next."""
        began = time.perf_counter()
        measured = False
        self._pace.enter()
        self._device.poll()
        context = self.context
        context.step, context.attempt, context.batch = step, attempt, batch
        context.step_secs = self._pace.seconds
        while self._heard:
            self._pass_on(self._heard.popleft())
        now = self._budget.now()
        for slot in self._slots:
            if slot.armed:
                measured = True
                context.allowance, context.saved = slot.account.rate, slot.account.saved
                begun = self._device.begin()
                self._publish(self._timed(slot, slot.sensor.measure))
                slot.turn += slot.sensor.aside
                slot.sensor.aside = 0.0
                ran = slot.ran if self._on_processor else None
                self._device.end(begun, slot.turn, functools.partial(self._took, slot, ran))
                slot.turn = slot.ran = 0.0
                slot.next_step = step + slot.sensor.every
                slot.account.not_before = now + self._rest(slot)
            elif now < slot.account.not_before:
                continue
            slot.armed = slot.sensor.busy or (self._due(slot, step + 1) and slot.account.affords(slot.price))
            self._expect(slot)
        context.batch = None
        if not measured:
            self._budget.overhead += time.perf_counter() - began
        self._pace.leave()

    @staticmethod
    def _took(slot: _Slot, ran: float | None, seconds: float) -> None:
        slot.account.charge(seconds, ran)
        slot.owed += seconds
        slot.cost = seconds
        slot.sensor.took(seconds)

    def _rest(self, slot: _Slot) -> float:
        """Seconds until its next turn, at least: as many as keep its whole measurement below its ceiling."""
        rest = slot.sensor.seconds
        if not slot.sensor.busy and self._budget.allowed < UNLIMITED:
            rest, slot.owed = max(rest, slot.owed / slot.sensor.ceiling), 0.0
        return rest

    def _expect(self, slot: _Slot) -> None:
        if slot.armed and slot in self._slots and type(slot.sensor).expect is not Sensor.expect:
            self._timed(slot, slot.sensor.expect)

    def request(self, why: str) -> None:
        """Something happened (a kind of alert): sensors may want their turn sooner. From any thread."""
        self._heard.append(why)

    def _pass_on(self, why: str) -> None:
        for slot in self._slots:
            if slot.sensor.request(why):
                slot.next_step = None

    def _due(self, slot: _Slot, step: int) -> bool:
        if slot.next_step is None:
            return True
        went_back = step < slot.next_step - slot.sensor.every
        limited = slot.sensor.seconds > 0 or slot.sensor.ceiling < 1
        soon = limited and self._budget.now() < slot.account.not_before
        return (step >= slot.next_step or went_back) and not soon

    def _timed(self, slot: _Slot, work: Callable[[Context], Any]) -> Any:
        began, ran = time.perf_counter(), time.process_time()
        try:
            return work(self.context)
        except Exception as error:  # noqa: BLE001  a sensor may be anybody's code
            heed(error)
            self._drop(slot)
            self._guard.fault(slot.sensor.name, error)
            return None
        finally:
            slot.turn += time.perf_counter() - began
            slot.ran += time.process_time() - ran

    def _publish(self, found: Finding | Sequence[Finding]) -> None:
        if found is None:
            return
        if isinstance(found, (list, tuple)):
            for one in found:
                self._publish(one)
        else:
            self._post(found)

    def _drop(self, slot: _Slot) -> None:
        slot.armed = False
        self._slots = [other for other in self._slots if other is not slot]
        self._budget.close(slot.account)
        self._guard.run(slot.sensor.name, slot.sensor.close)

    def close(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []
        for slot in self._slots:
            self._drop(slot)


def _watches_updates(sensor: Sensor) -> bool:
    kind = type(sensor)
    return kind.before_update is not Sensor.before_update or kind.after_update is not Sensor.after_update
