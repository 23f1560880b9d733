"""The screen itself, driven by keys at several sizes, over sources that are told what to say."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Ritz, RunEnded, Scalars
from lsmon.protocol.names import QUANTITIES
from lsmon.protocol.sources.source import Link
from lsmon.tui.app import LsmonApp
from lsmon.tui.every_key import every_binding
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.help import Help
from lsmon.tui.screens.layers import LayersPage
from lsmon.tui.widgets.drawn import Drawn
from lsmon.tui.widgets.help import REPLAY_ONLY, HelpPanel
from tests.bench.story import Tape, Told, frames, header
from tests.screenplay import Check, dashboard, drive, panels, settle, shown, text

STORY = list(frames(34_000))


@pytest.mark.parametrize("size", [(80, 24), (60, 15), (120, 36), (200, 60), (30, 10), (12, 5), (1, 1)])
def test_every_size_holds_its_widgets_without_overlap(size: tuple[int, int]) -> None:
    """Nothing over anything, nothing outside, every row as wide as the screen."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        drawn = [widget for widget in app.screen.query(Drawn) if widget.display and widget.region.area]
        for one, two in combinations(drawn, 2):
            assert not one.region.overlaps(two.region), (one, two)
        if size >= (60, 15):
            assert "grok-p97" in text(app)[0]
            assert "loss" in shown(app)

    drive(Told(STORY), check, size)


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60)])
def test_the_dashboard_shows_all_it_promises(size: tuple[int, int]) -> None:
    """Header facts, values with their doubt, the edge, the count, the temperature, the alerts."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = shown(app)
        for words in ("grok-p97 @ box-3", "step 34 000", "it/s", "probe 3.1 %", "● live", "last frame"):
            assert words in rows
        for words in ("λ max", "±", "edge 42", "direction", "grokking onset", "val acc", "train"):
            assert words in rows
        assert any(0x2800 < ord(char) < 0x2900 for char in rows)

    drive(Told(STORY), check, size)


def test_the_first_paint_waits_for_no_frame() -> None:
    """An empty source shows every panel with words of its own."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = shown(app)
        for words in ("connecting", "waiting for the first frame", "no loss yet", "curvature is not measured yet",
                      "temperature is not measured yet", "nothing has happened yet"):  # fmt: skip
            assert words in rows

    drive(Told(phase="connecting"), check)


