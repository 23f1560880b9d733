"""What the sockets cost the sending thread, and how fast a late joiner has it all: ``python -m tests.bench.wire``."""

from __future__ import annotations

import math
import tempfile
import time
from contextlib import closing
from pathlib import Path

from lsmon.protocol.codec import encode
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import RunStarted, Scalars
from lsmon.protocol.wire.client import Client
from lsmon.protocol.wire.server import Server

FRAMES = 60_000
NAMES = ("lr", "grad/norm", "weight/norm", "update/ratio")


def frame(seq: int) -> Scalars:
    values = {"loss": math.sin(seq), **{name: seq / (n + 7) for n, name in enumerate(NAMES)}}
    return Scalars(seq=seq, step=seq, wall=1e9 + seq / 100, values=values)


def publish(server: Server, folds: Folds, seq: int) -> float:
    """Seconds that one frame took, without its encoding and folding."""
    made = frame(seq)
    data = encode(made)
    began = time.perf_counter()
    server.publish(made, data)
    took = time.perf_counter() - began
    for summary in folds.add(made):
        server.publish(summary, encode(summary))
    return took


def tell(what: str, secs: list[float]) -> None:
    ranked = sorted(secs)
    marks = (ranked[int(len(ranked) * q) - 1] * 1e6 for q in (0.5, 0.99, 0.999, 1.0))
    print(
        f"{what:<34}"
        + "  ".join(f"{n} {m:7.1f}" for n, m in zip(("p50", "p99", "p99.9", "max"), marks, strict=True))
    )


def main() -> None:
    header = RunStarted(seq=1, run="bench")
    with tempfile.TemporaryDirectory() as folder, closing(Server(Path(folder), header)) as server:
        folds = Folds()
        tell("publish, nobody listens, us", [publish(server, folds, seq) for seq in range(2, FRAMES)])
        print(
            f"history: {server._history.held / 2**20:.1f} MiB of {FRAMES} frames of {len(encode(frame(9)))} bytes"
        )
        with closing(Client(str(server.live), str(server.ask))) as client:
            began, polled, got = time.perf_counter(), 0.0, 0
            while client.order.last < FRAMES - 1:
                if time.perf_counter() - polled > 0.02:  # as the probe's sender does
                    server.poll()
                    polled = time.perf_counter()
                got += sum(1 for _ in client.frames())
                time.sleep(0.001)
            print(f"late joiner: {got} frames for {FRAMES} in {time.perf_counter() - began:.3f} s")
            took = []
            for seq in range(FRAMES, FRAMES + 20_000):
                took.append(publish(server, folds, seq))
                if seq % 50 == 0:
                    server.poll()
                    list(client.frames())
            tell("publish, one viewer, us", took)
        idle = []
        for _ in range(5000):
            began = time.perf_counter()
            server.poll()
            idle.append(time.perf_counter() - began)
        tell("poll, nothing to do, us", idle)


if __name__ == "__main__":
    main()
