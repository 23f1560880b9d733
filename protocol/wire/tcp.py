"""The way in over TCP, which is closed unless a training asks for it: only with CURVE, only for keys that are allowed."""

from __future__ import annotations

from typing import NamedTuple

import zmq

from ..errors import LsmonError, UsageError
from . import keys
from .address import Address, address
from .desk import Desk
from .gate import DOMAIN
from .port import Port

BEAT_MS, SILENT_MS = 5000, 15000
"""Of ZMTP itself: a connection that the network has forgotten is closed, on both sides, and made again."""

CURVE_BYTES = 1 << 10
"""CURVE's own, at most: its INITIATE is longer than a subscription may be, and each message has 33 bytes more."""


class Listening(NamedTuple):
    """Where to listen, and with which keys."""

    address: Address
    pair: keys.Pair


def listening(words: str) -> Listening:
    """What ``listen=`` means. Raises UsageError when it is no address, or when keys are missing or could be known."""
    where = address(words)
    try:
        pair, allowed = keys.own(), keys.allowed()
    except LsmonError as error:
        raise UsageError(str(error)) from None
    if pair is None:
        raise UsageError(
            "listen= opens a TCP port only with keys; make them with `lsmon keys make`, and `lsmon keys allow KEY` "
            "with the key that `lsmon keys` shows where you want to watch."
        )
    if not allowed:
        raise UsageError(
            "listen= opens a TCP port only for keys that are allowed, and none is; `lsmon keys allow KEY` with the key "
            "that `lsmon keys` shows where you want to watch."
        )
    return Listening(where, pair)


class TcpDesk(Desk):
    """Listens at two ports, behind a gate that is there already. Raises LsmonError when it cannot."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], at: Listening) -> None:
        super().__init__(context)
        self._ports: list[Port] = []
        try:
            for port, socket in enumerate((self.publisher, self.router), at.address.port):
                socket.setsockopt(zmq.CURVE_SERVER, 1)
                socket.setsockopt(zmq.CURVE_SECRETKEY, at.pair.secret)
                socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
                socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
                dress(socket)
                self._ports.append(Port(at.address.host, port, socket))
        except BaseException:
            self.close()
            self.publisher.close(0)
            self.router.close(0)
            raise

    def close(self) -> None:
        """Before the context goes."""
        for port in self._ports:
            port.close()


def dress(socket: zmq.Socket[bytes]) -> None:
    """What either end of a TCP connection needs besides its keys."""
    socket.setsockopt(zmq.MAXMSGSIZE, int(socket.getsockopt(zmq.MAXMSGSIZE)) + CURVE_BYTES)
    socket.setsockopt(zmq.HEARTBEAT_IVL, BEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
