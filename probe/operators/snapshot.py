"""The loss on the reference batch as a function of the trainable parameters, on copies of them.

All rungs of the ladder evaluate the loss here, so that training may go on between two evaluations and nothing of the
live model changes by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..batches import fresh, mapped
from .copies import Changed, Copies, cast
from .inside import Inside
from .large import Overwritten
from .parts import standing
from .precision import NoHalves
from .quiet import SEED, arithmetic, by_input, quiet
from .reach import reach, talks
from .still import still
from .variables import Variables

T = TypeVar("T")
LossFn = Callable[[Any, Any], Any]
Parameters = Mapping[str, Tensor]

NOTHING_TO_DIFFERENTIATE = (
    "loss_fn does not use the model that it is given, or detaches its loss, so nothing can be differentiated"
)

NOTHING_TRAINED = "the model has no parameter that receives a gradient"

COMPLEX = "complex parameters have no real Hessian, and no other is measured here"

RUNS_BACKWARD = "loss_fn runs backward itself; let it return the loss and leave that to the loop"

PAST_THE_MODEL = "loss_fn reads parameters of the model from elsewhere than the model that it is given"
"""It would be measured as if they were constants; autograd knows that they are none."""


class Examples(Protocol):
    """The fixed reference batch: batches and their numbers of examples."""

    @property
    def batches(self) -> Sequence[Any]: ...
    @property
    def sizes(self) -> Sequence[int]: ...


class Snapshot:
    """Copies of parameters and buffers at one step; ``dim`` numbers, on ``device``, in ``dtype``.

    A loss may go through other networks that move too (a discriminator, a teacher, a target): they are copied with it.

    Args:
        precision: float64 evaluates everything in it; by default what has less than 32 bits becomes float32.
        twice: whether the loss will be differentiated twice, which fused kernels cannot.
        by_example: whether layers that normalise by the batch use their running statistics instead.

    Raises ValueError when no parameter receives a gradient, or a forward pass would wait for other processes.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn,
        reference: Examples,
        *,
        precision: torch.dtype | None = None,
        twice: bool = False,
        by_example: bool = False,
    ) -> None:
        live = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
        if not live:
            raise ValueError(NOTHING_TRAINED)
        if not reference.batches:
            raise ValueError("there is no reference batch")
        if any(parameter.is_complex() for parameter in live.values()):
            raise ValueError(COMPLEX)
        self.model, self.loss_fn, self._live = model, loss_fn, list(live.values())
        self.batches, self.sizes = list(reference.batches), list(reference.sizes)
        reached = reach(model, loss_fn)
        if why := talks(model, reached):
            raise ValueError(why)
        self._holders, self._held = reached.holders, reached.held
        self._variables = Variables(reached.places, reached.generators, reached.doubtful, reached.bound)
        self._inside = Inside(model, reached.modules)
        self.devices = {tensor.device for tensor in [*live.values(), *self._inside.buffers()]}
        self._twice, self._by_example = twice, by_example
        self.seed = SEED
        self._differentiates = False
        self._copies = Copies(model, self._inside, reached.trained, precision)
        self.parameters = self._copies.parameters
        if precision is not None:
            with torch.inference_mode(False), torch.no_grad():
                self.batches = [mapped(partial(cast, precision=precision), batch) for batch in self.batches]
        copies = list(self.parameters.values())
        self.dim = sum(copy.numel() for copy in copies)
        self.device = copies[0].device
        self.dtype = torch.float64 if any(copy.dtype == torch.float64 for copy in copies) else torch.float32

    @property
    def draws(self) -> bool:
        """Whether the loss reaches random generators of the loop's own."""
        return self._variables.draws

    @property
    def buffers(self) -> list[Tensor]:
        """Copies of the floating-point numbers at this step, parameters left out, that the loss depends on."""
        unused = (
            set()
            if self._by_example
            else {
                f"{path}.{name}".lstrip(".")
                for path, module in self.model.named_modules()
                if by_input(module)
                for name, _ in module.named_buffers(recurse=False)
            }
        )
        return [
            tensor
            for name, tensor in self._copies.moving().items()
            if name not in unused and tensor.is_floating_point() and tensor.numel()
        ]

    def inside(self, parameters: Parameters, act: Callable[[], T]) -> T:
        """``act()`` while the model holds ``parameters``; also what a backward pass computes once more
        (checkpointed activations) must run here, or it would use the live ones.

        Raises Changed when a frozen parameter, which is not copied, has been changed since, or what was taken for data
        was written to.
        """
        state = self._copies.state(parameters)
        try:
            with (
                self._variables.as_then(),
                still(self._copies.live),
                self._copies.trained.instead(state),
                quiet(
                    self._inside,
                    self.devices,
                    twice=self._twice,
                    by_example=self._by_example,
                    holders=standing(self._holders, self._held),
                    seed=self.seed,
                ),
                NoHalves() if self._copies.raised else nullcontext(),
            ):
                return self._holding(state, act)
        except Overwritten as error:
            raise Changed(str(error)) from error

    def _holding(self, state: Parameters, act: Callable[[], T]) -> T:
        """``act()`` while these tensors are in every place of those whose names they have."""
        named = {place: tensor for name, tensor in state.items() for place in self._copies.places[name]}
        # By its own ties PyTorch exchanges a module that is registered twice twice, and leaves our copies in it.
        done: T = functional_call(self._inside, named, (act,), tie_weights=False)
        return done

    def backward(self, act: Callable[[], T]) -> T:
        """``act()``, a backward pass that looks at nothing but its graph.

        Raises Changed as ``inside`` does.
        """
        self._copies.check()
        with arithmetic(self.devices):
            return act()

    def terms(self) -> Iterator[Tensor]:
        """The loss of each batch, weighted so that their sum is the mean over all examples; only while inside.

        Raises ValueError when ``loss_fn`` gives no scalar.
        """
        examples = sum(self.sizes)
        for batch, size in zip(self.batches, self.sizes, strict=True):
            loss = self._holding(
                self._copies.fresh_buffers(), partial(self.loss_fn, self.model, fresh(batch))
            )
            if not isinstance(loss, Tensor) or loss.numel() != 1:
                raise ValueError(
                    "loss_fn(model, batch) must return one number as a tensor, the mean loss of the batch"
                )
            yield loss.reshape(()) * (size / examples)

    def loss(self, parameters: Parameters) -> Tensor:
        """The loss at ``parameters``, shape (), by forward passes alone."""
        (total,) = self.forwards(
            parameters,
            lambda: [torch.stack([term.to(self.device, self.dtype) for term in self.terms()]).sum()],
        )
        return total

    def forwards(self, parameters: Parameters, act: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
        """What ``act()`` gives inside, without a graph of it; but where the loss itself differentiates (a gradient
        penalty, an equation of derivatives, steps of its own), it needs one on the way."""
        if not self._differentiates:
            try:
                return list(self.inside(parameters, torch.no_grad()(act)))
            except RuntimeError as error:
                if "require grad" not in str(error):
                    raise
                self._differentiates = True
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}
        return [tensor.detach() for tensor in self.inside(leaves, act)]

    def gradient(self, parameters: Parameters) -> tuple[Tensor, Tensor]:
        """The gradient (dim,) and the loss () at ``parameters``, one batch after the other."""
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in parameters.items()}

        def backward() -> tuple[Tensor, Tensor]:
            total = torch.zeros(self.dim, device=self.device, dtype=self.dtype)
            loss = torch.zeros((), device=self.device, dtype=self.dtype)
            used = False
            for term in self.terms():
                pieces = self.derivatives(term, list(leaves.values()))
                used = used or any(piece is not None for piece in pieces)
                total += self.flat(pieces)
                loss += term.detach().to(loss)
            if not used:
                raise ValueError(NOTHING_TO_DIFFERENTIATE)
            return total, loss

        return self.inside(leaves, backward)

    def derivatives(
        self, loss: Tensor, leaves: Sequence[Tensor], *, kept: bool = False
    ) -> Sequence[Tensor | None]:
        """The gradient of ``loss`` to each, None where it does not use it; ``kept`` with its own graph.

        Raises ValueError where it uses none of any kind, or the live parameters besides, or has been differentiated.
        """
        if not loss.requires_grad:
            ran = any(leaf.grad is not None for leaf in leaves)
            raise ValueError(RUNS_BACKWARD if ran else NOTHING_TO_DIFFERENTIATE)
        live = [parameter for parameter in self._live if parameter.requires_grad]  # some may be frozen by now
        try:
            every = torch.autograd.grad(loss, [*leaves, *live], create_graph=kept, allow_unused=True)
        except RuntimeError as error:
            if "backward through the graph a second time" not in str(error):
                raise
            raise ValueError(RUNS_BACKWARD) from None
        if any(piece is not None for piece in every[len(leaves) :]):
            raise ValueError(PAST_THE_MODEL)
        return every[: len(leaves)]

    def moved(self, direction: Tensor, step: Tensor | float) -> dict[str, Tensor]:
        """θ + step · direction, for a direction of shape (dim,)."""
        with torch.inference_mode(False), torch.no_grad():
            return {
                name: copy + (step * piece).to(copy.device, copy.dtype)
                for (name, copy), piece in zip(self.parameters.items(), self.pieces(direction), strict=True)
            }

    def pieces(self, vector: Tensor) -> list[Tensor]:
        """The part of a vector of shape (dim,) that belongs to each parameter, in its shape."""
        copies = list(self.parameters.values())
        parts = torch.split(vector, [copy.numel() for copy in copies])
        return [part.reshape(copy.shape) for part, copy in zip(parts, copies, strict=True)]

    def flat(self, pieces: Sequence[Tensor | None]) -> Tensor:
        """One vector of shape (dim,), zero where there is no piece."""
        return torch.cat(
            [
                (torch.zeros_like(copy) if piece is None else dense(piece.detach()))
                .reshape(-1)
                .to(self.device, self.dtype)
                for piece, copy in zip(pieces, self.parameters.values(), strict=True)
            ]
        )

    def norm(self) -> Tensor:
        """‖θ‖, shape ()."""
        norms = [
            torch.linalg.vector_norm(copy).to(self.device, self.dtype) for copy in self.parameters.values()
        ]
        norm: Tensor = torch.linalg.vector_norm(torch.stack(norms))
        return norm


def dense(tensor: Tensor) -> Tensor:
    """The gradient of an embedding may be sparse."""
    return tensor.to_dense() if tensor.layout != torch.strided else tensor
