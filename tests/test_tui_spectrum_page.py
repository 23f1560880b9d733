"""The spectral density: mass where it belongs, signs told apart in words and characters, doubts beside the numbers."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Ritz
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.alerts import AlertsPage
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.spectrum import SpectrumPage
from lsmon.tui.widgets.curvatures import curvature_edges, shares
from lsmon.tui.widgets.spectrum import ticks
from tests.bench.depths import density, ends
from tests.bench.story import Told, header
from tests.screenplay import drive, settle, shown


async def opened(app: LsmonApp, pilot: Pilot[None]) -> str:
    await pilot.press("s")
    await settle(app, pilot)
    return shown(app)


@pytest.mark.parametrize("size", [(60, 15), (80, 24), (120, 36), (200, 60), (30, 10), (12, 5), (1, 1)])
def test_it_opens_and_closes_at_every_size(size: tuple[int, int]) -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert isinstance(app.screen, SpectrumPage)
        if size >= (60, 15):
            for words in ("negative", "near zero", "positive", "31 % ± 2 %", "▒", "█", "▲"):
                assert words in rows
        await pilot.press("s")
        assert isinstance(app.screen, Dashboard)

    drive(Told([header(), ends(), density()]), check, size)


@pytest.mark.parametrize("size", [(80, 24), (120, 36)])
def test_every_number_has_its_doubt(size: tuple[int, int]) -> None:
    """Shares and trace with their errors, eigenvalues with their residuals, what was measured and how."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        for words in ("below −0.01 |H|", "25 % ± 2 %", "612 ± 9", "40, 21, 1 more not converged", "−4±1%, −2.5±16%", "≥ 2 negative",
                      "8e-3 |H|", "step 150, 512 examples", "quadrature 4 x 32", "λ of step 140", "of step 150", "@140"):  # fmt: skip
            assert words in rows, words

    drive(Told([header(), ends(), density()]), check, size)


def test_outliers_are_ticks_below_their_curvature() -> None:
    """An eigenvalue that did not converge has another sign."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = (await opened(app, pilot)).split("\n")
        ticks = next(row for row in rows if "△" in row)
        assert ticks.count("▲") == 4
        labels = rows[rows.index(ticks) + 1]
        assert labels.index("10") < ticks.rindex("▲") <= labels.index("45") + 1

    drive(Told([header(), ends(), density()]), check)


def test_a_sharpness_in_between_takes_no_density_away() -> None:
    """The sharpness alone is measured more often than the density."""
    sharp = Curvature(seq=9, step=190, top=(Ritz(41.0, 0.1, True),))

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert "step 150, 512 examples" in rows
        assert "40, 21" in rows

    drive(Told([header(), ends(), density(), sharp]), check)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        ([], 'sensors="full"'),
        ([Heartbeat(seq=1, notes={"curvature": "waiting for the reference"})], "waiting for the reference"),
        ([ends()], "λ max 40, 21"),
        ([Curvature(seq=2, density_grid=(1.0,), density_mass=(1.0,))], "no density yet"),
        ([Curvature(seq=2, density_grid=(-1.0, 1.0), density_mass=(0.5, 0.5), notes=("no fractions: coarse",))], "no fractions"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(frames: list[AnyFrame], words: str) -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert words in " ".join((await opened(app, pilot)).split())

    drive(Told([header(), *frames]), check)


@pytest.mark.parametrize(
    "frame",
    [
        Curvature(seq=2, density_grid=(0.0, 0.0, 0.0), density_mass=(1.0, 0.0)),
        Curvature(seq=2, density_grid=(-1e300, 1e300), density_mass=(0.0, -1.0)),
        Curvature(seq=2, density_grid=(math.nan, math.inf, 1.0), density_mass=(math.nan, math.inf, 1.0)),
        Curvature(
            seq=2, density_grid=(3.0, 2.0, 1.0), density_mass=(1e-300, 1e300, 1.0), top=(Ritz(math.inf, 1.0),)
        ),
    ],
)
def test_nonsense_from_a_file_is_drawn_somehow(frame: Curvature) -> None:
    """Never a crash."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        assert isinstance(app.screen, SpectrumPage)

    drive(Told([header(), frame]), check)


def test_ascii_only() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = await opened(app, pilot)
        assert rows.isascii(), {char for char in rows if not char.isascii()}
        assert "- negative  . near zero  # positive" in rows

    drive(Told([header(), ends(), density()]), check, ascii_only=True)


def test_one_page_leads_to_another() -> None:
    """In place of the first: escape leads to the panels from each."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await opened(app, pilot)
        await pilot.press("a")
        await settle(app, pilot)
        assert isinstance(app.screen, AlertsPage)
        assert len(app.screen_stack) == 2
        await pilot.press("escape")
        assert isinstance(app.screen, Dashboard)

    drive(Told([header(), ends(), density()]), check)


def test_each_sign_has_columns_of_its_own_however_far_the_outliers_are() -> None:
    """Three tenths of the curvatures are negative, a hundred times nearer to zero than the largest one is."""
    grid = tuple(-0.5 + 0.01 * i for i in range(151))
    mass = tuple((0.3 / 50 if x < -0.005 else 0.7 / 101) for x in grid)
    edges = curvature_edges([Curvature(density_grid=grid, density_mass=mass)], 100, [40.0, -0.4, math.inf])
    assert edges[0] == pytest.approx(-0.5) and edges[-1] == pytest.approx(40.0) and len(edges) == 101
    below = edges.index(0.0)
    found = shares(Curvature(density_grid=grid, density_mass=mass), edges)
    assert math.fsum(found[:below]) == pytest.approx(0.3, abs=0.01)
    assert math.fsum(found) == pytest.approx(1.0)
    assert below > 10


@pytest.mark.parametrize("cols", [9, 30, 46, 110, 300])
def test_labels_below_the_density_are_where_they_belong_and_do_not_touch(cols: int) -> None:
    density = Curvature(density_grid=(-0.5, 0.0, 0.5, 1.0), density_mass=(0.1, 0.5, 0.3, 0.1))
    edges = curvature_edges([density], cols, [40.0])
    made = sorted(ticks(edges))
    assert "0" in [label for _, label in made]
    for (x, label), (later, _) in pairwise(made):
        assert x + len(label) + 2 <= later
    assert all(x >= 0 and x + len(label) <= cols for x, label in made)
