"""A source that is not there yet, so that the screen can be drawn before a training has started."""

from __future__ import annotations

from collections.abc import Callable

from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import AnyFrame, RunStarted
from lsmon.protocol.sources.source import Link, Source


class Waiting:
    """Asks ``find`` at every read until it gives a source, and is that source from then on.

    When ``find`` raises LsmonError there will be none, and the link says why.
    """

    def __init__(self, find: Callable[[], Source | None], words: str) -> None:
        self._find = find
        self._words = words
        self._source: Source | None = None
        self._gone = ""
        self.recording = ""
        """Folder of the recording, once the header has come through."""

    @property
    def link(self) -> Link:
        if self._source:
            return self._source.link
        return Link("dead", self._gone) if self._gone else Link("connecting", self._words, behind=True)

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        if self._source is None and not self._gone:
            try:
                self._source = self._find()
            except LsmonError as error:
                self._gone = str(error)
        if self._source is None:
            return []
        frames = self._source.read(max_items, max_secs)
        for frame in frames:
            if isinstance(frame, RunStarted):
                self.recording = frame.recording
        return frames

    def close(self) -> None:
        if self._source is not None:
            self._source.close()
