"""What a probe measures with: the sensors that were chosen, and what they may look at."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from lsmon.protocol.errors import UsageError

from .sensors.sensor import Context, Sensor

PRESETS = ("off", "light", "default", "full")


def choose(sensors: str | Sequence[Sensor], model: object) -> list[Sensor]:
    """The sensors of a preset, or those given. The presets measure a model: without one they are empty.

    ``light`` needs no backward pass of its own; ``full`` adds the equilibrium gauge, which takes batches apart, and how
    the weights diffuse. Raises UsageError for an unknown preset.
    """
    if not isinstance(sensors, str):
        return list(sensors)
    if sensors not in PRESETS:
        raise UsageError(f"sensors={sensors!r} is none of {', '.join(PRESETS)}, nor a list of sensors.")
    if sensors == "off" or model is None:
        return []
    from .sensors.abandoned import Abandoned  # only here, because they load torch
    from .sensors.layers import LayerScale
    from .sensors.scale import Scale
    from .sensors.temperature import Temperature

    light: list[Sensor] = [Scale(), LayerScale(), Temperature(), Abandoned()]
    if sensors == "light":
        return light
    from .sensors.curvature import CurvatureSensor

    if sensors == "default":
        return [*light, CurvatureSensor()]
    from .sensors.diffusion import Diffusion
    from .sensors.equilibrium import Equilibrium
    from .sensors.fluctuation import Fluctuation

    return [*light, Equilibrium(), Diffusion(), Fluctuation(), CurvatureSensor(density=True)]


def context_of(
    model: Any,
    optimizer: Any,
    loss_fn: Callable[[Any, Any], Any] | None,
    reference: Any,
    clip: float | None,
    examples: int | None,
    seed: int,
) -> Context:
    """As the training gave them, the model without its wrappers. Raises UsageError for a batch without tensors."""
    context = Context(model, optimizer, loss_fn, clip=clip, examples=examples, seed=seed)
    if is_torch(model):
        from .operators.quiet import by_batch
        from .reference import QUARTER, Reference
        from .subject import averaging, compiled, inner, unwrap

        context.compiled = compiled(model)
        context.group = averaging(model)
        context.model = unwrap(model)
        context.optimizer = inner(optimizer)
        mixed = any(map(by_batch, context.model.modules()))
        context.reference = Reference(reference, thinnest=QUARTER if mixed else None)
    return context


def is_torch(model: Any) -> bool:
    """Without loading torch: a model can only be a module when torch is loaded."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)
