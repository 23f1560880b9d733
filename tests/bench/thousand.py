"""A thousand probes one after another, closed and dropped: ``python -m tests.bench thousand [--probes 1000]``."""

from __future__ import annotations

import argparse
import gc
import os
import resource
import tempfile
import threading
import time
from pathlib import Path

from lsmon.probe import Probe
from lsmon.protocol.cards import read_cards


def one(close: bool) -> None:
    probe = Probe(name="sweep")
    for _ in range(10):
        probe.step(1.0)
    if close:
        probe.close()


def held() -> tuple[float, int, int]:
    """Resident MiB, descriptors and threads."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    return pages * resource.getpagesize() / 2**20, descriptors, threading.active_count()


def settled() -> tuple[float, int, int]:
    """When the threads of the dropped ones have ended, which they do by themselves."""
    gc.collect()
    deadline = time.monotonic() + 30
    while threading.active_count() > 1 and time.monotonic() < deadline:
        time.sleep(0.05)
    return held()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lsmon-") as home:
        os.environ["LSMON_DIR"] = home
        os.environ.pop("LSMON_RUNTIME_DIR", None)
        began = time.process_time()
        for index in range(args.probes + 1):
            if index % max(args.probes // 5, 1) == 0:
                memory, descriptors, threads = settled()
                print(
                    f"{index:6} probes   memory {memory:6.1f} MiB   descriptors {descriptors}   threads {threads}"
                )
            one(index % 4 > 0)
        memory, descriptors, threads = settled()
        print(f"cards left {len(read_cards())}, sockets left {len(list((Path(home) / 'sockets').iterdir()))}, "
              f"{(time.process_time() - began) / args.probes * 1e3:.1f} ms of CPU each")  # fmt: skip


if __name__ == "__main__":
    main()
