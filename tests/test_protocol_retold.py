"""A recording whose overview is torn or gone: a seek shows what it would show with it, and reads the frames once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lsmon.protocol.codec import encode
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    Ritz,
    RunStarted,
    Scalars,
)
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.record import record
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources import seeking
from lsmon.protocol.sources.replay import Replay
from tests.clock import Clock

HEADER = RunStarted(seq=1, run="r1", name="a run", wall=1000.0)
LAST = 60_000
TARGETS = (25_000, 41_000, 59_999, LAST)


def story() -> Iterator[AnyFrame]:
    """Scalars, and now and then all that a seek brings beside the rows."""
    for seq in range(2, LAST + 1):
        wall = 1000.0 + seq / 1000
        if seq == 100:  # the last of its kind, long before any target
            yield Curvature(seq=seq, step=seq, wall=wall, top=(Ritz(7.0, 0.1),), bottom=(Ritz(-1.0, 0.1),))
        elif seq % 700 == 0:
            yield Curvature(seq=seq, step=seq, wall=wall, density_grid=(-1.0, 1.0), density_mass=(0.2, 0.8))
        elif seq % 900 == 0:
            yield Layers(seq=seq, step=seq, wall=wall, names=("a",), values={"activation": (float(seq),)})
        elif seq % 5000 == 0:
            yield Alert(seq=seq, step=seq, wall=wall, kind="stall")
        elif seq % 7000 == 1:
            yield Mark(seq=seq, step=seq, wall=wall, note="here")
        else:
            yield Scalars(seq=seq, step=seq, wall=wall, values={"loss": seq / 7, "lr": 0.1})
        if seq % 1000 == 0:
            yield Heartbeat(seq=seq, step=seq, wall=wall, rate=1000.0)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recorded")
    record(folder, HEADER, story())
    return folder


@pytest.fixture
def torn(recorded: Path, tmp_path: Path) -> Path:
    """A copy of which the overview may be changed."""
    for path in recorded.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert (tmp_path / "overview.mcap").stat().st_size > 1000
    return tmp_path


def sought(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[AnyFrame]]:
    """What a seek to each of the targets gives."""
    monkeypatch.setattr(seeking, "FINE_ROWS", 100)
    replay = Replay(Recording.open(folder), playing=False, clock=Clock())
    found = []
    for target in TARGETS:
        replay.seek(target)
        found.append(replay.read())
    replay.close()
    return found


@pytest.mark.parametrize("left", [0.0, 0.3, 0.9, 0.99])
def test_a_seek_gives_the_same_without_the_overview(
    recorded: Path, torn: Path, monkeypatch: pytest.MonkeyPatch, left: float
) -> None:
    """Rows, events, the last of each state and the past, whatever share of the overview is there."""
    path = torn / "overview.mcap"
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    assert sought(torn, monkeypatch) == sought(recorded, monkeypatch)


def test_a_seek_gives_the_same_with_a_hole_in_the_overview(
    recorded: Path, torn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is: rows and events behind it stay in use."""
    path = torn / "overview.mcap"
    whole = path.read_bytes()
    expected = sought(recorded, monkeypatch)
    for tenth in range(10):
        damaged = bytearray(whole)
        damaged[len(whole) * tenth // 10 + 100] ^= 0xFF
        path.write_bytes(damaged)
        assert sought(torn, monkeypatch) == expected


def test_what_the_overview_lacks_is_folded_once(torn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then a seek folds no more frames than a row has at either end of what it asks for."""
    (torn / "overview.mcap").unlink()
    folded = 0
    numbered = Recording.numbered

    def counted(self: Recording, after_seq: int, until_seq: float) -> Iterator[AnyFrame]:
        nonlocal folded
        for frame in numbered(self, after_seq, until_seq):
            folded += 1
            yield frame

    monkeypatch.setattr(Recording, "numbered", counted)
    replay = Replay(Recording.open(torn), playing=False, clock=Clock())
    assert replay.timeline.last_step == LAST
    assert folded == LAST
    for count, target in enumerate(TARGETS, start=1):
        replay.seek(target)
        assert replay.read()[-1].step == target
        assert folded - LAST <= count * 4 * 64
    replay.close()


@pytest.mark.parametrize("full", [(), (0,), (150,), (299,), range(0, 300, 7)])
def test_reading_begins_where_it_is_told_to_however_unlike_the_chunks_are(
    tmp_path: Path, full: tuple[int, ...]
) -> None:
    """One frame in most of them and a hundred in some."""
    clock = Clock()
    recorder = Recorder(tmp_path, HEADER, clock=clock)
    last = 1
    for number in range(300):
        for _ in range(100 if number in full else 1):
            last += 1
            frame = Scalars(seq=last, step=last, wall=1000.0 + last, values={"loss": 1.0})
            recorder.write(frame, encode(frame))
        clock.now += 0.5
        recorder.tick()
    recorder.close()
    with Recording.open(tmp_path) as recording:
        for seq in range(1, last):
            assert next(recording.frames(seq)).seq == seq + 1
        assert list(recording.frames(last)) == []
