"""What a person does beside looking: filter, note, copy, save, and find a command by its name."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from textual.command import CommandList, CommandPalette
from textual.geometry import Region
from textual.pilot import Pilot

from lsmon.protocol.frames import Scalars
from lsmon.tui.app import LsmonApp
from lsmon.tui.notes import Notes
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.store import Store
from lsmon.tui.view import read
from tests.bench.story import Tape, Told, frames, header
from tests.screenplay import dashboard, drive, panels, settle, shown, text, until

STORY = list(frames(6000))


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def said(app: LsmonApp) -> str:
    return " ".join(toast.message for toast in app._notifications)


def test_the_filter_keeps_what_matches_and_says_so() -> None:
    """Names and labels, on the status line; nothing that matches is said too; empty shows all again."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        every = set(panels(app))
        await pilot.press("slash", *"val|λ", "enter")
        await settle(app, pilot)
        assert set(panels(app)) == {"loss", "sharpness", "accuracy", "alerts"}
        assert "val" in shown(app) and "train" not in panels(app)["loss"]._canvas.text[0]  # type: ignore[union-attr]
        assert "filter val|λ: 4 of" in text(app)[-1]
        await pilot.press("slash", *(["backspace"] * 5), *"nosuch", "enter")
        await settle(app, pilot)
        assert set(panels(app)) == {"alerts"}
        assert "filter nosuch: 0 of" in text(app)[-1]
        await pilot.press("slash", *(["backspace"] * 6), "enter")
        await settle(app, pilot)
        assert set(panels(app)) == every

    drive(Told(STORY), check, (160, 40))


