"""What the screen shows for a replay at a step is what it showed live at that step."""

from __future__ import annotations

from pathlib import Path

from lsmon.protocol.codec import decode, encode
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import UNNUMBERED, RunStarted
from lsmon.protocol.recording.folder import new_folder
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.writer import Recorder
from lsmon.protocol.sources.replay import Replay
from lsmon.tui.feed import Feed
from lsmon.tui.store import Store
from lsmon.tui.view import View
from tests.bench.story import frames

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
