"""A paint at another size, before anything on the screen has been told of it, and what is said of the new one."""

from __future__ import annotations

import asyncio

import pytest
from textual.geometry import Size
from textual.pilot import Pilot

from lsmon.tui.app import LsmonApp
from lsmon.tui.widgets.drawn import Drawn
from tests.bench.story import Told
from tests.scenes import SCENES, STORY, Scene, lead
from tests.screenplay import drive, text

SIZES = [Size(width, height) for width in (1, 4, 9, 16, 33, 64, 120, 240) for height in (1, 3, 5, 9, 24, 70)]


@pytest.mark.parametrize("name", SCENES)
def test_every_widget_can_be_painted_at_any_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, in whichever form it has."""

    async def check(app: LsmonApp, pilot: Pilot[None], scene: Scene) -> None:
        await lead(app, pilot, scene)
        await pilot.pause()
        widgets = [each for screen in app.screen_stack for each in screen.query(Drawn) if each.display]
        assert widgets
        for size in SIZES:
            monkeypatch.setattr(Drawn, "size", size)
            for widget in widgets:
                assert len(widget._drawn(size)) == size.height
        monkeypatch.undo()

    async def session() -> None:
        scene = SCENES[name]
        app = LsmonApp(scene.source(), runs=scene.runs, fps=0.01, ascii_only=False, clock=lambda: 100.0)
        async with app.run_test(size=(120, 36)) as pilot:
            await check(app, pilot, scene)

    asyncio.run(session())


def test_what_has_no_room_is_told_of_what_is_on_the_screen_now() -> None:
    """Not of the panels of a moment ago, when one is enlarged and when all come back."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "no room: " in text(app)[-1]
        for key in ("2", "escape", "2", "enter"):
            before = text(app)[-1]
            await pilot.press(key)
            await pilot.pause()
            assert ("no room: " in text(app)[-1]) is ("no room: " not in before)

    drive(Told(STORY), check, (60, 10))
