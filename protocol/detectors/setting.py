"""What a person who sets a threshold may get wrong: its name, its value, and a value that makes no sense."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from ..clean import clean_line
from ..errors import UsageError


def names_of(group: Any) -> list[str]:
    """Fields of a dataclass."""
    return [each.name for each in fields(group)]


def known(name: str, every: Sequence[str]) -> tuple[str, str]:
    """Detector and threshold. Raises UsageError for a name that is none of these, with the nearest one."""
    detector, _, threshold = name.partition(".")
    if name in every:
        return detector, threshold
    shown = clean_line(name, 60)
    near = difflib.get_close_matches(name[:60], every, n=1, cutoff=0.8)
    own = [each.partition(".")[2] for each in every if each.startswith(f"{detector}.")]
    if near:
        hint = f"did you mean {near[0]}?"
    elif own:
        hint = f"{detector} has {', '.join(own)}."
    else:
        detectors = dict.fromkeys(each.partition(".")[0] for each in every)
        hint = f"they are named DETECTOR.THRESHOLD, with a detector of {', '.join(detectors)}."
    raise UsageError(f"There is no threshold {shown!r}; {hint}")


def number(group: Any, threshold: str, name: str, value: Any) -> float | int:
    """The value as the threshold wants it; its field's ``range`` says which make sense. Raises UsageError."""
    before = getattr(group, threshold)
    kind = type(before)
    low, high = next(each.metadata["range"] for each in fields(group) if each.name == threshold)
    shown = clean_line(str(value), 40)
    try:
        given = float(value)
        if isinstance(value, bool) or not math.isfinite(given) or (kind is int and given != int(given)):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        what = "a whole number" if kind is int else "a number"
        raise UsageError(f"{name}={shown} is not {what}; its default is {before:g}.") from None
    if not low <= given <= high:
        limits = f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"
        raise UsageError(f"{name}={shown} makes no sense: it must be {limits}; its default is {before:g}.")
    return kind(given)  # type: ignore[no-any-return]
