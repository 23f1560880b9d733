"""A long training with viewers that come and go: ``make soak``, or ``python -m tests.bench soak --minutes 30``.

1000 steps a second, recorded. One viewer stays; every few seconds another joins late and leaves politely, is killed, or
is stopped for a while and must catch up. Memory and descriptors of the training are read from /proc once a second.
Exit code 1 when a frame is missing anywhere.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from lsmon.protocol.cards import Card, read_cards
from lsmon.protocol.frames import UNNUMBERED, Heartbeat, RunEnded, Summary
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.live import Live

TRAINING = """
import sys, time
from lsmon.probe import Probe
with Probe(name="soak") as probe:
    step, due = 0, time.monotonic()
    until = due + float(sys.argv[1])
    while due < until:
        step += 1
        probe.step(1.0 / step + step % 7, step=step)
        if step % 50 == 0:
            probe.log(**{"val/loss": 2.0 / step})
        due += 0.001
        time.sleep(max(due - time.monotonic(), 0.0))
print(step)
"""

VIEWER = """
import sys
from contextlib import closing
from lsmon.protocol.cards import read_cards
from lsmon.protocol.sources.live import Live
(card,) = read_cards()
with closing(Live(card)) as live:
    while live.link.phase not in ("ended", "dead"):
        if live.read():
            print(live.link.lost, flush=True)
        live.wait(0.1)
"""
"""Says after each read how many frames it missed."""

JOIN_SECS = 7.0
"""Between two viewers that come."""
MANNERS = ("leaves", "is killed", "is stopped")


@dataclass
class Guest:
    """A viewer that does not stay."""

    process: subprocess.Popen[bytes]
    manner: str
    leaves_at: float
    out: Path
    stopped_until: float | None = None

    def lost(self) -> int:
        """The most frames that it said it missed; -1 when it never saw anything."""
        said = [int(line) for line in self.out.read_text().split() if line.isdecimal()]
        return max(said, default=-1)


@dataclass
class Watch:
    """What was read of the training's process, once a second."""

    rss: list[float] = field(default_factory=list)
    """MiB."""
    descriptors: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)

    def look(self, pid: int) -> None:
        proc = Path(f"/proc/{pid}")
        pages = int((proc / "statm").read_text().split()[1])
        self.rss.append(pages * resource.getpagesize() / 2**20)
        self.descriptors.append(len(list((proc / "fd").iterdir())))
        self.threads.append(len(list((proc / "task").iterdir())))


@dataclass
class Stayer:
    """The viewer that sees it all."""

    live: Live
    last: int = 0
    gaps: int = 0
    folded: int = 0
    ended: bool = False
    worst_silence: float = 0.0
    heard: float = field(default_factory=time.monotonic)

    def read(self) -> None:
        for frame in self.live.read():
            self.ended = self.ended or isinstance(frame, RunEnded)
            if isinstance(frame, Heartbeat):
                self.worst_silence = max(self.worst_silence, time.monotonic() - self.heard)
                self.heard = time.monotonic()
            elif isinstance(frame, Summary):
                self.folded += 1
                self.gaps += max(0, frame.first_seq - self.last - 1)
                self.last = frame.seq
            else:
                self.gaps += max(0, frame.seq - self.last - 1)
                self.last = frame.seq


def soak(minutes: float, seed: int) -> int:
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(prefix="lsmon-") as home:
        os.environ["LSMON_DIR"] = home
        os.environ.pop("LSMON_RUNTIME_DIR", None)
        training = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(minutes * 60)], stdout=subprocess.PIPE, text=True
        )
        card = joined(training)
        watch, guests, done = Watch(), list[Guest](), list[Guest]()
        with closing(Live(card)) as live:
            stayer = Stayer(live)
            next_guest = next_look = time.monotonic()
            while training.poll() is None:
                stayer.read()
                now = time.monotonic()
                if now >= next_look:
                    next_look = now + 1.0
                    try:
                        watch.look(training.pid)
                    except OSError:
                        break
                    done += [guest for guest in guests if tend(guest, now)]
                    guests = [guest for guest in guests if guest not in done]
                if now >= next_guest:
                    next_guest = now + JOIN_SECS
                    guests.append(guest(Path(home), dice, now))
                live.wait(0.05)
            deadline = time.monotonic() + 10
            while not stayer.ended and time.monotonic() < deadline:
                stayer.read()
            for one in guests:
                one.process.send_signal(signal.SIGCONT)
                one.process.wait(timeout=60)
            done += guests
        assert training.stdout is not None
        steps = int(training.stdout.read())
        return report(minutes, steps, watch, stayer, done, Path(card.recording))


