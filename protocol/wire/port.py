"""A TCP port that listens under our own rules: a forked child lets go of it, so that a dead run takes no connections."""

from __future__ import annotations

import os
import socket

import zmq

from ..errors import LsmonError
from .listener import BACKLOG, forsake_in_children


class Port:
    """Binds for a zmq socket that has its keys. Raises LsmonError when it cannot."""

    def __init__(self, host: str, port: int, to: zmq.Socket[bytes]) -> None:
        everywhere = host == "*"
        try:
            family, kind, protocol, _, place = socket.getaddrinfo(
                None if everywhere else host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE,
                family=socket.AF_INET if everywhere else socket.AF_UNSPEC,
            )[0]  # fmt: skip
            with socket.socket(family, kind, protocol) as ours:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # over connections of a run before
                ours.bind(place)
                ours.listen(BACKLOG)
                ours.setblocking(False)
                self._fd = os.dup(ours.fileno())
        except OSError as error:
            raise LsmonError(
                f"Cannot listen at TCP port {port} ({(error.strerror or str(error)).lower()}); "
                f"give listen= another, or another interface than {host}"
            ) from None
        to.setsockopt(zmq.IPV6, family == socket.AF_INET6)
        to.setsockopt(zmq.USE_FD, self._fd)
        numeric = f"[{place[0]}]" if family == socket.AF_INET6 else place[0]
        try:
            to.bind(f"tcp://{numeric}:{port}")
        except zmq.ZMQError as error:
            os.close(self._fd)
            raise LsmonError(f"Cannot listen at TCP port {port} ({str(error).lower()}) of {host}") from None
        forsake_in_children(self)

    def close(self) -> None:
        """Closing the zmq socket, next, ends the listening."""
        self._fd = -1

    def forsake(self) -> None:
        """In a forked child: let go of the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
