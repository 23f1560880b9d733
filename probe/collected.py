"""How numbers become frames: those of one step go out together, in as few frames as hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.codec import shorten
from lsmon.protocol.frames import Scalars

HOLD_SECS = 0.1
"""How long a step waits for more of its numbers (sensors, log) before it goes out as one frame."""

FRAME_NAMES = 256
"""In a frame; more are several. It is 20 kB then, and short enough to be published, or 140 kB of the longest names."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Collected:
    """The numbers of the step that is under way, names cleaned and values rounded as they are sent: so that file, wire
    and detectors all see the same."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.alike = False
        """Names met that differ only beyond the letters that are kept: one of each is."""
        self._clock = clock
        self._held: Scalars | None = None
        self._since = 0.0

    def add(
        self,
        at: tuple[int, int, float],
        values: Mapping[str, float],
        errors: Mapping[str, float] = NOTHING,
        words: Mapping[str, str] = NOTHING,
    ) -> list[Scalars]:
        """Take in what is told ``at`` a step, attempt and wall time; given back is what is complete by that."""
        rounded = _rounded(values)
        self.alike = self.alike or len(rounded) < len(values)
        complete: list[Scalars] = []
        while len(rounded) > FRAME_NAMES:
            part = {name: rounded.pop(name) for name in list(rounded)[:FRAME_NAMES]}
            self._join(at, part, complete)
        held = self._join(at, rounded, complete)
        if errors or words:
            held.errors.update(_rounded(errors))
            held.words.update({clean_name(name): clean_line(said) for name, said in words.items()})
        return complete

    def _join(self, at: tuple[int, int, float], values: dict[str, float], complete: list[Scalars]) -> Scalars:
        held = self._held
        if held is not None and (
            (held.step, held.attempt) != at[:2]
            or not held.values.keys().isdisjoint(values)
            or len(held.values) + len(values) > FRAME_NAMES
        ):
            complete.append(held)
            held = None
        if held is None:
            held = self._held = Scalars(step=at[0], attempt=at[1], wall=at[2], values=values)
            self._since = self._clock()
        else:
            held.values.update(values)
        return held

    @property
    def due(self) -> bool:
        """The step has waited long enough for more."""
        return self._held is not None and self._clock() - self._since >= HOLD_SECS

    def take(self) -> list[Scalars]:
        """What there is, if anything."""
        held, self._held = self._held, None
        return [] if held is None else [held]


def _rounded(values: Mapping[str, float]) -> dict[str, float]:
    return {clean_name(name): shorten(value) for name, value in values.items()}
