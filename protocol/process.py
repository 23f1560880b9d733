"""Which process a run is: pids are reused, a pid with its start time and the boot of its machine is not."""

from __future__ import annotations

import os
import socket
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple


class Identity(NamedTuple):
    """Names one process for ever."""

    host: str
    pid: int
    boot: str
    """Boot id of the machine; empty where it has none (macOS)."""
    pid_started: int
    """Clock ticks from boot to the start of the process; 0 where that cannot be had."""


def this_process() -> Identity:
    return Identity(socket.gethostname(), os.getpid(), boot_id(), started(os.getpid()))


@lru_cache(maxsize=1)
def boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def started(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc(5), field 22 of stat); 0 when there is none to be had."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        state, *fields = stat.rpartition(")")[2].split()
        return 0 if state == "Z" else int(fields[18])
    except (OSError, ValueError, IndexError):
        return 0


def is_alive(pid: int, boot: str, pid_started: int) -> bool:
    """Whether that very process, not another with its number, runs on this machine."""
    if pid <= 0 or boot != boot_id():
        return False
    if pid_started:
        return started(pid) == pid_started
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return True
