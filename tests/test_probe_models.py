"""Curvature of real modules: every one against a dense float64 Hessian, within the error that its method states."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from lsmon.probe.operators import ladder
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.subject import eval_mode, inner, unwrap
from tests.landscape import (
    LossFn,
    Subject,
    apart,
    classes,
    cross_entropy,
    dense_hessian,
    matrix,
    perceptron,
    same,
    traces,
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors and a shared machine: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


class Attention(nn.Module):
    """A transformer block on sequences of 5, with the fused kernel, an embedding tied to the head, and dropout."""

    def __init__(self, words: int = 7, width: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.norm = nn.LayerNorm(width)
        self.mix = nn.Linear(width, 3 * width)
        self.head = nn.Linear(width, words, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens)
        query, key, value = self.mix(self.norm(x)).unsqueeze(1).chunk(3, dim=-1)
        x = x + F.scaled_dot_product_attention(query, key, value, is_causal=True).squeeze(1)
        logits: Tensor = self.head(F.dropout(x, 0.3, self.training))
        return logits


def sequences() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(2)
    tokens = torch.randint(0, 7, (6, 6), generator=generator)
    return tokens[:, :-1], tokens[:, 1:]


def next_word(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 3, batch_first=True)
        self.head = nn.Linear(3, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.head(self.cell(inputs)[0][:, -1])
        return out


class Wrapped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()

    def forward(self, inputs: Tensor) -> Tensor:
        logits: Tensor = self.net(inputs)
        return logits


class Answer(nn.Module):
    """Takes and returns a dictionary, like the models of the large libraries."""

    def __init__(self) -> None:
        super().__init__()
        self.net = perceptron()

    def forward(self, inputs: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
        logits = self.net(inputs) * mask
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


class LowRank(nn.Module):
    """A frozen layer with trainable factors beside it (LoRA), the second of them zero at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(4, 3)
        self.base.requires_grad_(False)
        self.down = nn.Parameter(torch.randn(2, 4))
        self.up = nn.Parameter(torch.zeros(3, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        out: Tensor = self.base(inputs) + inputs @ self.down.T @ self.up.T
        return out


class Checkpointed(nn.Module):
    """Activations are thrown away and computed once more in the backward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = checkpoint(lambda x: torch.tanh(self.first(x)), inputs, use_reentrant=False)
        out: Tensor = self.second(hidden)
        return out


class Remembering(nn.Module):
    """Keeps its last hidden state on itself, and counts its calls in a buffer."""

    calls: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.hidden = torch.zeros(1)

    def forward(self, inputs: Tensor) -> Tensor:
        self.calls += 1
        self.hidden = torch.tanh(self.first(inputs))
        self.extra = self.hidden.sum()
        out: Tensor = self.second(self.hidden)
        return out


def normalised() -> nn.Module:
    """Convolutions, BatchNorm whose statistics have been trained, max-pooling, ReLU, dropout."""
    net = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5), nn.Linear(2, 3)
    )  # fmt: skip
    for _ in range(3):
        net(torch.randn(16, 1, 4, 4) * 2 + 1)
    return net


def keyed(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    loss: Tensor = model(**batch)["loss"]
    return loss


def with_mask() -> dict[str, Tensor]:
    inputs, labels = classes(16)
    return {"inputs": inputs, "mask": torch.tensor([1.0, 0.5, 2.0]).expand(16, 3), "labels": labels}


def pictures() -> tuple[Tensor, Tensor]:
    return torch.randn(24, 1, 4, 4), torch.randint(0, 3, (24,))


CASES: dict[str, tuple[Callable[[], nn.Module], LossFn, Callable[[], Any]]] = {
    "fused attention, tied weights, dropout": (Attention, next_word, sequences),
    "LSTM": (Recurrent, cross_entropy, lambda: (torch.randn(8, 5, 4), torch.randint(0, 3, (8,)))),
    "dictionaries in and out": (Answer, keyed, with_mask),
    "low rank, frozen base": (LowRank, cross_entropy, classes),
    "checkpointed": (Checkpointed, cross_entropy, classes),
    "keeps its state": (Remembering, cross_entropy, classes),
    "BatchNorm, ReLU, max-pool": (normalised, cross_entropy, pictures),
    "InstanceNorm": (
        lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.InstanceNorm2d(2, affine=True, track_running_stats=True), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3)),
        cross_entropy,
        pictures,
    ),
    "sparse embedding": (
        lambda: nn.Sequential(nn.Embedding(5, 3, sparse=True), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3)),
        cross_entropy,
        lambda: (torch.randint(0, 5, (12, 2)), torch.randint(0, 3, (12,))),
    ),
    "encoder layer": (
        lambda: nn.Sequential(nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), nn.Flatten(), nn.Linear(12, 3)),
        cross_entropy,
        lambda: (torch.randn(6, 3, 4), torch.randint(0, 3, (6,))),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_model_agrees_with_its_dense_hessian_and_is_left_alone(case: str) -> None:
    """The ladder takes the exact rung, its products are those of the plain float64 model to 1e-5, also after the live
    model has moved, and nothing of the model, its flags or any random stream has changed."""
    make, loss_fn, make_batch = CASES[case]
    model, batch = make(), make_batch()
    model.train()
    truth = dense_hessian(model, loss_fn, batch)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    before = traces(model)
    chosen = ladder.choose(Subject(model, loss_fn, Reference(batch)))
    operator = chosen.snapshot()
    assert chosen.method == "exact: double backward, kept graph"
    assert chosen.notes == () and chosen.error is None
    first = matrix(operator)
    assert same(before, traces(model))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.mul_(1.5)
    assert apart(first, truth) < 1e-5
    assert torch.equal(first, matrix(operator))


@pytest.mark.parametrize(
    ("where", "backend"),
    [("whole", "aot_eager"), ("whole", "eager"), ("part", "eager"), ("in place", "eager"), ("loss", "eager")],
)
def test_compiled_models(backend: str, where: str) -> None:
    """Compiled as a whole, in a part, in place, or in the loss function: measured as the plain model, exactly, and
    nothing is traced anew by it."""
    torch._dynamo.reset()
    traced = []

    def counting(graph: Any, inputs: Any) -> Any:
        traced.append(1)
        return torch._dynamo.lookup_backend(backend)(graph, inputs)

    model: Any = Wrapped()
    truth = dense_hessian(model, cross_entropy, classes())
    live: Any = model
    loss_fn: LossFn = cross_entropy
    if where == "whole":
        live = torch.compile(model, backend=counting)
    elif where == "part":
        model.net = torch.compile(model.net, backend=counting)
    elif where == "in place":
        model.compile(backend=counting)
    else:
        loss_fn = torch.compile(cross_entropy, backend=counting)
    for _ in range(2):
        torch.autograd.backward(loss_fn(live, classes()))
    compilations = len(traced)
    assert compilations
    chosen = ladder.choose(Subject(unwrap(live), loss_fn, Reference(classes())))
    assert chosen.method == "exact: double backward, kept graph"
    assert apart(matrix(chosen.snapshot()), truth) < 1e-5
    torch.autograd.backward(loss_fn(live, classes()))
    assert len(traced) == compilations


def test_autocast_around_and_inside_the_loss_does_not_matter() -> None:
    """A loss function that opens bfloat16 autocast itself, as loops do, is measured in single precision; the training's
    own forward passes still run in bfloat16."""
    seen: list[torch.dtype] = []

    def mixed(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(batch[0])
        seen.append(logits.dtype)
        return F.cross_entropy(logits.float(), batch[1])

    model = perceptron()
    truth = dense_hessian(model, cross_entropy, classes())
    with torch.autocast("cpu", torch.bfloat16):
        chosen = ladder.choose(Subject(model, mixed, Reference(classes())))
        found = matrix(chosen.snapshot())
    assert torch.bfloat16 not in seen
    assert apart(found, truth) < 1e-5
    mixed(model, classes())
    assert seen[-1] == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_precisions(dtype: torch.dtype) -> None:
    """Half precision is measured in float32 at the same parameters, double precision in double."""
    model = perceptron().to(dtype)
    inputs, labels = classes()
    truth = dense_hessian(model, cross_entropy, (inputs.to(dtype), labels))
    operator = Hessian(model, cross_entropy, Reference((inputs.to(dtype), labels)))
    assert operator.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert apart(matrix(operator), truth) < (1e-12 if dtype == torch.float64 else 1e-5)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}


CASTS: dict[str, Callable[[Tensor], Tensor]] = {
    "by name": lambda x: x.bfloat16(),
    "by dtype": lambda x: x.to(torch.bfloat16),
    "by keyword": lambda x: x.to(device="cpu", dtype=torch.bfloat16),
    "made so": lambda x: x + torch.zeros(x.shape, dtype=torch.bfloat16),
    "by type": lambda x: x.type(torch.bfloat16),
}


@pytest.mark.parametrize("name", CASTS)
def test_a_loss_may_cast_its_inputs_to_those_of_its_model(name: str) -> None:
    """To half, as the model's parameters are: both are single in a measurement, and half again after it."""
    model, cast = perceptron().to(torch.bfloat16), CASTS[name]
    inputs, labels = classes()

    def loss_fn(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(model(cast(batch[0])).float(), batch[1])

    truth = dense_hessian(model, cross_entropy, (inputs, labels))
    chosen = ladder.choose(Subject(model, loss_fn, Reference((inputs, labels))))
    assert chosen.method == "exact: double backward, kept graph"
    assert apart(matrix(chosen.snapshot()), truth) < 1e-5
    assert cast(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_half_precision_base_with_full_precision_factors() -> None:
    """A frozen bfloat16 base under float32 factors (mixed by autocast in training) is upcast for the measurement."""
    model = LowRank()
    model.base.to(torch.bfloat16)
    truth = dense_hessian(model, cross_entropy, classes())
    operator = Hessian(model, cross_entropy, Reference(classes()))
    assert operator.dim == 2 * 4 + 3 * 2
    assert apart(matrix(operator), truth) < 1e-5
    assert model.base.weight.dtype == torch.bfloat16


def test_gradient_accumulation_in_flight() -> None:
    """Half accumulated gradients neither enter the curvature nor change by it."""
    model, (inputs, labels) = perceptron(), classes()
    truth = dense_hessian(model, cross_entropy, (inputs, labels))
    torch.autograd.backward(cross_entropy(model, (inputs[:8], labels[:8])) / 2)
    before = traces(model)
    operator = Hessian(model, cross_entropy, Reference((inputs, labels)))
    assert apart(matrix(operator), truth) < 1e-5
    assert same(before, traces(model))


def test_a_loss_that_samples_is_one_function() -> None:
    """Noise drawn in the loss (VAE, diffusion) is the same at every evaluation, so that steps can be compared."""

    def noisy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(model, (batch[0] + torch.randn_like(batch[0]), batch[1]))

    model = perceptron()
    first = Hessian(model, noisy, Reference(classes()))
    torch.randn(5)
    second = Hessian(model, noisy, Reference(classes()))
    assert torch.equal(first.loss, second.loss)
    assert torch.equal(first.matvec(first.gradient), second.matvec(first.gradient))
    assert ladder.choose(Subject(model, noisy, Reference(classes()))).rung == 1


def test_a_model_that_adds_its_batches_up_in_a_buffer() -> None:
    """Each reference batch starts from the buffers of the snapshot, whatever the one before has written."""

    class Counting(nn.Module):
        seen: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron()
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, inputs: Tensor) -> Tensor:
            self.seen += 1
            out: Tensor = self.net(inputs) * self.seen
            return out

    model, (inputs, labels) = Counting(), classes()
    parts = Reference([(inputs[:10], labels[:10]), (inputs[10:], labels[10:])])
    whole = Hessian(model, cross_entropy, Reference((inputs, labels)))
    assert torch.allclose(whole.loss, Hessian(model, cross_entropy, parts).loss)
    assert float(model.seen) == 0


@pytest.mark.parametrize("old", [True, False])
def test_weight_norm_whose_double_backward_lies(old: bool) -> None:
    """The double backward of weight_norm in torch 2.13 is wrong without a word (its Hessian is not even symmetric); ours
    takes its place, agrees with the formula written out, and the model keeps no part of our graph."""
    torch.manual_seed(0)
    linear = nn.Linear(4, 3)
    if old:
        with pytest.warns(FutureWarning):
            normed = nn.utils.weight_norm(linear)
    else:
        normed = nn.utils.parametrizations.weight_norm(linear)
    model = nn.Sequential(normed, nn.Tanh())
    bias, size, direction = (parameter.detach().double() for parameter in model.parameters())
    inputs, labels = classes()
    batch = inputs.double(), labels

    def loss(flat: Tensor) -> Tensor:
        b, g, v = (part.reshape(like.shape) for part, like in zip(
            torch.split(flat, [bias.numel(), size.numel(), direction.numel()]), (bias, size, direction), strict=True
        ))  # fmt: skip
        weight = v * (g / v.norm(dim=1, keepdim=True))
        return F.cross_entropy(torch.tanh(batch[0] @ weight.T + b), batch[1])

    flat = torch.cat([bias.reshape(-1), size.reshape(-1), direction.reshape(-1)])
    truth = torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call]
    before = traces(model)
    chosen = ladder.choose(Subject(model, cross_entropy, Reference(classes())))
    assert apart(matrix(chosen.snapshot()), truth) < 1e-4
    assert same(before, traces(model))
    assert chosen.rung == 1


def test_wrappers_are_taken_off() -> None:
    """Compiled, in DataParallel or both: the module inside is what is measured."""
    model = perceptron()
    assert unwrap(torch.compile(nn.DataParallel(model), backend="eager")) is model  # type: ignore[arg-type]


class Wrapper(torch.optim.Optimizer):
    """As accelerate's: an optimizer by its type, which has nothing of its own."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    @property
    def param_groups(self) -> Any:  # type: ignore[override]
        return self.optimizer.param_groups


def test_the_optimizer_in_a_wrapper_is_what_moves_the_weights() -> None:
    optimizer = torch.optim.SGD(perceptron().parameters(), 0.1)
    assert inner(optimizer) is inner(Wrapper(optimizer)) is inner(Wrapper(Wrapper(optimizer))) is optimizer


def test_a_model_that_gives_other_things_in_eval_mode_is_told_so() -> None:
    """Inception's second head, the losses of a detector: there is no loss where curvature is measured."""

    class Headed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron()

        def forward(self, inputs: Tensor) -> Any:
            out = self.net(inputs)
            return (out, out) if self.training else out

    def both(model: nn.Module, batch: Any) -> Tensor:
        out, other = model(batch[0])
        return F.cross_entropy(out, batch[1]) + F.cross_entropy(other, batch[1])

    chosen = ladder.choose(Subject(Headed(), both, Reference(classes())))
    assert chosen.rung == 0 and chosen.reason.endswith("(in eval mode, in which it is measured)")


@pytest.mark.parametrize("frozen", [False, True])
def test_a_loss_that_switches_training_mode_on_is_told(frozen: bool) -> None:
    """Then dropout is on; the flags are afterwards as they were, also those that were off."""
    model = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.BatchNorm1d(6), nn.Linear(6, 3))
    model.train(not frozen)
    model[0].eval()
    flags = [module.training for module in model.modules()]
    batch = classes()
    by_batch, by_running = "BatchNorm by the statistics of each batch", "BatchNorm by running statistics"
    calm = Hessian(model, cross_entropy, Reference(batch))
    assert eval_mode(model) == f"eval mode: dropout off, {by_running if frozen else by_batch}"

    def training(model: nn.Module, batch: Any) -> Tensor:
        return cross_entropy(model.train(), batch)

    assert not torch.equal(Hessian(model, training, Reference(batch)).loss, calm.loss)
    assert [module.training for module in model.modules()] == flags
    assert eval_mode(model) == f"loss_fn switches training mode on: dropout with fixed noise, {by_batch}"
    assert eval_mode(copy.deepcopy(model)).startswith("eval mode: dropout off")


def test_a_part_in_distributed_data_parallel_is_refused_in_words() -> None:
    """A forward pass through it would wait for the other ranks."""
    model = nn.Sequential(perceptron())
    model[0].__class__ = type("Part", (nn.Sequential, nn.parallel.DistributedDataParallel), {})
    chosen = ladder.choose(Subject(model, cross_entropy, Reference(classes())))
    assert chosen.rung == 0
    assert "DistributedDataParallel" in chosen.reason


def test_nor_does_a_loss_that_goes_through_one() -> None:
    """Such as a closure over the wrapped model, or a discriminator."""
    wrapped = perceptron()
    wrapped.__class__ = type("Wrapped", (type(wrapped), nn.parallel.DistributedDataParallel), {})
    chosen = ladder.choose(
        Subject(perceptron(), lambda model, batch: cross_entropy(wrapped, batch), Reference(classes()))
    )
    assert chosen.rung == 0 and "loss_fn goes through DistributedDataParallel" in chosen.reason
