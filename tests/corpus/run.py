"""One labelled training: its numbers, its truth, and the frames that a probe would have sent."""

from __future__ import annotations

import json
import lzma
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any

from lsmon.protocol.frames import AnyFrame, Curvature, Ritz, Scalars

RUNS = Path(__file__).parent / "runs"

MAX_BYTES = 1 << 24
"""Of one run, unpacked: the largest takes a tenth of it."""

HESSIAN = ("max", "min", "gradient", "norm", "loss")
"""Columns of a curvature measurement: λ_max, λ_min, ĝᵀHĝ, |∇L| and L, the last three on the reference batch."""


@dataclass(frozen=True)
class Event:
    """Something that did happen: it began at ``onset``, was half over at ``step`` and done at ``until``."""

    kind: str
    onset: int
    step: int
    until: int
    optional: bool = False
    """It did happen, but in a way that telling of it is neither right nor wrong."""
    soft: bool = False
    """A saddle escape in which |∇L| rose by less than two: real, but hard to see. To be told all the same."""


ERROR = " ±"
"""At the end of a name: the standard error of the quantity of the rest of that name."""


@dataclass
class Run:
    """What was trained and seen. ``resumed`` lists positions in the order of the numbers at which a new attempt began."""

    name: str
    family: str
    what: str
    steps: int
    events: list[Event] = field(default_factory=list)
    allowed: list[str] = field(default_factory=list)
    """Kinds of alert that are neither right nor wrong here, because it is a matter of definition."""
    healthy: bool = False
    """Nothing happens in it that a person should be told of."""
    attempts: list[dict[str, list[Any]]] = field(default_factory=list)
    """For each attempt the rows: "scalars" of [step, {name: value}] and "curvature" of [step, *HESSIAN]."""

    def frames(
        self, *, every: int | None = None, log_every: int = 1, scale: float = 1.0, tokens: int = 1,
        hidden: Container[str] = (),
    ) -> Iterator[AnyFrame]:  # fmt: skip
        """As sent. ``every`` thins curvature to one in so many steps (0: none), ``log_every`` the scalars;
        ``scale`` multiplies losses and curvatures, ``tokens`` the steps; ``hidden`` names are left out."""
        for number, rows in enumerate(self.attempts, start=1):
            curvature = _measurements(rows, every, scale, tokens, number)
            measured = next(curvature, None)
            for step, values in _thinned(rows["scalars"], log_every):
                while measured is not None and measured.step < step * tokens:
                    yield measured
                    measured = next(curvature, None)
                scaled = {
                    name: value * scale if name in LOSSES else value
                    for name, value in values.items()
                    if name not in hidden and not name.endswith(ERROR)
                }
                errors = {
                    name.removesuffix(ERROR): value for name, value in values.items() if name.endswith(ERROR)
                }
                yield Scalars(step=step * tokens, attempt=number, values=scaled, errors=errors)
            if measured is not None:
                yield measured
            yield from curvature

    def save(self) -> None:
        """As JSON in an xz file, each column by itself: small, and readable by anything."""
        facts = {
            "name": self.name, "family": self.family, "what": self.what, "steps": self.steps, "healthy": self.healthy,
            "events": [vars(event) for event in self.events], "allowed": self.allowed,
            "attempts": [_packed(rows) for rows in self.attempts],
        }  # fmt: skip
        RUNS.mkdir(exist_ok=True)
        data = json.dumps(facts, separators=(",", ":")).encode()
        (RUNS / f"{self.name}.json.xz").write_bytes(lzma.compress(data, preset=9 | lzma.PRESET_EXTREME))

    @staticmethod
    def load(name: str) -> Run:
        """By name. Raises ValueError for a file that is larger than any of ours."""
        with lzma.open(RUNS / f"{name}.json.xz") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ValueError(f"{name} is not one of ours")
        facts = json.loads(data)
        facts["events"] = [Event(**event) for event in facts["events"]]
        facts["attempts"] = [_unpacked(rows) for rows in facts["attempts"]]
        return Run(**facts)


LOSSES = frozenset({"loss", "val/loss", "train/loss"})


def names() -> list[str]:
    """All runs that are there."""
    return sorted(path.name.removesuffix(".json.xz") for path in RUNS.glob("*.json.xz"))


