"""What a screen that was left still holds: nothing."""

from __future__ import annotations

import gc
from typing import TypeVar

import pytest
from textual.pilot import Pilot
from textual.strip import Strip

from lsmon.tui.app import LsmonApp
from lsmon.tui.view import View
from tests.bench.story import Told, frames
from tests.screenplay import dashboard, drive, settle, shown

STORY = list(frames(3000))
T = TypeVar("T")


def alive(kind: type[T]) -> list[T]:
    gc.collect()
    return [found for found in gc.get_objects() if type(found) is kind]


def test_behind_a_page_no_old_view_is_kept() -> None:
    """With it the series of then would live on, as long again as those of now."""
    source = Told(STORY[:200])
    others = alive(View)  # of the tests before this one, which hold what they like

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("s", "l")
        app.action_page("spectrum")
        dashboard(app).tick()  # while it is being opened
        await settle(app, pilot)
        before = app.feed.newest.seq
        source.tell(*STORY[200:])
        await settle(app, pilot)
        assert 0 < before < app.feed.newest.seq
        ours = {view.seq for view in alive(View) if all(view is not other for other in others)}
        assert ours == {app.feed.newest.seq}
        await pilot.press("s")
        assert "loss" in shown(app) and "λ max" in shown(app)

    drive(source, check)


@pytest.mark.parametrize("key", ["a", "l", "s", "d", "question_mark"])
def test_what_was_drawn_of_a_page_goes_with_it(key: str) -> None:
    """Textual's own caches hold the lines of a screen that has some of its own."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        counts = []
        for _ in range(3):
            await pilot.press(key, "escape")
            await settle(app, pilot)
            counts.append(len(alive(Strip)))
        assert counts[-1] <= counts[0] + 10

    drive(Told(STORY), check)
