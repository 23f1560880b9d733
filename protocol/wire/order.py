"""Each frame once, in the order of its number: what a source promises, kept over history, reconnects and rubbish."""

from __future__ import annotations

from msgspec import structs

from ..frames import Alert, AnyFrame, Curvature, Heartbeat, Layers, Mark, Summary

BESIDE_SUMMARIES = (Alert, Mark, Curvature, Layers)
"""What a Summary does not fold away: what happened, and the last state of what is no number."""


class Order:
    """Says of each frame in turn whether it is new; counts the numbers that never came."""

    def __init__(self, after: int = 0) -> None:
        self.last = after
        """Number of the last frame that has been let through, by itself or within a Summary."""
        self.lost = 0
        self._folded_from = after
        self._beside = after

    def follows(self, seq: int) -> bool:
        """Whether this is the very next number; it is let through then. Of a frame with a number of its own."""
        if seq != self.last + 1:
            return False
        self.last = self._folded_from = seq
        return True

    def gap_before(self, frame: AnyFrame) -> bool:
        """Whether frames before this one have not come (yet)."""
        if isinstance(frame, Summary):
            return frame.first_seq > self.last + 1
        return frame.seq > self.last + (0 if isinstance(frame, Heartbeat) else 1)

    def admit(self, frame: AnyFrame) -> AnyFrame | None:
        """The frame if it is new, clipped if it is a Summary that reaches back too far, its samples counted in proportion;
        None for a duplicate.

        What stays beside a Summary (alerts, for one) follows it, and is let through then. A Heartbeat that was
        sent before what has been let through is old: what it says of the probe has been said anew since.
        """
        if isinstance(frame, Heartbeat):
            if frame.seq < self.last:
                return None
            self._go(frame.seq + 1, frame.seq)
            return frame
        if frame.seq <= self.last:
            belated = isinstance(frame, BESIDE_SUMMARIES) and frame.seq > max(self._folded_from, self._beside)
            if not belated:
                return None
            self._beside = frame.seq
            return frame
        if isinstance(frame, Summary):
            first = max(min(frame.first_seq, frame.seq), self.last + 1)
            self._folded_from = self.last
            self._go(first, frame.seq)
            return frame if first == frame.first_seq else _from(frame, first)
        self._go(frame.seq, frame.seq)
        self._folded_from = frame.seq
        return frame

    def skip(self, seq: int) -> None:
        """A frame of a type that this lsmon does not know was here: not shown, and not lost."""
        if seq > self.last:
            self._go(seq, seq)

    def _go(self, first: int, last: int) -> None:
        self.lost += max(0, first - self.last - 1)
        self.last = last


def _from(frame: Summary, first: int) -> Summary:
    """The part of a Summary from this number on. What its samples were is not known any more, only about how many: else
    those that have come already would weigh twice."""
    began = min(frame.first_seq, first)  # a broken one may begin after its end
    share = (frame.seq - first + 1) / (frame.seq - began + 1)
    series = {
        name: (_part(count, share), low, high, mean, last, _part(odd, share))
        for name, (count, low, high, mean, last, odd) in frame.series.items()
    }
    return structs.replace(frame, first_seq=first, series=series)


def _part(count: int, share: float) -> int:
    return max(1, round(count * share)) if count > 0 else count
