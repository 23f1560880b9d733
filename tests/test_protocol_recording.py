"""The recorder and the reader on whole recordings: what goes in comes out, and other tools can read it."""

from __future__ import annotations

import json
import math
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import BadRecording, NewerFormat
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.recording import folder as folders
from lsmon.protocol.recording.about import About
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.record import record
from lsmon.protocol.recording.writer import Recorder
from tests.clock import Clock

HEADER = RunStarted(seq=1, run="r1", name="a run", host="box", wall=1000.0, command=("python", "x.py"))

EVERY_KIND: list[AnyFrame] = [
    Scalars(seq=2, step=1, wall=1000.1, values={"loss": 2.5, "lr": 0.1}, errors={"loss": 0.5}, words={"lr": "w"}),
    Curvature(seq=3, step=1, wall=1000.2, top=(Ritz(2.0, 0.1, True),), bottom=(Ritz(-1.0, 0.2),), notes=("n",)),
    Layers(seq=4, step=1, wall=1000.3, names=("a", "b"), values={"grad": (1.0, 2.0)}),
    Alert(seq=5, step=2, wall=1000.4, kind="loss_spike", message="m", evidence={"z": math.inf}),
    Heartbeat(seq=5, step=2, wall=1000.5, dropped=3, share=0.02, notes={"curvature": "waits"}),
    Mark(seq=6, step=2, wall=1000.6, note="look"),
    RunEnded(seq=7, step=3, wall=1000.7, reason="error", error="ValueError: x", dropped=3),
]  # fmt: skip


@pytest.fixture
def clock() -> Clock:
    return Clock()


def steps(first: int, last: int, rate: float = 10.0) -> Iterator[AnyFrame]:
    """Scalars numbered first to last, with the number as step and loss."""
    for seq in range(first, last + 1):
        yield Scalars(seq=seq, step=seq, wall=1000.0 + seq / rate, values={"loss": float(seq)})


def put(recorder: Recorder, frames: Iterator[AnyFrame]) -> None:
    for frame in frames:
        recorder.write(frame, encode(frame))


def seqs(path: Path) -> list[int]:
    recording = Recording.open(path)
    try:
        return [frame.seq for frame in recording.frames()]
    finally:
        recording.close()


def test_every_kind_of_frame_comes_back_as_it_was(tmp_path: Path) -> None:
    """Header first, then each frame equal to the one written, heartbeats in their place."""
    record(tmp_path, HEADER, EVERY_KIND)
    recording = Recording.open(tmp_path)
    assert list(recording.frames()) == [HEADER, *EVERY_KIND]
    assert recording.header == HEADER
    assert recording.ended == EVERY_KIND[-1]
    assert (recording.first_step, recording.last_step, recording.frame_count) == (1, 3, 7)
    assert (recording.lost, recording.dropped, recording.damage) == (0, 3, ())
    assert list(recording.events()) == [EVERY_KIND[3], EVERY_KIND[5]]
    recording.close()


def test_what_the_recording_says_about_itself(tmp_path: Path) -> None:
    """``About`` has what ``lsmon info`` prints."""
    record(tmp_path, HEADER, EVERY_KIND)
    recording = Recording.open(tmp_path)
    about = About.of(recording)
    recording.close()
    assert (about.run, about.name, about.host, about.command) == ("r1", "a run", "box", ("python", "x.py"))
    assert (about.frames, about.first_step, about.last_step, about.attempts, about.segments) == (
        7,
        1,
        3,
        1,
        1,
    )
    assert about.ended == "error: ValueError: x"
    assert about.seconds == pytest.approx(0.7)
    assert (about.lost, about.dropped, about.damage, about.share) == (0, 3, (), 0.02)
    assert about.alerts == {"loss_spike": 1}
    assert about.bytes == (tmp_path / "000.mcap").stat().st_size


def test_the_last_step_is_not_that_of_a_measurement_that_came_last(tmp_path: Path) -> None:
    """Of a run that was killed, whose last frame is of an earlier step: nothing else tells how far it came."""
    late = Curvature(seq=10, step=5, wall=1000.95, top=(Ritz(2.0, 0.1, True),), bottom=(Ritz(-1.0, 0.2),))
    record(tmp_path, HEADER, [*steps(2, 9), late])
    recording = Recording.open(tmp_path)
    assert recording.last_step == 9
    assert About.of(recording).last_step == 9
    assert [row.step for row in recording.summaries(64)] == [9]
    recording.close()


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    """Folder 0700, files 0600, whatever the umask allows."""
    before = os.umask(0)
    try:
        folder = folders.new_folder(tmp_path / "recordings", HEADER)
        record(folder, HEADER, EVERY_KIND)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert {path.name for path in folder.iterdir()} == {"000.mcap", "overview.mcap", "meta.json"}


