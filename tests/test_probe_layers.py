"""Scale by layer against the tensors themselves and against theory; hooks that come and go without a trace."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.utils.checkpoint import checkpoint

from lsmon.probe import Probe
from lsmon.probe.guard import Guard
from lsmon.probe.instruments import Instruments
from lsmon.probe.schedule import Budget
from lsmon.probe.sensors.layers import LayerScale
from lsmon.probe.sensors.scale import Scale
from lsmon.probe.sensors.sensor import Context
from lsmon.probe.subject import compiled
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.frames import Layers, Scalars
from tests.one_thread import one_thread  # noqa: F401 (autouse)
from tests.trainings import mlp


class Watched:
    """A model under the sensor, trained by hand."""

    def __init__(self, model: nn.Module, lr: float = 0.0, **facts: Any) -> None:
        self.model, self.found = model, list[Any]()
        self.notes: dict[str, str] = {}
        self.optimizer = torch.optim.SGD(model.parameters(), lr)
        context = Context(model, self.optimizer, notes=self.notes, **facts)
        self.instruments = Instruments([LayerScale(seconds=0.0)], context, Budget(1.0), Guard(strict=True), self.found.append)  # fmt: skip
        self.step = 0

    def train(self, inputs: Tensor) -> Tensor:
        output = self.model(inputs)
        torch.autograd.backward(output.square().mean())
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        self.instruments.step(self.step, 1, inputs)
        return output.detach()  # type: ignore[no-any-return]

    def frames(self) -> list[Layers]:
        return [frame for frame in self.found if isinstance(frame, Layers)]

    def last(self, name: str) -> tuple[float, str]:
        frame = [f for f in self.found if isinstance(f, Scalars) and name in f.values][-1]
        return frame.values[name], frame.words[name]


def test_second_moments_are_those_of_the_tensors() -> None:
    """Output and gradient of every layer, in the order of the forward pass, by an independent pass."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(108, 5), nn.Tanh(), nn.Linear(5, 2))  # fmt: skip
    inputs = torch.randn(7, 1, 8, 8)
    watched = Watched(model)
    watched.train(inputs)
    frame = watched.frames()[0]
    assert frame.names == ("0", "3", "5")
    one = model[0](inputs)
    one.retain_grad()
    two = model[3](one.relu().flatten(1))
    two.retain_grad()
    three = model[5](two.tanh())
    three.retain_grad()
    torch.autograd.backward(three.square().mean())
    for place, tensor in enumerate((one, two, three)):
        assert tensor.grad is not None
        assert frame.values["activation"][place] == pytest.approx(
            float(tensor.detach().square().mean()), rel=1e-5
        )
        assert frame.values["gradient"][place] == pytest.approx(float(tensor.grad.square().mean()), rel=1e-5)


@pytest.mark.parametrize("gain", [0.5, 1.0, 2**0.5, 2.0])
def test_the_slope_is_that_of_the_theory(gain: float) -> None:
    """A ReLU layer multiplies second moments by gain²/2 (He et al. 2015), forwards and backwards."""
    torch.manual_seed(0)
    watched = Watched(mlp(10, 256, gain))
    watched.train(torch.randn(256, 64))
    truth = math.log10(gain**2 / 2)
    forward, words = watched.last("layers/activation_slope")
    backward, _ = watched.last("layers/gradient_slope")
    assert forward == pytest.approx(truth, abs=0.04)
    assert backward == pytest.approx(-truth, abs=0.04)
    assert words == "over 10 layers, 0 to 18"


def test_what_overflows_can_be_sent_and_leaves_the_slope_alone() -> None:
    """Ten times too large at depth 30: the first layers tell the slope, -1 stands for what is not finite."""
    torch.manual_seed(0)
    watched = Watched(mlp(30, 32, 10 * 2**0.5))
    watched.train(1e10 * torch.randn(8, 64))
    frame = watched.frames()[0]
    assert decode(encode(frame)) == frame
    assert -1.0 in frame.values["activation"] or -1.0 in frame.values["gradient"]
    slope, _ = watched.last("layers/activation_slope")
    assert slope == pytest.approx(2.0, abs=0.15)


