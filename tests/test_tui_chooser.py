"""The list of runs: what is live, what was recorded, or how to start one."""

from __future__ import annotations

import asyncio

from lsmon.tui.screens.chooser import Choice, ChooserApp

LIVE = [
    Choice("grok-p97", "box-3", "training", "12 min ago", "live-0"),
    Choice("saddle", "box-3", value="live-1"),
]
RECORDED = [Choice("old", state="ended early", age="2 d ago", value="recorded-0")]


def chosen(app: ChooserApp, *keys: str) -> tuple[Choice | None, str]:
    """What the keys choose, and the screen before them."""

    async def session() -> str:
        async with app.run_test(size=(100, 30)) as pilot:
            await pilot.pause()
            rows = "\n".join(strip.text for strip in app.screen._compositor.render_strips())
            await pilot.press(*keys)
            await pilot.pause()
        return rows

    rows = asyncio.run(session())
    return app.return_value, rows


def test_the_first_live_run_is_a_key_away() -> None:
    """Enter opens what stands first."""
    choice, rows = chosen(ChooserApp(LIVE, RECORDED), "enter")
    assert choice == LIVE[0]
    for words in ("training now", "recorded", "grok-p97  box-3", "training", "12 min ago", "ended early"):
        assert words in rows


def test_recorded_runs_follow_the_live_ones() -> None:
    """The headings are passed over."""
    assert chosen(ChooserApp(LIVE, RECORDED), "down", "down", "enter")[0] == RECORDED[0]


def test_nothing_is_chosen_by_quitting() -> None:
    """Then the answer is None."""
    assert chosen(ChooserApp(LIVE, RECORDED), "q")[0] is None


def test_without_runs_it_tells_how_to_start_one() -> None:
    """The demo, the three lines, a file, a host."""
    choice, rows = chosen(ChooserApp([], []), "escape")
    assert choice is None
    for words in ("lsmon demo", "Probe(model, optimizer, loss_fn)", "lsmon replay PATH", "lsmon HOST:"):
        assert words in rows


def test_what_went_wrong_stands_below_the_list() -> None:
    """Without a control character."""
    _, rows = chosen(ChooserApp(LIVE, [], ["dark says: \x1b]52;c;AAAA\x07"]), "q")
    assert "dark says: ␦]52;c;AAAA␦" in rows and "grok-p97" in rows
