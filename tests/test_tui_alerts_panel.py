"""The alerts among the panels of the dashboard."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import Alert, Mark
from lsmon.tui.app import LsmonApp
from lsmon.tui.wrapping import wrapped
from tests.bench.story import Told, header
from tests.screenplay import drive, settle, shown


def test_an_alert_is_told_whole_where_there_is_room() -> None:
    """To its last word, however many lines that takes; each event below keeps two lines of its own."""
    message = " ".join(f"word{i}" for i in range(60))
    alerts = [
        Alert(seq=2, step=10, kind="first", severity="warning", message="Early it was. It is told as well."),
        Alert(seq=3, step=20, kind="second", severity="warning", message=message),
    ]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "word59" in shown(app)
        assert "well." in shown(app)
        await pilot.resize_terminal(80, 24)
        await settle(app, pilot)
        assert "word59" not in shown(app)
        assert "…" in shown(app)
        assert "first" in shown(app)

    drive(Told([header(), *alerts]), check, (120, 50))


def test_alerts_are_told_apart_without_colour() -> None:
    """A sign of its own for each severity, and words."""
    alerts = [
        Alert(seq=2 + i, step=10 + i, kind=f"kind_{severity}", severity=severity, message="What happened.")  # type: ignore[arg-type]
        for i, severity in enumerate(("info", "warning", "critical"))
    ]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = shown(app)
        for sign, words in (("●", "kind info"), ("▲", "kind warning"), ("✖", "kind critical")):
            assert any(sign in row and words in row for row in rows.split("\n"))

    drive(Told([header(), *alerts]), check)


def test_wide_letters_are_folded_by_their_cells() -> None:
    """The whole note is there, with blanks between its words and without."""
    note = "メモ: 学習率を下げた、損失が下がらないので that is all"

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = shown(app).split("\n")
        assert "…" not in "".join(rows)
        kept = "".join(row.rpartition("││")[2].strip(" │") for row in rows)
        assert note.replace(" ", "") in kept.replace(" ", "")

    drive(Told([header(), Mark(seq=2, step=10, note=note)]), check, (120, 36))


@pytest.mark.parametrize("cols", range(10, 40))
def test_a_number_is_not_broken_across_lines(cols: int) -> None:
    """Between its groups, or before its per cent; a list of numbers is."""
    words = "Since step 4 501 it is 12 % of 1 234 567; layers 1 2 3 4 say so."
    lines = wrapped(words, cols)
    assert " ".join(lines) == words and max(map(len, lines)) <= cols
    for whole in ("4 501", "12 %", "1 234 567;"):
        assert any(whole in line for line in lines)
