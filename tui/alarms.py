"""What is done when an alert comes and nobody looks: a command, a web request.

All of it happens here, in the watching process, on one thread of its own; the training knows nothing of it.
"""

from __future__ import annotations

import os
import queue
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import UsageError
from lsmon.protocol.frames import Alert

from .ringing import line_of

WAITING = 100
"""Alerts that wait for their turn; more than that, and whatever takes them is not taking them."""

COMMAND_SECS = 60.0
"""A command that takes longer hangs, and the next alert wants its turn."""

WEB_SECS = 10.0
"""The same for one web request."""

RETRIES = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Seconds between attempts at a web request: half a minute bridges a restart of the other end."""

END_SECS = 45.0
"""How long the end waits for what is still to be said: one request with all its attempts."""

_AGAIN = (408, 425, 429, 500, 502, 503, 504)
"""Answers after which the same request may succeed (RFC 9110)."""


class Alarm(Protocol):
    """One way to be told. ``tell`` may take its time, and raises OSError or ValueError when it cannot."""

    @property
    def name(self) -> str: ...

    def tell(self, facts: dict[str, Any], gone: threading.Event) -> None:
        """``gone`` is set when nobody waits any more."""
        ...


@dataclass(frozen=True)
class Command:
    """A command of the shell, with the facts in its environment (``LSMON_KIND``, …) and as JSON on its input."""

    line: str
    name: str = "--on-alert"

    def tell(self, facts: dict[str, Any], gone: threading.Event) -> None:
        known = ("run", "host", "kind", "step", "onset_step", "severity", "message", "advice")
        about = {f"LSMON_{name.upper()}": str(facts[name]).replace("\0", "") for name in known}
        try:
            done = subprocess.run(
                self.line, shell=True, env={**os.environ, **about}, input=msgspec.json.encode(facts), timeout=COMMAND_SECS,
                stdout=sys.__stderr__, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise OSError(f"the command was stopped after {COMMAND_SECS:.0f} s") from None
        if done.returncode:
            raise OSError(f"the command ended with exit code {done.returncode}")


class Webhook:
    """A POST of the facts as JSON, tried again while the other end is out of reach or too busy.

    Raises UsageError for what is not an address. The address may hold a secret, so only its host is ever printed.
    """

    name = "--webhook"

    def __init__(self, url: str, retries: Sequence[float] = RETRIES) -> None:
        self._url, self._host, self._retries = url, _host(url), tuple(retries)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def tell(self, facts: dict[str, Any], gone: threading.Event) -> None:
        for pause in (*self._retries, None):
            try:
                self._post(facts)
                return
            except urllib.error.HTTPError as error:
                error.close()
                if error.code not in _AGAIN or pause is None:
                    raise OSError(f"{self._host} answered {error.code}") from None
            except (OSError, ValueError, HTTPException) as error:  # a URLError is an OSError
                if pause is None:
                    raise OSError(f"{self._host} is out of reach ({_reason(error)})") from None
            if gone.wait(pause):
                raise OSError(f"{self._host} was out of reach to the end")

    def _post(self, facts: dict[str, Any]) -> None:
        request = urllib.request.Request(
            self._url,
            data=msgspec.json.encode(facts),
            headers={"Content-Type": "application/json", "User-Agent": "lsmon"},
            method="POST",
        )
        with self._opener.open(request, timeout=WEB_SECS) as answer, suppress(OSError, HTTPException):
            answer.read(
                1024
            )  # it is told by now: an answer that makes no sense is no reason to tell it again


def _host(url: str) -> str:
    """Of an address that can be asked for."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:
        usable, parts = False, urlsplit("")
    asked = parts.path + parts.query
    if not usable or not parts.hostname or not asked.isascii() or not url.isprintable() or " " in url:
        raise UsageError(
            "--webhook wants an address such as https://example.org/hook, with %20 in place of a blank."
        )
    return parts.hostname


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would arrive as a GET without its body, or at another's door."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


class Alarms:
    """Takes alerts and returns at once; tells them in order. ``say`` gets a sentence when an alarm fails."""

    def __init__(self, alarms: Sequence[Alarm], say: Callable[[str], None]) -> None:
        self._alarms = list(alarms)
        self._say = say
        self._waiting: queue.Queue[dict[str, Any] | None] = queue.Queue(WAITING)
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lsmon-alarms", daemon=True)
        if self._alarms:
            self._thread.start()

    def tell(self, alert: Alert, run: str, host: str) -> None:
        if not self._alarms:
            return
        try:
            self._waiting.put_nowait(facts_of(alert, run, host))
        except queue.Full:
            self._say(f"{WAITING} alerts wait to be told already; this one is left out: {alert.kind}.")

    def close(self, secs: float = END_SECS) -> None:
        """Waits for what is still to be said, but not longer than this."""
        if not self._thread.is_alive():
            return
        try:
            self._waiting.put(None, timeout=secs)
        except queue.Full:
            pass
        self._thread.join(secs)
        self._gone.set()
        self._thread.join(1.0)

    def _run(self) -> None:
        while (facts := self._waiting.get()) is not None:
            for alarm in self._alarms:
                try:
                    alarm.tell(facts, self._gone)
                except Exception as error:  # noqa: BLE001  whatever it is, the next alert is to be told
                    self._say(f"{alarm.name} did not tell of {facts['kind']}: {_reason(error)}.")


def facts_of(alert: Alert, run: str, host: str) -> dict[str, Any]:
    """What an alarm gets to know. ``text`` is one line, and the field that chat services show."""
    return {
        "text": line_of(alert, run),
        "run": run, "host": host, "kind": alert.kind, "step": alert.step, "onset_step": alert.onset_step,
        "severity": alert.severity, "message": alert.message, "evidence": alert.evidence, "advice": alert.advice,
        "confidence": alert.confidence, "wall": alert.wall, "seq": alert.seq, "follows": alert.follows,
    }  # fmt: skip


def _reason(error: Exception) -> str:
    inner = getattr(error, "reason", None)
    return clean_line(str(inner if inner is not None else error) or type(error).__name__, 200)
