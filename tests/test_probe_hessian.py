"""The Hessian operator against dense float64 Hessians, and what it must leave untouched."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lsmon.probe.algorithms.lanczos import extremes, lanczos
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.protocol.errors import UsageError

Batch = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors and a shared machine: threads would only wait for one another."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    inputs, labels = batch
    return nn.functional.cross_entropy(model(inputs), labels)


def make_batch(count: int = 32, width: int = 4, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator), torch.randint(0, 3, (count,), generator=generator)


def make_model(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def dense(model: nn.Module, batch: Batch) -> Tensor:
    """∇²L by torch.func in float64, the parameters in the order of ``named_parameters``."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    flat = torch.cat([parameter.detach().double().reshape(-1) for parameter in model.parameters()])
    inputs, labels = batch

    def loss(theta: Tensor) -> Tensor:
        pieces = torch.split(theta, [shape.numel() for shape in shapes])
        state = {name: p.reshape(shape) for name, p, shape in zip(names, pieces, shapes, strict=True)}
        return nn.functional.cross_entropy(functional_call(model, state, (inputs.double(),)), labels)

    matrix: Tensor = torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call]
    return matrix


def test_products_equal_the_dense_hessian() -> None:
    """H·v in float32 agrees with the dense float64 matrix to 1e-5, for every unit vector."""
    model, batch = make_model(), make_batch()
    truth = dense(model, batch)
    operator = Hessian(model, loss_fn, Reference(batch))
    columns = torch.stack([operator.matvec(unit) for unit in torch.eye(operator.dim)])
    assert operator.dim == len(truth)
    assert torch.allclose(columns.double(), truth, atol=1e-5 * float(truth.norm()))


@pytest.mark.parametrize("seed", range(4))
def test_lanczos_finds_both_ends_with_their_sign(seed: int) -> None:
    """λ_max and λ_min of a small net at its start, where both signs are large, to 1e-5; the count is a lower bound."""
    model, batch = make_model(seed), make_batch(seed=seed)
    truth = torch.linalg.eigvalsh(dense(model, batch))
    work = lanczos(Hessian(model, loss_fn, Reference(batch)), 40)
    while True:
        try:
            next(work)
        except StopIteration as done:
            found = extremes(done.value)
            break
    size = float(truth.abs().max())
    assert truth[0] < 0 < truth[-1]
    assert found.top[0].value == pytest.approx(float(truth[-1]), abs=1e-5 * size)
    assert found.bottom[0].value == pytest.approx(float(truth[0]), abs=1e-5 * size)
    assert 0 < found.negative_at_least <= int((truth < 0).sum())


