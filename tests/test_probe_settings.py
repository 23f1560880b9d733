"""What a run is told of itself by its arguments."""

from __future__ import annotations

from pathlib import Path

from lsmon.probe import Probe
from lsmon.protocol.frames import Mark, RunStarted
from tests.test_probe_oath import of, own_folders, recorded

__all__ = ["own_folders"]  # a fixture, used by name


def test_a_setting_that_cannot_say_what_it_is_ends_nothing(tmp_path: Path) -> None:
    """Its name is in the record, and so are the others; a name of the run may be a number."""

    class Missing:
        def __str__(self) -> str:
            raise RuntimeError("a mandatory value is missing")

    with Probe(name=7, config={"lr": 0.1, "data": Missing(), "seed": 3}) as probe:  # type: ignore[arg-type]
        probe.log(loss=1.0)
    frames = recorded(tmp_path)
    assert of(frames, RunStarted)[0].name == "7"
    assert [mark.note for mark in of(frames, Mark)] == ["config: lr=0.1, data=?, seed=3"]
