"""What changed over the run, as shades: shares of the spectrum, sizes by layer, nothing invented where nothing was measured."""

from __future__ import annotations

import itertools
import math

import pytest
from msgspec import structs
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Curvature, Layers, Scalars
from lsmon.protocol.thinned import Thinned
from lsmon.tui.app import LsmonApp
from lsmon.tui.axes import StepAxis
from lsmon.tui.store import MAX_PAST, Store
from lsmon.tui.widgets.curvatures import curvature_edges, shares, usable
from lsmon.tui.widgets.heat import glyph, held_over
from lsmon.tui.widgets.spectrum_facts import chance
from tests.bench.depths import density, ends, scale, sharpness
from tests.bench.story import Told, header
from tests.screenplay import drive, settle, shown, text


def past(count: int = 12) -> list[AnyFrame]:
    """Densities whose curvatures halve every 100 steps, and layers that become level."""
    made: list[AnyFrame] = [header(), Scalars(seq=2, step=0, values={"loss": 1.0})]
    for i in range(count):
        wide = density(seq=3 + 3 * i, step=100 * i + 50)
        made.append(structs.replace(wide, density_grid=tuple(x * 0.5**i for x in wide.density_grid)))
        made.append(scale(9, slope=0.3 - 0.02 * i, seq=4 + 3 * i, step=100 * i + 50))
        made.append(sharpness(9, seq=5 + 3 * i, step=100 * i + 50))
    return [
        *made,
        ends(seq=99, step=100 * count - 50),
        Scalars(seq=100, step=100 * count, values={"loss": 0.1}),
    ]


def test_the_shares_of_a_uniform_density_are_the_lengths_of_the_rows() -> None:
    """Closed form: between -1 and 3 a row of length x holds x / 4, whatever the grid."""
    grid = [-1 + 4 * (i + 0.5) / 50 for i in range(50)]
    item = Curvature(density_grid=tuple(grid), density_mass=(0.02,) * 50)
    edges = [-1.0, -0.5, 0.0, 0.1, 2.0, 3.0]
    assert shares(item, edges) == pytest.approx([0.125, 0.125, 0.025, 0.475, 0.25])


def test_every_column_holds_the_whole_spectrum() -> None:
    """Rows of a run with wide and narrow spectra: shares sum to one, and zero is an edge."""
    spectra = [frame for frame in past() if isinstance(frame, Curvature) and usable(frame)]
    for rows in (3, 8, 40):
        edges = curvature_edges(spectra, rows)
        assert len(edges) == rows + 1
        assert all(a < b for a, b in itertools.pairwise(edges))
        assert 0.0 in edges
        for item in spectra:
            assert math.fsum(shares(item, edges)) == pytest.approx(1.0)
        below = math.fsum(shares(spectra[0], edges)[: edges.index(0.0)])
        assert below == pytest.approx(0.5, abs=0.03)  # the bulk is even about zero, the outliers are rare


def test_a_measurement_lasts_until_the_next() -> None:
    """Nothing before the first, nothing beyond the run, and a resume goes on from where it went back to."""
    axis = StepAxis(0.0, 10.0)
    assert held_over([20, 50], axis, 70, 10) == [-1, -1, 0, 0, 0, 1, 1, 1, -1, -1]
    assert held_over([20, 50, 30], axis, 70, 10) == [-1, -1, 0, 2, 2, 2, 2, 2, -1, -1]


def test_thinning_keeps_the_first_and_the_last_and_stays_bounded() -> None:
    """Evenly, a function of the sequence alone."""
    kept = Thinned[int](10)
    for i in range(1000):
        kept.append(i)
        assert len(kept.items()) <= 11
    items = kept.items()
    assert (items[0], items[-1]) == (0, 999)
    gaps = {b - a for a, b in itertools.pairwise(items[:-1])}
    assert len(gaps) == 1
    assert kept.items() is items


def test_the_store_keeps_a_bounded_past() -> None:
    store = Store()
    for i in range(1, 2000):
        store.fold(structs.replace(density(), seq=i, step=i))
        store.fold(scale(3, seq=i, step=i))
    view = store.view()
    assert len(view.spectra) <= MAX_PAST + 1
    assert view.spectra[-1].step == view.layer_past[-1].step == 1999