def test_folder_names_are_safe_unique_and_sort_by_time(tmp_path: Path) -> None:
    """A name with slashes and escape codes becomes a plain one; the same run twice gets two folders."""
    names = ["../../x\x1b]52;c;A\x07", "[/foo]", ""]
    made = [
        folders.new_folder(tmp_path, RunStarted(run="r", name=name, wall=86400.0 * (n + 1)))
        for n, name in enumerate(names)
    ]
    for path in made:
        record(path, HEADER, EVERY_KIND)
    made.append(folders.new_folder(tmp_path, RunStarted(run="r", name="", wall=86400.0 * 3)))
    assert all(path.parent == tmp_path and path.name.isascii() and "/" not in path.name for path in made)
    assert len(set(made)) == 4
    assert folders.list_recordings(tmp_path) == made[2::-1]
    assert folders.list_recordings(tmp_path / "absent") == []


def test_runs_that_started_within_a_second_are_listed_newest_first(tmp_path: Path) -> None:
    """Names have seconds only; neither the run's name nor its random id must decide then."""
    made = []
    for n, name in enumerate(["m", "z", "a", "m"]):
        header = RunStarted(seq=1, run=f"{9 - n}", name=name, wall=1000.0 + n / 10)
        made.append(folders.new_folder(tmp_path, header))
        record(made[-1], header, EVERY_KIND)
    assert folders.list_recordings(tmp_path) == made[::-1]


