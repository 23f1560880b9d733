"""Thousands of inputs that are nearly right, a format at a time: ``make fuzz``, or ``python -m tests.bench fuzz``.

Each format is read in a process of its own that may take so much memory and no more, each input with one second of CPU.
What goes wrong is printed with its seed: ``--only mcap --first 4711 --inputs 1`` runs that one again.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.fuzzing import FORMATS

CAP = 96 << 20
"""Bytes of address space beyond what the process has before the first input: a chunk of 4 MiB before and after
decompression, its frames, and what the allocator keeps."""
CPU_SECS = 1.0
WALL_SECS = 60.0
"""For what waits instead of working; long, since the machine may have other work."""


class Hang(BaseException):
    """Not an Exception, so that nothing swallows it."""


@contextmanager
def limits() -> Iterator[None]:
    signal.setitimer(signal.ITIMER_VIRTUAL, CPU_SECS)
    signal.setitimer(signal.ITIMER_REAL, WALL_SECS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.setitimer(signal.ITIMER_REAL, 0)


def _hang(*_: object) -> None:
    raise Hang


def fuzz(name: str, first: int, inputs: int) -> int:
    """In a process of its own; how many inputs went wrong."""
    signal.signal(signal.SIGVTALRM, _hang)
    signal.signal(signal.SIGALRM, _hang)
    form = FORMATS[name]
    # One folder for all: setenv never frees a value that is replaced, and 10 000 of those, each on top of the heap,
    # keep the allocator from using again what lies below.
    folder = tempfile.mkdtemp(prefix="lsmon-")
    os.environ["LSMON_DIR"] = folder
    tried(name, 0, Path(folder))  # whatever is imported, compiled or cached comes before the measure is taken
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + CAP, size + CAP))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wrong, worst = 0, 0.0
    for seed in range(first, first + inputs):
        began = time.process_time()
        try:
            with limits():
                tried(name, seed, Path(folder))
        except (Exception, Hang) as error:  # noqa: BLE001  this is what is looked for
            wrong += 1
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"  {name} {seed}: {type(error).__name__}: {str(error)[:200]}  at {where.filename}:{where.lineno}"
            )
        worst = max(worst, time.process_time() - began)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    mean = len(form.make(random.Random(first)))
    print(f"{name:10} {inputs:6} inputs  wrong {wrong}  worst {worst * 1e3:6.0f} ms of CPU  memory +{grown:.0f} MiB"
          f" (cap {CAP >> 20})  e.g. {mean} bytes")  # fmt: skip
    return wrong


def tried(name: str, seed: int, folder: Path) -> None:
    data = FORMATS[name].make(random.Random(seed))
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        FORMATS[name].take(folder, data)
    finally:
        shutil.rmtree(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=500)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--only", choices=FORMATS, help="one format, in this process")
    args = parser.parse_args()
    if args.only:
        sys.exit(min(fuzz(args.only, args.first, args.inputs), 100))
    options = ["--inputs", str(args.inputs), "--first", str(args.first)]
    command = [sys.executable, "-m", "tests.bench.fuzz", *options, "--only"]
    sys.exit(max(subprocess.run([*command, name], check=False).returncode for name in FORMATS))


if __name__ == "__main__":
    main()
