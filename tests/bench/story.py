"""A made-up grokking run, frame by frame: what the screen is tested, measured and looked at with."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable, Iterator

from lsmon.protocol.frames import Alert, AnyFrame, Curvature, Heartbeat, Mark, Ritz, RunStarted, Scalars
from lsmon.protocol.sources.source import Link, Phase, Timeline

START = 1_790_000_000.0
STEPS_A_SECOND = 312.0


def header(name: str = "grok-p97", host: str = "box-3") -> RunStarted:
    return RunStarted(
        seq=1, wall=START, run="a1b2c3", name=name, host=host, pid=4321, lsmon="0.1.0", torch="2.13.0", model="Sequential",
        parameters=226_000, optimizer="AdamW", device="cpu", budget=0.05,
    )  # fmt: skip


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-max(min(x, 60), -60)))


def frames(steps: int = 41_200, every: int = 10, seed: int = 0) -> Iterator[AnyFrame]:
    """Loss falls by step 3000, is memorised by 12 000, generalises near 30 000."""
    rng = random.Random(seed)
    seq = 1
    yield header()
    alerts = {
        3_210: ("saddle_escape", "info", 2_980, "Left the plateau along 3 negative directions: the loss fell by 41 % in 230 steps."),
        12_040: ("memorized", "info", 11_400, "Training accuracy stays above 99 % while validation accuracy is 12 %."),
        21_300: ("loss_spike", "warning", 21_280, "The loss rose to 9 times its running median and came back within 20 steps."),
        30_180: ("grokking_onset", "info", 29_700, "Validation accuracy rises while the training loss stands still."),
    }  # fmt: skip
    weight = 30.0
    for step in range(0, steps + 1, every):
        wall = START + 2.0 + step / STEPS_A_SECOND
        memo, grok = _sigmoid((step - 6_000) / 1_500), _sigmoid((step - 30_500) / 900)
        loss = 4.57 * (1 - memo) * 0.9 + 2e-3 + 2e-2 * math.exp(-step / 15_000) * memo
        loss *= math.exp(rng.gauss(0, 0.18))
        if 21_280 <= step <= 21_330:
            loss = max(loss, 0.35 * (1 - abs(step - 21_300) / 40))
        weight += -weight * 3e-5 * every + 2e-4 * every * (1 + 3 * memo)
        values = {
            "loss": loss, "lr": 1e-3 * min(1.0, (step + 1) / 500), "grad/norm": 0.4 * loss**0.5 * math.exp(rng.gauss(0, 0.2)),
            "weight/norm": weight, "update/ratio": 1.1e-3 * math.exp(rng.gauss(0, 0.1)) * (0.4 + loss**0.2),
        }  # fmt: skip
        seq += 1
        yield Scalars(seq=seq, step=step, wall=wall, values=values)
        if step % (20 * every) == 0:
            val_loss = 4.57 * (1 - grok) * (1 + 2.2 * memo) + 4e-2
            seq += 1
            yield Scalars(
                seq=seq, step=step, wall=wall,
                values={
                    "val/loss": val_loss * math.exp(rng.gauss(0, 0.03)),
                    "train/acc": min(1.0, 0.01 + 0.99 * memo), "val/acc": min(0.998, 0.01 + 0.1 * memo + 0.89 * grok),
                },
            )  # fmt: skip
            seq += 1
            temperature = 3.1e-6 * (0.3 + 4 * (1 - memo) + 0.6 * grok) * math.exp(rng.gauss(0, 0.06))
            yield Scalars(
                seq=seq, step=step, wall=wall,
                values={"temperature/noise": temperature, "temperature/thermal_loss": temperature * 113_000},
                errors={"temperature/noise": temperature * 0.04, "temperature/thermal_loss": temperature * 4_500},
            )  # fmt: skip
        if step % (40 * every) == 0:
            top = 38.2 * (0.35 + 0.65 * memo) * (1 - 0.7 * grok) * math.exp(rng.gauss(0, 0.05)) + 2
            bottom = -(6.0 * (1 - memo) + 0.42) * (1 - 0.6 * grok) * math.exp(rng.gauss(0, 0.12))
            seq += 1
            yield Curvature(
                seq=seq, step=step, wall=wall, top=(Ritz(top, 0.02 * top, True), Ritz(top * 0.6, 0.3, True)),
                bottom=(Ritz(bottom, abs(bottom) * 0.05, True),),
                negative_at_least=max(0, round((9 * (1 - memo) + 3) * (1 - 0.7 * grok) + rng.gauss(0, 0.7))),
                lanczos_steps=32, hvps=32, seconds=0.4, share=0.031, method="Lanczos", batch=512, parameters=226_000,
            )  # fmt: skip
            seq += 1
            yield Scalars(seq=seq, step=step, wall=wall, values={"hessian/edge": 42.0})
        if step in alerts:
            kind, severity, onset, message = alerts[step]
            seq += 1
            yield Alert(
                seq=seq, step=step, wall=wall, kind=kind, severity=severity, onset_step=onset, message=message,  # type: ignore[arg-type]
                evidence={"loss": loss, "train/acc": memo}, advice="Nothing to do: keep training.",
            )  # fmt: skip
        if step == 25_000:
            seq += 1
            yield Mark(seq=seq, step=step, wall=wall, note="lowered the weight decay")
        if step % (30 * every) == 0:
            yield Heartbeat(seq=seq, step=step, wall=wall, rate=STEPS_A_SECOND + rng.gauss(0, 4), share=0.031)


class Told:
    """A source that gives what it is told to, live or as a replay."""

    def __init__(
        self, frames: Iterable[AnyFrame] = (), *, phase: Phase = "live", words: str = "", rate: float = 0.0
    ) -> None:
        """``rate`` frames a second, all at once when 0."""
        self._frames = iter(frames)
        self.link = Link(phase, words)
        self._rate, self._begun, self._given = rate, 0.0, 0

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        if self._rate:
            self._begun = self._begun or time.monotonic()
            max_items = min(max_items, int((time.monotonic() - self._begun) * self._rate) - self._given)
        given = []
        for _ in range(max(max_items, 0)):
            frame = next(self._frames, None)
            if frame is None:
                break
            given.append(frame)
        self._given += len(given)
        return given

    def tell(self, *frames: AnyFrame) -> None:
        self._frames = iter([*self._frames, *frames])

    def close(self) -> None:
        pass


class Tape:
    """A small seekable source over frames in a list; its clock is turned by hand with ``advance``."""

    def __init__(self, frames: Iterable[AnyFrame], *, step: int | None = None) -> None:
        self.frames = list(frames)
        self.link = Link("replay")
        self.speed, self.playing = 1.0, False
        self._steps = [frame.step for frame in self.frames]
        self._sent = 0
        self._until = 0
        self.seek(self._steps[-1] if step is None else step)

    @property
    def timeline(self) -> Timeline:
        step = self._steps[max(self._until - 1, 0)]
        alerts = tuple(frame.step for frame in self.frames if isinstance(frame, Alert))
        return Timeline(
            self._steps[0],
            self._steps[-1],
            step,
            self.speed,
            self.playing,
            self._until >= len(self.frames),
            alerts,
        )

    def seek(self, step: int) -> None:
        self._sent = 0
        self._until = sum(1 for item in self._steps if item <= step)

    def seek_end(self) -> None:
        self._sent, self._until = 0, len(self.frames)

    def play(self, playing: bool) -> None:
        self.playing = playing

    def set_speed(self, speed: float) -> None:
        self.speed = speed

    def advance(self, frames: int) -> None:
        self._until = min(self._until + frames, len(self.frames))

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        given = self.frames[
            self._sent : min(self._sent + max_items, self._until) if self._sent else self._until
        ]
        self._sent += len(given)
        return given

    def close(self) -> None:
        pass
