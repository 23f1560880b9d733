"""The sign of each regime: why it holds, in a sentence with numbers, or nothing.

Where the thresholds come from: trainings of known outcome, in ``tests/test_probe_regime.py`` and ``tests/bench/regime.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from ..depth import Trend
from ..edge import UNSURE
from ..gauge import HEATING, label
from .facts import DEAD, LOOKS, Facts
from .losses import LONG, STRETCH, WARM_UP

GROWN, BACK, BEYOND = 2.0, 0.25, 2.0
"""Exploding: the smoothed loss against its lowest and against its first, and the sharpness against the edge. The last
alone says nothing: nets with LayerNorm trained at 16 times the edge."""

STEEP, FAR = 0.15, 3.0
"""Dex a layer, and dex from first to last layer: steeper trained, at some learning rate, when it was less far."""

DEEP = 6
"""Layers from the first to the last of such a line: with fewer it is one of them, and not the depth."""

LEARNING = 0.9
"""Of the scale over depth: the loss is still above this part of the first. A net that learns is not told that it cannot."""

PATIENCE = 100
"""Steps: half of the units are dead in the first ones of a deep net that wakes them soon."""

SLOW, SMALL = 1e-2, 1e-4
"""Stalling: the sharpness against the edge, and |Δθ|/|θ|. The further one is below, the less the other need be: ..."""
TENFOLD = 5e-4
"""... but an update of 1e-3 is typical, and ten times one above this, which is advised, would soon be more than healthy."""
FROZEN = 1e-5
"""|Δθ|/|θ| where the edge is not known: a tenth of what is small beside one."""
STILL, HIGH = 0.1, 0.7
"""... with a loss that has fallen by less than this part in the stretch, and is above this part of the first."""

LEARNED, TINY = 0.01, 0.01
"""Saturated: the smoothed loss in nats, and against the first."""


def exploding(facts: Facts) -> str:
    line, back = _steep(facts.forward, 1), _steep(facts.backward, 1)
    if line and back and back.slope > line.slope:
        line = None  # what comes back is the worse of the two: vanishing
    depth = f"activations grow by {line.slope:.2g} dex a layer over {line.layers} layers" if line else ""
    losses = facts.losses
    if losses.odd:
        also = f" and {depth}" if depth else ""
        return f"the loss is not finite{also}; lower the learning rate or the scale of the initialisation"
    grown = losses.smooth > max(GROWN * losses.lowest, BACK * losses.first)
    sharp = facts.ratio - facts.ratio_error
    if losses.count > WARM_UP and grown and sharp > BEYOND:
        return (
            f"the loss grew from {losses.lowest:.3g} to {losses.smooth:.3g} and the sharpness is {sharp:.2g} times the "
            "edge; lower the learning rate"
        )
    if not depth or losses.below(LEARNING):
        return ""
    return f"{depth}, where ±{STEEP} is level; use He initialisation or normalisation"


def vanishing(facts: Facts) -> str:
    if facts.losses.below(LEARNING):
        return ""  # it learns all the same
    forward, backward = _steep(facts.forward, -1), _steep(facts.backward, 1)
    what, line = (
        ("activations shrink by", forward) if forward else ("gradients shrink backwards by", backward)
    )
    if line is None:
        return ""
    return (
        f"{what} {abs(line.slope):.2g} dex a layer over {line.layers} layers, where ±{STEEP} is level; "
        "use He initialisation or normalisation"
    )


def dead_units(facts: Facts) -> str:
    if facts.dead_since is None or facts.losses.step - facts.dead_since < PATIENCE:
        return ""
    share, name = facts.dead
    return (
        f"{share:.0%} of the units of layer {name} have not been active since step {facts.dead_since}, where {DEAD:.0%} is "
        "much; lower the learning rate or initialise anew"
    )


def heating(facts: Facts) -> str:
    value, error = facts.gauge
    if label(value, error) == HEATING:
        return f"noise heats faster than the gradient descends, R = {value:.2g} ± {2 * error:.1g}; the loss will rise at this learning rate"  # fmt: skip
    if facts.losses.rise is None or facts.edge.at:
        return ""
    before, after = facts.losses.rise
    return f"the loss rose from {before:.3g} to {after:.3g} within {3 * STRETCH} losses; lower the learning rate or use larger batches"  # fmt: skip


def clipped(facts: Facts) -> str:
    since, losses = facts.clipped_since, facts.losses
    if since is None or losses.step - since < LONG or losses.step - losses.first_step < 2 * LONG:
        return ""
    return f"{facts.clip:.0%} of the steps since step {since} were clipped, so the threshold sets the step and not the gradient; raise it or lower the learning rate"  # fmt: skip


def stalling(facts: Facts) -> str:
    # A network whose units are dead, or may be, stands as still, and no learning rate helps it.
    dead = facts.counting or facts.dead_since is not None
    if facts.rolling or dead or facts.ratio >= SLOW:
        return ""
    steps, fall = facts.losses.fall()
    largest = facts.largest_update(LONG)
    known = math.isfinite(facts.ratio)
    little = min(TENFOLD, SMALL * SLOW / max(facts.ratio, 1e-30)) if known else FROZEN
    if steps < LONG - 1 or largest is None or largest >= little:
        return ""
    if fall >= STILL or facts.losses.below(HIGH):
        return ""
    sharpness = f"sharpness is {facts.ratio:.2g} of the edge, " if known else ""
    return f"{sharpness}an update {largest:.1g} of the weights and the loss fell by {max(fall, 0):.1%} in {steps} steps; raise the learning rate tenfold"  # fmt: skip


def saturated(facts: Facts) -> str:
    loss, first = facts.losses.smooth, facts.losses.first
    # Below zero it is a density's or a policy's, and never used up.
    if not 0 <= loss < min(LEARNED, TINY * first) or facts.edge.at:
        return ""
    return f"the training loss is {loss:.2g}, {loss / first:.1g} of the first, so curvature collapses with it and is no sign of flatness"  # fmt: skip


def edge_of_stability(facts: Facts) -> str:
    edge = facts.edge
    if not edge.at:
        return ""
    limit = f" of {facts.limit:.3g}" if math.isfinite(facts.limit) else ""
    return f"the sharpness hovers at {edge.mean:.2f} of the optimizer's edge{limit} since step {edge.since}; that is normal"  # fmt: skip


def stable(facts: Facts) -> str:
    if math.isfinite(facts.ratio):
        at_most = "at most " if facts.ratio_error > UNSURE * facts.ratio else ""
        return f"loss {facts.losses.smooth:.3g}, sharpness {at_most}{facts.ratio:.2g} {'times' if facts.ratio > 1 else 'of'} the edge"
    return f"loss {facts.losses.smooth:.3g}; the sharpness against the edge is not known"


SIGNS: tuple[tuple[str, Callable[[Facts], str]], ...] = (
    ("exploding", exploding),
    ("vanishing", vanishing),
    ("dead units", dead_units),
    ("heating", heating),
    ("clipped", clipped),
    ("stalling", stalling),
    ("saturated", saturated),
    ("edge of stability", edge_of_stability),
    ("stable", stable),
)
"""The most urgent first; the last always holds."""


def _steep(lines: Iterable[Trend | None], sign: int) -> Trend | None:
    """The last line over depth when the last looks agree that it is steep, in this direction, and goes far."""
    known = [line for line in lines if line is not None]
    agreed = len(known) == LOOKS and all(
        min(sign * line.slope, sign * line.typical) > STEEP
        and sign * line.total > FAR
        and line.layers + line.gone >= DEEP
        for line in known
    )
    return known[-1] if agreed else None
