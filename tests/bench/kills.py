"""A training killed with -9 at random moments, recorded and watched: ``python -m tests.bench kills --rounds 200``.

Each round is a process of its own that makes 1000 steps a second, rotates its recording every 200 kB and tells us of
every flush; three ``lsmon tail`` watch it. What was flushed must be there afterwards, in order and with its values.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lsmon.protocol.codec import decode
from lsmon.protocol.frames import UNNUMBERED, Scalars
from lsmon.protocol.recording.folder import list_recordings
from lsmon.protocol.recording.reader import Recording

TRAINING = """
import os, sys, time
from lsmon.protocol.recording import writer
from lsmon.protocol.recording.outfile import OutFile

flush = OutFile.flush
def told(self):
    flush(self)
    if not self._path.name.startswith("overview"):
        os.write(1, b"flushed %d\\n" % self._last_seq)
OutFile.flush = told
writer.Recorder.__init__.__kwdefaults__["rotate_bytes"] = 200_000

from lsmon.probe import Probe
probe = Probe(name="killed")
step = 0
while True:
    step += 1
    probe.step(step / 7, step=step)
    os.write(1, b"step %d %f\\n" % (step, time.time()))
    time.sleep(0.001)
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one kill cost."""

    frames: int
    """Read back."""
    missing: int
    """Flushed, and not read back."""
    wrong: int
    """Read back with another value than was written, or out of order."""
    lost_secs: float
    """Between the last step made and the last step recorded."""
    viewers_lossy: int
    """Viewers that missed a frame between the first and the last that they showed, or showed a wrong value."""
    opened: bool


def value_of(step: int) -> float:
    return float(f"{step / 7:.7g}")


def kill(after_secs: float, viewers: int) -> Outcome:
    """One training, killed so long after it has begun to record."""
    with tempfile.TemporaryDirectory(prefix="lsmon-") as home:
        environment = {**os.environ, "LSMON_DIR": home, "LSMON_STRICT": "1"}
        environment.pop("LSMON_RUNTIME_DIR", None)
        out = Path(home) / "out"
        with out.open("wb") as sink:
            training = subprocess.Popen([sys.executable, "-c", TRAINING], stdout=sink, env=environment)
        try:
            deadline = time.monotonic() + 60
            while b"flushed" not in out.read_bytes():
                if training.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit("the training to be killed did not start")
                time.sleep(0.002)
            tail = [sys.executable, "-m", "lsmon.tui", "tail", str(training.pid), "--json"]
            watching = [
                subprocess.Popen(tail, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
                for _ in range(viewers)
            ]
            time.sleep(after_secs)
        finally:
            training.send_signal(signal.SIGKILL)
            training.wait()
        lossy = sum(not sound(*viewer.communicate(timeout=60), viewer.returncode) for viewer in watching)
        return judged(Path(home), out.read_text().splitlines(), lossy)


def judged(home: Path, told: list[str], lossy: int) -> Outcome:
    """The recording, held against what the training said while it lived."""
    flushed = max(int(line.split()[1]) for line in told if line.startswith("flushed"))
    steps = [line.split() for line in told if line.startswith("step") and len(line.split()) == 3]
    walls = {int(step): float(wall) for _, step, wall in steps}
    try:
        with closing(Recording.open(list_recordings(home / "recordings")[0])) as recording:
            frames = list(recording.frames())
            damage = recording.lost or recording.damage
    except Exception as error:  # noqa: BLE001  whatever it is, it counts
        print(f"does not open: {type(error).__name__}: {error}")
        return Outcome(0, flushed, 0, 0.0, lossy, opened=False)
    numbers = [frame.seq for frame in frames if not isinstance(frame, UNNUMBERED)]
    losses = [frame for frame in frames if isinstance(frame, Scalars)]
    wrong = sum(frame.values != {"loss": value_of(frame.step)} for frame in losses)
    wrong += numbers != list(range(1, len(numbers) + 1)) or bool(damage)
    last = max(numbers, default=0)
    made, kept = max(walls, default=0), max((frame.step for frame in losses), default=0)
    began = walls.get(1, 0.0)
    lost_secs = walls.get(made, began) - walls.get(kept, began)
    return Outcome(len(frames), max(0, flushed - last), wrong, lost_secs, lossy, opened=True)


def sound(out: bytes, _: bytes | None, code: int) -> bool:
    """Whether a viewer that was told of no loss showed every frame once, with its value.

    One that came when the training was dead already, and found nothing to show, missed nothing.
    """
    if code == 1 and not out:
        return True
    frames = [frame for frame in map(decode, out.splitlines()) if frame is not None]
    numbers = [frame.seq for frame in frames if not isinstance(frame, UNNUMBERED)]
    losses = [frame for frame in frames if isinstance(frame, Scalars)]
    values = all(frame.values["loss"] == value_of(frame.step) for frame in losses)
    return code == 0 and values and numbers == list(range(1, len(numbers) + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    dice = random.Random(args.seed)
    outcomes = [kill(dice.uniform(0.0, 4.0), viewers=3) for _ in range(args.rounds)]
    secs = [outcome.lost_secs for outcome in outcomes]
    print(f"rounds                    {len(outcomes)}")
    print(f"recordings that opened    {sum(outcome.opened for outcome in outcomes)}")
    print(f"frames read back          {sum(outcome.frames for outcome in outcomes)}")
    print(f"flushed frames lost       {sum(outcome.missing for outcome in outcomes)}")
    print(f"wrong or out of order     {sum(outcome.wrong for outcome in outcomes)}")
    print(f"viewers with a loss       {sum(outcome.viewers_lossy for outcome in outcomes)}")
    print(f"lost, seconds of steps    median {statistics.median(secs):.3f}  most {max(secs):.3f}")


if __name__ == "__main__":
    main()
