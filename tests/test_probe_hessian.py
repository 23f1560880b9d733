"""The Hessian operator against dense float64 Hessians, and what it must leave untouched."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from lsmon.probe import measure
from lsmon.probe.operators.blocks import blocks
from lsmon.probe.operators.callbacks import watched
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.operators.preconditioned import Preconditioned
from lsmon.probe.reference import Reference
from lsmon.protocol.errors import UsageError
from tests.landscape import apart, classes, dense_hessian, matrix, perceptron, same, traces
from tests.landscape import cross_entropy as loss_fn
from tests.one_thread import one_thread  # noqa: F401 (autouse)

Batch = tuple[Tensor, Tensor]


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
    model, batch = perceptron(), classes()
    truth = dense(model, batch)
    operator = Hessian(model, loss_fn, Reference(batch))
    columns = torch.stack([operator.matvec(unit) for unit in torch.eye(operator.dim)])
    assert operator.dim == len(truth)
    assert torch.allclose(columns.double(), truth, atol=1e-5 * float(truth.norm()))


def test_several_batches_are_averaged_by_their_examples() -> None:
    """Two batches of unequal size give the Hessian of their union."""
    model, (inputs, labels) = perceptron(), classes(30)
    whole = Hessian(model, loss_fn, Reference((inputs, labels)))
    parts = Hessian(model, loss_fn, Reference([(inputs[:10], labels[:10]), (inputs[10:], labels[10:])]))
    vector = torch.randn(whole.dim, generator=torch.Generator().manual_seed(3))
    assert torch.allclose(whole.matvec(vector), parts.matvec(vector), atol=1e-6)
    assert torch.allclose(whole.loss, parts.loss)
    assert torch.allclose(whole.grad_norm, parts.grad_norm)


def test_products_stay_those_of_the_snapshot_while_training_goes_on() -> None:
    """After the live parameters have moved, a product is the same to the last bit."""
    model, batch = perceptron(), classes()
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
    model, batch = Tied(), classes()
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
    model = perceptron()
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    model.register_parameter("unused", nn.Parameter(torch.ones(2)))
    operator = Hessian(model, loss_fn, Reference(classes()))
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
    operator = Hessian(Attention(), loss_fn, Reference(classes()))
    assert operator.matvec(torch.ones(operator.dim)).isfinite().all()


def test_half_precision_models_are_measured_in_single() -> None:
    """A bfloat16 model is snapshot in float32 and stays bfloat16 itself."""
    model = perceptron().to(torch.bfloat16)
    inputs, labels = classes()
    operator = Hessian(model, loss_fn, Reference((inputs.to(torch.bfloat16), labels)))
    assert operator.dtype == torch.float32
    assert operator.matvec(torch.ones(operator.dim)).dtype == torch.float32
    assert all(parameter.dtype == torch.bfloat16 for parameter in model.parameters())


def test_autocast_no_grad_and_inference_mode_around_the_call_do_not_matter() -> None:
    """The same products inside the contexts that a loop may have open."""
    model, batch = perceptron(), classes()
    vector = torch.ones(Hessian(model, loss_fn, Reference(batch)).dim)
    plain = Hessian(model, loss_fn, Reference(batch)).matvec(vector)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(plain, Hessian(model, loss_fn, Reference(batch)).matvec(vector))
        assert torch.is_autocast_enabled("cpu")
    with torch.no_grad():
        assert torch.equal(plain, Hessian(model, loss_fn, Reference(batch)).matvec(vector))
    with torch.inference_mode():
        assert torch.equal(plain, Hessian(model, loss_fn, Reference(batch)).matvec(vector))


def runs_backward(model: nn.Module, batch: Any) -> Tensor:
    loss: Tensor = nn.functional.cross_entropy(model(batch[0]), batch[1])
    torch.autograd.backward(loss)
    return loss


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        (lambda model, batch: torch.tensor(1.0, requires_grad=True), "does not use the model"),
        (lambda model, batch: torch.tensor(1.0), "does not use the model"),
        (lambda model, batch: model(batch[0]), "must return one number"),
        (lambda model, batch: 0.3, "must return one number"),
        (runs_backward, "runs backward itself"),
        (lambda model, batch: runs_backward(model, batch).detach(), "runs backward itself"),
    ],
)
def test_a_wrong_loss_fn_gets_a_sentence(broken: Any, sentence: str) -> None:
    """What is wrong with it is said in words."""
    with pytest.raises(ValueError, match=sentence):
        Hessian(perceptron(), broken, Reference(classes()))


def test_reference_takes_the_first_512_examples() -> None:
    """Batches are collected until there are 512 examples, the last one cut, all of them copies."""
    reference = Reference()
    inputs, labels = classes(200)
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


def test_a_constant_added_to_the_loss_changes_nothing() -> None:
    """Curvature is of differences of the loss: the same products to the last bit."""
    model, batch = perceptron(), classes()
    plain = Hessian(model, loss_fn, Reference(batch))
    raised = Hessian(model, lambda model, batch: loss_fn(model, batch) + 7.0, Reference(batch))
    assert torch.equal(matrix(plain), matrix(raised))


@pytest.mark.parametrize("factor", [1e-3, 4.0, 1e3])
def test_scaling_the_loss_scales_the_hessian(factor: float) -> None:
    """c·L has c·H, to rounding."""
    model, batch = perceptron(), classes()
    plain = matrix(Hessian(model, loss_fn, Reference(batch)))
    scaled = matrix(Hessian(model, lambda model, batch: factor * loss_fn(model, batch), Reference(batch)))
    assert apart(scaled, factor * plain) < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_permuting_hidden_units_leaves_the_spectrum(seed: int) -> None:
    """The loss does not know the order of the units of a layer, nor does the spectrum; both ends have their sign."""
    model, batch = perceptron(seed), classes(seed=seed)
    spectrum = torch.linalg.eigvalsh(matrix(Hessian(model, loss_fn, Reference(batch))))
    truth = torch.linalg.eigvalsh(dense(model, batch))
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    into, bias, out, _ = model.parameters()
    with torch.no_grad():
        into.copy_(into[order])
        bias.copy_(bias[order])
        out.copy_(out[:, order])
    permuted = torch.linalg.eigvalsh(matrix(Hessian(model, loss_fn, Reference(batch))))
    assert torch.allclose(spectrum, permuted, atol=1e-6)
    assert torch.allclose(spectrum, truth, atol=1e-6)
    assert spectrum[0] < -0.01 < 0.01 < spectrum[-1]


@pytest.mark.parametrize("seed", range(5))
def test_halves_of_a_batch_are_sharper_on_average(seed: int) -> None:
    """Mean λ_max of the halves ≥ λ_max of the whole, and the opposite for λ_min (Jensen): a small reference batch
    overstates both."""
    model, (inputs, labels) = perceptron(seed), classes(24, seed=seed)
    whole = matrix(Hessian(model, loss_fn, Reference((inputs, labels))))
    first = matrix(Hessian(model, loss_fn, Reference((inputs[:12], labels[:12]))))
    second = matrix(Hessian(model, loss_fn, Reference((inputs[12:], labels[12:]))))
    assert apart((first + second) / 2, whole) < 1e-6
    ends = [torch.linalg.eigvalsh(part) for part in (whole, first, second)]
    assert (ends[1][-1] + ends[2][-1]) / 2 >= ends[0][-1] - 1e-6
    assert (ends[1][0] + ends[2][0]) / 2 <= ends[0][0] + 1e-6


def test_a_block_is_the_part_of_the_hessian_that_belongs_to_a_layer() -> None:
    """Each layer's operator is the diagonal block of its own parameters; its λ_max is at most that of the whole."""
    model, batch = perceptron(), classes()
    truth = dense(model, batch)
    layers = blocks(Hessian(model, loss_fn, Reference(batch)))
    assert {name: block.dim for name, block in layers.items()} == {"0": 30, "2": 21}
    assert apart(matrix(layers["0"]), truth[:30, :30]) < 1e-5
    assert apart(matrix(layers["2"]), truth[30:, 30:]) < 1e-5
    for block in layers.values():
        assert torch.linalg.eigvalsh(matrix(block))[-1] <= torch.linalg.eigvalsh(truth)[-1] + 1e-6


