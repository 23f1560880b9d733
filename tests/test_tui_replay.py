"""What is shown for a replay at a step is what was shown live at that step; at its end, what came last."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lsmon.protocol.codec import decode, encode
from lsmon.protocol.counts import grouped
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import UNNUMBERED, AnyFrame, RunStarted, Scalars
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.replay import Replay
from lsmon.tui.cli import main
from lsmon.tui.feed import Feed
from lsmon.tui.store import Store
from lsmon.tui.view import View
from tests.bench.story import frames
from tests.recorded import record

STEPS = (6000, 0, 3210, 8000, 4990)


def test_the_replayed_view_equals_the_live_view(tmp_path: Path) -> None:
    """Folded as they were sent, and sought in the recording, forward and back: the same view, bit for bit."""
    story = list(frames(8000))
    assert isinstance(story[0], RunStarted)
    folder = new_folder(tmp_path, story[0])
    recorder = Recorder(folder, story[0])
    folds, store, live = Folds(), Store(), dict[int, View]()
    for index, frame in enumerate(story):
        data = encode(frame)
        if index:
            recorder.write(frame, data)
        for summary in folds.add(frame):
            recorder.write(summary, encode(summary))
        received = decode(data)
        assert received is not None
        store.fold(received)
        # The last numbered frame of a step is when that step has just been shown; heartbeats come any time after.
        if frame.step in STEPS and not isinstance(frame, UNNUMBERED):
            live[frame.step] = store.view()
    recorder.close()
    recording = Recording.open(folder)
    feed = Feed(Replay(recording, playing=False))
    for step in STEPS:
        feed.seek(step)
        while feed.view.step != step or feed.newest is not feed.view:
            feed.tick(1.0)
        feed.tick(1.0)
        assert feed.view == live[step]
    recording.close()


def resumed(first: int, back: int, last: int) -> list[AnyFrame]:
    """Steps 1 to ``first``, then anew from ``back`` to ``last``; the loss is the number of the attempt."""
    spans = ((1, range(1, first + 1)), (2, range(back, last + 1)))
    made: list[AnyFrame] = [RunStarted(seq=1, run="0a1b", name="resumed", wall=1000.0, recording="here")]
    for attempt, steps in spans:
        for step in steps:
            seq = len(made) + 1
            made.append(
                Scalars(
                    seq=seq, step=step, attempt=attempt, wall=1000.0 + seq / 100, values={"loss": attempt}
                )
            )
    return made


@pytest.mark.parametrize("frames", [resumed(100, 41, 80), resumed(9000, 41, 7000)], ids=["short", "folded"])
def test_a_recording_ends_with_its_last_attempt(
    frames: list[AnyFrame], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Which came less far than the one before: its last step, with its loss, is what all commands show."""
    last = frames[-1].step
    folder = str(record(tmp_path, frames))
    for command in (["--once", folder], ["export", folder, "--to", "txt", "-o", "-"]):
        assert main(command) in (0, 3)
        out = capsys.readouterr().out
        assert f"step {grouped(last)} " in out.splitlines()[0] and "train 2" in out
    copy = shutil.copytree(folder, tmp_path / "copy")
    assert main(["compare", folder, str(copy)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert all(" ".join(row.split()).endswith(f" {grouped(last)} 2") for row in rows[1:3])
    assert main(["tail", folder]) == 0
    numbers, summary = capsys.readouterr().out.splitlines()[-2:]
    assert numbers.startswith(f"step {last}  train 2")
    assert summary.startswith(f"step {last}, ")


def test_the_end_key_goes_to_the_last_attempt(tmp_path: Path) -> None:
    """And from there back to a step that only the first one came to."""
    feed = Feed(Replay(Recording.open(record(tmp_path, resumed(100, 41, 80))), playing=False))
    for seek, reached in ((feed.seek_end, (2, 80)), (lambda: feed.seek(90), (1, 90))):
        seek()
        feed.tick(1.0)
        assert (feed.view.attempt, feed.view.step) == reached
    feed.source.close()
