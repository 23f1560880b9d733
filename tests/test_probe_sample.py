"""The learning coefficient as a job on a checkpoint: what a person runs, reads, and is told when it does not go."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from lsmon.probe.sample import main

SCRIPT = """
import torch
from torch import nn

class Point(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.ones(64))

def parts():
    return Point(), lambda model, data: (model.w ** 2).sum(), torch.zeros(9, 1)

def nothing():
    raise ValueError("no data here")
"""


@pytest.fixture(autouse=True)
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bowl.py").write_text(SCRIPT)
    torch.save({"w": torch.zeros(64)}, tmp_path / "plain.pt")
    torch.save({"model": {"module._orig_mod.w": torch.zeros(64)}, "step": 3}, tmp_path / "whole.pt")
    torch.save({"v": torch.zeros(64)}, tmp_path / "other.pt")
    torch.save({"ema": {"w": torch.zeros(64)}, "model": 1}, tmp_path / "deep.pt")
    (tmp_path / "broken.pt").write_bytes(b"not a checkpoint")
    torch.save(Path("code"), tmp_path / "code.pt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "bowl", raising=False)


QUICK = ["--steps", "120", "--temperature", "0.01", "--json"]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main([*words, *QUICK]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.parametrize("words", [["plain.pt"], ["whole.pt"], ["deep.pt", "--key", "ema"]])
def test_a_checkpoint_of_known_coefficient(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """64 independent squares around their minimum, which only the checkpoint has: 32 within 15 %; wrappers' names and the
    usual places of a state dict are known, another is named."""
    found = run(capsys, "bowl.py:parts", *words)
    assert found["value"] == pytest.approx(32, rel=0.15)
    assert found["loss"] == 0.0
    assert len(found["chains"]) == 4


def test_where_it_is_no_minimum_it_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a checkpoint the model is as the function gives it, on a slope; words instead of JSON."""
    assert main(["bowl.py:parts", *QUICK[:-1]]) == 0
    said = capsys.readouterr().out
    assert said.startswith("learning coefficient -")
    assert "not converged: the chains found a lower loss" in said


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["bowl.py"], "does not name a function", 2),
        (["bowl.py:nothing"], "ValueError: no data here", 1),
        (["bowl.py:missing"], "AttributeError", 1),
        (["bowl.py:parts", "absent.pt"], "absent.pt cannot be read", 1),
        (["bowl.py:parts", "broken.pt"], "is not a checkpoint of tensors and plain values", 1),
        (["bowl.py:parts", "code.pt"], "is not a checkpoint of tensors and plain values", 1),
        (["bowl.py:parts", "other.pt"], "does not fit the model", 1),
        (["bowl.py:parts", "deep.pt"], "name its place with --key", 2),
        (["bowl.py:parts", "plain.pt", "--steps", "3"], "steps must be at least 30", 2),
    ],
)
def test_what_does_not_go_is_one_sentence(
    words: list[str], sentence: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """On stderr, nothing on stdout; a checkpoint with code in it is refused unread."""
    assert main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert sentence in err
    assert err.count("\n") == 1


def test_it_runs_as_a_process(tmp_path: Path) -> None:
    """As README says it."""
    done = subprocess.run(
        [sys.executable, "-m", "lsmon.probe.sample", "bowl.py:parts", "plain.pt", *QUICK],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout)["gradients"] == 480
