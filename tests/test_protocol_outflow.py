"""What goes onto a slow link: simulated links, so that nothing here depends on speed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.codec import decode, encode
from lsmon.protocol.fold import LEVELS, Folds
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Mark,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.wire.order import Order
from lsmon.protocol.wire.thin import HELD_BYTES, Backlog, folded
from tests.links import SLOW, Link, training


@pytest.mark.parametrize(("delay", "history"), [(0.02, 10_000), (0.3, 0)])
def test_a_screen_behind_64_kb_a_second_is_live_at_4000_frames_a_second(history: int, delay: float) -> None:
    """Folded it reaches the present, 2 s behind at most, with nothing lost; whole it would fall behind for ever."""
    link = Link(SLOW, delay)
    link.run(12.0, training(4000, history))
    late = [now - (reached - history) / 4000 for now, reached in link.lag if now > 8.0]
    assert max(late) < 2.0
    assert link.bytes < 1.2 * SLOW * 12
    assert any(isinstance(frame, Summary) for frame in link.frames)


@pytest.mark.parametrize(("rate", "delay"), [(10e6, 0.001), (2e6, 0.15), (2e6, 0.6)])
def test_a_link_that_carries_all_gets_every_frame_whole(rate: float, delay: float) -> None:
    """However far away the other end is: latency is not taken for a lack of room."""
    link = Link(rate, delay)
    link.run(6.0, training(500, history=15_000))
    assert link.raw == list(range(1, len(link.raw) + 1))
    assert len(link.raw) > 15_000 + 2000


def test_at_a_hundred_frames_a_second_a_slow_link_carries_them_whole() -> None:
    link = Link(SLOW, 0.1)
    link.run(10.0, training(100))
    assert link.raw == list(range(1, len(link.raw) + 1)) and len(link.raw) > 900
    assert link.bytes < 6000 * 10


def test_a_viewer_that_slept_catches_up_without_a_gap_and_is_not_taken_for_a_slow_link() -> None:
    """A minute of sleep at 1000 frames a second: memory stays bounded, and soon every frame is whole again."""
    link = Link(10e6, 0.02, asleep=lambda now: 5 < now < 65)
    held, more = [], training(1000)

    def made(now: float) -> list[AnyFrame]:
        held.append(link.outflow.backlog.size)
        return more(now)

    link.run(70.0, made)
    assert HELD_BYTES / 2 < max(held) < HELD_BYTES + 100_000
    assert link.lag[-1][1] > 69_500
    assert set(range(66_500, 69_500)) <= set(link.raw)


def test_a_link_that_becomes_slow_is_noticed() -> None:
    link, more = Link(10e6, 0.02), training(3000)

    def made(now: float) -> list[AnyFrame]:
        link.rate = 10e6 if now < 3 else SLOW
        return more(now)

    link.run(24.0, made)
    assert max(now - reached / 3000 for now, reached in link.lag if now > 20) < 2.0


def story() -> Iterator[AnyFrame]:
    """A run with all that a folding must not lose: a spike, alerts, marks, states, heartbeats, a second attempt."""
    yield RunStarted(seq=1, run="r")
    for seq in range(2, 1200):
        attempt = 1 + (seq > 800)
        if seq % 200 == 0:
            yield Alert(seq=seq, kind="stall", attempt=attempt)
        elif seq % 270 == 0:
            yield Mark(seq=seq, note=f"at {seq}", attempt=attempt)
        elif seq % 97 == 0:
            yield Curvature(seq=seq, negative_at_least=seq, attempt=attempt)
        else:
            yield Scalars(
                seq=seq, values={"loss": 1e6 if seq == 345 else 1.0, "odd": math.nan}, attempt=attempt
            )
        if seq % 100 == 0:
            yield Heartbeat(seq=seq, attempt=attempt)
    yield RunEnded(seq=1200, attempt=2)


def history() -> list[AnyFrame]:
    """The same as a late joiner gets it: Summaries with what stays beside them, then frames."""
    folds, out, beside = Folds(), [], []
    for frame in story():
        if frame.seq > 1000 or isinstance(frame, RunStarted):
            out.append(frame)
            continue
        if isinstance(frame, Alert | Mark):
            beside.append(frame)
        for summary in folds.add(frame):
            if summary.level == LEVELS[0]:
                out += [summary, *beside]
                beside = []
    return out


@pytest.mark.parametrize("level", [4, 64, 100, 1 << 14])
@pytest.mark.parametrize("source", [lambda: list(story()), history], ids=["frames", "history"])
def test_folding_loses_no_number_no_extreme_and_nothing_that_happened(
    source: Callable[[], list[AnyFrame]], level: int
) -> None:
    frames = source()
    order = Order(frames[0].seq - 1)
    before = Order(frames[0].seq - 1)
    whole = [frame for frame in frames if before.admit(frame) is not None]
    told = [new for frame in folded(folded(frames, 4), level) if (new := order.admit(frame)) is not None]
    assert order.lost == before.lost and order.last == before.last == 1200
    assert len(told) < len(whole)
    for kind in (Alert, Mark, RunStarted, RunEnded):
        assert [f for f in told if isinstance(f, kind)] == [f for f in whole if isinstance(f, kind)]
    states = [[f for f in some if isinstance(f, Curvature | Heartbeat)] for some in (told, whole)]
    assert states[0] and states[0][-1] in states[1][-2:]
    assert {frame.seq for frame in states[1][-2:]} <= {frame.seq for frame in states[0]}
    losses = [f.series["loss"] for f in told if isinstance(f, Summary) and "loss" in f.series]
    assert max(high for _, _, high, _, _, _ in losses) == 1e6
    counted = sum(count for count, *_ in losses)
    assert counted + sum("loss" in f.values for f in told if isinstance(f, Scalars)) == sum(
        f.series["loss"][0] if isinstance(f, Summary) else "loss" in f.values
        for f in whole if isinstance(f, Summary | Scalars) and (isinstance(f, Scalars) or "loss" in f.series)
    )  # fmt: skip
    assert all(f.attempt == (1 if f.seq <= 800 else 2) for f in told)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(100, 20_000), min_size=1, max_size=6))
def test_thinning_again_and_again_keeps_the_order_whole(limits: list[int]) -> None:
    """Whatever the room, and with lines taken away in between."""
    backlog, order = Backlog(), Order()
    frames = list(story())
    part = len(frames) // len(limits) + 1
    for at, limit in enumerate(limits):
        backlog.add(frames[at * part : (at + 1) * part])
        backlog.thin(limit)
        for line in backlog.take(limit // 3):
            frame = decode(line)
            assert frame is not None
            order.admit(frame)
        assert backlog.size == sum(len(line) + 1 for _, line in backlog._rows)
    for line in backlog.take(1 << 30):
        frame = decode(line)
        assert frame is not None and encode(frame) == line
        order.admit(frame)
    assert (order.lost, order.last, backlog.size, bool(backlog)) == (0, 1200, 0, False)
