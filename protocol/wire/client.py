"""The viewer's end of the sockets: subscribes, asks for what came before, and heals what was dropped since."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator

import msgspec
import zmq

from ..codec import decode
from ..errors import BadFrame, NewerFormat, Unreachable
from ..frames import FORMAT, AnyFrame, Heartbeat, RunStarted, Scalars
from .order import Order
from .request import EVENTS, FULL, HEARTBEAT, LIVE_BYTES, PROTOCOL, Head, Request

RECEIVE_FRAMES = 4000
"""Held by libzmq for us: 0.8 s of 5000 frames a second. At the end of a run what is still in the kernel when this is
full gets lost, so it is more than a publisher and a kernel queue together."""
BUFFER_FRAMES, BUFFER_BYTES = 5000, 8 << 20
"""Live frames kept while history is on its way; what does not fit is asked for afterwards."""
AT_ONCE_FRAMES = 100
"""Taken from the socket before they are looked at."""
REPLY_BYTES = 4 << 20
"""A page has half a MiB, and its last row may have one more with its events."""
ASK_SECS = 2.0
"""Without an answer for so long, ask again: a training that is stopped or swapping answers late."""
REJECTS_A_READ = 200
"""Messages that make no sense, after which a read is over: a flood of rubbish must not hold the screen."""
OLD_A_READ = 10_000
"""Frames in a row that history has brought already, after which a read is over. So many lie in buffer and queues after a
page of history; passing them over takes 20 ms, and to take fewer than arrive meanwhile would never end."""
RECONNECT_MS, RECONNECT_MAX_MS = 100, 1000

_read_head = msgspec.json.Decoder(Head)


class _Number(msgspec.Struct):
    seq: int = 0


_read_number = msgspec.json.Decoder(_Number)


def over_ipc(socket: zmq.Socket[bytes], path: str) -> None:
    """Raises Unreachable for what cannot be the path of a socket."""
    try:
        if not path.startswith("/"):
            raise ValueError
        socket.connect(f"ipc://{path}")
    except (zmq.ZMQError, ValueError):
        raise Unreachable(
            "The run's card names no usable socket; restart the training with a short LSMON_RUNTIME_DIR."
        ) from None


class Client:
    """Gives the frames of a run after number ``after``: its history first, then what it says. Never waits.

    ``connect`` knows the way to the two places. Raises Unreachable when a path cannot be that of a socket.
    """

    def __init__(
        self,
        live: str,
        ask: str,
        *,
        after: int = 0,
        clock: Callable[[], float] = time.monotonic,
        connect: Callable[[zmq.Socket[bytes], str], None] = over_ipc,
    ) -> None:
        self.order = Order(after)
        self.bad = 0
        """Messages that made no sense."""
        self.heard: float | None = None
        """When the run last said something, by ``clock``."""
        self.speaker: tuple[int, str, int] | None = None
        """Process (pid, boot id, start time) that spoke last: at an address another run may have taken its place."""
        self._connect = connect
        self._clock = clock
        self._context = zmq.Context(io_threads=1)
        self._context.linger = 0
        self._buffer: deque[bytes] = deque()
        self._buffer_bytes = 0
        self._page: deque[bytes] = deque()
        self._held: AnyFrame | None = None
        self._cursor = after
        self._asking = True
        """Whether history is still to come, or the rest of it."""
        self._asked: float | None = None
        try:
            self._live = self._socket(zmq.SUB, live, LIVE_BYTES, RECEIVE_FRAMES)
            self._ask = self._socket(zmq.DEALER, ask, REPLY_BYTES, 2)
            for topic in (FULL, EVENTS, HEARTBEAT):
                self._live.subscribe(topic)
        except BaseException:
            self.close()
            raise

    def frames(self) -> Iterator[AnyFrame]:
        """What is there now, in order, each once. Raises NewerFormat when the run speaks a later lsmon."""
        rejects = old = 0
        while rejects < REJECTS_A_READ and old < OLD_A_READ:
            if self._page:
                frame = self._decode(self._page.popleft())
            elif self._asking:
                if self._take_page():
                    continue
                self._fill_buffer(BUFFER_FRAMES)
                self._send_request()
                return
            elif self._held is not None:
                frame, self._held = self._held, None  # history had its say: what is missing now is lost
            else:
                message = self._next_message()
                if message is None:
                    return
                frame = self._decode(message)
                if isinstance(frame, Scalars) and self.order.follows(frame.seq):  # as nearly always
                    rejects = old = 0
                    yield frame
                    continue
                if frame is not None and self.order.gap_before(frame):
                    self._held = frame
                    self._want_history(self.order.last)
                    continue
            admitted = self.order.admit(frame) if frame is not None else None
            if frame is None:
                rejects += 1
            elif admitted is None:
                old += 1
            else:
                rejects = old = 0
                if isinstance(admitted, RunStarted) and admitted.format > FORMAT:
                    raise NewerFormat(
                        "This run uses a later lsmon than this one; update lsmon here to watch it."
                    )
                yield admitted

    @property
    def behind(self) -> bool:
        """Whether more of the history is still to come."""
        return self._asking or bool(self._page)

    def give_up(self) -> None:
        """No answer will come any more: go on with what there is."""
        if self._asking and not self._page:
            self._asking = False

    def wait(self, secs: float, *descriptors: int) -> list[int]:
        """Wait until something has come, or one of the descriptors can be read; those that can."""
        poller = zmq.Poller()
        poller.register(self._live, zmq.POLLIN)
        poller.register(self._ask, zmq.POLLIN)
        for descriptor in descriptors:
            poller.register(descriptor, zmq.POLLIN)
        held = self._buffer or self._page or self._held is not None
        ready = dict(poller.poll(0 if held else round(secs * 1000)))
        return [descriptor for descriptor in descriptors if descriptor in ready]

    def close(self) -> None:
        self._context.destroy(linger=0)

    def _socket(self, kind: int, path: str, longest: int, queued: int) -> zmq.Socket[bytes]:
        socket: zmq.Socket[bytes] = self._context.socket(kind)
        socket.setsockopt(zmq.MAXMSGSIZE, longest)
        socket.setsockopt(zmq.RCVHWM, queued)
        if kind == zmq.DEALER:  # a request waits with us, not in a pipe to nobody
            socket.setsockopt(zmq.IMMEDIATE, 1)  # not for SUB: it would drop what is unread at a disconnect
        socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
        self._connect(socket, path)
        return socket

    def _receive(self, most: int) -> list[bytes]:
        """What has come, at most so many messages and about so many bytes as are held."""
        receive, messages, size = self._live.recv, list[bytes](), 0
        try:
            while len(messages) < most and size < BUFFER_BYTES:
                message = receive(zmq.NOBLOCK)
                messages.append(message)
                size += len(message)
        except zmq.ZMQError:
            pass  # that was all
        if messages:
            self.heard = self._clock()
        return messages

    def _fill_buffer(self, most: int) -> None:
        while len(self._buffer) < most and self._buffer_bytes < BUFFER_BYTES:
            messages = self._receive(min(most - len(self._buffer), AT_ONCE_FRAMES))
            if not messages:
                return
            self._buffer.extend(messages)
            self._buffer_bytes += sum(map(len, messages))

    def _next_message(self) -> bytes | None:
        if not self._buffer:
            self._fill_buffer(AT_ONCE_FRAMES)
            if not self._buffer:
                return None
        message = self._buffer.popleft()
        self._buffer_bytes -= len(message)
        return message[1:]  # without its topic

    def _want_history(self, after: int) -> None:
        self._cursor, self._asking, self._asked = after, True, None
        self._send_request()

    def _send_request(self) -> None:
        now = self._clock()
        if self._asked is not None and now - self._asked < ASK_SECS:
            return
        try:
            self._ask.send(msgspec.json.encode(Request(self._cursor)), zmq.NOBLOCK)
        except zmq.ZMQError:
            return  # not connected yet
        self._asked = now

    def _take_page(self) -> bool:
        """Whether the answer that was waited for has come."""
        try:
            parts = self._ask.recv_multipart(zmq.NOBLOCK)
        except zmq.ZMQError:
            return False
        self.heard = self._clock()
        try:
            head_bytes, body = parts
            head = _read_head.decode(head_bytes)
        except (ValueError, RecursionError):
            self.bad += 1
            return False
        if head.protocol > PROTOCOL:
            raise NewerFormat("This run uses a later lsmon than this one; update lsmon here to watch it.")
        if head.after != self._cursor or self._asked is None:
            return False  # of a request that was given up
        self._page.extend(body.splitlines())
        self._asking = head.more and head.upto > head.after
        if self._asking:
            self._want_history(head.upto)
        return True

    def _decode(self, data: bytes) -> AnyFrame | None:
        try:
            frame = decode(data)
            if frame is None:
                self.order.skip(_read_number.decode(data).seq)
        except (BadFrame, ValueError):
            self.bad += 1
            return None
        if not isinstance(frame, Scalars) and isinstance(frame, Heartbeat | RunStarted):
            self.speaker = frame.pid, frame.boot, frame.pid_started
        return frame
