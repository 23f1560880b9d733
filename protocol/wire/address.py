"""TCP addresses: ``tcp://HOST:PORT`` to listen at, and with the key of who listens there to connect to."""

from __future__ import annotations

import re
from typing import NamedTuple

from ..clean import clean_line
from ..errors import UsageError
from . import keys

_ADDRESS = re.compile(
    r"tcp://(?:(?P<key>[^@/]*)@)?(?P<host>\*|[A-Za-z0-9._-]{1,255}|\[[0-9a-fA-F:.]{2,45}(?:%[\w.-]{1,16})?\]):(?P<port>[0-9]{1,5})/?"
)


class Address(NamedTuple):
    """Frames are published at ``port``, and requests for history are answered at the next one."""

    host: str
    """Without brackets; ``*`` is every interface."""
    port: int
    key: bytes = b""
    """Public key of who listens there; empty where that is us."""

    @property
    def live(self) -> str:
        return f"tcp://{self._host}:{self.port}"

    @property
    def ask(self) -> str:
        return f"tcp://{self._host}:{self.port + 1}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host


def address(words: str) -> Address:
    """Raises UsageError."""
    found = _ADDRESS.fullmatch(words)
    if found is None or not 0 < int(found["port"]) < 65535:
        raise UsageError(
            f"A TCP address is tcp://HOST:PORT with a port of 1 to 65534, unlike {clean_line(words, 160)!r}."
        )
    key = keys.read(found["key"]) if found["key"] is not None else b""
    return Address(found["host"].strip("[]"), int(found["port"]), key)
