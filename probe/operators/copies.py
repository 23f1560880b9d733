"""Copies of the tensors that a loss depends on, as they are at one step: the model's, and those of the networks beside it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from .inside import Inside
from .place import Place
from .precision import HALVES
from .trained import Trained


class Changed(RuntimeError):
    """What is measured is no longer what it was; the next measurement may be better off."""


class Copies:
    """``parameters``: what receives a gradient, by name.

    What is frozen and larger than all that is trained stays the training's own: it may be most of the memory.

    Args:
        trained: places of parameters outside modules.
        precision: of all copies; by default what has less than 32 bits becomes float32.
    """

    def __init__(
        self, model: nn.Module, inside: Inside, trained: Iterable[Place], precision: torch.dtype | None
    ) -> None:
        every = dict(model.named_parameters())
        live = {name: p for name, p in every.items() if p.requires_grad}
        beside = inside.beside()
        networks = {name: t for name, t in beside.items() if isinstance(t, nn.Parameter)}
        self.trained = Trained(trained, {**every, **networks})
        own = {name: p for name, p in every.items() if not p.requires_grad}
        frozen = _given(own, live) | _given(networks, live)
        buffers = dict(model.named_buffers()) | {n: t for n, t in beside.items() if n not in networks}
        with torch.inference_mode(False), torch.no_grad():  # else they could not be differentiated through
            self.parameters = {name: _own(p, precision) for name, p in live.items()}
            self._buffers = {name: _own(buffer, precision) for name, buffer in buffers.items()}
            self._beside = {
                name: _own(p, precision).requires_grad_(p.requires_grad)
                for name, p in {**own, **networks, **self.trained.loose}.items()
                if name not in frozen
            }
            self._frozen = {
                name: _own(p, precision) for name, p in frozen.items() if _wanted(p, precision) != p.dtype
            }
        self.places = inside.places({**every, **dict(model.named_buffers()), **beside, **self.trained.loose})
        """By name, where each stands in ``inside``."""
        self.live = [*inside.parameters(), *self.trained.loose.values()]
        """The training's own, in whose place the copies are evaluated."""
        self.raised = any(parameter.dtype in HALVES for parameter in every.values())
        """Half became single."""
        self._shared = [p for name, p in frozen.items() if name not in self._frozen and not p.is_inference()]
        self._versions = [parameter._version for parameter in self._shared]

    def state(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors, by name, with these parameters.

        Raises Changed as ``check`` does.
        """
        self.check()
        return {**self._frozen, **self._beside, **self.fresh_buffers(), **parameters}

    def fresh_buffers(self) -> dict[str, Tensor]:
        """Which an evaluation may write to."""
        return {name: buffer.clone() for name, buffer in self._buffers.items()}

    def moving(self) -> dict[str, Tensor]:
        """What else moves from step to step."""
        return {**self._buffers, **self._beside}

    def check(self) -> None:
        """Raises Changed when a frozen parameter, which is not copied, has been changed since."""
        if any(p._version != version for p, version in zip(self._shared, self._versions, strict=True)):
            raise Changed("a frozen parameter was changed while the measurement ran")


def cast(leaf: Tensor, precision: torch.dtype) -> Tensor:
    """A tensor of a batch in this precision, where it is of floating point."""
    return leaf.detach().to(_wanted(leaf, precision)).requires_grad_(leaf.requires_grad)


def _given(network: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What is frozen in it and larger than all that is trained; no larger it may be an average of that, and move."""
    frozen = {name: p for name, p in network.items() if not p.requires_grad}
    size, trained = (sum(p.numel() for p in each.values()) for each in (frozen, live))
    return frozen if size > trained else {}


def _wanted(tensor: Tensor, precision: torch.dtype | None) -> torch.dtype:
    if not tensor.is_floating_point():
        return tensor.dtype
    return precision or (torch.float32 if torch.finfo(tensor.dtype).bits < 32 else tensor.dtype)


def _own(tensor: Tensor, precision: torch.dtype | None) -> Tensor:
    return tensor.detach().to(_wanted(tensor, precision), copy=True)
