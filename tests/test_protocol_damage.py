"""Damage to every bit of a chunk, small: ``python -m tests.bench damage`` does it to all bytes of a larger recording."""

from __future__ import annotations

from pathlib import Path

from tests.bench.damage import flips
from tests.test_protocol_salvage import written


def test_no_bit_of_a_chunk_shows_a_wrong_value_or_costs_another_chunk(tmp_path: Path) -> None:
    """Read, folded and replayed: no crash, nothing but what was written, and all the frames of the other chunks."""
    written(tmp_path, chunks=3, frames_a_chunk=1, finish=False)
    tally = flips(tmp_path, "000.mcap", chunk=2, replayed=1)
    assert tally.copies > 1500
    assert (tally.crashes, tally.wrong, tally.read) == (0, 0, tally.intact)
