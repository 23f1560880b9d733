"""Functions written to be differentiated twice, against PyTorch's own in double precision."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.nn import functional as F
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from lsmon.probe import measure
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from lsmon.probe.twice import function, layer_norm, smooth
from lsmon.probe.twice.mode import CheaplyTwice
from tests.one_thread import one_thread  # noqa: F401 (autouse)


@pytest.fixture(autouse=True)
def every_size(monkeypatch: pytest.MonkeyPatch) -> None:
    at_least(0, monkeypatch)


def at_least(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (smooth, layer_norm):
        monkeypatch.setattr(module, "LEAST", numbers)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What each activation was answered that asked for a function of ours."""
    answers: list[bool] = []
    suits = function.suits

    def noted(*tensors: Tensor | None, least: int) -> bool:
        answers.append(suits(*tensors, least=least))
        return answers[-1]

    for module in (smooth, layer_norm):
        monkeypatch.setattr(module, "suits", noted)
    return answers


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu, tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
}


def never() -> bool:
    return False


def twice(f: Callable[..., Tensor], inputs: list[Tensor]) -> list[Tensor]:
    """The gradients of a nonlinear function of ``f`` and the gradients of their product with fixed vectors."""
    value = f(*inputs)
    along = torch.linspace(-1, 1, value.numel(), dtype=value.dtype).reshape(value.shape)
    leaves = [each for each in inputs if each.requires_grad]
    first = torch.autograd.grad((along * value.tanh() + value**2).sum(), leaves, create_graph=True)
    drawn = torch.Generator().manual_seed(1)
    vectors = [torch.randn(each.shape, dtype=each.dtype, generator=drawn) for each in first]
    again = [
        torch.autograd.grad(first, leaves, vectors, retain_graph=True, allow_unused=True) for _ in range(2)
    ]
    assert all(torch.equal(a, b) for a, b in zip(*again, strict=True))  # a kept graph gives the same again
    return [*first, *again[0]]