def test_shades_below_zero_have_signs_of_their_own() -> None:
    """Told apart without colour; blank is nothing, and the faintest share is not blank."""
    for ascii_only in (False, True):
        above = {glyph(share / 10, False, ascii_only=ascii_only) for share in range(1, 11)}
        below = {glyph(share / 10, True, ascii_only=ascii_only) for share in range(1, 11)}
        assert not above & below
        assert " " not in above | below
        assert glyph(math.nan, False, ascii_only=ascii_only) == glyph(0.0, True, ascii_only=ascii_only) == " "


@pytest.mark.parametrize("size", [(80, 24), (120, 36), (200, 60), (60, 15), (30, 10), (12, 5), (1, 1)])
def test_both_pages_go_over_time_and_back(size: tuple[int, int]) -> None:
    """At every size, in words for both signs, with the number of measurements."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        for page, words in (("s", ("positive", "negative", "12 measurements", "spectrum over time")),
                            ("l", ("layers over time", "blocks.0", "second moment"))):  # fmt: skip
            await pilot.press(page)
            await settle(app, pilot)
            if size[1] < 38 or page == "l":
                await pilot.press("v")
                await settle(app, pilot)
            for word in words if size >= (60, 15) else ():
                assert word in shown(app), word
            await pilot.press("v")
            await settle(app, pilot)

    drive(Told(past()), check, size)


def test_the_layers_over_time_take_turns() -> None:
    """From a table to its quantities, one after another."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("l", "c")
        await settle(app, pilot)
        for words in (
            "log10 of the activations",
            "by the activations",
            "share of dead units",
            "λ max of the layer",
        ):
            assert words in text(app)[-2], words
            await pilot.press("c")
            await settle(app, pilot)

    drive(Told(past()), check)


def test_the_null_model_is_drawn_and_said() -> None:
    """A line of its own sign, named in the legend, with what chance would give in the facts."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("s")
        await settle(app, pilot)
        rows = shown(app)
        assert rows.count("∘") > 100  # over the whole width of a bulk as wide as the axis
        assert "∘ chance: a semicircle as wide as the bulk" in rows
        assert "bulk kurtosis about" in rows

    even = structs.replace(
        density(), density_grid=tuple(i / 50 - 1 for i in range(101)), density_mass=(1 / 101,) * 101
    )
    drive(Told([header(), even]), check, (200, 60))
    words = " ".join(words for _, words in chance(density()))
    # d log10(1 - α) and -0.1193 d², at d = 10 000 and α = 0.31
    for said in ("a semicircle's 2", "10^(−1 612) if signs were independent", "10^(−1.2e7) under repulsion"):
        assert said in words


@pytest.mark.parametrize(
    "frame",
    [
        Curvature(seq=2, density_grid=(0.0, 0.0, 0.0), density_mass=(1.0, 0.0, 0.0)),
        Curvature(seq=2, density_grid=(-1e300, 1e300), density_mass=(1.0, 1.0)),
        Curvature(seq=2, density_grid=(math.nan, 1.0), density_mass=(1.0, 1.0)),
        Curvature(seq=2, density_grid=(1.0, 2.0), density_mass=(0.0, 0.0)),
        Layers(seq=2, names=("a",), values={"activation": ()}),
        Layers(seq=2, names=(), values={"activation": (1.0,)}),
        Layers(seq=2, names=("a", "b"), values={"activation": (math.inf, -math.inf), "x": (math.nan,)}),
    ],
)
def test_nonsense_is_drawn_somehow(frame: AnyFrame) -> None:
    """Never a crash."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("s", "v", "l", "v", "c")
        await settle(app, pilot)
        assert "over time" in shown(app)

    drive(Told([header(), frame]), check)


def test_in_ascii() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        for keys in ("sv", "lv"):
            await pilot.press(*keys)
            await settle(app, pilot)
            assert shown(app).isascii(), {char for char in shown(app) if not char.isascii()}

    drive(Told(past()), check, ascii_only=True)
