"""How good the detectors are, on the runs they were tuned on and on those that they were not: ``make detectors``.

``--tuning`` leaves it at the first, and ``--wrong`` says there where they are wrong: nobody tunes who has looked at the
others. ``plain`` is the recall of what is not soft (``Event.soft``).
"""

from __future__ import annotations

import sys
from collections import defaultdict

from lsmon.protocol.detectors.watch import Watch

from .run import Run, names
from .score import Tally, judge, watched
from .split import part

ACCURACIES = ("train/acc", "val/acc")
GROKKING = ("memorized", "grokking_onset", "grokking_complete")
VARIANTS: tuple[tuple[str, int | None, tuple[str, ...]], ...] = (
    ("as measured", None, ()),
    ("curvature every 100 steps", 100, ()),
    ("without curvature", 0, ()),
    ("losses alone", 0, ACCURACIES),
)


def main(words: list[str]) -> int:
    print("step counts: delay of an alert after the middle of its event; a negative one came before it")
    parts = ("tuning",) if "--tuning" in words else ("tuning", "held out", "fresh")
    wanted = [word for word in words if not word.startswith("--")]
    for each in parts:
        chosen = [name for name in names() if part(name) == each]
        chosen = [name for name in chosen if not wanted or any(name.startswith(start) for start in wanted)]
        runs = [Run.load(name) for name in chosen]
        for title, every, hidden in VARIANTS:
            show(
                f"{each}, {len(runs)} runs, {title}",
                runs,
                every,
                hidden,
                wrong="--wrong" in words and each == "tuning",
            )
    return 0


def show(title: str, runs: list[Run], every: int | None, hidden: tuple[str, ...], wrong: bool) -> None:
    tallies: dict[str, Tally] = defaultdict(Tally)
    false = steps = false_healthy = healthy = 0
    for run in runs:
        found = judge(
            run,
            watched(run.frames(every=every, hidden=hidden), Watch()),
            tallies,
            spacing=every or 20,
            curvature=every != 0,
        )
        false, steps = false + found, steps + run.steps
        if run.healthy:
            false_healthy, healthy = false_healthy + found, healthy + run.steps
    print(
        f"\n{title}\n{'kind':22}{'events':>7}{'precision':>11}{'recall':>8}{'plain':>8}{'delay':>8}{'90 %':>8}{'before':>8}{'false':>7}{'optional':>10}"
    )
    for kind, tally in sorted(tallies.items()):
        if hidden and kind not in GROKKING:
            continue  # as in the table before
        there = tally.right + tally.missed
        before = tally.early / tally.right if tally.right else float("nan")
        print(
            f"{kind:22}{there:7}{tally.precision:11.3f}{tally.recall:8.3f}{tally.plain_recall:8.3f}{tally.median:8.0f}{tally.late:8.0f}{before:8.2f}{tally.false:7}{tally.optional:10}"
        )
        if wrong:
            for word in tally.wrong:
                print("    ", word)
    print(
        f"false alarms: {false} in {steps} steps, {false / max(steps, 1) * 1e5:.1f} per 100 000;"
        f" in healthy controls {false_healthy} in {healthy}, {false_healthy / max(healthy, 1) * 1e5:.1f} per 100 000"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
