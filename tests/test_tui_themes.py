"""Every ink can be read on its ground, in every theme and in sixteen colours."""

from __future__ import annotations

import asyncio

import pytest
from rich.color import Color, ColorSystem

from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.ask import Ask
from lsmon.tui.themes import SIXTEEN, THEMES, Palette
from tests.bench.story import Told

READ = ("ink", "dim", "faint", "info", "warning", "critical", "good", *(f"curve{i}" for i in range(6)))


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, from 1 to 21."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def colour(palette: Palette, ink: str) -> Color:
    found = palette.style(ink).color
    assert found is not None
    return found


@pytest.mark.parametrize("name", THEMES)
def test_what_is_read_has_the_contrast_of_wcag_aa(name: str) -> None:
    """4.5 for words; 2.5 for a rule, which is only to be seen."""
    palette = THEMES[name][1]
    for ink in READ:
        assert contrast(colour(palette, ink).name, palette.ground) >= 4.5, ink
    if palette is not SIXTEEN:
        assert contrast(palette.rule, palette.ground) >= 2.5


def test_in_sixteen_colours_words_are_bright_and_what_is_soft_is_its_dark_one() -> None:
    def number(ink: str) -> int:
        found = colour(SIXTEEN, ink).downgrade(ColorSystem.STANDARD).number
        assert found is not None
        return found

    for ink in (
        "ink",
        "info",
        "warning",
        "critical",
        "good",
        "curve0",
        "curve1",
        "curve2",
        "curve3",
        "curve5",
    ):
        assert number(ink) >= 8, ink
        assert number(f"soft {ink}") == number(ink) - 8, ink
    assert number("dim") == number("faint") == 7  # the bright black of a rule is the ground of some terminals
    assert number("rule") == 8


def test_a_question_follows_the_theme() -> None:
    """What was asked in the dark can be read in the light."""

    async def session() -> None:
        app = LsmonApp(Told(), fps=0.01, ascii_only=False)
        async with app.run_test(size=(80, 24)) as pilot:
            app.push_screen(Ask("filter"))
            await pilot.pause()
            for theme in THEMES:
                app.theme = theme
                await pilot.pause()
                words = app.screen.query_one("#ask-what").rich_style
                assert words.color is not None
                assert words.bgcolor is not None
                assert contrast(words.color.name, words.bgcolor.name) >= 4.5, theme

    asyncio.run(session())
