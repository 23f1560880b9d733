"""Panels for which there is no room are on the next page."""

from __future__ import annotations

from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Scalars
from lsmon.tui.app import LsmonApp
from tests.bench.story import Told, header
from tests.screenplay import drive, panels, settle, shown, text

NAMES = [f"block_{at}/ratio" for at in range(100)]
FRAMES: list[AnyFrame] = [
    header(),
    Scalars(seq=2, step=10, values={"loss": 1.0, **dict.fromkeys(NAMES, 0.5)}),
]


def test_every_panel_is_reached_and_drawn() -> None:
    """Also when nothing comes any more; then back to the first page, by the same way or at once."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        first = list(panels(app))
        assert "no room: " in text(app)[-1] and "pgdn more" in text(app)[-1]
        seen = set(first)
        for number in range(2, 40):
            await pilot.press("pagedown")
            await settle(app, pilot)
            if f"page {number} of" not in text(app)[-1]:
                break
            assert "0.5" in shown(app) and not seen & panels(app).keys()
            seen |= panels(app).keys()
        assert {f"block_{at}" for at in range(100)} <= seen
        await pilot.press("pageup")
        await settle(app, pilot)
        assert f"page {number - 2} of {number - 1}" in text(app)[-1]
        await pilot.press("1", "escape", "escape")
        await settle(app, pilot)
        assert list(panels(app)) == first and "page" not in text(app)[-1]

    drive(Told(FRAMES), check, (120, 36))


def test_a_panel_that_was_away_shows_what_has_come_meanwhile() -> None:
    source = Told(FRAMES)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("pagedown")
        await settle(app, pilot)
        source.tell(Scalars(seq=3, step=20, values={"loss": 0.125}))
        await settle(app, pilot)
        assert "0.125" not in shown(app)
        await pilot.press("pageup")
        await settle(app, pilot)
        assert "0.125" in shown(app)

    drive(source, check, (120, 36))
