"""Batches that a loss needs whole are measured on whole; all others may be cut."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from lsmon.probe import measure
from lsmon.probe.division import Division, no_mean
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.operators.snapshot import Snapshot
from lsmon.probe.plan import Plan
from lsmon.probe.reference import Reference
from lsmon.probe.sensors.curvature import CurvatureSensor
from lsmon.probe.sensors.sensor import Context
from lsmon.protocol.frames import Curvature
from tests.one_thread import one_thread  # noqa: F401 (autouse)

SIZE = 24
LossFn = Callable[[nn.Module, Any], Tensor]


class Stateful(nn.Module):
    """A state for each place in the batch, which says its size."""

    state: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.register_buffer("state", torch.randn(SIZE, 3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.linear(x) + self.state)


def squares(model: nn.Module, x: Tensor) -> Tensor:
    loss: Tensor = model(x).square().mean()
    return loss


def total(model: nn.Module, x: Tensor) -> Tensor:
    loss: Tensor = model(x).square().sum()
    return loss


def contrastive(model: nn.Module, x: Tensor) -> Tensor:
    """Each example is told from all others of the batch (van den Oord et al. 2018, eq. 4)."""
    one, other = F.normalize(model(x), dim=1), F.normalize(model(x + 0.1 * x.roll(1, 1)), dim=1)
    return F.cross_entropy(one @ other.T / 0.2, torch.arange(len(x)))


def by_token(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The mean over what is not masked, of which every example has another number."""
    x, mask = batch
    loss: Tensor = (model(x).square() * mask).sum() / mask.sum()
    return loss


def diffusion(model: nn.Module, x: Tensor) -> Tensor:
    """Each example at a time of its own (Ho et al. 2020, eq. 14)."""
    left, noise = torch.rand(len(x), 1), torch.randn_like(x)
    loss: Tensor = (model(left.sqrt() * x + (1 - left).sqrt() * noise) - noise[:, :3]).square().mean()
    return loss


def inputs(count: int = SIZE) -> Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(7))


def lengths(count: int) -> Tensor:
    return (torch.arange(count) % 3 + 1 > torch.arange(3)[:, None]).T.float()


