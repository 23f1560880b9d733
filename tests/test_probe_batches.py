"""Batches as people have them: whatever holds the tensors, they are copied, cut and measured on."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pack_sequence, pad_packed_sequence

from lsmon.probe import measure
from lsmon.probe.batches import cut, mapped, tensors
from lsmon.probe.reference import Reference, plain_size, size_of
from tests.one_thread import one_thread  # noqa: F401 (autouse)

X, Y = torch.arange(24.0).reshape(8, 3), torch.arange(8.0)


class Encoding(UserDict[str, Any]):
    """As of a tokenizer."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.kept = ["words"]


@dataclass
class Points:
    x: Tensor
    y: Tensor
    name: str = "points"


@dataclass(slots=True)
class Slotted:
    x: Tensor
    y: Tensor
    name: str = "points"


@dataclass(slots=True, frozen=True)
class Frozen:
    x: Tensor
    y: Tensor


class Half:
    """A slot of its parent's, one of its own that is not set, and attributes."""

    __slots__ = ("__dict__", "unset", "x")

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y


class Whole(Half):
    __slots__ = ()


class Closed:
    """As of ``attrs``: no attribute can be set, nor does ``copy`` set any."""

    __slots__ = ("x", "y")
    x: Tensor
    y: Tensor

    def __init__(self, x: Tensor, y: Tensor) -> None:
        object.__setattr__(self, "x", x)
        object.__setattr__(self, "y", y)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)

    def __getstate__(self) -> dict[str, Any]:
        return {"x": self.x, "y": self.y}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


class Keyed(dict[str, Any]):
    """Its members are under its keys, and read as attributes."""

    def __getattr__(self, name: str) -> Any:
        return self[name]


class Both(dict[str, Any]):
    """Its keys are its attributes."""

    def __init__(self, **members: Any) -> None:
        super().__init__(**members)
        self.__dict__.update(members)


class Pair(NamedTuple):
    x: Tensor
    y: Tensor


BATCHES: dict[str, tuple[Any, Callable[[Any], tuple[Tensor, Tensor]]]] = {
    "tuple": ((X, Y), lambda b: b),
    "dict": ({"x": X, "y": [Y]}, lambda b: (b["x"], b["y"][0])),
    "named tuple": (Pair(X, Y), lambda b: (b.x, b.y)),
    "encoding": (Encoding({"x": X, "y": Y}), lambda b: (b["x"], b["y"])),
    "dataclass": (Points(X, Y), lambda b: (b.x, b.y)),
    "dataclass with slots": (Slotted(X, Y), lambda b: (b.x, b.y)),
    "frozen dataclass with slots": (Frozen(X, Y), lambda b: (b.x, b.y)),
    "slots and attributes": (Whole(X, Y), lambda b: (b.x, b.y)),
    "slots that are closed": (Closed(X, Y), lambda b: (b.x, b.y)),
    "dict of a kind of its own": (Keyed(x=X, y=Y), lambda b: (b.x, b["y"])),
    "keys and attributes": (Both(x=X, y=Y), lambda b: (b["x"], b.y)),
    "dataclass in a list": ([Points(X, Y)], lambda b: (b[0].x, b[0].y)),
}


@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_copied_and_cut_whatever_holds_it(name: str) -> None:
    """The given one is left as it is, type by type."""
    batch, opened = BATCHES[name]
    assert [tensor.shape for tensor in tensors(batch)] == [X.shape, Y.shape]
    assert size_of(batch) == 8
    half = mapped(lambda leaf: cut(leaf, slice(0, None, 2)), batch)
    assert type(half) is type(batch)
    assert torch.equal(opened(half)[0], X[::2]) and torch.equal(opened(half)[1], Y[::2])
    assert opened(batch)[0] is X and opened(batch)[1] is Y


