"""The lines above and below the panels: who trains, how the link is, where a replay stands."""

from __future__ import annotations

from dataclasses import dataclass

from textual import events
from textual.message import Message

from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.frames import RunEnded
from lsmon.protocol.recording.ending import ending, written
from lsmon.protocol.sources.source import Link, Timeline

from ..format import age, duration, number, percent, short
from ..view import View
from .canvas import Canvas, cells, cut, fit, plain
from .drawn import Drawn
from .key_line import put_keys

_PHASES = {
    "connecting": ("◌", "o", "dim", "connecting"),
    "live": ("●", "*", "good", "live"),
    "stale": ("▲", "!", "warning", "stale"),
    "dead": ("✖", "X", "critical", "dead"),
    "ended": ("■", "#", "dim", "ended"),
    "ended early": ("■", "#", "warning", "ended early"),
    "replay": ("▶", ">", "info", "replay"),
}


EVERYBODYS = {"sensors": "warning", "optimizer": "warning", "step": "warning", "steps": "dim"}
"""What a probe says of the whole run, and how it is drawn."""

_MOST_NAMED = 1
"""Panels that are named where there is no room for them; more are counted, to leave room for the key that leads there."""
_LEAST_SAID = 24
"""Cells of the beginning of a sentence that still tell what it is about."""


def phase_words(link: Link) -> str:
    """What the phase means, where the source does not say it itself."""
    if link.words:
        return link.words
    return {
        "connecting": "waiting for the first frame",
        "stale": "no frame for a while: the training is busy, stopped or out of reach",
        "dead": "the training process is gone; what came before is kept",
        "ended early": "ended early: the training did not say that it was over",
    }.get(link.phase, "")


def last_heard(secs: float | None) -> str:
    """How long ago the last frame came; empty before the first."""
    if secs is None:
        return ""
    # Heartbeats come once a second, so anything younger than that is now.
    return "just now" if secs < 1.5 else f"{age(secs)} ago"


@dataclass(frozen=True, slots=True)
class Moment:
    """What the bars need."""

    view: View
    link: Link
    heard: str = ""
    """When the last frame came, in words: at rest a moment equals the one before."""
    paused: bool = False
    behind: int = 0
    """Steps that the run is ahead of a frozen eye."""
    timeline: Timeline | None = None
    trouble: str = ""
    ascii_only: bool = False
    own: int = 0
    """Alerts of the viewer's own, beside those of the view."""
    keys: tuple[tuple[str, str], ...] = ()
    """(key, what it does), the most needed last."""
    words: str = ""
    """What the screen itself has to say."""
    hidden: tuple[str, ...] = ()
    """Panels for which the screen is too small, or too full."""
    place: str = ""
    """Where it is watched, as the person calls it; empty for this machine."""


class Bar(Drawn):
    """One line that shows a Moment."""

    def __init__(self) -> None:
        super().__init__()
        self.moment: Moment | None = None

    def show(self, moment: Moment) -> None:
        if moment == self.moment:
            return
        self.moment, self.ascii_only = moment, moment.ascii_only
        self.redraw()

    def forget(self) -> None:
        """As a panel does."""
        self.moment = None

    def on_resize(self) -> None:
        self.redraw()

    def draw(self, canvas: Canvas) -> None:
        if self.moment is not None:
            self.draw_moment(canvas, self.moment)

    def draw_moment(self, canvas: Canvas, moment: Moment) -> None:
        raise NotImplementedError


