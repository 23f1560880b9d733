"""The probe's end of the sockets: publishes frames, answers for history, trusts no peer and waits for none."""

from __future__ import annotations

import errno
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from ..clean import clean_line
from ..errors import LsmonError
from ..frames import AnyFrame, RunStarted
from .desk import LINGER_MS, Desk
from .history import History
from .listener import Listener
from .request import topic

if TYPE_CHECKING:
    from .gate import Gate
    from .tcp import Listening, TcpDesk

LOOK_SECS = 1.0
"""Between looks at whether the socket files are still there."""
RESERVED = 4
"""One in so many of the descriptors that the process may have is left to the training: beyond that everybody is cut off
and waits outside, from where those who want to come back."""


class Server:
    """Listens at ``<folder>/<run>.live`` and ``.ask``; every call belongs on one thread and returns at once.

    Raises LsmonError when it cannot listen there.
    """

    def __init__(
        self, folder: Path, header: RunStarted, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.live = folder / f"{header.run}.live"
        self.ask = folder / f"{header.run}.ask"
        self.trouble = ""
        """Why nobody can join at the moment, in words."""
        self._clock = clock
        self._look_at = clock() + LOOK_SECS
        self._forks = _forks
        self._history = History(header)
        self._context = zmq.Context(io_threads=1)
        self._listeners: list[Listener] = []
        self._desk = Desk(self._context)
        self._gate: Gate | None = None
        self._tcp: TcpDesk | None = None
        try:
            self._listeners.append(Listener(self.live, self._desk.publisher))
            self._listeners.append(Listener(self.ask, self._desk.router))
        except BaseException:
            self._end()
            raise

    def publish(self, frame: AnyFrame, data: bytes) -> None:
        """Send a frame, given with its encoding, to whoever listens, and remember it."""
        if not self._usable:
            return
        self._history.add(frame, data)
        message = topic(frame) + data
        self._desk.publish(message)
        if self._tcp is not None:
            self._tcp.publish(message)

    def listen(self, at: Listening) -> None:
        """Let viewers in over TCP too, those whose keys are allowed. Raises LsmonError; a later call may succeed."""
        if self._tcp is None and self._usable:
            from .gate import Gate  # rarely wanted
            from .tcp import TcpDesk

            self._gate = self._gate or Gate(self._context)
            self._tcp = TcpDesk(self._context, at)

    def poll(self) -> None:
        """Let viewers in, answer them, and listen again if a socket's file is gone. Due every 100 ms while
        anybody is there, since libzmq takes subscriptions in only when it is called; ``quiet`` says when it may be less."""
        if not self._usable:
            return
        self._desk.poll(self._history)
        if self._gate is not None:
            self._gate.poll()
        if self._tcp is not None:
            self._tcp.poll(self._history)
        if self._desk.flooded() or _crowded():
            for listener in self._listeners:
                listener.pause()
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECS
            self._look_after_files()

    def close(self) -> None:
        """Say what is still to be said, for 0.2 s at most, and take the sockets away."""
        if not self._usable:
            return
        self.poll()
        self._end()

    @property
    def quiet(self) -> bool:
        """Nobody listens or asks."""
        return self._desk.quiet and (self._tcp is None or self._tcp.quiet)

    @property
    def _usable(self) -> bool:
        """Not closed, and not a copy in a forked child: libzmq's thread is not there, and a call could hang."""
        return self._forks == _forks and not self._context.closed

    @property
    def ignored(self) -> int:
        """Subscriptions and requests that made no sense."""
        return self._desk.ignored + (self._tcp.ignored if self._tcp is not None else 0)

    def _look_after_files(self) -> None:
        trouble = ""
        if _crowded():
            self.trouble = (
                "Nobody is let in: the files that the process may open are nearly used up (ulimit -n)"
            )
            return
        for listener in self._listeners:
            if listener.lost:
                try:
                    listener.renew()
                except LsmonError as error:
                    trouble = clean_line(str(error))
        self.trouble = trouble

    def _end(self) -> None:
        for listener in self._listeners:
            listener.close()
        if self._tcp is not None:
            self._tcp.close()
        self._context.destroy(linger=LINGER_MS)


_forks = 0
"""Of which this process is the child; to ask for its number is a system call for every frame."""


def _forked() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_child=_forked)


def _crowded() -> bool:
    """Whether the training is about to run out of descriptors. The lowest free number tells at least how many there are."""
    try:
        lowest = os.dup(2)
    except OSError as error:
        return error.errno != errno.EBADF  # without a stderr nothing can be said
    os.close(lowest)
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most != resource.RLIM_INFINITY and lowest > most - most // RESERVED
