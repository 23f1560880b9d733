"""History: what a late joiner gets covers every frame once, in bounded memory, however long the run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lsmon.protocol.codec import decode, encode
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.wire import history as room
from lsmon.protocol.wire.history import History
from lsmon.protocol.wire.order import Order

HEADER = RunStarted(seq=1, run="r", name="mlp")


def run(length: int, names: int = 1, attempts: int = 1) -> Iterator[AnyFrame]:
    """Frames as a probe sends them, with an alert every 1000 and the summaries that they complete."""
    folds = Folds()
    folds.add(HEADER)
    for seq in range(2, length + 1):
        attempt = 1 + seq * attempts // (length + 1)
        if seq % 1000 == 0:
            frame: AnyFrame = Alert(seq=seq, step=seq, kind="stall", attempt=attempt)
        else:
            values = {f"s{n}": math.sin(seq + n) for n in range(names)}
            frame = Scalars(seq=seq, step=seq, values=values, attempt=attempt)
        yield frame
        yield from folds.add(frame)


def remembered(length: int, names: int = 1, attempts: int = 1) -> History:
    history = History(HEADER)
    for frame in run(length, names, attempts):
        history.add(frame, encode(frame))
    return history


def pages(history: History, after: int = 0, max_bytes: int = room.PAGE_BYTES) -> list[AnyFrame]:
    """All that is answered, page after page."""
    frames: list[AnyFrame] = []
    while True:
        page = history.page(after, max_bytes)
        frames += [frame for line in page.lines if (frame := decode(line)) is not None]
        if not page.more:
            return frames
        assert page.upto > after
        after = page.upto


def admitted(frames: list[AnyFrame], after: int = 0) -> tuple[list[AnyFrame], Order]:
    order = Order(after)
    return [kept for frame in frames if (kept := order.admit(frame)) is not None], order


def covered(frames: list[AnyFrame]) -> list[int]:
    """The numbers that these frames stand for; alerts only when by themselves."""
    numbers: list[int] = []
    for frame in frames:
        if isinstance(frame, Summary):
            numbers += range(frame.first_seq, frame.seq + 1)
        elif not numbers or frame.seq > numbers[-1]:
            numbers.append(frame.seq)
    return numbers


def test_a_short_run_comes_back_frame_by_frame() -> None:
    frames = pages(remembered(1500))
    assert isinstance(frames[0], RunStarted)
    assert [frame.seq for frame in frames] == list(range(1, 1501))


@pytest.mark.parametrize("length", [9000, 40_000])
@pytest.mark.parametrize("names", [1, 8])
def test_a_long_run_comes_coarse_then_fine_then_raw_without_gap_or_overlap(length: int, names: int) -> None:
    history = remembered(length, names)
    frames, order = admitted(pages(history))
    assert covered(frames) == list(range(1, length + 1))
    assert order.last == length and order.lost == 0
    levels = [frame.level if isinstance(frame, Summary) else 1 for frame in frames if frame.seq % 1000]
    assert levels[1:] == sorted(levels[1:], reverse=True) and levels[-1] == 1


def test_alerts_survive_the_folding_of_what_is_around_them() -> None:
    frames, _ = admitted(pages(remembered(40_000)))
    assert [frame.seq for frame in frames if isinstance(frame, Alert)] == list(range(1000, 40_001, 1000))


def test_spikes_survive_every_level() -> None:
    """Minimum and maximum over the history equal those over all values that were sent."""
    frames, _ = admitted(pages(remembered(30_000)))
    lows = [f.series["s0"][1] for f in frames if isinstance(f, Summary) and "s0" in f.series]
    highs = [f.series["s0"][2] for f in frames if isinstance(f, Summary) and "s0" in f.series]
    raw = [f.values["s0"] for f in frames if isinstance(f, Scalars)]
    sent = [math.sin(seq) for seq in range(2, 30_001) if seq % 1000]
    assert min(lows + raw) == min(sent) and max(highs + raw) == max(sent)


@pytest.mark.parametrize(("names", "attempts"), [(1, 1), (200, 1), (20, 400)])
def test_memory_is_bounded(names: int, attempts: int) -> None:
    """Within 4 MiB and one row, also when every name of 200 is in every frame, or attempts cannot be folded."""
    history = History(HEADER)
    worst = 0
    for frame in run(80_000 if names == 1 else 6_000, names, attempts):
        history.add(frame, encode(frame))
        worst = max(worst, history.held)
    assert worst <= (4 << 20) + 50_000


def test_the_oldest_leave_where_a_summary_stands_for_the_header_alone() -> None:
    """As when the first step that is told opens a new attempt."""
    history, folds = History(HEADER), Folds()
    folds.add(HEADER)
    for seq in range(2, 25_000):
        frame = Scalars(seq=seq, step=seq, attempt=HEADER.attempt + 1, values={"loss": 1.0})
        history.add(frame, encode(frame))
        for summary in folds.add(frame):
            history.add(summary, encode(summary))
    frames, order = admitted(pages(history))
    assert covered(frames) == list(range(1, 25_000)) and order.lost == 0


def test_the_coarsest_level_is_thinned_rather_than_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for eight coarse rows, and a run of twenty: all of it is still there."""
    monkeypatch.setattr(room, "COARSE_BYTES", 8 * 400)
    monkeypatch.setattr(room, "FINE_BYTES", 40_000)
    monkeypatch.setattr(room, "RAW_BYTES", 100_000)
    frames, order = admitted(pages(remembered(80_000)))
    assert covered(frames) == list(range(1, 80_001)) and order.lost == 0
    assert max(frame.level for frame in frames if isinstance(frame, Summary)) > 4096


