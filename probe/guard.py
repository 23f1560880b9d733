"""The probe never hurts training: its own faults end here, are said once, and switch off what failed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import Alert

from .signals import heed


class Guard:
    """Takes the exceptions of the probe. ``KeyboardInterrupt`` and ``SystemExit`` are not ours and pass."""

    def __init__(self, strict: bool = False) -> None:
        self.notes: dict[str, str] = {}
        """Part → why it is off or what it waits for; travels in every Heartbeat."""
        self._tell: Callable[[Alert], None] | None = None
        self._untold: list[Alert] = []
        self._strict = strict
        self._home = threading.get_ident()
        self._from_elsewhere: Exception | None = None

    def fault(self, part: str, error: Exception) -> None:
        """Note that ``part`` failed and is off from now on. Raises ``error`` instead when strict."""
        what = str(error) if isinstance(error, LsmonError) else f"{type(error).__name__}: {error}"
        words = clean_line(what, 300)
        news = not self.notes.get(part, "").startswith("off: ")
        self.notes[part] = f"off: {words}"
        if self._strict:
            if threading.get_ident() == self._home:
                raise error
            self._from_elsewhere = self._from_elsewhere or error
        if not news:
            return
        if not self._strict:
            self._say(f"lsmon: {part} is off, training goes on: {words}\n")
        self._alert(
            f"The probe's {part} failed and is off: {words}",
            "Training is not affected. LSMON_STRICT=1 shows where it failed.",
        )

    def waits(self, part: str, words: str) -> None:
        """Note that ``part`` cannot do its work for a reason outside of us and will try again; without words, that it can."""
        if words == self.notes.get(part, ""):
            return
        if not words:
            del self.notes[part]
            return
        self.notes[part] = words
        self._say(f"lsmon: {part} {words.rstrip('.')}; training goes on\n")
        self._alert(
            f"The {part} {words.rstrip('.')}.", "Training is not affected. It is tried again every 10 s."
        )

    def _alert(self, message: str, advice: str) -> None:
        alert = Alert(kind="probe_fault", severity="warning", message=message, advice=advice, confidence=1.0)
        if self._tell is not None:
            self._tell(alert)
        else:
            self._untold.append(alert)

    def tell_to(self, tell: Callable[[Alert], None]) -> None:
        """From now on, and for what happened before there was a sender, alerts go there."""
        self._tell = tell
        while self._untold:
            tell(self._untold.pop(0))

    def run(self, part: str, act: Callable[..., object], *args: Any) -> bool:
        """Call ``act``; False, and a fault of ``part``, when it raises."""
        try:
            act(*args)
        except Exception as error:  # noqa: BLE001  whatever it is, training must not feel it
            heed(error)
            self.fault(part, error)
            return False
        return True

    def surface(self) -> None:
        """When strict, raise on the training thread what another thread ran into."""
        if self._from_elsewhere is not None:
            error, self._from_elsewhere = self._from_elsewhere, None
            raise error

    @staticmethod
    def _say(line: str) -> None:
        try:
            sys.stderr.write(line)
        except (OSError, ValueError, AttributeError):  # stderr closed, or none at all (pythonw)
            pass
