"""The keys and the mouse that change how the curves are looked at, on the whole screen."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from textual.pilot import Pilot

from lsmon.protocol.counts import grouped
from lsmon.protocol.frames import AnyFrame, Scalars
from lsmon.tui.app import LsmonApp
from lsmon.tui.lens import LENS
from tests.bench.story import Tape, Told, frames
from tests.screenplay import Check, dashboard, drive, panels, settle, text

STORY: list[AnyFrame] = list(frames(4000))


def looking(check: Check, source: Iterable[AnyFrame] = STORY) -> None:
    drive(Told(source), check)


def body(app: LsmonApp) -> str:
    """Without the lines that tell how long ago something was."""
    return "\n".join(text(app)[1:-1])


async def press(pilot: Pilot[None], *keys: str) -> None:
    await pilot.press(*keys)
    await pilot.pause()


def test_x_goes_round_what_curves_can_be_drawn_over() -> None:
    """Each has its labels below the curves; after the last come the steps again. This run logs no tokens."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        by_steps = body(app)
        assert "2 k" in by_steps
        await press(pilot, "x")
        assert "0:10" in body(app) and "over time since the start" in dashboard(app).lens.words()
        await press(pilot, "x")
        assert dashboard(app).lens.kind == "clock" and "2 k" not in body(app)
        await press(pilot, "x")
        assert body(app) == by_steps

    looking(check)


def test_zoom_and_pan() -> None:
    """z halves what is seen, b goes back by half of that, f forward again, Z and escape show the whole run."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        whole = body(app)
        await press(pilot, "z", "z")
        near = body(app)
        assert near != whole and dashboard(app).lens.zoom == 2
        await press(pilot, "b")
        assert dashboard(app).lens.end is not None and body(app) != near
        await press(pilot, "f")
        assert body(app) == near
        await press(pilot, "escape")
        assert dashboard(app).lens == LENS and body(app) == whole
        await press(pilot, "z", "Z")
        assert body(app) == whole

    looking(check)


@pytest.mark.parametrize(("key", "presses"), [("w", 3), ("u", 2), ("g", 2)])
def test_smoothing_clipping_and_glyphs_come_and_go(key: str, presses: int) -> None:
    """Each changes the picture, and after its last form it is as before."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        before, seen = body(app), []
        for _ in range(presses):
            await press(pilot, key)
            seen.append(body(app))
        assert seen[-1] == before and before not in seen[:-1]
        if key == "g":
            assert "█" in seen[0] and not any(0x2800 < ord(char) <= 0x28FF for char in seen[0])

    spike = Scalars(seq=STORY[-1].seq + 1, step=4000, wall=STORY[-1].wall, values={"loss": 1e9})
    looking(check, [*STORY, spike])


def test_the_cursor_reads_all_panels_at_one_step() -> None:
    """i puts it at the newest step, the arrows move it though the run is live, escape takes it away."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        before = body(app)
        await press(pilot, "left")
        assert body(app) == before  # nothing to move
        await press(pilot, "i", "shift+left", "shift+left", "left")
        step = dashboard(app).lens.cursor
        assert step is not None and 0 < step < 4000
        lines = text(app)
        assert sum("│" in line[2:40] for line in lines) > 5
        assert f"read at step {grouped(step)}" in lines[-1]
        await press(pilot, "right")
        assert (dashboard(app).lens.cursor or 0) > step
        await press(pilot, "escape")
        assert body(app) == before

    looking(check)


def test_the_values_at_the_cursor_are_those_of_its_step() -> None:
    """The validation accuracy that was the newest then, in the panel's frame."""
    story = [
        *frames(10),
        *(frame for frame in frames(4000) if frame.step > 10),
    ]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await press(pilot, "i")
        for _ in range(6):
            await press(pilot, "shift+left")
        step = dashboard(app).lens.cursor
        assert step is not None
        wanted = [
            frame.values["train/acc"]  # type: ignore[union-attr]
            for frame in story
            if frame.step <= step and "train/acc" in getattr(frame, "values", {})
        ][-1]
        assert f"train acc {wanted * 100:.2g} %" in body(app)

    looking(check, story)


def test_the_mouse_zooms_and_puts_the_cursor() -> None:
    """Two clicks put it, one more moves it, the wheel zooms; one click alone only chooses the panel."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        loss = panels(app)["loss"]
        await pilot.click(loss, offset=(20, 5))
        assert dashboard(app).lens.cursor is None
        await pilot.click(loss, offset=(20, 5), times=2)
        first = dashboard(app).lens.cursor
        assert first is not None
        await pilot.click(loss, offset=(30, 5))
        second = dashboard(app).lens.cursor
        assert second is not None and second > first
        await pilot.mouse_down(loss, offset=(30, 5))
        loss.on_mouse_scroll_up()  # type: ignore[attr-defined]
        await pilot.pause()
        assert dashboard(app).lens.zoom == 1

    looking(check)


def test_a_replay_seeks_by_the_arrows_unless_there_is_a_cursor() -> None:
    """With one they move it, and the replay stands."""
    tape = Tape(STORY, step=3000)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await press(pilot, "i", "left")
        assert app.feed.view.step == 3000
        cursor = dashboard(app).lens.cursor
        assert cursor is not None and cursor < 3000
        await press(pilot, "i", "left")
        await settle(app, pilot)
        assert app.feed.view.step < 3000

    drive(tape, check)