def test_several_batches_are_averaged_by_their_examples() -> None:
    """Two batches of unequal size give the Hessian of their union."""
    model, (inputs, labels) = make_model(), make_batch(30)
    whole = Hessian(model, loss_fn, Reference((inputs, labels)))
    parts = Hessian(model, loss_fn, Reference([(inputs[:10], labels[:10]), (inputs[10:], labels[10:])]))
    vector = torch.randn(whole.dim, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(whole.matvec(vector), parts.matvec(vector), atol=1e-6)
    assert torch.allclose(whole.loss, parts.loss)
    assert torch.allclose(whole.grad_norm, parts.grad_norm)


def test_products_stay_those_of_the_snapshot_while_training_goes_on() -> None:
    """After the live parameters have moved, a product is the same to the last bit."""
    model, batch = make_model(), make_batch()
    operator = Hessian(model, loss_fn, Reference(batch))
    vector = torch.randn(operator.dim, generator=torch.Generator().manual_seed(3))
    before = operator.matvec(vector)
    optimizer = torch.optim.SGD(model.parameters(), 0.5)
    torch.autograd.backward(loss_fn(model, batch))
    optimizer.step()
    assert torch.equal(before, operator.matvec(vector))


def test_tied_weights_are_one_parameter() -> None:
    """A matrix used twice has one block in the Hessian, that of the function it really is."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight

        def forward(self, inputs: Tensor) -> Tensor:
            out: Tensor = self.second(torch.tanh(self.first(inputs)))
            return out[:, :3]

    torch.manual_seed(0)
    model, batch = Tied(), make_batch()
    operator = Hessian(model, loss_fn, Reference(batch))
    assert operator.dim == 16
    weight = model.first.weight.detach().double()
    inputs, labels = batch

    def loss(flat: Tensor) -> Tensor:
        matrix = flat.reshape(4, 4)
        out = torch.tanh(inputs.double() @ matrix.T) @ matrix.T
        return nn.functional.cross_entropy(out[:, :3], labels)

    truth = torch.autograd.functional.hessian(loss, weight.reshape(-1))  # type: ignore[no-untyped-call]
    columns = torch.stack([operator.matvec(unit) for unit in torch.eye(16)])
    assert torch.allclose(columns.double(), truth, atol=1e-5)


def test_frozen_and_unused_parameters() -> None:
    """Frozen parameters are no part of H; unused ones are, with zero rows."""
    model = make_model()
    for parameter in model[0].parameters():  # type: ignore[index]
        parameter.requires_grad_(False)
    model.register_parameter("unused", nn.Parameter(torch.ones(2)))
    operator = Hessian(model, loss_fn, Reference(make_batch()))
    assert operator.dim == 6 * 3 + 3 + 2
    product = operator.matvec(torch.ones(operator.dim))
    assert torch.equal(product[:2], torch.zeros(2))


def test_attention_has_a_double_backward() -> None:
    """The fused attention kernel, which has none, is replaced for the measurement."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 12)

        def forward(self, inputs: Tensor) -> Tensor:
            query, key, value = self.mix(inputs).unsqueeze(0).unsqueeze(0).chunk(3, dim=-1)
            return nn.functional.scaled_dot_product_attention(query, key, value)[0, 0, :, :3]

    torch.manual_seed(0)
    operator = Hessian(Attention(), loss_fn, Reference(make_batch()))
    assert operator.matvec(torch.ones(operator.dim)).isfinite().all()


def test_half_precision_models_are_measured_in_single() -> None:
    """A bfloat16 model is snapshot in float32 and stays bfloat16 itself."""
    model = make_model().to(torch.bfloat16)
    inputs, labels = make_batch()
    operator = Hessian(model, loss_fn, Reference((inputs.to(torch.bfloat16), labels)))
    assert operator.dtype == torch.float32
    assert operator.matvec(torch.ones(operator.dim)).dtype == torch.float32
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.parameters())


def test_autocast_no_grad_and_inference_mode_around_the_call_do_not_matter() -> None:
    """The same products inside the contexts that a loop may have open."""
    model, batch = make_model(), make_batch()
    vector = torch.ones(Hessian(model, loss_fn, Reference(batch)).dim)
    plain = Hessian(model, loss_fn, Reference(batch)).matvec(vector)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain, Hessian(model, loss_fn, Reference(batch)).matvec(vector))
        assert torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        assert torch.equal(plain, Hessian(model, loss_fn, Reference(batch)).matvec(vector))
    with torch.inference_mode():
        assert torch.equal(plain, Hessian(model, loss_fn, Reference(batch)).matvec(vector))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda model, batch: torch.tensor(1.0, requires_grad=True), "does not use the model"),
        (lambda model, batch: torch.tensor(1.0), "does not use the model"),
        (lambda model, batch: model(batch[0]), "must return one number"),
        (lambda model, batch: 0.3, "must return one number"),
    ],
)
def test_a_wrong_loss_fn_gets_a_sentence(broken: Any, sentence: str) -> None:
    """What is wrong with it is said in words."""
    with pytest.raises(ValueError, match=sentence):
        Hessian(make_model(), broken, Reference(make_batch()))


def test_reference_takes_the_first_512_examples() -> None:
    """Batches are collected until there are 512 examples, the last one cut, all of them copies."""
    reference = Reference()
    inputs, labels = make_batch(200)
    for _ in range(4):
        reference.offer((inputs, labels))
    assert reference.sizes == [200, 200, 112]
    assert reference.complete
    first = reference.batches[0][0].clone()
    inputs.add_(1.0)
    assert torch.equal(reference.batches[0][0], first)


def test_reference_keeps_any_tree_of_tensors() -> None:
    """Dictionaries and nested tuples keep their shape; what is no tensor stays as it is."""
    reference = Reference({"ids": torch.ones(3, 2), "more": (torch.zeros(3), "text")})
    assert reference.examples == 3
    assert reference.batches[0]["more"][1] == "text"
    with pytest.raises(UsageError, match="reference="):
        Reference("text")
