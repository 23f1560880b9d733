"""Since when something has been so that an alert tells of."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import Alert
from lsmon.tui.app import LsmonApp
from lsmon.tui.lines import Lines
from lsmon.tui.since import since
from tests.bench.story import START, Told, header
from tests.screenplay import drive, settle, shown

HANG = Alert(
    seq=2, step=4200, onset_step=4200, wall=START, kind="hang", severity="warning", message="No step for 297 s.",
    evidence={"seconds": 297.0},
)  # fmt: skip


def test_a_stop_is_told_by_the_clock() -> None:
    """It is long in time and not in steps: on the panel, on the page and in plain lines."""
    began = str(datetime.fromtimestamp(START).replace(microsecond=0) - timedelta(seconds=297))

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert f"Since {began}." in " ".join(shown(app).replace("│", " ").split())
        await pilot.press("a")
        await settle(app, pilot)
        assert f"since       {began}" in shown(app)

    drive(Told([header(), HANG]), check, (200, 50))
    assert Lines().fold(HANG) == [f"! step 4200 (since {began})  hang: No step for 297 s."]


def test_what_goes_on_for_steps_is_told_by_them() -> None:
    alert = Alert(seq=2, step=4200, onset_step=1234, wall=START, kind="saddle_escape")
    assert since(alert) == "step 1 234" and since(alert, str) == "step 1234"
    assert since(Alert(seq=2, step=7, onset_step=7, wall=START)) == ""


@pytest.mark.parametrize("wall", [1e300, math.inf, -1e18])
def test_a_time_that_no_clock_shows_is_not_told(wall: float) -> None:
    assert since(Alert(kind="hang", wall=wall)) == ""
