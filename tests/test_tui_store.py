"""The store folds frames deterministically, in bounded memory, and forgets neither spikes nor losses."""

from __future__ import annotations

import math
import random
from array import array
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from lsmon.protocol.fold import Fold, Folds
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.names import MOST_NAMES
from lsmon.tui.joined import joined
from lsmon.tui.series import Series
from lsmon.tui.store import Store
from lsmon.tui.view import EMPTY, Track, View


def folded(*frames: AnyFrame) -> View:
    store = Store()
    for frame in frames:
        store.fold(frame)
    return store.view()


def losses(count: int, first: int = 1) -> list[Scalars]:
    return [
        Scalars(seq=i, step=i, wall=float(i), values={"loss": float((i * 37) % 101)})
        for i in range(first, first + count)
    ]


def column(data: bytes) -> list[float]:
    return list(array("d", data))


def test_an_empty_store_gives_the_empty_view() -> None:
    """Nothing folded is the constant that the screen starts with."""
    assert Store().view() == EMPTY


def test_the_same_frames_give_equal_views_however_they_are_cut() -> None:
    """A view depends on the frames alone, not on how often views were taken in between."""
    frames = losses(10_000)
    watched = Store()
    for frame in frames:
        watched.fold(frame)
        if frame.seq % 97 == 0:
            watched.view()
    assert watched.view() == folded(*frames)


_SOME = st.lists(st.floats(-1e300, 1e300) | st.just(math.nan) | st.just(-0.0), min_size=1, max_size=60)


@given(st.lists(st.tuples(st.integers(1, 2), _SOME), max_size=40))
@settings(max_examples=200, deadline=None)
def test_samples_at_once_are_samples_one_by_one(stretches: list[tuple[int, list[float]]]) -> None:
    """To the last bit, over buckets that fill and double, attempts, and values that are none."""
    one_by_one, at_once = Series("loss", cap=16), Series("loss", cap=16)
    step = 0
    for attempt, values in stretches:
        steps = list(range(step, step + len(values)))
        walls = [at + 0.5 for at in steps]
        for at, wall, value in zip(steps, walls, values, strict=True):
            one_by_one.add(at, wall, attempt, value, math.nan, "")
        at_once.add_all(steps, walls, attempt, values)
        step += len(values)
    assert at_once.track() == one_by_one.track()


def _greedy(sizes: list[int], attempts: list[int], stride: int) -> list[int]:
    """Where buckets begin when from the left each takes in the next as long as they hold at most the stride together."""
    starts, held = [0], sizes[0]
    for at in range(1, len(sizes)):
        if held + sizes[at] <= stride and attempts[at] == attempts[at - 1]:
            held += sizes[at]
        else:
            starts.append(at)
            held = sizes[at]
    return starts


