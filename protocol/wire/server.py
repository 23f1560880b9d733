"""The probe's end of the sockets: publishes frames, answers for history, trusts no peer and waits for none."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq

from ..clean import clean_line
from ..errors import LsmonError
from ..frames import AnyFrame, RunStarted
from .history import History
from .listener import Listener
from .request import LIVE_BYTES, TOPICS, Head, Request, topic

SEND_FRAMES = 1000
"""Frames queued for a viewer that does not read; it loses the next and fills the gap from history."""
TOPIC_BYTES = 256
"""Longest message a subscriber may send. Unbounded, 40 MB of subscriptions took 2 GB and blocked for 13 s."""
REQUEST_BYTES = 4096
REPLIES_A_POLL = 2
"""Of half a MiB each: at 50 polls a second a viewer catches up within 0.2 s, and a flood costs 1 % of a core."""
QUEUED_REPLIES = 2
EVENTS_A_POLL = 1000
HANDSHAKE_MS = 2000
"""A peer that only connects holds one of the training's descriptors for no longer than this."""
LINGER_MS = 200
"""What is still queued at the end, the last frame among it, gets this long; a viewer that reads needs 1 ms."""
LOOK_SECS = 1.0
"""Between looks at whether the socket files are still there."""

_read_request = msgspec.json.Decoder(Request)


class Server:
    """Listens at ``<folder>/<run>.live`` and ``.ask``; every call belongs on one thread and returns at once.

    Raises LsmonError when it cannot listen there.
    """

    def __init__(
        self, folder: Path, header: RunStarted, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.live = folder / f"{header.run}.live"
        self.ask = folder / f"{header.run}.ask"
        self.ignored = 0
        """Subscriptions and requests that made no sense."""
        self.trouble = ""
        """Why nobody can join at the moment, in words."""
        self._clock = clock
        self._look_at = clock() + LOOK_SECS
        self._pid = os.getpid()
        self._history = History(header)
        self._context = zmq.Context(io_threads=1)
        self._listeners: list[Listener] = []
        try:
            self._publisher = self._socket(zmq.XPUB, SEND_FRAMES, TOPIC_BYTES)
            self._router = self._socket(zmq.ROUTER, QUEUED_REPLIES, REQUEST_BYTES)
            self._listeners.append(Listener(self.live, self._publisher))
            self._listeners.append(Listener(self.ask, self._router))
        except BaseException:
            self._end()
            raise

    def publish(self, frame: AnyFrame, data: bytes) -> None:
        """Send a frame, given with its encoding, to whoever listens, and remember it."""
        if not self._usable:
            return
        self._history.add(frame, data)
        if len(data) < LIVE_BYTES:
            self._publisher.send(topic(frame) + data, zmq.NOBLOCK)

    def poll(self) -> None:
        """Let viewers in, answer them, and listen again if a socket's file is gone. Due every 50 ms at least:
        libzmq takes subscriptions in only when it is called."""
        if not self._usable:
            return
        self._take_subscriptions()
        self._answer(REPLIES_A_POLL)
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
    def _usable(self) -> bool:
        """Not closed, and not a copy in a forked child: libzmq's thread is not there, and a call could hang."""
        return os.getpid() == self._pid and not self._context.closed

    def _socket(self, kind: int, queued: int, longest: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, LINGER_MS)  # before bind: connections take it from the listener
        socket.setsockopt(zmq.SNDHWM, queued)
        socket.setsockopt(zmq.RCVHWM, 16)
        socket.setsockopt(zmq.MAXMSGSIZE, longest)
        socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
        return socket

    def _take_subscriptions(self) -> None:
        """Unread they would pile up: 300 MB in one measurement."""
        for _ in range(EVENTS_A_POLL):
            try:
                message = self._publisher.recv(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            if message[1:] not in TOPICS or message[:1] not in b"\0\1":
                self.ignored += 1

    def _answer(self, replies: int) -> None:
        for _ in range(replies):
            try:
                peer, *body = self._router.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            try:
                (asked,) = body
                after = max(0, _read_request.decode(asked).after)
            except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
                self.ignored += 1
                continue
            page = self._history.page(after)
            head = Head(after=after, upto=page.upto, more=page.more, lost=page.lost)
            try:
                self._router.send_multipart(
                    [peer, msgspec.json.encode(head), b"\n".join(page.lines)], zmq.NOBLOCK
                )
            except zmq.ZMQError:
                self.ignored += 1  # gone, or it does not read its answers

    def _look_after_files(self) -> None:
        trouble = ""
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
        self._context.destroy(linger=LINGER_MS)
