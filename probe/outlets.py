"""Where a run's frames go: a recording, the sockets, and the card by which a viewer finds them.

Each is optional: a full disk or an unusable socket folder takes one of them away, and training and the other go on.
"""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from lsmon.protocol.cards import Card, remove_card, write_card
from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.frames import AnyFrame, RunStarted
from lsmon.protocol.places import recordings_dir, runtime_dir
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.writer import Recorder

from .guard import Guard
from .sender import Sink

if TYPE_CHECKING:
    from lsmon.protocol.wire.server import Server


def run_header(name: str | None, budget: float, rank: int) -> RunStarted:
    """Who trains: this process. What is trained is filled in by whoever knows the model."""
    me = this_process()
    script = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    return RunStarted(
        seq=1,
        wall=round(time.time(), 4),
        rank=rank,
        run=secrets.token_hex(4),
        name=clean_name(name or os.environ.get("LSMON_RUN_NAME") or script),
        host=clean_name(me.host or socket.gethostname()),
        user=_user(),
        pid=me.pid,
        boot=me.boot,
        pid_started=me.pid_started,
        command=tuple(clean_line(word) for word in sys.argv[:64]),
        lsmon=_version(),
        budget=budget,
    )


class Outlets:
    """The sinks that could be opened for a run, and the card that tells of them."""

    def __init__(self, header: RunStarted, *, record: bool, guard: Guard) -> None:
        self.header = header
        """As it went out: with the folder of the recording, when there is one."""
        self.sinks: list[Sink] = []
        self._recorder: Recorder | None = None
        self._run = header.run
        if record:
            guard.run("recording", self._open_recording)
        else:
            guard.notes["recording"] = "switched off by the training (record=False or LSMON_RECORD=0)"
        guard.run("live view", self._open_wire)

    @property
    def trouble(self) -> str:
        """Words about the recording when it is not simply recording."""
        return self._recorder.trouble if self._recorder is not None else ""

    def forget(self) -> None:
        """The run is over: it is not to be found any more."""
        remove_card(self._run)

    def _open_recording(self) -> None:
        folder = new_folder(recordings_dir(), self.header)
        header = structs.replace(self.header, recording=str(folder))
        self._recorder = Recorder(folder, header)
        self.header = header
        self.sinks.append(self._recorder)

    def _open_wire(self) -> None:
        from lsmon.protocol.wire.server import Server  # where zmq is broken, the recording goes on

        server = Server(runtime_dir(), self.header)
        try:
            write_card(_card(self.header, server))
        except BaseException:
            server.close()  # nobody could find it
            raise
        self.sinks.append(_Wire(server))


class _Wire:
    """The server as a sink."""

    def __init__(self, server: Server) -> None:
        self._server = server

    def write(self, frame: AnyFrame, data: bytes) -> None:
        self._server.publish(frame, data)

    def tick(self) -> None:
        self._server.poll()

    def close(self) -> None:
        self._server.close()


def _card(header: RunStarted, server: Server) -> Card:
    return Card(
        run=header.run,
        name=header.name,
        host=header.host,
        pid=header.pid,
        boot=header.boot,
        pid_started=header.pid_started,
        live=str(server.live),
        ask=str(server.ask),
        recording=header.recording,
        started=header.wall,
        lsmon=header.lsmon,
        python=sys.executable or "",
    )


def _user() -> str:
    try:
        return clean_name(getpass.getuser())
    except (OSError, KeyError, ImportError):  # a container may have a uid without a name
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _version() -> str:
    try:
        return metadata.version("lsmon")
    except metadata.PackageNotFoundError:
        return ""
