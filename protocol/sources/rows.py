"""Rows of named numbers from files that others wrote, turned into the frames that a probe would have sent."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from msgspec import structs

from ..clean import clean_name
from ..codec import shorten
from ..frames import IMPORTED, AnyFrame, Curvature, Ritz, RunEnded, RunStarted, Scalars

ROW_SECS = 0.1
"""Between two rows without a time of their own: ten a second are pleasant to watch."""

MOST_NAMES = 2000
"""Columns; a file with more of them is no record of a training, and memory stays bounded."""

STEPS = ("step", "_step", "global_step", "iteration", "iter", "epoch")
WALLS = ("wall", "_timestamp", "wall_time", "timestamp")
"""Names of the step and of the Unix time, the preferred one first."""

_ALIASES = {
    "loss": ("train/loss", "train_loss", "training_loss", "loss/train", "trainloss"),
    "val/loss": ("val_loss", "valid/loss", "valid_loss", "validation_loss", "validation/loss", "eval/loss", "eval_loss", "test/loss", "test_loss", "loss/val", "loss/valid", "loss/validation", "loss/test"),
    "train/acc": ("train_acc", "train/accuracy", "train_accuracy", "training_accuracy", "acc/train", "accuracy/train"),
    "val/acc": ("val_acc", "val/accuracy", "val_accuracy", "valid_acc", "validation_accuracy", "eval/accuracy", "eval_accuracy", "test/acc", "test_acc", "test_accuracy", "acc/val", "accuracy/val", "accuracy/test"),
    "lr": ("learning_rate", "train/learning_rate", "train/lr", "learningrate"),
    "grad/norm": ("grad_norm", "train/grad_norm", "gradient_norm"),
}  # fmt: skip
ALIASES = {other: name for name, others in _ALIASES.items() for other in others}
"""What others call it → our name; used where a file does not have our name itself."""

ERROR = " ±"
"""At the end of a name: the standard error or residual of the quantity of the rest of that name."""

_RITZ = ("hessian/max", "hessian/min")
_NEGATIVE, _SHARE = "hessian/negative_at_least", "probe/share"
_CONVERGED = 0.01
"""Of an eigenvalue: what the probe calls converged."""
_REFERENCE = {
    "hessian/grad_curvature": "grad_curvature",
    "hessian/grad_norm": "grad_norm",
    "hessian/loss": "loss",
    "hessian/displacement": "displacement",
    "hessian/displacement_curvature": "displacement_curvature",
}


class Row(NamedTuple):
    """What was logged at a step."""

    step: int
    wall: float | None
    values: dict[str, float]


def renamed(names: Iterable[str]) -> dict[str, str]:
    """Each name → ours, where it is a well-known alias of a name that is not there itself."""
    given = list(names)
    taken = {name.lower() for name in given}
    ours: dict[str, str] = {}
    for name in given:
        wanted = ALIASES.get(name.lower(), name.lower() if name.lower() in _ALIASES else name)
        if wanted != name and (wanted in taken - {name.lower()} or wanted in ours.values()):
            wanted = name
        ours[name] = clean_name(wanted)
    return ours


def frames(rows: Iterable[Row], name: str, began: float = 0.0) -> Iterator[AnyFrame]:
    """The header, a frame a row (and one of curvature where the row has both ends of the spectrum), and the end.

    ``began`` is the time of the first row where it has none. A step that is smaller than the one before opens a new attempt, as in a training that was resumed.
    """
    header: RunStarted | None = None
    seq, step, attempt, wall = 1, 0, 1, 0.0
    ours: dict[str, str] = {}
    for row in rows:
        if header is None:
            wall = began if row.wall is None else row.wall
            header = RunStarted(
                seq=1, run=IMPORTED, name=clean_name(name), step=row.step, wall=wall, untimed=row.wall is None
            )
            yield header
            step = row.step
        attempt += row.step < step
        step = row.step
        wall = wall + ROW_SECS if row.wall is None else row.wall
        errors = {key.removesuffix(ERROR): value for key, value in row.values.items() if key.endswith(ERROR)}
        plain = {key: value for key, value in row.values.items() if not key.endswith(ERROR)}
        if not plain.keys() <= ours.keys():
            ours = renamed([*ours, *plain][:MOST_NAMES])
        values = {ours[key]: shorten(value) for key, value in plain.items() if key in ours}
        known = {
            ours[key]: shorten(value) for key, value in errors.items() if key in ours and math.isfinite(value)
        }
        for frame in _of(values, known):
            seq += 1
            yield structs.replace(frame, seq=seq, step=step, attempt=attempt, wall=wall)
    if header is not None:
        yield RunEnded(seq=seq + 1, step=step, attempt=attempt, wall=wall)


def _of(values: dict[str, float], errors: dict[str, float]) -> Iterator[Scalars | Curvature]:
    ends = [values.get(end, math.nan) for end in _RITZ]
    if not all(math.isfinite(end) for end in ends):
        yield Scalars(values=values, errors={name: error for name, error in errors.items() if name in values})
        return
    largest, least = (_ritz(value, errors.get(name)) for name, value in zip(_RITZ, ends, strict=True))
    rest = {
        name: value for name, value in values.items() if name not in (*_RITZ, *_REFERENCE, _NEGATIVE, _SHARE)
    }
    if rest:
        yield Scalars(values=rest, errors={name: error for name, error in errors.items() if name in rest})
    facts = {name: value for name in _REFERENCE if math.isfinite(value := values.get(name, math.nan))}
    negative = values.get(_NEGATIVE, math.nan)
    yield Curvature(
        top=(largest,),
        bottom=(least,),
        # One that is negative beyond its error is one.
        negative_at_least=int(negative) if 0 <= negative < 1 << 62 else int(least.value + least.residual < 0),
        share=share if math.isfinite(share := values.get(_SHARE, 0.0)) else 0.0,
        method="from a file",
        grad_curvature=facts.get("hessian/grad_curvature"),
        grad_norm=facts.get("hessian/grad_norm"),
        loss=facts.get("hessian/loss"),
        displacement=facts.get("hessian/displacement"),
        displacement_curvature=facts.get("hessian/displacement_curvature"),
    )


def _ritz(value: float, error: float | None) -> Ritz:
    """Whether it had converged, nobody has written down: the error tells, and where there is none nothing speaks against it."""
    return Ritz(value, error or 0.0, error is None or error <= _CONVERGED * abs(value))


def as_step(value: float) -> int | None:
    """A step in a file, or None for what is none."""
    return int(value) if math.isfinite(value) and 0 <= value < 1 << 62 else None
