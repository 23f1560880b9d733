"""What a spectrum says in numbers: shares, trace and ends, each with its doubt, and what they were measured on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from lsmon.protocol.counts import grouped
from lsmon.protocol.frames import Curvature, Ritz
from lsmon.protocol.nulls import (
    SEMICIRCLE_KURTOSIS,
    log10_minimum_by_repulsion,
    log10_minimum_by_signs,
    semicircle,
)

from ..format import number, percent, with_error, with_share
from ..measured_at import at_step
from ..view import EMPTY
from ..wrapping import wrapped

Fact = tuple[str, str]
"""(label, words)"""


@dataclass(frozen=True, slots=True)
class Spectrum:
    density: Curvature = EMPTY.spectrum
    ends: Curvature = EMPTY.curvature
    """Where the outliers are from: the last measurement of both ends, at a step of its own."""
    empty: str = ""


def facts(held: Spectrum) -> list[Fact]:
    """Shares, sums and ends, each with its doubt, and what they were measured on."""
    density = held.density
    said: list[Fact] = []
    tau = density.fraction_tolerance
    for label, value, error in (
        ("negative", density.negative_fraction, density.negative_fraction_se),
        ("near zero", density.zero_fraction, density.zero_fraction_se),
    ):
        if value is not None:
            where = "" if tau is None else f", below −{number(tau)} |H|" if label == "negative" else f", within ±{number(tau)} |H|"  # fmt: skip
            said.append(
                (label, f"{percent(value)} {'' if error is None else f'± {percent(error, 1)}'}{where}")
            )
    if density.negative_fraction is None:
        said.append(("negative", "share not given: too fine for the Lanczos steps"))
    if density.trace is not None:
        said.append(
            ("trace", with_error(density.trace, math.nan if density.trace_se is None else density.trace_se))
        )
    said += of_ends(held.ends, density.step)
    if density.resolution is not None:
        said.append(("resolution", f"{number(density.resolution)} |H|"))
    said.append(("measured", f"step {grouped(density.step)}, {grouped(density.batch)} examples"))
    return said + chance(density)


def chance(density: Curvature) -> list[Fact]:
    """What the null models say: the bulk's shape beside a semicircle's, and how rare a minimum would be by chance."""
    said: list[Fact] = []
    circle = semicircle(density.density_grid, density.density_mass, density.parameters)
    if circle is not None:
        shape = f"bulk kurtosis about {number(circle.kurtosis, 2)}, a semicircle's {SEMICIRCLE_KURTOSIS:.0f}"
        said.append(("chance", shape))
    share, dim = density.negative_fraction, density.parameters
    if share is not None and 0 <= share <= 1 and dim > 0:
        signs = log10_minimum_by_signs(share, dim)
        powers = f"{_power(signs)} if signs were independent, {_power(log10_minimum_by_repulsion(dim))} under repulsion"
        said.append(("" if circle else "chance", f"no negative direction at all: {powers}"))
    return said


def _power(exponent: float) -> str:
    """Of ten, in brackets where the exponent is more than digits.

    >>> _power(-12.0), _power(-1612.0), _power(-1.2e7)
    ('10^−12', '10^(−1 612)', '10^(−1.2e7)')
    """
    words = number(exponent, 2)
    return f"10^({words})" if " " in words or "e" in words else f"10^{words}"


def of_ends(ends: Curvature, step: int | None = None) -> list[Fact]:
    """With the step they were measured at where it is not this one."""
    said: list[Fact] = []
    at = "" if ends.step == step else f" {at_step(ends.step)}"
    for label, found in (("λ max", ends.top), ("λ min", ends.bottom)):
        if found:
            # What has not converged says little beyond the first: where an end is at least.
            known = [item for item in found if item.converged] or found[:1]
            values = ", ".join(_ritz(item) for item in known[:5])
            rest = f", {len(found) - len(known)} more not converged" if len(known) < len(found) else ""
            said.append((label, values + (rest if known[0].converged else ", not converged") + at))
    if ends.bottom:
        least = ends.negative_at_least
        said.append(("certified", f"≥ {least} negative{at}" if least else f"no negative direction{at}"))
    return said


def _ritz(item: Ritz) -> str:
    """With a share of the value as its doubt, or the doubt itself where it is the larger of the two."""
    if abs(item.value) < item.residual < math.inf:
        return f"{number(item.value)} ± {number(item.residual, 1)}"
    return with_share(item.value, item.residual)


def folded(said: Sequence[Fact], cols: int) -> list[Fact]:
    """Facts over as many lines as they need."""
    lines: list[Fact] = []
    for label, words in said:
        first, *rest = wrapped(words, max(cols - 11, 8)) or [""]
        lines += [(label, first), *(("", line) for line in rest)]
    return lines
