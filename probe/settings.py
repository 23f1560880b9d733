"""What a run is told from outside: by arguments and by the environment. UsageError for what makes no sense."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lsmon.protocol.errors import UsageError

if TYPE_CHECKING:
    from lsmon.protocol.detectors.thresholds import Thresholds
    from lsmon.protocol.wire.tcp import Listening


def own_rank() -> int:
    try:
        return int(os.environ.get("RANK", "0"))
    except ValueError:
        return 0


def speaks(rank: int) -> bool:
    """Rank 0 only, unless ``LSMON_RANKS`` says ``all`` or lists others; nobody under ``LSMON=0``."""
    ranks = os.environ.get("LSMON_RANKS", "0")
    named = ranks == "all" or str(rank) in [one.strip() for one in ranks.split(",")]
    return named and os.environ.get("LSMON") != "0"


def allowed_share(given: float) -> float:
    """The budget: ``LSMON_BUDGET`` before the argument."""
    words = os.environ.get("LSMON_BUDGET")
    try:
        budget = float(words) if words else float(given)
    except (TypeError, ValueError):
        said = f"LSMON_BUDGET={words}" if words else f"budget={given!r:.40}"
        raise UsageError(f"{said} is not a number; it is a share of the wall time such as 0.05.") from None
    if not 0 <= budget <= 1:
        raise UsageError(f"budget={budget:g} is not a share of the wall time between 0 and 1, such as 0.05.")
    return budget


def door_at(listen: str | None) -> Listening | None:
    """Where others may come in; refused without keys."""
    if listen is None:
        return None
    from lsmon.protocol.wire.tcp import listening

    return listening(str(listen))


def thresholds_of(config: Mapping[str, Any] | None) -> Thresholds:
    """Those of the detectors, with what ``config["alerts"]`` changes."""
    from lsmon.protocol.detectors.thresholds import Thresholds

    if config is not None and not (hasattr(config, "get") and hasattr(config, "items")):
        raise UsageError(
            "config= is a dictionary of settings, by name; of an argparse namespace that is vars(args)."
        )
    changed = (config or {}).get("alerts", {})
    if not isinstance(changed, Mapping):
        raise UsageError(
            'config["alerts"] sets thresholds by name, such as {"saddle.plateau_steps": 200}; give it a dictionary.'
        )
    return Thresholds().changed(changed)
