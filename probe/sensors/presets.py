"""The named choices of sensors."""

from __future__ import annotations

from collections.abc import Sequence

from lsmon.protocol.errors import UsageError

from .sensor import Sensor

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
    from .layers import LayerScale  # only here, because they load torch
    from .scale import Scale
    from .temperature import Temperature

    light: list[Sensor] = [Scale(), LayerScale(), Temperature()]
    if sensors == "light":
        return light
    from .curvature import CurvatureSensor

    if sensors == "default":
        return [*light, CurvatureSensor()]
    from .diffusion import Diffusion
    from .equilibrium import Equilibrium
    from .fluctuation import Fluctuation

    return [*light, Equilibrium(), Diffusion(), Fluctuation(), CurvatureSensor(density=True)]
