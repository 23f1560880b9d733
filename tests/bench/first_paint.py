"""How long a person waits for the first curve: a recorded run of 2000 steps opened in a terminal of 200 by 50.

    python -m tests.bench.first_paint [--pairs 9] [--peers FOLDER]

Beside W&B LEET on the same losses, pair by pair, when wandb is importable or lies in FOLDER (``pip install --target
FOLDER wandb``). Counted from exec to the first braille cell, which in both is the first of a curve.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lsmon.protocol.frames import RunStarted
from lsmon.protocol.recording.record import record
from tests.bench.recording import frames
from tests.bench.terminal import Terminal

STEPS = 2000
COLS, ROWS = 200, 50

# What tests.bench.recording records: two scalars a step.
_PEER_RUN = f"""
import math, wandb
run = wandb.init(project="first-paint", mode="offline", dir=".", settings=wandb.Settings(x_disable_stats=True))
for step in range(2, {STEPS + 2}):
    loss = math.exp(-step / {STEPS}) + 0.1 * math.sin(step * 0.7)
    run.log({{"loss": loss, "grad/norm": loss * 1.7}})
run.finish()
"""


class Start(NamedTuple):
    """Seconds after exec, and of CPU up to the curve."""

    something: float
    curve: float
    cpu: float


def start(command: Sequence[str], env: dict[str, str]) -> Start:
    terminal = Terminal(command, COLS, ROWS, env)
    try:
        something = terminal.read_until(lambda data: len(data) > 1000)  # more than questions to the terminal
        curve = terminal.read_until(_shows_curve)
        if something is None or curve is None:
            sys.exit(f"No curve came from {' '.join(command)}.")
        return Start(something, curve, terminal.cpu_secs())
    finally:
        terminal.close()


def _shows_curve(data: bytes) -> bool:
    return any(0x2801 <= ord(char) <= 0x28FF for char in data.decode(errors="replace"))


def peer(folder: str, inside: Path) -> tuple[list[str], dict[str, str]] | None:
    """LEET's command on a run made for it, and its environment; None where wandb is not there."""
    env = {"WANDB_SILENT": "true", "WANDB_ERROR_REPORTING": "false"}
    if folder:
        env["PYTHONPATH"] = folder
    made = subprocess.run(
        [sys.executable, "-c", _PEER_RUN], cwd=inside, env={**os.environ, **env}, capture_output=True, check=False
    )  # fmt: skip
    runs = list(inside.glob("wandb/offline-run-*"))
    if made.returncode or not runs:
        return None
    return [sys.executable, "-m", "wandb", "leet", "run", str(runs[0])], env


def help_cpu_ms(times: int = 15) -> float:
    """Milliseconds of CPU that ``lsmon --help`` takes, with the start of Python: the median."""
    taken = []
    for _ in range(times):
        child = subprocess.Popen([_lsmon(), "--help"], stdout=subprocess.DEVNULL)
        _, _, used = os.wait4(child.pid, 0)
        child.returncode = 0
        taken.append((used.ru_utime + used.ru_stime) * 1e3)
    return statistics.median(taken)


def _lsmon() -> str:
    return str(Path(sys.executable).with_name("lsmon"))


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=9)
    parser.add_argument("--peers", default="", metavar="FOLDER")
    args = parser.parse_args()
    print(f"lsmon --help: {help_cpu_ms():.0f} ms of CPU")
    with tempfile.TemporaryDirectory() as root:
        ours = Path(root) / "ours"
        ours.mkdir()
        record(ours, RunStarted(seq=1, run="bench", name="bench", wall=1_800_000_000), frames(STEPS))
        commands: dict[str, tuple[list[str], dict[str, str]]] = {
            "lsmon replay": ([_lsmon(), "replay", str(ours)], {})
        }
        theirs = peer(args.peers, Path(root))
        if theirs is not None:
            commands["wandb leet"] = theirs
        else:
            print("wandb is not there to be compared with")
        starts: dict[str, list[Start]] = {name: [] for name in commands}
        for _ in range(args.pairs):
            for name, (command, env) in commands.items():
                starts[name].append(start(command, env))
    print(f"{args.pairs} starts each in turn, median (least), {COLS}x{ROWS}")
    for name, each in starts.items():
        something, curve, cpu = (list(column) for column in zip(*each, strict=True))
        print(
            f"  {name:<13} first paint {statistics.median(something):.2f} ({min(something):.2f}) s   "
            f"first curve {statistics.median(curve):.2f} ({min(curve):.2f}) s   "
            f"CPU {statistics.median(cpu):.2f} ({min(cpu):.2f}) s"
        )
    if theirs is not None:
        pairs = zip(*starts.values(), strict=True)
        ratios = sorted(our.curve / their.curve for our, their in pairs)
        print(
            f"  first curve, lsmon over leet pair by pair: median {statistics.median(ratios):.2f}, "
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


if __name__ == "__main__":
    main()
