"""The list of alerts: newest first, each with all that is known of it, and the way to its step."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from lsmon.protocol.detectors.saddle import ALONG_GRADIENT, ON_THE_WAY
from lsmon.protocol.frames import Alert, Curvature, Mark, Scalars
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.alerts import AlertsPage
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.help import Help
from lsmon.tui.widgets.alert_detail import AlertDetail, alert_lines, meaning
from lsmon.tui.widgets.alert_list import AlertList
from lsmon.tui.widgets.alerts import SIGNS
from lsmon.tui.widgets.canvas import plain
from tests.bench.story import Tape, Told, frames, header
from tests.screenplay import drive, settle, shown, text

STORY = [
    frame
    for frame in frames(34_000)
    if not isinstance(frame, Scalars | Curvature) or frame.step % 1000 == 0 or frame.step == 21_280
]
"""The whole run in few frames."""
MANY = [
    Alert(seq=2 + i, step=10 * i, kind="loss_spike", severity="warning", message=f"Number {i}.")
    for i in range(100)
]


def listed(app: LsmonApp) -> AlertList:
    return app.screen.query_one(AlertList)


async def opened(app: LsmonApp, pilot: Pilot[None], *keys: str) -> str:
    await pilot.press("a")
    await settle(app, pilot)
    if keys:
        await pilot.press(*keys)
        await settle(app, pilot)
    return shown(app)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 36), (200, 60), (30, 10), (12, 5)])
def test_it_opens_and_closes_at_every_size(size: tuple[int, int]) -> None:
    """The newest first and chosen; its key, escape and q lead back."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        for close in ("a", "escape", "q"):
            rows = await opened(app, pilot)
            assert isinstance(app.screen, AlertsPage)
            if size >= (60, 15):
                assert (
                    rows.index("grokking onset")
                    < rows.index("lowered the weight decay")
                    < rows.index("loss spike")
                )
                assert "Validation accuracy rises" in rows
            await pilot.press(close)
            assert isinstance(app.screen, Dashboard)

    drive(Told(STORY), check, size)


def test_the_detail_tells_everything() -> None:
    """Message, onset, confidence, what it follows, evidence with its meaning and unit, advice."""
    alerts = [
        Alert(seq=2, step=10, kind="memorized", message="Known by heart."),
        Alert(seq=3, step=90, onset_step=70, kind="grokking_onset", message="It rises.", confidence=0.9, follows=2,
              evidence={"hessian/min": -0.25, "lowest val/acc": 0.125, "my own": 3.0}, advice="Keep training."),
    ]  # fmt: skip

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        for words in ("It rises.", "step 90", "step 70, 20 steps before", "90 %", "memorized of step 10", "−0.25",
                      "λ min, in loss: The smallest eigenvalue", "lowest val/acc", "val acc: Accuracy on held-out data",
                      "my own", "Keep training."):  # fmt: skip
            assert words in rows, words
        await pilot.press("down")
        await settle(app, pilot)
        assert "Known by heart." in shown(app)
        assert "It rises." not in shown(app)
        assert "not said" in shown(app)

    drive(Told([header(), *alerts]), check)


def test_a_long_list_scrolls_with_the_choice() -> None:
    """By line, by page, to both ends; the chosen one is always in sight."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        assert "Number 99." in shown(app)
        for keys in (("down",) * 2, ("pagedown",) * 3, ("pageup",), ("up",)):
            await pilot.press(*keys)
            await settle(app, pilot)
            at = 99 - listed(app).held.at
            assert f"Number {at}." in shown(app)
            assert any("›" in row and f"{10 * at:>8}"[-5:].strip() in row for row in text(app))
        await pilot.press(*["pagedown"] * 12)
        await settle(app, pilot)
        assert "Number 0." in shown(app)

    drive(Told([header(), *MANY]), check, (80, 24))


def test_news_do_not_move_the_choice() -> None:
    """Unless the newest is chosen: then the list follows."""
    source = Told([header(), *MANY[:5]])

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        source.tell(MANY[5])
        await settle(app, pilot)
        assert "Number 5." in shown(app)
        await pilot.press("down")
        source.tell(MANY[6])
        await settle(app, pilot)
        assert "Number 4." in shown(app)
        assert "3 of 7" in shown(app)

    drive(source, check)


def test_the_mouse_chooses() -> None:
    """A click on a line, and the wheel."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.click(AlertList, offset=(6, 3))
        await settle(app, pilot)
        assert listed(app).held.at == 2

    drive(Told([header(), *MANY[:5]]), check)


