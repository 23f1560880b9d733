"""Recordings of every format version stay readable for ever."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lsmon.protocol.codec import decode, encode
from lsmon.protocol.frames import (
    FORMAT,
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
)
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.record import record

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("version", range(1, FORMAT + 1))
def test_a_recording_of_each_format_reads_as_it_did(version: int) -> None:
    """Every frame, the rows and the events equal what was written down beside it when the format was current."""
    with Recording.open(GOLDEN / f"format-{version}") as recording:
        assert recording.header.format == version
        frames = list(recording.frames())
        rows = [*recording.summaries(64), *recording.summaries(4096)]
        assert list(recording.events()) == [frame for frame in frames if isinstance(frame, Alert | Mark)]
        assert (recording.lost, recording.damage) == (0, ())
    expected = (GOLDEN / f"format-{version}.jsonl").read_bytes().splitlines()
    assert [*frames, *rows] == [decode(line) for line in expected]


def frames() -> list[AnyFrame]:
    """One of each kind, with every field that the current format has."""
    return [
        Scalars(seq=2, step=1, wall=1_800_000_001.5, values={"loss": 2.5, "val/acc": float("nan")},
                errors={"loss": 0.125}, words={"loss": "mean of 4"}),
        Curvature(seq=3, step=1, wall=1_800_000_002.0, top=(Ritz(12.5, 0.25, True),), bottom=(Ritz(-1.5, 0.5),),
                  negative_at_least=3, tolerance=0.01, lanczos_steps=32, hvps=32, seconds=0.5, share=0.03,
                  method="lanczos", batch=512, parameters=1000, loss=2.25, grad_norm=0.5, noise=1e-6, notes=("n",)),
        Layers(seq=4, step=1, wall=1_800_000_003.0, names=("in", "out"), values={"grad": (0.5, 0.25)}),
        Heartbeat(seq=4, step=1, wall=1_800_000_004.0, pid=7, boot="b", pid_started=9, dropped=2, share=0.03,
                  rate=10.5, recording="stopped: disk full", notes={"curvature": "waits for a loss_fn"}),
        Alert(seq=5, step=2, wall=1_800_000_005.0, kind="loss_spike", severity="warning", onset_step=1,
              message="jumped", evidence={"z": 9.5, "loss": float("inf")}, advice="look", confidence=0.5, follows=4),
        Mark(seq=6, step=2, wall=1_800_000_006.0, note="a note: λ"),
        Scalars(seq=7, step=1, wall=1_800_000_007.0, rank=1, attempt=2, values={"loss": 1e-30}),
        RunEnded(seq=8, step=2, wall=1_800_000_008.0, reason="error", error="ValueError: x", dropped=2),
    ]  # fmt: skip


def write(version: int) -> None:
    """Makes the recording of the current format; to be run once, when the format changes."""
    folder = GOLDEN / f"format-{version}"
    folder.mkdir(parents=True)
    header = RunStarted(
        seq=1, wall=1_800_000_000.0, run="g1", name="golden", host="box", user="me", pid=7, boot="b", pid_started=9,
        command=("python", "train.py"), lsmon="0.1.0", torch="2.13.0", model="MLP", parameters=1000,
        optimizer="AdamW", device="cpu", budget=0.05, recording="/home/me/recordings/g1",
    )  # fmt: skip
    record(folder, header, frames())
    with Recording.open(folder) as recording:
        said = [*recording.frames(), *recording.summaries(64), *recording.summaries(4096)]
    (GOLDEN / f"format-{version}.jsonl").write_bytes(b"\n".join(encode(frame) for frame in said) + b"\n")


if __name__ == "__main__":
    write(int(sys.argv[1]))
