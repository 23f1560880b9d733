"""Runs over one another: moved to a common axis, differences with their error, two steps of one run."""

from __future__ import annotations

import asyncio
import math
import shutil
from array import array
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from msgspec import structs
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Ritz, Scalars
from lsmon.protocol.sources.source import Link, Source
from lsmon.tui.alike import read_alike
from lsmon.tui.app import LsmonApp
from lsmon.tui.cli import main
from lsmon.tui.commands import compare
from lsmon.tui.picture import picture
from lsmon.tui.screens.compare import CompareScreen
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.series import Series
from lsmon.tui.side import Side, common_names, volume_change
from lsmon.tui.store import Store
from lsmon.tui.widgets.overlay import _over
from lsmon.tui.widgets.sides import tabled
from tests.bench.story import Told, header
from tests.recorded import record
from tests.screenplay import shown, text, until


def run(
    name: str, *, pace: float = 1.0, factor: float = 1.0, volume: float = -100.0, start: float = 1000.0
) -> list[AnyFrame]:
    """loss = factor · 10^(-step/100) for 300 steps of ``pace`` seconds, a sharpness, and a log-volume that grows by 1 a
    100 steps, seen by four probes."""
    made: list[AnyFrame] = [structs.replace(header(name), run=name, wall=start)]
    for i in range(301):
        made.append(
            Scalars(
                seq=len(made) + 1,
                step=i,
                wall=start + pace * i,
                values={"loss": factor * 10 ** (-i / 100), "val/acc": i / 300},
            )
        )
        if i % 100 == 0:
            level = volume + i / 100
            made.append(
                Curvature(
                    seq=len(made) + 1, step=i, wall=start + pace * i, top=(Ritz(10.0 * factor, 0.3, True),), bottom=(Ritz(-1.0, 0.1, True),),
                    density_grid=(0.0, 1.0), density_mass=(0.5, 0.5), parameters=100, delta=0.1, log_volume=level, log_volume_se=3.0,
                    log_volume_probes=tuple(level + spread * (1 + 0.01 * i / 100) for spread in (-3.0, -1.0, 1.0, 3.0)),
                    log_volume_shorter=(level + 0.5, level - 0.5),
                )
            )  # fmt: skip
    return made


def side(frames: Sequence[AnyFrame], origin: int | None = None) -> Side:
    store = Store()
    for frame in frames:
        store.fold(frame)
    return Side("a", store.view(), origin)


def places(of: Side, how: str, name: str = "loss") -> list[float]:
    track = of.aligned(name, how)
    assert track is not None
    return list(array("d", track.steps))


def test_by_step_and_by_time_a_side_begins_at_zero() -> None:
    """A whole run as it is; what followed a step, from that step on."""
    whole, later = side(run("a", pace=2.0)), side(run("a", pace=2.0), 100)
    assert places(whole, "step")[-1] == 300
    assert places(later, "step")[0] == pytest.approx(0, abs=1)
    assert places(later, "step")[-1] == 200
    assert places(whole, "time")[-1] == 600
    assert places(later, "time")[-1] == pytest.approx(400, abs=4)


def test_by_loss_two_runs_of_one_law_lie_on_each_other() -> None:
    """At the same loss: 10^(-i/100) and twice that reach 0.01 at steps 200 and 230, and have the same place there."""
    for of, step in ((side(run("a")), 200), (side(run("b", factor=2.0)), 230)):
        track = of.view.series["loss"]
        at = list(array("d", track.steps)).index(float(step))
        assert places(of, "loss")[at] == pytest.approx(2.0, abs=0.01)
        assert places(of, "loss") == sorted(places(of, "loss"))


