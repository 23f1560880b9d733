"""A few of the inputs of ``make fuzz``: whatever is wrong with it, what lsmon reads ends in frames or in a sentence."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzzing import FORMATS


@pytest.mark.parametrize("name", FORMATS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True
)  # fmt: skip
@given(seed=st.integers(0, 1 << 32))
def test_nothing_but_a_sentence_comes_out(
    name: str, seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No exception beyond LsmonError, from making an object of it to what both faces show of it."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    FORMATS[name].take(tmp_path, FORMATS[name].make(random.Random(seed)))
