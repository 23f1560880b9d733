"""``kill -9`` of a recorded training that is being watched, a few of the rounds of ``python -m tests.bench kills``."""

from __future__ import annotations

import sys

import pytest

from tests.bench.kills import kill

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="a viewer finds the training by its pid in /proc"
)


@pytest.mark.parametrize(("after_secs", "viewers"), [(0.0, 0), (0.61, 1), (1.37, 3)])
def test_a_kill_loses_nothing_that_was_flushed(after_secs: float, viewers: int) -> None:
    """The recording opens without damage and holds every flushed frame; no viewer misses one or shows a wrong value."""
    outcome = kill(after_secs, viewers)
    assert outcome.opened and outcome.frames > 0
    assert (outcome.missing, outcome.wrong, outcome.viewers_lossy) == (0, 0, 0)