def test_a_layer_without_entries_has_no_block() -> None:
    """An adapter of rank 0, beside a layer of which only the weight is empty; the others are as without it."""
    torch.manual_seed(0)
    net, batch = perceptron(), classes()
    with warnings.catch_warnings(action="ignore"):  # PyTorch's, that there is nothing to initialise
        none, some = nn.Linear(0, 3, bias=False), nn.Linear(0, 3)
    model = nn.ModuleDict({"net": net, "none": none, "some": some})

    def loss_fn(model: Any, batch: Batch) -> Tensor:
        empty = torch.zeros(len(batch[0]), 0)
        out = model["net"](batch[0]) + model["none"](empty) + model["some"](empty)
        return nn.functional.cross_entropy(out, batch[1])

    layers = blocks(Hessian(model, loss_fn, Reference(batch)))
    assert {name: block.dim for name, block in layers.items()} == {"net.0": 30, "net.2": 21, "some": 3}
    truth = dense(net, batch)
    assert apart(matrix(layers["net.0"]), truth[:30, :30]) < 1e-2
    assert apart(matrix(layers["some"]), truth[48:, 48:]) < 1e-2


def test_blocks_may_be_grouped_by_any_name() -> None:
    """All weights and all biases are two blocks, whose parameters are not next to each other."""
    model, batch = perceptron(), classes()
    truth = dense(model, batch)
    both = blocks(Hessian(model, loss_fn, Reference(batch)), lambda name: name.rpartition(".")[2])
    rows = [*range(24, 30), *range(48, 51)]
    assert apart(matrix(both["bias"]), truth[rows][:, rows]) < 1e-5


