"""What the alerts are worth, on labelled trainings that no threshold was chosen on (``tests/corpus/split.py``)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from tests.corpus.run import Run, names
from tests.corpus.score import Tally, judge, watched
from tests.corpus.split import part


@dataclass
class Scores:
    """Of one way to watch all of a part."""

    tallies: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    false_in_healthy: int = 0
    healthy_steps: int = 0


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return [Run.load(name) for name in names()]


def scored(runs: list[Run], *, every: int | None = None, hidden: tuple[str, ...] = ()) -> Scores:
    scores = Scores()
    for run in runs:
        alerts = watched(run.frames(every=every, hidden=hidden))
        false = judge(run, alerts, scores.tallies, spacing=every or 20, curvature=every != 0)
        if run.healthy:
            scores.false_in_healthy += false
            scores.healthy_steps += run.steps
    return scores


@pytest.fixture(scope="module")
def unseen(runs: list[Run]) -> list[Run]:
    return [run for run in runs if part(run.name) == "held out"]


@pytest.fixture(scope="module")
def measured(unseen: list[Run]) -> Scores:
    return scored(unseen)


def test_the_corpus_is_large_and_a_third_of_it_is_held_out(runs: list[Run], unseen: list[Run]) -> None:
    assert len(runs) >= 60
    assert len(runs) / 4 < len(unseen) < len(runs) / 2
    assert {run.family for run in unseen} >= {run.family for run in runs if part(run.name) == "tuning"} - {
        "tanh-adaptive"
    }


def test_escapes_are_told_and_nothing_else_is_called_one(measured: Scores) -> None:
    """Curvature every 10 to 20 steps."""
    tally = measured.tallies["saddle_escape"]
    assert tally.right + tally.missed >= 40
    assert tally.precision >= 0.97
    assert tally.recall >= 0.95


def test_an_escape_is_announced_before_it_happens(measured: Scores) -> None:
    tally = measured.tallies["saddle_entered"]
    assert tally.precision >= 0.97
    assert tally.early / tally.right >= 0.9


def test_with_curvature_every_hundred_steps_four_of_five_escapes_are_told(unseen: list[Run]) -> None:
    tally = scored(unseen, every=100).tallies["saddle_escape"]
    assert tally.precision >= 0.97
    assert tally.recall >= 0.8


def test_grokking_is_told_before_half_of_the_answers_are_right(measured: Scores) -> None:
    tally = measured.tallies["grokking_onset"]
    assert tally.right + tally.missed >= 10
    assert tally.precision >= 0.97
    assert tally.recall >= 0.97
    assert tally.early / tally.right >= 0.9
    assert measured.tallies["grokking_complete"].precision >= 0.97


def test_without_curvature_no_saddle_is_claimed_but_plateaus_are(unseen: list[Run]) -> None:
    """And grokking in the losses alone is right nine times in ten."""
    scores = scored(unseen, every=0, hidden=("train/acc", "val/acc"))
    assert "saddle_escape" not in scores.tallies and "saddle_entered" not in scores.tallies
    assert scores.tallies["plateau_left"].precision >= 0.9
    assert scores.tallies["grokking_onset"].precision >= 0.9
    assert scores.tallies["grokking_onset"].recall >= 0.9


def test_healthy_trainings_are_left_alone(runs: list[Run]) -> None:
    """At most one false alarm of any kind in 100 000 steps."""
    healthy = scored([run for run in runs if run.healthy])
    assert healthy.healthy_steps >= 100_000
    assert healthy.false_in_healthy <= healthy.healthy_steps / 100_000


def test_every_other_kind_is_right_more_often_than_not(measured: Scores) -> None:
    for kind in (
        "overfitting",
        "loss_spike",
        "divergence",
        "nonfinite",
        "memorized",
        "generalization_lost",
        "stall",
    ):
        tally = measured.tallies[kind]
        assert tally.right and not tally.false, kind
