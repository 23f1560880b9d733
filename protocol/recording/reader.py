"""Opening a recording: a folder or one file, whole or torn, and what is missing from it said in words."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

from ..codec import decode
from ..counts import grouped
from ..errors import BadFrame, BadRecording
from ..fold import LEVELS, folded
from ..frames import UNNUMBERED, Alert, AnyFrame, Mark, Summary
from ..process import is_alive
from ..told import Told, untold
from . import folder
from .bookends import find_end, find_header
from .damage import Damage
from .overview import Overview
from .retold import retell
from .segment import Item, Segment, place, strays
from .topics import CURVATURE, HEARTBEAT, LAYERS

_EVERY = 4096
"""Frames between two words about how far it has come."""


class Recording:
    """A recording, opened without reading it through. Never trusts a byte that has no checksum.

    What is damaged inside is found when it is read, and then ``damage`` and ``lost`` grow; ``verify`` reads it all.
    A recording that is still being written is one up to what had been flushed when it was opened.
    """

    def __init__(self, path: Path, segments: list[Segment], overviews: Sequence[Path]) -> None:
        """For ``open`` only."""
        self.path = path
        self._segments = segments
        self._overview_paths = overviews
        self._damage = Damage()
        self._told: Told = untold
        self.header = find_header(path, segments, self._damage)
        filled = [segment for segment in segments if segment.first_seq]
        first = filled[0].first_seq if filled else 0
        whole_run = path.is_dir()  # one file of several may be looked at alone
        self._start = max(1, self.header.seq) if whole_run or first <= self.header.seq + 1 else first
        self.last_seq = max((segment.last_seq for segment in filled), default=self.header.seq)
        self.first_step = self._step_of(first) if filled else self.header.step
        self.last_step = filled[-1].last_step if filled else self.header.step
        self.last_wall = filled[-1].last_wall if filled else self.header.wall
        self.heartbeat, self.ended = find_end(segments)
        """The last heartbeat, with what the probe said about its cost and its drops; and the end, if there is one."""
        before = max(self.header.seq, self._start - 1)
        for segment in filled:
            self._note_hole(before + 1, segment.first_seq, segment.path)
            before = max(before, segment.last_seq)

    @classmethod
    def open(cls, path: Path, told: Told = untold) -> Recording:
        """Raises BadRecording or NewerFormat, a plain sentence each. ``told`` hears of the frames that were read,
        whenever many have to be, as for the overview of a recording that has none."""
        path = Path(path)
        try:
            if path.is_dir():
                paths, overviews = folder.segments(path), folder.overviews(path)
            elif path.exists():
                paths, overviews = [path], []
            else:
                raise BadRecording(f"There is no such file or folder: {path}")
        except OSError as error:
            raise BadRecording(f"Cannot look for a recording ({error.strerror}): {path}") from None
        if not paths:
            raise BadRecording(f"No recording is in this folder: {path}")
        if paths == [path] and folder.is_overview(path):
            raise BadRecording(f"This is only the overview of a recording; open its folder: {path.parent}")
        segments: list[Segment] = []
        words: list[str] = []
        try:
            for part in paths:
                try:
                    segments.append(Segment(part))
                except BadRecording:
                    words.append(f"{part.name} cannot be read")
                    if len(paths) == 1:
                        raise
            for stray in strays(segments):
                segments.remove(stray)
                stray.close()
                words.append(f"{stray.path.name} is of another run, and left out")
            recording = cls(path, segments, overviews)
        except BaseException:
            for segment in segments:
                segment.close()
            raise
        for word in words:
            recording._damage.say(word)
        recording._told = told
        return recording

    @property
    def lost(self) -> int:
        """Numbered frames known to be missing."""
        return self._damage.lost

    @property
    def damage(self) -> tuple[str, ...]:
        """What is known to be missing, in words."""
        return self._damage.words

    @property
    def frame_count(self) -> int:
        """Numbered frames that are there, as far as is known."""
        there = self.last_seq - self._start + 1 - self._damage.up_to(self.last_seq)
        return max(there, 0) if self.last_seq else 1

    @property
    def dropped(self) -> int:
        """Frames that the probe said it had to drop."""
        return max((said.dropped for said in (self.ended, self.heartbeat) if said is not None), default=0)

    @property
    def segments(self) -> int:
        return len(self._segments)

    @property
    def size(self) -> int:
        """Bytes on disk, without the overview."""
        return sum(segment.chunks.size for segment in self._segments)

    def close(self) -> None:
        for segment in self._segments:
            segment.close()
        if "_overview" in self.__dict__:
            self._overview.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def frames(self, after_seq: int = 0) -> Iterator[AnyFrame]:
        """Every frame after this number in the order recorded, the header first when it is among them.

        Heartbeats come with them from the first one that repeats ``after_seq``.
        """
        if after_seq < max(1, self.header.seq):
            yield self.header
        for item in self._items(after_seq):
            frame = self._decoded(item)
            if frame is not None:
                yield frame
        self._note_end()

    def summaries(self, level: int, after_seq: int = 0, until_seq: float = math.inf) -> Iterator[Summary]:
        """Rows of this level that cover ``(after_seq, until_seq]``; what the overview lacks is folded anew."""
        story = self._whole_story
        known = after_seq
        for row in story.fine(after_seq, until_seq) if level <= LEVELS[0] else story.coarse:
            if known < row.first_seq <= row.seq <= until_seq:
                if row.first_seq > known + 1:
                    yield from self._folded(level, known, row.first_seq - 1)
                yield row
                known = row.seq
        if known < min(self.last_seq, until_seq):
            yield from self._folded(level, known, until_seq)

    def events(self) -> Sequence[Alert | Mark]:
        """All alerts and marks, in order."""
        return self._whole_story.events

    def states(self, until_seq: int) -> list[AnyFrame]:
        """The last Curvature, Layers and Heartbeat up to this number, exact where a coarse row ends."""
        return self._whole_story.states(until_seq)

    def past(self, until_seq: int) -> list[AnyFrame]:
        """Densities and Layers up to this number, thinned."""
        return self._whole_story.past(until_seq)

    def measured(self, after_seq: int, until_seq: int) -> list[AnyFrame]:
        """Every Curvature and Layers within ``(after_seq, until_seq]``."""
        items = self.among((CURVATURE, LAYERS), after_seq, until_seq)
        return [frame for frame in map(self._decoded, items) if frame is not None]

    def among(self, channels: Container[int], after_seq: int, until_seq: float) -> Iterator[Item]:
        """What was recorded on these channels within ``(after_seq, until_seq]``, not decoded."""
        for segment in self._segments:
            if segment.first_seq <= until_seq and after_seq <= segment.last_seq:
                yield from segment.among(channels, after_seq, until_seq)

    def numbered(self, after_seq: int, until_seq: float) -> Iterator[AnyFrame]:
        """Every frame within ``(after_seq, until_seq]`` that has a number of its own."""
        if after_seq < self._start <= self.header.seq:
            yield self.header
        for item in self._items(after_seq, until_seq):
            frame = self._decoded(item) if item.channel != HEARTBEAT else None
            if frame is not None and not isinstance(frame, UNNUMBERED):
                yield frame

    def verify(self) -> None:
        """Reads everything, so that ``damage``, ``lost`` and ``frame_count`` are the whole truth."""
        for _ in self._items(0):
            pass
        self._note_end()

    @cached_property
    def _overview(self) -> Overview:
        return Overview(self._overview_paths)

    @cached_property
    def _whole_story(self) -> Overview:
        retell(self._overview, self)
        return self._overview

    def _folded(self, level: int, after_seq: int, until_seq: float) -> Iterator[Summary]:
        if level > LEVELS[0]:
            return folded(self.summaries(LEVELS[0], after_seq, until_seq), level)
        return folded(self.numbered(after_seq, until_seq), level)

    def _items(self, after_seq: int, until_seq: float = math.inf) -> Iterator[Item]:
        """Everything recorded after this number, not decoded yet; notes on the way what is missing."""
        last = after_seq
        connected = after_seq == 0  # whether the number before the next frame has been seen
        if connected:
            last = max(self.header.seq, self._start - 1)
        for segment in self._segments:
            if segment.last_seq and segment.last_seq < after_seq:
                continue
            broken = False
            for item in segment.items(after_seq):
                if item is None:
                    broken = True
                elif item.channel == HEARTBEAT:
                    if item.seq >= last:  # else it is of a file that is there twice
                        yield item
                elif item.seq <= last:
                    connected = connected or item.seq == last
                else:
                    if item.seq > until_seq:
                        return
                    if connected:
                        self._note_hole(last + 1, item.seq, segment.path, item.data)
                    if broken and last + 1 == self._start > self.header.seq + 1:  # a file of several, alone
                        self._damage.say(f"the beginning of {segment.path.name} is damaged")
                    connected, broken, last = True, False, item.seq
                    if last % _EVERY == 0:
                        self._told(last, self.last_seq)
                    yield item
            if broken and segment is self._segments[-1]:  # else the next one shows how much is missing
                self._damage.say(f"the end of {segment.path.name} is damaged, after frame {grouped(last)}")

    def _decoded(self, item: Item) -> AnyFrame | None:
        try:
            frame = decode(item.data)
        except BadFrame:
            self._damage.unreadable(item.seq)
            return None
        return frame

    def _note_hole(self, first: int, behind: int, path: Path, data: memoryview | None = None) -> None:
        if first < behind:
            step = place(data).step if data is not None else self._step_of(behind)
            self._damage.hole(first, behind - first, step)

    def _note_end(self) -> None:
        """What the overview tells of and the segments do not have: a copy that was cut off, or blocks that were lost."""
        header = self.header
        if not self.path.is_dir() or is_alive(header.pid, header.boot, header.pid_started):
            return  # while it is written, the overview is read later than the segments and knows more
        told = self._overview.last_seq
        if told > self.last_seq:
            self._damage.hole(self.last_seq + 1, told - self.last_seq, self.last_step)

    def _step_of(self, seq: int) -> int:
        for segment in self._segments:
            if segment.first_seq <= seq <= segment.last_seq:
                for item in segment.items(seq):
                    if item is not None and item.channel != HEARTBEAT and item.seq == seq:
                        return place(item.data).step
        return 0
