"""Where the detectors stood at earlier steps: a run that goes back to one goes on from there.

What came after that step is of a line that was left; it would be compared with what comes now, and is not to be.
"""

from __future__ import annotations

import math
import pickle
from collections import deque
from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from ..frames import AnyFrame
from .detector import Detector

SEGMENT = 256
"""Frames between two states: one costs as much as ten to twenty frames shown to the detectors."""

EXACT = 2
"""Segments of which the frames are kept as they are."""

FINENESS = 8
"""Segments for which every state is kept: of the distant past fewer are needed."""


class State(NamedTuple):
    """All detectors as they stood."""

    step: float
    """The largest seen by then."""
    seen: int
    """Frames seen by then."""
    packed: bytes


class Past:
    """Keeps states at distances that grow with age, and the last frames as they are.

    Going back some hundred steps is exact, then; going back further misses what lay between a state and that step.
    """

    def __init__(self, detectors: Sequence[Detector]) -> None:
        self._states = [State(-math.inf, 0, pickle.dumps(detectors))]
        self._segments: deque[list[AnyFrame]] = deque([[]], maxlen=EXACT + 1)
        self._seen = 0

    def add(self, frame: AnyFrame, step: int, detectors: Sequence[Detector]) -> None:
        """A frame that all detectors have seen; ``step`` is the largest so far."""
        self._seen += 1
        self._segments[-1].append(frame)
        if len(self._segments[-1]) >= SEGMENT:
            self._states.append(State(step, self._seen, pickle.dumps(detectors)))
            self._segments.append([])
            self._thin()

    def back(self, step: int) -> tuple[Sequence[Detector], list[AnyFrame]]:
        """The detectors as they stood before ``step``, and frames that they had yet to see by then."""
        while self._states[-1].step >= step:
            self._states.pop()
        state = self._states[-1]
        kept = list(chain.from_iterable(self._segments))
        since = state.seen - (self._seen - len(kept))
        unseen = [frame for frame in kept[max(0, since) :] if frame.step < step]
        self._seen = state.seen
        self._segments = deque([[]], maxlen=EXACT + 1)
        detectors: Sequence[Detector] = pickle.loads(state.packed)  # its own bytes
        return detectors, unseen

    def _thin(self) -> None:
        """Every second state lives twice as long as the others, every fourth four times, and the first for ever."""
        now = self._seen // SEGMENT
        ages = ((state, now - state.seen // SEGMENT) for state in self._states)
        self._states = [
            state
            for state, age in ages
            if not state.seen or age <= FINENESS * _divisor(state.seen // SEGMENT)
        ]


def _divisor(number: int) -> int:
    """The largest power of two that divides it."""
    return number & -number
