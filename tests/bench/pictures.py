"""The pictures of README, from trainings that it runs: python -m tests.bench.pictures [FOLDER WITH RECORDINGS]

With a folder that an earlier call has left (LSMON_DIR) nothing is trained again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from lsmon.protocol.recording.folder import list_recordings

OUT = Path(__file__).parent.parent.parent / "demo" / "pictures"
SPECTRUM_STEPS = 1500


def train(home: Path) -> None:
    """Both demos, and a small classifier whose whole spectrum is measured again and again."""
    settings = {**os.environ, "LSMON_DIR": str(home), "OMP_NUM_THREADS": "1"}
    for words in (["lsmon.demo.grokking"], ["lsmon.demo.saddle"], ["tests.bench.pictures", "spectrum"]):
        subprocess.run([sys.executable, "-m", *words], env=settings, check=True)


def spectrum() -> None:
    """A network of two layers on two spirals, with every sensor."""
    import torch

    from lsmon.probe import Probe

    torch.manual_seed(0)
    turn = torch.rand(512) * 3 + 0.3
    side = torch.arange(512) % 2
    angle = turn * 2.5 + side * torch.pi
    x = torch.stack([turn * angle.cos(), turn * angle.sin()], 1) / 3 + 0.02 * torch.randn(512, 2)
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 32),
        torch.nn.Tanh(),
        torch.nn.Linear(32, 32),
        torch.nn.Tanh(),
        torch.nn.Linear(32, 2),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)

    def loss_fn(model: torch.nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])

    with Probe(
        model, optimizer, loss_fn, name="spirals", reference=(x, side), budget=1.0, sensors="full"
    ) as probe:
        for _ in range(SPECTRUM_STEPS):
            rows = torch.randint(512, (64,))
            batch = (x[rows], side[rows])
            loss = loss_fn(model, batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            probe.step(loss, batch)


def draw(home: Path) -> None:
    """Small ones: a page of README is no place for more."""
    OUT.mkdir(exist_ok=True)
    newest = {
        name: path
        for path in reversed(list_recordings(home / "recordings"))
        for name in ("grok", "saddle", "spirals")
        if name in path.name
    }
    for name, words in {
        "grok": ["--size", "104x30"], "saddle": ["--size", "104x30", "--theme", "lsmon-light"], "spirals": ["--size", "104x30", "--page", "spectrum"],
    }.items():  # fmt: skip
        out = OUT / f"{name}.svg"
        out.unlink(missing_ok=True)
        subprocess.run(
            [
                sys.executable,
                "-m",
                "lsmon.tui",
                "export",
                str(newest[name]),
                "--to",
                "svg",
                "-o",
                str(out),
                *words,
            ],
            check=True,
        )


if __name__ == "__main__":
    if sys.argv[1:] == ["spectrum"]:
        spectrum()
    elif sys.argv[1:]:
        draw(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder))
            draw(Path(folder))
