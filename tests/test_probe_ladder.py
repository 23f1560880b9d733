"""Which rung of the ladder is taken, what it says, and that every one of them leaves the training alone."""

from __future__ import annotations

import math
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lsmon.probe.operators import ladder
from lsmon.probe.operators.difference import Difference
from lsmon.probe.operators.hessian import Hessian
from lsmon.probe.reference import Reference
from tests.landscape import (
    Subject,
    apart,
    classes,
    cross_entropy,
    dense_hessian,
    drain,
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


class OnceOnly(torch.autograd.Function):
    """tanh, with a backward pass that cannot be differentiated again, like most kernels written by hand."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(torch.tanh(inputs))
        return torch.tanh(inputs)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (outputs,) = ctx.saved_tensors
        result: Tensor = gradients[0] * (1 - outputs**2)
        return result


class Silent(torch.autograd.Function):
    """tanh, with a backward pass whose own derivative is wrong without a word: part of it is a constant to autograd."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        outputs = torch.tanh(inputs)
        ctx.slope = 1 - outputs**2
        return outputs

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        result: Tensor = gradients[0] * ctx.slope
        return result


class Unwilling(torch.autograd.Function):
    """The identity; its backward pass raises."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise RuntimeError("broken on purpose")


class Raising(torch.autograd.Function):
    """tanh, whose backward pass raises when it is differentiated."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        ctx.save_for_backward(torch.tanh(inputs))
        return torch.tanh(inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (outputs,) = ctx.saved_tensors
        return Unwilling.apply(gradients[0] * (1 - outputs**2))  # type: ignore[no-untyped-call]


class Hungry(torch.autograd.Function):
    """The identity, with a backward pass that does not fit in memory."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor) -> Tensor:
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 80 GiB.\nMore lines follow.")


class Net(nn.Module):
    """A net with a function of one's own as activation, dropout and BatchNorm."""

    def __init__(self, function: type[torch.autograd.Function]) -> None:
        super().__init__()
        self.function = function
        self.first, self.second = nn.Linear(4, 6), nn.Linear(6, 3)
        self.norm, self.drop = nn.BatchNorm1d(6), nn.Dropout(0.3)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden: Any = self.function.apply(self.first(inputs))  # type: ignore[no-untyped-call]
        out: Tensor = self.second(self.drop(self.norm(hidden)))
        return out


def subject(model: nn.Module, loss_fn: Any = cross_entropy) -> Subject:
    return Subject(model, loss_fn, Reference(classes()))


def truth_of(model: Net) -> Tensor:
    """With a tanh that can be differentiated."""

    def loss(twin: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(twin.second(twin.norm(torch.tanh(twin.first(batch[0])))), batch[1])

    return dense_hessian(model, loss, classes())


def test_a_plain_model_takes_the_exact_rung() -> None:
    """Checked against a finite difference, with nothing to add."""
    chosen = ladder.choose(subject(perceptron()))
    assert (chosen.rung, chosen.method) == (1, "exact: double backward, kept graph")
    assert chosen.notes == () and chosen.reason == "" and chosen.error is None
    assert isinstance(chosen.snapshot(), Hessian)


def test_relu_and_max_pooling_do_not_shake_the_exact_rung() -> None:
    """A finite difference in float32 is off by more than it says there; in float64 it confirms the exact product."""
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
    batch = torch.randn(64, 1, 6, 6), torch.randint(0, 3, (64,))
    chosen = ladder.choose(Subject(model, cross_entropy, Reference(batch)))
    assert chosen.rung == 1 and chosen.notes == ()


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (Raising, "no double backward: broken on purpose"),
        (OnceOnly, "double backward is off by "),
        (Silent, "double backward is off by "),
    ],
)
def test_a_function_without_a_second_derivative_takes_finite_differences(
    function: type[torch.autograd.Function], said: str
) -> None:
    """Whether it raises or gives nonsense in silence (as once_differentiable does, whose error node autograd prunes),
    rung 2 takes over, says why and by how much it errs, and its matrix is the true one within three times that."""
    model = Net(function)
    truth = truth_of(model)
    before = traces(model)
    chosen = ladder.choose(subject(model))
    assert chosen.rung == 2 and chosen.error is not None
    assert chosen.method.startswith("finite difference, error ") and len(chosen.notes) == 1
    assert chosen.notes[0].startswith(said)
    operator = chosen.snapshot()
    assert isinstance(operator, Difference)
    assert apart(matrix(operator), truth) < 3 * chosen.error
    assert chosen.error < 1e-2
    assert same(before, traces(model))


def test_where_double_backward_alone_is_not_finite_differences_are_taken() -> None:
    """As of the length of a zero vector: its gradient is zero, and its second one NaN. A loop that looks for NaN of its own
    is not told of that one."""
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    whole = subject(model)

    def zero_length(model: nn.Module, batch: Any) -> Tensor:
        loss: Tensor = whole.loss_fn(model, batch) + (0 * model(batch[0])).norm()
        return loss

    with torch.autograd.set_detect_anomaly(True):
        chosen = ladder.choose(Subject(model, zero_length, whole.reference))
        assert torch.is_anomaly_enabled()
        truth = dense_hessian(model, whole.loss_fn, whole.reference.batches[0])
    assert chosen.rung == 2 and chosen.error is not None
    assert chosen.notes[0].startswith("double backward is not finite")
    assert apart(matrix(chosen.snapshot()), truth) < 3 * chosen.error


def test_an_embedding_bag_has_no_double_backward() -> None:
    """A layer of torch itself that lacks one is measured by finite differences."""
    model = nn.Sequential(nn.EmbeddingBag(5, 3, mode="sum"), nn.Tanh(), nn.Linear(3, 3))
    batch = torch.randint(0, 5, (12, 4)), torch.randint(0, 3, (12,))
    chosen = ladder.choose(Subject(model, cross_entropy, Reference(batch)))
    assert chosen.rung == 2 and "_embedding_bag_backward" in chosen.notes[0]

    def summed(twin: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(twin[1:](twin[0].weight[batch[0]].sum(1)), batch[1])

    assert apart(matrix(chosen.snapshot()), dense_hessian(model, summed, batch)) < 3 * (chosen.error or 0)


def test_what_is_not_to_be_believed_is_said_in_words() -> None:
    """A gradient of pure noise has no derivative: the finite difference warns."""

    class Rough(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, inputs: Tensor) -> Tensor:
            ctx.save_for_backward(inputs)
            return inputs.clone()

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Any:
            (inputs,) = ctx.saved_tensors
            return Unwilling.apply(gradients[0] * (1 + torch.sin(1e12 * inputs)))  # type: ignore[no-untyped-call]

    chosen = ladder.choose(subject(Net(Rough)))
    assert chosen.rung == 2 and chosen.error is not None and chosen.error > 0.1
    assert "not to be believed" in chosen.notes[-1]


def test_without_memory_for_a_gradient_only_forward_passes_are_left() -> None:
    """Rung 3 gives the critical sharpness along an update; it has no products."""
    model = Net(Hungry)
    before = traces(model)
    chosen = ladder.choose(subject(model))
    assert (chosen.rung, chosen.method) == (3, "forward only: critical sharpness")
    assert "no double backward: not enough memory" in chosen.notes
    along = chosen.along()
    direction = torch.zeros(along.dim)
    direction[:24] = 1.0
    critical = drain(along.critical(direction, 0.1))
    assert critical.value is None or critical.value > 0
    with pytest.raises(RuntimeError, match="no Hessian-vector products"):
        chosen.snapshot()
    assert same(before, traces(model))


@pytest.mark.parametrize(
    ("loss_fn", "sentence"),
    [
        (lambda model, batch: 0.3, "loss_fn(model, batch) must return one number as a tensor"),
        (lambda model, batch: model.missing, "no attribute 'missing'"),
        (None, "curvature needs loss_fn(model, batch)"),
    ],
)
def test_a_model_that_supports_nothing_says_why_in_one_sentence(loss_fn: Any, sentence: str) -> None:
    """No rung, no method, a reason; nothing is raised and nothing changed."""
    model = Net(OnceOnly)
    before = traces(model)
    chosen = ladder.choose(subject(model, loss_fn))
    assert (chosen.rung, chosen.method) == (0, "")
    assert sentence in chosen.reason and "\n" not in chosen.reason
    assert same(before, traces(model))
    with pytest.raises(RuntimeError, match=chosen.reason[:20].replace("(", r"\(")):
        chosen.snapshot()


@pytest.mark.parametrize("kind", ["complex", "frozen"])
def test_what_no_mode_would_change_is_not_put_down_to_eval_mode(kind: str) -> None:
    model = perceptron()
    if kind == "complex":
        model[0].phase = nn.Parameter(torch.ones(2, dtype=torch.cfloat))
    else:
        model.requires_grad_(False)
    reason = ladder.choose(subject(model, cross_entropy)).reason
    assert reason.startswith("curvature cannot be measured here: ") and "eval mode" not in reason


def test_without_a_reference_batch_there_is_no_curvature() -> None:
    """Said in words, to be asked again when there is one."""
    chosen = ladder.choose(Subject(perceptron(), cross_entropy, Reference()))
    assert chosen.rung == 0 and "reference batch" in chosen.reason


def test_a_choice_that_begins_to_fail_goes_one_rung_down() -> None:
    """After an error in the middle of the run only what is below is tried, and the reason is kept."""
    first = ladder.choose(subject(perceptron()))
    second = ladder.choose(
        subject(perceptron()), after=first, because=torch.OutOfMemoryError("CUDA out of memory")
    )
    assert second.rung == 2 and second.notes == ("not double backward: not enough memory",)
    third = ladder.choose(subject(perceptron()), after=second, because=RuntimeError("cannot\nmore"))
    assert third.rung == 3 and third.notes == ("not finite difference: cannot",)
    assert ladder.choose(subject(perceptron()), after=third).rung == 0


@pytest.mark.parametrize("function", [None, Silent, Raising])
def test_choosing_in_pieces_while_the_training_goes_on(function: Any) -> None:
    """What is compared is of the parameters at the first piece, so that a model that moves on is not taken for one
    whose double backward lies."""
    model = perceptron() if function is None else Net(function)
    still = ladder.choose(subject(model))
    pieces = 0
    work = ladder.choosing(subject(model))
    while True:
        try:
            next(work)
        except StopIteration as done:
            chosen: ladder.Chosen = done.value
            break
        pieces += 1
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.2 * torch.randn_like(parameter))
    assert pieces >= 5
    assert (chosen.rung, chosen.notes) == (still.rung, still.notes)


def test_a_loss_that_draws_other_numbers_in_double_precision_is_checked_in_single() -> None:
    """randn in float64 is another noise: the two are not the same function, and the check does not mix them up."""

    def noisy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return cross_entropy(model, (batch[0] + torch.randn_like(batch[0]), batch[1]))

    chosen = ladder.choose(subject(perceptron(), noisy))
    assert chosen.rung == 1 and chosen.notes == ()


def test_only_a_few_examples_are_spent_on_the_choice() -> None:
    """Four of them, where it is plain which dimension counts examples."""
    seen: SimpleQueue[int] = SimpleQueue()  # which is not put back

    def counting(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        seen.put(len(batch[0]))
        return cross_entropy(model, batch)

    assert ladder.choose(subject(perceptron(), counting)).rung == 1
    assert {seen.get_nowait() for _ in range(seen.qsize())} == {4}


def test_a_loss_that_is_not_finite_decides_nothing() -> None:
    """The exact rung is kept, unchecked and said so: the next measurement may be of a finite loss."""
    chosen = ladder.choose(subject(perceptron(), lambda model, batch: cross_entropy(model, batch) * math.nan))
    assert chosen.rung == 1 and "not checked" in chosen.notes[0]


def test_the_step_of_a_finite_difference_is_found_on_all_examples() -> None:
    """Four examples meet few kinks of a ReLU net, all of them many: what float32 could do for the four it cannot for
    all, and double precision is taken. The products are right to 1e-4."""

    class Kinked(Net):
        def __init__(self) -> None:
            super().__init__(Raising)
            self.first, self.second = nn.Linear(4, 32), nn.Linear(32, 3)
            self.more, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)

        def forward(self, inputs: Tensor) -> Tensor:
            hidden = self.second(torch.relu(self.first(inputs)))
            out: Tensor = self.more(self.function.apply(hidden))  # type: ignore[no-untyped-call]
            return out

    def smooth(twin: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        hidden = twin.second(torch.relu(twin.first(batch[0])))
        return F.cross_entropy(twin.more(torch.tanh(hidden)), batch[1])

    model, batch = Kinked(), classes(256)
    chosen = ladder.choose(Subject(model, cross_entropy, Reference(batch)))
    assert chosen.rung == 2 and chosen.error is not None
    direction = torch.randn(sum(p.numel() for p in model.parameters()))
    exact = Hessian(model, smooth, Reference(batch)).matvec(direction).double()
    assert apart(chosen.snapshot().matvec(direction), exact) < max(1e-4, 3 * chosen.error)
    assert chosen.error < 1e-2


def unlabelled(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Nothing to take a mean of where no example has a label."""
    return F.cross_entropy(model(batch[0]), batch[1])


def nothing_lost(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    kept = batch[1] >= 0
    losses = F.cross_entropy(model(batch[0]), batch[1], reduction="sum")
    loss: Tensor = losses / kept.sum().clamp_min(1)
    return loss


@pytest.mark.parametrize("without", [0, 10, 40])
@pytest.mark.parametrize("loss_fn", [unlabelled, nothing_lost])
def test_it_is_compared_on_examples_that_say_something(loss_fn: Any, without: int) -> None:
    """The first ones may have no label: a loss of 0/0, or of 0 without a gradient."""
    inputs, labels = classes(64)
    labels[:without] = -100
    chosen = ladder.choose(Subject(perceptron(), loss_fn, Reference((inputs, labels))))
    assert chosen.rung == 1 and not chosen.notes
    chosen = ladder.choose(Subject(Net(Silent), loss_fn, Reference((inputs, labels))))
    assert chosen.rung == 2 and "off by" in chosen.notes[0]
