"""What the alerts are worth, on labelled trainings that no threshold was chosen on (``tests/corpus/split.py``).

Held out is a third of the families that were tuned on, fresh are families of their own.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field

import pytest

from tests.corpus.run import Run, names
from tests.corpus.score import Tally, judge, watched
from tests.corpus.split import part


@dataclass(frozen=True)
class Floor:
    """What must hold at least. Wanted of saddle escapes are 0.97, 0.95 and, with curvature every hundred steps, 0.8."""

    precision: float
    recall: float
    seldom: float
    grokking: int
    """Events there are of it."""
    before_half: float
    losses_alone: float


FLOORS = {
    "held out": Floor(0.97, 0.95, 0.85, grokking=10, before_half=0.9, losses_alone=0.9),
    # One onset of eleven comes with half of the answers right.
    "fresh": Floor(0.97, 0.95, 0.85, grokking=11, before_half=0.9, losses_alone=0.8),
}


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


@pytest.fixture(scope="module", params=list(FLOORS))
def which(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture(scope="module")
def floor(which: str) -> Floor:
    return FLOORS[which]


@pytest.fixture(scope="module")
def unseen(runs: list[Run], which: str) -> list[Run]:
    return [run for run in runs if part(run.name) == which]


@pytest.fixture(scope="module")
def measured(unseen: list[Run]) -> Scores:
    return scored(unseen)


def test_the_corpus_is_large_and_half_of_it_was_not_tuned_on(runs: list[Run]) -> None:
    tuned = [run for run in runs if part(run.name) == "tuning"]
    held_out = [run for run in runs if part(run.name) == "held out"]
    assert len(runs) >= 60
    assert len(tuned) <= 0.55 * len(runs)
    assert {run.family for run in held_out} >= {run.family for run in tuned} - {"tanh-adaptive"}
    assert not {run.family for run in runs if part(run.name) == "fresh"} & {run.family for run in tuned}


def test_escapes_are_told_and_nothing_else_is_called_one(measured: Scores, floor: Floor) -> None:
    """Curvature every 10 to 20 steps; none of the alerts is on an event that is neither right nor wrong to tell."""
    tally = measured.tallies["saddle_escape"]
    assert tally.right + tally.missed >= 50
    assert not tally.optional
    assert tally.precision >= floor.precision
    assert tally.recall >= floor.recall


def test_an_escape_is_announced_before_it_happens(measured: Scores, floor: Floor) -> None:
    tally = measured.tallies["saddle_entered"]
    assert tally.precision >= floor.precision - 0.01
    assert tally.early / tally.right >= 0.9


def test_with_curvature_every_hundred_steps_most_escapes_are_told(unseen: list[Run], floor: Floor) -> None:
    tally = scored(unseen, every=100).tallies["saddle_escape"]
    assert tally.precision >= floor.precision
    assert tally.recall >= floor.seldom


def test_grokking_is_told_before_half_of_the_answers_are_right(measured: Scores, floor: Floor) -> None:
    tally = measured.tallies["grokking_onset"]
    assert tally.right + tally.missed >= floor.grokking
    assert tally.precision >= 0.97
    assert tally.recall >= 0.97
    assert tally.early / tally.right >= floor.before_half
    assert measured.tallies["grokking_complete"].precision >= 0.97


def test_without_curvature_no_saddle_is_claimed_but_plateaus_are(unseen: list[Run], floor: Floor) -> None:
    """And grokking in the losses alone is right nine times in ten, and told as often, in the fresh part 9 times of 11.

    The two that are missed there generalise before the losses show that they have memorised: when the training loss is
    a tenth of its first value, the validation loss, which had risen by a tenth at most, is below four fifths of its
    own (`group-1`: 0.06 and 0.77; `difference-3`, trained on squares: 0.09 and 0.71).
    So it is in the one of the tuning part that is missed (`addition-15`, on squares too: 0.10 and 0.55).
    """
    scores = scored(unseen, every=0, hidden=("train/acc", "val/acc"))
    assert "saddle_escape" not in scores.tallies and "saddle_entered" not in scores.tallies
    assert scores.tallies["plateau_left"].precision >= 0.9
    assert scores.tallies["grokking_onset"].precision >= 0.9
    assert scores.tallies["grokking_onset"].recall >= floor.losses_alone


def test_healthy_trainings_are_left_alone(runs: list[Run]) -> None:
    """At most one false alarm of any kind in 100 000 steps."""
    healthy = scored([run for run in runs if run.healthy])
    assert healthy.healthy_steps >= 100_000
    assert healthy.false_in_healthy <= healthy.healthy_steps / 100_000


KINDS = (
    "overfitting", "loss_spike", "divergence", "nonfinite", "memorized", "generalization_lost", "stall", "curvature_spike",
    "edge_of_stability", "equilibrium",
)  # fmt: skip


@pytest.mark.parametrize(
    "kind", (*KINDS, "saddle_escape", "plateau_left", "grokking_onset", "grokking_complete")
)
def test_every_kind_has_ten_events_at_least(runs: list[Run], kind: str) -> None:
    assert sum(event.kind == kind and not event.optional for run in runs for event in run.events) >= 10


def test_every_other_kind_is_right_more_often_than_not(measured: Scores) -> None:
    for kind in KINDS:
        tally = measured.tallies[kind]
        assert tally.right or not tally.missed, kind
        assert tally.false <= (kind == "curvature_spike"), kind