@pytest.mark.parametrize("name", BATCHES)
def test_curvature_of_it_is_that_of_its_tensors(name: str) -> None:
    """Of a linear model with a squared loss the largest eigenvalue is known."""
    batch, opened = BATCHES[name]
    if name == "dataclass in a list":
        batch = batch[0]
        opened = BATCHES["dataclass"][1]

    def loss_fn(model: nn.Module, given: Any) -> Tensor:
        x, y = opened(given)
        loss: Tensor = (model(x)[:, 0] - y).square().mean()
        return loss

    found = measure(nn.Linear(3, 1, bias=False), loss_fn, batch, probes=0)
    wanted = torch.linalg.eigvalsh(2 * X.T.double() @ X.double() / 8)[-1]
    assert found.top[0].value == pytest.approx(float(wanted), rel=1e-5)


def in_place(model: nn.Module, given: Any) -> Tensor:
    given["x"].sub_(10).div_(3)
    return squares(model, given["x"], given["y"])


def taken_out(model: nn.Module, given: Any) -> Tensor:
    y = given.pop("y")
    return squares(model, (given["x"] - 10) / 3, y)


def put_in(model: nn.Module, given: Any) -> Tensor:
    given["x"] = (given["x"] - 10) / 3
    return squares(model, given["x"], given["y"])


