"""What the screen costs: CPU a redraw at three sizes, and the memory of a viewer that has folded a million frames.

python -m tests.bench.screen
"""

from __future__ import annotations

import asyncio
import math
import resource
import sys
import time
from pathlib import Path

from lsmon.protocol.frames import Curvature, Ritz, Scalars
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.store import Store
from tests.bench.story import Told, header

SIZES = ((80, 24), (120, 36), (200, 60))
SAMPLES = 100_000
FRAMES = 1_000_000


def samples(first: int, count: int) -> list[Scalars | Curvature]:
    """Four scalar series in every frame, and a curvature each 50."""
    made: list[Scalars | Curvature] = []
    for i in range(first, first + count):
        loss = 2.0 / (1 + i * 1e-3) * (1 + 0.2 * math.sin(i * 1.7))
        values = {
            "loss": loss,
            "val/loss": 3 * loss,
            "temperature/noise": 1e-6 * loss,
            "grad/norm": loss**0.5,
        }
        made.append(Scalars(seq=i, step=i, wall=i * 1e-2, values=values))
        if i % 50 == 0:
            made[-1] = Curvature(
                seq=i, step=i, wall=i * 1e-2, top=(Ritz(30 + math.sin(i), 0.1, True),),
                bottom=(Ritz(-1 + math.sin(i), 0.1, True),), negative_at_least=3, lanczos_steps=32,
            )  # fmt: skip
    return made


def rss_mb() -> float:
    """Resident memory now, where the kernel says it; else the peak."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


async def redraw_ms(size: tuple[int, int], redraws: int = 40) -> tuple[float, float]:
    """CPU milliseconds a tick with new data in every panel: (until drawn, with Textual's compositor)."""
    source = Told([header(), *samples(2, SAMPLES)])
    app = LsmonApp(source, fps=0.001)
    async with app.run_test(size=size) as pilot:
        screen = app.screen
        assert isinstance(screen, Dashboard)
        while app.feed.view.step < SAMPLES:
            screen.tick()
        await pilot.pause()
        drawn = total = 0.0
        for i in range(redraws):
            # Each redraw moves the axis: every cell of every curve may change.
            source.tell(*samples(SAMPLES + 2 + i * 50, 50))
            begun = time.process_time()
            screen.tick()
            drawn += time.process_time() - begun
            await pilot.pause()
            total += time.process_time() - begun
    return drawn / redraws * 1e3, total / redraws * 1e3


def fold_million() -> tuple[float, float]:
    """(CPU microseconds a frame, growth of the resident memory in MB)."""
    store = Store()
    before = rss_mb()
    spent = 0.0
    for first in range(1, FRAMES, 10_000):
        chunk = samples(first, 10_000)
        begun = time.process_time()
        for frame in chunk:
            store.fold(frame)
        store.view()
        spent += time.process_time() - begun
    return spent / FRAMES * 1e6, rss_mb() - before


def main() -> None:
    print("screen: CPU ms a redraw, 100 000 samples a series, 50 new frames each")
    for size in SIZES:
        drawn, total = asyncio.run(redraw_ms(size))
        print(f"  {size[0]:>3}x{size[1]:<3} fold and draw {drawn:6.1f}   with compositor {total:6.1f}")
    each, grown = fold_million()
    print(
        f"viewer: {FRAMES:,} frames folded at {each:.1f} µs each, +{grown:.1f} MB, {rss_mb():.0f} MB resident"
    )


if __name__ == "__main__":
    main()
