"""How a run ends, also when nobody closes it: at interpreter exit, in a forked child, dropped, or its cell run again."""

from __future__ import annotations

import atexit
import os
import sys
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from lsmon.protocol.clean import clean_message
from lsmon.protocol.frames import RunEnded

if TYPE_CHECKING:
    from .sender import Sender

CLOSE_SECS = 2.0
"""How long ``close`` waits for the last frames to be written: a slow disk, not a hung one."""

EXIT_SECS = 0.5
"""The same at interpreter exit, where nobody asked to wait."""

_T = TypeVar("_T")


@dataclass(eq=False)
class Run:
    """What has to be told of an end; held by the probe alone."""

    name: str
    leave: Callable[[], None]
    """It is another process's: say and do nothing more."""
    finish: Callable[[BaseException | None, float, str], None]
    """It is over, because of an error or a note; wait at most so many seconds."""


def begin(run: Run, sender: Sender) -> None:
    _runs.add(run)
    _senders.add(sender)


def over(run: Run) -> None:
    _runs.discard(run)


def ending(error: BaseException | str | None) -> RunEnded:
    """Why it ended, in words; none for a training that finished, if by ``sys.exit()``."""
    if isinstance(error, SystemExit) and not error.code:
        words = ""
    elif isinstance(error, BaseException):
        words = f"{type(error).__name__}: {error}".removesuffix(": ")
    else:
        words = error or ""
    return RunEnded(reason="error" if words else "finished", error=clean_message(words))


def by_hand() -> bool:
    """Whether a person types here, line by line or cell by cell."""
    return hasattr(sys, "ps1")


def replace(name: str) -> None:
    """A cell was run again: the run that it began before is over, though the session goes on."""
    for run in list(_runs):
        if run.name == name:
            run.finish(None, CLOSE_SECS, "replaced by a new probe")
            sys.stderr.write(f"lsmon: the probe {name!r} of before is closed; two at once need two names\n")


def while_alive(method: Callable[..., _T], otherwise: _T) -> Callable[..., _T]:
    """For other threads: they must not keep a probe that was dropped, and with it the model and its memory."""
    reference = weakref.WeakMethod(method)

    def call(*args: Any) -> _T:
        alive = reference()
        return otherwise if alive is None else alive(*args)

    return call


_runs: weakref.WeakSet[Run] = weakref.WeakSet()
_senders: weakref.WeakSet[Sender] = weakref.WeakSet()


def _leave_to_parent() -> None:
    """In a forked child (a DataLoader's worker) the sockets and the file are the parent's: be a no-op."""
    for run in list(_runs):
        run.leave()
    _runs.clear()
    _senders.clear()


def _close_all() -> None:
    """At exit. An exception that nobody caught is in ``sys.last_value`` by now; so is, in a notebook, any of before."""
    error = None if by_hand() else getattr(sys, "last_value", None)
    for run in list(_runs):
        run.finish(error, EXIT_SECS, "")
    until = time.monotonic() + EXIT_SECS
    for sender in list(_senders):  # also those whose probe was dropped, or whose close was interrupted
        sender.wait(max(until - time.monotonic(), 0.0))


atexit.register(_close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)
