"""Temperature by micro-batches, where the truth is known: exact formulas, Langevin dynamics, drawing from a finite set."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.accumulation import Accumulation
from lsmon.probe.sensors.clipping import Clipping
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.sensors.temperature import Temperature
from lsmon.probe.sensors.window import Window
from lsmon.protocol.frames import Scalars
from tests.one_thread import one_thread  # noqa: F401 (autouse)


class Bath:
    """A quadratic ½ Σ h x² with a linear term ``noise``·x of its own in every micro-batch."""

    def __init__(self, curvatures: Tensor, noise: float, parts: int, seed: int = 0) -> None:
        self.model = nn.Module()
        self.position = nn.Parameter(torch.zeros(len(curvatures)))
        self.model.register_parameter("position", self.position)
        self.curvatures, self.parts = curvatures, parts
        self.scale = math.sqrt(noise * parts)  # so that the mean of the parts has the variance ``noise``
        self.generator = torch.Generator().manual_seed(seed)

    def backward(self) -> list[Tensor]:
        """All micro-batches of an update; what each adds."""
        noises = []
        for _ in range(self.parts):
            noise = self.scale * torch.randn(len(self.curvatures), generator=self.generator)
            loss = (0.5 * self.curvatures * self.position.square() + noise * self.position).sum()
            torch.autograd.backward(loss / self.parts)
            noises.append((self.curvatures * self.position.detach() + noise) / self.parts)
        return noises


def watch(bath: Bath, optimizer: Any, steps: int, clip: float | None = None, **facts: Any) -> list[Scalars]:
    found: list[Scalars] = []
    context = Context(bath.model, optimizer, clip=clip, **facts)
    instruments = Instruments([Temperature()], context, Budget(1.0), Guard(strict=True), found.append)
    for step in range(steps):
        bath.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(bath.model.parameters(), clip)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, None)
    instruments.close()
    assert not bath.position._post_accumulate_grad_hooks
    return found


def temperatures(found: list[Scalars]) -> list[Scalars]:
    return [frame for frame in found if "temperature/noise" in frame.values]


@pytest.mark.parametrize("parts", [2, 5])
@pytest.mark.parametrize("cleared", ["to none", "in place"])
def test_what_each_backward_pass_added_is_seen(parts: int, cleared: str) -> None:
    """Σ|δ_j|², the sum and the contrast of the micro-gradients, whether gradients are cleared to None or to zero."""
    bath = Bath(torch.tensor([1.0, 2.0, 0.5]), 1.0, parts)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    context = Context(bath.model, optimizer)
    hooks = Accumulation(context, contrast=True)
    hooks.recording = True
    for _ in range(3):
        hooks.watch()
        added = bath.backward()
        context.updates += 1
        found = hooks.finish()
        assert found is not None
        assert found.count == parts
        torch.testing.assert_close(found.totals[0], torch.stack(added).sum(0))
        torch.testing.assert_close(found.squares[0].float(), torch.stack(added).square().sum())
        contrast = torch.stack([(-1) ** j * delta for j, delta in enumerate(added)]).sum(0)
        torch.testing.assert_close(found.contrasts[0], contrast)
        optimizer.step()
        optimizer.zero_grad(set_to_none=cleared == "to none")
    hooks.close()


def test_what_was_not_seen_whole_is_not_told() -> None:
    """Gradients cleared in the middle, or a first backward pass that was not watched: no estimate."""
    bath = Bath(torch.ones(3), 1.0, 2)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    context = Context(bath.model, optimizer)
    hooks = Accumulation(context)
    hooks.recording = True
    hooks.watch()
    bath.backward()
    optimizer.zero_grad(set_to_none=False)
    bath.backward()
    context.updates += 1
    assert hooks.finish() is None
    optimizer.zero_grad()
    hooks.rest()
    bath.backward()
    hooks.watch()
    bath.backward()
    assert hooks.under_way()
    context.updates += 1
    assert hooks.finish() is None
    optimizer.zero_grad()
    bath.backward()
    context.updates += 1
    assert hooks.finish() is not None


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("a", [0.2, 1.0])
def test_it_is_unbiased_even_near_the_edge(momentum: float, a: float) -> None:
    """n = 96 micro-batch estimates read T within 2 % where consecutive differences are up to three times too high."""
    lr, noise = 0.1, 0.05
    bath = Bath(torch.full((100,), a / lr), noise, 2)
    optimizer = torch.optim.SGD(bath.model.parameters(), lr, momentum=momentum)
    frame = temperatures(watch(bath, optimizer, 110))[-1]
    truth = lr / (1 - momentum) * noise / 2
    assert frame.values["temperature/noise"] == pytest.approx(truth, rel=0.05)
    assert abs(frame.values["temperature/noise"] - truth) <= 3 * frame.errors["temperature/noise"]
    # Each is of 100 squares of normal numbers, and sixteen blocks tell an error to a fifth.
    assert frame.errors["temperature/noise"] == pytest.approx(truth * math.sqrt(2 / 100 / 96), rel=0.6)
    assert frame.errors["temperature/thermal_loss"] == pytest.approx(50 * frame.errors["temperature/noise"])
    assert "micro-batches, M=2, n=96, identity metric, d=100" in frame.words["temperature/noise"]
    assert "unequal" not in frame.words["temperature/noise"]


def test_the_truth_lies_within_two_errors() -> None:
    """In at least 90 of 100 repetitions of n = 96 and of n = 24, with M = 2 and so few directions that a single
    estimate scatters as on a real network, by 0.7; the same of a ratio of two of them."""
    generator = torch.Generator().manual_seed(0)
    parts = torch.randn(100, 96, 2, 4, generator=generator, dtype=torch.float64)
    estimates = (parts[:, :, 0] - parts[:, :, 1]).square().sum(
        -1
    ) / 8  # tr(C) = 1 over 4 directions: scatter √(2/4)
    assert float(estimates.std()) == pytest.approx(0.71, rel=0.05)
    inside = {"n=96": 0, "n=24": 0, "ratio": 0}
    for row in estimates.tolist():
        window = Window(96)
        for first, second in zip(row, reversed(row), strict=True):
            window.add(first, 1 + second)
        for name, mean in (("n=96", window.mean(0)), ("n=24", window.mean(0, 24))):
            inside[name] += abs(mean.value - 1.0) <= 2 * mean.se
        ratio = window.ratio(0, 1)
        assert ratio is not None
        inside["ratio"] += abs(ratio.value - 0.5) <= 2 * ratio.se
    assert min(inside.values()) >= 90, inside


def test_a_ratio_is_told_only_where_its_denominator_is_clear() -> None:
    """Of 100 noise scales tr(C)/|∇L|² hardly any is told, as a number, that does not hold the truth, whatever |∇L|² is;
    over a lower bar one in eight came that chance had made too small. Where |∇L|² is plain it is told and right."""
    generator = torch.Generator().manual_seed(0)
    for squared, fewest in ((0.0, 0), (0.03, 0), (0.06, 0), (0.1, 0), (0.3, 95), (1.0, 100)):
        parts = torch.randn(100, 96, 2, 50, generator=generator, dtype=torch.float64) * math.sqrt(2 / 50)
        parts += math.sqrt(squared / 50)
        traces = (parts[:, :, 0] - parts[:, :, 1]).square().sum(-1) / 4
        gradients = (parts[:, :, 0] * parts[:, :, 1]).sum(-1)
        told = wrong = 0
        for rows in torch.stack([traces, gradients], -1).tolist():
            window = Window(96)
            for row in rows:
                window.add(*row)
            ratio = window.clear_ratio(0, 1)
            told += ratio is not None
            wrong += ratio is not None and not abs(squared * ratio.value - 1) <= 2 * squared * ratio.se
        assert told >= fewest
        assert wrong <= 5, (squared, wrong)


@pytest.mark.parametrize("shared", [-0.8, 0.0, 0.8])
def test_the_error_of_a_ratio_is_fiellers(shared: float) -> None:
    """At its farther end the mean of top - ratio · bottom is two of its own errors from zero, whatever the two have in
    common, and at the other end more; an estimate that is not finite is none."""
    rows = torch.randn(100, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tops = 3 + shared * rows[:, 0] + math.sqrt(1 - shared**2) * rows[:, 1]
    bottoms = 1 + 0.5 * rows[:, 0]
    window = Window(200)
    for top, bottom in zip(tops.tolist(), bottoms.tolist(), strict=True):
        window.add(top, bottom)
        window.add(math.nan, bottom)
    found = window.clear_ratio(0, 1)
    assert found is not None and len(window) == 100
    beyond = []
    for ratio in (found.value - 2 * found.se, found.value + 2 * found.se):
        other = Window(200)
        for rest in (tops - ratio * bottoms).tolist():
            other.add(rest)
        beyond.append(abs(other.mean(0).value) - 2 * other.mean(0).se)
    assert min(beyond) == pytest.approx(0.0, abs=1e-9) and max(beyond) > 1e-3


def test_adams_metric_and_the_noise_scale() -> None:
    """T = η √c / 2 for Adam in pure noise of variance c; tr(PC)/|∇L|²_P for a gradient that is known."""
    lr, noise = 1e-3, 0.25
    bath = Bath(torch.zeros(400), noise, 2)
    optimizer = torch.optim.AdamW(bath.model.parameters(), lr, weight_decay=0.1, betas=(0.9, 0.99))
    for _ in range(600):
        bath.backward()
        optimizer.step()
        optimizer.zero_grad()
    found = watch(bath, optimizer, 110)
    frame = temperatures(found)[-1]
    # E 1/√v̂ over the spread of v̂: relative variance 2 · (1-β2)/(1+β2) = 1 %, so 3/8 of it above 1/√c
    assert frame.values["temperature/noise"] == pytest.approx(lr * math.sqrt(noise) / 2 * 1.004, rel=0.02)
    assert not [f for f in found if "noise/scale" in f.values]  # ∇L = 0: there is no ratio


def test_the_noise_scale_of_a_gradient_that_is_known() -> None:
    """B tr(C) / |∇L|² with ∇L = 0.3 in each of 50 directions, c = 0.5 and batches of 2 x 8."""
    bath = Bath(torch.ones(50), 0.5, 2)
    with torch.no_grad():
        bath.position.add_(0.3)
    found: list[Scalars] = []
    optimizer = torch.optim.SGD(bath.model.parameters(), 1e-9)
    instruments = Instruments([Temperature()], Context(bath.model, optimizer), Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
    for step in range(100):
        bath.backward()
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, torch.zeros(8, 1))
    instruments.close()
    frame = [frame for frame in found if "noise/scale" in frame.values][-1]
    value, error = frame.values["noise/scale"], frame.errors["noise/scale"]
    assert value == pytest.approx(16 * 0.5 / 0.09, rel=0.1)
    assert abs(value - 16 * 0.5 / 0.09) <= 2 * error
    assert "B=16" in frame.words["noise/scale"]


def test_clipping_cools() -> None:
    """With the threshold told, T is that of the unclipped noise times the mean clip factor, and the rate is said."""
    lr, noise, clip = 0.1, 1.0, 0.5
    bath = Bath(torch.zeros(100), noise, 2)
    frame = temperatures(watch(bath, torch.optim.SGD(bath.model.parameters(), lr), 110, clip=clip))[-1]
    factor = clip / math.sqrt(100 * noise) * (1 + 3 / 400)  # E 1/|g| of a Gaussian of 100 directions
    assert frame.values["temperature/noise"] == pytest.approx(factor * lr * noise / 2, rel=0.05)
    words = "clipped: the noise depends on the state, 100% of steps clipped at 0.5, mean factor 0.0"
    assert words in frame.words["temperature/noise"]


def test_clipping_is_seen_without_accumulation_too() -> None:
    """With one backward pass an update the gradient is read before the loop clips it."""
    lr, noise, clip = 0.1, 1.0, 0.5
    bath = Bath(torch.zeros(100), noise, 1)
    frame = temperatures(watch(bath, torch.optim.SGD(bath.model.parameters(), lr), 110, clip=clip))[-1]
    assert frame.values["temperature/noise"] == pytest.approx(0.0504 * lr * noise / 2, rel=0.06)
    assert "consecutive differences, n=96" in frame.words["temperature/noise"]
    assert "mean factor 0.05" in frame.words["temperature/noise"]


@pytest.mark.parametrize("spoiled", [(math.inf, math.nan), (math.nan, math.nan), (2048.0, 0.0)])
def test_one_gradient_that_is_spoiled_costs_no_other(spoiled: tuple[float, float]) -> None:
    """One that is not finite, or that the loop zeroes to skip it, where all others are clipped: the loss scale is known."""
    clipping = Clipping()
    assert clipping.see(1024.0, 1.0, 2.0, raw=True) == (1 / 1024, 1.0)
    assert clipping.see(4096.0, 2.0, 2.0, raw=True) == (1 / 1024, 0.5)
    clipping.see(*spoiled, 2.0, raw=True)
    assert clipping.see(4096.0, 2.0, 2.0, raw=True) == (1 / 1024, 0.5)
    assert clipping.rate == 0.5


def test_a_loss_scale_that_is_divided_out_changes_nothing() -> None:
    """As a GradScaler does it: scaled backward passes, gradients unscaled before the update."""
    lr, noise = 0.1, 0.5
    bath = Bath(torch.zeros(100), noise * 1024**2, 2)
    optimizer = torch.optim.SGD(bath.model.parameters(), lr)
    found: list[Scalars] = []
    instruments = Instruments([Temperature()], Context(bath.model, optimizer), Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
    for step in range(110):
        bath.backward()
        assert bath.position.grad is not None
        bath.position.grad.div_(1024)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, None)
    instruments.close()
    assert found[-1].values["temperature/noise"] == pytest.approx(lr * noise / 2, rel=0.05)


@pytest.mark.parametrize("parts", [1, 4])
def test_drawing_without_replacement(parts: int) -> None:
    """The noise of B of N examples is S²/B (1 - B/N), exactly; by micro-batches and by consecutive differences."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(32, 30, generator=generator)
    size, lr = 8, 0.1
    truth = lr * float(data.var(0).sum()) / size * (1 - size / 32) / (2 * 30)
    model = nn.Module()
    position = nn.Parameter(torch.zeros(30))
    model.register_parameter("position", position)
    optimizer = torch.optim.SGD(model.parameters(), lr)
    found: list[Scalars] = []
    context = Context(model, optimizer, examples=32)
    instruments = Instruments([Temperature()], context, Budget(1.0), Guard(strict=True), found.append)
    step = 0
    for _ in range(48):
        rows = torch.randperm(32, generator=generator)
        for start in range(0, 32, size):
            for piece in data[rows[start : start + size]].chunk(parts):
                torch.autograd.backward((piece @ position).mean() / parts)
            optimizer.step()
            optimizer.zero_grad()
            instruments.step(step, 1, data[: size // parts])
            step += 1
    instruments.close()
    heats = [frame for frame in temperatures(found) if "n=96" in frame.words["temperature/noise"]]
    mean = sum(frame.values["temperature/noise"] for frame in heats) / len(heats)
    assert mean == pytest.approx(truth, rel=0.05)


def test_a_full_batch_has_no_noise() -> None:
    """The same examples at every step, or all N of them: exactly 0, though the gradient changes; not with dropout."""
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))

    def run(model: nn.Module, batch: Tensor | None, **facts: Any) -> Scalars:
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        found: list[Scalars] = []
        context = Context(model, optimizer, **facts)
        instruments = Instruments([Temperature()], context, Budget(1.0), Guard(strict=True), found.append)
        for step in range(60):
            given = inputs if batch is None else batch + 0
            torch.autograd.backward(model(given).square().mean())
            optimizer.step()
            optimizer.zero_grad()
            instruments.step(step, 1, given)
        instruments.close()
        return found[-1]

    cold = run(nn.Linear(4, 1), None)
    assert cold.values["temperature/noise"] == cold.errors["temperature/noise"] == 0.0
    assert cold.words["temperature/noise"] == "full batch: the same examples at every step"
    assert run(nn.Linear(4, 1), inputs, examples=16).values["temperature/noise"] == 0.0
    assert run(nn.Linear(4, 1), inputs).values["temperature/noise"] > 0.0
    noisy = run(nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 1)), None)
    assert noisy.values["temperature/noise"] > 0.0


