"""The regime, the edge and the gauge's alert on sequences whose truth is known by construction."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.depth import trend
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.edge import Edge
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Layers, Ritz, Scalars
from lsmon.protocol.regime import NORMAL, REGIMES, REPEAT, Regime, Verdict
from lsmon.protocol.regime.losses import STRETCH, Losses


def told(frames: Iterable[AnyFrame]) -> list[tuple[int, Verdict]]:
    regime = Regime()
    return [(frame.step, verdict) for frame in frames if (verdict := regime.see(frame)) is not None]


def losses(values: Iterable[float], **beside: Any) -> list[AnyFrame]:
    """One frame a step, with other numbers beside the loss."""
    return [Scalars(step=step, values={"loss": loss} | beside) for step, loss in enumerate(values, 1)]


def labels(verdicts: list[tuple[int, Verdict]]) -> list[str]:
    names = [verdict.label for _, verdict in verdicts]
    return [name for place, name in enumerate(names) if place == 0 or names[place - 1] != name]


def falling(steps: int, start: float = 2.3, rate: float = 100.0, end: float = 0.2) -> list[float]:
    return [end + (start - end) * math.exp(-step / rate) for step in range(steps)]


def test_a_line_over_depth() -> None:
    """Second moments that grow tenfold in two layers: half a dex a layer; what overflowed is left out."""
    line = trend([10 ** (0.5 * place) for place in range(10)])
    assert line is not None
    assert line.slope == pytest.approx(0.5)
    assert line.total == pytest.approx(4.5)
    assert line.layers == 10
    line = trend([1.0, 10.0, 100.0, 1000.0, math.inf, math.nan, 0.0])
    assert line is not None
    assert line.slope == pytest.approx(1.0)
    assert line.layers == 4
    assert trend([1.0, 2.0, 3.0]) is None
    line = trend([0.0, 0.0, 1e-40, 1e-30, 1e-20, 1e-10, math.inf])
    assert line is not None
    assert (line.layers, line.gone) == (4, 2)


def test_what_vanishes_below_what_a_float_holds_is_no_dead_unit() -> None:
    """Gradients that are exactly zero in all but the last five of 30 layers, where they shrink by 6 dex a layer, are
    vanishing; where the last five are level, a layer in between is dead."""
    for dex, label in ((6.0, "vanishing"), (0.0, "dead units")):
        frames: list[AnyFrame] = []
        for frame in losses([2.3] * 300):
            frames.append(frame)
            if frame.step % 20 == 0:
                gradient = (0.0,) * 25 + tuple(10 ** (dex * (place - 4)) for place in range(5)) + (1.0,)
                values = {"activation": (1.0,) * 31, "gradient": gradient, "dead": (1.0,) * 25 + (0.0,) * 6}
                names = tuple(f"l{place}" for place in range(31))
                frames.append(Layers(step=frame.step, names=names, values=values))
        assert told(frames)[-1][1].label == label


def test_the_edge_is_told_after_it_was_crossed_and_not_before() -> None:
    """Rising by 1 % a measurement: at the first one beyond it; it stays until the ratio has left."""
    edge = Edge()
    ratio, told = 0.5, []
    for step in range(0, 1000, 10):
        ratio = min(ratio * 1.01, 1.02)
        if edge.see(step, ratio):
            told.append((step, ratio))
    assert told[0][1] >= 1.0
    crossed = next(step for step in range(0, 1000, 10) if 0.5 * 1.01 ** (step / 10 + 1) >= 1.0)
    assert told[0][0] == crossed
    assert edge.see(1000, 0.72)
    assert not edge.see(1010, 0.6)
    assert not edge.see(1020, math.nan)


def test_settling_just_below_counts_and_passing_through_does_not() -> None:
    """Level at 0.92 as with Nesterov is the edge; a saw-tooth across it too; a jump through the band is not."""
    level, saw, jump = Edge(), Edge(), Edge()
    for step in range(20):
        level.see(step, 0.92)
        saw.see(step, 0.88 + 0.02 * (step % 10))
        jump.see(step, 0.1 * 1.7**step)
    assert level.at and saw.at
    assert not jump.at


@pytest.mark.parametrize(
    ("before", "ratio", "steps", "at"),
    [
        (0.6, 1.05, 100, True),
        (0.6, 1.05, 20, False),  # in ten more steps at 1.27
        (0.4, 1.05, 100, False),  # from afar: a new learning rate
        (1.3, 1.05, 100, False),  # falling
        (0.9, 0.99, 100, False),
    ],
)
def test_one_measurement_beyond_the_edge_is_enough_that_came_slowly(
    before: float, ratio: float, steps: int, at: bool
) -> None:
    edge = Edge()
    assert not edge.see(10, before)
    assert edge.see(10 + steps, ratio) is at


def test_a_training_that_goes_well_is_stable() -> None:
    """One word, repeated with the present numbers for whoever came late."""
    verdicts = told(losses(falling(500), **{"stability/ratio": 0.1, "update/ratio": 1e-3}))
    assert labels(verdicts) == ["stable"]
    assert verdicts[0][0] == 20
    assert [later[0] - earlier[0] for earlier, later in pairwise(verdicts)] == [REPEAT] * (len(verdicts) - 1)  # fmt: skip
    assert verdicts[-1][1].words == "stable: loss 0.224, sharpness 0.1 of the edge"


def test_exploding_needs_a_grown_loss_and_a_sharpness_beyond_the_edge() -> None:
    """Either alone is a spike or a catapult; not-a-number is told at once."""
    grown = [*falling(200), *(0.5 * 1.05**k for k in range(60))]
    assert "exploding" in labels(told(losses(grown, **{"stability/ratio": 3.0})))
    assert "exploding" not in labels(told(losses(grown, **{"stability/ratio": 0.5})))
    assert "exploding" not in labels(told(losses(falling(300), **{"stability/ratio": 16.0})))
    verdicts = told(losses([2.3, 2.2, math.nan, math.nan]))
    assert [(step, verdict.label) for step, verdict in verdicts] == [(4, "exploding")]
    assert verdicts[0][1].words.startswith("exploding: the loss is not finite; ")


def test_a_sharpness_that_is_hardly_known_claims_nothing() -> None:
    """Measured on a part whose sharpness may be three times that of all examples: neither at the edge, nor exploding,
    nor an alert, though the numbers themselves cross it; what is said is said as a bound."""
    ratios = [0.5 + 0.01 * place for place in range(60)]
    unsure = [
        Scalars(
            step=step, values={"loss": 1.0, "stability/ratio": ratio}, errors={"stability/ratio": 0.7 * ratio}
        )
        for step, ratio in enumerate([*ratios, *[1.05] * 40], 1)
    ]
    verdicts = told(unsure)
    assert labels(verdicts) == ["stable"]
    assert "at most" in verdicts[-1][1].words
    assert not [alert for alert in alerts(unsure) if alert.kind == "edge_of_stability"]
    sure = [Scalars(step=f.step, values=f.values, errors={"stability/ratio": 0.01}) for f in unsure]
    assert labels(told(sure)) == ["stable", "edge of stability"]
    assert [alert.kind for alert in alerts(sure)] == ["edge_of_stability"]
    grown = [*falling(200), *(0.5 * 1.05**k for k in range(60))]
    for error, explodes in ((2.5, False), (0.1, True)):
        frames = [
            Scalars(
                step=step, values={"loss": loss, "stability/ratio": 3.0}, errors={"stability/ratio": error}
            )
            for step, loss in enumerate(grown, 1)
        ]
        assert ("exploding" in labels(told(frames))) == explodes


def layers(step: int, activation: float, gradient: float = 0.0, dead: float = 0.0, count: int = 31) -> Layers:
    return Layers(
        step=step,
        names=tuple(f"l{place}" for place in range(count)),
        values={
            "activation": tuple(10 ** (activation * place) for place in range(count)),
            "gradient": tuple(10 ** (gradient * place) for place in range(count)),
            "dead": tuple([0.0, dead] + [0.0] * (count - 2)),
        },
    )


@pytest.mark.parametrize(
    ("look", "level", "label", "words"),
    [
        ({"activation": 0.9, "gradient": -0.9}, 2.3, "exploding", "activations grow by 0.9 dex a layer over 30 layers"),
        ({"activation": -0.3, "gradient": 0.3}, 2.3, "vanishing", "activations shrink by 0.3 dex a layer over 30 layers"),
        ({"activation": 0.0, "gradient": 0.8}, 2.3, "vanishing", "gradients shrink backwards by 0.8 dex a layer over 30"),
        ({"activation": 0.0, "dead": 0.9}, 2.3, "dead units", "90% of the units of layer l1 have not been active"),
        ({"activation": -0.3, "gradient": 0.3}, 0.2, "stable", "loss 0.2"),
        ({"activation": -0.3, "gradient": 0.3, "count": 8}, 2.3, "stable", "loss 2.3"),
        ({"activation": 0.1, "gradient": -0.1}, 2.3, "stable", "loss 2.3"),
        ({"activation": 0.0, "dead": 0.14}, 2.3, "stable", "loss 2.3"),
    ],
)  # fmt: skip
def test_scale_over_depth(look: dict[str, Any], level: float, label: str, words: str) -> None:
    """Steep and far is a fault, with the remedy in the sentence; not where the loss falls all the same."""
    frames: list[AnyFrame] = []
    values = falling(300, rate=20.0) if level < 1 else [2.3] * 300
    for frame in losses(values):
        frames.append(frame)
        if frame.step % 20 == 0:
            frames.append(layers(frame.step, **look))
    verdict = told(frames)[-1][1]
    assert verdict.label == label
    assert words in verdict.words


def test_stalling_and_what_is_not() -> None:
    """All three at once: far below the edge, tiny updates, a loss that stands high; not at a minimum, nor on a saddle,
    nor before it is known whether units are dead. Very
    far below the edge updates need not be as tiny, as long as ten times them is healthy."""
    slow = {"stability/ratio": 5e-3, "update/ratio": 5e-5}
    still = [2.3 - 1e-4 * step for step in range(400)]
    verdicts = told(losses(still, **slow))
    assert labels(verdicts) == ["stable", "stalling"]
    assert "sharpness is 0.005 of the edge, an update 5e-05 of the weights and the loss fell by 0." in verdicts[-1][1].words  # fmt: skip
    assert labels(told(losses(still, **slow | {"update/ratio": 1e-3}))) == ["stable"]
    assert labels(told(losses(still, **slow | {"stability/ratio": 0.1}))) == ["stable"]
    assert labels(told(losses(falling(600, rate=60.0), **slow))) == ["stable"]
    uncounted = [Layers(step=1, names=("a",) * 3, values={"activation": (1.0,) * 3, "gradient": (1.0,) * 3})]
    assert labels(told([*uncounted, *losses(still, **slow)])) == ["stable"]
    far = {"stability/ratio": 2e-4, "update/ratio": 3e-4}
    assert labels(told(losses(still, **far))) == ["stable", "stalling"]
    assert labels(told(losses(still, **far | {"update/ratio": 2e-3}))) == ["stable"]
    unknown = told(
        losses(still, **{"update/ratio": 1e-6})
    )  # with Adam on few examples there is no edge to compare with
    assert labels(unknown) == ["stable", "stalling"] and "stalling: an update 1e-06" in unknown[-1][1].words
    assert labels(told(losses(still, **{"update/ratio": 5e-5}))) == ["stable"]
    saddle = [Curvature(step=1, top=(Ritz(1.0, 0.1),), bottom=(Ritz(-1.0, 0.1),), grad_curvature=-0.5)]
    assert labels(told([*saddle, *losses(still, **slow)])) == ["stable"]


def test_clipping_on_every_step() -> None:
    """Past warm-up, and after 200 steps of it."""
    verdicts = told(losses(falling(600, rate=300.0), **{"clip/rate": 0.8}))
    assert labels(verdicts) == ["stable", "clipped"]
    first = next(step for step, verdict in verdicts if verdict.label == "clipped")
    assert 400 <= first <= 410
    assert "80% of the steps since step 1 were clipped" in verdicts[-1][1].words
    assert labels(told(losses(falling(600), **{"clip/rate": 0.3}))) == ["stable"]


def test_heating_by_the_gauge_or_by_a_rising_loss() -> None:
    """The gauge's interval below one half; or a loss that rises by more than its noise."""
    gauge: list[AnyFrame] = [
        Scalars(step=0, values={"temperature/equilibrium": 0.2}, errors={"temperature/equilibrium": 0.1})
    ]
    verdicts = told([*gauge, *losses([1.0] * 100)])
    assert labels(verdicts) == ["heating"]
    assert "R = 0.2 ± 0.2" in verdicts[0][1].words
    noisy = [1.0 + 0.01 * (-1) ** step for step in range(300)]
    assert labels(told(losses(noisy))) == ["stable"]
    rising = [*noisy, *(value * (1 + 0.002 * place) for place, value in enumerate(noisy))]
    assert labels(told(losses(rising))) == ["stable", "heating"]


