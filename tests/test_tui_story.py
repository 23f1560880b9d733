"""The phase strip tells the run's story in words: in order, in the room there is, from alerts and regime alone."""

from __future__ import annotations

import math

import pytest

from lsmon.protocol.frames import Alert
from lsmon.protocol.regime import REGIMES
from lsmon.tui.series import Series
from lsmon.tui.story import Chapter, story
from lsmon.tui.view import Track
from lsmon.tui.widgets.canvas import cells
from lsmon.tui.widgets.phases import placed


def alert(kind: str, step: int, onset: int = 0) -> Alert:
    return Alert(kind=kind, step=step, onset_step=onset)


def regimes(*told: tuple[int, str]) -> Track:
    series = Series("regime")
    for step, name in told:
        series.add(step, float(step), 1, float(REGIMES.index(name)), math.nan, name)
    return series.track()


def words(chapters: tuple[Chapter, ...]) -> list[tuple[int, str]]:
    return [(chapter.step, chapter.word) for chapter in chapters]


def test_a_run_without_news_is_at_its_start() -> None:
    assert words(story(3, (), None)) == [(3, "init")]


def test_a_run_that_only_logs_is_no_start_for_life() -> None:
    assert words(story(3, (), None, measured=False)) == [(3, "training")]
    told = story(0, [alert("loss_spike", 20), alert("plateau_left", 40, 30)], None, measured=False)
    assert words(told) == [(0, "training"), (20, "spike"), (30, "descent")]


def test_alerts_open_chapters_at_their_onset() -> None:
    """Not when they were known, and in the order in which they began."""
    alerts = [alert("saddle_entered", 40, 30), alert("saddle_escape", 90, 70), alert("memorized", 500, 300),
              alert("grokking_onset", 900, 800), alert("grokking_complete", 990, 950)]  # fmt: skip
    assert words(story(0, alerts, None)) == [
        (0, "init"), (30, "saddle"), (70, "descent"), (300, "memorized"), (800, "GROKKING"), (950, "grokked"),
    ]  # fmt: skip


def test_every_kind_of_alert_of_the_training_has_a_word() -> None:
    """A detector added later must be given one, or be left out knowingly."""
    from lsmon.protocol.detectors import watch
    from lsmon.tui.story import _ALERTS

    assert set(watch.CONTINUES) | set(watch.CONTINUES.values()) <= set(_ALERTS)
    for kind in _ALERTS:
        assert len(story(0, [alert(kind, 9)], None)) == 2


def test_the_viewers_own_alerts_are_not_part_of_it() -> None:
    assert words(story(0, [alert("silent", 5), alert("probe_fault", 6), alert("unheard of", 7)], None)) == [
        (0, "init")
    ]


def test_a_spike_is_a_moment() -> None:
    """What was before it goes on."""
    chapters = story(0, [alert("memorized", 10), alert("loss_spike", 20), alert("memorized", 30)], None)
    assert words(chapters) == [(0, "init"), (10, "memorized"), (20, "spike")]
    assert chapters[-1].moment


def test_the_regime_fills_what_the_alerts_leave_open() -> None:
    """A quiet one begins after init, an urgent one interrupts, and then what was before goes on."""
    regime = regimes((20, "stable"), (84, "stable"), (100, "heating"), (150, "stable"))
    assert words(story(0, (), regime)) == [(0, "init"), (20, "stable"), (100, "heating"), (150, "stable")]
    told = story(0, [alert("memorized", 90)], regime)
    assert words(told) == [
        (0, "init"),
        (20, "stable"),
        (90, "memorized"),
        (100, "heating"),
        (150, "memorized"),
    ]


def test_a_quiet_regime_never_hides_an_alert() -> None:
    """A memorised training set is saturated, and the story is that it was memorised."""
    told = story(0, [alert("memorized", 90)], regimes((20, "stable"), (200, "saturated")))
    assert words(told)[-1] == (90, "memorized")


def test_the_edge_told_by_alert_and_regime_is_one_chapter() -> None:
    regime = regimes((20, "stable"), (105, "edge of stability"), (300, "stable"))
    told = story(0, [alert("edge_of_stability", 120, 100)], regime)
    assert words(told) == [(0, "init"), (20, "stable"), (100, "edge of stability"), (300, "stable")]


def test_a_regime_of_nonsense_is_passed_over() -> None:
    """What comes from a file is not trusted."""
    series = Series("regime")
    for step, value in enumerate((-3.0, 1e9, math.nan, math.inf), 1):
        series.add(step, float(step), 1, value, math.nan, "")
    assert words(story(0, (), series.track())) == [(0, "init")]


MANY = [alert(("memorized", "loss_spike", "overfitting")[i % 3], 7 * i + 5) for i in range(1000)]


@pytest.mark.parametrize("cols", [0, 3, 4, 8, 20, 49, 90, 180])
@pytest.mark.parametrize("alerts", [MANY, MANY[:4], []])
def test_words_fit_side_by_side(cols: int, alerts: list[Alert]) -> None:
    """Within the columns, none over another, the present chapter among them."""
    chapters = story(0, alerts, None)
    items = placed(chapters, 7000, cols)
    end = 0
    for item in items:
        assert item.x >= end
        end = item.x + 1 + cells(item.word) + 1
        assert end <= cols + 1
    if cols >= 20:
        lasting = [item.chapter.word for item in items if not item.chapter.moment]
        assert lasting[-1] == [c.word for c in chapters if not c.moment][-1]


def test_a_word_stands_where_its_chapter_began_if_nothing_is_in_the_way() -> None:
    told = story(0, [alert("memorized", 500), alert("grokking_onset", 750)], None)
    assert [(item.x, item.word) for item in placed(told, 1000, 100)] == [
        (0, "init"),
        (50, "memorized"),
        (75, "GROKKING"),
    ]


def test_the_lightest_words_go_first() -> None:
    """Short forms first, then init, and never what is so now."""
    told = story(0, [alert("memorized", 500), alert("grokking_onset", 750)], None)
    assert [item.word for item in placed(told, 1000, 24)] == ["init", "memo", "GROKKING"]
    assert [item.word for item in placed(told, 1000, 20)] == ["memorized", "GROKKING"]
    assert [item.word for item in placed(told, 1000, 10)] == ["GROKKING"]


def test_a_loss_that_is_finite_again_leaves_what_was_before() -> None:
    """A single NaN whose weights stayed well does not mark the run for good."""
    told = story(1, [alert("nonfinite", 5)], regimes((1, "stable"), (6, "exploding"), (30, "stable")))
    assert words(told) == [(1, "init"), (1, "stable"), (5, "not finite"), (30, "stable")]
    told = story(1, [alert("nonfinite", 5), alert("nonfinite", 8)], regimes((1, "stable"), (6, "exploding")))
    assert words(told) == [(1, "init"), (1, "stable"), (5, "not finite")]
