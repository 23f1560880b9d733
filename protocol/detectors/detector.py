"""What a detector is: a pure, causal fold over frames that says when something happened."""

from __future__ import annotations

from typing import Protocol

from ..frames import Alert, AnyFrame


class Detector(Protocol):
    """Sees scalars and curvature once, in order; keeps O(1) memory a step; knows no clock, no attempts and no torch.

    It has ``__slots__``: packing an object for ``Past`` would make the attributes of any other slower from then on.
    """

    __slots__ = ()

    wants: str
    """Why it would decide better with denser curvature, in a word like a kind of alert; empty when it is not undecided."""

    def see(self, frame: AnyFrame) -> Alert | None:
        """The alert that this frame completes. Its ``seq`` and ``wall`` are filled in by the caller."""
        ...
