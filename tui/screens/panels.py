"""The panels of the dashboard: how each of them looks, which quantities it holds, and which of them a run needs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from lsmon.protocol.names import natural, quantity

from ..view import View
from ..widgets.alerts import AlertsPanel
from ..widgets.curve import CurvePanel, NegativePanel
from ..widgets.curve_content import Look
from ..widgets.gauges import GaugesPanel
from ..widgets.layout import ORDER
from ..widgets.panel import Panel

LOOKS = {
    "loss": Look(("loss", "val/loss"), empty="no loss yet: probe.step(loss) sends it"),
    "sharpness": Look(
        ("hessian/max", "hessian/min"), edge="hessian/edge", edge_unless="hessian/preconditioned",
        sensor="curvature", empty="curvature is not measured yet",
    ),
    "preconditioned": Look(edge="hessian/edge", sensor="curvature"),
    "negative curvature": Look(
        ("hessian/negative_at_least",), whole=True, sensor="curvature", empty="curvature is not measured yet",
    ),
    "temperature": Look(
        ("temperature/noise",), spoken=("temperature/thermal_loss",), sensor="temperature",
        empty="temperature is not measured yet",
    ),
    "accuracy": Look(("train/acc", "val/acc"), share=True, empty='none logged: probe.log(**{"val/acc": a})'),
}  # fmt: skip
HIDDEN = ("probe",)
"""Panels of quantities that the header shows."""
_FIRST_GUESS = tuple(name for name in ORDER if name != "accuracy")
"""Shown before the first frame: what the probe measures by itself."""


def panel_of(name: str) -> Panel:
    """The panel of this name, still without anything in it."""
    if name == "alerts":
        return AlertsPanel(name)
    if name == "trainability":
        return GaugesPanel(name)
    if name == "negative curvature":
        return NegativePanel(name, LOOKS[name])
    return CurvePanel(name, LOOKS.get(name, Look()))


def by_panel(series: Iterable[str]) -> dict[str, list[str]]:
    """Panel → names of its series, in the order in which they came."""
    names: dict[str, list[str]] = {}
    for name in series:
        names.setdefault(quantity(name).panel, []).append(name)
    return names


def present_panels(view: View, seen: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The panels that have something to show, or of which a probe with a model will say why not."""
    by_probe = bool(view.header.model) or not view.seq  # a probe without a model only logs
    always = _FIRST_GUESS if by_probe else ("loss", "alerts") if "loss" in seen else ("alerts",)
    known = [name for name in ORDER if name in seen or name in always]
    return (*known, *_others(seen))


def matching_panels(names: Mapping[str, Sequence[str]]) -> tuple[str, ...]:
    """The panels of what the filter finds, and the alerts, which are of no quantity."""
    known = [name for name in ORDER if name in names or name == "alerts"]
    return (*known, *_others(names))


def _others(names: Iterable[str]) -> list[str]:
    """The training's own."""
    return sorted(set(names).difference(ORDER, HIDDEN), key=natural)


def reading_order(places: Iterable[str]) -> list[str]:
    """Names in the order of their number keys: ours first, always the same."""
    names = list(places)
    return [name for name in ORDER if name in names] + [name for name in names if name not in ORDER]
