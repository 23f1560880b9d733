"""What all detectors together cost the sending thread, in microseconds a frame.

python -m tests.bench.detectors
"""

from __future__ import annotations

import statistics
import time

from lsmon.protocol.detectors.thresholds import Thresholds
from lsmon.protocol.detectors.watch import DETECTORS, Watch
from lsmon.protocol.frames import AnyFrame
from tests.corpus.run import Run

RUNS = ("linear2-0", "addition-00", "ordinary-0", "restart-0", "parity-0")
REPEATS = 5


def seconds(frames: list[AnyFrame]) -> float:
    """CPU seconds a frame, the median of some repetitions."""
    taken = []
    for _ in range(REPEATS):
        watch = Watch()
        began = time.process_time()
        for frame in frames:
            watch.see(frame)
        taken.append((time.process_time() - began) / len(frames))
    return statistics.median(taken)


def main() -> None:
    every: list[AnyFrame] = []
    for name in RUNS:
        frames = list(Run.load(name).frames())
        every += frames
        print(f"{name:14} {len(frames):6} frames   {seconds(frames) * 1e6:6.2f} µs a frame")
    print(
        f"{'all':14} {len(every):6} frames   {seconds(every) * 1e6:6.2f} µs a frame, {len(DETECTORS)} detectors"
    )
    for make in DETECTORS:
        detector = make(Thresholds())
        began = time.process_time()
        for frame in every:
            detector.see(frame)
        share = (time.process_time() - began) / len(every)
        print(f"    {type(detector).__name__:18} {share * 1e6:6.2f} µs")


if __name__ == "__main__":
    main()