class Header(Bar):
    """Name and host, step, rate, elapsed, size, optimizer, the probe's share; the state of the link on the right."""

    def draw_moment(self, canvas: Canvas, moment: Moment) -> None:
        view, header = moment.view, moment.view.header
        sign, bare, ink, word = _PHASES[moment.link.phase]
        if moment.timeline is not None and moment.link.phase == "replay":
            if moment.timeline.at_end:
                sign, bare, word = "■", "#", "replay, at its end"
            elif not moment.timeline.playing:
                sign, bare, word = "‖", "=", "paused"
        elif moment.paused and moment.timeline is None:
            sign, bare, ink, word = "‖", "=", "warning", "paused"
        elif moment.link.phase == "live" and view.heartbeat.idle:
            sign, bare, ink, word = "▲", "!", "warning", f"no step for {duration(view.heartbeat.idle)}"
        sign = bare if moment.ascii_only else sign
        state = f"{sign} {word}" if cells(word) + 4 < canvas.cols else sign
        right = canvas.cols - cells(state) - 1
        canvas.put(right, 0, state, f"bold {ink}")
        if canvas.cols >= 70:
            canvas.put(1, 0, "lsmon", "faint")
        x = 8 if canvas.cols >= 70 else 1
        host = moment.place or header.host
        at = f" @ {host}" if host else ""
        name = header.name or header.run or ("waiting for a run" if not view.seq else "unnamed run")
        rest = [part for part in _facts(view) if part[1]]
        # The name keeps at least what it needs up to a third of the line; facts fill the rest in their order.
        name = fit(name, max(canvas.cols // 3, 12))
        x = canvas.put(x, 0, name, "bold ink", end=right - 1)
        if at and canvas.cols >= 60:
            x = canvas.put(x, 0, fit(at, max(canvas.cols // 5, 10)), "dim", end=right - 1)
        gap = 3 if canvas.cols >= 100 else 2
        for label, value in rest:
            if x + gap + cells(label) + cells(value) > right - 2:
                continue
            x = canvas.put(x + gap, 0, label, "dim")
            x = canvas.put(x, 0, value, "ink")


def _facts(view: View) -> list[tuple[str, str]]:
    """Label and value, most wanted first."""
    header, heard = view.header, view.heartbeat
    lr = view.series.get("lr")
    optimizer = header.optimizer if lr is None else f"{header.optimizer} lr {number(lr.value)}".strip()
    share = heard.share or view.curvature.share
    return [
        ("step ", grouped(view.step) if view.seq else ""),
        ("", f"{number(view.rate)} it/s" if view.rate else ""),
        ("", duration(view.wall - view.started) if view.started and not header.untimed else ""),
        ("probe ", percent(share) if share else ""),
        ("d ", short(header.parameters) if header.parameters else ""),
        ("", optimizer),
        ("", header.device),
        ("attempt ", str(view.attempt) if view.attempt > 1 else ""),
    ]


class Status(Bar):
    """What a person must know about what is on the screen, in words; keys on the right as far as there is room."""

    def draw_moment(self, canvas: Canvas, moment: Moment) -> None:
        x = 1
        more = "~" if canvas.ascii_only else "…"
        for ink, words in said(moment):
            words = plain(words) if canvas.ascii_only else words
            room = canvas.cols - 1 - x - (3 if x > 1 else 0)
            if cells(words) > room and x > 1 and room < _LEAST_SAID:
                x = canvas.put(x, 0, f" {more}", "faint")
                break
            if x > 1:
                x = canvas.put(x, 0, " | " if canvas.ascii_only else " · ", "faint")
            x = canvas.put(x, 0, cut(words, room, more, clauses=False), ink)
            if cells(words) > room:
                break
        put_keys(canvas, x, 0, moment.keys)


def said(moment: Moment) -> list[tuple[str, str]]:
    """(ink, words), the most urgent first."""
    view, link = moment.view, moment.link
    parts: list[tuple[str, str]] = []
    if moment.trouble:
        parts.append(("critical", moment.trouble))
    elif link.phase not in ("live", "ended", "replay"):
        parts.append((_PHASES[link.phase][2], phase_words(link)))
    elif link.words and link.words != view.end.error:  # which is said below
        parts.append(("warning" if link.lost or "early" in link.words else "dim", link.words))
    if view.heartbeat.idle and not view.ended:
        at = f": {view.heartbeat.where}" if view.heartbeat.where else ""
        parts.append(("warning", f"no step for {duration(view.heartbeat.idle)}{at}"))
    if moment.paused and moment.timeline is None:
        more = (
            f", the run is {counted(moment.behind, 'step')} further"
            if moment.behind > 0
            else ("" if view.ended else ", the run goes on")
        )
        parts.append(("warning", f"paused at step {grouped(view.step)}{more}"))
    if moment.words:
        parts.append(("warning", moment.words))
    if view.ended and not view.header.imported:
        parts.append(_end(view.end))
    if moment.timeline is None and moment.heard and not (view.ended or view.heartbeat.idle):
        parts.append(("dim", f"last frame {moment.heard}"))
    lost = max(view.lost, link.lost)
    if lost and not any(said in link.words for said in ("lost", "could not be read")):
        near = f" near step {grouped(view.lost_step)}" if view.lost_step else ""
        parts.append(("warning", f"{counted(lost, 'frame')} lost{near}"))
    if view.dropped:
        parts.append(("warning", f"{grouped(view.dropped)} dropped by the probe"))
    if view.heartbeat.recording:
        parts.append(("warning", f"recording {view.heartbeat.recording}"))
    for part, words in view.heartbeat.notes.items():
        # What a panel waits for stands in the panel; a sensor that is off is everybody's business.
        if part in EVERYBODYS:
            parts.append((EVERYBODYS[part], f"{part}: {words}"))
        elif part != "recording" and words.startswith("off: "):
            parts.append(("warning", f"{part} {words}"))
    if view.refused:
        parts.append(("warning", f"{grouped(view.refused)} names too many are not kept"))
    if moment.hidden:
        few = len(moment.hidden) <= _MOST_NAMED
        left = ", ".join(moment.hidden) if few else counted(len(moment.hidden), "panel")
        parts.append(("dim", f"no room: {left}"))
    return parts


def _end(end: RunEnded) -> tuple[str, str]:
    word = ending(written(end))
    if word == "stopped":
        return "warning", "training stopped by Ctrl-C"
    if word == "failed":
        return "critical", f"training failed: {end.error}".replace("\n", " ")
    return "dim", "training finished"


class ReplayBar(Bar):
    """Where a replay stands, its speed, and a tick for every alert; a click seeks."""

    class Sought(Message):
        """A click on the bar."""

        def __init__(self, step: int) -> None:
            super().__init__()
            self.step = step

    def draw_moment(self, canvas: Canvas, moment: Moment) -> None:
        timeline = moment.timeline
        if timeline is None:
            return
        if moment.ascii_only:
            state, full, empty, head, tick = (">" if timeline.playing else "="), "=", "-", "|", "^"
        else:
            state, full, empty, head, tick = ("▶" if timeline.playing else "‖"), "━", "─", "●", "▾"
        if timeline.at_end:
            state = "#" if moment.ascii_only else "■"
        x = canvas.put(1, 0, state, "bold info")
        canvas.put(x + 1, 0, f"{timeline.speed:g}×", "ink")
        first, last = self.span(canvas.cols, timeline)
        length = last - first
        if length < 4:
            return
        at = first + round(_share(timeline.step, timeline) * (length - 1))
        canvas.put(first, 0, full * (at - first), "info")
        canvas.put(at, 0, head, "bold info")
        canvas.put(at + 1, 0, empty * (last - at - 1), "rule")
        for step in timeline.alerts:
            column = first + round(_share(step, timeline) * (length - 1))
            if column != at:
                canvas.put(column, 0, tick, "warning")
        canvas.put(last + 2, 0, _position(timeline), "dim")

    def span(self, cols: int, timeline: Timeline) -> tuple[int, int]:
        """First column of the bar and the one after its last."""
        return 11, cols - len(_position(timeline)) - 3

    def on_click(self, event: events.Click) -> None:
        if self.moment is None or self.moment.timeline is None:
            return
        timeline = self.moment.timeline
        first, last = self.span(self.size.width, timeline)
        share = min(max((event.x - first) / max(last - first - 1, 1), 0.0), 1.0)
        steps = timeline.last_step - timeline.first_step
        self.post_message(self.Sought(timeline.first_step + round(share * steps)))


def _share(step: int, timeline: Timeline) -> float:
    return min(max((step - timeline.first_step) / max(timeline.last_step - timeline.first_step, 1), 0.0), 1.0)


def _position(timeline: Timeline) -> str:
    last = grouped(timeline.last_step)
    return f"step {grouped(timeline.step):>{len(last)}} of {last}"
