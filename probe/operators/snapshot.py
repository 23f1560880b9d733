"""The loss on the reference batch as a function of the trainable parameters, on copies of them.

All rungs of the ladder evaluate the loss here, so that training may go on between two evaluations and nothing of the
live model changes by one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..batches import fresh, mapped
from .inside import Inside
from .large import Overwritten
from .quiet import arithmetic, by_input, quiet
from .reach import reach, talks
from .still import still
from .trained import Trained
from .variables import Variables

T = TypeVar("T")
LossFn = Callable[[Any, Any], Any]
Parameters = Mapping[str, Tensor]

NOTHING_TO_DIFFERENTIATE = (
    "loss_fn does not use the model that it is given, or detaches its loss, so nothing can be differentiated"
)

PAST_THE_MODEL = "loss_fn reads parameters of the model from elsewhere than the model that it is given"
"""It would be measured as if they were constants; autograd knows that they are none."""


class Changed(RuntimeError):
    """What is measured is no longer what it was; the next measurement may be better off."""


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
            raise ValueError("the model has no parameter that receives a gradient")
        if not reference.batches:
            raise ValueError("there is no reference batch")
        if any(parameter.is_complex() for parameter in live.values()):
            raise ValueError("complex parameters have no real Hessian, and no other is measured here")
        self.model, self.loss_fn, self._live = model, loss_fn, list(live.values())
        self.batches, self.sizes = list(reference.batches), list(reference.sizes)
        reached = reach(model, loss_fn)
        if why := talks(model, reached):
            raise ValueError(why)
        self._holders = reached.holders
        self._variables = Variables(reached.places, reached.generators)
        self._inside = Inside(model, reached.modules)
        self.devices = {tensor.device for tensor in [*live.values(), *self._inside.buffers()]}
        self._twice, self._by_example = twice, by_example
        self._differentiates = False
        with (
            torch.inference_mode(False),
            torch.no_grad(),
        ):  # else the copies could not be differentiated through
            self.parameters = {name: _own(parameter, precision) for name, parameter in live.items()}
            self._buffers = {name: _own(buffer, precision) for name, buffer in model.named_buffers()}
            beside = self._inside.beside()
            networks = {name: t for name, t in beside.items() if isinstance(t, nn.Parameter)}
            self._trained = Trained(reached.trained, {**dict(model.named_parameters()), **networks})
            self._buffers |= {name: _own(t, precision) for name, t in beside.items() if name not in networks}
            own = {name: p for name, p in model.named_parameters() if not p.requires_grad}
            frozen = _given(own, live) | _given(networks, live)
            self._beside = {
                name: _own(p, precision).requires_grad_(p.requires_grad)
                for name, p in {**own, **networks, **self._trained.loose}.items()
                if name not in frozen
            }
            # A given parameter is copied only when its precision changes: it may be most of the memory.
            self._frozen = {
                name: _own(p, precision) for name, p in frozen.items() if _wanted(p, precision) != p.dtype
            }
            if precision is not None:
                cast = partial(_cast, precision=precision)
                self.batches = [mapped(cast, batch) for batch in self.batches]
        self._places = self._inside.places(
            {**dict(model.named_parameters()), **dict(model.named_buffers()), **beside, **self._trained.loose}
        )
        self._moving = [*self._inside.parameters(), *self._trained.loose.values()]
        self._shared = [p for name, p in frozen.items() if name not in self._frozen and not p.is_inference()]
        self._versions = [parameter._version for parameter in self._shared]
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
        kept = {**self._buffers, **self._beside}
        return [
            tensor
            for name, tensor in kept.items()
            if name not in unused and tensor.is_floating_point() and tensor.numel()
        ]

    def inside(self, parameters: Parameters, act: Callable[[], T]) -> T:
        """``act()`` while the model holds ``parameters``; also what a backward pass computes once more
        (checkpointed activations) must run here, or it would use the live ones.

        Raises Changed when a frozen parameter, which is not copied, has been changed since, or what was taken for data
        was written to.
        """
        self._check_frozen()
        state = {
            **self._frozen,
            **self._beside,
            **{name: buffer.clone() for name, buffer in self._buffers.items()},
            **parameters,
        }
        try:
            with (
                self._variables.as_then(),
                still(self._moving),
                self._trained.instead(state),
                quiet(
                    self._inside,
                    self.devices,
                    twice=self._twice,
                    by_example=self._by_example,
                    holders=self._holders,
                ),
            ):
                return self._holding(state, act)
        except Overwritten as error:
            raise Changed(str(error)) from error

    def _holding(self, state: Parameters, act: Callable[[], T]) -> T:
        """``act()`` while these tensors are in every place of those whose names they have."""
        named = {place: tensor for name, tensor in state.items() for place in self._places[name]}
        # By its own ties PyTorch exchanges a module that is registered twice twice, and leaves our copies in it.
        done: T = functional_call(self._inside, named, (act,), tie_weights=False)
        return done

    def backward(self, act: Callable[[], T]) -> T:
        """``act()``, a backward pass that looks at nothing but its graph.

        Raises Changed as ``inside`` does.
        """
        self._check_frozen()
        with arithmetic(self.devices):
            return act()

    def _check_frozen(self) -> None:
        if any(p._version != version for p, version in zip(self._shared, self._versions, strict=True)):
            raise Changed("a frozen parameter was changed while the measurement ran")

    def terms(self) -> Iterator[Tensor]:
        """The loss of each batch, weighted so that their sum is the mean over all examples; only while inside.

        Raises ValueError when ``loss_fn`` gives no scalar.
        """
        examples = sum(self.sizes)
        for batch, size in zip(self.batches, self.sizes, strict=True):
            buffers = {name: buffer.clone() for name, buffer in self._buffers.items()}
            loss = self._holding(buffers, partial(self.loss_fn, self.model, fresh(batch)))
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

        Raises ValueError where it uses none of any kind, or the live parameters besides.
        """
        if not loss.requires_grad:
            raise ValueError(NOTHING_TO_DIFFERENTIATE)
        live = [parameter for parameter in self._live if parameter.requires_grad]  # some may be frozen by now
        every = torch.autograd.grad(loss, [*leaves, *live], create_graph=kept, allow_unused=True)
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


def _given(network: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is frozen in it and larger than all that is trained; no larger it may be an average of that, and move."""
    frozen = {name: p for name, p in network.items() if not p.requires_grad}
    size, trained = (sum(p.numel() for p in each.values()) for each in (frozen, live))
    return frozen if size > trained else {}


def dense(tensor: Tensor) -> Tensor:
    """The gradient of an embedding may be sparse."""
    return tensor.to_dense() if tensor.layout != torch.strided else tensor


def _wanted(tensor: Tensor, precision: torch.dtype | None) -> torch.dtype:
    if not tensor.is_floating_point():
        return tensor.dtype
    return precision or (torch.float32 if torch.finfo(tensor.dtype).bits < 32 else tensor.dtype)


def _own(tensor: Tensor, precision: torch.dtype | None) -> Tensor:
    return tensor.detach().to(_wanted(tensor, precision), copy=True)


def _cast(leaf: Tensor, precision: torch.dtype) -> Tensor:
    return leaf.detach().to(_wanted(leaf, precision)).requires_grad_(leaf.requires_grad)
