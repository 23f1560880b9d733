"""``measure`` against the dense double-precision Hessian, and what it leaves untouched."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from lsmon.probe import Measurement, measure
from lsmon.protocol.errors import UsageError
from tests.one_thread import one_thread  # noqa: F401 (autouse)

Batch = tuple[Tensor, Tensor]


def loss_fn(model: nn.Module, batch: Batch) -> Tensor:
    return nn.functional.cross_entropy(model(batch[0]), batch[1])


def make_batch(count: int = 200) -> Batch:
    inputs = torch.randn(count, 6, generator=torch.Generator().manual_seed(1))
    return inputs, (inputs[:, 0] > 0).long() + (inputs[:, 1] > 0.5).long()


def make_model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 3))


def truth(model: nn.Module, batch: Batch) -> Tensor:
    """All eigenvalues, ascending, by torch.func in float64."""
    names = [name for name, _ in model.named_parameters()]
    shapes = [parameter.shape for parameter in model.parameters()]
    flat = torch.cat([parameter.detach().double().reshape(-1) for parameter in model.parameters()])

    def loss(theta: Tensor) -> Tensor:
        pieces = torch.split(theta, [shape.numel() for shape in shapes])
        state = {name: p.reshape(shape) for name, p, shape in zip(names, pieces, shapes, strict=True)}
        outputs = functional_call(model, state, (batch[0].double(),))
        value: Tensor = nn.functional.cross_entropy(outputs, batch[1])
        return value

    matrix: Tensor = torch.autograd.functional.hessian(loss, flat)  # type: ignore[no-untyped-call]
    values: Tensor = torch.linalg.eigvalsh((matrix + matrix.T) / 2)
    return values


def test_the_fields_are_those_promised() -> None:
    """A frozen dataclass with exactly these fields, in this order."""
    assert [field.name for field in dataclasses.fields(Measurement)] == [
        "top", "bottom", "negative_at_least", "negative_fraction", "negative_fraction_se", "zero_fraction",
        "zero_fraction_se", "tolerance", "resolution", "trace", "trace_se", "density", "log_volume", "log_volume_se",
        "llc_quadratic", "llc_quadratic_se", "hvps", "seconds", "method", "notes",
    ]  # fmt: skip
    found = measure(make_model(), loss_fn, make_batch(), probes=0)
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.hvps = 3  # type: ignore[misc]


def test_estimates_agree_with_the_whole_spectrum() -> None:
    """Ends within their residuals and 1 %, the count below the truth, fractions, trace and volume within their errors."""
    model, batch = make_model(), make_batch()
    values = truth(model, batch)
    found = measure(model, loss_fn, batch, steps=40, probes=8)
    for ritz, value in zip(found.top, reversed(values.tolist()), strict=False):
        assert abs(ritz.value - value) <= min(ritz.residual + 1e-5, 0.011 * abs(value))
    assert found.bottom[0].value == pytest.approx(float(values[0]), rel=1e-2)
    size = float(values.abs().max())
    assert 0 < found.negative_at_least <= int((values < 0).sum())
    assert found.tolerance == 1e-2 and found.resolution is not None and found.resolution <= 1e-2
    for value, error, exact in (
        (found.negative_fraction, found.negative_fraction_se, (values < -1e-2 * size).double().mean()),
        (found.zero_fraction, found.zero_fraction_se, (values.abs() <= 1e-2 * size).double().mean()),
        (found.trace, found.trace_se, values.sum()),
    ):
        assert value is not None and error is not None
        assert abs(value - float(exact)) <= 3 * error
    delta = 1e-2 * values[-1]
    volume = float(-0.5 * torch.log1p(values.clamp_min(0) / delta).sum())
    assert found.log_volume is not None and abs(found.log_volume - volume) <= 0.2 * abs(volume)
    grid, mass = found.density
    assert list(grid) == sorted(grid) and sum(mass) == pytest.approx(1.0)


def test_dense_is_exact() -> None:
    """With ``dense`` every number is that of the whole spectrum, and no error but rounding is left."""
    model, batch = make_model(), make_batch()
    values = truth(model, batch)
    found = measure(model, loss_fn, batch, dense=True, k=3)
    assert [ritz.value for ritz in found.top] == pytest.approx(values.flip(0)[:3].tolist(), rel=1e-5)
    assert [ritz.value for ritz in found.bottom] == pytest.approx(values[:3].tolist(), rel=1e-5)
    size = float(values.abs().max())
    assert found.negative_fraction == pytest.approx(float((values < -1e-2 * size).double().mean()))
    assert (found.negative_fraction_se, found.trace_se, found.log_volume_se) == (0.0, 0.0, 0.0)
    dim, alpha = len(values), float((values < -1e-2 * size).double().mean())
    chance = next(note for note in found.notes if "by chance" in note)
    assert f"10^{dim * math.log10(1 - alpha):.3g} under independent signs" in chance
    thousands = -0.11928 * dim**2 / 1000  # dim is 163: a power with an exponent of its own stands in brackets
    assert f"10^({thousands:.3g}e3) under a centred" in chance
    assert any("kurtosis" in note for note in found.notes)
    assert found.trace == pytest.approx(float(values.sum()), rel=1e-4)
    assert found.negative_at_least == int((values < -1e-6 * size).sum())
    assert found.hvps == len(values)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_as_many_values_as_asked_for(k: int) -> None:
    """k from either end."""
    found = measure(make_model(), loss_fn, make_batch(), k=k, steps=60, probes=0)
    assert len(found.top) == len(found.bottom) == k


def test_the_model_is_left_as_it_was() -> None:
    """Parameters, gradients, buffers, flags and random streams; also with dropout, BatchNorm and autocast."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    torch.autograd.backward(loss_fn(model, make_batch()))

    def state() -> list[Any]:
        tensors = [*model.state_dict().values(), *(p.grad for p in model.parameters() if p.grad is not None)]
        return [*(tensor.clone() for tensor in tensors), torch.get_rng_state()]

    before, flags = state(), [module.training for module in model.modules()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = measure(model, loss_fn, make_batch(), optimizer=optimizer, probes=1)
        assert torch.is_autocast_enabled("cpu")
    assert all(torch.equal(one, other) for one, other in zip(before, state(), strict=True))
    assert flags == [module.training for module in model.modules()]
    assert any("edge of stability" in note for note in found.notes)


def test_the_seed_decides_everything() -> None:
    """The same seed gives the same numbers, another one others."""
    runs = [measure(make_model(), loss_fn, make_batch(), probes=2, seed=seed) for seed in (0, 0, 1)]
    assert runs[0].top == runs[1].top and runs[0].trace == runs[1].trace
    assert runs[0].trace != runs[2].trace


@pytest.mark.parametrize(
    ("model", "arguments", "words"),
    [
        (make_model(), {"k": 0}, "at least 1"),
        (nn.Linear(6, 300), {"dense": True}, "up to 1500 parameters"),
        (nn.Linear(5, 3), {}, "can be had"),
    ],
)
def test_what_cannot_be_measured_is_said_in_a_sentence(
    model: nn.Module, arguments: dict[str, Any], words: str
) -> None:
    """Arguments that make no sense, too large a matrix, a model that does not fit the batch."""
    with pytest.raises(UsageError, match=words):
        measure(model, loss_fn, make_batch(), **arguments)


def test_importing_it_is_what_loads_torch() -> None:
    """``lsmon.probe`` alone stays light; the name is there when asked for."""
    code = "import sys, lsmon.probe as p; assert 'torch' not in sys.modules; p.measure; assert 'torch' in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_products_that_are_not_symmetric_are_said_to_be_so() -> None:
    """A straight-through estimator: the backward pass is that of another function than the forward pass."""

    class Through(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.up, self.down = nn.Linear(4, 6), nn.Linear(6, 4)

        def forward(self, x: Tensor) -> Tensor:
            y = self.up(x)
            out: Tensor = self.down(y + (torch.sign(y) * y.abs().sqrt() - y).detach())
            return out

    torch.manual_seed(0)
    batch = torch.randn(32, 4)
    words = "the products are not symmetric"
    said = measure(Through(), lambda m, b: (m(b) - b).square().mean(), batch, probes=0).notes
    assert any(note.startswith(words) for note in said)
    plain = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))
    said = measure(plain, lambda m, b: (m(b) - b).square().mean(), batch, probes=0).notes
    assert not any(note.startswith(words) for note in said)
