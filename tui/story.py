"""The run's story in chapters of a word or two: what the alerts and the regime seen so far say, and nothing else."""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lsmon.protocol.frames import Alert
from lsmon.protocol.regime import NORMAL, REGIMES

from .view import Track


@dataclass(frozen=True, slots=True)
class Chapter:
    """From ``step`` on, until the next one."""

    step: int
    word: str
    short: str = ""
    """The same in fewer letters, where there is one."""
    severity: str = "info"
    weight: int = 1
    """What matters less gives way first where not all words fit."""
    moment: bool = False
    """Happens at a step and is over: the chapter before it goes on."""


_INIT = Chapter(0, "init", weight=0)
_TRAINING = Chapter(0, "training", weight=0)
"""Of a run of which numbers are logged and nothing is measured, no regime will ever follow."""

# fmt: off
_ALERTS = {
    "saddle_entered": Chapter(0, "saddle", weight=2),
    "saddle_escape": Chapter(0, "descent", weight=2),
    "plateau_left": Chapter(0, "descent", weight=1),
    "memorized": Chapter(0, "memorized", "memo", weight=3),
    "grokking_onset": Chapter(0, "GROKKING", weight=5),
    "grokking_complete": Chapter(0, "grokked", weight=4),
    "generalization_lost": Chapter(0, "generalization lost", "gen lost", "warning", 4),
    "edge_of_stability": Chapter(0, "edge of stability", "edge", weight=2),
    "curvature_spike": Chapter(0, "curvature spike", "spike", "warning", 1, moment=True),
    "loss_spike": Chapter(0, "spike", severity="warning", weight=2, moment=True),
    "divergence": Chapter(0, "diverged", severity="critical", weight=6),
    "nonfinite": Chapter(0, "not finite", "nan", "critical", 6),
    "hang": Chapter(0, "no step", severity="warning", weight=3, moment=True),
    "stall": Chapter(0, "stalling", severity="warning", weight=3),
    "equilibrium": Chapter(0, "equilibrium", "balance", weight=2),
    "overfitting": Chapter(0, "overfitting", "overfit", "warning", 3),
}
"""What an alert begins, at its onset. Kinds without a word here (``silent``, ``probe_fault``) are not the training's."""

_REGIMES = {
    "stable": Chapter(0, "stable", weight=0),
    "saturated": Chapter(0, "saturated", weight=0),
    "edge of stability": _ALERTS["edge_of_stability"],
    "stalling": _ALERTS["stall"],
    "clipped": Chapter(0, "clipped", severity="warning", weight=2),
    "heating": Chapter(0, "heating", severity="warning", weight=2),
    "dead units": Chapter(0, "dead units", "dead", "warning", 3),
    "vanishing": Chapter(0, "vanishing", severity="warning", weight=3),
    "exploding": Chapter(0, "exploding", severity="critical", weight=5),
}
# fmt: on

_PASSING = frozenset({"edge_of_stability", "stall", "nonfinite"})
"""Kinds that the regime tells too: they last until the regime is another, and then what was before goes on."""
_QUIET = frozenset(NORMAL) - {"edge of stability"}
"""Regimes that never take the place of what an alert has said."""


def story(
    first_step: int, alerts: Sequence[Alert], regime: Track | None, *, measured: bool = True
) -> tuple[Chapter, ...]:
    """Chapters in order of their steps, from ``first_step`` on; what has begun last is told, and nothing twice in a row."""
    told = [replace(_INIT if measured or regime is not None else _TRAINING, step=first_step)]
    base = now = told[0]  # what goes on when a passing state is over, and what is so at this step
    events = [*_of_alerts(alerts), *_of_regime(regime)]
    for step, name, chapter in sorted(events, key=lambda event: event[0]):
        chapter = replace(chapter, step=max(step, first_step))
        if chapter.moment:
            told.append(chapter)
            continue
        if name == "exploding" and now.word == _ALERTS["nonfinite"].word:
            continue  # what is not finite is called that by the regime
        if name in _QUIET:
            if base.weight:
                # What goes on weighs more than what interrupted it: dropped alone, that would seem to last.
                chapter = replace(base, step=chapter.step, weight=max(base.weight, now.weight + 1))
            else:
                base = chapter
        elif name in _ALERTS and name not in _PASSING:
            base = chapter
        if chapter.word != now.word:
            told.append(chapter)
            now = chapter
    return tuple(told)


def _of_alerts(alerts: Sequence[Alert]) -> Iterator[tuple[int, str, Chapter]]:
    for alert in alerts:
        chapter = _ALERTS.get(alert.kind)
        if chapter is not None:
            yield alert.onset_step if 0 < alert.onset_step < alert.step else alert.step, alert.kind, chapter


def _of_regime(regime: Track | None) -> Iterator[tuple[int, str, Chapter]]:
    """The changes of the regime: told again and again, it is the same chapter."""
    before = ""
    if regime is not None:
        for step, value in zip(array("d", regime.firsts), array("d", regime.highs), strict=True):
            # The most urgent of a stretch, as REGIMES is ordered; infinite where the stretch holds none.
            name = REGIMES[int(value)] if 0 <= value < len(REGIMES) else ""
            if name and name != before:
                before = name
                yield int(step), name, _REGIMES[name]