@pytest.mark.parametrize("key", ["enter", "g"])
def test_a_replay_goes_to_the_step(key: str) -> None:
    """And back to the panels, to see it there; the list then says how many are later."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("down", "down", key)
        assert isinstance(app.screen, Dashboard)
        await settle(app, pilot)
        assert app.feed.view.step == 21_300
        rows = await opened(app, pilot)
        assert "1 alert later" in rows
        assert "grokking onset" not in rows
        await pilot.press("o")
        await settle(app, pilot)
        assert app.feed.view.step == 21_280

    drive(Tape(STORY), check)


def test_a_live_run_says_that_it_cannot_go_back() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot, "enter")
        assert isinstance(app.screen, AlertsPage)
        assert any("cannot go back" in note.message for note in app._notifications)

    drive(Told(STORY), check)


def test_an_empty_list_says_so() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot, "down", "enter", "pagedown")
        assert "nothing has happened yet" in rows

    drive(Told([header()]), check)


def test_the_replay_keys_work_on_the_page_too() -> None:
    """Next alert, pause; help opens over it and closes back to it."""
    tape = Tape(STORY, step=10_000)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot, "n")
        assert app.feed.view.step == 12_040
        assert "memorized" in shown(app)
        await pilot.press("space")
        assert tape.playing
        await pilot.press("question_mark")
        assert isinstance(app.screen, Help)
        await pilot.press("escape")
        assert isinstance(app.screen, AlertsPage)

    drive(tape, check)


def test_only_what_changed_is_drawn_again() -> None:
    """A tick without an alert draws neither list nor detail."""
    source = Told(STORY)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        before = listed(app)._canvas, app.screen.query_one(AlertDetail)._canvas
        source.tell(
            Scalars(seq=app.feed.view.seq + 1, step=34_001, wall=app.feed.view.wall, values={"loss": 0.5})
        )
        await settle(app, pilot)
        assert "step 34 001" in text(app)[0]
        assert (listed(app)._canvas, app.screen.query_one(AlertDetail)._canvas) == before

    drive(source, check)


def test_marks_are_listed_too() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert "lower lr [/b]" in rows
        assert "by the person who trains" in rows

    drive(Told([header(), Mark(seq=2, step=5, note="lower lr [/b]")]), check)


def test_a_note_is_by_the_person_who_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training knows nothing of it."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await settle(app, pilot)
        await pilot.press("m", *"too hot", "enter")
        rows = await opened(app, pilot)
        assert "too hot" in rows
        assert "by the person who watches" in rows

    drive(Told([header(), Scalars(seq=2, step=5, values={"loss": 1.0})]), check)


def test_evidence_is_spelled_in_ascii() -> None:
    assert plain(f"{ALONG_GRADIENT} {ON_THE_WAY}") == "g^THg/|H| on the way u^THu/|H|"


def test_ascii_only() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert rows.isascii(), {char for char in rows if not char.isascii()}
        assert "phase" in rows

    drive(Told(STORY), check, ascii_only=True)


def test_a_detail_too_long_for_its_place_scrolls() -> None:
    """Nothing that was said is out of reach."""
    message = " ".join(f"word{i}" for i in range(60))

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert "more: tab" in rows
        assert "word59" not in rows
        await pilot.press("tab", *["down"] * 16)
        await settle(app, pilot)
        assert "Do nothing." in shown(app)

    drive(
        Told([header(), Alert(seq=2, step=1, kind="stall", message=message, advice="Do nothing.")]),
        check,
        (60, 15),
    )


def test_lines_fit_their_width() -> None:
    """Also of wide characters and of names longer than their column."""
    from lsmon.tui.widgets.canvas import cells

    alert = Alert(
        seq=1, step=2, kind="x", message="模型训练" * 40, evidence={"a/very/long/name" * 5: 1.0, "loss": 2.0}
    )
    for cols in (24, 40, 76, 100):
        for line in alert_lines(alert, None, SIGNS, cols):
            assert sum(cells(part) for _, part in line) <= max(cols, 46), line


def test_the_registry_explains_a_number() -> None:
    assert meaning("hessian/max before").startswith("λ max, in loss: Sharpness")
    assert meaning("plateau since") == ""
