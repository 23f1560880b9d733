"""What a run costs on the wire of ssh, and how live it is behind 64 KB/s: ``python -m tests.bench.link``.

In simulated time: the figures do not depend on this machine.
"""

from __future__ import annotations

import zlib

from lsmon.protocol.codec import encode
from lsmon.protocol.frames import Summary
from tests.links import SLOW, Link, frames_of, training

SECS = 20.0


def main() -> None:
    print(
        "four numbers a frame; bytes a second      JSON   zlib a record    whole          behind 64 KB/s, 100 ms away"
    )
    for rate in (100, 1000, 5000):
        lines = [encode(frame) for frame in frames_of(range(2, 2 + rate))]
        each = max(1, rate // 20)
        alone = sum(
            len(zlib.compress(b"\n".join(lines[at : at + each]), 1)) for at in range(0, len(lines), each)
        )
        fast, slow = Link(100e6, 0.02), Link(SLOW, 0.1)
        for link in (fast, slow):
            link.run(SECS, training(rate))
        late = max(now - reached / rate for now, reached in slow.lag if now > 8)
        recent = [frame for frame in slow.frames if frame.seq > rate * (SECS - 5)]
        folded = sum(isinstance(frame, Summary) for frame in recent)
        print(
            f"{rate:5} frames/s {sum(map(len, lines)) + rate:28,} {alone:15,} {round(fast.bytes / SECS):8,}"
            f" {round(slow.bytes / SECS):15,}, {late:.1f} s late at most, {len(recent) / 5:.0f} rows/s, {folded / max(1, len(recent)):.0%} folded"
        )


if __name__ == "__main__":
    main()
