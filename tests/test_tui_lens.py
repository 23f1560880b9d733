"""How curves are looked at: over steps, time and tokens, zoomed, panned, and read at a step; against plain reckoning."""

from __future__ import annotations

import math
from array import array

import pytest

from lsmon.protocol.frames import Curvature, Ritz, Scalars
from lsmon.tui.abscissa import Abscissa, gap, label, next_kind
from lsmon.tui.axes import StepAxis
from lsmon.tui.lens import LENS, Lens, extent
from lsmon.tui.store import Store
from lsmon.tui.view import View, read

START = 1_790_000_000.0


def run(last: int = 1000, *, tokens: bool = True, secs: float = 0.5) -> View:
    """A step takes half a second, those after step 500 a whole one; 512 tokens a step."""
    store = Store()
    for step in range(last + 1):
        wall = START + secs * (step + max(step - 500, 0))
        values = {"loss": 1.0 / (1 + step)}
        if tokens:
            values["tokens"] = 512.0 * step
        store.fold(Scalars(seq=step + 1, step=step, wall=wall, values=values))
    return store.view()


VIEW = run()


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        ("step", lambda step: step),
        ("elapsed", lambda step: 0.5 * (step + max(step - 500, 0))),
        ("clock", lambda step: START + 0.5 * (step + max(step - 500, 0))),
        ("tokens", lambda step: 512 * step),
    ],
)
def test_steps_lie_where_their_samples_came(kind: str, place: object) -> None:
    """There and back, for single steps and for whole tracks."""
    assert callable(place)
    over = Abscissa.of(VIEW, kind)  # type: ignore[arg-type]
    for step in (0, 1, 300, 500, 777, 1000):
        assert over.at(step) == pytest.approx(place(step))
        assert over.step_at(place(step)) == step
    track = over.over(VIEW.series["loss"])
    lasts = array("d", VIEW.series["loss"].steps)
    assert array("d", track.steps).tolist() == pytest.approx([place(step) for step in lasts])
    assert track.totals == VIEW.series["loss"].totals


def test_a_run_without_tokens_is_not_asked_for_them() -> None:
    """The key goes round what there is; what is not there falls back to steps."""
    plain = run(10, tokens=False)
    kinds = ["step"]
    for _ in range(3):
        kinds.append(next_kind(plain, kinds[-1]))  # type: ignore[arg-type]
    assert kinds == ["step", "elapsed", "clock", "step"]
    assert next_kind(VIEW, "clock") == "tokens"
    assert Abscissa.of(plain, "tokens") == Abscissa()
    assert Abscissa.of(View(), "clock") == Abscissa()


def test_after_a_resume_a_step_lies_where_the_latest_attempt_was() -> None:
    """Steps 0 to 99, then 60 to 79 again, later."""
    store = Store()
    path = [*((step, 1) for step in range(100)), *((step, 2) for step in range(60, 80))]
    for seq, (step, attempt) in enumerate(path, 1):
        store.fold(
            Scalars(seq=seq, step=step, wall=START + seq, attempt=attempt, values={"loss": float(attempt)})
        )
    over = Abscissa.of(store.view(), "elapsed")
    assert [over.at(step) for step in (0, 59, 60, 79)] == [0.0, 59.0, 100.0, 119.0]
    assert [read(store.view().series["loss"], step).value for step in (59, 60, 79, 90)] == [
        1.0,
        2.0,
        2.0,
        2.0,
    ]


def test_a_measurement_lies_at_the_time_of_its_step() -> None:
    """However late it came; one of an attempt that was left stays before what came after it."""
    store = Store()
    path = [*((step, 1) for step in range(100)), *((step, 2) for step in range(60, 120))]
    for at, (step, attempt) in enumerate(path):
        wall = START + at
        store.fold(Scalars(step=step, wall=wall, attempt=attempt, values={"loss": 1.0}))
        if at % 30 == 29:
            measured = Curvature(step=step - 10, wall=wall, attempt=attempt, top=(Ritz(1.0, 0.1, True),))
            store.fold(measured)
    view = store.view()
    track = Abscissa.of(view, "elapsed").over(view.series["hessian/max"])
    assert array("d", view.series["hessian/max"].steps).tolist() == [19.0, 49.0, 79.0, 69.0, 99.0]
    # Of step 79 in the attempt that was left only the time is known at which its measurement came.
    assert array("d", track.steps).tolist() == [19.0, 49.0, 89.0, 109.0, 139.0]


