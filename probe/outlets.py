"""Where a run's frames go: a recording, the sockets, and the card by which a viewer finds them.

Each is optional: a full disk or an unusable socket folder takes one of them away, and training and the other go on.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec import structs

from lsmon.protocol.cards import Card, has_card, remove_card, write_card
from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import AnyFrame, Heartbeat, RunStarted
from lsmon.protocol.places import recordings_dir, runtime_dir
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.writer import Recorder

from .guard import Guard
from .sender import Sink

if TYPE_CHECKING:
    from lsmon.protocol.wire.server import Server
    from lsmon.protocol.wire.tcp import Listening


LOOK_SECS = 10.0
"""Between looks at whether the run can still be found and joined. Somebody clears a folder or a disk in minutes."""


class Outlets:
    """The sinks of a run, and the card that tells of them."""

    def __init__(
        self, header: RunStarted, *, record: bool, guard: Guard, door: Listening | None = None
    ) -> None:
        self._door = door
        self.header = header
        """As it goes out: with the folder of the recording, when there is one."""
        self.sinks: list[Sink] = []
        self._file: _File | None = None
        if record:
            self.header = structs.replace(header, recording=str(new_folder(recordings_dir(), header)))
            guard.run("recording", self._open_recording, guard)
        else:
            guard.notes["recording"] = "switched off by the training (record=False or LSMON_RECORD=0)"
        guard.run("live view", self._open_wire, guard)

    @property
    def words(self) -> str:
        """About the recording when it is not, or was not always, simply recording."""
        return self._file.words if self._file is not None else ""

    def forget(self) -> None:
        """The run is over: it is not to be found any more."""
        remove_card(self.header.run)

    def _open_recording(self, guard: Guard) -> None:
        self._file = _File(self.header, guard)
        self.sinks.append(self._file)

    def _open_wire(self, guard: Guard) -> None:
        self.sinks.append(_Wire(self.header, guard, self._door))


class _File:
    """The recorder as a sink: what keeps it from recording is said when it begins."""

    quiet = Recorder.quiet

    def __init__(self, header: RunStarted, guard: Guard) -> None:
        self._recorder = Recorder(Path(header.recording), header)
        self._guard = guard
        self.tick()

    @property
    def words(self) -> str:
        return self._recorder.words

    def write(self, frame: AnyFrame, data: bytes) -> None:
        self._recorder.write(frame, data)

    def tick(self) -> None:
        self._recorder.tick()
        self._guard.waits("recording", self._recorder.trouble)

    def close(self) -> None:
        self._recorder.close()
        self._guard.waits("recording", self._recorder.trouble)


class _Wire:
    """The server as a sink. Without a card nobody could find it, so it listens only while there is one."""

    def __init__(self, header: RunStarted, guard: Guard, door: Listening | None) -> None:
        from lsmon.protocol.wire.server import Server  # where zmq is broken, the recording goes on

        self._make = Server
        self._header = header
        self._guard = guard
        self._door = door
        self._server: Server | None = None
        self._look_at = 0.0
        self._idle_since = 0.0
        self._card_is_old = False
        self.tick()

    @property
    def quiet(self) -> bool:
        return self._server is None or self._server.quiet

    def write(self, frame: AnyFrame, data: bytes) -> None:
        if isinstance(frame, Heartbeat) and bool(frame.idle) != bool(self._idle_since):
            self._idle_since = frame.wall - frame.idle if frame.idle else 0.0
            self._card_is_old = True
            self._look_at = 0.0
        if self._server is not None:
            self._server.publish(frame, data)

    def tick(self) -> None:
        if self._server is not None:
            self._server.poll()
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_SECS
            self._guard.waits("live view", self._look())

    def close(self) -> None:
        if self._server is not None:
            self._server.close()

    def _look(self) -> str:
        """See that the run can be found and listens; why not, in words."""
        try:
            server = self._server or self._make(runtime_dir(), self._header)
            try:
                if self._card_is_old or server is not self._server or not has_card(self._header.run):
                    write_card(_card(self._header, server, self._idle_since))
                    self._card_is_old = False
            except BaseException:
                if server is not self._server:
                    server.close()
                raise
        except LsmonError as error:
            return f"waits: {clean_line(str(error), 300)}"
        self._server = server
        try:
            if self._door is not None:
                server.listen(self._door)
        except LsmonError as error:
            return f"waits: {clean_line(str(error), 300)}"
        return f"waits: {server.trouble}" if server.trouble else ""


def _card(header: RunStarted, server: Server, idle_since: float) -> Card:
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
        idle_since=idle_since,
    )
