"""How far a Ritz value at an end of the spectrum is from its eigenvalue: quadratic in the residual, not linear.

For k Ritz values at an end with a joint residual R and a gap to all others, every one of them is wrong by at most
‖R‖²/gap (Kato 1949 and Temple 1928 for k = 1; Mathias 1998, Quadratic Residual Bounds for the Hermitian Eigenvalue
Problem, for a group). Since the next Ritz value stands in for the next eigenvalue, which is not known, this is an
estimate; the residual itself stays the rigorous bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

GROUP = 8
"""Further Ritz values that may be taken into a group: a cluster seldom holds more, and the gap only grows slowly."""


def end_errors(values: Sequence[float], residuals: Sequence[float], count: int) -> list[float]:
    """Estimated |θ_i - λ_i| of the ``count`` outermost of Ritz values sorted from an end inwards, with their residuals.

    Never more than the residual, and just that where nothing inside is known.
    """
    errors = []
    for i in range(min(count, len(values))):
        error, joint = residuals[i], math.fsum(r * r for r in residuals[:i])
        for k in range(i, min(i + GROUP, len(values) - 1)):
            joint += residuals[k] ** 2
            gap = abs(values[i] - values[k + 1])
            if gap > 0:
                error = min(error, joint / gap)
        errors.append(error)
    return errors