def test_the_gradient_is_in_the_coordinates_of_the_operator() -> None:
    """Of the whole, of a layer (also one whose parameters lie apart), and where a step with Adam is a plain one."""
    model, batch = perceptron(), classes()
    whole = Hessian(model, loss_fn, Reference(batch))
    gradients = torch.autograd.grad(loss_fn(model, batch), list(model.parameters()))
    truth = torch.cat([gradient.reshape(-1) for gradient in gradients])
    assert apart(whole.gradient, truth) < 1e-6
    assert apart(blocks(whole)["2"].gradient, truth[30:]) < 1e-6
    biases = blocks(whole, lambda name: name.rpartition(".")[2])["bias"]
    assert apart(biases.gradient, truth[[*range(24, 30), *range(48, 51)]]) < 1e-6
    root = torch.linspace(0.0, 2.0, whole.dim)
    assert apart(Preconditioned(whole, root).gradient, root * truth) < 1e-6


@pytest.mark.parametrize("when", ["forward", "backward", "product"])
def test_what_raises_in_the_middle_leaves_no_trace(when: str) -> None:
    """An error in the forward pass, the backward pass or a product comes out, and everything is as it was."""

    class Breaking(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: Tensor) -> Tensor:
            return inputs.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Any:
            if when == "backward" or (when == "product" and armed):
                raise RuntimeError("broken on purpose")
            return Breaking.apply(gradients[0])  # type: ignore[no-untyped-call]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = perceptron()
            self.drop = nn.Dropout(0.5)

        def forward(self, inputs: Tensor) -> Tensor:
            out: Tensor = self.net(self.drop(inputs) + torch.rand(1)) ** 2
            if when == "forward":
                raise RuntimeError("broken on purpose")
            return Breaking.apply(out)  # type: ignore[no-any-return, no-untyped-call]

    armed = False
    model, reference = Model(), Reference(classes())
    before = traces(model)
    with pytest.raises(RuntimeError, match="on purpose"):
        operator = Hessian(model, loss_fn, reference)
        armed = True
        operator.matvec(operator.gradient)
    assert same(before, traces(model))


