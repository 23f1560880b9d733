"""Real trainings of known outcome: what the regime calls them, and the alert at the edge of stability."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import nn

from lsmon.probe.sensors.layers import LayerScale
from lsmon.probe.sensors.scale import Scale
from lsmon.protocol.regime import NORMAL
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.trainings import Sharpness, Watched, batches, digits, mlp, squares, train


def sensors(looks: int) -> list[Any]:
    scale, layers = Scale(seconds=0.0), LayerScale(seconds=0.0)
    scale.every, layers.every = 5, looks
    return [scale, layers, Sharpness(25)]


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (lambda p: torch.optim.SGD(p, 0.13), 350),
        (lambda p: torch.optim.SGD(p, 0.08, momentum=0.9, nesterov=True), 300),
        (lambda p: torch.optim.Adam(p, 0.03), 260),
    ],
)
def test_full_batch_training_reaches_the_edge(make: Callable[[Any], Any], steps: int) -> None:
    """The sharpness rises, crosses the optimizer's own edge and hovers there; the label and the alert say so within 50
    steps of the crossing and not before."""
    torch.manual_seed(0)
    data = digits(256)
    model = nn.Sequential(nn.Linear(64, 16), nn.Tanh(), nn.Linear(16, 10))
    watched = train(
        model, make(model.parameters()), batches(data, None), [Sharpness(10)], steps, reference=data, loss_fn=squares
    )  # fmt: skip
    ratios = watched.series["stability/ratio"]
    started = 30  # Adam's first steps have no metric worth the name, with a ratio of 4 that falls at once
    crossed = next(
        later for (_, before), (later, value) in pairwise(ratios) if later > started and before < 1.0 <= value
    )
    told = next(step for step, verdict in watched.verdicts if verdict.label == "edge of stability")
    assert crossed <= told <= crossed + 50
    alert = next(alert for alert in watched.alerts if alert.kind == "edge_of_stability")
    assert crossed <= alert.step <= crossed + 50
    after = [value for step, value in ratios if step >= crossed]
    assert min(after) > 0.6 and max(after) < 1.25
    assert set(watched.labels) == {"stable", "edge of stability"}
    words = [verdict.words for _, verdict in watched.verdicts if verdict.label == "edge of stability"]
    assert "of the optimizer's edge of " in words[0]


def scaled(depth: int, gain: float | None, **facts: Any) -> nn.Sequential:
    torch.manual_seed(0)
    return mlp(depth, 32, gain, **facts)


def dying() -> nn.Sequential:
    model = scaled(3, 2**0.5)
    for layer in model:
        if isinstance(layer, nn.Linear) and layer.out_features == 32:
            nn.init.constant_(layer.bias, -2.0)
    return model


def watch(
    model: nn.Module, lr: float, steps: int, clip: float | None = None, adam: bool = False, looks: int = 25
) -> Watched:
    data = digits(512)
    make = torch.optim.AdamW if adam else torch.optim.SGD
    reference = (data[0][:128], data[1][:128])
    return train(
        model, make(model.parameters(), lr), batches(data, 32), sensors(looks), steps, clip=clip, reference=reference
    )  # fmt: skip


BROKEN: dict[str, tuple[Callable[[], Watched], str, str]] = {
    "ten times the initialisation at depth 30": (lambda: watch(scaled(30, 10 * 2**0.5), 0.1, 30), "exploding", "the loss is not finite"),
    "no normalisation at depth 30": (lambda: watch(scaled(30, None), 0.1, 130), "vanishing", "gradients shrink backwards by 0.79"),
    "dead ReLUs": (lambda: watch(dying(), 0.1, 200, looks=4), "dead units", "100% of the units of layer"),
    "a learning rate 100 times too small": (lambda: watch(scaled(3, 2**0.5), 1e-3, 230, looks=4), "stalling", "raise the learning rate tenfold"),
    "clipping on every step": (lambda: watch(scaled(3, 2**0.5), 0.1, 420, clip=0.05), "clipped", "100% of the steps"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_network_is_called_what_it_is(name: str) -> None:
    """The right label, with a sentence that has its numbers."""
    run, label, words = BROKEN[name]
    watched = run()
    step, verdict = watched.verdicts[-1]
    assert verdict.label == label, watched.labels
    assert words in verdict.words
    assert all(before in (*NORMAL, label) for before in watched.labels)
    assert step > 0


def convolutional() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(1024, 10),
    )  # fmt: skip


HEALTHY: dict[str, Callable[[], Watched]] = {
    "SGD, He initialisation": lambda: watch(scaled(3, 2**0.5), 0.05, 300),
    "SGD, torch's own initialisation": lambda: watch(scaled(3, None), 0.1, 300),
    "AdamW, clipping that seldom acts": lambda: watch(scaled(3, 2**0.5), 1e-3, 450, clip=3.0, adam=True),
    "AdamW, 30 layers with LayerNorm": lambda: watch(scaled(30, 2**0.5, norm=True), 1e-3, 100, adam=True),
    "a convolutional network with BatchNorm": lambda: watch(convolutional(), 0.05, 150),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_training_is_called_nothing_else(name: str) -> None:
    """Stable, at the edge, or saturated when the loss is gone; and it learns."""
    watched = HEALTHY[name]()
    assert set(watched.labels) <= set(NORMAL)
    losses = [value for _, value in watched.series["loss"]]
    assert losses[-1] < losses[0]
    assert watched.verdicts
