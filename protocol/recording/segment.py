"""One file of a recording with its frames in the order of their numbers: where to start reading, and where it ends."""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from .chunks import TURN, BadChunk, Chunks, Message, full
from .topics import HEARTBEAT, RUN_STARTED

_GUESSES = 8
"""More than it takes where chunks are at most twice as full as others."""


class Place(msgspec.Struct):
    """What is looked at in a message before it is decoded, if it ever is."""

    type: str = ""
    format: int = 0
    seq: int = 0
    step: int = 0
    attempt: int = 1
    wall: float = 0.0
    run: str = ""


_place = msgspec.json.Decoder(Place)


def place(data: bytes | memoryview) -> Place:
    """Number, step and format of an encoded frame; zeros when it is none."""
    try:
        return _place.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Place()


class Item(msgspec.Struct, gc=False):
    """An encoded frame with its full number."""

    seq: int
    channel: int
    data: memoryview


class Segment:
    """A file whose messages are numbered in ascending order, but for the copied header at its start."""

    def __init__(self, path: Path) -> None:
        """Raises BadRecording when the file cannot be opened."""
        self.chunks = Chunks(path)
        self.path = path
        self._base = 0
        self._starts: dict[int, int] = {}
        """First number of the chunks that a search has come by."""
        first, newest = self._first_message(), self._newest_messages()
        last = newest[-1] if newest else None
        self.first_seq = self._base = place(first.data).seq if first else 0
        """Number of the first numbered frame behind the header; 0 when there is none."""
        self.last_seq = full(last.sequence, self._base) if last and first else 0
        end = place(last.data) if last and first else Place()
        self.last_wall = end.wall
        # The last frame may be a measurement of an earlier step.
        places = [place(message.data) for message in newest] if first else []
        self.last_step = max((each.step for each in places if each.attempt == end.attempt), default=0)
        self.chunks.forget()

    def close(self) -> None:
        self.chunks.close()

    @property
    def run(self) -> str:
        """Id of the run that it says it is of; empty where it does not."""
        header = self.header()
        return place(header).run if header is not None else ""

    def header(self) -> memoryview | None:
        """The encoded RunStarted at its start, if it can be read."""
        for number in range(min(len(self.chunks), 2)):
            for message in self._messages(number):
                if message.channel == RUN_STARTED:
                    return message.data
        return None

    def items(self, after_seq: int) -> Iterator[Item | None]:
        """From frame ``after_seq`` on: every message, and None for a chunk that cannot be read."""
        for number in range(self._chunk_of(after_seq), len(self.chunks)):
            try:
                data, spans = self.chunks.spans(number)
                for channel, sequence, start, end in spans:
                    seq = full(sequence, self._base)
                    if seq >= after_seq:
                        yield Item(seq, channel, data[start:end])
            except BadChunk:
                yield None
        self.chunks.forget()

    def among(self, channels: Container[int], after_seq: int, until_seq: float) -> Iterator[Item]:
        """Every message of these channels within ``(after_seq, until_seq]``."""
        for number in range(self._chunk_of(after_seq), len(self.chunks)):
            with suppress(BadChunk):
                data, spans = self.chunks.spans(number)
                for channel, sequence, start, end in spans:
                    seq = full(sequence, self._base)
                    if seq > until_seq:
                        return
                    if seq > after_seq and channel in channels:
                        yield Item(seq, channel, data[start:end])

    def tail(self, count: int) -> list[Message]:
        """The messages of the last ``count`` chunks."""
        start = max(len(self.chunks) - count, 0)
        return [message for number in range(start, len(self.chunks)) for message in self._messages(number)]

    def _messages(self, number: int) -> Iterator[Message]:
        try:
            yield from self.chunks.messages(number)
        except BadChunk:
            return

    def _first_message(self) -> Message | None:
        for number in range(len(self.chunks)):
            for message in self._messages(number):
                if message.channel not in (RUN_STARTED, HEARTBEAT):
                    return message
        return None

    def _newest_messages(self) -> list[Message]:
        """Of the last chunk that has any."""
        for number in reversed(range(len(self.chunks))):
            if messages := list(self._messages(number)):
                return messages
        return []

    def _chunk_of(self, seq: int) -> int:
        """The last chunk that starts before ``seq``. By the frames that a chunk has on average, since each look costs a
        cold disk some milliseconds; by halves where that leads nowhere."""
        low, high = 0, len(self.chunks)
        size = max((self.last_seq - self.first_seq) // max(high, 1), 1)
        middle, start, looks = 0, self.first_seq, 0
        while low < high:
            looks += 1
            guess = middle + (seq - start) // size if looks <= _GUESSES else (low + high) // 2
            middle = min(max(guess, low), high - 1)
            start = self._start(middle)
            if start < seq:
                low = middle + 1
            else:
                high = middle
        return max(low - 1, 0)

    def _start(self, first: int) -> int:
        """First number in this chunk, or in the next one that can be read."""
        found = self._starts.get(first)
        if found is None:
            found = self._starts[first] = self._look_for_start(first)
        return found

    def _look_for_start(self, first: int) -> int:
        for number in range(first, len(self.chunks)):
            for message in self._messages(number):
                if number or message.channel != RUN_STARTED:
                    return full(message.sequence, self._base)
        return TURN * TURN


def strays(segments: Sequence[Segment]) -> list[Segment]:
    """Those that are of another run than the first that says of which it is: copied in between, they would be told as
    its own steps."""
    run = next((named for segment in segments if (named := segment.run)), "")
    return [segment for segment in segments if segment.run not in ("", run)]