def equal(f: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    with CheaplyTwice(never):
        ours = twice(f, inputs)
    for mine, truth in zip(ours, twice(f, inputs), strict=True):
        assert torch.allclose(mine, truth, rtol=1e-11, atol=1e-11 * float(truth.detach().abs().max()))


def drawn(*shape: int, seed: int = 0, grad: bool = True) -> Tensor:
    numbers = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (3 * numbers + 1).requires_grad_(grad)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_twice(name: str, asked: list[bool]) -> None:
    """Both orders equal PyTorch's to rounding, in two layouts."""
    equal(ACTIVATIONS[name], [drawn(5, 7)])
    equal(lambda x: ACTIVATIONS[name](x.t()), [drawn(5, 7)])
    assert asked == [True, True]


@pytest.mark.parametrize("shape", [[12], [3, 4]], ids=str)
@pytest.mark.parametrize("affine", ["neither", "weight", "both"])
@pytest.mark.parametrize("fixed", [None, 0, 1, 2], ids=["none", "input", "weight", "bias"])
def test_layer_norm_twice(shape: list[int], affine: str, fixed: int | None, asked: list[bool]) -> None:
    """Both orders equal PyTorch's to rounding, also where one of the inputs is constant."""
    count = {"neither": 1, "weight": 2, "both": 3}[affine]
    inputs = [drawn(6, *shape), drawn(*shape, seed=1), drawn(*shape, seed=2)][:count]
    if fixed is not None and fixed < count:
        inputs[fixed].requires_grad_(False)
    if not any(each.requires_grad for each in inputs):
        return
    equal(lambda x, *rest: F.layer_norm(x, shape, *rest), inputs)
    assert asked == [True]


def test_layer_norm_of_strange_layouts() -> None:
    equal(lambda x: F.layer_norm(x.transpose(0, 1), [7]), [drawn(7, 5)])
    equal(lambda x: F.layer_norm(x[:, ::2], [4], eps=0.5), [drawn(5, 7)])


class Block(nn.Module):
    """One layer of each kind, and a part that may be checkpointed."""

    def __init__(self, kept: bool = False) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(6), nn.Linear(6, 8), nn.Linear(8, 6)
        self.kept = kept

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = checkpoint(self.part, x, use_reentrant=False) if self.kept else self.part(x)
        out: Tensor = x + self.down(F.silu(y))
        return out

    def part(self, x: Tensor) -> Tensor:
        out: Tensor = F.gelu(self.up(self.norm(x)))
        return out


def squares(model: nn.Module, batch: Tensor) -> Tensor:
    out: Tensor = (model(batch) ** 2).mean()
    return out


def penalty(model: nn.Module, batch: Tensor) -> Tensor:
    """A loss made of a derivative, as of a gradient penalty or of a differential equation."""
    batch = batch.clone().requires_grad_()
    value = model(batch).sum()
    (slope,) = torch.autograd.grad(value, batch, create_graph=True)
    (bend,) = torch.autograd.grad(slope.sum(), batch, create_graph=True)
    out: Tensor = (slope**2).mean() + (bend**2).mean() + value**2 / 100
    return out


def by_func(model: nn.Module, batch: Tensor) -> Tensor:
    """A loss that maps over its examples."""
    out: Tensor = torch.func.vmap(lambda one: (model(one) ** 2).mean())(batch).mean()
    return out


def forward_mode(model: nn.Module, batch: Tensor) -> Tensor:
    """A loss made of a derivative by forward differentiation."""
    with forward_ad.dual_level():
        made = model(forward_ad.make_dual(batch, torch.ones_like(batch)))  # type: ignore[no-untyped-call]
        value, along = forward_ad.unpack_dual(made)  # type: ignore[no-untyped-call]
    out: Tensor = (value**2).mean() + (along**2).mean()
    return out


def model(**how: Any) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(Block(**how), Block()).double()


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")  # by PyTorch's forward differentiation
@pytest.mark.parametrize("loss_fn", [squares, penalty, by_func, forward_mode], ids=lambda f: f.__name__)
def test_products_are_those_without(
    loss_fn: Callable[..., Tensor], asked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the loss does with its model, H·v is what PyTorch's functions give."""
    batch = drawn(5, 6, grad=False)
    operator = Hessian(model(), loss_fn, Reference(batch))
    assert any(asked) == (loss_fn in (squares, penalty))
    at_least(1 << 60, monkeypatch)
    plain = Hessian(model(), loss_fn, Reference(batch))
    for seed in range(3):
        vector = drawn(plain.dim, seed=seed, grad=False)
        assert torch.allclose(operator.matvec(vector), plain.matvec(vector), rtol=1e-10, atol=1e-10)


def test_what_is_computed_once_more_stays_pytorchs(asked: list[bool]) -> None:
    """In a checkpoint and behind it: the recomputation runs out of the mode."""
    batch = drawn(5, 6, grad=False)
    kept, plain = (Hessian(model(kept=how), squares, Reference(batch)) for how in (True, False))
    assert len(asked) == 6  # of the other model
    vector = drawn(plain.dim, grad=False)
    assert torch.allclose(kept.matvec(vector), plain.matvec(vector), rtol=1e-12, atol=1e-12)


def test_a_product_does_not_enter_the_model_because_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are Python in a backward pass, but not the user's."""
    operator = Hessian(model(), squares, Reference(drawn(5, 6, grad=False)))
    monkeypatch.setattr(operator.snapshot, "inside", None)
    operator.matvec(torch.ones(operator.dim, dtype=torch.float64))


def test_where_pytorchs_own_are_better(asked: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    """In place, in half precision, in subclasses, without gradients and on little; a float32 norm of a float64 weight."""

    class Mine(Tensor):
        pass

    x = torch.ones(3, 4, requires_grad=True)
    with CheaplyTwice(never):
        F.gelu(x.bfloat16())
        F.gelu(x.as_subclass(Mine))
        F.gelu(x.detach())
        with torch.no_grad():
            F.layer_norm(x, [4])
        F.gelu(x)
        at_least(13, monkeypatch)
        F.gelu(x)
    assert asked == [False, False, False, False, True, False]
    with CheaplyTwice(never):
        y = x + 1
        assert F.silu(y, inplace=True) is y


def test_a_third_derivative_is_refused() -> None:
    """And not silently wrong."""
    x = drawn(4)
    for f in (F.gelu, lambda x: F.layer_norm(x, [4])):
        with CheaplyTwice(never):
            value = f(x).square().sum()
        (first,) = torch.autograd.grad(value, x, create_graph=True)
        with pytest.raises(RuntimeError, match="no third time"):
            torch.autograd.grad(first.sum(), x, create_graph=True)


class ByHand(nn.Module):
    """A linear layer of weights g v/|v|, written out."""

    def __init__(self, normed: nn.Module) -> None:
        super().__init__()
        g, v = (p.detach().double() for p in normed.parametrizations.weight.parameters())  # type: ignore[union-attr]
        self.bias, self.g, self.v = (nn.Parameter(p) for p in (normed.bias.detach().double(), g, v))  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(
            x, self.v * (self.g / torch.linalg.vector_norm(self.v, dim=1, keepdim=True)), self.bias
        )


def test_weight_normalisation_is_exact() -> None:
    """Of PyTorch's own the second derivative is wrong (gradgradcheck says so), by which λ_max would be up to a sixth off."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))
    parametrizations.weight_norm(model[0])
    batch = torch.randn(16, 4)
    found = measure(model, lambda m, b: m(b).square().mean(), batch, probes=0)
    assert "exact" in found.method
    twin = nn.Sequential(ByHand(model[0]), nn.Tanh(), copy.deepcopy(model[2]).double())
    leaves = list(twin.parameters())
    first = torch.autograd.grad(twin(batch.double()).square().mean(), leaves, create_graph=True)
    rows = [
        torch.cat([p.reshape(-1) for p in torch.autograd.grad(entry, leaves, retain_graph=True)])
        for entry in torch.cat([piece.reshape(-1) for piece in first])
    ]
    assert found.top[0].value == pytest.approx(float(torch.linalg.eigvalsh(torch.stack(rows))[-1]), rel=1e-6)
