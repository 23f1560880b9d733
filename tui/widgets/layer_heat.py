"""A quantity of all layers over time: input side on top, steps to the right, its size as a shade."""

from __future__ import annotations

import math

from lsmon.protocol.counts import counted

from ..axes import StepAxis
from ..format import number, percent
from .canvas import cells
from .heat import Heat, HeatPanel, held_over, shades
from .layer_columns import MOMENTS, NO_LAYERS, Column, ordered
from .panel import Scene

_TALLEST = 6
"""Rows a layer, where there is room."""
_WORDS = {
    "activation": "log10 of the activations' second moment",
    "gradient": "log10 of the second moment of the gradient by the activations",
    "dead": "share of dead units",
    "hessian/max": "λ max of the layer's own block",
}


class LayerHeat(HeatPanel):
    """One quantity at a time; ``turn`` takes the next."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._at = 0
        self._names: tuple[str, ...] = ()

    def turn(self) -> None:
        self._at += 1
        self.again()

    def label_cells(self) -> int:
        longest = max(map(cells, self._names), default=0)
        return min(max(longest, 5), max(self.size.width // 4, 8)) + 2

    def pick(self, scene: Scene) -> Heat:
        view = scene.view
        kinds = ordered({kind for frame in view.layer_past for kind in frame.values})
        if not kinds:
            return Heat(empty=scene.in_time(view.heartbeat.notes.get("layers") or NO_LAYERS))
        kind = kinds[self._at % len(kinds)]
        past = [frame for frame in view.layer_past if kind in frame.values]
        names = tuple(dict.fromkeys(name for frame in past for name in frame.names))
        self._names = names
        _, cols, rows = self.room()
        line = (
            f"{_WORDS.get(kind, kind)}, {counted(len(names), 'layer')}, {counted(len(past), 'measurement')}"
        )
        if cols < 8 or rows < 1 or not names:
            return Heat(line=line)
        axis = StepAxis.over(view.first_step, max(view.step, view.first_step + 1), cols)
        columns = [Column.of(frame, kind, names).scaled for frame in past]
        known = [value for column in columns for value in column if not math.isnan(value)]
        low, high = _limits(kind, known)
        at = held_over([frame.step for frame in past], axis, view.step, cols)
        groups = _groups(len(names), rows)
        tall = min(max(rows // len(groups), 1), _TALLEST)
        shaded = [
            [
                _share(max((v for v in column[a:b] if not math.isnan(v)), default=math.nan), low, high)
                for a, b in groups
            ]
            for column in columns
        ]
        more = (
            f"; each row {counted(groups[0][1], 'layer')}, the largest of them"
            if len(groups) < len(names)
            else ""
        )
        say = percent if kind == "dead" else number
        other = (
            f"   c: {_WORDS.get(then, then)}" if (then := kinds[(self._at + 1) % len(kinds)]) != kind else ""
        )
        return Heat(
            shares=tuple(
                tuple(shaded[i][row // tall] if i >= 0 else math.nan for i in at) for row in range(len(groups) * tall)
            ),
            labels=tuple(name for a, _ in groups for name in (names[a], *[""] * (tall - 1))),
            negative=(False,) * len(groups) * tall,
            measured=tuple(sorted({axis.column(frame.step) for frame in past if axis.column(frame.step) < cols})),
            axis=axis,
            legend=(("curve0", shades(f"{say(low)} to {say(high)}", ascii_only=scene.ascii_only)), ("dim", other)),
            note=("dim", f"{_WORDS.get(kind, kind)}{more}"),
            line=line,
        )  # fmt: skip


def _limits(kind: str, known: list[float]) -> tuple[float, float]:
    """Of the shades: a share of units from 0 to 1, a sharpness from zero, the rest as it comes."""
    if kind == "dead":
        return 0.0, 1.0
    low, high = min(known, default=0.0), max(known, default=1.0)
    if kind == "hessian/max":
        low = min(low, 0.0)
    elif kind in MOMENTS and high - low < 1:
        # A decade at least: level layers are not made a mountain range.
        low, high = (low + high - 1) / 2, (low + high + 1) / 2
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _share(value: float, low: float, high: float) -> float:
    """The lowest keeps a shade: what is blank was not measured."""
    return value if math.isnan(value) else 0.02 + 0.98 * (value - low) / (high - low)


def _groups(layers: int, rows: int) -> list[tuple[int, int]]:
    """From which layer to which each row stands for: alike in length but the last."""
    size = math.ceil(layers / rows)
    return [(first, min(first + size, layers)) for first in range(0, layers, size)]
