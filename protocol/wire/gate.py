"""Who may come in over TCP: answers libzmq's question about each key (ZAP, rfc.zeromq.org/spec/27) from the list of
keys that are allowed, which is read anew when it changes. Without an answer libzmq lets nobody in.
"""

from __future__ import annotations

import zmq
from zmq.utils import z85

from ..errors import LsmonError
from . import keys
from .desk import OWNER

DOMAIN = b"lsmon"
ENDPOINT = "inproc://zeromq.zap.01"
ANSWERS_A_POLL = 64
"""Of the ten polls a second: enough for viewers, and a flood of strangers costs the training nothing more."""


class Gate:
    """One a context; made before any socket asks."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.refused = 0
        """Connections of keys that are not on the list."""
        self._allowed: frozenset[bytes] = frozenset()
        self._read_at = 0
        self._socket: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)

    def poll(self) -> None:
        """Answer whoever waits."""
        for _ in range(ANSWERS_A_POLL):
            try:
                version, number, domain, _, _, mechanism, *credentials = self._socket.recv_multipart(
                    zmq.NOBLOCK
                )
            except (zmq.ZMQError, ValueError):
                return
            known = (version, domain, mechanism, len(credentials)) == (b"1.0", DOMAIN, b"CURVE", 1)
            local = (domain, mechanism) == (OWNER, b"NULL")  # by a unix socket: whoever could open it
            welcome = local or (known and z85.encode(credentials[0]) in self._keys())
            self.refused += not welcome
            status = (b"200", b"OK") if welcome else (b"400", b"This key is not allowed")
            self._socket.send_multipart([b"1.0", number, *status, b"", b""])

    def _keys(self) -> frozenset[bytes]:
        """Nobody when the list cannot be trusted any more."""
        try:
            changed = keys.allowed_file().stat().st_ctime_ns  # of the mode, too
            if changed != self._read_at:
                self._allowed, self._read_at = frozenset(keys.allowed()), changed
        except (OSError, LsmonError):
            self._allowed, self._read_at = frozenset(), 0
        return self._allowed