def squares(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    loss: Tensor = (model(x)[:, 0] - y).square().mean()
    return loss


@pytest.mark.parametrize("loss_fn", [in_place, taken_out, put_in])
@pytest.mark.parametrize("kind", [dict, Keyed, Encoding])
def test_a_loss_may_write_to_its_batch(loss_fn: Callable[[nn.Module, Any], Tensor], kind: Any) -> None:
    """Each evaluation has the batch as it was: images are normalised once, and labels are there again."""
    batch = kind({"x": X.clone(), "y": Y})
    found = measure(nn.Linear(3, 1, bias=False), loss_fn, batch, probes=0)
    x = (X.double() - 10) / 3
    assert found.top[0].value == pytest.approx(float(torch.linalg.eigvalsh(2 * x.T @ x / 8)[-1]), rel=1e-5)
    assert "exact" in found.method
    assert torch.equal(batch["x"], X) and batch["y"] is Y


def closed(array: Any) -> Any:
    array.flags.writeable = False
    return array


ARRAYS: dict[str, Any] = {
    "tuple": (X.numpy(), Y.numpy()),
    "list": [X.numpy(), Y.numpy()],
    "read only": (closed(X.numpy().copy()), closed(Y.numpy().copy())),
    "backwards": (X.numpy()[::-1].copy()[::-1], Y.numpy()),
    "with words": (X.numpy(), Y.numpy(), np.array(["a", "b"])),
    "beside a tensor": (X.numpy(), Y),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_count_as_tensors(name: str) -> None:
    """They are cut and copied like these, stay arrays, and what a loss writes to one is not there the next time."""
    batch = ARRAYS[name]
    assert size_of(batch) == 8
    half = mapped(lambda leaf: cut(leaf, slice(0, None, 2)), batch)
    assert [type(part) for part in half] == [type(part) for part in batch]
    assert half[0].tolist() == X[::2].tolist() and half[1].tolist() == Y[::2].tolist()

    def loss_fn(model: nn.Module, given: Any) -> Tensor:
        given[0].__isub__(10.0)
        return squares(model, torch.from_numpy(given[0]), torch.as_tensor(given[1]))

    found = measure(nn.Linear(3, 1, bias=False), loss_fn, batch, probes=0)
    x = X.double() - 10
    assert found.top[0].value == pytest.approx(float(torch.linalg.eigvalsh(2 * x.T @ x / 8)[-1]), rel=1e-5)
    assert "exact" in found.method and batch[0].tolist() == X.tolist()


PACKED = pack_sequence([torch.zeros(length, 2) for length in (5, 3, 1)])
BOXES = [{"boxes": torch.zeros(n, 4), "image": torch.zeros(1)} for n in (3, 1, 2)]
IMAGES = [torch.zeros(3, width, 8) for width in (8, 6, 9, 7)]
GRAPH = {"edges": torch.zeros(2, 40), "x": torch.zeros(9, 4), "y": torch.zeros(9)}

SIZES: dict[str, tuple[Any, int, int | None]] = {
    "packed sequences": ((PACKED, torch.zeros(3)), 3, 3),
    "one packed sequence": (pack_sequence([torch.zeros(5, 2)]), 1, 1),
    "with a number": ((X, torch.tensor(0.5), Y), 8, 8),
    "edges first": (GRAPH, 9, None),
    "graphs": ((torch.zeros(40, 4), torch.zeros(2, 90), torch.zeros(8)), 8, None),
    "boxes in images": ((torch.zeros(3, 1, 8, 8), BOXES), 3, None),
    "images and boxes in lists": ((IMAGES, [{"boxes": torch.zeros(n, 4)} for n in (3, 1, 2, 5)]), 4, None),
    "images and boxes under keys": ({"x": IMAGES, "y": [torch.zeros(n, 4) for n in (3, 1, 2, 5)]}, 4, None),
    "a dict for each image": ([{"image": i, "boxes": torch.zeros(2, 4)} for i in IMAGES], 4, None),
    "micro-batches": ([(torch.zeros(n, 3), torch.zeros(n)) for n in (8, 8, 5)], 8, None),
    "no tensor": (("words", 3), 0, None),
}


@pytest.mark.parametrize("name", SIZES)
def test_how_many_examples(name: str) -> None:
    """The best guess, and whether it is none."""
    batch, guess, plain = SIZES[name]
    assert (size_of(batch), plain_size(batch)) == (guess, plain)


def test_a_single_packed_sequence_is_not_cut() -> None:
    """It has as many tokens as steps."""
    one = pack_sequence([torch.zeros(5, 2)])
    assert len(Reference(one).chunks(1)) == 1


def test_a_jagged_batch_is_measured_on_whole() -> None:
    """Its examples cannot be taken by slices."""
    torch.manual_seed(0)
    rows = torch.nested.nested_tensor([torch.randn(2 + i % 3, 3) for i in range(8)], layout=torch.jagged)
    assert [part.sizes for part in (Reference(rows).first(4), Reference(rows).thinned(2))] == [[8], [8]]

    def loss_fn(model: nn.Module, batch: Tensor) -> Tensor:
        return torch.stack([model(part).mean(0) for part in batch.unbind()]).square().mean()

    found = measure(nn.Linear(3, 1, bias=False), loss_fn, rows, probes=0)
    means = torch.stack([part.mean(0) for part in rows.unbind()]).double()
    wanted = torch.linalg.eigvalsh(2 * means.T @ means / 8)[-1]
    assert found.top[0].value == pytest.approx(float(wanted), rel=1e-4)


def test_a_packed_sequence_is_measured_on_whole() -> None:
    torch.manual_seed(0)
    packed = pack_padded_sequence(torch.randn(4, 5, 3), [5, 3, 2, 1], batch_first=True)
    rows = nn.GRU(3, 4, batch_first=True)

    def loss_fn(model: nn.Module, batch: PackedSequence) -> Tensor:
        padded, _ = pad_packed_sequence(model(batch)[0], batch_first=True)
        return padded.square().mean()

    reference = Reference(packed)
    assert isinstance(reference.batches[0], PackedSequence)
    assert reference.batches[0].data is not packed.data
    assert measure(rows, loss_fn, packed, probes=0).top[0].value > 0


def test_points_that_are_differentiated_to_stay_so() -> None:
    """As of a differential equation: u'' = 1 on points that require a gradient, cut and uncut."""
    torch.manual_seed(0)
    points = torch.linspace(0, 1, 16)[:, None].requires_grad_()
    model = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))

    def loss_fn(model: nn.Module, x: Tensor) -> Tensor:
        assert x.requires_grad
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        (bend,) = torch.autograd.grad(slope.sum(), x, create_graph=True)
        return (bend - 1).square().mean()

    found = measure(model, loss_fn, points, probes=0)
    assert "exact" in found.method and found.top[0].converged
    part = Reference(points).thinned(4)
    assert part.batches[0].requires_grad and part.batches[0].is_leaf and points.grad is None


def test_what_holds_no_tensor_stays_the_very_object() -> None:
    class Plain:
        words = "no tensor"

    plain = Plain()
    assert mapped(lambda leaf: leaf, (X, plain))[1] is plain
