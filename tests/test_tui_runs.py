"""The list of runs: what is there, how its loss went, opening one, picking several."""

from __future__ import annotations

import asyncio
import itertools
import math
import shutil
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from msgspec import structs
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, RunEnded, RunStarted, Scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.tui.app import LsmonApp
from lsmon.tui.cli import main
from lsmon.tui.format import number
from lsmon.tui.loss_course import averaged, loss_course
from lsmon.tui.runs import Run, local_runs, with_course
from lsmon.tui.screens.compare import CompareScreen
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.runs import RunsScreen
from lsmon.tui.widgets.run_list import RunList, course
from tests.bench.story import Told, header
from tests.recorded import record
from tests.screenplay import shown, text, until


def story(name: str, steps: int, *, ended: bool = True, run: str = "") -> list[AnyFrame]:
    """A loss that halves every tenth of the run."""
    begun = structs.replace(header(name), run=run or name, wall=time.time() - 90_000 + steps)
    made: list[AnyFrame] = [begun]
    made += [
        Scalars(seq=i + 2, step=i, wall=begun.wall + i, values={"loss": 0.5 ** (10 * i / steps)})
        for i in range(steps)
    ]
    return [*made, RunEnded(seq=steps + 2, step=steps - 1, wall=begun.wall + steps)] if ended else made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three recorded runs, the newest first: long, short, and one that ended early."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    for made in (story("cut", 50, ended=False), story("short", 300), story("long", 4000)):
        record(tmp_path / "recordings", made)
    return tmp_path


def visit(
    check: Callable[[LsmonApp, Pilot[None]], Awaitable[None]], size: tuple[int, int] = (120, 30)
) -> LsmonApp:
    app = LsmonApp(fps=0.01)

    async def session() -> None:
        async with app.run_test(size=size) as pilot:
            await check(app, pilot)

    asyncio.run(session())
    app.close_opened()
    return app


async def filled(app: LsmonApp, pilot: Pilot[None]) -> None:
    """Until every recording was read."""
    await until(
        pilot,
        lambda: isinstance(app.screen, RunsScreen) and len(app.screen.query_one(RunList).held.rows) == 3,
    )
    await app.workers.wait_for_complete()
    await pilot.pause()


@pytest.mark.parametrize("size", [(120, 30), (80, 24), (60, 15), (30, 10), (12, 5)])
def test_each_run_has_a_line(home: Path, size: tuple[int, int]) -> None:
    """Name, state, age, steps, and the course of its loss, as far as there is room: newest first."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        rows = [row for row in text(app) if "■" in row]
        if size[0] >= 60:
            assert ["long" in rows[0], "short" in rows[1], "cut" in rows[2]] == [True] * 3
            assert "finished" in rows[0] and "ended early" in rows[2]
            assert "ago" in rows[0]
            assert "0 live" in shown(app) and "3 recorded" in shown(app)
        if size[0] >= 120:
            assert "3 999" in rows[0] and "box-3" in rows[0]
            assert "█▇" in rows[0] and "▂▁" in rows[0]

    visit(check, size)


def test_enter_opens_and_r_leads_back(home: Path) -> None:
    """The chosen run stays chosen; q on a run opened from the list is the list, q there is out. A run that is over is
    opened at its end, standing still."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))
        await until(pilot, lambda: app.feed.view.step == 299)
        at = app.feed.timeline
        assert at is not None and at.at_end and not at.playing
        assert app.feed.view.header.name == "short"
        await pilot.press("r")
        await filled(app, pilot)
        await pilot.press("q")
        assert isinstance(app.screen, Dashboard)
        await pilot.press("q")
        await filled(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))

    visit(check)


