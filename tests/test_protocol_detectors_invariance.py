"""What must not change a verdict: the unit of the loss, how often and in what it is counted, holes, and a resume."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from lsmon.protocol.detectors.thresholds import OfPlateau
from lsmon.protocol.detectors.watch import REST_STEPS, Watch
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Ritz, Scalars
from tests.corpus.run import Run
from tests.corpus.score import watched

RUNS = (
    "linear2-sgd-2", "quartic-2", "tanh-2", "relu-4", "addition-00", "parity-2", "lost-1", "restart-0", "overfit-2",
    "sharpness-0", "stall-0",
)  # fmt: skip
"""Of every sort one, from both parts of the corpus."""


@pytest.fixture(scope="module", params=RUNS)
def run(request: pytest.FixtureRequest) -> Run:
    name: str = request.param
    return Run.load(name)


def kinds(frames: Iterable[AnyFrame]) -> list[str]:
    """Of all alerts but those of NaN, sorted: chapters of different stories may change places."""
    return sorted(alert.kind for alert in watched(frames) if alert.kind != "nonfinite")


def test_the_unit_of_the_loss(run: Run) -> None:
    assert kinds(run.frames(scale=10.0)) == kinds(run.frames())


SELDOM = (
    *RUNS,
    "spike-0",
    "divergence-0",
    "batch-size-1",
    "addition-06",
    "factor-4",
    "linear2-0",
    "linear2-momentum-1",
    "tanh-0",
)
"""And those whose verdicts hang most on how often the loss is logged."""


@pytest.mark.parametrize("every", [None, 0])
@pytest.mark.parametrize("name", SELDOM)
def test_logging_every_tenth_step(name: str, every: int | None) -> None:
    """With curvature and, for plateaus, without it."""
    run = Run.load(name)
    assert kinds(run.frames(every=every, log_every=10)) == kinds(run.frames(every=every))


def test_only_what_lasts_fewer_than_a_dozen_samples_is_not_in_a_thinner_log() -> None:
    """A plateau of eighty steps is eight samples of every tenth step: too few to be told from noise."""
    run = Run.load("clusters-4")
    often = [alert for alert in watched(run.frames(every=0)) if alert.kind == "plateau_left"]
    seldom = [alert for alert in watched(run.frames(every=0, log_every=10)) if alert.kind == "plateau_left"]
    fewest = OfPlateau().quiet_samples
    missing = [alert for alert in often if not any(abs(alert.step - other.step) < 100 for other in seldom)]
    assert [alert.step for alert in missing] == [89]
    assert all((alert.onset_step - alert.evidence["plateau since"]) / 10 < fewest for alert in missing)


def test_steps_that_are_tokens(run: Run) -> None:
    assert kinds(run.frames(tokens=4096)) == kinds(run.frames())


def test_holes_and_values_that_are_none(run: Run) -> None:
    def holes(frames: Iterable[AnyFrame]) -> Iterator[AnyFrame]:
        for number, frame in enumerate(frames):
            if isinstance(frame, Scalars) and "val/acc" not in frame.values:
                if number % 17 == 3:
                    continue
                if number % 29 == 5:
                    frame = structs.replace(frame, values={**frame.values, "loss": math.nan, "lr": math.inf})
            yield frame

    assert kinds(holes(run.frames())) == kinds(run.frames())


@pytest.mark.parametrize("part", [0.31, 0.62])
def test_a_run_that_is_resumed_from_forty_steps_before(run: Run, part: float) -> None:
    frames = list(run.frames())
    cut = int(part * frames[-1].step)
    resumed = [frame for frame in frames if frame.step <= cut]
    resumed += [
        structs.replace(frame, attempt=frame.attempt + 1) for frame in frames if frame.step > cut - 40
    ]
    assert kinds(resumed) == kinds(frames)


def test_curvature_that_arrives_forty_steps_late(run: Run) -> None:
    """As it does live, where its products are spread over the steps that follow."""
    waiting: list[Curvature] = []
    late: list[AnyFrame] = []
    for frame in run.frames():
        if isinstance(frame, Curvature):
            waiting.append(frame)
            continue
        while waiting and waiting[0].step <= frame.step - 40:
            late.append(waiting.pop(0))
        late.append(frame)
    assert kinds([*late, *waiting]) == kinds(run.frames())


NUMBER = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0.0, 1.0, -1.0, 1e-300, 1e300, 0.5, 0.99]),
)
SHAPE = st.sampled_from(["constant", "steps", "walk", "saw", "any"])


@st.composite
def series(draw: st.DrawFn) -> list[float]:
    """Constants, steps, random walks, saws and anything at all, 1200 long."""
    shape, start = draw(SHAPE), draw(st.floats(-10, 10))
    some = draw(st.lists(NUMBER, min_size=1, max_size=40))
    if shape == "constant":
        return [start] * 1200
    if shape == "any":
        return [some[step % len(some)] for step in range(1200)]
    finite = [max(-10.0, min(10.0, value)) if math.isfinite(value) else 1.0 for value in some]
    if shape == "steps":
        return [finite[step // 37 % len(finite)] for step in range(1200)]
    if shape == "saw":
        return [start + finite[0] * (step % 61) for step in range(1200)]
    level, walk = start, []
    for step in range(1200):
        level += 0.1 * finite[step * 7 % len(finite)]
        walk.append(level)
    return walk


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.lists(series(), min_size=5, max_size=5), st.integers(1, 400))
def test_nothing_raises_and_nothing_floods(columns: list[list[float]], resume_every: int) -> None:
    """At most one alert of a kind in 200 steps, whatever comes, and however often it is resumed."""
    watch, found = Watch(), list[tuple[int, Alert]]()
    loss, val, top, bottom, along = columns
    for step in range(1200):
        attempt = 1 + step // resume_every
        values = {"loss": loss[step], "val/loss": val[step], "train/acc": top[step], "val/acc": bottom[step], "update/ratio": along[step], "lr": val[step]}  # fmt: skip
        for frame in (
            Scalars(step=step, attempt=attempt, values=values),
            Curvature(
                step=step, attempt=attempt, top=(Ritz(top[step], 0.0),), bottom=(Ritz(bottom[step], 0.0),),
                grad_curvature=along[step], grad_norm=abs(val[step]), loss=loss[step],
            ),
        ):  # fmt: skip
            found += [(step, alert) for alert in watch.see(frame)]
    by_kind: dict[str, list[int]] = {}
    for step, alert in found:
        by_kind.setdefault(alert.kind, []).append(step)
        assert (
            alert.onset_step <= alert.step and alert.message and alert.advice and alert.confidence is not None
        )
    for kind, steps in by_kind.items():
        assert all(later - earlier >= REST_STEPS for earlier, later in pairwise(steps)), kind