def test_nothing_is_said_by_a_number_of_examples_that_is_not_plain() -> None:
    """Four graphs of 64, with 32 nodes each: neither all of the examples, nor any share of them."""
    generator = torch.Generator().manual_seed(0)
    spread: list[float] = []
    for examples in (64, None):
        model = nn.Linear(4, 1)
        nn.init.zeros_(model.weight)
        nn.init.zeros_(model.bias)
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        found: list[Scalars] = []
        context = Context(model, optimizer, examples=examples)
        instruments = Instruments([Temperature()], context, Budget(1.0), Guard(strict=True), found.append)
        generator.manual_seed(0)
        for step in range(60):
            nodes, labels = torch.randn(128, 4, generator=generator), torch.randn(4, 1, generator=generator)
            loss = (model(nodes).reshape(4, 32, 1).mean(1) - labels).square().mean()
            torch.autograd.backward(loss)
            optimizer.step()
            optimizer.zero_grad()
            instruments.step(step, 1, {"x": nodes, "y": labels})
        instruments.close()
        spread.append(found[-1].values["temperature/noise"])
        said = found[-1].words["temperature/noise"]
        assert ("not plain how many examples" in said) == (examples is not None)
    assert spread[0] == spread[1] > 0.0


def test_a_loop_that_reports_every_micro_batch() -> None:
    """``probe.step`` after each backward pass: the sensor waits for whole updates, and counts them right."""
    bath = Bath(torch.ones(100), 0.5, 1)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    found: list[Scalars] = []
    instruments = Instruments([Temperature()], Context(bath.model, optimizer), Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
    for step in range(440):
        bath.backward()
        if step % 4 == 3:
            optimizer.step()
            optimizer.zero_grad()
        instruments.step(step, 1, None)
    instruments.close()
    # four backward passes of variance 0.5 are added here, not averaged
    assert found[-1].values["temperature/noise"] == pytest.approx(0.1 * 4 * 0.5 / 2, rel=0.05)
    assert "M=4, n=96" in found[-1].words["temperature/noise"]


def test_a_shorter_last_accumulation_is_left_out() -> None:
    """Four micro-batches an update and two in the last one of an epoch: the window goes on with the others."""
    bath = Bath(torch.ones(100), 0.5, 1)
    optimizer = torch.optim.SGD(bath.model.parameters(), 0.1)
    found: list[Scalars] = []
    instruments = Instruments([Temperature()], Context(bath.model, optimizer), Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
    for step in range(160):
        for _ in range(1 if step % 8 == 7 else 4):
            bath.backward()
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, None)
    instruments.close()
    assert "M=4, n=96" in found[-1].words["temperature/noise"]
    assert found[-1].values["temperature/noise"] == pytest.approx(0.1 * 4 * 0.5 / 2, rel=0.05)


def test_a_ratio_of_means_and_its_jackknife_error() -> None:
    """For independent normal pairs the error is the delta method's; a denominator that may be zero has no ratio."""
    generator = torch.Generator().manual_seed(0)
    window, values = Window(960), torch.randn(960, 2, generator=generator)
    for top, bottom in values.tolist():
        window.add(3 + top, 2 + 0.5 * bottom, bottom)
    ratio = window.ratio(0, 1)
    assert ratio is not None
    expected = 1.5 * math.sqrt((1 / 3) ** 2 + 0.25**2) / math.sqrt(960)
    assert ratio.value == pytest.approx(1.5, abs=3 * expected)
    assert ratio.se == pytest.approx(expected, rel=0.5)
    assert window.ratio(0, 2) is None
    window.add(math.nan, 1.0, 1.0)
    assert len(window) == 960


@pytest.mark.parametrize("sizes", [(4, 4), (4, 2)])
def test_unequal_micro_batches_are_unbiased_where_weighted_alike_and_said(sizes: tuple[int, int]) -> None:
    """The noise of a micro-batch of b examples is S²/b: two of other sizes, each weighted ½, estimate that of their mean,
    S²(1/b₁ + 1/b₂)/4, within two errors; the words say that the sizes differ, and only then."""
    parameter = nn.Parameter(torch.zeros(200))
    model = nn.Module()
    model.register_parameter("x", parameter)
    optimizer = torch.optim.SGD([parameter], 0.1)
    found: list[Scalars] = []
    instruments = Instruments([Temperature()], Context(model, optimizer), Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    for step in range(110):
        for size in sizes if step % 2 else sizes[::-1]:
            batch = torch.randn(size, 200, generator=generator)
            torch.autograd.backward((batch @ parameter).mean() / 2)
        optimizer.step()
        optimizer.zero_grad()
        instruments.step(step, 1, batch)
    instruments.close()
    frame = temperatures(found)[-1]
    truth = 0.1 * (1 / sizes[0] + 1 / sizes[1]) / 4 / 2
    value, error = frame.values["temperature/noise"], frame.errors["temperature/noise"]
    assert abs(value - truth) <= 2 * error < 0.1 * truth
    words = "unequal micro-batches, 2 to 4: too high where the loop weights them by size"
    assert (words in frame.words["temperature/noise"]) == (sizes[0] != sizes[1])
