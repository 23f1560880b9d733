"""Quantities one by one: value, doubt, definition; and two steps of a run picked from its alerts."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import Curvature, Heartbeat, Mark, Ritz, RunEnded, Scalars
from lsmon.protocol.names import QUANTITIES
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.compare import CompareScreen
from lsmon.tui.screens.detail import DetailPage
from lsmon.tui.store import Store
from lsmon.tui.widgets.detail import OTHERS, SECTIONS, told
from tests.bench.story import Told, frames, header
from tests.scenes import past
from tests.screenplay import drive, settle, shown, text, until
from tests.test_tui_compare import run

STORY = list(frames(34_000))


def lines(frames_: list, section: str, cols: int = 100) -> list[str]:  # type: ignore[type-arg]
    store = Store()
    for frame in frames_:
        store.fold(frame)
    return ["".join(part for _, part in line) for line in told(store.view(), section, cols)]


def test_every_known_quantity_is_told_of_with_its_definition() -> None:
    """In one section, measured or not: label, meaning, unit, source."""
    everything = {title: " ".join(" ".join(lines([header()], title, 300)).split()) for title, _ in SECTIONS}
    for known in QUANTITIES.values():
        if known.name != "regime":
            homes = [title for title, words in everything.items() if known.meaning in words]
            assert len(homes) >= 1, known
            assert known.source in everything[homes[0]], known


def test_values_come_with_their_doubt_and_their_method() -> None:
    """What is unreliable says so; what is missing says what it waits for."""
    words = {"temperature/noise": "consecutive differences, n=96, unreliable: ηλ_max > 1.5"}
    said = lines(
        [header(), Scalars(seq=2, step=7, values={"temperature/noise": 3.1e-6}, errors={"temperature/noise": 1.24e-7}, words=words),
         Heartbeat(seq=2, step=7, notes={"temperature": "waiting for 20 gradients"})],
        "temperature",
    )  # fmt: skip
    assert "3.1e-6 ± 4 %" in said[0]
    assert "unreliable" in said[1]
    missing = said.index("not measured so far")
    assert said[missing + 1].split() == ["why", "waiting", "for", "20", "gradients"]
    assert all(len(line) <= 100 + 24 for line in said)


def test_the_error_of_an_eigenvalue_is_said_to_be_the_solvers() -> None:
    """The examples that it was measured on may move it by more, which stands beside."""
    few = ("11 of 512 examples: λ_max at most 30% too high",)
    measured = Curvature(seq=2, step=7, top=(Ritz(24.4, 9e-3, True),), batch=11, notes=few)
    said = lines([header(), measured], "sharpness")
    assert "24.4 ± 9e-3" in said[0]
    assert said[1].split() == f"how ± by the solver; {few[0]}".split()


def test_what_is_missing_is_not_yet_there_or_never_came() -> None:
    """A run that has ended measures nothing more."""
    unknown = [header(), Scalars(seq=2, step=7, values={"loss": 1.0})]
    assert "not measured so far" in lines(unknown, "temperature")
    assert "not measured" in lines([*unknown, RunEnded(seq=3, step=7)], "temperature")


def test_the_volume_tells_how_it_has_changed() -> None:
    """Since the first measurement and since each mark, with an error smaller than that of either."""
    marked = [*run("a"), Mark(seq=900, step=120, note="warmer")]
    said = " ".join(lines(marked, "volume", 200))
    assert "3.0" in said and "nats since the first one: wider (steps 0 and 300)" in said
    assert "nats since mark 'warmer': wider (steps 100 and 300)" in said


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60), (60, 15), (30, 10), (12, 5)])
def test_d_opens_on_the_panel_that_keys_act_on(size: tuple[int, int]) -> None:
    """Temperature first, else where one is; c takes the next; down scrolls; d or escape closes."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        await settle(app, pilot)
        assert isinstance(app.screen, DetailPage)
        if size[0] >= 60:
            assert "detail: temperature" in shown(app)
            assert "Langevin temperature" in shown(app)
            assert "c: volume" in shown(app)
        await pilot.press("c", "down", "pagedown", "up", "pageup", "c")
        await settle(app, pilot)
        if size[0] >= 60:
            assert "detail: sharpness" in shown(app)
        await pilot.press("d", "2", "d")
        await settle(app, pilot)
        if size[0] >= 60:
            assert "detail: sharpness" in shown(app)
        await pilot.press("escape")

    drive(Told(STORY[:900]), check, size)


def test_what_a_training_logs_itself_is_told_of_too() -> None:
    said = lines([header(), Scalars(seq=2, step=1, values={"eval/f1": 0.5})], OTHERS)
    assert said[0].startswith("f1") and "0.5" in said[0]
    assert any("Logged by this training." in line for line in said)


def test_in_ascii() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("d")
        for _ in SECTIONS:
            await pilot.press("c")
            await settle(app, pilot)
            assert shown(app).isascii(), {char for char in shown(app) if not char.isascii()}

    drive(Told(STORY[:900]), check, ascii_only=True)


def test_two_alerts_are_picked_and_compared() -> None:
    """Their steps over one another; a picked one is marked; one alone is compared with the chosen one."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("a", "x", "down", "down", "x")
        await settle(app, pilot)
        assert sum("◆ " in row and "─" not in row for row in text(app)) >= 2
        await pilot.press("c")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        await until(pilot, lambda: "step 30 180 − step 21 300" in shown(app))
        await pilot.press("escape")
        await pilot.press("x", "down", "c")
        await until(pilot, lambda: "step 30 180 − step 12 040" in shown(app))

    drive(Told(STORY), check, (140, 40))


def test_in_ascii_no_line_is_longer_than_its_panel() -> None:
    """Signs that are spelled out take more cells than they did."""
    store = Store()
    for frame in past():
        store.fold(frame)
    for section in ("temperature", "volume", "sharpness"):
        for line in told(store.view(), section, 76, ascii_only=True):
            words = "".join(text for ink, text in line if ink != "course")
            assert words.isascii(), words
            assert len(words) <= 76, words
