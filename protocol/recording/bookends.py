"""A recording's header, and the last that its probe said, wherever they have survived."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..codec import decode
from ..errors import BadFrame, BadRecording, NewerFormat
from ..frames import FORMAT, Heartbeat, RunEnded, RunStarted
from . import folder
from .damage import Damage
from .segment import Segment, place

_TAIL_CHUNKS = 4
"""Two seconds: enough to hold the last Heartbeat, which comes every second."""


def find_header(path: Path, segments: Sequence[Segment], damage: Damage) -> RunStarted:
    """From a segment, else from ``meta.json``, else one without a number (0) that is made of the first frame.

    Raises BadRecording or NewerFormat.
    """
    for segment in segments:
        data = segment.header()
        if data is None:
            continue
        if place(data).format > FORMAT:
            raise NewerFormat(
                f"Recorded by a later lsmon (format {place(data).format}, this one reads {FORMAT}); "
                f"upgrade lsmon to open it: {path}"
            )
        try:
            frame = decode(data)
        except BadFrame:
            continue
        if isinstance(frame, RunStarted):
            return frame
    meta = folder.read_meta(path) if path.is_dir() else None
    if meta is not None and meta.run is not None:
        return meta.run
    for segment in segments:
        for item in segment.items(0):
            if item is None:
                continue
            try:
                first = decode(item.data)
            except BadFrame:
                damage.unreadable(item.seq)
                continue
            if first is not None:
                damage.say("the header is lost")
                return RunStarted(seq=0, step=first.step, wall=first.wall, name=path.stem)
    raise BadRecording(f"This is not a recording, or nothing in it can be read: {path}")


def find_end(segments: Sequence[Segment]) -> tuple[Heartbeat | None, RunEnded | None]:
    """The last heartbeat, and how the run ended, where it said so."""
    heartbeat: Heartbeat | None = None
    ended: RunEnded | None = None
    for segment in reversed(segments):
        for message in segment.tail(_TAIL_CHUNKS):
            try:
                frame = decode(message.data)
            except BadFrame:
                continue
            if isinstance(frame, Heartbeat):
                heartbeat = frame
            elif isinstance(frame, RunEnded):
                ended = frame
        if heartbeat is not None or ended is not None:
            break
    return heartbeat, ended
