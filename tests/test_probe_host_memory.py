"""How much of the host's memory may be taken for a basis that the device has no room for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from lsmon.probe.host_memory import host_room

GPU = torch.device("cuda")
FREE = 8 << 30


@pytest.fixture(autouse=True)
def free(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with eight gibibytes free."""
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": FREE >> 12, "SC_PAGE_SIZE": 1 << 12}.__getitem__)


def test_a_cpu_has_no_other_memory() -> None:
    assert host_room(torch.device("cpu")) == 0


def test_a_quarter_of_what_is_free(tmp_path: Path) -> None:
    """Outside any container."""
    assert host_room(GPU, tmp_path) == FREE // 4


@pytest.mark.parametrize(
    ("limit", "used"),
    [("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes")],
)
def test_a_container_has_less(tmp_path: Path, limit: str, used: str) -> None:
    """What its control group leaves counts, in either version; over it nothing is left."""
    (tmp_path / "memory").mkdir()
    (tmp_path / limit).write_text(f"{2 << 30}\n")
    (tmp_path / used).write_text(f"{1 << 30}\n")
    assert host_room(GPU, tmp_path) == (1 << 30) // 4
    (tmp_path / used).write_text(f"{3 << 30}\n")
    assert host_room(GPU, tmp_path) == 0
    (tmp_path / limit).write_text("max\n")
    assert host_room(GPU, tmp_path) == FREE // 4
