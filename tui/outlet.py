"""Where the screen is drawn to, and what becomes of it when that terminal goes away.

Textual writes from a thread, by way of a queue of 30: once an error ends that thread, the app waits for room in the
queue for ever, and no signal, key or ``exit`` is heard again.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import IO

STANDARD = (0, 1, 2)


class Outlet:
    """A text file whose writing never fails."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self.gone = False
        """Whether the terminal is, as of the last call of anything here."""

    def write(self, text: str) -> None:
        self._try(lambda: self._file.write(text))

    def flush(self) -> None:
        self._try(self._file.flush)

    def fileno(self) -> int:
        return self._file.fileno()

    def look(self) -> bool:
        """``gone``, found out without writing: an idle screen writes nothing."""
        if not self.gone and hung_up(self.fileno()):
            self._let_go()
        return self.gone

    def _try(self, write: Callable[[], object]) -> None:
        try:
            write()
        except BlockingIOError:  # a program on the same terminal took waiting away; part of one frame is lost
            os.set_blocking(self.fileno(), True)
        except OSError:
            self._let_go()

    def _let_go(self) -> None:
        """From here on what this process says falls into nothing, instead of into errors."""
        self.gone = True
        nothing = os.open(os.devnull, os.O_RDWR)
        for fd in STANDARD:
            if hung_up(fd):
                os.dup2(nothing, fd)
        os.close(nothing)


def hung_up(fd: int) -> bool:
    """Whether the other end of a terminal has been closed."""
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
