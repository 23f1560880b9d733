"""What the examples in docstrings say is what happens."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOLD = [
    "lsmon." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for room in ("protocol", "probe", "tui")
    for path in sorted((ROOT / room).rglob("*.py"))
    if ">>> " in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("module", TOLD)
def test_the_examples_are_true(module: str) -> None:
    """Each that is shown, to the letter; ``…`` in words is a character, and leaves nothing out."""
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert not results.failed
