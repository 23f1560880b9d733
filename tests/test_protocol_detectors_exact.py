"""Detectors that otherwise only the corpus judges, on traces without noise: each at its documented threshold, and just
beside it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import pytest

from lsmon.protocol.detectors.detector import Detector
from lsmon.protocol.detectors.generalization import Generalization
from lsmon.protocol.detectors.grokking_losses import GrokkingLosses
from lsmon.protocol.detectors.stall import Stall
from lsmon.protocol.detectors.thresholds import OfGeneralization, OfGrokking
from lsmon.protocol.frames import Scalars

Rows = Iterable[dict[str, float]]


def told(detector: Detector, rows: Rows) -> list[tuple[str, int, int]]:
    """Kind, step and onset of every alert, one row a step."""
    seen = (detector.see(Scalars(step=step, values=row)) for step, row in enumerate(rows))
    return [(alert.kind, alert.step, alert.onset_step) for alert in seen if alert is not None]


STILL = {"loss": 1.0, "lr": 0.1, "update/ratio": 9e-5, "stability/ratio": 0.01}


@pytest.mark.parametrize(
    ("other", "stalls"),
    [
        ({}, True),
        ({"update/ratio": 1e-4}, False),
        ({"stability/ratio": 0.011}, False),
        ({"lr": 0.0101}, True),
        ({"lr": 0.0099}, False),  # brought to rest on purpose, after the 0.1 of the first step
        ({"update/ratio": 0.0}, True),
    ],
)
def test_a_stall_is_fifteen_measurements_of_nothing(other: dict[str, float], stalls: bool) -> None:
    rows = [STILL | {"update/ratio": 1.0}] * 5 + [STILL | other] * 15
    assert told(Stall(), rows) == ([("stall", 19, 5)] if stalls else [])
    assert not told(Stall(), rows[:-1])


def test_a_stall_is_over_when_the_weights_move_and_not_when_the_loss_has_arrived() -> None:
    moves = STILL | {"update/ratio": 1e-3}
    again = [*[STILL] * 40, moves, *[STILL] * 40]
    assert told(Stall(), again) == [("stall", 14, 0), ("stall", 55, 41)]
    learned = (
        [moves] * 10 + [moves | {"loss": 0.69}] * 60 + [STILL | {"loss": 0.69}] * 40
    )  # 30 % of the first is gone
    assert told(Stall(), learned) == []
    slowly = [STILL | {"loss": 0.99**step} for step in range(100)]
    assert told(Stall(), slowly) == []


@pytest.mark.parametrize(
    ("best", "after", "train", "lost"),
    [
        (0.6, 0.44, 1.0, True),
        (0.6, 0.46, 1.0, False),  # less than 0.15
        (0.39, 0.2, 1.0, False),  # had risen by less than 0.3 above its lowest
        (0.6, 0.44, 0.96, True),
        (0.6, 0.44, 0.94, False),  # training accuracy went with it
    ],
)
def test_generalisation_is_lost_where_it_was_and_training_accuracy_stays(
    best: float, after: float, train: float, lost: bool
) -> None:
    """Three evaluations in a row; the next alert only after it was gained again."""
    high = [{"train/acc": 1.0, "val/acc": 0.1}] * 3 + [{"train/acc": 1.0, "val/acc": best}] * 5
    low = [{"train/acc": train, "val/acc": after}] * 5
    make = partial(Generalization, OfGeneralization(memory=0.0))
    assert told(make(), high + low) == ([("generalization_lost", 10, 8)] if lost else [])
    if lost:
        gained = [{"train/acc": 1.0, "val/acc": 0.9}] * 5
        assert [step for _, step, _ in told(make(), high + low + low + gained + low)] == [10, 25]


def losses(*stretches: tuple[int, float, float]) -> list[dict[str, Any]]:
    return [{"loss": loss, "val/loss": val} for count, loss, val in stretches for _ in range(count)]


@pytest.mark.parametrize(
    ("known", "val", "turned", "kinds"),
    [
        (0.099, 1.0, 0.69, ["memorized", "grokking_onset", "grokking_complete"]),
        (0.101, 1.02, 0.69, []),  # not known by heart
        (0.099, 0.98, 0.69, []),  # less than ten times as large
        (0.07, 0.79, 0.5, []),  # validation has learned something
        (0.07, 0.81, 0.5, ["memorized", "grokking_onset", "grokking_complete"]),
        (0.099, 1.0, 0.71, ["memorized"]),
    ],
)
def test_grokking_in_the_losses_alone(known: float, val: float, turned: float, kinds: list[str]) -> None:
    """Known by heart from the second evaluation of its stretch on, by the median of three: three of them, three that are
    turned, and one below a fifth of the highest."""
    rows = losses((3, 1.0, 1.0), (20, known, val), (20, known, turned))
    done = losses((1, known, 0.19 * val)) if len(kinds) > 1 else []
    steps = {"memorized": (6, 4), "grokking_onset": (25, 23), "grokking_complete": (43, 43)}
    make = partial(GrokkingLosses, OfGrokking(memory=0.0))
    assert told(make(), rows + done) == [(kind, *steps[kind]) for kind in kinds]
    assert told(make(), [row | {"val/acc": 0.5} for row in rows]) == []  # then accuracies have the word