@pytest.mark.parametrize("zoom", [0, 1, 3, 9])
@pytest.mark.parametrize("dots", [8, 90, 400])
def test_the_newest_is_in_sight_near_the_right_edge(zoom: int, dots: int) -> None:
    """Whatever the zoom: less than a fifth of the width is left free, and about a 2^zoom-th of the run is seen."""
    lens = Lens(zoom=zoom)
    axis = lens.axis(VIEW, Abscissa(), dots)
    assert 0 <= axis.column(VIEW.step) < dots
    span = axis.width * dots
    assert 1000 / 2**zoom <= span * 1.15
    if 1000 / 2**zoom > 20:
        assert axis.column(VIEW.step) >= dots * 0.75 - 2
        assert span <= 1000 / 2**zoom * 1.2 * dots / (dots - 1)


def test_a_window_stands_still_while_a_tenth_of_it_is_filled() -> None:
    """So a terminal repaints the new end only: at most a dozen moves while the run fills a whole window."""
    starts = []
    for last in range(100_000, 101_000, 10):
        starts.append(StepAxis.within(0.0, float(last), 100, 1000.0, float(last)).first)
    assert len(set(starts)) <= 12
    assert starts == sorted(starts)


def test_panning_goes_back_by_half_windows_and_forward_to_the_newest() -> None:
    """Not beyond the first step; at the newest it follows again."""
    lens, seen = Lens(zoom=3), []
    for _ in range(30):
        lens = lens.panned(VIEW, -1, 100)
        assert lens.end is not None
        seen.append(lens.end)
    axis = lens.axis(VIEW, Abscissa(), 100)
    assert axis.first == 0.0 and seen == sorted(seen, reverse=True) and seen[-1] == seen[-2]
    assert seen[0] == pytest.approx(1000 - axis.width * 50, abs=1)
    for _ in range(30):
        lens = lens.panned(VIEW, 1, 100)
    assert lens.end is None
    assert LENS.panned(VIEW, -1, 100) == LENS


def test_zoom_has_two_ends_and_gives_the_pan_back() -> None:
    """Zoomed out, the whole run is seen again."""
    assert LENS.zoomed(-1) == LENS
    assert Lens(zoom=1, end=400).zoomed(-1) == LENS
    far = LENS
    for _ in range(50):
        far = far.zoomed(1)
    axis = far.axis(VIEW, Abscissa(), 100)
    assert axis.column(VIEW.step) >= 0 and axis.width > 0


def test_the_cursor_moves_by_columns_and_stays_within_the_run() -> None:
    """A column of cells is two of dots; where that is less than a step, by one step."""
    lens = LENS.pointed(VIEW, 0, 100)
    assert lens.cursor == 1000
    axis = lens.axis(VIEW, Abscissa(), 100)
    assert lens.pointed(VIEW, -1, 100).cursor == round(1000 - 2 * axis.width)
    assert lens.pointed(VIEW, 5, 100).cursor == 1000
    assert lens.pointed(VIEW, -5000, 100).cursor == 0
    assert Lens(zoom=6, cursor=700).pointed(VIEW, -1, 4000).cursor == 699


def test_reading_at_a_step_gives_what_was_known_then() -> None:
    """The sample there, else the last one before; its error; nothing before the first."""
    store = Store()
    for seq, step in enumerate((10, 20, 30), 1):
        store.fold(
            Scalars(seq=seq, step=step, values={"T": float(step)}, errors={"T": 0.5} if step == 20 else {})
        )
    track = store.view().series["T"]
    assert [read(track, step).value for step in (10, 15, 20, 29, 30, 99)] == [10, 10, 20, 20, 30, 30]
    assert read(track, 20).error == 0.5 and math.isnan(read(track, 10).error)
    assert math.isnan(read(track, 9).value)


def test_labels_of_times_are_those_of_a_clock() -> None:
    """Distances that divide minutes, hours and days; no label twice."""
    assert [gap("elapsed", least) for least in (0.3, 3, 16, 61, 4000, 100_000)] == [
        1,
        5,
        30,
        120,
        7200,
        172_800,
    ]
    assert gap("tokens", 130.0) == 200.0
    assert gap("step", 0.2) == 1.0, "there is no step 0.2"
    axis = StepAxis(0.0, 10.0)
    said = [label("elapsed", tick) for tick in axis.ticks(200, 4, lambda least: gap("elapsed", least))]
    assert said == ["0:00", "10:00", "20:00", "30:00"]
    assert label("tokens", 2e6) == "2 M"


def test_all_that_is_not_as_usual_is_said() -> None:
    """In words, since a curve that is smoothed looks like one that is smooth."""
    assert LENS.words() == ""
    lens = Lens("elapsed", 3, 400, 2, True, False, 77)
    assert lens.words() == (
        "read at step 77, over time since the start, zoom 8×, back at step 400, much smoothed, outliers outside"
    )
    assert "back" in lens.words(401) and "back" not in lens.words(400)  # a replay stands there, or before it


def test_the_extent_of_a_run_that_has_not_begun() -> None:
    """A width to draw on all the same."""
    assert extent(View(), Abscissa()) == (0.0, 1.0)
    assert Lens(zoom=4).axis(View(), Abscissa(), 50).width > 0