def test_a_loss_that_rises_again_stays_at_its_best() -> None:
    frames = [Scalars(seq=i + 1, step=i, values={"loss": v}) for i, v in enumerate([1.0, 0.1, 0.5, 0.01])]
    assert places(side(frames), "loss") == pytest.approx([0.0, 1.0, 1.0, 2.0])
    below = [Scalars(seq=i + 1, step=i, values={"loss": v}) for i, v in enumerate([1.0, -2.0])]
    assert places(side(below), "loss") == pytest.approx([-1.0, 2.0])  # no logarithm: minus the best loss


def test_without_a_loss_nothing_is_aligned_by_it() -> None:
    assert side([Scalars(seq=1, step=1, values={"x": 1.0})]).aligned("x", "loss") is None
    assert side([Scalars(seq=1, step=1, values={"loss": math.nan})]).aligned("loss", "loss") is None


def test_the_difference_of_volumes_has_an_error_of_its_own() -> None:
    """Common probes: 7 nats to far more than the 3 that each is known by; other probes or none are refused in words."""
    one, two = side(run("a")), side(run("b", volume=-93.0))
    found, words = volume_change(one, two)
    assert found is not None
    assert found.value == pytest.approx(7.0)
    assert found.se < 0.1
    assert words == "steps 300 and 300"
    marks = volume_change(side(run("a"), 100), side(run("a"), 250))
    assert marks[0] is not None
    assert marks[0].value == pytest.approx(1.0)
    assert marks[1] == "steps 100 and 200"
    none, words = volume_change(one, side(run("a")[:2]))
    assert none is None and "no log-volume of a" in words
    other = [structs.replace(f, delta=9.0) if isinstance(f, Curvature) else f for f in run("c")]
    refused, words = volume_change(one, side(other))
    assert refused is None and "not measured alike" in words


def test_a_side_tells_its_values_where_it_begins() -> None:
    assert side(run("a")).value("loss").value == pytest.approx(1e-3)
    assert side(run("a"), 100).value("loss").value == pytest.approx(0.1)
    assert side(run("a"), 250).value("hessian/max").step == 200
    assert math.isnan(side(run("a")).value("nothing").value)
    assert common_names([side(run("a")), side(run("b")[:2])]) == ["loss", "val/acc"]


def compared(
    frames: Sequence[Sequence[AnyFrame]], check: Callable[[LsmonApp, Pilot[None]], Awaitable[None]],
    size: tuple[int, int] = (140, 40), *, ascii_only: bool = False,
) -> None:  # fmt: skip
    sources: list[Source] = [Told(each) for each in frames]

    async def session() -> None:
        app = LsmonApp(Told(), fps=0.01, ascii_only=ascii_only)
        async with app.run_test(size=size) as pilot:
            app.compare(sources)
            await until(
                pilot,
                lambda: (
                    (isinstance(app.screen, CompareScreen) and "aligned by" in shown(app)) or size[0] < 30
                ),
            )
            await until(pilot, lambda: size[0] < 60 or all(each[0].name in shown(app) for each in frames[:4]))  # type: ignore[union-attr]
            await check(app, pilot)

    asyncio.run(session())


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60), (60, 15), (30, 10), (12, 5)])
def test_two_runs_at_every_size(size: tuple[int, int]) -> None:
    """Values with their doubt, the differences, the valley in words; every row as wide as the screen."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("x", "x", "x", "enter", "pagedown", "escape", "y")
        await pilot.pause()
        rows = shown(app)
        if size[0] >= 80:
            for words in (
                "one",
                "two",
                "two − one",
                "log-volume 7",
                "wider than that of one",
                "aligned by step",
            ):
                assert words in rows, words

    compared([run("one"), run("two", volume=-93.0, factor=3.0)], check, size)


def test_x_aligns_and_says_how() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        for words, label in (
            ("aligned by step", "300"),
            ("aligned by time", "0:00"),
            ("aligned by the best loss", "0.1"),
        ):
            assert words in text(app)[-1]
            assert label in shown(app)
            await pilot.press("x")
            await pilot.pause()

    compared([run("one"), run("two", pace=0.5)], check)


def test_the_sharpness_differs_within_its_error() -> None:
    """10 ± 0.3 and 30 ± 0.3 differ by 20 ± 0.42."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        row = next(row for row in text(app) if "two − one" in row)
        assert "+20.0 ± 0.4" in row

    compared([run("one"), run("two", factor=3.0)], check, (200, 60))