def test_an_empty_panel_says_what_the_probe_waits_for() -> None:
    """The heartbeat's words replace our own."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "curvature: waiting for the reference" in shown(app)
        assert "128/512" in shown(app)

    notes = {"curvature": "waiting for the reference batch 128/512"}
    drive(Told([header(), Heartbeat(seq=1, notes=notes)]), check)


def test_space_freezes_the_eye_and_says_so() -> None:
    """Live: the status line tells how far the run is ahead; the curves stand still."""
    source = Told(STORY[:500])

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("space")
        before = app.feed.view.step
        source.tell(*STORY[500:600])
        await settle(app, pilot)
        assert app.feed.view.step == before
        assert f"paused at step {before:,}".replace(",", " ") in shown(app)
        assert "further" in shown(app)
        await pilot.press("space")
        await settle(app, pilot)
        assert app.feed.view.step > before
        assert "paused" not in shown(app)

    drive(source, check)


@pytest.mark.parametrize(
    ("phase", "words"),
    [("stale", "no frame for a while"), ("dead", "the training process is gone"), ("ended early", "did not say that it was over")],
)  # fmt: skip
def test_silence_is_said_in_words(phase: str, words: str) -> None:
    """On the status line and in the corner, not by a colour alone."""
    source = Told(STORY[:50])

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        source.link = Link(phase)  # type: ignore[arg-type]
        await settle(app, pilot)
        assert words in text(app)[-1]
        assert phase in text(app)[0]
        assert ("silent" in shown(app)) == (phase != "ended early")

    drive(source, check)


def test_losses_drops_and_a_bad_end_are_said() -> None:
    """Numbers and places, on the status line."""
    frames_: list[AnyFrame] = [
        header(), Scalars(seq=2, step=10, values={"loss": 1.0}), Scalars(seq=9, step=81_000, values={"loss": 2.0}),
        Heartbeat(seq=9, step=81_000, dropped=3, recording="stopped: disk full"),
        RunEnded(seq=10, step=81_000, reason="error", error="RuntimeError: CUDA out of memory"),
    ]  # fmt: skip

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        status = text(app)[-1]
        for words in (
            "6 frames lost near step 81 000",
            "3 dropped by the probe",
            "RuntimeError",
            "disk full",
        ):
            assert words in status

    drive(Told(frames_, phase="ended"), check, (200, 60))


def test_unconverged_and_non_finite_values_are_said() -> None:
    """A doubt stands in its panel's frame."""
    frames_: list[AnyFrame] = [
        header(),
        Scalars(seq=2, step=1, values={"loss": 1.0}), Scalars(seq=3, step=2, values={"loss": float("nan")}),
        Curvature(seq=4, step=2, top=(Ritz(5.0, 3.0, False),), bottom=(Ritz(-1.0, 0.1, True),), lanczos_steps=32),
        Scalars(seq=5, step=2, values={"temperature/noise": 1e-6}, errors={"temperature/noise": 1e-7},
                words={"temperature/noise": "consecutive differences, n=96, unreliable: ηλ_max > 1.5"}),
    ]  # fmt: skip

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = shown(app)
        assert "train is nan since step 2" in rows
        assert "λ max: not converged" in rows
        assert "unreliable: ηλ_max > 1.5" in rows

    drive(Told(frames_), check)


def test_a_number_enlarges_its_panel_and_escape_brings_all_back() -> None:
    """So does enter on the focused panel."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        every = set(panels(app))
        await pilot.press("2")
        await pilot.pause()
        assert list(panels(app)) == ["sharpness"]
        await pilot.press("escape")
        await pilot.pause()
        assert set(panels(app)) == every
        await pilot.press("escape", "tab", "enter")
        await pilot.pause()
        assert list(panels(app)) == ["loss"]
        await pilot.press("enter")
        await pilot.pause()
        assert set(panels(app)) == every

    drive(Told(STORY[:300]), check)


def test_a_frame_that_comes_while_the_screens_are_taken_down_draws_nothing() -> None:
    """The one on top goes first, its widgets before it, and the timer with the last."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("l")
        await pilot.pause()
        page = app.screen
        assert isinstance(page, LayersPage)
        await page.query("*").remove()
        app._running = False
        dashboard(app).tick()
        app._running = True

    drive(Told(STORY[:300]), check)


def test_y_changes_the_axis() -> None:
    """Of the loss when nothing is focused; pressed again it is as before."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        logarithmic = shown(app)
        await pilot.press("y")
        await pilot.pause()
        assert shown(app) != logarithmic
        await pilot.press("y")
        await pilot.pause()
        assert text(app)[1:-1] == logarithmic.split("\n")[1:-1]

    drive(Told(STORY), check)


def test_the_phase_strip_tells_the_story() -> None:
    """Below the header, with the number of alerts; the present chapter follows a seek."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        row = text(app)[1]
        at = [
            row.index(word)
            for word in ("phase", "init", "descent", "memorized", "spike", "GROKKING", "alerts 4")
        ]
        assert at == sorted(at)
        await pilot.press("home")
        await settle(app, pilot)
        assert "GROKKING" not in text(app)[1]
        assert "alerts 0" in text(app)[1]

    drive(Tape(STORY), check)


def test_the_phase_strip_gives_way_to_panels() -> None:
    """A replay at 80 by 24 has it beside its six boxes, at 80 by 23 the boxes alone."""

    def checked(told: bool) -> Check:
        async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
            assert ("phase" in shown(app)) == told
            assert sum(panel.boxed for panel in panels(app).values()) == 6

        return check

    drive(Tape(STORY[:2000]), checked(True), (80, 24))
    drive(Tape(STORY[:2000]), checked(False), (80, 23))


