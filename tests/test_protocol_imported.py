"""Files that others wrote: CSV, JSON lines, TensorBoard events. What is there comes out, nothing else happens."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lsmon.protocol.codec import encode
from lsmon.protocol.errors import BadRecording, LsmonError
from lsmon.protocol.frames import AnyFrame, Curvature, RunEnded, RunStarted, Scalars
from lsmon.protocol.names import scalars
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources import tfevents
from lsmon.protocol.sources.imported import Imported
from lsmon.protocol.sources.opening import open_path
from lsmon.protocol.sources.replay import Replay

GOLDEN = Path(__file__).parent / "golden" / "events.out.tfevents.1"
"""As tensorboardX 2.6 wrote it: two scalars at steps 0 to 5, a histogram, and a NaN at 6."""


def opened(path: Path) -> list[AnyFrame]:
    with closing(open_path(path)) as recording:
        return list(recording.frames())


def values(frames: list[AnyFrame]) -> list[tuple[int, dict[str, float]]]:
    return [(frame.step, frame.values) for frame in frames if isinstance(frame, Scalars)]


def test_a_table_with_our_names(tmp_path: Path) -> None:
    """Empty cells are missing, NaN is NaN, and curvature is a frame of its own."""
    path = tmp_path / "run.csv"
    path.write_text(
        "step,loss,val/acc,note,hessian/max,hessian/min,hessian/grad_curvature\n"
        "0,2.5,,first,,,\n10,nan,0.5,,3,-1,-0.25\n20,1e400,0.75,,4,,\n"
    )
    frames = opened(path)
    assert isinstance(frames[0], RunStarted) and frames[0].name == "run"
    assert [frame.seq for frame in frames] == list(range(1, len(frames) + 1))
    (_, first), (_, second), (_, third) = values(frames)
    assert first == {"loss": 2.5}
    assert math.isnan(second["loss"]) and second["val/acc"] == 0.5
    assert third["loss"] == math.inf and third["hessian/max"] == 4
    (curvature,) = [frame for frame in frames if isinstance(frame, Curvature)]
    assert (curvature.top[0].value, curvature.bottom[0].value, curvature.grad_curvature) == (3, -1, -0.25)
    assert isinstance(frames[-1], RunEnded)


def test_of_the_curvature_in_a_table_nothing_is_made_up(tmp_path: Path) -> None:
    """No share of a probe, no error, no verdict; a count is that of the table, or what the sign of λ_min tells."""
    path = tmp_path / "run.csv"
    path.write_text("step,hessian/max,hessian/min\n1,3,-0.1\n2,3,0.1\n")
    down, up = (frame for frame in opened(path) if isinstance(frame, Curvature))
    assert scalars(down) == ({"hessian/max": 3, "hessian/min": -0.1, "hessian/negative_at_least": 1}, {})
    assert scalars(up)[0]["hessian/negative_at_least"] == 0
    assert down.top[0].converged and down.bottom[0].converged
    path.write_text(
        "step,hessian/max,hessian/max ±,hessian/min,hessian/min ±,hessian/negative_at_least,probe/share\n"
        "1,3,0.001,-0.1,0.05,7,0.25\n"
    )
    (told,) = (frame for frame in opened(path) if isinstance(frame, Curvature))
    assert (told.negative_at_least, told.share) == (7, 0.25)
    assert (told.top[0].converged, told.bottom[0].converged) == (True, False)
    assert not any("hessian/negative_at_least" in numbers for _, numbers in values(opened(path))), "told once"


def test_names_that_others_use_are_ours_where_ours_are_not_there(tmp_path: Path) -> None:
    path = tmp_path / "run.tsv"
    path.write_text("Global_Step\ttrain_loss\tValidation_Accuracy\tother\n5\t1\t0.5\t3\n")
    assert values(opened(path)) == [(5, {"loss": 1.0, "val/acc": 0.5, "other": 3.0})]
    path.write_text("step\ttrain_loss\tloss\n5\t1\t2\n")
    assert values(opened(path)) == [(5, {"train_loss": 1.0, "loss": 2.0})]


def test_a_step_that_goes_back_is_a_resumed_run(tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("step;loss\n" + "".join(f"{step};1.5\n" for step in (1, 2, 3, 2, 3, 4)))
    assert [frame.attempt for frame in opened(path)[1:]] == [1, 1, 1, 2, 2, 2, 2]


def test_json_lines_of_numbers_and_of_frames(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(
        '{"_step": 1, "loss": 0.5, "train": {"acc": 0.25}, "name": "x", "flag": true}\nnot json\n{"_step": 2, "loss": NaN}\n'
    )
    with closing(open_path(path)) as recording:
        frames = list(recording.frames())
        assert recording.damage == ("1 line could not be read",) and recording.lost == 1
    (_, first), (_, second) = values(frames)
    assert first == {"loss": 0.5, "train/acc": 0.25}
    assert math.isnan(second["loss"])
    curvature = Curvature(seq=3, step=4, wall=7.0, grad_norm=2.0)
    told: list[AnyFrame] = [
        RunStarted(seq=1, name="mlp"),
        Scalars(seq=2, step=3, wall=6.0, values={"loss": 1.0}),
    ]
    path.write_bytes(b"\n".join(encode(frame) for frame in [*told, curvature]))
    frames = opened(path)
    assert isinstance(frames[0], RunStarted) and frames[0].name == "mlp"
    assert frames[2] == curvature


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_a_fraction_of_a_step_is_cut_off_and_told(suffix: str, tmp_path: Path) -> None:
    """Half an epoch, as trainers log it; no line is lost by that."""
    steps = (0.5, 1.0, 1.5)
    path = tmp_path / f"run.{suffix}"
    table = "epoch,loss\n" + "".join(f"{step},2\n" for step in steps)
    path.write_text(
        table if suffix == "csv" else "".join(f'{{"epoch": {step}, "loss": 2}}\n' for step in steps)
    )
    with closing(open_path(path)) as recording:
        assert [frame.step for frame in recording.frames() if isinstance(frame, Scalars)] == [0, 1, 1]
        assert recording.damage == ("2 lines with a fraction of a step, which is cut off",)
        assert recording.lost == 0


def test_tensorboard_events(tmp_path: Path) -> None:
    """Scalars of one step come together; histograms are passed over; a file that is being written is read to its end."""
    frames = opened(GOLDEN)
    scalars = values(frames)
    assert [step for step, _ in scalars] == list(range(7))
    assert scalars[1][1] == {"loss": 0.5, "val/acc": pytest.approx(0.1)}
    assert math.isnan(scalars[6][1]["lr"])
    assert frames[1].wall == 1000.0
    torn = tmp_path / "events.out.tfevents.2"
    torn.write_bytes(GOLDEN.read_bytes()[:-30])
    assert [step for step, _ in values(opened(torn))] == list(range(6))
    folder = tmp_path / "run" / "loss_val"
    folder.mkdir(parents=True)
    (folder / "events.out.tfevents.1").write_bytes(GOLDEN.read_bytes())
    assert values(opened(tmp_path / "run"))[1][1] == {
        "loss_val/train/loss": 0.5,
        "loss_val/val_acc": pytest.approx(0.1),
    }


def record(data: bytes) -> bytes:
    head = struct.pack("<Q", len(data))
    return head + struct.pack("<I", tfevents.masked(head)) + data + struct.pack("<I", tfevents.masked(data))


def field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2, len(data)]) + data


def test_scalars_that_are_tensors_and_records_that_are_damaged(tmp_path: Path) -> None:
    """As TensorFlow 2 writes them: type and content; and packed numbers."""
    content = field(8, b"\x08\x02" + field(4, struct.pack("<d", 0.125)))
    packed = field(8, b"\x08\x01" + field(5, struct.pack("<f", 2.5)))
    vector = field(8, b"\x08\x01" + field(4, struct.pack("<ff", 1.0, 2.0)))
    event = b"\x10\x07" + field(
        5,
        b"".join(
            field(1, field(1, tag) + part) for tag, part in ((b"a", content), (b"b", packed), (b"c", vector))
        ),
    )
    good = record(event)
    bad = bytearray(record(b"\x10\x08" + event[2:]))
    bad[-6] ^= 1
    path = tmp_path / "events.out.tfevents.3"
    path.write_bytes(good + bytes(bad) + b"\xff" * 40)
    with closing(open_path(path)) as recording:
        assert values(list(recording.frames())) == [(7, {"a": 0.125, "b": 2.5})]
        assert len(recording.damage) == 2


def test_the_checksum_is_castagnoli() -> None:
    """Check value of CRC-32C of RFC 3720: 0xE3069283, before masking."""
    crc = 0xE3069283
    assert tfevents.masked(b"123456789") == (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def test_where_semicolons_separate_a_comma_is_that_of_a_decimal(tmp_path: Path) -> None:
    """As spreadsheets write it in half of the world."""
    path = tmp_path / "run.csv"
    path.write_text("step;loss\n1;0,5\n2;2,5e-3\n")
    assert values(opened(path)) == [(1, {"loss": 0.5}), (2, {"loss": 0.0025})]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "time,loss\n1,2\n", "no column `step` (its columns: time, loss)"),
        ("a.csv", "", "no column `step`"),
        ("a.csv", "step,loss\n", "nothing in this file"),
        ("a.csv", "step,loss\n-1,2\n", "No line of this table has a step"),
        ("a.csv", "step,loss\n1,high\n2,low\n", "no number beside its steps"),
        ("a.jsonl", '{"loss": 1}\n', "is an object with a `step`"),
        ("a.jsonl", "", "is an object with a `step`"),
        ("events.out.tfevents.9", "", "no scalars"),
        ("a.txt", "hello", "not a recording"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_plain_sentence(
    name: str, content: str, said: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadRecording) as error:
        open_path(path)
    assert said in str(error.value)


def test_a_file_plays_like_any_recording_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can be sought, its alerts are on the timeline, and the temporary copy goes."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    path = tmp_path / "run.csv"
    rows = [f"{step},{0.3 if step < 300 else 9.0}" for step in range(400)]
    path.write_text("step,loss\n" + "\n".join(rows))
    recording = open_path(path)
    assert isinstance(recording, Imported)
    with closing(Replay(recording)) as replay:
        assert replay.timeline.alerts[0] in (300, 301, 302)
        replay.seek(200)
        assert max(frame.step for frame in replay.read()) == 200
    assert not list((tmp_path / "temporary").iterdir())


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.binary(max_size=600), kind=st.sampled_from(["csv", "jsonl", "tfevents"]), start=st.booleans())
def test_hostile_bytes_end_in_a_sentence(data: bytes, kind: str, start: bool, tmp_path: Path) -> None:
    """Or are read; nothing else is raised, and no number comes from where none was."""
    begin = {"csv": b"step,loss\n", "jsonl": b'{"step": 1, "loss": 2}\n', "tfevents": record(b"\x10\x07")}[
        kind
    ]
    path = tmp_path / ("events.out.tfevents.1" if kind == "tfevents" else f"run.{kind}")
    path.write_bytes(begin + (record(data) if start and kind == "tfevents" else data))
    try:
        frames = opened(path)
    except LsmonError as error:
        assert "\x1b" not in str(error).removesuffix(str(path))
    else:
        assert isinstance(frames[-1], RunEnded)


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"step": 1, "a": ' + '{"b":' * 5000 + "1" + "}" * 5001, '{"step": 1' + "0" * 5000 + "}"],
)
def test_json_that_is_meant_to_hurt(line: str, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_text(line + '\n{"step": 3, "loss": 1}\n')
    assert values(opened(path))[-1] == (3, {"loss": 1.0})


def write(path: Path, lines: Callable[[int], str], count: int) -> Path:
    with path.open("w") as file:
        file.writelines(lines(number) for number in range(count))
    return path


def test_lines_and_tables_without_end_are_bounded(tmp_path: Path) -> None:
    """Three megabytes in one line are one line that cannot be read."""
    path = write(
        tmp_path / "run.csv",
        lambda n: "step,loss\n" if not n else "1," + "9" * (3 << 20) + "\n" if n == 1 else f"{n},1\n",
        4,
    )
    frames = opened(path)
    assert [step for step, _ in values(frames)] == [2, 3]
    wide = tmp_path / "wide.jsonl"
    wide.write_text(json.dumps({"step": 1, **{f"n{number}": 1.0 for number in range(5000)}}))
    assert len(values(opened(wide))[0][1]) <= 2000


def _events(path: Path) -> None:
    path.write_bytes(GOLDEN.read_bytes())


def _table(path: Path) -> None:
    path.write_text("step,loss\n" + "".join(f"{step},{1 / (step + 1)}\n" for step in range(20_000)))


def _lines(path: Path) -> None:
    path.write_text("".join(json.dumps({"step": step, "loss": 1.0}) + "\n" for step in range(20_000)))


@pytest.mark.parametrize(("name", "write"), [("a.csv", _table), ("a.jsonl", _lines), (GOLDEN.name, _events)])
def test_reading_tells_how_far_it_has_come(tmp_path: Path, name: str, write: Callable[[Path], None]) -> None:
    """In bytes, upwards, to the size of the file and never beyond it."""
    path = tmp_path / name
    write(path)
    told: list[tuple[int, int]] = []
    open_path(path, lambda done, total: told.append((done, total))).close()
    size = path.stat().st_size
    assert told and {total for _, total in told} == {size}
    done = [done for done, _ in told]
    assert done == sorted(done) and done[0] > 0 and size - (1 << 17) <= done[-1] <= size


def test_a_recording_without_its_overview_tells_how_far_it_is_read(tmp_path: Path) -> None:
    """When its rows are asked for; one that has it has nothing to tell."""
    path = tmp_path / "a.csv"
    _table(path)
    told: list[tuple[int, int]] = []
    with closing(open_path(path)) as made:
        for lacking in (False, True):
            if lacking:
                (made.path / "overview.mcap").unlink()
            with closing(
                Recording.open(made.path, lambda done, total: told.append((done, total)))
            ) as recording:
                list(recording.summaries(4096))
            assert bool(told) == lacking
    assert told == sorted(told) and {total for _, total in told} == {recording.last_seq}
