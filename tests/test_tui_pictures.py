"""Every screen in its states at three sizes, as a picture: what changes is looked at before it is accepted.

``LSMON_ACCEPT=1 pytest tests/test_tui_pictures.py`` takes the new pictures; ``build/pictures`` has those that differ.
"""

from __future__ import annotations

import asyncio
import lzma
import os
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.pilot import Pilot

from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.compare import CompareScreen
from tests.scenes import SCENES, Scene, lead
from tests.screenplay import shown, text

SIZES = ((80, 24), (120, 36), (200, 60))
KEPT = Path(__file__).parent / "pictures"
DIFFERENT = Path(__file__).parent.parent / "build" / "pictures"
ACCEPT = os.environ.get("LSMON_ACCEPT") == "1"


def drawn(scene: Scene, size: tuple[int, int], *, theme: str = "lsmon-dark") -> tuple[str, str]:
    """The SVG and the text of a scene; no clock runs in it."""
    made: list[tuple[str, str]] = []

    async def session() -> None:
        app = LsmonApp(scene.source(), runs=scene.runs, fps=0.01, ascii_only=False, clock=lambda: 100.0)
        async with app.run_test(size=size) as pilot:
            app.theme = theme
            await lead(app, pilot, scene)
            await quiet(app, pilot)
            for row in text(app):
                assert cell_len(row) == size[0]
            made.append((app.export_screenshot(), shown(app)))

    asyncio.run(session())
    return made[0]


async def quiet(app: LsmonApp, pilot: Pilot[None]) -> None:
    """Until nothing changes any more: a screen lays out one turn and draws the next."""
    same, before = 0, ""
    for _ in range(60):
        if isinstance(app.screen, CompareScreen):
            app.screen.tick()
        await pilot.pause()
        now = shown(app)
        same = same + 1 if now == before else 0
        before = now
        if same >= 4:
            return


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", SCENES)
def test_the_screen_is_as_it_was_accepted(name: str, size: tuple[int, int]) -> None:
    """The same SVG, and every state in words."""
    scene = SCENES[name]
    svg, words = drawn(scene, size)
    for word in scene.words:
        assert word in words, f"{word!r} is not said:\n{words}"
    kept = KEPT / f"{name}-{size[0]}x{size[1]}.svg.xz"
    if ACCEPT:
        kept.write_bytes(lzma.compress(svg.encode(), preset=9))
        return
    before = lzma.decompress(kept.read_bytes()).decode() if kept.exists() else ""
    if svg != before:
        DIFFERENT.mkdir(parents=True, exist_ok=True)
        (DIFFERENT / f"{name}-{size[0]}x{size[1]}.svg").write_text(svg)
        (DIFFERENT / f"{name}-{size[0]}x{size[1]}-before.svg").write_text(before)
    assert svg == before, f"Look at build/pictures/{name}-{size[0]}x{size[1]}.svg, then accept it:\n{words}"