def joined(training: subprocess.Popen[str]) -> Card:
    deadline = time.monotonic() + 30
    while not (cards := read_cards()):
        if training.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("the training did not start")
        time.sleep(0.01)
    return cards[0]


def guest(home: Path, dice: random.Random, now: float) -> Guest:
    out = home / f"viewer-{now:.3f}"
    with out.open("wb") as sink:
        process = subprocess.Popen([sys.executable, "-c", VIEWER], stdout=sink, stderr=sink)
    return Guest(process, dice.choice(MANNERS), now + dice.uniform(2.0, 60.0), out)


def tend(guest: Guest, now: float) -> bool:
    """Do what is due with it; whether it is gone."""
    if guest.stopped_until is not None and now >= guest.stopped_until:
        guest.process.send_signal(signal.SIGCONT)
        guest.stopped_until, guest.manner, guest.leaves_at = None, "was stopped", now + 15.0
    elif guest.stopped_until is None and now >= guest.leaves_at:
        if guest.manner == "is stopped":
            guest.process.send_signal(signal.SIGSTOP)
            guest.stopped_until = now + 15.0
        else:
            guest.process.send_signal(signal.SIGKILL if guest.manner == "is killed" else signal.SIGTERM)
            guest.process.wait(timeout=60)
            return True
    return guest.process.poll() is not None


def report(
    minutes: float, steps: int, watch: Watch, stayer: Stayer, guests: list[Guest], recording: Path
) -> int:
    with closing(Recording.open(recording)) as recorded:
        recorded.verify()
        numbered = [frame.seq for frame in recorded.frames() if not isinstance(frame, UNNUMBERED)]
        whole = numbered == list(range(1, len(numbered) + 1))
        lost, dropped, size = recorded.lost, recorded.dropped, recorded.size
    settled = max(len(watch.rss) // 6, 1)
    lossy = [guest for guest in guests if guest.lost() > 0]
    print(f"{minutes:g} minutes, {steps} steps, {steps / minutes / 60:.0f} a second")
    print(
        f"resident memory, MiB     {_spread(watch.rss, settled)}   a minute {_slope(watch.rss[settled:]):+.3f}"
    )
    tenths = [
        watch.rss[part * len(watch.rss) // 10 : (part + 1) * len(watch.rss) // 10] for part in range(10)
    ]
    print(f"    most in each tenth   {' '.join(f'{max(part, default=0.0):.1f}' for part in tenths)}")
    print(f"open descriptors         {_spread(watch.descriptors, settled)}")
    print(f"threads                  {_spread(watch.threads, settled)}")
    print(f"viewer that stayed       frames {stayer.last}, gaps {stayer.gaps}, lost {stayer.live.link.lost}, "
          f"longest without a heartbeat {stayer.worst_silence:.1f} s")  # fmt: skip
    for manner in ("leaves", "is killed", "was stopped", "is stopped"):
        some = [guest for guest in guests if guest.manner == manner]
        print(f"viewer that {manner:<12} {len(some)} times, of them with a loss {sum(g.lost() > 0 for g in some)}, "
              f"that saw nothing {sum(g.lost() < 0 for g in some)}")  # fmt: skip
    print(f"recording                {len(numbered)} frames, {size / 2**20:.0f} MiB, lost {lost}, dropped {dropped}, "
          f"{'whole' if whole else 'WITH HOLES'}")  # fmt: skip
    return 1 if stayer.gaps or stayer.live.link.lost or lossy or lost or dropped or not whole else 0


def _spread(values: list[float] | list[int], settled: int) -> str:
    """At the start, after a sixth of the time, at the end, and the most after that sixth."""
    return f"start {values[0]:.1f}  settled {values[settled]:.1f}  end {values[-1]:.1f}  most {max(values[settled:]):.1f}"


def _slope(values: list[float]) -> float:
    """Per minute, by least squares over one value a second."""
    return statistics.linear_regression(range(len(values)), values).slope * 60 if len(values) > 1 else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    sys.exit(soak(args.minutes, args.seed))


if __name__ == "__main__":
    main()
