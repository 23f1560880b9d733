"""Frames to bytes and back: JSON, so that a recording opens in any plotting tool, and text cleaned at the door."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import structs

from .clean import clean_line, clean_message, clean_name
from .errors import BadFrame
from .frames import Alert, AnyFrame, Frame, Scalars, Summary

MAX_FRAME = 1 << 20
"""Bytes. A frame of 200 names takes 6 KB; more than this is not ours, and memory is bounded by it."""

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[AnyFrame] = msgspec.json.Decoder(AnyFrame)
_KNOWN_TAGS = {kind.__struct_config__.tag for kind in AnyFrame.__args__}
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_MOST_NAMES = 4096
_clean_names: set[str] = set()
"""Names seen to be clean: the same few come with every frame, and a look at each would take longer than decoding it."""


def shorten(value: float) -> float:
    """Seven significant digits: float32 holds no more, and it halves the size of a recording."""
    return float(f"{value:.7g}")


def encode(frame: AnyFrame) -> bytes:
    """One line of JSON without a newline. NaN and infinities travel in ``nonfinite``.

    >>> encode(Scalars(seq=1, step=3, values={"lr": 0.1, "loss": math.nan}))
    b'{"type":"scalars","seq":1,"step":3,"values":{"lr":0.1},"nonfinite":{"loss":"nan"}}'
    """
    if isinstance(frame, Scalars):
        odd = {name: repr(value) for name, value in frame.values.items() if not math.isfinite(value)}
        if odd:
            frame = structs.replace(frame, values=_finite(frame.values), nonfinite=odd)
        if frame.errors:
            frame = structs.replace(frame, errors=_finite(frame.errors))
    elif isinstance(frame, Alert):
        odd = {name: repr(value) for name, value in frame.evidence.items() if not math.isfinite(value)}
        if odd:
            frame = structs.replace(frame, evidence=_finite(frame.evidence), nonfinite=odd)
    return _encoder.encode(frame)


def decode(data: bytes | memoryview) -> AnyFrame | None:
    """The frame in these bytes, cleaned; None for a type that a later lsmon added.

    Raises BadFrame for anything else.
    """
    if len(data) > MAX_FRAME:
        raise BadFrame(f"A frame of {len(data)} bytes is larger than the {MAX_FRAME} that a frame may have.")
    try:
        frame = _decoder.decode(data)
    except msgspec.ValidationError as error:
        if _is_newer(data):
            return None
        raise BadFrame(f"Not a frame: {clean_name(str(error))}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"Not a frame: {clean_name(str(error))}.") from None
    return _cleaned(frame)


def _finite(values: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if math.isfinite(value)}


def _is_newer(data: bytes | memoryview) -> bool:
    try:
        outer = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return isinstance(outer, dict) and isinstance(outer.get("type"), str) and outer["type"] not in _KNOWN_TAGS


def _cleaned(frame: AnyFrame) -> AnyFrame:
    if isinstance(frame, Scalars):
        values = _clean_keys(frame.values)
        if frame.nonfinite:
            values = {**values, **_restored(frame.nonfinite)}
        if values is frame.values and not frame.errors and not frame.words:
            return frame
        return structs.replace(
            frame,
            values=values,
            errors=_clean_keys(frame.errors),
            words=_clean("words", frame.words),
            nonfinite={},
        )
    if isinstance(frame, Summary):
        series = _clean_keys(frame.series)
        return frame if series is frame.series else structs.replace(frame, series=series)
    if isinstance(frame, Alert) and frame.nonfinite:
        frame = structs.replace(
            frame, evidence={**frame.evidence, **_restored(frame.nonfinite)}, nonfinite={}
        )
    fields = _text_fields(type(frame))
    return structs.replace(frame, **{name: _clean(name, getattr(frame, name)) for name in fields})


def _restored(odd: dict[str, str]) -> dict[str, float]:
    return {clean_name(name): _WORDS.get(word, math.nan) for name, word in odd.items()}


_MULTILINE = {"message", "advice", "note", "error"}
_LONG = {"command", "recording", "notes", "words", "method"}


@lru_cache(maxsize=32)
def _text_fields(kind: type[Frame]) -> tuple[str, ...]:
    """Fields of this frame type that hold text somewhere inside."""
    return tuple(field.name for field in structs.fields(kind) if "str" in str(field.type))


def _clean(field: str, value: Any) -> Any:
    if isinstance(value, str):
        return (clean_message if field in _MULTILINE else clean_line if field in _LONG else clean_name)(value)
    if isinstance(value, tuple):
        return tuple(_clean(field, item) for item in value)
    if isinstance(value, dict):
        return {clean_name(key): _clean(field, item) for key, item in value.items()}
    return value


def _clean_keys(values: dict[str, Any]) -> dict[str, Any]:
    """The same object when all names are clean already, which is the common case."""
    if _clean_names.issuperset(values):
        return values
    if all(clean_name(name) == name for name in values):
        if len(_clean_names) > _MOST_NAMES:
            _clean_names.clear()
        _clean_names.update(values)
        return values
    return {clean_name(name): value for name, value in values.items()}
