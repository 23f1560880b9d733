"""The trainability panel says in words what the training is doing."""

from __future__ import annotations

import pytest
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Scalars
from lsmon.tui.app import LsmonApp
from tests.bench.story import Told, header
from tests.screenplay import drive, panels, shown


def run(words: str) -> list[AnyFrame]:
    values = {
        "loss": 0.5,
        "grad/norm": 0.1,
        "weight/norm": 9.0,
        "layers/dead": 0.14,
        "layers/activation_slope": 0.02,
    }
    sayings = {"layers/activation_slope": "over 10 layers, fc1 to fc10"}
    frames: list[AnyFrame] = [header()]
    frames += [
        Scalars(seq=seq, step=seq, wall=1e9 + seq, values=values, words=sayings) for seq in range(2, 40)
    ]
    if words:
        frames.append(
            Scalars(seq=40, step=40, wall=1e9 + 40, values={"regime": 3.0}, words={"regime": words})
        )
    return frames


@pytest.mark.parametrize("words", ["stalling: sharpness is 0.002 of the edge", "stable: loss 0.5", ""])
def test_the_regime_is_told_with_its_reason(words: str) -> None:
    """In the panel's border, as a warning when something is wrong; it has no curve, and the dead units are a share."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        panel = panels(app)["trainability"]
        assert words in shown(app)
        assert "regime" not in shown(app)
        assert "14 %" in shown(app)
        assert panel.note()[1] == words
        assert panel.note()[0] == ("warning" if words.startswith("stalling") else "dim")

    drive(Told(run(words)), check, (200, 60))
