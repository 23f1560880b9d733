"""What stands beside a measured value: its step, its examples, its threshold, and what is not measured yet."""

from __future__ import annotations

from dataclasses import replace

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Curvature, Ritz, RunEnded, Scalars
from lsmon.protocol.sources.source import Link, Phase
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.widgets.panel import Readout, readouts_width, shortened
from tests.bench.story import Told, header
from tests.screenplay import drive, settle, shown


def sharp(
    step: int, top: float, bottom: float | None = None, *, notes: tuple[str, ...] = (), batch: int = 512
) -> Curvature:
    return Curvature(
        seq=step + 2, step=step, top=(Ritz(top, 0.03, True),), bottom=(Ritz(bottom, 0.03, True),) if bottom else (),
        notes=notes, batch=batch, lanczos_steps=32,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ((200, 60), "4 of 512 examples: λ_max at most 30% too high"),
        ((120, 36), "4 of 512 examples, ≤ 30% too high"),
        ((80, 24), "4 of 512 examples, ≤ 30% "),
    ],
)
def test_the_examples_of_a_sharpness_are_said_before_anything_else(size: tuple[int, int], words: str) -> None:
    """In fewer cells where there are fewer, and with a doubt as well."""
    notes = ("4 of 512 examples: λ_max at most 30% too high", "not yet checked against a finite difference")

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert words in shown(app)

    drive(Told([header(), sharp(9, 3.0, notes=notes, batch=4)]), check, size)


def test_a_value_of_an_earlier_step_says_which() -> None:
    """λ_max of step 727 and λ_min of step 25 of 800; at a cursor of 727 only the latter is of another."""
    frames_: list[AnyFrame] = [
        header(),
        sharp(25, 2.0, -1.0),
        sharp(727, 3.0),
        Scalars(seq=999, step=800, values={"loss": 1.0}),
    ]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = shown(app)
        assert "λ max 3.00 ± 0.03 @727" in rows and "λ min −1.00 ± 0.03 @25" in rows
        assert "train 1 " in rows
        dash = app.screen
        assert isinstance(dash, Dashboard)
        dash.look(replace(dash.lens, cursor=727))
        await settle(app, pilot)
        rows = shown(app)
        assert "@727" not in rows and "@25" in rows

    drive(Told(frames_), check, (200, 60))


def test_rather_no_step_is_named_than_a_curve_left_out() -> None:
    """Dim still says that a value is of another step than the one that is shown."""
    said = [
        Readout("λ max", "0.0362 ± 4e-4", "0.0362±1%", 0, at="@56000"),
        Readout("λ min", "−0.0121 ± 4e-4", "−0.0121±3%", 1, at="@54000"),
        Readout("edge", "200 above"),
    ]
    room = readouts_width([replace(item, value=item.compact, at="") for item in said[:2]])
    form = shortened(said, room)
    assert [(item.label, item.at, item.dim) for item in form] == [("λ max", "", True), ("λ min", "", True)]
    assert [item.label for item in shortened(said, room - 1)] == ["λ max"]


def test_of_one_end_of_the_spectrum_the_other_is_not_denied() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "λ_min is not measured yet" in " ".join(shown(app).split())
        assert "curvature is not measured yet" not in shown(app)

    async def ended(app: LsmonApp, pilot: Pilot[None]) -> None:
        rows = " ".join(shown(app).split())
        assert "λ_min was not measured" in rows and "temperature was not measured" in rows

    drive(Told([header(), sharp(9, 3.0)]), check, (200, 60))
    drive(Told([header(), sharp(9, 3.0), RunEnded(seq=10, step=9)]), ended, (200, 60))


@pytest.mark.parametrize("how", ["live", "ended", "dead", "ended early"])
def test_nothing_is_expected_of_a_training_that_is_over(how: Phase) -> None:
    """On no page, seen when it ends and opened later, also where it was killed; while it runs all may still come."""
    frames_: list[AnyFrame] = [header(), *[RunEnded(seq=2, step=9)] * (how == "ended")]
    source, ended = Told(frames_), how != "live"

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        source.link = Link(how)
        await settle(app, pilot)
        for keys in ((), ("a",), ("a", "l"), ("v",), ("s",), ("v",)):
            await pilot.press(*keys)
            await settle(app, pilot)
            assert ("yet" in " ".join(shown(app).split())) is not ended, keys

    drive(source, check, (160, 50))


@pytest.mark.parametrize(
    ("edge", "inside", "words"),
    [
        (27.1, False, "edge 27.1 below"),
        (200.0, True, "edge 200"),
        (1000.0, True, "edge 1 000"),
        (5000.0, False, "edge 5 000 above"),
    ],
)
def test_an_edge_is_drawn_on_an_axis_that_holds_it_or_said(edge: float, inside: bool, words: str) -> None:
    """One sharpness of 369.5: an edge within a factor of four is on the axis, any other in words alone."""
    frames_: list[AnyFrame] = [
        header(),
        sharp(9, 369.5),
        Scalars(seq=99, step=9, values={"hessian/edge": edge}),
    ]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert words in shown(app)
        across = [row for row in shown(app).split("\n") if row.count("╌") > 10]
        assert bool(across) is inside

    drive(Told(frames_), check, (200, 60))


def test_what_had_not_come_at_the_cursor_is_a_dash_and_no_fault() -> None:
    """It is neither nan, nor none found, nor trouble in red."""
    frames_: list[AnyFrame] = [
        header(),
        Scalars(seq=2, step=10, values={"loss": 2.0, "grad/norm": 0.5}),
        Scalars(seq=3, step=800, values={"loss": 1.0, "weight/drift": 0.3, "hessian/negative_at_least": 3.0}),
    ]

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        dash = app.screen
        assert isinstance(dash, Dashboard)
        dash.look(replace(dash.lens, cursor=100))
        await settle(app, pilot)
        rows = shown(app)
        assert "nan" not in rows and "none found" not in rows
        assert "–" in next(row for row in rows.splitlines() if "drift" in row)

    drive(Told(frames_), check, (120, 36))
