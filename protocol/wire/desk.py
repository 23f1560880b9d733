"""Two sockets of a run, however they are reached: one publishes frames, the other answers for history."""

from __future__ import annotations

import msgspec
import zmq

from .history import History
from .request import LIVE_BYTES, TOPICS, Head, Request

SEND_FRAMES = 1000
"""Frames queued for a viewer that does not read; it loses the next and fills the gap from history."""
TOPIC_BYTES = 64
"""Longest message a subscriber may send. Unbounded, 40 MB of subscriptions took 2 GB and blocked for 13 s."""
FLOOD_BYTES = 1 << 16
"""Of subscriptions to what is not there. libzmq keeps each until its connection ends, in up to 48 times its length."""
REQUEST_BYTES = 4096
REPLIES_A_POLL = 8
"""A mebibyte together: at 10 polls a second a viewer catches up within half a second, and a flood costs 1 % of a core."""
QUEUED_REPLIES = 4
RECEIVE_MESSAGES = 16
"""Of one peer. A viewer subscribes to three topics and asks for one page at a time."""
MESSAGES_A_POLL = 2000
"""Two milliseconds of work. A connection stays open until what it sent has been read, also when it is cut."""
WAITING_REQUESTS = 256
OWNER = b"owner"
"""The domain of the sockets that only their owner can open. Nobody needs to answer for it, but where a domain is set
libzmq refuses peers of ZMTP 1 and 2, each of which costs it 20 kB for ever (4.3.5)."""
HANDSHAKE_MS = 2000
"""A peer that only connects holds one of the training's descriptors for no longer than this."""
LINGER_MS = 200
"""What is still queued at the end, the last frame among it, gets this long; a viewer that reads needs 1 ms."""

_read_request = msgspec.json.Decoder(Request)


class Desk:
    """Not bound yet: that is up to whoever knows the way in. Trusts no peer and waits for none."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self.ignored = 0
        """Subscriptions and requests that made no sense."""
        self.publisher = _socket(context, zmq.XPUB, SEND_FRAMES, TOPIC_BYTES)
        self.router = _socket(context, zmq.ROUTER, QUEUED_REPLIES, REQUEST_BYTES)
        self.router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # say so when a peer is gone or does not read
        self._asked: dict[bytes, int] = {}
        """Who waits for an answer, and the number after which."""
        self._odd_bytes = 0
        self._topics = set[bytes]()
        """Those that somebody listens to."""
        self._stirred = True

    @property
    def quiet(self) -> bool:
        """Nobody listens, nobody waits for an answer, and nothing came in at the last poll."""
        return not (self._topics or self._asked or self._stirred)

    def flooded(self) -> bool:
        """Somebody subscribes to more and more that is not there; it counts anew once that has been said. libzmq does
        not tell who it is, so everybody has to be cut off, and viewers come back."""
        flooded = self._odd_bytes > FLOOD_BYTES
        if flooded:
            self._odd_bytes = 0
        return flooded

    def publish(self, message: bytes) -> None:
        """A frame behind its topic; left out when it is longer than a viewer takes."""
        if len(message) <= LIVE_BYTES:
            self.publisher.send(message, zmq.NOBLOCK)

    def poll(self, history: History) -> None:
        """Let viewers in and answer them."""
        self._stirred = False
        self._take_subscriptions()
        self._take_requests()
        self._answer(history)

    def _take_subscriptions(self) -> None:
        """Unread they would pile up: 300 MB in one measurement."""
        for _ in range(MESSAGES_A_POLL):
            try:
                message = self.publisher.recv(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            self._stirred = True
            if message[1:] not in TOPICS or message[:1] not in b"\0\1":
                self.ignored += 1
                self._odd_bytes += len(message)
            elif message[:1] == b"\1":
                self._topics.add(message[1:])
            else:
                self._topics.discard(message[1:])

    def _take_requests(self) -> None:
        """All of them, also those that cannot be answered yet: until they are read, whoever has left is not let go."""
        for _ in range(MESSAGES_A_POLL):
            try:
                peer, *body = self.router.recv_multipart(zmq.NOBLOCK)
            except zmq.ZMQError:
                return
            self._stirred = True
            try:
                (asked,) = body
                after = max(0, _read_request.decode(asked).after)
            except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
                self.ignored += 1
                continue
            if peer in self._asked or len(self._asked) < WAITING_REQUESTS:
                self._asked[peer] = after
            else:
                self.ignored += 1  # it will ask again

    def _answer(self, history: History) -> None:
        replies = 0
        while self._asked and replies < REPLIES_A_POLL:
            peer = next(iter(self._asked))
            after = self._asked.pop(peer)
            try:
                self.router.send(peer, zmq.NOBLOCK | zmq.SNDMORE)  # before the page is made for nobody
            except zmq.ZMQError:
                self.ignored += 1  # gone, or it does not read its answers
                continue
            page = history.page(after)
            head = Head(after=after, upto=page.upto, more=page.more, lost=page.lost)
            self.router.send_multipart([msgspec.json.encode(head), b"\n".join(page.lines)], zmq.NOBLOCK)
            replies += 1


def _socket(
    context: zmq.Context[zmq.Socket[bytes]], kind: int, queued: int, longest: int
) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = context.socket(kind)
    socket.setsockopt(zmq.LINGER, LINGER_MS)  # before bind: connections take it from the listener
    socket.setsockopt(zmq.SNDHWM, queued)
    socket.setsockopt(zmq.RCVHWM, RECEIVE_MESSAGES)
    socket.setsockopt(zmq.MAXMSGSIZE, longest)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.ZAP_DOMAIN, OWNER)
    return socket
