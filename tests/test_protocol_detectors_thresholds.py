"""Thresholds: each has its reason beside it, all can be set, and nonsense is one plain sentence."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import pytest

from lsmon.protocol.detectors import thresholds
from lsmon.protocol.detectors.thresholds import Thresholds
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.errors import UsageError
from tests.corpus.run import Run


def test_all_of_them_can_be_set_by_name_from_text() -> None:
    names = Thresholds.names()
    assert len(names) == len(set(names)) > 50
    for name in names:
        detector, _, threshold = name.partition(".")
        before = getattr(getattr(Thresholds(), detector), threshold)
        changed = Thresholds().changed({name: f"{before:g}"})
        assert getattr(getattr(changed, detector), threshold) == pytest.approx(before)


def test_each_has_a_sentence_that_says_why_it_is_so() -> None:
    tree = ast.parse(Path(thresholds.__file__).read_text())
    for group in tree.body:
        if not isinstance(group, ast.ClassDef) or not group.name.startswith("Of"):
            continue
        for line, after in zip(group.body[1:], [*group.body[2:], ast.Pass()], strict=True):
            if isinstance(line, ast.AnnAssign):
                said = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                assert said and len(str(ast.literal_eval(after.value))) > 25, ast.unparse(line)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"saddle.plateau_stepz": 1}, "did you mean saddle.plateau_steps?"),
        ({"saddle.nonsense": 1}, "saddle has turned"),
        ({"\x1b[31m": 1}, "DETECTOR.THRESHOLD"),
        ({"saddle.plateau_steps": "many"}, "is not a whole number"),
        ({"saddle.plateau_steps": 1.5}, "is not a whole number"),
        ({"saddle.turned": math.nan}, "is not a number"),
        ({"saddle.turned": True}, "is not a number"),
        ({"saddle.turned": 0.5}, "between -1 and 0"),
        ({"loss_spike.warm_up": 0}, "at least 1"),
        ({"loss_spike.warm_up": 10**400}, "is not a whole number"),
    ],
)
def test_nonsense_is_one_plain_sentence(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as error:
        Thresholds().changed(settings)
    assert said in str(error.value) and "\x1b" not in str(error.value) and "\n" not in str(error.value)


def test_a_threshold_that_is_set_decides() -> None:
    """Escapes of the run take 60 to 480 steps from the first sign on."""
    run = Run.load("linear2-0")

    def escapes(**settings: Any) -> int:
        watch = Watch(
            Thresholds().changed({name.replace("__", "."): value for name, value in settings.items()})
        )
        return sum(alert.kind == "saddle_escape" for frame in run.frames() for alert in watch.see(frame))

    assert escapes() == 3
    assert escapes(saddle__plateau_steps=300) < 3
    assert escapes(saddle__fallen=0.99) < 3