@pytest.mark.parametrize("key", ["q", "escape"])
def test_a_run_that_was_left_is_not_behind_the_list(key: str, home: Path) -> None:
    """It was shown again and again, and nobody got out."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard) and app.feed.view.seq > 0)
        await pilot.press("q")
        await filled(app, pilot)
        await pilot.press(key)
        await until(pilot, lambda: not app.is_running)

    visit(check)


def test_the_list_opened_first_is_left_by_q(home: Path) -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)

    assert visit(check).return_code in (0, None)


def test_a_course_in_few_cells_is_that_of_the_whole_run() -> None:
    """Its first and its last value among them."""
    values = [2.0**-at for at in range(24)]
    assert course(values, 24)[0] == "█" and course(values, 24)[-1] == "▁"
    for cols in range(2, 24):
        line = course(values, cols)
        assert len(line) == cols and line[0] == "█" and line[-1] == "▁"
        assert list(line) == sorted(line, reverse=True)


@pytest.mark.parametrize("cols", [96, 110])
def test_the_course_gives_way_to_steps_and_host(cols: int, home: Path) -> None:
    """A picture in few cells still says what it says; a number does not."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        (row,) = (row for row in text(app) if "long" in row)
        assert "3 999" in row and "box-3" in row and "█▇" in row and "▂▁" in row

    visit(check, (cols, 24))


