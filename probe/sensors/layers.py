"""The scale of activations and of their gradients from layer to layer, and units that never act.

Hooks on the layers' outputs, there only during a step that is measured: they look at what passes, keep second moments,
and change nothing. A unit is dead when the gradient of its output is exactly zero for every example seen, whatever
silences it.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from lsmon.protocol.depth import trend
from lsmon.protocol.frames import Layers, Scalars

from ..hook import Hook
from ..readings import Reading, read
from ..signals import heed
from .sensor import Context, Finding, Sensor

MOST = 256
"""Layers that are told, spread evenly over the depth when there are more."""

ENOUGH = 512
"""Examples before a unit that none of them woke is called dead; 14 % of a healthy narrow ReLU net are by chance. To half
of them at least the loss must have sent a gradient: one with a margin sends none where it is kept."""

ODD = -1.0
"""Told in place of a second moment that is not finite, which JSON could not carry."""

SECONDS = 2.0
"""Between two looks: scale changes over hundreds of steps, and a look costs some ten small kernels a layer."""


@dataclass(slots=True)
class _Layer:
    name: str
    calls: int = 0
    activation: Tensor | None = None
    """Sum over its calls of the mean square of its output, shape ()."""
    returns: int = 0
    """Backward passes through it: fewer than calls where checkpointing calls it once more."""
    gradient: Tensor | None = None
    silent: Tensor | None = None
    """Which units have had no gradient yet."""


class LayerScale(Sensor):
    """Frames of ``activation``, ``gradient`` (second moments) and ``dead`` (share of units) a layer, and their trends."""

    name = "layers"
    needs = ("model", "optimizer")
    ceiling = 0.003  # the light sensors together stay below 2 %

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._handles: list[Any] = []
        self._modes: dict[int, bool] = {}
        self._seen: dict[str, _Layer] = {}
        self._silent: dict[str, Tensor] = {}
        self._examples = 0
        self._batch = 0
        self._reached: Tensor | None = None
        """To how many of these examples the loss has sent a gradient, shape ()."""
        self._shares: dict[str, float] = {}
        self._coming: deque[tuple[int, list[str], bool, Reading]] = deque()
        self._error: Exception | None = None
        self._transformed = False

    def expect(self, context: Context) -> None:
        if context.compiled or any(isinstance(m, torch.jit.ScriptModule) for m in context.model.modules()):
            context.notes[self.name] = (
                "compiled models are not looked into: they take no hooks, or compile anew for one"
            )
            return
        self._detach()
        self._seen, self._modes, self._batch = {}, {}, 0
        for name, module in context.model.named_modules():
            inner = not any(child != "parametrizations" for child in module._modules)
            matrix = _holds_matrix(module) and not isinstance(module, nn.Embedding)
            if isinstance(module, nn.MultiheadAttention):
                # It never calls its inner layer, whose output it returns; what its in-projection puts out no hook sees.
                name = f"{name}.out_proj" if name else "out_proj"
            elif not inner or not (matrix or isinstance(module, nn.RNNBase)):
                continue
            self._modes[id(module)] = module.training
            self._handles.append(module.register_forward_hook(Hook(partial(self._passed, name))))

    def _passed(self, name: str, module: nn.Module, inputs: Any, output: Any) -> None:
        """A forward pass of the loop; evaluation and our own measurements run in another mode or without gradients."""
        try:
            found = next((o for o in output if isinstance(o, Tensor)), None) if isinstance(output, tuple) else output  # fmt: skip
            if torch._C._are_functorch_transforms_active():
                self._transformed = True  # vmap, grad: what passes is no tensor of the loop's
                return
            if isinstance(found, Tensor) and found.layout != torch.strided:
                return  # jagged, sparse: its units are not in one dimension
            if not isinstance(found, Tensor) or not found.requires_grad or module.training != self._modes[id(module)]:  # fmt: skip
                return
            layer = self._seen.setdefault(name, _Layer(name))
            layer.calls += 1
            self._batch = max(self._batch, len(found) if found.dim() else 0)
            layer.activation = _sum(layer.activation, _mean_square(found))
            units = 1 if isinstance(module, _CHANNELS_FIRST) else found.dim() - 1
            found.register_hook(partial(self._came_back, layer, units))  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001  the loop's own forward pass must not feel it
            heed(error)
            self._error = self._error or error

    def _came_back(self, layer: _Layer, units: int, gradient: Tensor) -> None:
        try:
            with torch.no_grad():
                gradient = gradient.detach()
                if not any(other.returns for other in self._seen.values()):
                    # the first to come back is the last, nearest to the loss
                    self._reached = _sum(self._reached, self._batch * _share(gradient))
                layer.returns += 1
                layer.gradient = _sum(layer.gradient, _mean_square(gradient))
                others = [place for place in range(gradient.dim()) if place != units]
                silent = (gradient == 0).all(dim=others) if others else gradient == 0
                layer.silent = silent if layer.silent is None else layer.silent & silent
        except Exception as error:  # noqa: BLE001  nor its backward pass
            heed(error)
            self._error = self._error or error

    def before_update(self, context: Context) -> None:
        self._detach()

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        self._detach()
        if self._error is not None:
            raise self._error
        if self._transformed and not self._seen:
            context.notes[self.name] = "not looked into where the loop calls the model inside torch.func"
        self._gather(context.step)
        found: list[Finding] = []
        while self._coming and self._coming[0][-1].ready():
            step, names, enough, reading = self._coming.popleft()
            found += self._told(step, names, enough, reading.values())
        return found

    def _gather(self, step: int) -> None:
        layers = [layer for layer in self._seen.values() if layer.gradient is not None]
        self._seen = {}
        if not layers:
            return
        if len(layers) > MOST:
            layers = [layers[place * len(layers) // MOST] for place in range(MOST)]
        for layer in layers:
            before = self._silent.get(layer.name)
            if layer.silent is not None:
                self._silent[layer.name] = layer.silent if before is None or before.shape != layer.silent.shape else before & layer.silent  # fmt: skip
        self._examples += self._batch
        home = _number(layers[0].activation).device
        rows = [
            torch.stack([_number(layer.activation).to(home) / layer.calls for layer in layers]),
            torch.stack([_number(layer.gradient).to(home) / layer.returns for layer in layers]),
            torch.stack([self._silent[layer.name].double().mean().to(home) for layer in layers]),
            _number(self._reached).reshape(1).to(home),
        ]
        enough = self._examples >= ENOUGH
        if enough:  # then begin anew: units may die later, and wake again
            self._silent, self._examples, self._reached = {}, 0, None
        self._coming.append((step, [layer.name for layer in layers], enough, read(torch.cat(rows))))

    def _told(self, step: int, names: list[str], enough: bool, numbers: list[float]) -> list[Finding]:
        count = len(names)
        activation, gradient, silent = numbers[:count], numbers[count : 2 * count], numbers[2 * count : -1]
        if enough:
            known = numbers[-1] >= ENOUGH / 2
            self._shares = dict(zip(names, silent, strict=True)) if known else {}
        values = {
            kind: tuple(moment if math.isfinite(moment) else ODD for moment in moments)
            for kind, moments in (("activation", activation), ("gradient", gradient))
        }
        dead = [self._shares[name] for name in names if name in self._shares]
        if len(dead) == count:
            values["dead"] = tuple(dead)
        scalars: dict[str, float] = {}
        words: dict[str, str] = {}
        for kind, moments in (("activation", activation), ("gradient", gradient)):
            # The last layer's output is the prediction, whose scale is the task's and not the depth's.
            line = trend(moments[:-1])
            if line is not None:
                scalars[f"layers/{kind}_slope"] = line.slope
                words[f"layers/{kind}_slope"] = f"over {line.layers} layers, {names[0]} to {names[-2]}"
        inner = dead[:-1] if len(dead) == count else []
        if inner:
            worst = max(range(len(inner)), key=inner.__getitem__)
            scalars["layers/dead"], words["layers/dead"] = inner[worst], f"in {names[worst]}"
        found: list[Finding] = [Layers(step=step, names=tuple(names), values=values)]
        return [*found, Scalars(step=step, values=scalars, words=words)] if scalars else found

    def _detach(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def close(self) -> None:
        self._detach()
        self._seen, self._silent = {}, {}
        self._coming.clear()


_CHANNELS_FIRST = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


def _holds_matrix(module: nn.Module) -> bool:
    """Whether its weight is one. Looked up, not asked for: asked for, a parametrization would be computed, and spectral
    normalisation iterates whenever it is."""
    if "parametrizations" in module._modules:
        return is_parametrized(module, "weight")
    weight = dict(module.named_parameters(recurse=False)).get("weight", module.__dict__.get("weight"))
    return isinstance(weight, Tensor) and weight.dim() > 1


def _mean_square(tensor: Tensor) -> Tensor:
    """Shape (), float64: the square of a norm that is itself finite may overflow in single precision."""
    tensor = tensor.detach()
    length: Tensor = torch.linalg.vector_norm(tensor, dtype=torch.promote_types(tensor.dtype, torch.float32))
    return length.double().square() / max(1, tensor.numel())


def _share(gradient: Tensor) -> Tensor:
    """Of the examples, those for which it is not zero; shape ()."""
    examples = gradient.unsqueeze(-1).flatten(1) if gradient.dim() else gradient.reshape(1, 1)
    return (examples != 0).any(1).double().sum() / max(1, len(examples))


def _sum(before: Tensor | None, more: Tensor) -> Tensor:
    return more if before is None else before + more


def _number(tensor: Tensor | None) -> Tensor:
    assert tensor is not None
    return tensor