def test_a_loss_that_only_scatters_is_not_heating() -> None:
    """Of 8400 stretches of independent losses, most of them among a run's first, one is expected to rise by chance."""
    stream, risen = random.Random(0), 0
    for _ in range(280):
        run = Losses()
        for _ in range(30):
            loss = stream.gauss(1.0, 0.3 / math.sqrt(STRETCH))
            for step in range(STRETCH):
                run.see(step, loss)
            risen += run.rise is not None
    assert risen <= 3


def test_saturated_is_no_flat_minimum() -> None:
    """A loss of nothing left, and not at the edge."""
    verdicts = told(losses(falling(900, rate=60.0, end=1e-3), **{"stability/ratio": 0.01}))
    assert labels(verdicts) == ["stable", "saturated"]
    assert "no sign of flatness" in verdicts[-1][1].words


def test_a_loss_below_zero_has_the_regimes_of_any_other() -> None:
    """The log-likelihood of a density falls from -1 to -5 and is not used up; where it stands, it stalls, or shrinks over
    depth, as one above zero does."""
    slow = {"stability/ratio": 5e-3, "update/ratio": 5e-5}
    for shift in (0.0, -5.0):
        falls = [shift + loss for loss in falling(600, start=4.0, rate=60.0)]
        assert labels(told(losses(falls, **slow))) == ["stable"]
    for level in (2.3, -2.3):
        still = [level - 1e-4 * step for step in range(400)]
        assert labels(told(losses(still, **slow))) == ["stable", "stalling"]
        deep = [layers(step, activation=-0.5, gradient=0.5) for step in (20, 40)]
        assert told([*deep, *losses([level] * 100)])[-1][1].label == "vanishing"


