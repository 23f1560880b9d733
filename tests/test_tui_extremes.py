"""Numbers at the ends of what a float holds are drawn, on every page and at every size."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from lsmon.protocol.frames import AnyFrame, Curvature, Layers, Ritz, RunStarted, Scalars
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.dashboard import Dashboard
from tests.bench.story import Told

LARGE, TINY = 1.79e308, 5e-324
COURSES = {
    "large": (LARGE,),
    "both ways": (LARGE, -LARGE),
    "far down": (-LARGE,),
    "tiny": (TINY,),
    "tiny and large": (TINY, 0.0, LARGE),
}


def extreme(course: tuple[float, ...], count: int = 700) -> list[AnyFrame]:
    """Each quantity takes these values in turn."""
    frames: list[AnyFrame] = [RunStarted(seq=1, wall=1.0, run="r", name="r", parameters=9)]
    names = (
        "loss",
        "val/loss",
        "train/acc",
        "hessian/max",
        "temperature/noise",
        "grad/norm",
        "probe/share",
        "other",
    )
    values = itertools.cycle(course)
    for step in range(1, count):
        value = next(values)
        errors = {"hessian/max": abs(value)}
        frames.append(
            Scalars(
                seq=step + 1, step=step, wall=float(step), values=dict.fromkeys(names, value), errors=errors
            )
        )
    top = course[-1]
    frames += [
        Layers(seq=count + 1, step=count, names=("a", "b"), values={"activation": (top, 1.0), "hessian/max": (top, -top)}),
        Curvature(seq=count + 2, step=count, density_grid=(-abs(top), abs(top)), density_mass=(0.5, 0.5), top=(Ritz(top, abs(top)),), bottom=(Ritz(-abs(top), 1.0),)),
    ]  # fmt: skip
    return frames


@pytest.mark.parametrize("course", COURSES.values(), ids=COURSES)
def test_no_number_is_too_large_or_too_small_to_be_drawn(course: tuple[float, ...]) -> None:
    """Boxed, folded, enlarged, linear, smoothed, without outliers, and on the pages: no crash, no warning."""

    async def session() -> None:
        source = Told()
        app = LsmonApp(source, fps=0.01)
        async with app.run_test(size=(120, 44)) as pilot:
            dashboard = app.screen
            assert isinstance(dashboard, Dashboard)
            source.tell(*extreme(course))
            for keys in (
                "",
                "y",
                "w",
                "u",
                "z",
                "g",
                "i",
                "1",
                "escape",
                "l",
                "v",
                "escape",
                "s",
                "v",
                "escape",
                "d",
                "c",
                "escape",
            ):
                await pilot.press(*keys if len(keys) == 1 else (keys,) if keys else ())
                dashboard.tick()
                await pilot.pause()
            for size in ((60, 15), (30, 10)):
                await pilot.resize_terminal(*size)
                dashboard.tick()
                await pilot.pause()

    asyncio.run(session())
