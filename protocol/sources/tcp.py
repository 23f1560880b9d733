"""A run at a TCP address, whose key is known and which knows ours."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import zmq
from zmq.utils.monitor import parse_monitor_message

from ..errors import Unreachable, UsageError
from ..frames import AnyFrame, RunEnded
from ..wire import keys
from ..wire.address import Address
from ..wire.client import Client
from ..wire.tcp import dress
from .source import Link

STALE_SECS = 3.0
"""Three heartbeats missed."""
ANSWER_SECS = 15.0
"""For the first sign of the run: what has no answer by then is switched off, or behind a wall."""
_FAILED = (
    zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Tcp:
    """Watches whatever run listens at ``at``, with this user's own keys; comes back after a broken connection.

    Raises UsageError without a key of the run, or without keys of our own. ``read`` raises Unreachable, with the remedy,
    when we are not let in, or when nothing answers at the start.
    """

    def __init__(self, at: Address, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.place = f"{at.host}:{at.port}"
        pair = keys.own()
        if not at.key:
            raise UsageError(
                f"The key of the run is missing; `lsmon keys` where it trains shows it: tcp://KEY@{self.place}"
            )
        if pair is None:
            raise UsageError(
                "You have no keys yet; `lsmon keys make`, and `lsmon keys allow` there what it shows."
            )
        self._own = pair
        self._server = at.key
        self._clock = clock
        self._opened = clock()
        self._monitors: list[zmq.Socket[bytes]] = []
        self._first: tuple[int, str, int] | None = None
        self._ended: RunEnded | None = None
        self._hopeless = ""
        self._client = Client(at.live, at.ask, clock=clock, connect=self._connect)

    @property
    def link(self) -> Link:
        lost = self._client.order.lost
        if self._ended is not None:
            return Link("ended", self._ended.error, lost)
        if self._hopeless:
            return Link("dead", self._hopeless, lost)
        if self._client.heard is None:
            return Link("connecting", f"connecting to {self.place}", lost, behind=True)
        if self._client.speaker != self._first:
            return Link(
                "dead", f"The run is gone, and another one listens now; open it anew: {self.place}", lost
            )
        silent = self._clock() - self._client.heard
        if silent > STALE_SECS:
            return Link("stale", f"Nothing from {self.place} for {silent:.0f} s.", lost, self._client.behind)
        return Link("live", "", lost, self._client.behind)

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        """What has come since the last call. Raises Unreachable, or NewerFormat when lsmon there is a later one."""
        if self._hopeless:
            raise Unreachable(self._hopeless)
        until = self._clock() + max_secs
        frames: list[AnyFrame] = []
        for frame in self._client.frames():
            frames.append(frame)
            self._first = self._first or self._client.speaker
            if isinstance(frame, RunEnded):
                self._ended = frame
            if len(frames) >= max_items or self._clock() >= until:
                break
        if not frames and self._ended is None:
            self._look()
        return frames

    def close(self) -> None:
        for monitor in self._monitors:
            monitor.close(0)
        self._monitors.clear()
        self._client.close()

    def _connect(self, socket: zmq.Socket[bytes], endpoint: str) -> None:
        socket.setsockopt(zmq.CURVE_SERVERKEY, self._server)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._own.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._own.secret)
        socket.setsockopt(zmq.IPV6, 1)
        dress(socket)
        self._monitors.append(socket.get_monitor_socket(_FAILED))
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            raise Unreachable(f"Cannot connect ({str(error).lower()}) to {self.place}") from None

    def _look(self) -> None:
        """See whether we are turned away, or wait in vain."""
        for monitor in self._monitors:
            with suppress(zmq.Again):
                event = parse_monitor_message(monitor.recv_multipart(zmq.NOBLOCK))["event"]
                if self._client.heard is not None and event != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                    continue  # the keys were right, so this one broke in the middle, and is tried again
                self._hopeless = self._refusal(event)
                raise Unreachable(self._hopeless)
        waited = self._clock() - self._opened
        if self._client.heard is None and waited > ANSWER_SECS:
            self._hopeless = f"No answer within {waited:.0f} s; is the port open to us, and does a run listen at {self.place}?"
            raise Unreachable(self._hopeless)

    def _refusal(self, event: int) -> str:
        if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
            return (
                f"This user's key is not allowed there; let `lsmon keys allow {keys.shown(self._own.public)}` be called "
                f"at {self.place}"
            )
        if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL:
            return f"What listens there is no lsmon: {self.place}"
        return f"Who listens there has another key than the address says; `lsmon keys` there shows it: {self.place}"