def test_dead_units_are_counted_over_512_examples() -> None:
    """Three of eight units can never be positive; a unit that a rare example wakes is not dead."""
    torch.manual_seed(0)
    first = nn.Linear(4, 8)
    model = nn.Sequential(first, nn.ReLU(), nn.Linear(8, 1))
    with torch.no_grad():
        first.weight[:4] = 0.0
        first.bias[:] = torch.tensor([-1.0, -1.0, -1.0, -1.0, 9.0, 9.0, 9.0, 9.0])
        first.weight[3, 0] = 1.0
    watched = Watched(model)
    quiet = torch.randn(64, 4).clamp(-0.5, 0.5)
    for _ in range(7):
        watched.train(quiet)
    assert not [frame for frame in watched.frames() if "dead" in frame.values]
    awake = quiet.clone()
    awake[0, 0] = 5.0
    watched.train(awake)
    assert watched.frames()[-1].values["dead"] == (3 / 8, 0.0)
    assert watched.last("layers/dead") == (3 / 8, "in 0")


@pytest.mark.parametrize(("wrong", "told"), [(0, False), (4, False), (40, True)])
def test_an_example_that_the_loss_is_content_with_wakes_no_unit(wrong: int, told: bool) -> None:
    """A hinge loss has no gradient where the margin is kept: nothing is said of dead units by the few where it is not."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    watched = Watched(model)
    inputs = torch.randn(64, 4)
    for _ in range(16):
        scores = model(inputs).squeeze(1)
        margins = torch.full((64,), -100.0).index_fill(0, torch.arange(wrong), 100.0)
        torch.autograd.backward((margins - scores).clamp_min(0.0).mean())
        watched.optimizer.step()
        watched.optimizer.zero_grad()
        watched.step += 1
        watched.instruments.step(watched.step, 1, inputs)
    assert any("dead" in frame.values for frame in watched.frames()) == told


def test_a_dead_channel_of_a_convolution() -> None:
    """Its units are the channels."""
    first = nn.Conv2d(1, 4, 3)
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.Linear(144, 1))
    assert first.bias is not None
    with torch.no_grad():
        first.bias.copy_(torch.tensor([-99.0, 9.0, 9.0, 9.0]))
    watched = Watched(model)
    watched.train(torch.randn(512, 1, 8, 8))
    assert watched.last("layers/dead")[0] == 0.25


def test_training_is_the_same_and_the_hooks_are_gone() -> None:
    """Parameters and random stream to the last bit; between two measured steps no module has a hook."""

    def run(watch: bool) -> tuple[list[Tensor], Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(inplace=True), nn.Dropout(0.3), nn.Linear(8, 3))
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
        sensors = [LayerScale(seconds=0.0)] if watch else []
        instruments = Instruments(sensors, Context(model, optimizer), Budget(1.0), Guard(strict=True), lambda _: None)  # fmt: skip
        for step in range(40):
            torch.autograd.backward(model(torch.randn(9, 6)).square().mean())
            optimizer.step()
            assert not any(module._forward_hooks for module in model.modules())
            optimizer.zero_grad()
            instruments.step(step, 1, None)
        instruments.close()
        assert not any(module._forward_hooks for module in model.modules())
        return [p.detach() for p in model.parameters()], torch.get_rng_state()

    (one, stream), (two, other) = run(True), run(False)
    assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))
    assert torch.equal(stream, other)


def test_evaluation_is_not_looked_at() -> None:
    """A validation pass between two steps, and a pass without gradients, add nothing."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    watched = Watched(model)
    inputs = torch.randn(5, 4)
    watched.train(inputs)
    model.eval()
    model(inputs * 1000)
    model.train()
    with torch.no_grad():
        model(inputs * 1000)
    watched.train(inputs)
    first, second = watched.frames()
    assert first.values["activation"] == second.values["activation"]


def test_a_fault_in_a_hook_reaches_the_guard_and_not_the_loop() -> None:
    """The sensor is switched off in words; the forward pass went through."""
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    sensor = LayerScale(seconds=0.0)
    sensor._came_back = None  # type: ignore[assignment,method-assign]
    guard = Guard()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    instruments = Instruments([sensor], Context(model, optimizer), Budget(1.0), guard, lambda _: None)
    torch.autograd.backward(model(torch.randn(5, 4)).sum())
    optimizer.step()
    instruments.step(1, 1, None)
    assert guard.notes["layers"].startswith("off: ")


def test_a_compiled_model_is_left_alone() -> None:
    """It takes no hooks, or would be compiled again for one."""
    watched = Watched(nn.Linear(2, 2), compiled=True)
    watched.train(torch.randn(3, 2))
    assert not watched.found
    assert watched.notes["layers"].startswith("compiled models are not looked into: ")
    wrapped = nn.Module()
    wrapped._orig_mod = nn.Linear(2, 2)  # as torch.compile does it
    assert compiled(wrapped)
    assert not compiled(nn.Linear(2, 2))


