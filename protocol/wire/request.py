"""What is asked of a run, and the head of its answer: all that a viewer can say to a training."""

from __future__ import annotations

import msgspec

from ..frames import Alert, AnyFrame, Heartbeat, Mark, RunEnded, RunStarted, Summary

PROTOCOL = 1

FULL, DECIMATED, EVENTS, HEARTBEAT = b"f", b"d", b"e", b"h"
LIVE_BYTES = 1 << 16
"""Longest message that is published. A longer frame (a thousand layers) is left out, and comes through history, which
is asked one page at a time: so a viewer's memory is bounded whatever it is sent."""
TOPICS = (FULL, DECIMATED, EVENTS, HEARTBEAT)


def topic(frame: AnyFrame) -> bytes:
    """One byte before each published frame. All numbered frames are ``f`` and ``e`` together."""
    if isinstance(frame, Heartbeat):
        return HEARTBEAT
    if isinstance(frame, Summary):
        return DECIMATED
    return EVENTS if isinstance(frame, Alert | Mark | RunStarted | RunEnded) else FULL


class Request(msgspec.Struct, omit_defaults=True):
    """The frames after this number, please."""

    after: int = 0


class Head(msgspec.Struct):
    """Goes before the frames of an answer."""

    protocol: int = PROTOCOL
    after: int = 0
    """The request's, by which an answer that comes late is known."""
    upto: int = 0
    """Number of the last frame in this answer."""
    more: bool = False
    """Whether to ask again, with ``upto``."""
    lost: int = 0
    """Frames between the two numbers that the run does not remember."""
