"""What a training feels of viewers that read, crawl at 64 KB/s, or sleep: ``python -m tests.bench.slow_viewers``.

Of ``probe.step(loss)`` on the training thread, and of the CPU that the whole process takes for a step, as ratios to the
same loop with nobody watching (the reading of viewers' output included); the least of several runs, since other work
on the machine only adds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from lsmon.probe import Probe
from tests.links import SLOW

STEPS, RUNS = 4000, 5
PAUSE = 0.0005
"""Between steps: 1000 to 2000 a second."""
LSMON = [sys.executable, "-m", "lsmon.tui", "tail", "bench", "--json"]
RELAYED = ["--via", "env LSMON_LOG=", "--remote-command", f"{sys.executable} -m lsmon.tui"]


@contextmanager
def viewer(kind: str) -> Iterator[None]:
    if kind == "nobody":
        yield
        return
    words = [*LSMON, *(RELAYED if "relay" in kind else [])]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if "sleeps" in kind:
            process.send_signal(signal.SIGSTOP)
        else:
            reader = threading.Thread(
                target=_read, args=(process.stdout.fileno(), "crawls" in kind), daemon=True
            )
            reader.start()
        try:
            yield
        finally:
            process.kill()


def _read(pipe: int, slowly: bool) -> None:
    try:
        while os.read(pipe, SLOW // 20 if slowly else 1 << 16):
            if slowly:
                time.sleep(0.05)
    except OSError:
        pass


def run(kind: str) -> tuple[float, float, float]:
    """Median and 99th percentile of a step, and CPU a step; in microseconds."""
    with Probe(name="bench", sensors="off", record=False) as probe, viewer(kind):
        took = []
        cpu = time.process_time()
        for step in range(1, STEPS):
            began = time.perf_counter()
            probe.step(1 / step)
            took.append(time.perf_counter() - began)
            time.sleep(PAUSE)
        cpu = time.process_time() - cpu
    took.sort()
    return took[len(took) // 2] * 1e6, took[int(len(took) * 0.99)] * 1e6, cpu / STEPS * 1e6


def main() -> None:
    kinds = ("nobody", "reads", "crawls at 64 KB/s", "sleeps", "reads, over a relay", "sleeps, over a relay")
    best = {kind: [float("inf")] * 3 for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="lsmon-") as folder:
        os.environ["LSMON_DIR"] = folder
        for _ in range(RUNS):
            for kind in kinds:
                best[kind] = [min(pair) for pair in zip(best[kind], run(kind), strict=True)]
    print(
        f"{'viewer':<22}{'step() p50, us':>18}{'p99, us':>18}{'CPU a step, us':>18}     ratio to nobody's in brackets"
    )
    for kind, figures in best.items():
        cells = (
            f"{figure:.1f} ({figure / alone:.2f})"
            for figure, alone in zip(figures, best["nobody"], strict=True)
        )
        print(f"{kind:<22}" + "".join(f"{cell:>18}" for cell in cells))


if __name__ == "__main__":
    main()
