"""A model and the networks that its loss goes through besides, as one module whose tensors can be exchanged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy


class Inside(nn.Module):
    """Runs anything while ``functional_call`` has put other tensors into it."""

    def __init__(self, model: nn.Module, others: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.others = nn.ModuleList(others)

    def forward(self, act: Callable[[], Any]) -> Any:
        return act()

    def beside(self) -> dict[str, Tensor]:
        """Parameters and buffers that are not the model's, by names that none of it has."""
        if not self.others:
            return {}
        own = {id(tensor) for tensor in [*self.model.parameters(), *self.model.buffers()]}
        every = [*self.others.named_parameters(), *self.others.named_buffers()]
        return {f"beside.{name}.": t for name, t in every if id(t) not in own and not is_lazy(t)}

    def places(self, named: Mapping[str, Tensor]) -> dict[str, list[str]]:
        """By the name that a tensor has in ``named``, all that it has in here: one in each module that holds it."""
        names = {id(tensor): name for name, tensor in named.items()}
        places: dict[str, list[str]] = {name: [] for name in named}
        for path, module in self.named_modules():
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
                if id(tensor) in names:
                    places[names[id(tensor)]].append(f"{path}.{name}")
        return places