def test_a_frozen_parameter_that_is_thawed_meanwhile_is_noticed() -> None:
    """Frozen parameters are not copied; when the training moves one, the measurement ends instead of mixing steps."""
    model = perceptron()
    model[0].requires_grad_(False)
    operator = Hessian(model, loss_fn, Reference(classes()))
    with torch.no_grad():
        next(model.parameters()).add_(1.0)
    with pytest.raises(RuntimeError, match="a frozen parameter was changed"):
        operator.matvec(operator.gradient)


def test_complex_parameters_are_refused_in_words() -> None:
    """Rather than dropping their imaginary parts."""
    model = nn.Linear(4, 3, dtype=torch.complex64)
    with pytest.raises(ValueError, match="complex parameters"):
        Hessian(model, loss_fn, Reference(classes()))


class _Doubled(torch.autograd.Function):
    """A custom function with a backward pass in Python."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return 2 * gradient


def _hooked(x: Tensor) -> Tensor:
    x = 1 * x
    x.register_hook(lambda gradient: gradient)  # type: ignore[no-untyped-call]
    return x


def test_a_parameter_that_is_viewed_as_complex_numbers() -> None:
    """As in a layer of Fourier coefficients; wherever in a vector, and a vector in a matrix, its part lies."""

    class Spectral(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.scale = nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.ones(1))

        def forward(self, x: Tensor) -> Tensor:
            made = torch.fft.irfft(torch.fft.rfft(x) * torch.view_as_complex(self.weight), n=4)
            return torch.tanh(self.scale * made)

    def power(model: nn.Module, batch: Tensor) -> Tensor:
        loss: Tensor = model(batch).square().mean()
        return loss

    torch.manual_seed(0)
    model, batch = Spectral(), torch.randn(8, 4)
    found = measure(model, power, batch, probes=0)
    assert "exact" in found.method
    true = torch.linalg.eigvalsh(dense_hessian(model, power, batch))
    assert found.top[0].value == pytest.approx(float(true[-1]), rel=1e-3)


@pytest.mark.parametrize(
    ("act", "any_python"),
    [
        (lambda x: 2 * x, False),
        (_Doubled.apply, True),
        (_hooked, True),
        (lambda x: checkpoint(torch.tanh, x, use_reentrant=False), True),
        (lambda x: checkpoint(torch.tanh, x, use_reentrant=True), True),
    ],
    ids=["plain", "custom function", "tensor hook", "checkpoint", "reentrant checkpoint"],
)
def test_python_in_a_backward_pass_is_noticed(act: Any, any_python: bool) -> None:
    """What runs Python while a product is computed must find the copies in the model; only then they are put there."""
    x = torch.ones(3, requires_grad=True)
    before = torch.Tensor.register_hook
    with watched() as callbacks:
        done = act(x).sum()
    assert callbacks.any([done]) is any_python
    assert torch.Tensor.register_hook == before


def normalised() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))


def test_batch_normalisation_is_that_of_the_training() -> None:
    """The gradient is the loop's own, by the statistics of each batch; a frozen layer keeps its running ones."""
    model, batches = normalised(), [classes(12, seed=1), classes(20, seed=2)]
    kept = {name: buffer.clone() for name, buffer in model.named_buffers()}
    for frozen in (False, True):
        model[1].train(not frozen)
        operator = Hessian(model, loss_fn, Reference(batches, thinnest=4))
        twin = copy.deepcopy(model)
        loss = (12 * loss_fn(twin, batches[0]) + 20 * loss_fn(twin, batches[1])) / 32
        own = torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, list(twin.parameters()))])
        assert torch.allclose(operator.gradient, own, atol=1e-6)
    assert all(torch.equal(buffer, kept[name]) for name, buffer in model.named_buffers())


def test_batches_whose_examples_depend_on_one_another_are_not_cut() -> None:
    whole = Reference(thinnest=4)
    for seed in range(5):
        whole.offer(classes(200, seed=seed))
    assert whole.complete and whole.sizes == [200, 200]  # a third would be more than 512
    assert whole.thinned(10).sizes == [50]  # a quarter at least
    assert [part.sizes for part in whole.chunks(10)] == [[200], [200]]
    halves = whole.halves()
    assert halves is not None and [half.sizes for half in halves] == [[200], [200]]
    assert Reference(classes(200), thinnest=4).halves() is None
