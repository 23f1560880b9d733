"""A run that goes back goes on from where the detectors stood there."""

from __future__ import annotations

import pickle

import pytest

from lsmon.protocol.detectors.past import EXACT, FINENESS, SEGMENT, Past
from lsmon.protocol.detectors.saddle import Saddle
from lsmon.protocol.frames import AnyFrame, Scalars
from tests.corpus.run import Run


def taught(frames: list[AnyFrame]) -> tuple[Past, list[Saddle]]:
    detectors = [Saddle()]
    past = Past(detectors)
    step = 0
    for frame in frames:
        step = max(step, frame.step)
        detectors[0].see(frame)
        past.add(frame, step, detectors)
    return past, detectors


@pytest.mark.parametrize("back", [0, 1, SEGMENT - 1, SEGMENT, SEGMENT + 1, EXACT * SEGMENT - 50])
def test_going_back_a_little_is_exact(back: int) -> None:
    frames = list(Run.load("linear2-2").frames())[: 9 * SEGMENT + 77]
    step = frames[len(frames) - 1 - back].step
    past, _ = taught(frames)
    detectors, unseen = past.back(step)
    for frame in unseen:
        detectors[0].see(frame)
    _, expected = taught([frame for frame in frames if frame.step < step])
    assert pickle.dumps(detectors[0]) == pickle.dumps(expected[0])


def test_going_back_to_the_beginning_is_a_fresh_start() -> None:
    past, _ = taught(list(Run.load("linear2-2").frames()))
    detectors, unseen = past.back(0)
    assert pickle.dumps(detectors[0]) == pickle.dumps(Saddle()) and not unseen


def test_states_are_few_and_near_enough() -> None:
    """Of a distant past fewer are needed: a state is never further off than a part of the way back."""
    length = 2000 * SEGMENT
    past, _ = taught([Scalars(step=step) for step in range(length)])
    assert len(past._states) < 100
    for back in (SEGMENT, 10 * SEGMENT, 100 * SEGMENT, 1000 * SEGMENT, length - 1):
        stood = max(state.seen for state in past._states if state.step < length - back)
        assert length - back - stood <= SEGMENT + 2 * back / FINENESS
