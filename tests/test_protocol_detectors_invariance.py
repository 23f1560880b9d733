"""What must not change a verdict: the unit of the loss, how often and in what it is counted, holes, and a resume."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from lsmon.protocol.detectors.rest import REST_STEPS
from lsmon.protocol.detectors.thresholds import OfPlateau
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Ritz, Scalars
from tests.corpus.run import Run, names
from tests.corpus.score import watched

pytestmark = pytest.mark.timeout(900)  # they wait for nothing, and walk a million frames

Verdicts = list[str]
"""Kinds of all alerts but those of NaN, sorted: chapters of different stories may change places."""


def verdicts(alerts: Iterable[Alert]) -> Verdicts:
    return sorted(alert.kind for alert in alerts if alert.kind != "nonfinite")


@pytest.fixture(scope="module")
def corpus() -> list[tuple[Run, list[Alert]]]:
    """Every run of the corpus, with the alerts on it as it is."""
    return [(run, list(watched(run.frames()))) for run in map(Run.load, names())]


Corpus = list[tuple[Run, list[Alert]]]


def changed(corpus: Corpus, otherwise: Callable[[Run], Iterable[AnyFrame]]) -> dict[str, Verdicts]:
    """Names of the runs that get another verdict when seen in another way, and the kinds that were told more or less
    often."""
    differ = {}
    for run, alerts in corpus:
        before, after = Counter(verdicts(alerts)), Counter(verdicts(watched(otherwise(run))))
        if before != after:
            differ[run.name] = sorted((before - after) + (after - before))
    return differ


def test_the_unit_of_the_loss_and_steps_that_are_tokens(corpus: Corpus) -> None:
    """Neither has to do with the other, so a run in which one changed a verdict would be named here too."""
    assert changed(corpus, lambda run: run.frames(scale=10.0, tokens=4096)) == {}


def test_curvature_that_arrives_forty_steps_late(corpus: Corpus) -> None:
    """As it does live, where its products are spread over the steps that follow."""

    def late(run: Run) -> Iterator[AnyFrame]:
        waiting: list[Curvature] = []
        for frame in run.frames():
            if isinstance(frame, Curvature):
                waiting.append(frame)
                continue
            while waiting and waiting[0].step <= frame.step - 40:
                yield waiting.pop(0)
            yield frame
        yield from waiting

    assert changed(corpus, late) == {}


RESUMES = ((0.31, 0), (0.31, 40), (0.62, 40))
"""Where in the run, and how many steps it goes back: each run of a sort gets the next of these."""


def test_a_run_that_is_resumed(corpus: Corpus) -> None:
    places = {run.name: RESUMES[number % len(RESUMES)] for number, (run, _) in enumerate(corpus)}

    def resumed(run: Run) -> Iterator[AnyFrame]:
        part, back = places[run.name]
        frames = list(run.frames())
        cut = int(part * frames[-1].step)
        yield from (frame for frame in frames if frame.step <= cut)
        yield from (
            structs.replace(frame, attempt=frame.attempt + 1) for frame in frames if frame.step > cut - back
        )

    assert changed(corpus, resumed) == {}


THINNER = 10
"""One sample in so many."""


def width(run: Run, spike: Alert) -> int:
    """Steps from the onset of a spike of the loss until half of its rise is gone: its width at half height."""
    losses = [
        (step, values["loss"])
        for rows in run.attempts
        for step, values in rows["scalars"]
        if "loss" in values and step >= spike.onset_step
    ]
    peak = max(loss for step, loss in losses if step <= spike.step)
    half = (spike.evidence["before"] + peak) / 2
    over = (step for step, loss in losses if step > spike.step and loss < half)
    return next(over, run.steps) - spike.onset_step


def delayed_beyond_the_end(run: Run, alert: Alert) -> bool:
    """As many samples after its event as it took, it would be told when the run is over."""
    onset = min((event.onset for event in run.events if event.kind == alert.kind), default=alert.onset_step)
    return onset + THINNER * (alert.step - onset) > run.steps


def test_logging_every_tenth_step(corpus: Corpus) -> None:
    """A spike that is half gone within three samples of the thinner log is not in it, since one batch is no event; and
    what takes a number of samples to be sure of takes ten times the steps."""
    differ = changed(corpus, lambda run: run.frames(log_every=THINNER))
    for run, alerts in corpus:
        for kind in differ.pop(run.name, []):
            assert kind in {"loss_spike", "divergence"}, (run.name, kind)
            told = [alert for alert in alerts if alert.kind == kind]
            assert any(
                width(run, alert) < 3 * THINNER
                if kind == "loss_spike"
                else delayed_beyond_the_end(run, alert)
                for alert in told
            ), (run.name, kind)
    assert differ == {}


OFTEN_ENOUGH = (
    "linear2-sgd-2", "quartic-2", "tanh-2", "relu-4", "addition-00", "parity-2", "lost-1", "restart-0", "overfit-2",
    "sharpness-0", "stall-0", "spike-0", "divergence-0", "batch-size-1", "addition-06", "factor-4", "linear2-0",
    "linear2-momentum-1", "tanh-0",
)  # fmt: skip
"""Of every sort one, whose plateaus are long enough for a thinner log."""


@pytest.mark.parametrize("name", OFTEN_ENOUGH)
def test_logging_every_tenth_step_without_curvature(name: str) -> None:
    run = Run.load(name)
    seldom = watched(run.frames(every=0, log_every=THINNER))
    assert verdicts(seldom) == verdicts(watched(run.frames(every=0)))


def test_a_plateau_that_is_too_short_for_a_thinner_log() -> None:
    """A plateau of eighty steps is eight samples of every tenth step: too few to be told from noise."""
    run = Run.load("clusters-4")
    often = [alert for alert in watched(run.frames(every=0)) if alert.kind == "plateau_left"]
    seldom = [
        alert for alert in watched(run.frames(every=0, log_every=THINNER)) if alert.kind == "plateau_left"
    ]
    fewest = OfPlateau().quiet_samples
    missing = [alert for alert in often if not any(abs(alert.step - other.step) < 100 for other in seldom)]
    assert [alert.step for alert in missing] == [89]
    assert all((alert.onset_step - alert.evidence["plateau since"]) / 10 < fewest for alert in missing)


def test_holes_and_values_that_are_none(corpus: Corpus) -> None:
    """A spike of three samples of which one is missing may be told or not."""

    def holes(run: Run) -> Iterator[AnyFrame]:
        for number, frame in enumerate(run.frames()):
            if isinstance(frame, Scalars) and "val/acc" not in frame.values:
                if number % 17 == 3:
                    continue
                if number % 29 == 5:
                    frame = structs.replace(frame, values={**frame.values, "loss": math.nan, "lr": math.inf})
            yield frame

    differ = changed(corpus, holes)
    for run, alerts in corpus:
        if differ.get(run.name) != ["loss_spike"]:
            continue
        there = {frame.step for frame in holes(run) if isinstance(frame, Scalars) and not math.isnan(frame.values.get("loss", 0.0))}  # fmt: skip
        spikes = [alert for alert in (*alerts, *watched(holes(run))) if alert.kind == "loss_spike"]
        assert any(set(range(alert.onset_step - 1, alert.step + 2)) - there for alert in spikes)
        del differ[run.name]
    assert differ == {}


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
