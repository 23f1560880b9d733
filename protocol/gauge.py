"""What the equilibrium gauge says in a word, and only when its interval allows one."""

from __future__ import annotations

DESCENDING, EQUILIBRIUM, HEATING, INSUFFICIENT = "descending", "equilibrium", "heating", "insufficient"

DRIFT_WINS = 3.0
"""R above this: the gradient's own descent is three times what the noise heats."""

BALANCED = (0.5, 2.0)
"""R between these: the loss has stopped falling because noise and descent balance."""

SURE = 0.3
"""Standard error above which R near 1 means nothing."""


def label(value: float, error: float) -> str:
    """``value`` ± 2 ``error`` must lie in the range as a whole; else there is no label but "insufficient"."""
    low, high = value - 2 * error, value + 2 * error
    if low > DRIFT_WINS:
        return DESCENDING
    if not error < SURE:  # NaN too
        return INSUFFICIENT
    if high < BALANCED[0]:
        return HEATING
    return EQUILIBRIUM if BALANCED[0] <= low and high <= BALANCED[1] else INSUFFICIENT
