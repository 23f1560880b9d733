"""Frames survive the trip, NaN included; rubbish does not get in."""

from __future__ import annotations

import json
import math
import tracemalloc

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.clean import clean_name
from lsmon.protocol.codec import MAX_FRAME, decode, encode, shorten
from lsmon.protocol.errors import BadFrame
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)

ONE_OF_EACH: list[AnyFrame] = [
    RunStarted(seq=1, run="abc", name="a run", command=("python", "train.py"), parameters=10),
    Scalars(seq=2, step=5, wall=1.5, values={"loss": 0.5}, errors={"loss": 0.1}, words={"loss": "n=4"}),
    Curvature(
        seq=3, top=(Ritz(2.0, 0.1, True),), bottom=(Ritz(-1.0, 0.2),), negative_at_least=3, notes=("a",)
    ),
    Layers(seq=4, names=("in", "out"), values={"grad": (0.1, 0.2)}),
    Alert(seq=5, kind="loss_spike", severity="warning", evidence={"after": 3.0}, message="Loss\njumped."),
    Mark(seq=6, note="lr lowered"),
    Heartbeat(seq=6, pid=12, rate=3.5, notes={"curvature": "waiting"}),
    Summary(seq=6, first_seq=1, series={"loss": (2, 0.1, 0.5, 0.3, 0.5, 1)}),
    RunEnded(seq=7, reason="error", error="ValueError: no"),
]


@pytest.mark.parametrize("frame", ONE_OF_EACH, ids=lambda frame: type(frame).__name__)
def test_every_frame_comes_back_equal(frame: AnyFrame) -> None:
    data = encode(frame)
    assert b"\n" not in data
    assert decode(data) == frame


def test_nan_and_infinities_come_back_and_the_bytes_are_strict_json() -> None:
    data = encode(Scalars(values={"a": math.nan, "b": math.inf, "c": -math.inf, "d": 1.0}))
    json.loads(data, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    frame = decode(data)
    assert isinstance(frame, Scalars)
    assert math.isnan(frame.values["a"])
    assert (frame.values["b"], frame.values["c"], frame.values["d"]) == (math.inf, -math.inf, 1.0)


def test_nan_in_the_evidence_of_an_alert_comes_back() -> None:
    frame = decode(encode(Alert(kind="nonfinite", evidence={"loss": math.nan})))
    assert isinstance(frame, Alert) and math.isnan(frame.evidence["loss"])


def test_a_type_added_by_a_later_version_is_skipped_and_later_fields_are_ignored() -> None:
    assert decode(b'{"type":"spectrum","seq":4}') is None
    assert decode(b'{"type":"mark","note":"x","colour":"red"}') == Mark(note="x")


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"\xff\xfe", b'{"type":"mark","note":3}', b'{"seq":1}', b"[" * 100_000]
)
def test_rubbish_is_a_bad_frame(data: bytes) -> None:
    with pytest.raises(BadFrame, match="Not a frame"):
        decode(data)


def test_a_frame_over_the_cap_is_refused_unread() -> None:
    with pytest.raises(BadFrame, match="larger"):
        decode(b" " * (MAX_FRAME + 1))


def test_escape_codes_and_bidi_controls_do_not_pass_the_door() -> None:
    hostile = "x\x1b]52;c;AAAA\x07\x9b31m\u202e"
    for frame in (
        RunStarted(name=hostile, command=(hostile,), recording=hostile),
        Scalars(values={hostile: 1.0}, words={hostile: hostile}, errors={hostile: math.nan}),
        Alert(message=hostile, kind=hostile, evidence={hostile: 1.0, hostile + "2": math.nan}),
        Heartbeat(notes={hostile: hostile}),
        Summary(series={hostile: (1, 0.0, 0.0, 0.0, 0.0, 0)}),
        Layers(names=(hostile,), values={hostile: (1.0,)}),
    ):
        shown = str(msgspec.to_builtins(decode(encode(frame))))
        assert not any(code in shown for code in ("\x1b", "\\x1b", "\\x07", "\\x9b", "\\u202e", "\u202e"))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        decode(data)
    except BadFrame:
        pass


def test_seven_digits_keep_a_float32() -> None:
    assert shorten(0.1234567891) == 0.1234568
    assert shorten(1e300) == 1e300
    assert math.isnan(shorten(math.nan))


def test_long_names_are_not_kept_in_memory() -> None:
    """A hostile sender has as many of them as it likes, each as long as a frame."""
    size = 200_000
    tracemalloc.start()
    try:
        for number in range(50):
            name = clean_name(f"{number}" * size)
            assert len(name) == 128
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 20 * size  # and not fifty of them