def test_hysteresis() -> None:
    """A state that comes and goes with every other loss is not told; one that is gone for a moment stays."""
    regime = Regime()
    found = []
    for step, loss in enumerate(falling(400), 1):
        flicker = 0.95 if step % 2 else 0.1
        found.append(regime.see(Scalars(step=step, values={"loss": loss, "stability/ratio": flicker})))
    assert {verdict.label for verdict in found if verdict} == {"stable"}


def test_it_travels_as_a_number_with_words() -> None:
    """The place in REGIMES, and the sentence; a new attempt begins anew."""
    verdict = Verdict("stalling", "stalling: because")
    frame = verdict.scalars(Scalars(step=7, attempt=2))
    assert (frame.step, frame.attempt) == (7, 2)
    assert REGIMES[int(frame.values["regime"])] == "stalling"
    assert frame.words == {"regime": "stalling: because"}
    assert set(NORMAL) < set(REGIMES)
    regime = Regime()
    for one in losses([2.3, math.nan]):
        regime.see(one)
    assert regime.see(Scalars(step=1, attempt=2, values={"loss": 2.3})) is None


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["loss", "stability/ratio", "update/ratio", "clip/rate", "temperature/equilibrium", "lr"]),
            st.floats(allow_nan=True, allow_infinity=True),
        ),
        max_size=300,
    )
)  # fmt: skip
def test_no_sequence_raises(rows: list[dict[str, float]]) -> None:
    """Whatever comes; every verdict is one of ours and says why."""
    for _, verdict in told(Scalars(step=step, values=row) for step, row in enumerate(rows)):
        assert verdict.label in REGIMES
        assert verdict.words.startswith(f"{verdict.label}: ")