def test_checkpointed_layers_are_the_same() -> None:
    """Activation checkpointing runs the forward pass again: the moments are those of one pass."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.inner, self.last = (
                nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 8)),
                nn.Linear(8, 1),
            )

        def forward(self, x: Tensor, again: bool) -> Tensor:
            hidden = checkpoint(self.inner, x, use_reentrant=False) if again else self.inner(x)
            return self.last(hidden)  # type: ignore[no-any-return]

    inputs, told = torch.randn(6, 4), []
    for again in (False, True):
        model = Checkpointed()
        found: list[Any] = []
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        instruments = Instruments([LayerScale(seconds=0.0)], Context(model, optimizer), Budget(1.0), Guard(strict=True), found.append)  # fmt: skip
        torch.autograd.backward(model(inputs, again).square().mean())
        optimizer.step()
        instruments.step(1, 1, inputs)
        told.append(next(frame for frame in found if isinstance(frame, Layers)))
    assert told[0].names == told[1].names
    for name in ("activation", "gradient"):
        assert told[0].values[name] == pytest.approx(told[1].values[name])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM, nn.RNN])
def test_recurrent_layers_are_looked_at(kind: Callable[..., nn.RNNBase]) -> None:
    """By what they put out at every time: their weights have names of their own, and what they return is a tuple."""
    torch.manual_seed(0)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Embedding(5, 4), nn.Linear(6, 3)
            self.body = kind(4, 6, batch_first=True)

        def forward(self, x: Tensor) -> Any:
            return self.head(self.body(self.embed(x))[0])

    model, inputs = Reader(), torch.randint(5, (7, 9))
    out = model.body(model.embed(inputs))[0]
    watched = Watched(model)
    watched.train(inputs)
    frame = watched.frames()[0]
    assert frame.names == ("body", "head")
    assert frame.values["activation"][0] == pytest.approx(out.square().mean().item())


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_is_looked_at_where_it_puts_out(batch_first: bool) -> None:
    """By the output of its out-projection, against the attention written out: it never calls that layer."""
    torch.manual_seed(0)

    class Reader(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
            self.head = nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.attention(x, x, x)[0])  # type: ignore[no-any-return]

    model, inputs = Reader(), torch.randn(5, 7, 8)
    inner = model.attention
    watched = Watched(model)
    watched.train(inputs)
    frame = watched.frames()[0]
    assert frame.names == ("attention.out_proj", "head")

    x = inputs if batch_first else inputs.transpose(0, 1)
    assert inner.in_proj_weight is not None
    query, key, value = (
        part.reshape(*x.shape[:2], 2, 4)
        for part in (x @ inner.in_proj_weight.T + inner.in_proj_bias).chunk(3, -1)
    )
    share = (torch.einsum("bqhd,bkhd->bhqk", query, key) / 2).softmax(-1)  # √4, the size of a head
    seen = torch.einsum("bhqk,bkhd->bqhd", share, value).flatten(-2)
    out = seen @ inner.out_proj.weight.T + inner.out_proj.bias
    out.retain_grad()
    torch.autograd.backward(model.head(out).square().mean())
    assert out.grad is not None
    assert frame.values["activation"][0] == pytest.approx(out.square().mean().item(), rel=1e-5)
    assert frame.values["gradient"][0] == pytest.approx(out.grad.square().mean().item(), rel=1e-5)


def test_the_layers_of_a_transformer_are_told_in_their_order() -> None:
    """Attention and both layers of what follows it, block after block."""
    block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    watched = Watched(nn.TransformerEncoder(block, 2, enable_nested_tensor=False))
    watched.train(torch.randn(3, 5, 8))
    names = [f"layers.{i}.{name}" for i in range(2) for name in ("self_attn.out_proj", "linear1", "linear2")]
    assert list(watched.frames()[0].names) == names


def test_many_layers_are_thinned_and_shared_ones_averaged() -> None:
    """At most 256 are told; a module that is called twice is one layer."""
    shared = nn.Linear(2, 2)
    watched = Watched(nn.Sequential(*(nn.Linear(2, 2) for _ in range(300))))
    watched.train(torch.randn(3, 2))
    assert len(watched.frames()[0].names) == 256

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = shared

        def forward(self, x: Tensor) -> Tensor:
            return self.inner(self.inner(x))  # type: ignore[no-any-return]

    inputs = torch.randn(3, 2)
    watched = Watched(Twice())
    watched.train(inputs)
    once = shared(inputs).detach()
    expected = float((once.square().mean() + shared(once).detach().square().mean()) / 2)
    assert watched.frames()[0].values["activation"][0] == pytest.approx(expected, rel=1e-5)


def test_a_copy_of_the_model_takes_no_look_along() -> None:
    """As of an average of the weights that is begun while the next step is to be measured."""
    model = mlp(3, 8, 1.0)
    sensor = LayerScale(seconds=0.0)
    sensor.expect(Context(model, torch.optim.SGD(model.parameters(), 0.0), notes={}))
    assert any(module._forward_hooks for module in model.modules())
    inputs = torch.randn(4, 64)
    torch.autograd.backward(copy.deepcopy(model)(inputs).square().mean())
    assert not sensor._seen
    torch.autograd.backward(model(inputs).square().mean())
    assert sensor._seen
    sensor.close()


def test_a_file_of_the_model_opens_where_lsmon_is_not() -> None:
    """Whole models are saved too, and it may be at a step that is measured."""
    model = mlp(3, 8, 1.0)
    sensor = LayerScale(seconds=0.0)
    sensor.expect(Context(model, torch.optim.SGD(model.parameters(), 0.0), notes={}))
    saved = pickle.dumps(model)
    assert b"lsmon" not in saved
    inputs = torch.randn(4, 64)
    assert torch.equal(pickle.loads(saved)(inputs), model(inputs)) and not sensor._error
    sensor.close()


def test_what_passes_inside_a_transform_is_left_alone() -> None:
    """Gradients by example are vmap's own tensors; it is said, and nothing fails."""
    model = mlp(2, 4, 1.0)
    inputs, labels = torch.randn(6, 64), torch.zeros(6, dtype=torch.long)

    def one(parameters: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return nn.functional.cross_entropy(functional_call(model, parameters, (x[None],)), y[None])

    sensor = LayerScale(seconds=0.0)
    context = Context(model, torch.optim.SGD(model.parameters(), 0.0), notes={})
    for _ in range(2):
        sensor.expect(context)
        each = vmap(grad(one), (None, 0, 0))(dict(model.named_parameters()), inputs, labels)
        for name, parameter in model.named_parameters():
            parameter.grad = each[name].detach().mean(0)
        assert sensor.measure(context) == []
    assert "torch.func" in context.notes["layers"]


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
@pytest.mark.parametrize("what", ["forward", "update"])
def test_a_function_of_the_loop_is_compiled_without_our_looks(what: str) -> None:
    """Whole, as it was asked for, while everything is armed; the training is the same to the last bit."""

    def trained(probed: bool) -> tuple[list[Tensor], int]:
        torch._dynamo.reset()
        torch.manual_seed(0)
        graphs = 0

        def counting(graph: Any, inputs: Any) -> Any:
            nonlocal graphs
            graphs += 1
            return graph.forward

        model = mlp(2, 6, 1.0)
        optimizer = torch.optim.Adam(model.parameters(), 0.01)

        def forward(x: Tensor) -> Tensor:
            return model(x).square().mean()  # type: ignore[no-any-return]

        inputs, update = torch.randn(8, 64), optimizer.step
        if what == "forward":
            forward = torch.compile(forward, backend=counting, fullgraph=True)
        else:
            update = torch.compile(update, backend=counting)
        sensors = [LayerScale(seconds=0.0), Scale(seconds=0.0)]
        probe = Probe(model, optimizer, budget=1.0, record=False, sensors=sensors) if probed else None
        for _ in range(6):
            optimizer.zero_grad()
            loss = forward(inputs)
            torch.autograd.backward(loss)
            update()
            if probe is not None:
                probe.step(loss)
        if probe is not None:
            probe.close()
        return [parameter.detach() for parameter in model.parameters()], graphs

    (plain, graphs), (probed, more) = trained(False), trained(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, probed, strict=True))
    assert graphs <= more <= graphs + 1  # once more at most, when the looks are gone


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning")
def test_a_trace_has_no_look_in_it() -> None:
    model, inputs = mlp(2, 4, 1.0), torch.randn(3, 64)
    sensor = LayerScale(seconds=0.0)
    sensor.expect(Context(model, torch.optim.SGD(model.parameters(), 0.0), notes={}))
    traced = torch.jit.trace(model, inputs)  # type: ignore[no-untyped-call]
    assert torch.equal(traced(inputs), model(inputs))
    sensor.close()
