"""How a run ended, in one word: the same for a list, a page and a line."""

from __future__ import annotations

from typing import Literal

from ..frames import RunEnded

Ending = Literal["finished", "stopped", "failed", "ended early"]
"""Stopped: by a person, with Ctrl-C. Early: without a word."""

EARLY: Ending = "ended early"
_ERROR = "error: "


def written(frame: RunEnded) -> str:
    """As it stands in ``meta.json``: "finished" or "error: ..."."""
    return "finished" if frame.reason == "finished" else f"{_ERROR}{frame.error}"


def ending(ended: str) -> Ending:
    """Of what is written there, or of nothing.

    >>> ending("finished"), ending("error: KeyboardInterrupt"), ending("error: ValueError: no"), ending("")
    ('finished', 'stopped', 'failed', 'ended early')
    """
    if not ended:
        return EARLY
    if ended == "finished":
        return "finished"
    return "stopped" if ended.startswith(f"{_ERROR}KeyboardInterrupt") else "failed"


def in_full(ended: str) -> str:
    """The word, and of a failure also what was raised.

    >>> in_full("finished"), in_full("error: ValueError: no")
    ('finished', 'failed: ValueError: no')
    """
    word = ending(ended)
    return f"{word}: {ended.removeprefix(_ERROR)}" if word == "failed" else word