def test_help_is_plain_where_the_terminal_is() -> None:
    """Every sign spelled out, also those of the frame."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert shown(app).isascii(), {char for char in shown(app) if not char.isascii()}
        await pilot.press("end")
        await pilot.pause()
        assert "Quantities" not in shown(app) and "gradient" in shown(app)
        assert shown(app).isascii(), {char for char in shown(app) if not char.isascii()}

    drive(Tape(STORY[:300]), check, ascii_only=True)


def test_no_colour_is_drawn_where_none_is_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    """As NO_COLOR asks: every ink and every ground is a grey, and the states are words."""
    monkeypatch.setenv("NO_COLOR", "1")

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        styles = [
            seg.style
            for strip in app.screen._compositor.render_strips()
            for seg in strip
            if seg.style is not None
        ]
        colours = [
            colour for style in styles for colour in (style.color, style.bgcolor) if colour is not None
        ]
        assert colours and all(colour.triplet and len(set(colour.triplet)) == 1 for colour in colours)
        assert "live" in text(app)[0]

    drive(Told(STORY[:300]), check)


def test_help_lists_keys_and_quantities() -> None:
    """With unit and source; the same key closes it; the feed goes on behind it."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        assert "Keys" in shown(app)
        await pilot.pause()
        lines = app.screen.query_one(HelpPanel).lines
        said = " ".join(" ".join("".join(part for _, part in line) for line in lines).split())
        does = " ".join(" ".join(part for line in lines for ink, part in line if ink == "dim").split())
        for binding in every_binding():
            name = str(binding.id)
            assert name in REPLAY_ONLY or binding.tooltip in does or name.startswith("panel_"), binding
        for known in QUANTITIES.values():
            assert all(words in said for words in (known.label, known.name, known.meaning, known.source)), (
                known
            )
        dashboard(app).tick()
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Dashboard)

    drive(Told(STORY[:300]), check)


def test_a_replay_moves_by_keys() -> None:
    """Seek, step, alerts, ends, speed; the bar tells where it stands."""
    tape = Tape(STORY, step=10_000)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        async def after(*keys: str) -> int:
            await pilot.press(*keys)
            await settle(app, pilot)
            return app.feed.view.step

        assert "step 10 000 of 34 000" in shown(app)
        assert "paused" in text(app)[0]
        assert await after("right") == 10_340
        assert await after("left") == 10_000
        assert await after("right_square_bracket") == 13_400
        assert await after("shift+left") == 10_000
        assert await after("n") == 12_040
        assert await after("n") == 21_300
        assert await after("N") == 12_040
        assert await after("home") == 0
        assert await after("end") == 34_000
        assert await after("comma") == 33_990
        await after("full_stop")
        await after("plus", "plus")
        assert tape.speed == 5.0
        assert "5×" in text(app)[-2]
        await after("minus")
        assert tape.speed == 2.0
        await after("space")
        assert tape.playing

    drive(tape, check)


def test_a_click_on_the_replay_bar_seeks() -> None:
    """The middle of the bar is the middle of the recording."""
    tape = Tape(STORY, step=100)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.click("ReplayBar", offset=(54, 0))
        await settle(app, pilot)
        assert 15_000 < app.feed.view.step < 19_000

    drive(tape, check)


def test_replay_keys_do_nothing_on_a_live_run() -> None:
    """And there is no bar."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("right", "n", "home", "comma", "plus")
        assert app.feed.timeline is None
        assert "of 34 000" not in shown(app)

    drive(Told(STORY[:100]), check)


def test_names_of_the_training_get_panels_of_their_own() -> None:
    """Where there is room for them."""
    values = {"loss": 1.0, "eval/f1": 0.5, "eval/recall": 0.25}

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "eval" in panels(app)
        assert "f1" in shown(app)
        assert "recall" in shown(app)

    drive(Told([header(), *(Scalars(seq=i, step=i, values=values) for i in range(2, 9))]), check, (200, 60))


def test_a_file_of_plain_scalars_shows_only_what_it_has() -> None:
    """No empty curvature panels for a CSV file."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert set(panels(app)) == {"loss", "alerts"}

    drive(
        Told([Scalars(seq=i, step=i, values={"loss": 1.0 / i}) for i in range(1, 50)], phase="replay"), check
    )


