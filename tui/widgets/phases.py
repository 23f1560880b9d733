"""The phase strip: the run's story over its whole length, in one row of words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lsmon.protocol.counts import grouped
from lsmon.protocol.frames import Alert

from ..store import MAX_EVENTS
from ..story import Chapter, story
from ..view import Track
from .bars import Bar, Moment
from .canvas import Canvas, cells, fit

_LABEL = 8
"""Columns before the strip, as the header's own."""
_LEAST = 4
"""Cells of the shortest word with its rule and its air."""


@dataclass(frozen=True, slots=True)
class Placed:
    """A chapter at a column, in the form that fits."""

    x: int
    chapter: Chapter
    word: str


class PhaseStrip(Bar):
    """Chapters where they began, as far as their words leave room; the number of alerts on the right."""

    def __init__(self) -> None:
        super().__init__()
        self._known: tuple[int, Sequence[Alert], Track | None] | None = None
        self._chapters: tuple[Chapter, ...] = ()

    def chapters(self, moment: Moment) -> tuple[Chapter, ...]:
        """The story, told anew only when something was added to it."""
        view = moment.view
        known = self._known
        regime = view.series.get("regime")
        if known is None or known[0] != view.first_step or known[2] is not regime or known[1] != view.alerts:
            self._known = view.first_step, view.alerts, regime
            self._chapters = story(view.first_step, view.alerts, regime, measured=view.header.parameters > 0)
        return self._chapters

    def draw_moment(self, canvas: Canvas, moment: Moment) -> None:
        view, ascii_only = moment.view, moment.ascii_only
        more = "+" if len(view.alerts) >= MAX_EVENTS else ""
        count = len(view.alerts) + moment.own
        counted = f"alerts {grouped(count)}{more}"
        right = canvas.cols - len(counted) - 1
        canvas.put(right, 0, counted, "ink" if count else "faint")
        canvas.put(1, 0, "phase", "faint")
        if not view.seq:
            canvas.put(_LABEL, 0, "nothing yet", "dim", end=right - 1)
            return
        items = placed(self.chapters(moment), view.step, right - 2 - _LABEL)
        now = going([item.chapter for item in items])
        for item in items:
            chapter = item.chapter
            sign = ("!" if ascii_only else "▲") if chapter.moment else ("|" if ascii_only else "▏")
            ink = "soft warning" if chapter.moment else "rule"
            x = canvas.put(_LABEL + item.x, 0, sign, ink, end=right - 1)
            ink = "dim" if chapter.severity == "info" else chapter.severity
            if chapter is now:
                ink = "bold ink" if chapter.severity == "info" else f"bold {chapter.severity}"
            canvas.put(x, 0, item.word, ink, end=right - 1)


def going(chapters: Sequence[Chapter]) -> Chapter | None:
    """The chapter that lasts at the end."""
    return next((chapter for chapter in reversed(chapters) if not chapter.moment), None)


def placed(chapters: Sequence[Chapter], last_step: int, cols: int) -> list[Placed]:
    """Words side by side within so many columns, each where its chapter began or as near as its neighbours let it.

    Where not all fit, words become short, then the lightest chapters go, the oldest first; the present one stays.
    """
    first = chapters[0].step
    kept = _heaviest(chapters, max(cols // _LEAST, 1))
    while True:
        for words in ([c.word for c in kept], [c.short or c.word for c in kept]):
            if sum(cells(word) + 2 for word in words) - 1 <= cols:
                return _spread(kept, words, first, last_step, cols)
        if len(kept) == 1:
            word = fit(kept[0].short or kept[0].word, max(cols - 1, 0))
            return [Placed(0, kept[0], word)] if cols >= _LEAST else []
        kept = _heaviest(kept, len(kept) - 1)


def _heaviest(chapters: Sequence[Chapter], count: int) -> list[Chapter]:
    """So many at most, in their order, and nothing twice in a row."""
    now = going(chapters)
    by_weight = sorted(range(len(chapters)), key=lambda i: (chapters[i] is now, chapters[i].weight, i))
    kept: list[Chapter] = []
    lasting = ""
    for chapter in (chapters[i] for i in sorted(by_weight[-count:])):
        if chapter.moment:
            kept.append(chapter)
        elif chapter.word != lasting:
            kept.append(chapter)
            lasting = chapter.word
    return kept


def _spread(
    chapters: Sequence[Chapter], words: Sequence[str], first: int, last: int, cols: int
) -> list[Placed]:
    """Pushed to the right by the one before, then back from the end."""
    widths = [cells(word) + 2 for word in words]
    span = max(last - first, 1)
    at: list[int] = []
    free = 0
    for chapter, width in zip(chapters, widths, strict=True):
        at.append(max(round((chapter.step - first) / span * cols), free))
        free = at[-1] + width
    end = cols + 1
    for i in range(len(at) - 1, -1, -1):
        at[i] = min(at[i], end - widths[i])
        end = at[i]
    return [Placed(x, chapter, word) for x, chapter, word in zip(at, chapters, words, strict=True)]