def test_a_gap_is_filled_from_where_it_began() -> None:
    history = remembered(30_000)
    frames, order = admitted(pages(history, after=29_000), after=29_000)
    assert [frame.seq for frame in frames] == list(range(29_001, 30_001))
    assert pages(history, after=30_000) == [] == pages(history, after=1 << 70)
    frames, order = admitted(pages(history, after=5_000), after=5_000)
    assert covered(frames) == list(range(5_001, 30_001)) and order.lost == 0


def test_pages_are_bounded_and_join_without_a_seam() -> None:
    history = remembered(30_000)
    small, _ = admitted(pages(history, max_bytes=2000))
    whole, _ = admitted(pages(history, max_bytes=1 << 30))
    assert small == whole
    assert sum(map(len, history.page(0).lines)) <= room.PAGE_BYTES


def test_without_summaries_the_oldest_frames_are_lost_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "RAW_FRAMES", 100)
    history = History(HEADER)
    history._raw._max_rows = 100
    for seq in range(2, 302):
        history.add(frame := Scalars(seq=seq, values={"loss": 1.0}), encode(frame))
    page = history.page(0)
    assert page.lost == 200
    frames, order = admitted(pages(history))
    assert [frame.seq for frame in frames] == [1, *range(202, 302)] and order.lost == 200


def test_a_summary_that_reaches_back_counts_only_what_is_new() -> None:
    """48 of its 64 frames have come already, so a quarter of its samples are left; extremes and mean stay."""
    order = Order(48)
    row = Summary(
        seq=64,
        first_seq=1,
        step=64,
        series={"loss": (60, 0.5, 2.0, 1.0, 0.7, 4), "val": (1, 3.0, 3.0, 3.0, 3.0, 0)},
    )
    clipped = order.admit(row)
    assert isinstance(clipped, Summary) and clipped.first_seq == 49
    assert clipped.series == {"loss": (15, 0.5, 2.0, 1.0, 0.7, 1), "val": (1, 3.0, 3.0, 3.0, 3.0, 0)}
    assert Order(0).admit(row) == row


