"""Check what lsmon needs: terminal, sockets, ssh, disk and torch. Exit code 1 when something it cannot do without fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import LsmonError

Verdict = Literal["ok", "warn", "fail"]

LEAST_DISK = 1 << 30
"""Bytes. A day of training at 100 steps/s records about this much."""


class Finding(NamedTuple):
    part: str
    verdict: Verdict
    words: str


def add(parser: ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON array")


def run(args: Namespace) -> int:
    findings = [finding for check in CHECKS for finding in _contained(check)]
    if args.json:
        sys.stdout.write(json.dumps([finding._asdict() for finding in findings]) + "\n")
    else:
        for finding in findings:
            sys.stdout.write(f"{finding.verdict:<5} {finding.part:<9} {finding.words}\n")
    return 1 if any(finding.verdict == "fail" for finding in findings) else 0


def _contained(check: Callable[[], Iterator[Finding]]) -> list[Finding]:
    """The findings of a check, or that it could not be made: one broken part must not hide the others."""
    try:
        return list(check())
    except (LsmonError, OSError, ImportError) as error:
        return [Finding(check.__name__, "fail", clean_line(str(error), 200))]


def terminal() -> Iterator[Finding]:
    term = clean_line(os.environ.get("TERM", ""), 40) or "unset"
    size = shutil.get_terminal_size()
    if not sys.stdout.isatty():
        yield Finding("terminal", "warn", "stdout is not a terminal; lsmon prints plain lines")
    elif term == "dumb":
        yield Finding("terminal", "warn", "TERM=dumb; lsmon prints plain lines")
    else:
        colours = "24-bit" if os.environ.get("COLORTERM") in ("truecolor", "24bit") else "256 or fewer"
        yield Finding("terminal", "ok", f"{term}, {size.columns}x{size.lines}, {colours} colours")
    encoding = sys.stdout.encoding or "unknown"
    if "utf" not in encoding.lower():
        yield Finding("terminal", "warn", f"stdout speaks {encoding}, not UTF-8; curves need UTF-8")


def sockets() -> Iterator[Finding]:
    import zmq

    from lsmon.protocol.places import runtime_dir

    library = zmq.zmq_version_info()
    # 4.3.3 fixed the remotely reachable overflows and leaks of PUB sockets (GHSA-qq65-x72m-9wr8 and others).
    yield Finding(
        "sockets", "ok" if library >= (4, 3, 3) else "fail", f"libzmq {zmq.zmq_version()}, needs 4.3.3"
    )
    folder = runtime_dir()
    mode = folder.stat().st_mode & 0o777
    private = mode == 0o700
    yield Finding("sockets", "ok" if private else "fail", f"mode {mode:o}, in {folder}")


def ssh() -> Iterator[Finding]:
    program = shutil.which("ssh")
    if program is None:
        yield Finding("ssh", "warn", "no ssh on PATH; `lsmon HOST:` cannot work")
        return
    said = subprocess.run([program, "-V"], capture_output=True, text=True, timeout=10, check=False)
    yield Finding("ssh", "ok", clean_line((said.stderr or said.stdout).strip(), 80))


def disk() -> Iterator[Finding]:
    from lsmon.protocol.places import recordings_dir

    folder = recordings_dir()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    try:
        with tempfile.TemporaryFile(dir=there):
            verdict: Verdict = "ok" if free >= LEAST_DISK else "warn"
            words = f"{free / 2**30:.1f} GiB free"
    except OSError as error:  # permissions do not tell: a file system may be read-only, or none
        verdict, words = "fail", f"not writable ({(error.strerror or str(error)).lower()})"
    yield Finding("disk", verdict, f"{words}, recordings in {folder}")


def torch() -> Iterator[Finding]:
    """Without importing it: that takes seconds, and the screen does not need it."""
    if find_spec("torch") is None:
        yield Finding(
            "torch", "warn", "not installed here; a probe with a model needs it, the screen does not"
        )
        return
    try:
        yield Finding("torch", "ok", version("torch"))
    except PackageNotFoundError:
        yield Finding("torch", "ok", "present, of unknown version")


def python() -> Iterator[Finding]:
    yield Finding(
        "python",
        "ok",
        f"{sys.version.split()[0]}, lsmon {version('lsmon')} in {Path(__file__).parent.parent}",
    )


CHECKS = (python, terminal, sockets, ssh, disk, torch)