def alerts(frames: Iterable[AnyFrame]) -> list[Alert]:
    watch = Watch()
    return [alert for frame in frames for alert in watch.see(frame)]


def test_the_edge_is_an_alert_once() -> None:
    """With its numbers, and that it is normal; again only after it was left."""
    ratios = [0.5, 0.7, 0.9, 1.0, 1.02, 1.01, 1.02, 0.9, 0.4, 0.3, 0.9, 1.01, 1.02, 1.03]
    frames = [
        Scalars(step=30 * place, values={"stability/ratio": ratio, "hessian/edge": 20.0})
        for place, ratio in enumerate(ratios)
    ]
    found = alerts(frames)
    assert [(alert.kind, alert.step) for alert in found] == [("edge_of_stability", 90), ("edge_of_stability", 330)]  # fmt: skip
    assert found[0].onset_step == 60
    assert "hovers at 0.95 of the optimizer's edge, which is 20." in found[0].message
    assert found[0].evidence["hessian/edge"] == 20.0
    assert "Normal" in found[0].advice


def test_equilibrium_is_an_alert_once() -> None:
    """Two readings whose interval lies around one, with what annealing would gain."""
    readings = [(9.0, 1.0), (1.4, 0.5), (1.1, 0.2), (1.0, 0.15), (1.0, 0.1), (1.2, 0.4), (1.0, 0.1), (1.0, 0.1), (5.0, 0.5), (1.0, 0.1), (0.9, 0.1)]  # fmt: skip
    frames: list[AnyFrame] = [Scalars(step=1, values={"temperature/thermal_loss": 0.06})]
    for place, (value, error) in enumerate(readings):
        name = "temperature/equilibrium"
        frames.append(Scalars(step=100 * place, values={name: value}, errors={name: error}))
    found = alerts(frames)
    assert [(alert.kind, alert.step, alert.onset_step) for alert in found] == [
        ("equilibrium", 300, 200),
        ("equilibrium", 1000, 900),
    ]
    assert found[0].message == "Noise and descent balance, R = 1 ± 0.3: the loss will hardly fall further at this learning rate."  # fmt: skip
    assert "by about 0.06" in found[0].advice
