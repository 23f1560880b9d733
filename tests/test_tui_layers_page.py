"""The table by layer: values with bars, the slope over depth in words, and words where nothing was measured."""

from __future__ import annotations

import math

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import Heartbeat, Layers
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.layers import LayersPage
from lsmon.tui.widgets.layer_columns import Column, bar, tabled
from tests.bench.depths import scale, sharpness
from tests.bench.story import Tape, Told, header
from tests.screenplay import drive, settle, shown


async def opened(app: LsmonApp, pilot: Pilot[None]) -> str:
    await pilot.press("l")
    await settle(app, pilot)
    return shown(app)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 36), (200, 60), (30, 10), (12, 5), (1, 1)])
def test_it_opens_and_closes_at_every_size(size: tuple[int, int]) -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert isinstance(app.screen, LayersPage)
        if size >= (60, 15):
            assert "blocks.0.linear" in rows
            assert "activation grows: 0.3 dex a layer over 8 layers" in rows
            assert "gradient level" in rows
        await pilot.press("l")
        assert isinstance(app.screen, Dashboard)

    drive(Told([header(), scale(), sharpness()]), check, size)


def test_every_value_of_the_frames_is_there() -> None:
    """Second moments as powers of ten, dead units in per cent, the sharpness; and when they are from."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        last = next(row for row in rows.split("\n") if "blocks.8.linear" in row)
        for words in ("1.40", "−6.00", "22 %", " 9 "):
            assert words in last
        for words in ("scale at step 120", "sharpness at step 100", "act log10", "λ max"):
            assert words in rows

    drive(Told([header(), scale(), sharpness()]), check)


def test_columns_without_room_are_named() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "no room for dead, λ max" in await opened(app, pilot)

    drive(Told([header(), scale(), sharpness()]), check, (60, 15))


def test_many_layers_scroll() -> None:
    """And the lower border says which are in sight."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "layers 1 to" in await opened(app, pilot)
        await pilot.press(*["pagedown"] * 12)
        await settle(app, pilot)
        assert "blocks.99.linear" in shown(app)
        assert "to 100 of 100" in shown(app)
        await pilot.press("up")
        await settle(app, pilot)
        assert "to 99 of 100" in shown(app)

    drive(Told([header(), scale(100, slope=0.0)]), check)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], "no layers yet"),
        ([Heartbeat(seq=1, notes={"layers": "compiled models are not looked into"})], "compiled models"),
        ([scale()], 'needs sensors="full"'),
    ],
)
def test_what_is_missing_is_said(frames: list[Heartbeat | Layers], words: str) -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert words in await opened(app, pilot)

    drive(Told([header(), *frames]), check)


def test_a_seek_shows_the_layers_of_that_step() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "scale at step 900" in await opened(app, pilot)
        await pilot.press("home")
        await settle(app, pilot)
        assert "no layers yet" in shown(app)

    drive(Tape([header(), scale(), scale(seq=3, step=900)]), check)


def test_ascii_only() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert rows.isascii(), {char for char in rows if not char.isascii()}

    drive(Told([header(), scale(), sharpness()]), check, ascii_only=True)


def test_frames_that_name_other_layers_share_a_table() -> None:
    """What only one of them knows is left open; more names than values are no error."""
    one = Layers(names=("a", "b", "c"), values={"activation": (1.0, 2.0)})
    two = Layers(names=("b", "d"), values={"hessian/max": (5.0, 6.0)})
    names, columns = tabled(one, two)
    assert names == ("a", "b", "c", "d")
    assert [[column.said(i) for i in range(4)] for column in columns] == [
        ["0.00", "0.30", "–", "–"],
        ["–", "5", "–", "6"],
    ]


def test_layers_are_in_the_order_of_the_model() -> None:
    """Also those that only the sharpness has, as norm layers; they came behind all others."""
    scale = Layers(names=("0", "4"), values={"activation": (1.0, 2.0)})
    names, _ = tabled(scale, Layers(names=("0", "1", "2", "3", "4"), values={"hessian/max": (5.0,) * 5}))
    assert names == ("0", "1", "2", "3", "4")


def test_what_has_no_logarithm_is_said() -> None:
    """The probe tells a moment that is not finite as a negative number, because JSON has no infinity."""
    column = Column("activation", (-1.0, 0.0, 10.0, math.nan))
    assert [column.said(i) for i in range(4)] == ["not fin.", "0", "1.00", "–"]
    assert [math.isnan(share) for share in column.shares()] == [True, True, False, True]


def test_shares_are_within_the_bar_and_in_order() -> None:
    """Level layers look level: the bar's length spans a decade at least."""
    level = Column("gradient", (1.0, 1.1, 0.9, 1.0)).shares()
    assert max(level) - min(level) < 0.1
    for values in ((1.0, 2.0, 3.0), (-5.0, 0.0, 1e300), (0.0, 0.0, 0.0)):
        for kind in ("activation", "my own", "hessian/max"):
            shares = [share for share in Column(kind, values).shares() if not math.isnan(share)]
            assert shares == sorted(shares)
            assert all(0 <= share <= 1 for share in shares)


def test_bars_grow_by_eighths() -> None:
    assert [bar(share, 2) for share in (0.0, 1e-9, 0.5, 0.5625, 1.0, 7.0)] == [
        "",
        "▏",
        "█",
        "█▏",
        "██",
        "██",
    ]
    assert bar(0.5, 4, ascii_only=True) == "=="