def test_more_than_four_are_said_not_to_be_drawn() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "the first 4 of 5 are drawn" in text(app)[-1]

    compared([run(f"run-{i}") for i in range(5)], check)


def test_in_ascii() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert shown(app).isascii(), {char for char in shown(app) if not char.isascii()}

    compared([run("one"), run("two")], check, ascii_only=True)


def test_two_steps_of_one_run() -> None:
    """Without another source: what followed each, and how the valley has changed between them."""

    async def session() -> None:
        app = LsmonApp(Told(run("one")), fps=0.01)
        async with app.run_test(size=(140, 40)) as pilot:
            dash = app.screen
            assert isinstance(dash, Dashboard)
            dash.tick()
            app.compare_steps([100, 250])
            words = ("step 250 − step 100", "log-volume 1.0", "(steps 100 and 200)")
            await until(pilot, lambda: all(each in shown(app) for each in words))
            await pilot.press("escape")
            await until(pilot, lambda: app.screen is dash)

    asyncio.run(session())


def test_without_a_terminal_the_differences_are_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a table, with the valley in words; one run alone is refused."""
    folders = [str(record(tmp_path, frames)) for frames in (run("one"), run("two", volume=-93.0, factor=3.0))]
    assert main(["compare", *folders]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].split()[:2] == ["step", "train"]
    assert rows[1].startswith("one") and rows[2].startswith("two")
    assert "+20.0 ± 0.4" in rows[3]
    assert "log-volume 7" in rows[4] and "wider than that of one" in rows[4]
    assert main(["compare", folders[0]]) == 2
    assert "two runs or more" in capsys.readouterr().err


class Paged:
    """A live run whose history comes with pauses in it, and that goes on as fast as it is read."""

    def __init__(self, frames: Sequence[AnyFrame]) -> None:
        self.run = frames[0].name  # type: ignore[union-attr]
        self._frames, self._reads, self._last = list(frames), 0, frames[-1]

    @property
    def link(self) -> Link:
        return Link("live", behind=bool(self._frames))

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        self._reads += 1
        if self._reads % 3:
            return []
        page, self._frames = self._frames[:100], self._frames[100:]
        if not page:
            self._last = structs.replace(self._last, seq=self._last.seq + 1, step=self._last.step + 1)
        return page or [self._last]

    def close(self) -> None:
        pass


def test_of_live_runs_all_that_was_known_is_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a pause in the history nor a run that never pauses changes what is compared."""
    runs = {name: Paged([frame for frame in run(name) if not isinstance(frame, Curvature)]) for name in "ab"}
    monkeypatch.setattr(compare, "locate", lambda target, reach: runs[target])
    monkeypatch.setattr(compare, "PAUSE_SECS", 0.0)
    assert main(["compare", "a", "b"]) == 0
    assert [row.split()[2] for row in capsys.readouterr().out.splitlines()[1:3]] == ["300", "300"]


def test_one_frame_of_a_live_run_shows_all_that_was_known() -> None:
    """However its history comes, and without waiting for silence."""
    frames = [frame for frame in run("a") if not isinstance(frame, Curvature)]
    beat = Heartbeat(seq=frames[-1].seq, step=300, wall=frames[-1].wall)
    assert "step 30" in picture(Paged([*frames, beat, frames[-1]]), (120, 36)).text