def test_an_unchanged_view_repaints_no_panel() -> None:
    """A tick without news costs the panels nothing."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        before = {name: panel._canvas for name, panel in panels(app).items()}
        await settle(app, pilot)
        assert all(panel._canvas is before[name] for name, panel in panels(app).items())

    drive(Told(STORY[:300]), check)


def test_only_the_panels_with_news_are_drawn_again() -> None:
    """A loss redraws the loss, and an alert the alerts."""
    source = Told(STORY)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        view = app.feed.view
        before = {name: panel._canvas for name, panel in panels(app).items()}
        source.tell(Scalars(seq=view.seq + 1, step=view.step, values={"loss": 0.5}))
        await settle(app, pilot)
        drawn = {name for name, panel in panels(app).items() if panel._canvas is not before[name]}
        assert drawn == {"loss"}

    drive(source, check)


def test_dark_light_and_ascii() -> None:
    """A key changes the theme; the ASCII form has no other character in frames and curves."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert app.theme == "lsmon-dark"
        await pilot.press("t")
        await settle(app, pilot)
        assert app.theme == "lsmon-light"
        assert shown(app).isascii(), {char for char in shown(app) if not char.isascii()}

    drive(Told(STORY), check, ascii_only=True)


def test_a_theme_of_textual_works_too() -> None:
    """The command palette offers them."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        for theme in ("nord", "textual-ansi", "ansi-dark", "solarized-light"):
            if theme in app.available_themes:
                app.theme = theme
                await settle(app, pilot)
                assert "loss" in shown(app)

    drive(Told(STORY[:100]), check)


def test_resizing_lays_out_anew() -> None:
    """From wide to small and back."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.resize_terminal(60, 15)
        await settle(app, pilot)
        assert sum(panel.boxed for panel in panels(app).values()) == 2
        await pilot.resize_terminal(120, 36)
        await settle(app, pilot)
        assert all(panel.boxed for panel in panels(app).values())

    drive(Told(STORY[:300]), check)


def test_q_quits() -> None:
    """And leaves the source to its owner."""
    source = Told(STORY[:10])

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("q")
        await pilot.pause()
        assert not app.is_running

    drive(source, check)


def test_negative_losses_are_not_hidden_by_a_logarithm() -> None:
    """An evidence bound below zero gets a linear axis by itself."""
    story = [Scalars(seq=i, step=i, values={"loss": 5.0 - i}) for i in range(1, 40)]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "−20" in shown(app)

    drive(Told([header(), *story]), check)


def test_a_sensor_that_is_off_and_what_concerns_the_whole_run_is_said_on_the_status_line() -> None:
    """A fault switches off what failed, and everybody sees it."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "temperature off: it failed" in text(app)[-1]
        assert "steps: one of 2 is told" in text(app)[-1]
        assert "temperature: off: it failed" in shown(app)

    notes = {"temperature": "off: it failed", "steps": "one of 2 is told"}
    drive(Told([header(), Heartbeat(seq=1, notes=notes)]), check)


def test_redraws_are_fewer_over_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten a second locally, four where the screen itself runs over ssh."""
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    assert LsmonApp(Told())._fps == 10
    monkeypatch.setenv("SSH_CONNECTION", "1.2.3.4 5 6.7.8.9 22")
    assert LsmonApp(Told())._fps == 4


def test_the_first_paint_loads_neither_numpy_nor_torch() -> None:
    """Curves load numpy when the first of them is drawn."""
    code = "import sys, lsmon.tui.app as a; print([m for m in ('numpy', 'torch', 'zmq') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
