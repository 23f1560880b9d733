"""The status line says of each thing what it is, and says it once."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import RunEnded
from lsmon.protocol.sources.source import Link
from lsmon.tui.app import LsmonApp
from tests.bench.story import Told, frames
from tests.screenplay import drive, settle, text

STORY = list(frames(1000))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ("KeyboardInterrupt", "training stopped by Ctrl-C"),
        ("ValueError: no", "training failed: ValueError: no"),
    ],
)
def test_how_a_training_ended_is_said_once(error: str, said: str) -> None:
    """The link to it says the same words."""
    source = Told([*STORY[:50], RunEnded(seq=51, step=500, reason="error", error=error)])

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        source.link = Link("ended", error)
        await settle(app, pilot)
        assert said in text(app)[-1]
        assert text(app)[-1].count(error) == (error in said)

    drive(source, check)


def test_lines_that_could_not_be_read_are_not_called_lost_frames_too() -> None:
    """They are one and the same loss."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        source.link = Link("replay", "9 lines could not be read", 1)
        await settle(app, pilot)
        assert "9 lines could not be read" in text(app)[-1]
        assert "lost" not in text(app)[-1]

    source = Told(STORY[:50])
    drive(source, check)


@pytest.mark.parametrize("cols", range(4, 30))
def test_how_the_link_is_stands_there_at_any_width(cols: int) -> None:
    """By its sign where there is no room for its word."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert ("ended early" in text(app)[0]) is (cols > 15) and "■" in text(app)[0]

    drive(Told(STORY[:50], phase="ended early"), check, (cols, 10))


@pytest.mark.parametrize("key", ["", "a"])
def test_how_a_training_failed_is_told_whole(key: str) -> None:
    """One line is too short for it: it is among the alerts, on the panels and on their page."""
    error = "RuntimeError: " + " ".join(f"word{at}" for at in range(40))
    source = Told([*STORY[:50], RunEnded(seq=51, step=500, reason="error", error=error)])

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press(*key)
        await settle(app, pilot)
        assert "word39" not in text(app)[-1]
        rows = "\n".join(text(app))
        assert "word39" in rows and "training failed" in rows and "alerts 1" in rows

    drive(source, check, (120, 36))


def test_a_long_sentence_is_not_cut_for_the_keys() -> None:
    """It has the whole line, to the last word that there is room for."""
    words = "ssh to box-3 failed: Permission denied (publickey), and so it went on for long, said the machine over there to us"
    source = Told(STORY[:50], phase="dead", words=words)

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        line = text(app)[-1].strip()
        assert words.startswith(line.rstrip("…")) and len(line) > 80 - 12

    drive(source, check, (80, 24))