class Words(nn.Module):
    """Predicts the next of 13 words, steps before sequences; as it begins all words are alike to it."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.rows, self.head = nn.Embedding(13, 4), nn.LSTM(4, 6), nn.Linear(6, 13)

    def forward(self, x: Tensor) -> Tensor:
        seen: Tensor = self.head(self.rows(self.words(x))[0])
        return seen


def next_word(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


def sentences(steps: int = SIZE) -> tuple[Tensor, Tensor]:
    words = (torch.arange(steps + 1)[:, None] + torch.arange(5)) % 13
    return words[:-1], words[1:]


NEEDY: dict[str, tuple[Callable[[], nn.Module], LossFn, str]] = {
    "fixed size": (Stateful, squares, "a part of one is refused"),
    "sum": (lambda: nn.Linear(4, 3), total, "not a mean"),
    "sum over noise": (lambda: nn.Linear(4, 3), lambda m, x: len(x) * diffusion(m, x), "not a mean"),
    "contrastive": (lambda: nn.Linear(4, 3), contrastive, "not a mean"),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("mixed", [False, True])
def test_time_steps_are_no_examples(seed: int, mixed: bool) -> None:
    """Where time comes first every n-th step is not every n-th example, and that is seen before anything is learnt; it
    is seen too where a layer normalises by the batch."""
    torch.manual_seed(seed)
    model, reference = Words(), Reference(thinnest=4 if mixed else None)
    assert Division(model, next_word, sentences(), mixed=mixed, at_once=True).settled(reference)
    assert reference.thinnest == 1
    assert reference.remark == "on whole batches, since the loss depends on the order within one"
    whole = sentences()
    reference.offer(whole)
    assert torch.equal(reference.thinned(4).batches[0][0], whole[0])


def adapted(model: nn.Module, batch: Tensor) -> Tensor:
    """Of the second half of the examples, after a step on the first (MAML, Finn et al. 2017)."""
    weights = dict(model.named_parameters())
    half = len(batch) // 2
    gradients = torch.autograd.grad(squares(model, batch[:half]), list(weights.values()), create_graph=True)
    moved = {name: w - 0.1 * g for (name, w), g in zip(weights.items(), gradients, strict=True)}
    return squares(partial(functional_call, model, moved), batch[half:])  # type: ignore[arg-type]


def test_a_loss_that_differentiates_by_itself_is_looked_at_too() -> None:
    """It needs a graph on the way; without one it was taken for one that may be cut."""
    torch.manual_seed(0)
    model, reference = nn.Linear(4, 3), Reference()
    assert Division(model, adapted, inputs(), at_once=True).settled(reference)
    assert reference.remark == "on whole batches, since the loss depends on the order within one"
    point = Snapshot(model, adapted, Reference(inputs()))
    loss = point.loss(point.parameters)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, adapted(model, inputs()).detach())


def test_it_is_spread_over_the_steps_of_a_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """No training step is long: one forward pass at a time, all of them at the parameters of the first."""
    torch.manual_seed(0)
    model, reference = Words(), Reference()
    seen: list[float] = []
    forwards = Snapshot.forwards

    def watched(*given: Any) -> list[Tensor]:
        losses = forwards(*given)
        seen.append(float(losses[0]))
        return losses

    monkeypatch.setattr(Snapshot, "forwards", watched)
    assert Division(model, next_word, sentences(), at_once=True).settled(reference)
    at_once, remark = [*seen], reference.remark
    seen.clear()
    reference, division = Reference(), Division(model, next_word, sentences())
    passes = []
    while not division.settled(reference):
        passes.append(len(seen))
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
    assert max(after - before for before, after in pairwise([0, *passes])) == 1
    assert seen == at_once
    assert reference.remark == remark != ""


def test_what_moves_between_two_steps_is_looked_at_in_one() -> None:
    """Most parameters are frozen and not copied: where the loop changes one, the passes do not belong together."""
    torch.manual_seed(0)
    model, reference = Words(), Reference()
    model.rows.requires_grad_(False)
    frozen = model.words.weight.requires_grad_(False)
    division, turns = Division(model, next_word, sentences()), 0
    while not division.settled(reference):
        turns += 1
        with torch.no_grad():
            frozen.add_(0.1)
    assert turns == 1
    assert reference.remark == "on whole batches, since the loss depends on the order within one"


@pytest.mark.parametrize("name", NEEDY)
def test_a_loss_that_needs_its_batch_is_measured_on_whole_ones(name: str) -> None:
    """Where the budget pays for a few examples alone: the value is that of a whole batch, and it is said why."""
    torch.manual_seed(0)
    make, loss_fn, why = NEEDY[name]
    sensor, model = CurvatureSensor(), make()
    context = Context(model, None, loss_fn, reference=Reference(), allowance=0.01, step_secs=1e-6, saved=1e9)
    found: list[Any] = []
    while not found:
        context.step += 1
        context.batch = inputs() + context.step
        found += [one for one in sensor.measure(context) if isinstance(one, Curvature)]
        sensor.took(1e-6)
    part = sensor.examples.part
    assert part is not None and found[0].batch == part.examples == SIZE
    assert why in " ".join(found[0].notes)
    exact = Hessian(model, loss_fn, part)
    matrix = torch.stack([exact.matvec(row) for row in torch.eye(exact.dim)]).double()
    ritz = found[0].top[0]
    assert float((torch.linalg.eigvalsh(matrix) - ritz.value).abs().min()) <= ritz.residual + 1e-5


def test_measure_takes_a_model_of_one_batch_size() -> None:
    """The choice of a way compares products on a few examples elsewhere."""
    torch.manual_seed(0)
    model = Stateful()
    found, exact = (
        measure(model, squares, inputs(), probes=0),
        measure(model, squares, inputs(), probes=0, dense=True),
    )
    assert found.method.startswith("Lanczos") and "double backward" in found.method
    assert found.top[0].value == pytest.approx(exact.top[0].value, rel=1e-2)


def noisy(generator: torch.Generator | None) -> LossFn:
    def loss_fn(model: nn.Module, x: Tensor) -> Tensor:
        return squares(model, x + 0.1 * torch.randn(x.shape, generator=generator))

    return loss_fn


def by_length(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, lengths = batch
    if bool((lengths.diff() > 0).any()):
        raise RuntimeError("lengths must be sorted")
    return squares(model, x)


MEANS: dict[str, tuple[LossFn, Any]] = {
    "mean": (squares, inputs(64)),
    "mean over tokens": (by_token, (inputs(64), lengths(64))),
    "with dropout": (
        lambda model, x: F.dropout(model(x), 0.5, training=True).square().mean(),
        inputs(64),
    ),
    "with a penalty": (
        lambda model, x: squares(model, x) + 5.0 * sum(p.square().sum() for p in model.parameters()),
        inputs(64),
    ),
    "with noise of its own": (noisy(torch.Generator().manual_seed(0)), inputs(64)),
    "with noise": (noisy(None), inputs(64)),
    "of a diffusion": (diffusion, inputs(64)),
    "with noise of Python's": (
        lambda model, x: (model(x) * torch.tensor([random.random() for _ in x])[:, None]).square().mean(),
        inputs(64),
    ),
    "of sequences sorted by length": (by_length, (inputs(64), torch.arange(64, 0, -1))),
    "of sequences": (
        lambda model, x: model(x.cumsum(1)).square().mean(),
        torch.randn(8, 40, 4, generator=torch.Generator().manual_seed(7)),
    ),
    "of terms that cancel": (lambda model, x: model(x).mean() - model(x.roll(1, 0)).mean(), inputs(64)),
    "one example": (squares, inputs(1)),
    "that is always refused": (lambda model, x: model(x[:, :3]).mean(), inputs(64)),
}


@pytest.mark.parametrize("name", MEANS)
def test_a_mean_over_examples_may_be_cut(name: str) -> None:
    torch.manual_seed(0)
    loss_fn, batch = MEANS[name]
    context = Context(nn.Linear(4, 3), None, loss_fn, reference=Reference(batch), allowance=1.0)
    reference = context.gather()
    assert reference is not None and reference.thinnest is None and not reference.remark


@given(
    st.integers(4, 8).flatmap(
        lambda n: st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1.0)), min_size=n, max_size=n)
    )
)
def test_no_weighting_is_taken_for_something_else(parts: Sequence[tuple[float, float]]) -> None:
    mean = math.fsum(loss * weight for loss, weight in parts) / math.fsum(weight for _, weight in parts)
    assert not no_mean([loss for loss, _ in parts], mean)


def test_a_model_to_which_one_example_is_no_batch_is_given_two() -> None:
    """``squeeze`` drops the batch's dimension too."""

    def squeezed(model: nn.Module, x: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(model(x).squeeze(), (x[:, 0] > 0).float())

    for model, loss_fn, fewest in ((nn.Linear(4, 1), squeezed, 2), (nn.Linear(4, 3), squares, 1)):
        reference = Reference()
        assert Division(model, loss_fn, inputs(), at_once=True).settled(reference)
        assert (reference.fewest, reference.thinnest) == (fewest, None)
        assert Plan(512, 8, 0.05, 0.01, fewest=reference.fewest).fewest == fewest


def test_batch_normalisation_leaves_a_quarter() -> None:
    """Its loss is never quite a mean; that it cannot be had on parts is found all the same."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    for loss_fn, thinnest in (
        (squares, 4),
        (total, 4),
        (lambda model, x: squares(model, x.reshape(SIZE, 4)), 1),
    ):
        reference = Reference(thinnest=4)
        assert Division(model, loss_fn, inputs(), mixed=True, at_once=True).settled(reference)
        assert reference.thinnest == thinnest


def test_what_must_stay_whole_is_cut_by_nothing() -> None:
    whole = Reference(thinnest=1)
    whole.offer(inputs(600))  # more than are kept of others
    assert whole.complete and whole.examples == 600
    assert [part.sizes for part in (whole.thinned(10), whole.first(4), *whole.chunks(10))] == [[600]] * 3
    assert whole.halves() is None
