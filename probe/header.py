"""Who trains, and what: the first frame of a run."""

from __future__ import annotations

import getpass
import os
import secrets
import socket
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.frames import RunStarted
from lsmon.protocol.process import this_process

from .sensors.sensor import Context


def run_header(name: str | None, budget: float, rank: int, context: Context) -> RunStarted:
    """Of this process and its model, as far as there is one."""
    me = this_process()
    return RunStarted(
        seq=1,
        wall=round(time.time(), 4),
        rank=rank,
        run=secrets.token_hex(4),
        name=clean_name(str(name or "") or os.environ.get("LSMON_RUN_NAME") or _script()),
        host=clean_name(me.host or socket.gethostname()),
        user=_user(),
        pid=me.pid,
        boot=me.boot,
        pid_started=me.pid_started,
        command=tuple(clean_line(word) for word in sys.argv[:64]),
        lsmon=_version(),
        budget=budget,
        **_trained(context),
    )


def _trained(context: Context) -> dict[str, Any]:
    """Of a model that is none of torch's only the name is known."""
    if context.reference is not None:
        from .subject import describe  # only here, because it loads torch

        return describe(context.model, context.optimizer)
    return {} if context.model is None else {"model": type(context.model).__name__}


def _script() -> str:
    """What runs here: the script, or the notebook, of which the kernel knows the path at times."""
    script = Path(sys.argv[0]).stem if sys.argv and sys.argv[0] not in ("", "-c", "-m") else "python"
    if script.endswith("kernel_launcher"):
        return Path(os.environ.get("JPY_SESSION_NAME", "")).stem or "notebook"
    return script


def _user() -> str:
    try:
        return clean_name(getpass.getuser())
    except (OSError, KeyError, ImportError):  # a container may have a uid without a name
        return str(os.getuid()) if hasattr(os, "getuid") else ""


def _version() -> str:
    try:
        return metadata.version("lsmon")
    except metadata.PackageNotFoundError:
        return ""