def test_picked_runs_are_laid_over_one_another(home: Path) -> None:
    """Space picks, c compares; one alone is not enough, and that is said."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        await pilot.press("c")
        await pilot.pause()
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("space")
        assert "picked 1" in shown(app)
        await pilot.press("space")
        assert "picked 2" in shown(app)
        assert sum("◆" in row for row in text(app)) == 2
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and "short − long" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))

    visit(check)


def test_the_filter_hides_and_says_so(home: Path) -> None:
    """A regular expression, refused in words when it is none; empty shows all again."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        await pilot.press("slash", "(")
        await pilot.pause()
        assert "not a regular expression" in shown(app)
        await pilot.press("enter")
        await pilot.press("backspace", *"^sh", "enter")
        await pilot.pause()
        assert [item.run.name for item in app.screen.query_one(RunList).held.rows] == ["short"]
        assert "the filter hides 2 runs" in shown(app)
        await pilot.press("slash", "backspace", "backspace", "backspace", "enter")
        await pilot.pause()
        assert "hides" not in shown(app)

    visit(check)


def test_the_title_of_a_filtered_list_says_of_how_many(home: Path) -> None:
    """Also of none; and what was picked before stays picked."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        assert "0 live  3 recorded" in shown(app)
        await pilot.press("space", "slash", *"^sh", "enter")
        await until(pilot, lambda: "picked 1  0 live  1 of 3 recorded" in shown(app))
        await pilot.press("slash", *"^zz", "enter")
        await until(pilot, lambda: "0 of 3 recorded" in shown(app) and "no run matches" in shown(app))
        assert [item.run.name for item in app.screen.query_one(RunList).picks] == ["long"]

    visit(check)


def test_escape_takes_the_filter_away_before_it_leaves(home: Path) -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        await pilot.press("slash", *"^sh", "enter")
        await until(pilot, lambda: "the filter hides 2 runs" in shown(app))
        await pilot.press("escape")
        await until(pilot, lambda: "hides" not in shown(app))
        assert isinstance(app.screen, RunsScreen)
        await pilot.press("escape")
        await until(pilot, lambda: not app.is_running)

    visit(check)


def test_without_runs_it_tells_how_to_start_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "lsmon demo" in shown(app))
        for words in ("Probe(model, optimizer, loss_fn)", "lsmon replay PATH", "lsmon HOST:"):
            assert words in shown(app)

    visit(check)


def test_a_run_over_another_comes_back_to_it(home: Path) -> None:
    """From a run that was named: r lists, escape returns, and the source of the caller is not closed."""
    source = Told([header("watched"), Scalars(seq=2, step=1, values={"loss": 1.0})])
    app = LsmonApp(source, fps=0.01)

    async def session() -> None:
        async with app.run_test(size=(120, 30)) as pilot:
            await pilot.press("r")
            await filled(app, pilot)
            await pilot.press("escape")
            assert isinstance(app.screen, Dashboard)
            await pilot.press("q")
            await until(pilot, lambda: not app.is_running)

    asyncio.run(session())


def opened_course(folder: Path) -> tuple[tuple[float, ...], int]:
    with Recording.open(folder) as recording:
        return loss_course(recording), recording.last_step


def test_the_course_of_a_recorded_loss_is_its_means(home: Path) -> None:
    """Few points, their stretches as long as one another, against means taken by hand: by frames and by rows."""
    folders = {path.name.split("-")[2]: path for path in (home / "recordings").iterdir()}
    losses, last = opened_course(folders["short"])
    every = [0.5 ** (10 * i / 300) for i in range(300)]
    assert losses == pytest.approx(
        tuple(sum(every[i : i + 13]) / len(every[i : i + 13]) for i in range(0, 300, 13))
    )
    assert last == 299
    rows, last = opened_course(folders["long"])
    assert last == 3999
    assert len(rows) <= 24
    assert all(a > b for a, b in itertools.pairwise(rows))
    assert rows[0] == pytest.approx(sum(0.5 ** (10 * i / 4000) for i in range(192)) / 192, rel=0.05)
    assert averaged([], 5) == ()


@pytest.mark.parametrize("last", [0.25, math.nan, math.inf])
@pytest.mark.parametrize("steps", [300, 4000])
def test_the_last_loss_is_the_last_that_was_told(home: Path, last: float, steps: int) -> None:
    """Not the mean of the last stretch, and not the last that was finite; a number of another kind may come after it."""
    made = [frame for frame in story("nan", steps, ended=False) if frame.step < steps - 10]
    seq = made[-1].seq
    made += [Scalars(seq=seq + i, step=steps - 10, values={"loss": last}) for i in (1, 2)]
    made.append(Scalars(seq=seq + 3, step=steps, values={"val/loss": 7.0}))
    record(home / "recordings", made)
    runs = msgspec.json.decode(msgspec.json.encode(list(map(with_course, local_runs()))), type=list[Run])
    said = next(run for run in runs if run.name == "nan").last_loss
    assert said == last or (said is not None and math.isnan(said) and math.isnan(last))

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await until(pilot, lambda: f" {number(last)} " in shown(app))

    visit(check)


def test_a_course_is_low_and_flat_where_nothing_moves() -> None:
    assert course((2.0, 2.0), 5) == "▁▁"
    assert course((1.0, 10.0, 100.0), 5) == "▁▅█" or course((1.0, 10.0, 100.0), 5) == "▁▄█"
    assert course((-1.0, 1.0), 5, ascii_only=True) == "_#"
    assert course((), 5) == ""


def test_ls_tells_the_course_where_it_is_asked_for(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What another machine is asked over ssh."""
    import msgspec

    from lsmon.tui.runs import Run

    assert main(["ls", "--json", "--loss", "1"]) == 0
    runs = msgspec.json.decode(capsys.readouterr().out, type=list[Run])
    assert [run.name for run in runs] == ["long", "short", "cut"]
    assert [bool(run.loss) for run in runs] == [True, False, False]
    assert runs[0].steps == 3999


def test_a_header_alone_has_no_course(tmp_path: Path) -> None:
    begun = header("empty")
    assert isinstance(begun, RunStarted)
    assert opened_course(record(tmp_path, [begun])) == ((), 0)


def test_a_recording_without_its_overview_is_opened_with_a_bar(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has to be read through for that; the bar goes when it is open."""
    monkeypatch.setattr("lsmon.protocol.recording.reader._EVERY", 100)
    for overview in home.glob("recordings/*long*/overview.mcap"):
        overview.unlink()
    told: list[tuple[str, int, int]] = []

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        screen = app.screen
        assert isinstance(screen, RunsScreen)
        screen.post_message(RunsScreen.Reading("long", 1024, 4096))
        await until(pilot, lambda: "1024 of 4096  opening long" in shown(app))
        screen._told = lambda *said: told.append(said)  # type: ignore[method-assign]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, Dashboard))

    visit(check)
    assert told[0][0] == "long" and all(done <= total for _, done, total in told)


def test_runs_of_one_name_are_told_apart(home: Path) -> None:
    """By the beginning of their id, which opens them; there is no such column where names differ."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        assert "0a1b2c3d" not in shown(app) and "long  " in shown(app)

    visit(check)
    for path in (home / "recordings").iterdir():
        shutil.rmtree(path)
    for run in ("0a1b2c3d", "4e5f6a7b", "8c9d0e1f"):
        record(home / "recordings", story("mlp", 50, run=run))

    async def again(app: LsmonApp, pilot: Pilot[None]) -> None:
        await filled(app, pilot)
        for run in ("0a1b2c3d", "4e5f6a7b", "8c9d0e1f"):
            assert run in shown(app)

    visit(again)
