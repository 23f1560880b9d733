"""``lsmon repair IN OUT``: a whole recording of what can be read, holes that stay counted, and exit codes 0, 1 and 3."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.frames import Alert, AnyFrame, Heartbeat, RunStarted, Scalars
from lsmon.protocol.recording.chunks import Chunks
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.repair import repair
from lsmon.protocol.recording.writer import Recorder
from lsmon.tui.cli import main
from tests.clock import Clock

HEADER = RunStarted(seq=1, run="r1", name="a run", wall=1000.0)
LAST = 301


def frame_of(seq: int) -> AnyFrame:
    if seq % 10 == 0:
        return Alert(seq=seq, step=seq, wall=1000.0 + seq, kind="stall")
    return Scalars(seq=seq, step=seq, wall=1000.0 + seq, values={"loss": seq / 7})


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Three hundred frames and a heartbeat in thirty chunks of three files, without an end."""
    folder, clock = tmp_path / "damaged", Clock()
    folder.mkdir()
    recorder = Recorder(folder, HEADER, clock=clock, rotate_secs=5.0)
    for seq in range(2, LAST + 1):
        recorder.write(frame_of(seq), encode(frame_of(seq)))
        if seq % 10 == 0:
            recorder.write(beat := Heartbeat(seq=seq, step=seq), encode(beat))
            clock.now += 0.5
            recorder.tick()
    clock.now += 0.5
    recorder.tick()
    return folder


def destroy(path: Path, chunk: int) -> None:
    """Overwrite the middle of a chunk."""
    chunks = Chunks(path)
    at = chunks.offsets[chunk] + 80
    chunks.close()
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * 20)


def frames_of(path: Path) -> list[AnyFrame]:
    with Recording.open(path) as recording:
        return list(recording.frames())


def test_what_was_torn_but_lost_nothing_comes_back_whole(
    damaged: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 0; the same frames and heartbeats, in files with an index, events and rows. The original is untouched."""
    before = {path.name: path.read_bytes() for path in damaged.iterdir()}
    into = damaged.parent / "new" / "whole"
    assert main(["repair", str(damaged), str(into)]) == 0
    out = capsys.readouterr().out
    assert "301 frames, steps 2 to 301" in out and "nothing between them is missing" in out
    assert frames_of(into) == frames_of(damaged)
    assert any(isinstance(frame, Heartbeat) for frame in frames_of(into))
    with Recording.open(into) as recording:
        assert all(segment.chunks.whole for segment in recording._segments)
        assert [event.seq for event in recording.events()] == list(range(10, LAST, 10))
        assert sum(row.series["loss"][0] for row in recording.summaries(64)) == 270
    assert {path.name: path.read_bytes() for path in damaged.iterdir()} == before
    assert [path.name for path in into.parent.iterdir()] == ["whole"]


def test_what_is_lost_is_counted_and_stays_counted(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 3 and where; the repaired recording has the same hole, and repairing it again changes nothing."""
    destroy(damaged / "000.mcap", 3)
    into = damaged.parent / "whole"
    assert main(["repair", str(damaged), str(into)]) == 3
    out = capsys.readouterr().out.splitlines()
    assert out == [f"291 of 301 frames, steps 2 to 301, in {into}", "10 frames lost near step 31"]
    with Recording.open(into) as recording:
        recording.verify()
        assert (recording.lost, recording.damage) == (10, ("10 frames lost near step 31",))
    assert main(["repair", str(into), str(damaged.parent / "again")]) == 3
    assert frames_of(damaged.parent / "again") == frames_of(into) == frames_of(damaged)


def test_a_damaged_end_and_a_lost_header_are_told(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file alone, its header and its last chunk destroyed: exit code 3, with both in words."""
    path = damaged / "000.mcap"
    chunks = Chunks(path)
    count = len(chunks)
    chunks.close()
    destroy(path, 0)
    destroy(path, count - 1)
    path.write_bytes(path.read_bytes()[:-400])
    assert main(["repair", str(path), str(damaged.parent / "whole")]) == 3
    out = capsys.readouterr().out
    assert "the header is lost" in out and "the end of 000.mcap is damaged" in out


@pytest.mark.parametrize("path", ["absent", "rubbish.mcap", "empty"])
def test_where_nothing_can_be_saved_nothing_is_made(
    damaged: Path, path: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 1, a sentence, and no folder."""
    (damaged.parent / "rubbish.mcap").write_bytes(os.urandom(1000))
    (damaged.parent / "empty").mkdir()
    into = damaged.parent / "whole"
    assert main(["repair", str(damaged.parent / path), str(into)]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not into.exists()


def test_nothing_is_ever_overwritten(damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder, a file or a dangling link at OUT is left as it is; so is the damaged recording itself."""
    (damaged.parent / "file").write_text("mine")
    (damaged.parent / "link").symlink_to("nowhere")
    for name in ("file", "link", "damaged"):
        assert main(["repair", str(damaged), str(damaged.parent / name)]) == 1
        assert "exists already" in capsys.readouterr().err
    assert (damaged.parent / "file").read_text() == "mine"


def test_a_full_disk_leaves_no_half_of_it(damaged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, and the space it took is free again."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(LsmonError, match="disk full"):
        repair(damaged, damaged.parent / "whole")
    assert [path.name for path in damaged.parent.iterdir()] == ["damaged"]


def test_an_interrupted_repair_leaves_nothing(damaged: Path) -> None:
    """Ctrl-C in the middle."""

    def interrupt(done: int, of: int) -> None:
        raise KeyboardInterrupt

    shutil.copytree(damaged, damaged.parent / "copy")
    with pytest.raises(KeyboardInterrupt):
        repair(damaged, damaged.parent / "whole", interrupt)
    assert sorted(path.name for path in damaged.parent.iterdir()) == ["copy", "damaged"]


def test_the_progress_reaches_the_end(damaged: Path) -> None:
    """Never beyond, never backwards."""
    told: list[tuple[int, int]] = []
    repair(damaged, damaged.parent / "whole", lambda done, of: told.append((done, of)))
    assert told == sorted(told) and all(done <= of == LAST for done, of in told)
    assert told[-1] == (LAST, LAST)