def test_a_note_is_a_mark_that_stays() -> None:
    """On the alerts panel at once, from that step on, for whoever opens the run again; the recording is not touched."""

    async def write(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("m", *"too hot", "enter")
        await settle(app, pilot)
        assert "too hot" in shown(app)
        await pilot.press("m", "escape")
        await pilot.press("m", "enter")
        await settle(app, pilot)
        assert len(app.feed.view.marks) == 0

    drive(Tape(STORY, step=4000), write)

    async def read(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "too hot" not in shown(app)
        await pilot.press("end")
        await settle(app, pilot)
        assert shown(app).count("too hot") == 1
        await pilot.press("a")
        await settle(app, pilot)
        assert any("4 000" in row and "too hot" in row for row in text(app))

    drive(Tape(STORY, step=3000), read)


def test_a_note_made_on_a_page_is_on_the_panels_too() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("l", "m", *"dead", "enter", "l")
        await settle(app, pilot)
        assert "dead" in shown(app)

    drive(Told(STORY), check)


def test_a_note_is_on_the_step_that_the_question_named() -> None:
    """Also when the run has gone on while it was typed."""
    tape = Tape(STORY, step=2000)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await settle(app, pilot)
        await pilot.press("m", *"too hot")
        tape.advance(2000)
        await settle(app, pilot)
        assert app.feed.view.step > 2500
        await pilot.press("enter")
        assert [mark.step for mark in app.feed.notes.on(app.feed.view).marks] == [2000]

    drive(tape, check)


def test_a_note_is_on_the_step_of_the_cursor_where_there_is_one() -> None:
    """It is that step that is being read."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await settle(app, pilot)
        await pilot.press("i", *["left"] * 5)
        await settle(app, pilot)
        screen = app.screen
        assert isinstance(screen, Dashboard) and screen.lens.cursor is not None
        read = screen.lens.cursor
        assert read < app.feed.view.step
        await pilot.press("m", *"here", "enter")
        assert [mark.step for mark in app.feed.notes.on(app.feed.view).marks] == [read]
        await pilot.press("x")
        await settle(app, pilot)

    drive(Tape(STORY, step=4000), check)


def test_notes_of_another_run_are_not_shown_and_a_torn_file_is_read(folder: Path) -> None:
    def view(name: str):  # type: ignore[no-untyped-def]
        store = Store()
        for frame in (header(name), Scalars(seq=2, step=9, values={"loss": 1.0})):
            store.fold(frame)
        return store.view()

    notes, one, two = Notes(), view("one"), view("two/../x")
    notes.add(one, "first\x1b[31m")
    notes.add(two, "second")
    assert [mark.note for mark in notes.on(one).marks] == ["first␦[31m"] or "\x1b" not in notes.on(one).marks[
        0
    ].note
    assert [mark.note for mark in notes.on(two).marks] == ["second"]
    assert notes.on(two) is notes.on(two)
    files = sorted((folder / "state" / "notes").iterdir())
    assert len(files) == 2
    files[0].write_bytes(files[0].read_bytes() + b'{"type":"mark","no')
    assert len(Notes().on(one).marks) == 1


def test_a_note_that_cannot_be_kept_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSMON_DIR", "/proc/nowhere")

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("m", "x", "enter")
        await pilot.pause()
        assert "The note cannot be kept" in said(app)

    drive(Told(STORY[:50]), check)


def test_values_are_copied_with_their_errors() -> None:
    """All of them, or those of the panel that is enlarged; that it was sent is said, not that it arrived."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("C")
        assert app.clipboard.startswith("step 6000\nloss ")
        assert "temperature/noise" in app.clipboard
        assert "sent to the terminal's clipboard" in said(app)
        await pilot.press("2", "C")
        assert [line.split()[0] for line in app.clipboard.splitlines()] == [
            "step",
            "hessian/max",
            "hessian/min",
        ]
        assert "±" in app.clipboard

    drive(Told(STORY), check)


def test_what_a_filter_hides_is_neither_copied_nor_saved(folder: Path) -> None:
    """What is taken away is what is seen."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"acc", "enter")
        await settle(app, pilot)
        await pilot.press("C", "E")
        copied = app.clipboard.splitlines()[1:]
        assert {line.split()[0] for line in copied} == {"train/acc", "val/acc"}
        saved = folder / "lsmon-grok-p97-6000.csv"
        await until(pilot, saved.exists)
        assert {row["name"] for row in csv.DictReader(io.StringIO(saved.read_text()))} == {
            "train/acc",
            "val/acc",
        }

    drive(Told(STORY), check)


def test_one_value_is_copied_as_one() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("C")
        assert "1 value sent to the terminal's clipboard" in said(app)

    drive(Told([header(), Scalars(seq=2, step=1, values={"loss": 1.0})]), check)


def test_the_screen_is_saved_as_it_is(folder: Path) -> None:
    """Picture and text in the folder in which lsmon was started; a second one gets another name."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        before = [row.rstrip() for row in text(app)]
        await pilot.press("S")
        await until(pilot, lambda: "Written: lsmon-grok-p97-6000.svg" in said(app))
        await pilot.press("S")
        await until(pilot, lambda: "Written: lsmon-grok-p97-6000-2.svg" in said(app))
        assert (folder / "lsmon-grok-p97-6000.txt").read_text().splitlines()[:-1] == before[:-1]
        assert (folder / "lsmon-grok-p97-6000.svg").read_text().startswith("<svg")
        assert (folder / "lsmon-grok-p97-6000-2.svg").exists()

    drive(Told(STORY), check)


def test_a_picture_is_not_hidden_by_what_is_said_for_a_moment(folder: Path) -> None:
    """That the numbers are written, just before."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("E")
        await until(pilot, lambda: bool(app.screen.query("Toast")))
        await settle(app, pilot)
        await pilot.press("S")
        saved = folder / "lsmon-grok-p97-6000.txt"
        await until(pilot, saved.exists)
        assert "trainability" in saved.read_text()
        assert "Written" not in saved.read_text() + (folder / "lsmon-grok-p97-6000.svg").read_text()

    drive(Told(STORY), check, (160, 40), notifications=True)


def test_the_numbers_of_a_panel_are_saved(folder: Path) -> None:
    """Their samples are all of the run's, their means its means."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("1", "E")
        await pilot.pause()
        rows = list(csv.DictReader(io.StringIO((folder / "lsmon-grok-p97-6000.csv").read_text())))
        assert {row["name"] for row in rows} == {"loss", "val/loss"}
        losses = [
            frame.values["loss"] for frame in STORY if isinstance(frame, Scalars) and "loss" in frame.values
        ]
        mine = [row for row in rows if row["name"] == "loss"]
        assert sum(int(row["samples"]) for row in mine) == len(losses)
        total = sum(float(row["mean"]) * int(row["samples"]) for row in mine)
        assert total == pytest.approx(sum(losses))
        assert min(float(row["min"]) for row in mine) == min(losses)

    drive(Told(STORY), check)


def test_the_numbers_at_the_cursor_are_saved(folder: Path) -> None:
    """What every panel is read as at its step, with the errors that came with it, under the name of that step."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("i", *["left"] * 30)
        step = dashboard(app).cursor
        assert step is not None and step < 6000
        await pilot.press("E")
        await pilot.pause()
        rows = list(csv.DictReader(io.StringIO((folder / f"lsmon-grok-p97-{step}.csv").read_text())))
        view = app.feed.view
        assert [row["name"] for row in rows] == list(view.series)
        for row in rows:
            known = read(view.series[row["name"]], step)
            assert float(row["value"] or "nan") == pytest.approx(known.value, nan_ok=True)
            assert float(row["error"] or "nan") == pytest.approx(known.error, nan_ok=True)
            assert int(row["step"]) == known.step
        assert any(row["error"] for row in rows)

    drive(Told(STORY), check)


def test_a_folder_that_cannot_be_written_to_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc")

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("S")
        await pilot.pause()
        assert "Cannot write here" in said(app)

    drive(Told(STORY[:50]), check)


def test_commands_are_found_by_name() -> None:
    """By the palette, with the key that does the same: it opens the page."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Spectrum", "Filter", "Note", "Save screen", "Themes", "Runs", "Quit"} <= titles
        await pilot.press("colon")
        await until(pilot, lambda: isinstance(app.screen, CommandPalette))
        await pilot.press(*"spectrum")
        await until(pilot, lambda: "Density of the curvatures" in shown(app))
        await pilot.press("enter")
        await until(pilot, lambda: "no density yet" in shown(app))

    drive(Told(STORY), check)


@pytest.mark.parametrize("key", ["colon", "themes"])
def test_a_page_key_before_the_commands_are_laid_out_is_let_go(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ended the screen with a KeyError; later it pages, and the list of themes is such a list too."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(CommandList, "scrollable_content_region", Region())
            if key == "colon":
                await pilot.press(key)
            else:
                app.call_later(app.action_change_theme)
            await until(pilot, lambda: isinstance(app.screen, CommandPalette))
            await until(pilot, lambda: app.screen.query_one(CommandList).highlighted == 0)
            await pilot.press("pageup", "pagedown")
        commands = app.screen.query_one(CommandList)
        assert commands.highlighted == 0
        await until(pilot, lambda: bool(commands.scrollable_content_region))
        await pilot.press("pagedown")
        assert commands.highlighted

    drive(Told(STORY), check)