@pytest.mark.parametrize("beyond", [1, 2, 1000])
def test_a_broken_summary_that_begins_after_its_end_is_taken_for_one_frame(beyond: int) -> None:
    kept = Order().admit(Summary(seq=64, first_seq=64 + beyond, series={"loss": (3, 0.5, 2.0, 1.0, 0.7, 0)}))
    assert isinstance(kept, Summary) and kept.first_seq == 64
    assert kept.series["loss"] == (3, 0.5, 2.0, 1.0, 0.7, 0)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_order_never_lets_a_number_through_twice(data: st.DataObject) -> None:
    """Whatever comes, the numbered frames that come out ascend, and Summaries do not overlap what went before."""
    seqs = st.integers(-5, 300)
    made = st.one_of(
        st.builds(lambda seq: Scalars(seq=seq), seqs),
        st.builds(lambda seq: Mark(seq=seq), seqs),
        st.builds(lambda seq: RunEnded(seq=seq), seqs),
        st.builds(lambda first, seq: Summary(first_seq=first, seq=seq), seqs, seqs),
    )
    order = Order()
    last = 0
    seen: set[int] = set()
    for frame in data.draw(st.lists(made, max_size=60)):
        kept = order.admit(frame)
        if kept is None:
            continue
        if isinstance(kept, Mark):
            assert kept.seq not in seen
            seen.add(kept.seq)
        else:
            assert (kept.first_seq if isinstance(kept, Summary) else kept.seq) > last
            assert kept.seq > last
        last = max(last, kept.seq)
    assert order.last == last and 0 <= order.lost <= max(last, 0)


@pytest.mark.parametrize("at", [100, 20_100])
def test_the_last_measurement_is_there_however_long_ago_it_was(at: int) -> None:
    """A late joiner gets the last Curvature and the last Layers whole, in their place, and older ones folded."""
    history = History(HEADER)
    for frame in run(40_000):
        if frame.seq in (at - 50, at) and isinstance(frame, Scalars):
            frame = Curvature(seq=frame.seq, step=frame.seq, lanczos_steps=frame.seq)
        elif frame.seq == at + 1 and isinstance(frame, Scalars):
            frame = Layers(seq=frame.seq, step=frame.seq, names=("in", "out"))
        history.add(frame, encode(frame))
    frames, order = admitted(pages(history))
    states = [frame for frame in frames if isinstance(frame, Curvature | Layers)]
    assert [frame.seq for frame in states] == [at, at + 1]
    assert order.lost == 0 and order.last == 40_000
    numbers = [frame.seq for frame in frames if not isinstance(frame, Curvature | Layers | Alert)]
    assert numbers == sorted(numbers)


def test_a_heartbeat_that_is_older_than_what_was_shown_is_left_out() -> None:
    """It waited while history was fetched; what it says of the probe is not the last word any more."""
    order = Order()
    kept = [
        order.admit(frame)
        for frame in (
            HEADER, Summary(first_seq=2, seq=64), Heartbeat(seq=10), Heartbeat(seq=64), Scalars(seq=65),
            Heartbeat(seq=64), Heartbeat(seq=66), Scalars(seq=67),
        )
    ]  # fmt: skip
    assert [frame.seq if frame else None for frame in kept] == [1, 64, None, 64, 65, None, 66, 67]
    assert order.lost == 1


def test_what_is_drawn_over_time_has_a_past() -> None:
    """Densities and layers from the first on, evenly thinned, in their place and within their share of the memory."""
    history, mass = History(HEADER), tuple(1 / 200 for _ in range(200))
    grid = tuple(i / 7 for i in range(200))
    for frame in run(60_000):
        if frame.seq % 300 == 7 and isinstance(frame, Scalars):
            frame = Curvature(seq=frame.seq, step=frame.seq, density_grid=grid, density_mass=mass)
        elif frame.seq % 300 == 8 and isinstance(frame, Scalars):
            frame = Layers(
                seq=frame.seq, step=frame.seq, names=("in", "out"), values={"activation": (1.0, 2.0)}
            )
        history.add(frame, encode(frame))
    assert history.held <= 4 << 20
    frames, order = admitted(pages(history))
    assert order.lost == 0 and order.last == 60_000
    for kind in (Curvature, Layers):
        steps = [frame.seq for frame in frames if isinstance(frame, kind)]
        assert len(steps) >= 20 and len(set(steps)) == len(steps)
        gaps = [after - before for before, after in pairwise(steps)]
        assert steps[0] < 600 and max(gaps) <= 60_000 / 10
    after = 30_000
    later, _ = admitted(pages(history, after), after)
    assert all(frame.seq > after for frame in later)
    assert any(isinstance(frame, Curvature) and frame.seq < 40_000 for frame in later)
