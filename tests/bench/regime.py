"""What the regime calls trainings whose truth is known by construction, on those it was tuned on and on others.

    python -m tests.bench.regime [tuned | held out] [KIND …] [--count 8] [--first 0]

Small networks of random depth, width, activation, initialisation, normalisation, optimizer, schedule and batch size, on data
sets of scikit-learn; broken in one of five ways, or healthy. Each is watched by a real probe that measures by the number of
the step, with the sharpness every 50 steps, so that verdicts do not depend on the machine, and judged by what the probe recorded: a broken one is called right when its
own label is told and no other fault is, a healthy one when none is.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections import Counter
from pathlib import Path

import torch

from lsmon.probe import Probe
from lsmon.probe.sensors.layers import LayerScale
from lsmon.probe.sensors.scale import Scale
from lsmon.protocol.frames import Scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.regime import NORMAL

from ..trainings import Sharpness
from .patients import HALVES, KINDS, Patient, loss_fn, patients


def told(patient: Patient) -> list[tuple[int, str]]:
    """Every change of the label, with its step and its words."""
    scale, layers = Scale(seconds=0.0), LayerScale(seconds=0.0)
    scale.every, layers.every = 5, 10  # by steps, and not by the clock
    sensors = [scale, layers, Sharpness(50)]
    some = tuple(part[:256] for part in patient.data)
    probe = Probe(patient.model, patient.optimizer, loss_fn, clip=patient.clip, reference=some, budget=1.0, sensors=sensors)  # fmt: skip
    folder = Path(probe._outlets.header.recording)
    for number in range(patient.steps):
        loss, batch = patient.step(number)
        probe.step(loss, batch)
        if number > 50 and not torch.isfinite(loss):
            break
    probe.close()
    found: list[tuple[int, str]] = []
    with Recording.open(folder) as recording:
        for frame in recording.frames():
            words = frame.words.get("regime", "") if isinstance(frame, Scalars) else ""
            if words and (not found or words.split(":")[0] != found[-1][1].split(":")[0]):
                found.append((frame.step, words))
    return found


def verdict(patient: Patient, found: list[tuple[int, str]]) -> str:
    """``right``, ``none`` where a fault was not told, or the wrong labels."""
    faults = list(dict.fromkeys(label for _, words in found if (label := words.split(":")[0]) not in NORMAL))
    wrong = [label for label in faults if label != patient.kind]
    if wrong:
        return ", ".join(wrong)
    return "right" if faults or patient.kind == "healthy" else "none"


def examine(half: str, kinds: list[str], count: int, first: int, quiet: bool) -> None:
    print(f"{half}: {', '.join(HALVES[half])}")
    for kind in kinds:
        verdicts: Counter[str] = Counter()
        for patient in patients(kind, half, 2 * count if kind == "healthy" else count, first):
            found = told(patient)
            said = verdict(patient, found)
            verdicts[said] += 1
            if said != "right" and not quiet:
                print(f"        {patient.words}")
                for step, words in found:
                    print(f"            {step:4} {words}")
        right, whole = verdicts.pop("right", 0), sum(verdicts.values())
        others = "; ".join(f"{name} {number}" for name, number in verdicts.most_common())
        print(
            f"    {kind:12} {right:3} of {right + whole} right{'; ' + others if others else ''}", flush=True
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("what", nargs="*", help="'tuned' or 'held out', and kinds")
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first one: others that nobody has looked at"
    )
    parser.add_argument("--quiet", action="store_true", help="only the table")
    given = parser.parse_args()
    torch.set_num_threads(1)
    halves = [half for half in HALVES if half in given.what] or list(HALVES)
    kinds = [kind for kind in KINDS if kind in given.what] or list(KINDS)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LSMON_DIR"] = os.environ["LSMON_RUNTIME_DIR"] = folder
        for half in halves:
            examine(half, kinds, given.count, given.first, given.quiet)


if __name__ == "__main__":
    main()