def test_runs_of_one_name_are_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By their ids, and copies of one run by number."""
    folder = record(tmp_path, run("one"))
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert main(["compare", str(folder), str(copy)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "(1)" in rows[1] and "(2)" in rows[2]
    assert rows[1].split()[0] == rows[2].split()[0] == "one"


def test_comparing_alone_is_left_by_escape() -> None:
    app = LsmonApp(compared=[Told(run("one")), Told(run("two"))], fps=0.01)

    async def session() -> None:
        async with app.run_test(size=(120, 36)) as pilot:
            await until(pilot, lambda: "two − one" in shown(app))
            await pilot.press("escape")
            await until(pilot, lambda: not app.is_running)

    asyncio.run(session())


def table_of(*sides: Side) -> dict[str, dict[str, str]]:
    table = tabled(sides)
    return {row.label: dict(zip(table.heads, row.cells, strict=True)) for row in table.rows}


def curved(name: str, *measured: tuple[int, float], last: int = 800) -> Side:
    """A loss at each step and a sharpness at some."""
    made: list[AnyFrame] = [structs.replace(header(name), run=name)]
    made += [Scalars(seq=i + 2, step=i, values={"loss": 1.0}) for i in range(last + 1)]
    made += [
        Curvature(seq=last + 3 + step, step=step, top=(Ritz(value, 0.0006, True),))
        for step, value in measured
    ]
    return replace(side(made), label=name)


def test_values_of_different_moments_have_no_difference() -> None:
    """Two bit-identical trainings whose sharpness was measured at 727 and 716: each says when, and no difference is made."""
    rows = table_of(curved("a", (727, 3.5)), curved("b", (716, 3.4)))
    assert rows["a"]["λ max"].endswith("@727")
    assert rows["b"]["λ max"].endswith("@716")
    assert rows["b − a"]["λ max"] == "at 727 and 716"
    assert rows["b − a"]["train"] == "0"


def test_runs_of_different_lengths_differ_by_what_they_were_at_the_last_step_of_both() -> None:
    """The row says which: at 200, where 10^(-i/100) is 0.01 and three times that 0.03, though one goes on to 300."""
    until_200 = [frame for frame in run("b", factor=3.0) if frame.step <= 200]
    long, short = replace(side(run("a")), label="a"), replace(side(until_200), label="b")
    for one, two, sign in ((long, short, "+"), (short, long, "−")):
        row = table_of(one, two)[f"{two.label} − {one.label}"]
        assert row["step"] == "@200"
        assert row["train"] == f"{sign}0.02"
        assert row["λ max"].startswith(f"{sign}20.0")
    late = table_of(curved("a", (800, 3.5)), curved("b", (400, 3.0), last=400))["b − a"]
    assert (late["step"], late["λ max"]) == ("@400", "–")


def test_values_of_one_moment_have_a_difference() -> None:
    """Of the same step, or each of the very step that is compared, which the first column tells."""
    assert table_of(curved("a", (727, 3.5)), curved("b", (727, 3.0)))["b − a"]["λ max"].startswith("−0.5")
    assert table_of(curved("a", (800, 3.5)), curved("b", (800, 3.0)))["b − a"]["step"] == "@800"
    marks = curved("a", (100, 3.5), (300, 3.0))
    pair = [replace(marks, origin=origin) for origin in (100, 300)]
    assert table_of(*pair)["step 300 − step 100"]["λ max"].startswith("−0.5")
    late = [replace(marks, origin=origin) for origin in (100, 400)]
    assert table_of(*late)["step 400 − step 100"]["λ max"] == "at 100 and 300"


def noisy(name: str, steps: int, *, pace: float = 1.0, diverged: bool = False) -> Side:
    """A loss that falls by a thousandth of itself a step, times a noise of alternating sign."""
    made: list[AnyFrame] = [structs.replace(header(name), run=name, wall=1000.0)]
    made += [
        Scalars(seq=i + 2, step=i, wall=1000.0 + pace * i, values={"loss": (1 + 0.5 * (-1) ** i) * 0.999**i})
        for i in range(steps + 1)
    ]
    if diverged:
        made.append(Scalars(seq=steps + 3, step=steps + 1, wall=1000.0, values={"loss": math.nan}))
    return replace(side(made), label=name)


def test_a_mean_of_many_steps_is_compared_with_a_mean_of_as_many() -> None:
    """Of a long run no single step is kept; the last one of a short run is half above its mean, which is no difference."""
    short, long = noisy("short", 800), noisy("long", 60_000)
    assert len(long.view.series["loss"]) < 10_000 and len(short.view.series["loss"]) > 400
    for pair in ((short, long), (long, short)):
        row = table_of(*pair)[f"{pair[1].label} − {pair[0].label}"]
        assert row["step"] == "@800"
        assert abs(float(row["train"].replace("−", "-"))) < 0.05 * 0.999**800
    lost = table_of(noisy("lost", 800, diverged=True), long)
    assert lost["long − lost"]["train"] == "–"


def test_columns_without_room_are_named() -> None:
    """And one quantity that is enlarged is one."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "two − one" in shown(app))
        assert "no room for " not in shown(app)
        await pilot.press("enter")
        await until(pilot, lambda: "quantity 1 of " in shown(app))
        await pilot.resize_terminal(40, 24)
        await until(pilot, lambda: "no room for " in shown(app))

    compared([run("one"), run("two")], check)