@given(
    st.lists(st.integers(90, 100), min_size=5, max_size=40) | st.lists(st.integers(1, 100), min_size=12),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_neighbours_join_up_to_the_stride(sizes: list[int], resumed: bool) -> None:
    """Equal or not, of one attempt or two: in pairs at once, or one after another."""
    assume(sum(sizes) >= 400)  # with less than the stride in all, attempts join too
    attempts = [1 + (resumed and 2 * at > len(sizes)) for at in range(len(sizes))]
    reals, wholes = array("d"), array("q")
    for at, (size, attempt) in enumerate(zip(sizes, attempts, strict=True)):
        reals.extend((at, at, at, at, at, size, -1.0))
        wholes.extend((size, attempt))
    reals, _, stride = joined(reals, wholes, 100, 0)
    assert stride == 200
    assert reals[::7].tolist() == _greedy(sizes, attempts, stride)


@pytest.mark.parametrize("seed", range(6))
def test_frames_at_once_are_frames_one_by_one(seed: int) -> None:
    """Folded rows, names that come and go, errors, words, resumes, holes and measurements, however they are cut."""
    chance = random.Random(seed)
    frames: list[AnyFrame] = []
    seq = attempt = 1
    while len(frames) < 10_000:
        names = chance.choice((("loss",), ("loss", "lr"), ("lr", "loss"), ("val/loss",)))
        extra: dict[str, Any] = chance.choice(
            ({}, {}, {"errors": {"loss": 0.1}}, {"words": {"loss": "unreliable"}})
        )
        for _ in range(chance.randint(1, 200)):
            seq += 1 + (chance.random() < 0.01)
            values = {name: chance.gauss(0, 1) for name in names}
            frames.append(Scalars(seq=seq, step=seq, wall=seq / 7, attempt=attempt, values=values, **extra))
        size = chance.choice((0, 0, 4, 64, 4096))
        for _ in range(size and chance.randint(1, 200)):
            first, seq = seq + 1, seq + size
            odds = [chance.choice((1, size)) if chance.random() < 0.01 else 0 for _ in names]
            rows = {
                name: (
                    size - odd,
                    -chance.random(),
                    chance.random(),
                    chance.gauss(0, 1),
                    chance.random(),
                    odd,
                )
                for name, odd in zip(names, odds, strict=True)
            }
            frames.append(
                Summary(
                    seq=seq, first_seq=first, step=seq, first_step=first, wall=seq / 7, first_wall=first / 7,
                    attempt=attempt, series=dict(chance.sample(sorted(rows.items()), chance.randint(1, len(rows)))),
                )
            )  # fmt: skip
        seq += 1
        frames.append(Curvature(seq=seq, step=seq - 5, wall=seq / 7, attempt=attempt, top=(Ritz(seq, 0.1),)))
        frames.append(Heartbeat(seq=seq, step=seq, wall=seq / 7, attempt=attempt, share=0.01))
        attempt += chance.random() < 0.02
    one_by_one, at_once = Store(), Store()
    for frame in frames:
        one_by_one.fold(frame)
    cuts = sorted({0, len(frames), *(chance.randrange(len(frames)) for _ in range(60))})
    for first, last in pairwise(cuts):
        at_once.fold_all(frames[first:last])
    assert at_once.view() == one_by_one.view()


def test_views_differ_when_one_sample_differs() -> None:
    """Equality is not vacuous."""
    frames = losses(1000)
    other = [*frames[:-1], Scalars(seq=1000, step=1000, wall=1000.0, values={"loss": 1e6})]
    assert folded(*frames) != folded(*other)


def test_buckets_stay_bounded_and_keep_every_spike() -> None:
    """A hundred thousand samples take at most the cap, and the one spike among them is still the maximum."""
    series = Series("loss", cap=256)
    for i in range(100_000):
        series.add(i, float(i), 1, 1e9 if i == 51_234 else 1.0, math.nan, "")
    track = series.track()
    assert 128 <= len(track) <= 256
    assert max(column(track.highs)) == 1e9
    assert sum(array("q", track.counts)) == 100_000
    assert column(track.firsts)[0] == 0
    assert column(track.steps)[-1] == 99_999


def test_a_track_stays_what_it_was() -> None:
    """It reads the series' own rows: more samples, more errors, and joined buckets change nothing in it."""
    series, held = Series("loss", cap=64), []
    for i in range(2000):
        series.add(i, float(i), 1 + i // 900, math.sin(i), 0.1 if i > 500 else math.nan, "")
        track = series.track()
        held.append((track, track._columns()))
    assert all(track._columns() == columns for track, columns in held)
    assert len({columns for _, columns in held}) == 2000


def test_a_moved_track_has_its_places_and_the_rest() -> None:
    """As it is drawn over the time, or from a step on: other steps, the same values."""
    series = Series("loss", cap=64)
    for i in range(150):
        series.add(i, float(i), 1, float(i), 0.5, "")
    track = series.track()
    steps = array("d", range(len(track))).tobytes()
    moved = track.moved(steps, steps, 3)
    assert len(moved) == len(track) - 3
    assert moved.firsts == moved.steps == steps[3 * 8 :]
    assert (moved.lows, moved.errors, moved.counts) == (
        track.lows[3 * 8 :], track.errors[3 * 8 :], track.counts[3 * 8 :],
    )  # fmt: skip
    assert moved.value == track.value
    assert moved != track


def test_every_closed_bucket_holds_the_same_number_of_samples() -> None:
    """The buckets are those of one fixed stride, as if it had been known from the start."""
    series = Series("loss", cap=64)
    for i in range(1000):
        series.add(i, float(i), 1, float(i), math.nan, "")
    counts = list(array("q", series.track().counts))
    assert set(counts[:-1]) == {16}


def test_summaries_and_the_frames_they_fold_make_the_same_buckets() -> None:
    """Fed with rows of 64 or with the samples themselves, a series at a stride of 64 or more is the same."""
    raw, folds = Series("loss", cap=64), Series("loss", cap=64)
    fold = Fold(64)
    for frame in losses(64 * 200):
        raw.add(frame.step, frame.wall, frame.attempt, frame.values["loss"], math.nan, "")
        row = fold.add(frame)
        if row is not None:
            folds.add_folded(row.first_step, row.step, row.wall, row.attempt, row.series["loss"])
    one, two = raw.track(), folds.track()
    assert (one.firsts, one.steps, one.walls) == (two.firsts, two.steps, two.walls)
    assert (one.lows, one.highs, one.counts) == (two.lows, two.highs, two.counts)
    # The mean travels with seven digits.
    assert all(
        math.isclose(a, b, rel_tol=1e-6) for a, b in zip(column(one.totals), column(two.totals), strict=True)
    )
    assert one.value == two.value


def test_coarse_then_fine_history_joins_without_a_hole() -> None:
    """A late joiner gets rows of 4096, rows of 64 and frames; all samples are counted once."""
    coarse = Summary(
        seq=4096, step=4096, first_seq=1, first_step=1, level=4096, series={"loss": (4096, 0, 9, 3, 2, 0)}
    )
    fine = Summary(
        seq=4160, step=4160, first_seq=4097, first_step=4097, level=64, series={"loss": (64, 0, 5, 2, 2, 0)}
    )
    view = folded(coarse, fine, *losses(10, first=4161))
    assert view.lost == 0
    assert sum(array("q", view.series["loss"].counts)) == 4096 + 64 + 10


def test_nan_is_counted_and_remembered() -> None:
    """A NaN does not poison the buckets, and the view says when it was."""
    view = folded(
        Scalars(seq=1, step=10, values={"loss": 1.0}), Scalars(seq=2, step=20, values={"loss": math.nan}),
    )  # fmt: skip
    track = view.series["loss"]
    assert math.isnan(track.value)
    assert (track.odd, track.odd_step) == (1, 20)
    again = folded(
        Scalars(seq=1, step=10, values={"loss": 1.0}), Scalars(seq=2, step=20, values={"loss": math.nan})
    )
    assert view == again


def test_the_view_tells_since_when_a_value_is_nan() -> None:
    """The beginning of the last stretch, however long it is."""
    values = [1.0, math.nan, 1.0, math.nan, math.nan, math.nan]
    frames = [Scalars(seq=i + 1, step=10 * i, values={"loss": value}) for i, value in enumerate(values)]
    assert folded(*frames).series["loss"].odd_step == 30


def test_a_series_of_nothing_but_nan_stays_bounded() -> None:
    """Non-finite samples take part in the folding like any other."""
    series = Series("loss", cap=64)
    for i in range(10_000):
        series.add(i, float(i), 1, math.inf, math.nan, "")
    track = series.track()
    assert len(track) <= 64
    assert track.odd == 10_000


def test_a_hole_in_the_numbers_is_a_loss() -> None:
    """Missing frames are counted and placed; heartbeats, which repeat a number, are not taken for frames."""
    view = folded(*losses(5), Heartbeat(seq=5, step=5), *losses(3, first=10))
    assert (view.lost, view.lost_step) == (4, 10)


def test_an_attempt_that_starts_over_drops_nothing() -> None:
    """After a resume the step goes back, and buckets of two attempts never join."""
    first = losses(100)
    second = [Scalars(seq=100 + i, step=50 + i, attempt=2, values={"loss": 1.0}) for i in range(1, 51)]
    view = folded(*first, *second)
    assert (view.attempt, view.step) == (2, 100)
    assert sum(array("q", view.series["loss"].counts)) == 150


def test_endless_attempts_stay_bounded() -> None:
    """A loop that resumes at every step cannot fill the memory."""
    series = Series("loss", cap=64)
    for i in range(5_000):
        series.add(i, float(i), i, 1.0, math.nan, "")
    assert len(series.track()) <= 64


def test_names_beyond_the_limit_are_counted_not_kept() -> None:
    """A training that logs a new name each step is told so."""
    view = folded(*(Scalars(seq=i + 1, step=i, values={f"x/{i}": 1.0}) for i in range(MOST_NAMES + 7)))
    assert len(view.series) == MOST_NAMES
    assert view.refused == 7


def test_a_well_known_name_is_kept_however_many_others_came_before() -> None:
    """What a loop logs under ever new names does not keep the sharpness off the screen."""
    junk = [Scalars(seq=i + 1, step=i, values={f"x/{i}": 1.0}) for i in range(MOST_NAMES + 7)]
    view = folded(*junk, Scalars(seq=MOST_NAMES + 8, step=MOST_NAMES + 7, values={"hessian/max": 3.0}))
    assert view.series["hessian/max"].value == 3.0
    assert view.refused == 7


def test_the_doubt_travels_with_the_value() -> None:
    """Residuals become errors, unconverged values get words, and both go when the next value has none."""
    curvature = Curvature(
        seq=1, step=1, top=(Ritz(3.0, 0.5, False),), bottom=(Ritz(-1.0, 0.01, True),), negative_at_least=2
    )
    view = folded(curvature)
    assert view.series["hessian/max"].error == 0.5
    assert "not converged" in view.series["hessian/max"].words
    assert view.series["hessian/min"].words == ""
    noted = Scalars(
        seq=2,
        step=2,
        values={"temperature/noise": 1.0},
        errors={"temperature/noise": 0.1},
        words={"temperature/noise": "unreliable"},
    )
    plain = Scalars(seq=3, step=3, values={"temperature/noise": 1.0})
    assert folded(noted).series["temperature/noise"].words == "unreliable"
    after = folded(noted, plain).series["temperature/noise"]
    assert after.words == ""
    assert math.isnan(after.error)


def test_header_events_and_end_are_kept() -> None:
    """Who trains, what happened, how it ended."""
    view = folded(
        RunStarted(seq=1, wall=5.0, name="run"), Alert(seq=2, step=3, kind="loss_spike"),
        Mark(seq=3, step=4, note="hello"), Heartbeat(seq=3, step=4, dropped=2, rate=7.0),
        RunEnded(seq=4, step=5, wall=9.0, reason="error", error="boom", dropped=3),
    )  # fmt: skip
    assert (view.header.name, view.started, view.wall) == ("run", 5.0, 9.0)
    assert [alert.kind for alert in view.alerts] == ["loss_spike"]
    assert [mark.note for mark in view.marks] == ["hello"]
    assert view.ended
    assert (view.end.error, view.dropped, view.rate, view.lost) == ("boom", 3, 7.0, 0)


def test_the_rate_is_measured_when_no_heartbeat_tells_it() -> None:
    """A file without heartbeats still shows steps a second."""
    view = folded(*(Scalars(seq=i, step=i, wall=i / 50, values={"loss": 1.0}) for i in range(1, 600)))
    assert math.isclose(view.rate, 50, rel_tol=0.01)


def test_a_track_equals_itself_with_nan() -> None:
    """The comparison of a replay with the live screen must not fail on a NaN."""
    assert Track("loss", value=math.nan) == Track("loss", value=math.nan)
    assert Track("loss", value=math.nan) != Track("loss", value=1.0)


def test_a_measurement_of_an_earlier_step_does_not_set_the_run_back() -> None:
    """Curvature is spread over many steps and carries the one of its snapshot; a resume does go back."""
    store = Store()
    store.fold(Scalars(seq=1, step=500, values={"loss": 1.0}))
    store.fold(Curvature(seq=2, step=60, top=(Ritz(2.0, 0.1),)))
    assert store.view().step == 500
    store.fold(Scalars(seq=3, step=100, attempt=2, values={"loss": 1.0}))
    assert store.view().step == 100


def test_a_late_measurement_leaves_the_newest_value() -> None:
    """A complete measurement of step 60 that is done behind the sharpness of step 100: both are drawn, and λ_max is that
    of step 100; after a resume it is the new one's."""
    sharpness = Curvature(seq=1, step=100, top=(Ritz(3.0, 0.1),))
    complete = Curvature(seq=2, step=60, top=(Ritz(2.0, 0.1),), bottom=(Ritz(-1.0, 0.1),))
    series = folded(sharpness, complete).series
    top, bottom = series["hessian/max"], series["hessian/min"]
    assert (top.value, top.step, len(top.buckets)) == (3.0, 100, 2)
    assert (bottom.value, bottom.step) == (-1.0, 60)
    again = Curvature(seq=3, step=70, attempt=2, top=(Ritz(4.0, 0.1),))
    assert folded(sharpness, complete, again).series["hessian/max"].value == 4.0


@pytest.mark.parametrize("cap", [4096, 8, 6])
def test_a_late_measurement_has_its_place_among_the_others(cap: int) -> None:
    """As if it had come in time, also where samples share buckets; a view given before stays as it was."""
    series = Series("hessian/max", cap)
    for step in range(10, 310, 10):
        series.add(step, 1000.0 + step, 1, float(step), 0.1, "")
    before = series.track()
    steps, counts = before.steps, sum(array("q", before.counts))
    series.add(103, 1400.0, 1, 9000.0, 0.5, "")
    track = series.track()
    assert (before.steps, sum(array("q", before.counts))) == (steps, counts)
    assert sum(array("q", track.counts)) == counts + 1
    assert list(array("d", track.steps)) == sorted(array("d", track.steps))
    assert (track.value, track.step) == (300.0, 300)
    (at,) = [place for place, high in enumerate(array("d", track.highs)) if high == 9000.0]
    assert array("d", track.firsts)[at] <= 103 <= array("d", track.steps)[at]
    for step in range(310, 250, -3):
        series.add(step, 1500.0, 1, float(step), 0.1, "")
        assert list(array("d", series.track().steps)) == sorted(array("d", series.track().steps))


def test_a_late_sample_that_is_not_finite_is_counted() -> None:
    series = Series("loss")
    for step in (10, 20, 30):
        series.add(step, float(step), 1, 1.0, math.nan, "")
    series.add(15, 40.0, 1, math.nan, math.nan, "")
    track = series.track()
    assert (track.value, track.step, track.odd, track.odd_step) == (1.0, 30, 1, 15)


def test_a_late_measurement_among_folded_rows_is_in_the_one_it_falls_into() -> None:
    store = Store()
    for first in (1, 65, 129):
        row = {"hessian/max": (2, 1.0, 3.0, 2.0, 3.0, 0)}
        store.fold(Summary(seq=first + 63, first_seq=first, step=first + 63, first_step=first, series=row))
    store.fold(Curvature(seq=193, step=80, top=(Ritz(9.0, 0.1),)))
    track = store.view().series["hessian/max"]
    assert list(array("d", track.highs)) == [3.0, 9.0, 3.0]
    assert list(array("d", track.steps)) == [64, 128, 192]


def test_what_was_folded_has_the_steps_at_which_it_was_measured() -> None:
    """After a seek as live: the cursor reads the sharpness of the step, and not that which came while it was there."""
    frames: list[AnyFrame] = []
    for seq in range(1, 641):
        late = seq % 100 == 0
        frames.append(
            Curvature(seq=seq, step=seq - 70, wall=float(seq), top=(Ritz(float(seq), 0.1),))
            if late
            else Scalars(seq=seq, step=seq, wall=float(seq), values={"loss": 1.0})
        )
    live, at_once, each = Store(), Store(), Store()
    live.fold_all(frames)
    folds = Folds()
    rows = [row for frame in frames for row in folds.add(frame) if row.level == 64]
    at_once.fold_all(rows)
    for row in rows:
        each.fold(row)
    for store in (live, at_once, each):
        assert list(array("d", store.view().series["hessian/max"].steps)) == [30, 130, 230, 330, 430, 530]


def test_late_numbers_have_their_place_whether_folded_at_once_or_each() -> None:
    """Also those without a doubt of their own, and those that come among others of their kind."""
    places = [*range(1, 20), 7, 9, 20, 21, 5, *range(22, 30)]
    frames = [
        Scalars(seq=i, step=step, wall=float(i), values={"regime": float(step)})
        for i, step in enumerate(places, 1)
    ]
    for cut in (0, 19, 20, 22, len(frames)):
        store = Store()
        store.fold_all(frames[:cut])
        store.fold_all(frames[cut:])
        track = store.view().series["regime"]
        assert track == folded(*frames).series["regime"]
        assert list(array("d", track.steps)) == sorted(places)
        assert track.value == 29.0


def test_a_copy_of_what_a_summary_brought_is_state_and_not_counted_again() -> None:
    store = Store()
    store.fold(Summary(seq=64, step=64, first_seq=1, series={"hessian/max": (2, 1.0, 3.0, 2.0, 3.0, 0)}))
    store.fold(Curvature(seq=60, step=60, top=(Ritz(3.0, 0.1),)))
    view = store.view()
    assert view.curvature.top[0].value == 3.0
    assert sum(array("q", view.series["hessian/max"].counts)) == 2


def test_what_a_sharpness_was_measured_on_is_said_beside_it() -> None:
    """A thinned reference batch makes it too large; that must not be known to the file alone."""
    notes = ("171 of 512 examples: λ_max at most 46% too high", "λ_min not converged: it may be lower")
    top, bottom = (Ritz(2.0, 0.001, True),), (Ritz(-1.0, 0.5, False),)
    view = folded(Curvature(seq=1, step=1, top=top, bottom=bottom, notes=notes))
    assert view.series["hessian/max"].words == notes[0]
    assert view.series["hessian/min"].words == "not converged"
    unchecked = "not yet checked against a finite difference"
    late = folded(Curvature(seq=1, step=1, top=top, batch=512, notes=(unchecked, notes[0])))
    assert late.series["hessian/max"].words == f"{notes[0]}; {unchecked}"
    bare = folded(Curvature(seq=1, step=1, top=(Ritz(2.0, 1.0, False),), batch=4, notes=(unchecked,)))
    assert bare.series["hessian/max"].words == f"4 examples; not converged; {unchecked}"
