"""Several hosts at once: what runs on each of them, asked side by side, and one list of it all."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple, cast

from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.sources.source import Source

from .format import age
from .runs import Run, remote_runs
from .target import Reach, place, remote

if TYPE_CHECKING:
    from lsmon.protocol.wire.carrier import Carrier

AT_ONCE = 16
"""Hosts that are asked at the same time: an ssh each, and an agent that answers them one after the other."""


class Place(NamedTuple):
    """What one host said: its runs, or why there are none to be had."""

    carrier: Carrier
    runs: list[Run]
    trouble: LsmonError | None = None


def look(targets: Sequence[str], reach: Reach) -> list[Place]:
    """What runs at each target, in their order; HOST:RUN leaves out all other runs there. Takes as long as the slowest.

    Raises UsageError when one of them is no host.
    """
    found = [(target, place(target, reach)) for target in targets]
    wanted = [named for _, named in found if named is not None]
    if len(wanted) < len(found):
        odd = next(target for target, named in found if named is None)
        raise UsageError(f"Several targets must all be hosts, `HOST:` or `HOST:RUN`, unlike {odd[:80]!r}.")
    with ThreadPoolExecutor(min(AT_ONCE, len(wanted))) as pool:
        return list(pool.map(lambda named: _look(*named), wanted))


def _look(carrier: Carrier, run: str) -> Place:
    try:
        runs = remote_runs(carrier)
    except LsmonError as error:
        return Place(carrier, [], error)
    return Place(
        carrier,
        [one for one in runs if not run or run in (one.name, str(one.pid)) or one.run.startswith(run)],
    )


def watch_several(targets: Sequence[str], reach: Reach, watch: Callable[[Source], int]) -> int:
    """A list of what runs on these hosts, and the screen on what is chosen from it, until the person leaves the list."""
    from .screens.chooser import Choice, choose

    trouble = ""
    while True:
        places = look(targets, reach)
        live = [
            Choice(
                name=run.name, host=place.carrier.name, state=run.state, age=f"{age(time.time() - run.started)} ago",
                value=(place.carrier, run.run),
            )
            for place in places for run in place.runs if run.state == "live"
        ]  # fmt: skip
        notes = [str(place.trouble) for place in places if place.trouble]
        if not live:
            names = ", ".join(place.carrier.name for place in places)
            raise LsmonError(
                trouble or "; ".join(notes) or f"No training with a probe is running on {names}."
            )
        chosen = choose(live, [], notes=[*notes, *([trouble] if trouble else [])])
        if chosen is None:
            return 0
        carrier, name = cast("tuple[Carrier, str]", chosen.value)
        try:
            watch(remote(carrier, name))
            trouble = ""
        except LsmonError as error:
            trouble = str(error)
