"""Several hosts at once: what runs on each of them, asked side by side, and one list of it all."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from lsmon.protocol.errors import LsmonError, UsageError

from .runs import Run, remote_runs
from .target import Reach, place

if TYPE_CHECKING:
    from lsmon.protocol.wire.carrier import Carrier

AT_ONCE = 16
"""Hosts that are asked at the same time: an ssh each, and an agent that answers them one after the other."""


class Place(NamedTuple):
    """What one host said: its runs, or why there are none to be had."""

    carrier: Carrier
    runs: list[Run]
    trouble: LsmonError | None = None


def look(targets: Sequence[str], reach: Reach, courses: int = 0) -> list[Place]:
    """What runs at each target, in their order, with the loss of so many; HOST:RUN leaves out all other runs there.
    Takes as long as the slowest.

    Raises UsageError when one of them is no host.
    """
    wanted = hosts(targets, reach)
    with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
        return list(pool.map(lambda named: ask(*named, courses=courses), wanted))


def hosts(targets: Sequence[str], reach: Reach) -> list[tuple[Carrier, str]]:
    """The places that they name, each with the run there, if it names one. Raises UsageError when one is no host."""
    found = [(target, place(target, reach)) for target in targets]
    wanted = [named for _, named in found if named is not None]
    if len(wanted) < len(found):
        odd = next(target for target, named in found if named is None)
        raise UsageError(
            f"Several targets must all be hosts, `HOST:` or `HOST:RUN`, unlike {odd[:80]!r}; `lsmon compare` takes runs."
        )
    return wanted


def ask(carrier: Carrier, run: str, *, courses: int = 0) -> Place:
    """What runs there, with the loss of so many of them."""
    try:
        runs = remote_runs(carrier, *(("--loss", str(courses)) if courses else ()))
    except LsmonError as error:
        return Place(carrier, [], error)
    exact = [one for one in runs if run and run in (one.name, one.run, str(one.pid))]
    return Place(
        carrier, exact or [one for one in runs if one.run.startswith(run) or one.name.startswith(run)]
    )
