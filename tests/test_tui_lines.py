"""Plain lines: one a second, one an event, the doubt beside the number."""

from __future__ import annotations

import math

from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.tui.lines import Lines


def fold(*frames: AnyFrame) -> list[str]:
    lines = Lines()
    out = [line for frame in frames for line in lines.fold(frame)]
    return out + lines.rest()


def test_a_thousand_steps_a_second_make_one_line_a_second() -> None:
    frames = [Scalars(seq=i, step=i, wall=i / 1000, values={"loss": 1 / (i + 1)}) for i in range(5000)]
    out = fold(*frames)
    assert [line.split()[1] for line in out] == ["0", "1000", "2000", "3000", "4000", "4999"]


def test_a_line_holds_the_latest_of_every_name_and_its_doubt() -> None:
    (first, second) = fold(
        Scalars(step=1, wall=0, values={"loss": 0.5}),
        Scalars(
            step=2,
            wall=1,
            values={"loss": 0.25, "temperature/noise": 1e-6},
            errors={"temperature/noise": 2e-8},
        ),
    )
    assert first == "step 1  train 0.5"
    assert second == "step 2  train 0.25  T 1e-06 ±2e-08"


def test_an_error_that_nobody_told_is_not_zero() -> None:
    (line,) = fold(
        Curvature(step=3, top=(Ritz(2.5, 0.0, True),), bottom=(Ritz(-0.5, 0.0, True),), negative_at_least=1)
    )
    assert "λmax 2.5  λmin -0.5  ≥1 negative" in line


def test_unreliable_and_unconverged_are_said() -> None:
    (line,) = fold(
        Curvature(step=3, top=(Ritz(2.5, 0.001, True),), bottom=(Ritz(-0.5, 0.2),), negative_at_least=4),
        Scalars(step=3, values={"temperature/noise": 1.0}, words={"temperature/noise": "unreliable: ηλ 1.8"}),
    )[-1:]
    assert "λmax 2.5 ±0.001  λmin -0.5 ±0.2 unconverged  ≥4 negative" in line
    assert "T 1 (unreliable)" in line


def test_events_are_lines_of_their_own() -> None:
    out = fold(
        RunStarted(name="a", host="b", pid=3, parameters=10, optimizer="SGD"),
        Alert(step=9, kind="loss_spike", message="Loss jumped\nfrom 1 to 2."),
        Mark(step=10, note="lr lowered"),
        RunEnded(reason="error", error="ValueError: no"),
    )
    assert out == [
        "a @ b  pid 3  10 parameters  SGD",
        "! step 9  loss spike: Loss jumped from 1 to 2.",
        "# step 10  lr lowered",
        "ended, failed: ValueError: no",
    ]


def test_nan_is_written_as_nan_and_a_summary_gives_its_last_value() -> None:
    assert fold(Scalars(step=1, values={"loss": math.nan})) == ["step 1  train nan"]
    assert fold(Summary(step=64, series={"loss": (64, 0.1, 9.0, 1.0, 0.2, 0)})) == ["step 64  train 0.2"]


def test_the_rate_comes_from_the_heartbeat() -> None:
    assert fold(
        Scalars(step=1, values={"loss": 1.0}),
        Scalars(step=2, wall=0.5, values={"loss": 2.0}),
        Heartbeat(wall=2, rate=312.25),
    ) == [
        "step 1  train 1",
        "step 2  train 2  312.2 it/s",
    ]


def test_trouble_with_the_recording_is_a_line_when_it_changes() -> None:
    """Not once a second; and what it cost when it is over."""
    words = ["", "stopped: disk full", "stopped: disk full", "again, 12 frames are missing"]
    out = fold(*(Heartbeat(wall=float(i), recording=word) for i, word in enumerate(words)))
    assert [line for line in out if line.startswith("!")] == [
        "! recording stopped: disk full",
        "! recording again, 12 frames are missing",
    ]


def test_an_end_of_the_spectrum_of_an_earlier_step_says_which() -> None:
    """And the line is of the step that has been reached; what was measured came later than it was."""
    lines = fold(
        Curvature(seq=1, step=25, top=(Ritz(2.0, 0.1, True),), bottom=(Ritz(-1.0, 0.1, True),)),
        Scalars(seq=2, step=740, wall=9.0, values={"loss": 0.5}),
        Curvature(seq=3, step=727, wall=19.0, top=(Ritz(3.0, 0.1, True),)),
    )
    assert lines[-1] == "step 740  train 0.5  λmax 3 ±0.1 @727  λmin -1 ±0.1  ≥0 negative @25"


def test_the_regime_is_a_word_and_a_file_has_no_process() -> None:
    sent = Scalars(
        seq=2, step=1, values={"regime": 0.0, "loss": 1.0}, words={"regime": "stable: the loss 1.0"}
    )
    assert fold(sent)[-1] == "step 1  train 1  regime stable"
    assert fold(RunStarted(seq=1, name="ok")) == ["ok"]


def test_what_is_measured_late_takes_nothing_back() -> None:
    """The sharpness and the ratio to the edge stay those of the newest step; λ_min, of which there is no newer, is told."""
    errors = {"stability/ratio": 0.1}
    out = fold(
        Curvature(seq=1, step=80, wall=1.0, top=(Ritz(3.0, 0.1),)),
        Scalars(seq=2, step=80, wall=1.0, values={"stability/ratio": 0.75}, errors=errors),
        Curvature(seq=3, step=40, wall=1.1, top=(Ritz(2.0, 0.1),), bottom=(Ritz(-1.5, 0.1),)),
        Scalars(seq=4, step=40, wall=3.0, values={"stability/ratio": 0.5}, errors=errors),
        Scalars(seq=5, step=40, attempt=2, wall=5.0, values={"stability/ratio": 0.25}, errors=errors),
    )
    assert "λmax 3 " in out[-2] and "λmin -1.5 " in out[-2] and "edge ratio 0.75" in out[-2]
    assert "edge ratio 0.25" in out[-1]


def test_names_of_one_label_are_told_in_full_and_in_the_order_of_their_numbers() -> None:
    """Twenty values of one label could not be told apart."""
    names = [f"block_{at}/ratio" for at in (10, 0, 2)]
    (line,) = fold(Scalars(step=1, values={**dict.fromkeys(names, 0.5), "layer/other": 2.0}))
    assert line == "step 1  block_0/ratio 0.5  block_2/ratio 0.5  block_10/ratio 0.5  other 2"


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    """An hour back, and there is a line a second as before; a frame that is a moment older than a line adds none."""
    frames: list[AnyFrame] = [
        Scalars(seq=i, step=i, wall=(5000 if i < 30 else 1400) + i / 10, values={"loss": 1.0})
        for i in range(60)
    ]
    assert [line.split()[1] for line in fold(*frames)] == ["0", "10", "20", "30", "40", "50", "59"]
    frames = [
        Scalars(seq=i, step=i, wall=wall, values={"loss": 1.0}) for i, wall in enumerate((0, 1, 0.9, 2))
    ]
    assert [line.split()[1] for line in fold(*frames)] == ["0", "1", "3"]


def test_ever_new_names_make_no_endless_line() -> None:
    """The first thousand are told, and the well-known ones."""
    frames = [Scalars(seq=i, step=i, wall=i / 1e4, values={f"x/{i}": 1.0}) for i in range(3000)]
    last = fold(*frames, Scalars(seq=3001, step=3001, wall=9.0, values={"loss": 0.25}))[-1]
    assert "train 0.25" in last and "999 1" in last.split("  ") and "1000 1" not in last.split("  ")
