"""The temperature of a training that two processes share, over loopback, against the noise that they were given."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.ranks import CASES, NOISE, RANKS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Any]]]:
    """What each rank printed, by case. A collective that the second one knows nothing of would stop them both."""
    store = tmp_path_factory.mktemp("ranks") / "store"
    ranks = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.ranks", str(rank), str(store)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        for rank in range(RANKS)
    ]  # fmt: skip
    try:
        said = [rank.communicate(timeout=100)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
            rank.wait()
    assert [rank.returncode for rank in ranks] == [0, 0]
    rows = [[json.loads(line) for line in words.splitlines()] for words in said]
    return [{row["case"]: row for row in each} for each in rows]


@pytest.mark.parametrize("case", CASES)
def test_ranks_are_micro_batches(both: list[dict[str, dict[str, Any]]], case: str) -> None:
    """Where they average, from one rank's own gradient and the average alone; where they do something else it is noticed,
    and consecutive differences are used. T within 5 % and within two errors."""
    row = both[0][case]
    name = "temperature/noise"
    truth = 0.1 * NOISE / 2
    assert row["values"][name] == pytest.approx(truth, rel=0.05)
    assert abs(row["values"][name] - truth) <= 2 * row["errors"][name]
    way = "ranks as micro-batches, M=2" if case.startswith("average") else "consecutive differences"
    assert row["words"][name].startswith(way)
    if case != "alone":
        assert row["ended"] == both[1][case]["ended"]
    assert "noise/scale" not in row["values"]
