"""Which topic of the file a frame goes to, and the JSON Schema that lets other tools read it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from ..fold import LEVELS
from ..frames import (
    Alert,
    AnyFrame,
    Curvature,
    Frame,
    Heartbeat,
    Layers,
    Mark,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)

PROFILE = "lsmon"
"""Names our files in MCAP's own header record."""

TOPICS: tuple[tuple[str, type[Frame]], ...] = (
    ("/run_started", RunStarted),
    ("/scalars", Scalars),
    ("/curvature", Curvature),
    ("/layers", Layers),
    ("/alert", Alert),
    ("/mark", Mark),
    ("/heartbeat", Heartbeat),
    ("/run_ended", RunEnded),
    (f"/summary/{LEVELS[0]}", Summary),
    (f"/summary/{LEVELS[1]}", Summary),
)
"""In the order of their channel numbers, from 1. New ones go last: a chunk whose channel records were lost is read
by number."""

_NUMBERS = {kind: number for number, (_, kind) in enumerate(TOPICS, start=1) if kind is not Summary}
RUN_STARTED, HEARTBEAT, RUN_ENDED = _NUMBERS[RunStarted], _NUMBERS[Heartbeat], _NUMBERS[RunEnded]
CURVATURE, LAYERS = _NUMBERS[Curvature], _NUMBERS[Layers]
EVENTS = frozenset((_NUMBERS[Alert], _NUMBERS[Mark]))
STATES = frozenset((CURVATURE, LAYERS, HEARTBEAT))
FINE, COARSE = len(TOPICS) - 1, len(TOPICS)


def channel_of(frame: AnyFrame) -> int:
    """Number of the channel that this frame is written to."""
    if isinstance(frame, Summary):
        return FINE if frame.level <= LEVELS[0] else COARSE
    return _NUMBERS[type(frame)]


@lru_cache(maxsize=16)
def json_schema(kind: type[Frame]) -> bytes:
    """JSON Schema of a frame type; an object at the top, since Foxglove follows no reference there."""
    (top,), parts = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
    name = top["$ref"].rpartition("/")[2]
    schema: dict[str, Any] = {"title": name, **parts.pop(name)}
    return msgspec.json.encode({**schema, "$defs": parts} if parts else schema)
