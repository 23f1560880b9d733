"""Whether the viewer's memory stays where it was: four hours of a training, fed as fast as it can be taken in.

    python -m tests.bench.four_hours [--rate 100] [--hours 4]

The real server and source over real sockets, the real store and the real screen without a terminal, in one process with
a clock that is turned by hand. Every second of the training is read, and drawn every ten.
"""

from __future__ import annotations

import asyncio
import math
import os
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from pathlib import Path

from lsmon.protocol.cards import Card
from lsmon.protocol.codec import encode
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Heartbeat, Layers, Mark, Ritz, RunStarted
from lsmon.protocol.process import this_process
from lsmon.protocol.sources.live import Live
from lsmon.protocol.wire.server import Server
from lsmon.tui.app import LsmonApp
from lsmon.tui.screens.dashboard import Dashboard
from tests.bench.live_screen import frame
from tests.bench.screen import rss_mb
from tests.clock import Clock

STARTED = 1_800_000_000.0
DRAWN_EVERY = 10
TOLD_EVERY = 300
TURNED_EVERY = 1200
"""Seconds of the training, as all of these: to the next page."""
WARM_SECS = 3600
"""From here on it is compared: the series, the past spectra and layers, the frames and fine summaries of the server and
what Textual caches are full. At 100 frames a second the server's coarse summaries are full after 5 hours, at half of
which they begin anew, and the alerts, one in 30 seconds, after 8: together a megabyte."""
PAGES = ("", "alerts", "layers", "spectrum")


def second(number: int, seq: int, rate: int) -> Iterator[AnyFrame]:
    """The frames of one second, the first of which gets the number ``seq + 1``."""
    for i in range(rate):
        seq += 1
        yield frame(seq, STARTED + number + i / rate)
    wall = STARTED + number + 1
    yield Heartbeat(
        seq=seq, step=seq, wall=wall, rate=rate, share=0.03, notes={"curvature": f"waits {number % 7}"}
    )
    if number % 5 == 0:
        seq += 1
        names = tuple(f"layer{i}" for i in range(24))
        values = {"activation": tuple(1.5 + math.sin(seq + i) for i in range(24))}
        yield Layers(seq=seq, step=seq, wall=wall, names=names, values=values)
    if number % 10 == 0:
        seq += 1
        grid = tuple(i / 50 - 1 for i in range(150))
        mass = tuple(math.exp(-((x - math.sin(seq)) ** 2)) / 100 for x in grid)
        ends = {"top": (Ritz(30.0, 0.1, True),), "bottom": (Ritz(-1.0, 0.1, True),)}
        yield Curvature(
            seq=seq, step=seq, wall=wall, **ends, density_grid=grid, density_mass=mass, negative_at_least=3, lanczos_steps=32
        )  # fmt: skip
    if number % 30 == 0:
        seq += 1
        yield Alert(
            seq=seq, step=seq, wall=wall, kind="loss_spike", severity="warning", onset_step=seq - 9,
            message=f"The loss rose to {number} times its median.", evidence={"loss": 2.0}, advice="Nothing to do.",
        )  # fmt: skip
    if number % 600 == 0:
        seq += 1
        yield Mark(seq=seq, step=seq, wall=wall, note=f"minute {number // 60}")


async def feed(seconds: int, rate: int) -> list[tuple[int, float]]:
    """(Second, resident MB) at every ``TOLD_EVERY`` seconds."""
    me, told, seq = this_process(), [], 1
    header = RunStarted(seq=1, run="soak", name="soak", wall=STARTED, model="Sequential", parameters=226_000)
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="lsmon") as folder:
        server, folds = Server(Path(folder), header, clock=clock), Folds()
        folds.add(header)
        card = Card(
            run="soak", name="soak", host="", pid=me.pid, boot=me.boot, pid_started=me.pid_started, live=str(server.live),
            ask=str(server.ask),
        )  # fmt: skip
        source = Live(card, clock=clock)
        app = LsmonApp(source, fps=1e-3, clock=clock)
        async with app.run_test(size=(120, 36)) as pilot:
            dashboard = app.screen
            assert isinstance(dashboard, Dashboard)
            for number in range(seconds + 1):
                for made in second(number, seq, rate):
                    seq = made.seq
                    server.publish(made, encode(made))
                    for row in folds.add(made):
                        server.publish(row, encode(row))
                clock.now += 1.0
                until = time.monotonic() + 10.0
                while app.feed.newest.seq < seq:
                    server.poll()
                    app.feed.tick()
                    if time.monotonic() > until:
                        raise TimeoutError(f"frame {seq} did not come")
                if number % DRAWN_EVERY == 0:
                    dashboard.tick()
                    await pilot.pause()
                if number % TOLD_EVERY == 0:
                    told.append((number, rss_mb()))
                if number % TURNED_EVERY == 0:
                    print(f"  {number / 3600:4.2f} h  {seq:>9,} frames  {told[-1][1]:6.1f} MB", flush=True)
                    page = PAGES[number // TURNED_EVERY % len(PAGES)]
                    if page:
                        app.action_page(page)
                    else:
                        await pilot.press("escape")
            lost = app.feed.newest.lost
        source.close()
        server.close()
    print(f"  {lost} frames lost")
    return told


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=int, default=100, help="frames a second")
    parser.add_argument("--hours", type=float, default=4.0)
    args = parser.parse_args()
    os.environ["OPENBLAS_NUM_THREADS"] = "1"
    begun = time.process_time()
    told = asyncio.run(feed(round(args.hours * 3600), args.rate))
    later = [megabytes for number, megabytes in told if number >= WARM_SECS]
    if later:
        spread = 100 * (max(later) - min(later)) / later[0]
        drift = 100 * (later[-1] - later[0]) / later[0]
        print(
            f"from {WARM_SECS // 60} min on: {drift:+.1f} % at the end, {spread:.1f} % between least and most",
            end="",
        )
        print(f"; {time.process_time() - begun:.0f} s of CPU")


if __name__ == "__main__":
    main()
