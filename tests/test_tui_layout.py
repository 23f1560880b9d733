"""Every size of terminal gets panels that fit, do not overlap, and go in a stated order."""

from __future__ import annotations

from itertools import combinations

import pytest
from textual.geometry import Region

from lsmon.tui.screens.panels import by_panel, matching_panels
from lsmon.tui.widgets.layout import ORDER, holds_strip, pages, plan

SIZES = [
    (80, 22),
    (60, 13),
    (120, 34),
    (200, 58),
    (30, 10),
    (12, 5),
    (1, 1),
    (300, 90),
    (104, 13),
    (56, 14),
    (70, 40),
]
SETS = [
    ORDER,
    tuple(name for name in ORDER if name != "accuracy"),
    ("loss", "alerts"),
    ("alerts",),
    (),
    (*ORDER, "test", "eval/long name", "x"),
    ("alerts", "a", "b", "c", "d", "e", "f", "g"),
]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("present", SETS)
def test_places_fit_and_do_not_overlap(size: tuple[int, int], present: tuple[str, ...]) -> None:
    """Within the screen, none over another, none empty."""
    width, height = size
    places = plan(width, height, present)
    assert set(places) <= set(present)
    for place in places.values():
        region = place.region
        assert region.width > 0
        assert region.height > 0
        assert Region(0, 0, width, height).contains_region(region)
        assert place.boxed or region.height == 1
    for one, two in combinations(places.values(), 2):
        assert not one.region.overlaps(two.region)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("present", [*SETS, (*ORDER, *(f"metric{at}" for at in range(300)))])
def test_every_panel_is_on_one_page(size: tuple[int, int], present: tuple[str, ...]) -> None:
    """The first is the usual one; what has no room there comes on the next, as long as there is a row."""
    book = pages(*size, present)
    assert book[0] == plan(*size, present)
    assert sorted(name for page in book for name in page) == sorted(present)


@pytest.mark.parametrize("size", [(80, 22), (120, 34), (200, 58)])
def test_boxes_fill_the_screen(size: tuple[int, int]) -> None:
    """No hole is left at the usual sizes."""
    width, height = size
    places = plan(width, height, ORDER)
    assert sum(place.region.area for place in places.values()) == width * height


def test_at_80_by_24_the_six_most_needed_panels_are_boxes() -> None:
    """Trainability is the one that has no room."""
    places = plan(80, 22, ORDER)
    assert set(places) == set(ORDER) - {"trainability"}
    assert all(place.boxed for place in places.values())


def test_at_60_by_15_two_boxes_and_five_lines() -> None:
    """Everything is still there."""
    places = plan(60, 13, ORDER)
    assert [name for name, place in places.items() if place.boxed] == ["loss", "sharpness"]
    assert set(places) == set(ORDER)


def test_panels_are_dropped_from_the_end_of_the_order() -> None:
    """At a few rows what is left are the first names."""
    for height in range(1, 7):
        assert list(plan(40, height, ORDER)) == list(ORDER[:height])


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("present", SETS)
def test_the_phase_strip_goes_before_any_panel_does(size: tuple[int, int], present: tuple[str, ...]) -> None:
    """Where it has a row, the panels are the same, and boxed as they would be without it."""
    width, height = size
    if holds_strip(width, height, present):
        with_it, without = plan(width, height - 1, present), plan(width, height, present)
        assert {name: place.boxed for name, place in with_it.items()} == {
            name: place.boxed for name, place in without.items()
        }


def test_the_phase_strip_is_there_at_the_usual_sizes() -> None:
    """Also at 80 by 24 with the bar of a replay; not where its row is needed, and on a few lines."""
    assert all(
        holds_strip(width, height, ORDER)
        for width, height in ((80, 22), (80, 21), (120, 34), (200, 58), (60, 13))
    )
    assert not any(holds_strip(width, height, ORDER) for width, height in ((80, 20), (39, 40), (40, 6)))


def test_panels_of_the_training_are_in_the_order_of_their_numbers() -> None:
    """And not as text has them, 10 before 2."""
    names = by_panel(f"block_{at}/ratio" for at in range(20))
    assert matching_panels(names) == ("alerts", *(f"block_{at}" for at in range(20)))


def test_where_only_panels_of_the_training_are_there_they_get_the_screen() -> None:
    """A table of other quantities, or a filter: an empty list of alerts had two thirds of it."""
    names = ("alerts", *(f"layer{at}" for at in range(10)))
    places = plan(200, 58, names)
    assert set(places) == set(names)
    assert [name for name in places if name != "alerts"] == list(names[1:]), "in their order"
    assert places["alerts"].region.area < 200 * 58 / 4
    assert sum(place.region.area for place in places.values()) == 200 * 58
