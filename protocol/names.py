"""The names of quantities: for each well-known one its unit, its meaning, where it comes from, and its panel.

Unknown names are welcome: they get a panel named after the part before the slash.
"""

from __future__ import annotations

import re
from collections.abc import Container
from dataclasses import dataclass

from .frames import AnyFrame, Curvature, Heartbeat, Scalars


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is known of a name before any value has been seen."""

    name: str
    label: str
    """Short, for an axis or a legend."""
    unit: str
    meaning: str
    """One sentence for the help screen."""
    source: str
    """Paper or definition."""
    panel: str
    log: bool = False
    """Usually read on a logarithmic axis."""


MOST_NAMES = 1000
"""In a row of what is folded, and on a screen, beside the well-known ones: more than a person looks at. Names of 128
letters then make half of what a frame may have, and a loop that logs a new name at each step fills no memory."""

GIVEN = "given by the loop"
"""The source of what is not measured by the probe."""

_LOSS = "the unit of the training loss"

# fmt: off
QUANTITIES: dict[str, Quantity] = {
    quantity.name: quantity
    for quantity in (
        Quantity("loss", "train", _LOSS, "Loss of the batch just trained on.", GIVEN, "loss", log=True),
        Quantity("val/loss", "val", _LOSS, "Loss on held-out data.", GIVEN, "loss", log=True),
        Quantity("train/acc", "train acc", "1", "Accuracy on training data.", GIVEN, "accuracy"),
        Quantity("val/acc", "val acc", "1", "Accuracy on held-out data.", GIVEN, "accuracy"),
        Quantity("lr", "lr", "1/step", "Learning rate of the first parameter group.", "optimizer", "trainability", True),
        Quantity("grad/norm", "grad", "loss", "Norm of the gradient that the optimizer consumed.",
                 "Euclidean norm over all parameters", "trainability", log=True),
        Quantity("weight/norm", "weights", "1", "Norm of all trainable parameters.",
                 "Euclidean norm over all parameters", "trainability", log=True),
        Quantity("update/ratio", "update", "1", "|Δθ| / |θ| of one step: 1e-4 to 1e-2 is healthy.",
                 "Karpathy 2019, A Recipe for Training Neural Networks", "trainability", log=True),
        Quantity("clip/rate", "clipped", "1", "Share of the last 200 measured steps whose gradient was clipped.",
                 "the norm stands at the threshold told by clip=", "trainability"),
        Quantity("weight/drift", "drift", "1/1000 steps", "Relative growth of the weight norm per 1000 steps.",
                 "least squares through ln|θ|", "trainability"),
        Quantity("layers/activation_slope", "act slope", "dex/layer",
                 "Growth of the activations' second moment with depth: within ±0.15 it is level.",
                 "He et al. 2015, section 2.2", "trainability"),
        Quantity("layers/gradient_slope", "grad slope", "dex/layer",
                 "Growth with depth of the second moment of the gradient with respect to the activations.",
                 "Glorot & Bengio 2010; He et al. 2015", "trainability"),
        Quantity("layers/dead", "dead", "1", "Largest share of units of a layer that no example activates.",
                 "gradient exactly zero over 512 examples", "trainability"),
        Quantity("regime", "regime", "", "What the training is doing, in a word and a sentence.",
                 "protocol/regime/signs.py", "trainability"),
        Quantity("hessian/max", "λ max", "loss", "Sharpness: the largest eigenvalue of the Hessian on the reference batch.",
                 "Lanczos 1950; Cohen et al. 2021, Edge of Stability", "sharpness"),
        Quantity("hessian/min", "λ min", "loss", "The smallest eigenvalue; negative at a saddle.",
                 "Lanczos 1950; Dauphin et al. 2014", "sharpness"),
        Quantity("hessian/negative_at_least", "≥ k", "directions",
                 "Certified lower bound of the number of negative eigenvalues; it says \"at least\", never \"how many\".",
                 "Cauchy interlacing; Parlett 1998, section 10.1", "negative curvature"),
        Quantity("hessian/negative_fraction", "negative", "1",
                 "Share of eigenvalues below -τ|H|, τ = 0.01: the index of the critical point.",
                 "Dauphin et al. 2014; Ubaru, Chen & Saad 2017 (SLQ)", "fractions"),
        Quantity("hessian/zero_fraction", "near zero", "1", "Share of eigenvalues within ±τ|H|, τ = 0.01.",
                 "Sagun et al. 2016; Ubaru, Chen & Saad 2017 (SLQ)", "fractions"),
        Quantity("hessian/grad_curvature", "ĝᵀHĝ", "loss",
                 "Curvature along the gradient; negative only while the trajectory rolls off a saddle.",
                 "definition, on the reference batch", "along the gradient"),
        Quantity("hessian/displacement_curvature", "ûᵀHû", "loss",
                 "Mean curvature on the straight way from the last complete measurement to this one; never negative where the loss is convex.",
                 "2 (ΔL - ∇L·u) / |u|², Taylor with integral remainder", "along the gradient"),
        Quantity("hessian/trace", "trace", "loss", "Sum of all eigenvalues.", "Hutchinson 1990", "spectrum"),
        Quantity("hessian/preconditioned", "λ max P", "1/step",
                 "Largest eigenvalue of P^½HP^½, the sharpness that an adaptive optimizer feels.",
                 "Cohen et al. 2022, Adaptive Edge of Stability", "preconditioned"),
        Quantity("volume/log", "log V", "nats",
                 "Log of the local posterior volume over the prior volume, −½ Σ ln(1 + max(λ,0)/δ).",
                 "Laplace's method; Hochreiter & Schmidhuber 1997", "volume"),
        Quantity("volume/llc", "λ̂ quad", "1",
                 "Quadratic learning coefficient, ½ Σ max(λ,0)/(max(λ,0)+δ): half the effective parameters.",
                 "Watanabe 2009; MacKay 1992", "volume"),
        Quantity("volume/ellipsoid", "log V resolved", "nats",
                 "Log-volume within ε = 0.01 of the minimum in the r directions above τ|H|; it compares only at the same r.",
                 "volume of an ellipsoid; Hochreiter & Schmidhuber 1997", "ellipsoid"),
        Quantity("hessian/edge", "edge", "loss", "The sharpness above which this optimizer diverges on a quadratic.",
                 "Cohen et al. 2021, Edge of Stability", "sharpness"),
        Quantity("stability/ratio", "edge ratio", "1", "Sharpness over the optimizer's own edge; 1 is the edge of stability.",
                 "Cohen et al. 2021, Edge of Stability", "trainability"),
        Quantity("temperature/noise", "T", _LOSS,
                 "Langevin temperature of the step noise, η tr(PC) / 2d.",
                 "Mandt, Hoffman & Blei 2017; Welling & Teh 2011", "temperature", log=True),
        Quantity("temperature/thermal_loss", "E thermal", _LOSS,
                 "d T / 2: the part of the loss that is noise, about what annealing would gain.",
                 "equipartition; Mandt, Hoffman & Blei 2017", "temperature", log=True),
        Quantity("temperature/equilibrium", "R", "1",
                 "Descent over heating: above 3 the gradient wins, near 1 noise and descent balance, below 0.5 the noise heats.",
                 "after Rugh 1997, weighted by curvature", "equilibrium", log=True),
        Quantity("noise/scale", "B simple", "examples", "The batch size at which noise and gradient are alike, B tr(PC)/|∇L|².",
                 "McCandlish et al. 2018", "noise", log=True),
        Quantity("fluctuation/ratio", "Y", "1", "1 when the distribution of the weights is stationary, less while they wander.",
                 "Yaida 2018, FDR1", "diffusion"),
        Quantity("diffusion/exponent", "α", "1", "MSD ∝ τ^α of the weights: 2 drift, 1 diffusion, 0 confined.",
                 "count-sketch of the parameters", "diffusion"),
        Quantity("diffusion/within_epoch", "α within", "1", "The same at lags below an epoch.",
                 "count-sketch of the parameters", "diffusion"),
        Quantity("diffusion/across_epochs", "α across", "1", "The same at lags above an epoch.",
                 "count-sketch of the parameters", "diffusion"),
        Quantity("probe/share", "probe", "1", "Share of the run's wall time that the probe has cost.", "measured", "probe"),
    )
}
# fmt: on


def quantity(name: str) -> Quantity:
    """The registered quantity, or one made up for an unknown name."""
    known = QUANTITIES.get(name)
    if known is not None:
        return known
    panel, _, rest = name.rpartition("/")
    return Quantity(name, rest or name, "", "Logged by this training.", GIVEN, panel or name)


def admitted(name: str, names: Container[str], count: int) -> bool:
    """Whether there is room for this name beside ``names``, of which there are ``count``; for well-known ones always."""
    return count < MOST_NAMES or name in names or name in QUANTITIES


def natural(name: str) -> list[tuple[int, str]]:
    """To sort by, as a person counts: block_2 comes before block_10.

    >>> sorted(["block_10", "block_2", "a"], key=natural)
    ['a', 'block_2', 'block_10']
    """
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d{1,18})", name)]


def scalars(frame: AnyFrame) -> tuple[dict[str, float], dict[str, float]]:
    """The named values of a frame and their errors, whatever its type: what is folded, stored and drawn."""
    if isinstance(frame, Scalars):
        return frame.values, frame.errors
    if isinstance(frame, Curvature):
        return _measured(frame)
    if isinstance(frame, Heartbeat):
        return {"probe/share": frame.share}, {}
    return {}, {}


def _measured(frame: Curvature) -> tuple[dict[str, float], dict[str, float]]:
    ritz = (
        ("hessian/max", frame.top[0] if frame.top else None),
        ("hessian/min", frame.bottom[0] if frame.bottom else None),
        ("hessian/preconditioned", frame.preconditioned),
    )
    estimates = (
        ("hessian/grad_curvature", frame.grad_curvature, None),
        ("hessian/displacement_curvature", frame.displacement_curvature, None),
        ("hessian/negative_fraction", frame.negative_fraction, frame.negative_fraction_se),
        ("hessian/zero_fraction", frame.zero_fraction, frame.zero_fraction_se),
        ("hessian/trace", frame.trace, frame.trace_se),
        ("volume/log", frame.log_volume, frame.log_volume_se),
        ("volume/llc", frame.llc_quadratic, frame.llc_quadratic_se),
    )
    values = {"probe/share": frame.share} if frame.share else {}  # of another's file nobody knows it
    errors = {}
    if frame.bottom:
        values["hessian/negative_at_least"] = float(frame.negative_at_least)
    for name, end in ritz:
        if end is not None:
            values[name] = end.value
            if end.residual:
                errors[name] = end.residual
    for name, value, error in estimates:
        if value is not None:
            values[name] = value
            if error is not None:
                errors[name] = error
    return values, errors