def test_other_tools_can_read_it(tmp_path: Path) -> None:
    """The stock MCAP reader sees topics, JSON Schemas, JSON messages, ascending times, sequences and step ranges."""
    record(tmp_path, HEADER, EVERY_KIND)
    with (tmp_path / "000.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "lsmon"
        messages = list(reader.iter_messages(log_time_order=False))
        metadata = [(record.name, record.metadata) for record in reader.iter_metadata()]
    assert [channel.topic for _, channel, _ in messages] == [
        "/run_started", "/scalars", "/curvature", "/layers", "/alert", "/heartbeat", "/mark", "/run_ended",
    ]  # fmt: skip
    for schema, channel, message in messages:
        assert schema is not None and schema.encoding == "jsonschema" and channel.message_encoding == "json"
        described = json.loads(schema.data)
        assert described["type"] == "object" and set(json.loads(message.data)) <= set(described["properties"])
    times = [message.log_time for _, _, message in messages]
    assert times == sorted(times) and times[0] == 1_000_000_000_000
    assert [message.sequence for _, _, message in messages] == [1, 2, 3, 4, 5, 5, 6, 7]
    assert metadata[-1] == (
        "lsmon.chunk", {"first_step": "1", "last_step": "3", "first_seq": "2", "last_seq": "7"},
    )  # fmt: skip


def test_a_clock_that_goes_back_leaves_times_ascending(tmp_path: Path) -> None:
    """``log_time`` never falls, and a wall time that is no time at all does no harm; the frame keeps its own."""
    walls = [1001.0, 900.0, math.nan, -5.0, 1e300, 1002.0]
    frames = [Scalars(seq=n, step=n, wall=wall) for n, wall in enumerate(walls, start=2)]
    record(tmp_path, HEADER, [frame for frame in frames if math.isfinite(frame.wall)])
    with (tmp_path / "000.mcap").open("rb") as file:
        times = [message.log_time for _, _, message in make_reader(file).iter_messages(log_time_order=False)]
    assert times == sorted(times)
    assert seqs(tmp_path) == [1, 2, 3, 5, 6, 7]


def test_segments_rotate_by_size_and_by_time(tmp_path: Path, clock: Clock) -> None:
    """Each segment is finished, starts with the header, and reads alone; together they are the whole."""
    recorder = Recorder(tmp_path, HEADER, rotate_bytes=200_000, rotate_secs=60, clock=clock)
    put(recorder, steps(2, 5000))
    clock.now = 61.0
    recorder.tick()
    put(recorder, steps(5001, 5100))
    recorder.close()
    parts = folders.segments(tmp_path)
    assert [path.name for path in parts] == [f"{n:03d}.mcap" for n in range(len(parts))] and len(parts) >= 3
    assert seqs(tmp_path) == list(range(1, 5101))
    for path in parts:
        with path.open("rb") as file:
            summary = make_reader(file).get_summary()
        assert summary is not None and summary.statistics is not None
        part = Recording.open(path)
        frames = list(part.frames())
        assert frames[0] == HEADER == part.header
        assert (part.lost, part.damage) == (0, ())
        assert part.frame_count == len(frames) - (path != parts[0])  # the copied header is not one more
        part.close()


def test_reading_starts_behind_any_number(tmp_path: Path, clock: Clock) -> None:
    """``frames(after_seq)`` gives exactly the frames behind that number, across chunks and segments."""
    recorder = Recorder(tmp_path, HEADER, rotate_bytes=20_000, clock=clock)
    for first in range(2, 1000, 50):
        put(recorder, steps(first, first + 49))
        clock.now += 1.0
        recorder.tick()
    recorder.close()
    recording = Recording.open(tmp_path)
    assert recording.segments > 1
    for after in [*range(0, 1002, 7), 1000, 1001, 5000]:
        got = [frame.seq for frame in recording.frames(after)]
        assert got == list(range(after + 1, 1002)), after
    recording.close()


def test_flushed_frames_are_readable_while_it_is_written(tmp_path: Path, clock: Clock) -> None:
    """A reader sees all that was flushed, no more, and opening does not disturb the writer."""
    recorder = Recorder(tmp_path, HEADER, clock=clock)
    assert seqs(tmp_path) == [1]
    put(recorder, steps(2, 100))
    assert seqs(tmp_path) == [1]
    clock.now = 0.5
    recorder.tick()
    assert seqs(tmp_path) == list(range(1, 101))
    put(recorder, steps(101, 200))
    recorder.close()
    recording = Recording.open(tmp_path)
    assert recording.ended is None and recording.damage == ()
    recording.close()
    assert seqs(tmp_path) == list(range(1, 201))


def test_the_overview_alone_tells_the_story(tmp_path: Path) -> None:
    """Rows of both levels on topics of their own, copies of header, alerts, marks and the end."""
    frames: list[AnyFrame] = [*steps(2, 9000)]
    frames[4000] = Alert(seq=4002, step=4002, wall=1400.2, kind="stall")
    frames[5000] = Mark(seq=5002, step=5002, wall=1500.2, note="here")
    frames[20] = Curvature(seq=22, step=22, wall=1002.2, top=(Ritz(3.0, 0.1),))
    frames.append(RunEnded(seq=9001, step=9000, wall=2000.0))
    record(tmp_path, HEADER, frames)
    topics: dict[str, int] = {}
    with (tmp_path / "overview.mcap").open("rb") as file:
        for _, channel, _ in make_reader(file).iter_messages():
            topics[channel.topic] = topics.get(channel.topic, 0) + 1
    assert topics == {
        "/run_started": 1, "/alert": 1, "/mark": 1, "/run_ended": 1, "/curvature": 1,
        "/summary/64": 141, "/summary/4096": 3,
    }  # fmt: skip


def test_summaries_cover_every_frame_once_with_or_without_an_overview(tmp_path: Path, clock: Clock) -> None:
    """Rows missing from the overview are folded from the frames, to the same rows."""
    record(tmp_path, HEADER, [*steps(2, 9000), RunEnded(seq=9001, step=9000)])
    whole = Recording.open(tmp_path)
    fine, coarse = list(whole.summaries(64)), list(whole.summaries(4096))
    assert sum(row.series["loss"][0] for row in fine) == sum(row.series["loss"][0] for row in coarse) == 8999
    assert fine == [*whole.summaries(64, 0, 640), *whole.summaries(64, 640)]
    part = list(whole.summaries(64, 1000, 2000))
    assert (part[0].first_seq, part[-1].seq) == (1001, 2000)
    assert sum(row.series["loss"][0] for row in part) == 1000
    whole.close()
    (tmp_path / "overview.mcap").unlink()
    bare = Recording.open(tmp_path)
    assert sum(row.series["loss"][0] for row in bare.summaries(64)) == 8999
    assert [row.series["loss"][:3] for row in bare.summaries(4096)] == [
        row.series["loss"][:3] for row in coarse
    ]
    bare.close()


def test_events_behind_the_overview_are_found_in_the_segments(tmp_path: Path, clock: Clock) -> None:
    """The overview is flushed less often; after a kill its end is read from the frames."""
    recorder = Recorder(tmp_path, HEADER, clock=clock)
    put(recorder, steps(2, 100))
    put(recorder, iter([Alert(seq=101, step=100, kind="stall")]))
    clock.now = 0.6
    recorder.tick()
    recording = Recording.open(tmp_path)
    assert [event.seq for event in recording.events()] == [101]
    assert sum(row.series["loss"][0] for row in recording.summaries(64)) == 99
    recording.close()
    recorder.close()


def test_unknown_types_are_skipped_and_are_no_loss(tmp_path: Path) -> None:
    """A numbered frame of a type that a later lsmon added is neither shown nor counted as lost."""
    recorder = Recorder(tmp_path, HEADER)
    put(recorder, steps(2, 3))
    recorder.write(Mark(seq=4), b'{"type":"hologram","seq":4,"step":3}')
    put(recorder, steps(5, 6))
    recorder.close()
    recording = Recording.open(tmp_path)
    assert [frame.seq for frame in recording.frames()] == [1, 2, 3, 5, 6]
    assert (recording.lost, recording.damage) == (0, ())
    recording.close()


def test_a_frame_that_cannot_be_read_is_counted(tmp_path: Path) -> None:
    """Bytes that are no frame inside a chunk that is whole."""
    recorder = Recorder(tmp_path, HEADER)
    put(recorder, steps(2, 3))
    recorder.write(Mark(seq=4), b'{"type":"mark","seq":4,"note":{}}')
    recorder.close()
    recording = Recording.open(tmp_path)
    assert [frame.seq for frame in recording.frames()] == [1, 2, 3]
    assert (recording.lost, recording.damage) == (1, ("1 frame could not be read",))
    recording.close()


def test_holes_in_the_numbers_are_told(tmp_path: Path) -> None:
    """Frames that never reached the recorder are counted, and where they are missing is said."""
    recorder = Recorder(tmp_path, HEADER)
    put(recorder, steps(2, 100))
    put(recorder, steps(113, 200))
    recorder.close()
    recording = Recording.open(tmp_path)
    recording.verify()
    assert (recording.lost, recording.frame_count) == (12, 188)
    assert recording.damage == ("12 frames lost near step 113",)
    recording.close()


def test_a_missing_segment_is_told_at_once(tmp_path: Path, clock: Clock) -> None:
    """Without reading it through."""
    recorder = Recorder(tmp_path, HEADER, rotate_secs=1, clock=clock)
    for n in range(4):
        put(recorder, steps(2 + 100 * n, 101 + 100 * n))
        clock.now += 2.0
        recorder.tick()
    recorder.close()
    (tmp_path / "001.mcap").unlink()
    recording = Recording.open(tmp_path)
    assert (recording.lost, recording.damage) == (100, ("100 frames lost near step 202",))
    assert [frame.seq for frame in recording.frames(95)] == [*range(96, 102), *range(202, 402)]
    assert recording.lost == 100
    recording.close()


def test_numbers_beyond_32_bits_are_kept(tmp_path: Path, clock: Clock) -> None:
    """MCAP's sequence wraps round after 4 billion frames, ours do not."""
    first = (1 << 32) - 50
    recorder = Recorder(tmp_path, RunStarted(seq=first - 1, run="r"), rotate_secs=1, clock=clock)
    for n in range(10):
        put(recorder, steps(first + 10 * n, first + 10 * n + 9))
        clock.now += 0.6
        recorder.tick()
    recorder.close()
    with Recording.open(tmp_path) as recording:
        assert recording.segments > 1 and recording.last_seq == first + 99
        assert [frame.seq for frame in recording.frames(first + 44)] == list(range(first + 45, first + 100))
        recording.verify()
        assert (recording.lost, recording.frame_count) == (0, 101)


def bad_paths(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    (tmp_path / "empty").mkdir()
    (tmp_path / "void.mcap").write_bytes(b"")
    (tmp_path / "photo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40)
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "000.mcap").write_bytes(b"not an mcap file at all, but named like one")
    os.mkfifo(tmp_path / "pipe")
    yield tmp_path / "absent", "There is no such"
    yield tmp_path / "empty", "No recording is in this folder"
    yield tmp_path / "void.mcap", "nothing in it can be read"
    yield tmp_path / "photo.png", "nothing in it can be read"
    yield tmp_path / "foreign", "nothing in it can be read"
    yield tmp_path / "pipe", "Not a file"


def test_what_is_no_recording_is_one_sentence(tmp_path: Path) -> None:
    """A missing path, an empty folder or file, a picture, a text named .mcap, a pipe."""
    for path, words in bad_paths(tmp_path):
        with pytest.raises(BadRecording, match=words) as caught:
            Recording.open(path)
        assert "\n" not in str(caught.value) and str(caught.value).endswith(str(path))


def test_a_foreign_mcap_file_is_refused(tmp_path: Path) -> None:
    """A file that another program wrote in the same container."""
    from mcap.writer import Writer

    path = tmp_path / "robot.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("pose", "jsonschema", b"{}")
        channel = writer.register_channel("/pose", "json", schema)
        writer.add_message(channel, 1, b'{"x": 1}', 1)
        writer.finish()  # type: ignore[no-untyped-call]
    with pytest.raises(BadRecording, match="not a recording"):
        Recording.open(path)


def test_a_newer_format_is_refused_in_one_sentence(tmp_path: Path) -> None:
    """Even when its header has changed so that it could not be decoded."""
    Recorder(tmp_path, HEADER).close()
    newer = tmp_path / "newer"
    newer.mkdir()
    recorder = Recorder(newer, RunStarted(seq=1, format=2, run="r"))
    recorder.close()
    with pytest.raises(NewerFormat, match="upgrade lsmon"):
        Recording.open(newer)


def test_the_overview_file_alone_points_to_its_folder(tmp_path: Path) -> None:
    """Opening overview.mcap says what to open instead."""
    record(tmp_path, HEADER, EVERY_KIND)
    with pytest.raises(BadRecording, match="open its folder"):
        Recording.open(tmp_path / "overview.mcap")


def test_meta_tells_who_without_opening_the_segments(tmp_path: Path) -> None:
    """From the first moment on; a broken page is none."""
    recorder = Recorder(tmp_path, HEADER)
    meta = folders.read_meta(tmp_path)
    assert meta is not None and meta.run == HEADER and meta.ended == ""
    put(recorder, iter(EVERY_KIND))
    recorder.close()
    meta = folders.read_meta(tmp_path)
    assert meta is not None and (meta.frames, meta.last_step, meta.ended) == (7, 3, "error: ValueError: x")
    (tmp_path / "meta.json").write_text('{"header": [')
    assert folders.read_meta(tmp_path) is None
    (tmp_path / "meta.json").unlink()
    assert folders.read_meta(tmp_path) is None


def test_a_resumed_run_keeps_both_attempts(tmp_path: Path) -> None:
    """Steps that go back are kept; the second header stands where it came."""
    second = RunStarted(seq=101, step=50, run="r1", attempt=2)
    again = [Scalars(seq=n, step=n - 51, attempt=2, values={"loss": 1.0}) for n in range(102, 200)]
    record(tmp_path, HEADER, [*steps(2, 100), second, *again])
    recording = Recording.open(tmp_path)
    assert [frame.seq for frame in recording.frames()] == list(range(1, 200))
    assert About.of(recording).attempts == 2
    assert {row.attempt for row in recording.summaries(4096)} == {1, 2}
    recording.close()


def test_each_flush_is_one_chunk_with_its_metadata(tmp_path: Path, clock: Clock) -> None:
    """Every 0.5 s, and none when nothing came."""
    recorder = Recorder(tmp_path, HEADER, clock=clock)
    for n in range(4):
        put(recorder, steps(2 + n, 2 + n))
        clock.now += 0.5
        recorder.tick()
        recorder.tick()
    clock.now += 0.5
    recorder.tick()
    recorder.close()
    with (tmp_path / "000.mcap").open("rb") as file:
        kinds = [type(record).__name__ for record in StreamReader(file, emit_chunks=True).records]
    assert kinds.count("Chunk") == kinds.count("Metadata") == 5  # the header has one of its own


def test_summaries_are_never_frames(tmp_path: Path) -> None:
    """Rows go to the overview alone."""
    record(tmp_path, HEADER, steps(2, 300))
    recording = Recording.open(tmp_path)
    assert not any(isinstance(frame, Summary) for frame in recording.frames())
    recording.close()
