"""What a training loop says, which may be anything: its steps, its numbers, its settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import INTS

from .guard import Guard
from .readings import Reading, number
from .signals import heed

ODD_NAMES = 20
"""Values that are no numbers and are told by name; the rest together, since a loop may give each of them a new name."""


class Intake:
    """What is not as it should be is told once, and left out."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._odd: set[str] = set()

    def placed(self, step: Any, counted: int) -> int:
        """The step that the loop says; the one ``counted`` where it says none, or one that no frame can carry: numbers
        at it could not be read again."""
        try:
            now = counted if step is None else int(step)
            if isinstance(step, float) and step != now:
                self._guard.notes.setdefault(
                    "step", "a fraction of step= is cut off: frames have whole steps"
                )
            if now not in INTS:
                raise UsageError("A step beyond 64 bits cannot be recorded; the probe's own count is used.")
        except Exception as error:  # noqa: BLE001  somebody's int() may raise anything
            heed(error)
            self._guard.fault("step=", error)
            return min(counted, INTS[-1])
        return now

    def numbers(self, values: Mapping[str, Any]) -> dict[str, float | Reading]:
        """Those of the values that are numbers, some of them still on a device."""
        found: dict[str, float | Reading] = {}
        for name, value in values.items():
            try:
                found[name] = number(value)
            except Exception as error:  # noqa: BLE001  somebody's float() may raise anything
                heed(error)
                if len(self._odd) < ODD_NAMES:
                    self._odd.add(name)
                self._guard.fault(f"value {name}" if name in self._odd else "more values", error)
        return found


def written(config: Mapping[str, Any]) -> str:
    """What is set, for the record. Of a setting that cannot say what it is only the name."""
    return "config: " + ", ".join(f"{key}={_said(value)}" for key, value in config.items())


def _said(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  somebody's str() may raise anything: a value that is still missing does
        heed(error)
        return "?"
