"""The runs of this machine and of other hosts, found step by step, so that a list can fill while one looks at it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from lsmon.protocol.sources.source import Source
from lsmon.protocol.told import Told, untold

from .places import AT_ONCE, ask
from .runs import Run, local_runs, with_course

if TYPE_CHECKING:
    from lsmon.protocol.wire.carrier import Carrier

MOST_COURSES = 60
"""Runs of a machine whose loss is read, the newest: some 20 ms each."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A run, and how its host is reached; None for this machine."""

    run: Run
    carrier: Carrier | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """The same run as long as it is listed."""
        return self.run.place, self.run.run or self.run.name, self.run.recording


@dataclass(frozen=True, slots=True)
class Found:
    """What is known after a step of the search, and how far it has come."""

    listed: tuple[Listed, ...]
    trouble: tuple[str, ...] = ()
    """A sentence for each host that did not answer."""
    doing: str = ""
    """What is being waited for, empty when all is done."""
    done: int = 0
    total: int = 0


def search(hosts: Sequence[tuple[Carrier, str]], here: bool = True) -> Iterator[Found]:
    """What this machine lists by itself, the loss of each of its runs, and each host as soon as it has answered."""
    found = Found(tuple(Listed(run) for run in local_runs()) if here else ())
    ours = found.listed[:MOST_COURSES]
    total, done = len(hosts) + len(ours), 0
    pool = ThreadPoolExecutor(AT_ONCE)
    try:
        asked = [pool.submit(ask, carrier, run, courses=MOST_COURSES) for carrier, run in hosts]
        for item in ours:
            yield replace(found, doing=f"reading {item.run.name}", done=done, total=total)
            known = replace(item, run=with_course(item.run))
            found = replace(found, listed=tuple(known if each is item else each for each in found.listed))
            done += 1
        if asked:
            yield replace(
                found,
                doing=f"asking {', '.join(carrier.name for carrier, _ in hosts)}",
                done=done,
                total=total,
            )
        for answer in as_completed(asked):
            place = answer.result()
            done += 1
            trouble = (*found.trouble, str(place.trouble)) if place.trouble else found.trouble
            listed = (*found.listed, *(Listed(run, place.carrier) for run in place.runs))
            found = replace(found, listed=listed, trouble=trouble)
            yield replace(
                found, doing="asking the other hosts" if done < total else "", done=done, total=total
            )
        yield found
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def source_of(item: Listed, told: Told = untold) -> Source:
    """Opens it; ``told`` hears how far that has come. Raises LsmonError, with the remedy where it cannot be opened from here."""
    from .target import live, live_cards, matching, open_at_end, remote

    run = item.run
    if item.carrier is not None:
        return remote(item.carrier, run.run or run.name)
    cards = matching(run.run, live_cards()) if run.lives else []
    return live(cards[0]) if cards else open_at_end(Path(run.recording), told)