def _thinned(rows: Sequence[Any], log_every: int) -> list[Any]:
    """Every so many rows of the loss; evaluations are kept with the next row that is logged."""
    if log_every == 1:
        return list(rows)
    kept: list[Any] = []
    late: dict[str, float] = {}
    for number, (step, values) in enumerate(rows):
        late |= {name: value for name, value in values.items() if name not in PLAIN}
        if number % log_every == 0:
            kept.append([step, {**{name: value for name, value in values.items() if name in PLAIN}, **late}])
            late = {}
    return kept


PLAIN = frozenset({"loss", "lr"})


def _measurements(
    rows: Mapping[str, Sequence[Any]], every: int | None, scale: float, tokens: int, attempt: int
) -> Iterator[Curvature]:
    """One in so many steps of those that were made, each with the way that it came where that is known."""
    ways = {(step, since): way for step, since, *way in rows.get("ways", ())}
    last: int | None = None
    for step, top, bottom, along, norm, loss in rows["curvature"]:
        if every is not None and (not every or (last is not None and step - last < every)):
            continue
        length, bend = ways.get((step, step - last), (None, None)) if last is not None else (None, None)
        last = step
        yield Curvature(
            step=step * tokens,
            attempt=attempt,
            top=(Ritz(top * scale, 1e-3 * abs(top) * scale, True),),
            bottom=(Ritz(bottom * scale, 1e-2 * abs(bottom) * scale, True),),
            grad_curvature=along * scale,
            grad_norm=norm * scale,
            loss=loss * scale,
            displacement=length,
            displacement_curvature=None if bend is None else bend * scale,
        )


def _packed(rows: Mapping[str, list[Any]]) -> dict[str, Any]:
    columns: dict[str, tuple[list[int], list[float | str]]] = {}
    for step, values in rows["scalars"]:
        for name, value in values.items():
            column = columns.setdefault(name, ([], []))
            column[0].append(step)
            column[1].append(_short(value))
    curvature = rows["curvature"]
    ways = rows.get("ways", [])
    return {
        "scalars": {name: [_deltas(steps), values] for name, (steps, values) in columns.items()},
        "curvature": [_deltas([row[0] for row in curvature]), *([_short(row[i + 1]) for row in curvature] for i in range(len(HESSIAN)))],
        "ways": [[row[0] for row in ways], [row[1] for row in ways], *([_short(row[i]) for row in ways] for i in (2, 3))],
    }  # fmt: skip


def _unpacked(packed: Mapping[str, Any]) -> dict[str, list[Any]]:
    merged: list[tuple[int, str, float]] = []
    for name, (deltas, values) in packed["scalars"].items():
        merged += [(step, name, _long(value)) for step, value in zip(_steps(deltas), values, strict=True)]
    merged.sort(key=lambda entry: entry[0])
    scalars = [
        [step, {name: value for _, name, value in group}]
        for step, group in groupby(merged, key=lambda entry: entry[0])
    ]
    deltas, *columns = packed["curvature"]
    return {
        "scalars": scalars,
        "curvature": [[step, *map(_long, row)] for step, *row in zip(_steps(deltas), *columns, strict=True)],
        "ways": [[*row[:2], *map(_long, row[2:])] for row in zip(*packed.get("ways", []), strict=True)],
    }


def _short(value: float) -> float | str:
    """Four digits: what a detector needs, and half the size. JSON has no NaN, so such a value is a word."""
    value = float(f"{value:.4g}")
    return value if abs(value) < float("inf") else repr(value)


def _long(value: float | str) -> float:
    return float(value)


def _deltas(steps: list[int]) -> list[list[int]]:
    """Steps as runs of [first, stride, count]."""
    runs: list[list[int]] = []
    for step in steps:
        if runs and runs[-1][2] == 1:
            runs[-1][1:] = [step - runs[-1][0], 2]
        elif runs and step == runs[-1][0] + runs[-1][1] * runs[-1][2]:
            runs[-1][2] += 1
        else:
            runs.append([step, 1, 1])
    return runs


def _steps(runs: list[list[int]]) -> Iterator[int]:
    for first, stride, count in runs:
        yield from range(first, first + stride * count, stride) if stride else [first] * count
