"""The difference of the damped log-volume between two measurements of a run, with its own error.

The probes of a run are the same at every measurement, so that most of the error of a log-volume is common to both and
cancels in their difference: it is taken probe by probe.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from .errors import UsageError
from .frames import Curvature


class Change(NamedTuple):
    value: float
    """Nats: positive when the valley has become wider."""
    se: float
    """Half of the 95 % interval."""


def change(before: Curvature, after: Curvature) -> Change:
    """From two frames with a log-volume, at any two steps.

    Raises UsageError when one has none, or when they were measured with another δ or other probes.
    """
    if before.log_volume is None or after.log_volume is None:
        raise UsageError("One of the two has no log-volume; take two steps at which it was measured.")
    pairs = list(zip(before.log_volume_probes, after.log_volume_probes, strict=False))
    same = len(before.log_volume_probes) == len(after.log_volume_probes) == len(pairs) >= 2
    if before.delta != after.delta or before.parameters != after.parameters or not same:
        raise UsageError(
            "The two log-volumes were not measured alike: δ, the parameters and the probes must be the same."
        )
    differences = [b - a for a, b in pairs]
    mean = math.fsum(each / len(differences) for each in differences)
    free = len(differences) - 1
    spread = math.hypot(*(each - mean for each in differences)) / math.sqrt(free * len(differences))
    student = 1.96 + 2.4 / free + 3 / free**2  # right to 3 % from three degrees of freedom on
    drifts = [
        (b - after.log_volume) - (a - before.log_volume)
        for a, b in zip(before.log_volume_shorter, after.log_volume_shorter, strict=False)
    ]
    drift = math.hypot(*drifts) / math.sqrt(len(drifts)) if drifts else 0.0
    return Change(mean, math.hypot(student / 2 * spread, drift))
