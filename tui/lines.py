"""A run in plain lines: what ``lsmon tail`` prints, and what the screen falls back to without a terminal."""

from __future__ import annotations

from collections import Counter

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
from lsmon.protocol.names import admitted, natural, quantity
from lsmon.protocol.recording.ending import in_full, written

from .measured_at import at_step
from .since import since

EVERY_SECS = 1.0
"""Of the run's own time between two lines of numbers: a person reads no faster, and logs stay small."""

FIRST = ("loss", "val/loss", "train/acc", "val/acc")
LAST = ("temperature/noise", "stability/ratio", "grad/norm", "update/ratio", "lr")
LEFT_OUT = {"hessian/edge", "temperature/thermal_loss", "weight/norm", "hessian/max", "hessian/min"}
"""Follows from what is shown, or is shown by the curvature already; ``--json`` has everything."""


class Lines:
    """Folds frames into lines: one for every event, one a second for the numbers, none twice."""

    def __init__(self, every_secs: float = EVERY_SECS) -> None:
        self._every = every_secs
        self._latest: dict[str, str] = {}
        self._told_of: dict[str, tuple[int, int]] = {}  # attempt and step
        # End of the spectrum → words and step; not every measurement has both.
        self._curvature: dict[str, tuple[str, int]] = {}
        self._attempt = 0
        self._rate = 0.0
        self._step = 0
        self._printed_at = float("-inf")
        self._fresh = False
        self._trouble = ""
        self.recording, self._imported = "", False
        self.ended: RunEnded | None = None

    def fold(self, frame: AnyFrame) -> list[str]:
        """The lines that this frame completes."""
        match frame:
            case RunStarted():
                self.recording, self._imported = frame.recording, frame.imported
                return [_header(frame)]
            case Alert():
                began = f" (since {when})" if (when := since(frame, str)) else ""
                return [
                    f"! step {frame.step}{began}  {frame.kind.replace('_', ' ')}: {_one_line(frame.message)}"
                ]
            case Mark():
                return [f"# step {frame.step}  {_one_line(frame.note)}"]
            case RunEnded():
                self.ended = frame
                if self._imported:
                    return [*self._numbers(frame.wall), "end of the file, which does not say how it ended"]
                return [*self._numbers(frame.wall), f"ended, {_one_line(in_full(written(frame)))}"]
            case Heartbeat():
                self._rate = frame.rate
                news, self._trouble = frame.recording != self._trouble, frame.recording
                told = [f"! recording {frame.recording}"] if news and frame.recording else []
                return [*told, *self._due(frame.wall)]
            case Curvature():
                for end, words in _curvature(frame).items():
                    if self._newest(end, frame):
                        self._curvature[end] = words, frame.step
            case Scalars():
                for name, value in frame.values.items():
                    if self._admits(name) and self._newest(name, frame):
                        error, words = frame.errors.get(name), frame.words.get(name, "")
                        self._latest[name] = _value(name, value, error, words)
            case Summary():
                for name, row in frame.series.items():
                    if row[0] and self._admits(name):
                        self._latest[name] = _value(name, row[4], None, "")
            case _:
                return []
        # What is measured belongs to an earlier step than the one at which it was done.
        again = frame.attempt > self._attempt
        self._attempt = frame.attempt
        self._step, self._fresh = frame.step if again else max(self._step, frame.step), True
        return self._due(frame.wall)

    def _admits(self, name: str) -> bool:
        return admitted(name, self._latest, len(self._latest))

    def _newest(self, name: str, frame: AnyFrame) -> bool:
        """Whether nothing of a later step has been told under this name."""
        here = frame.attempt, frame.step
        newest = here >= self._told_of.get(name, here)
        if newest:
            self._told_of[name] = here
        return newest

    def rest(self) -> list[str]:
        """The numbers that have come since the last line."""
        return self._numbers(self._printed_at)

    def _due(self, wall: float) -> list[str]:
        # A clock that was set back stands for another time, and is no reason to fall silent until it has caught up.
        return [] if abs(wall - self._printed_at) < self._every else self._numbers(wall)

    def _numbers(self, wall: float) -> list[str]:
        if not self._fresh:
            return []
        self._fresh, self._printed_at = False, wall
        middle = sorted(set(self._latest) - {*FIRST, *LAST, *LEFT_OUT}, key=natural)
        labels = Counter(quantity(name).label for name in self._latest)
        shown = [
            f"{name if labels[label := quantity(name).label] > 1 else label} {self._latest[name]}"
            for name in (*FIRST, *middle, *LAST)
            if self._latest.get(name)
        ]
        ends = [
            words if step == self._step else f"{words} {at_step(step)}"
            for words, step in (self._curvature[end] for end in ("top", "bottom") if end in self._curvature)
        ]
        first = sum(name in self._latest for name in FIRST)
        shown[first:first] = ends
        if self._rate:
            shown.append(f"{self._rate:.4g} it/s")
        return [f"step {self._step}  " + "  ".join(shown)]


def _header(frame: RunStarted) -> str:
    parts = [f"{frame.name} @ {frame.host}" if frame.host else frame.name]
    if frame.pid:
        parts.append(f"pid {frame.pid}")
    if frame.parameters:
        parts.append(f"{frame.parameters} parameters")
    if frame.optimizer:
        parts.append(frame.optimizer)
    return "  ".join(parts)


def _value(name: str, value: float, error: float | None, words: str) -> str:
    """What is told of it beside its name; nothing of a regime that has no words."""
    if name == "regime":
        return words.partition(":")[0]
    doubt = f" ±{error:.2g}" if error else ""
    warning = " (unreliable)" if words.startswith("unreliable") else ""
    return f"{value:.5g}{doubt}{warning}"


def _curvature(frame: Curvature) -> dict[str, str]:
    words = {}
    if frame.top:
        words["top"] = f"λmax {_ritz(frame.top[0])}"
    if frame.bottom:
        words["bottom"] = f"λmin {_ritz(frame.bottom[0])}  ≥{frame.negative_at_least} negative"
    return words


def _ritz(ritz: Ritz) -> str:
    doubt = f" ±{ritz.residual:.1g}" if ritz.residual else ""
    return f"{ritz.value:.4g}{doubt}{'' if ritz.converged else ' unconverged'}"


def _one_line(text: str) -> str:
    return " ".join(text.split())