def test_the_alignment_is_told() -> None:
    def says(app: LsmonApp, words: str) -> bool:
        return words in shown(app)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await until(pilot, partial(says, app, "aligned by step"))
        for how in ("time", "the best loss"):
            await pilot.press("x")
            await until(pilot, partial(says, app, f"aligned by {how} "))

    compared([run("one", pace=2.0), run("two")], check)


def test_differences_are_where_the_curves_lie_over_one_another() -> None:
    """Both lose a thousandth a step; one takes two seconds for it: after 400 s it is at step 200 and the other at 400,
    and the loss that both reach is that of step 400 for both."""
    made = (
        [structs.replace(header(name), run=name, wall=1000.0)]
        + [Scalars(seq=i + 2, step=i, wall=1000.0 + pace * i, values={"loss": 0.999**i}) for i in range(last + 1)]
        for name, pace, last in (("slow", 2.0, 600), ("quick", 1.0, 400))
    )  # fmt: skip
    sides = [replace(side(frames), label=name) for frames, name in zip(made, ("slow", "quick"), strict=True)]
    for how, where, expected in (
        ("step", "@400", 0.0),
        ("time", "@400 − @200", 0.999**400 - 0.999**200),
        ("loss", "@400 − @400", 0.0),
    ):
        table = tabled(sides, how)
        row = dict(zip(table.heads, table.rows[-1].cells, strict=True))
        assert row["step"] == where
        assert float(row["train"].replace("−", "-")) == pytest.approx(expected, abs=1e-3)


def test_what_was_not_measured_yet_is_no_nan() -> None:
    late = curved("a", (300, 3.0))
    rows = table_of(*(replace(late, origin=origin) for origin in (100, 400)))
    assert rows["a from step 100"]["λ max"] == "–" and rows["a from step 400"]["λ max"].startswith("3")
    assert rows["step 400 − step 100"]["λ max"] == "–"


def test_losses_as_large_as_a_float_can_be_are_laid_over_one_another() -> None:
    """Aligned by a loss that is both: the axis ends somewhere, and means that overflow raise nothing."""
    series = Series("loss", cap=4)
    for step in range(32):
        series.add(step, float(step), 1, 1.7e308 * (-1) ** (step // 8), math.nan, "")
    track = series.track()
    places = array("d", (-1.7e308, *range(1, len(track) - 1), 1.7e308)).tobytes()
    axis = _over([track.moved(places, places, 0)], 100)
    assert all(map(math.isfinite, axis.ticks(100, 5)))
    assert len(read_alike([track, track], [31.0, 31.0])) == 2
