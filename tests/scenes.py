"""Every screen in its states: a source, the keys that lead there, and the words that must be on it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from msgspec import structs
from textual.pilot import Pilot

from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Layers, Mark, Ritz, RunEnded, Scalars
from lsmon.protocol.sources.source import Link, Phase, Source
from lsmon.tui.app import LsmonApp
from lsmon.tui.catalog import Found, Listed
from lsmon.tui.runs import Run
from lsmon.tui.screens.compare import CompareScreen
from lsmon.tui.screens.runs import RunsScreen
from tests.bench.depths import density, ends, scale, sharpness
from tests.bench.story import START, Tape, Told, frames, header
from tests.screenplay import settle, shown, until

STORY = list(frames(34_000, every=40))


@dataclass(frozen=True)
class Scene:
    source: Callable[[], Source]
    keys: Sequence[str] = ()
    words: Sequence[str] = ()
    """Said on it at every size from 80 by 24 on, whatever the colours."""
    compared: Sequence[Callable[[], Source]] = field(default=())
    """Runs that are laid over one another instead."""
    found: Found | None = None
    """What the list of runs finds."""

    def runs(self, ascii_only: bool) -> RunsScreen:
        return Listing(self.found or Found(()), ascii_only=ascii_only)


class Listing(RunsScreen):
    """A list that finds always the same, at a time that stands still."""

    def __init__(self, found: Found, *, ascii_only: bool = False) -> None:
        super().__init__(ascii_only=ascii_only, clock=lambda: START)
        self._always = found

    def action_again(self) -> None:
        self.post_message(self.Step(self._always))


def past(count: int = 12) -> list[AnyFrame]:
    """Densities whose curvatures shrink, and layers that become level."""
    made: list[AnyFrame] = [header(), Scalars(seq=2, step=0, wall=START, values={"loss": 1.0})]
    for i in range(count):
        at = {"step": 100 * i + 50, "wall": START + i}
        wide = density(seq=3 + 3 * i)
        made.append(
            structs.replace(
                wide, **at, density_grid=tuple(x * 0.7**i for x in wide.density_grid), delta=0.1, log_volume=-200.0 + i, log_volume_se=4.0,
                log_volume_probes=(-203.0 + i, -197.0 + i, -200.0 + i, -200.5 + i), log_volume_shorter=(-199.0 + i,),
            )
        )  # fmt: skip
        made.append(structs.replace(scale(9, slope=0.3 - 0.02 * i, seq=4 + 3 * i), **at))
        made.append(structs.replace(sharpness(9, seq=5 + 3 * i), **at))
    last = Scalars(seq=100, step=100 * count, wall=START + count, values={"loss": 0.1})
    return [*made, structs.replace(ends(seq=99, step=100 * count - 50), wall=START + count), last]


def doubtful() -> list[AnyFrame]:
    """Gaps, drops, what did not converge, is saturated, unreliable, or no number at all."""
    return [
        header(),
        *(Scalars(seq=i, step=10 * i, wall=START + i, values={"loss": 1.0 / i, "grad/norm": 1.0}) for i in range(2, 40)),
        Scalars(seq=99, step=900, wall=START + 60, values={"temperature/noise": 1e-6}, errors={"temperature/noise": 1e-7},
                words={"temperature/noise": "consecutive differences, n=96, unreliable: ηλ_max > 1.5"}),
        Curvature(seq=100, step=900, wall=START + 60, top=(Ritz(5.0, 3.0, False),), bottom=(Ritz(-1.0, 0.1, True),), lanczos_steps=32),
        Scalars(seq=101, step=910, wall=START + 61, values={"regime": 2.0, "update/ratio": 1e-3},
                words={"regime": "saturated: the training loss is 0.0005, curvature says little"}),
        Scalars(seq=102, step=920, wall=START + 62, values={"loss": float("nan")}),
        Heartbeat(seq=102, step=920, wall=START + 62, dropped=3, recording="stopped: disk full", notes={"layers": "off: it failed"}),
    ]  # fmt: skip


def _told(
    made: Iterable[AnyFrame], phase: Phase = "live", words: str = "", lost: int = 0
) -> Callable[[], Source]:
    kept = list(made)

    def source() -> Source:
        told = Told(kept)
        told.link = Link(phase, words, lost)
        return told

    return source


def _tape(step: int, *, playing: bool = False, speed: float = 1.0) -> Callable[[], Source]:
    def source() -> Source:
        tape = Tape(STORY, step=step)
        tape.playing, tape.speed = playing, speed
        return tape

    return source


def _shifted(name: str, factor: float) -> list[AnyFrame]:
    return [
        structs.replace(frame, name=name, run=name) if isinstance(frame, type(header()))
        else structs.replace(frame, values={key: value * factor for key, value in frame.values.items()}) if isinstance(frame, Scalars)
        else frame
        for frame in STORY
    ]  # fmt: skip


def _listed() -> tuple[Listed, ...]:
    """Live and recorded, short and long names, with and without a course."""
    falling = tuple(2.0 * 0.8**i for i in range(24))
    return (
        Listed(Run(state="live", name="grok-p97", run="a1", host="box-3", pid=7, started=START - 500, steps=41_200, loss=falling)),
        Listed(Run(state="live", name="a-run-with-a-name-that-is-longer-than-the-column-for-it", run="a2", host="h", pid=8, started=START - 60, place="gpu-box.cluster.example.org")),
        Listed(Run(state="finished", name="saddle", run="a3", host="box-3", pid=9, started=START - 9000, steps=12_000, loss=falling[::-1])),
        Listed(Run(state="failed", name="lr-0.3", run="a4", host="box-3", pid=1, started=START - 1e5, steps=310, loss=(0.5,) * 24)),
        Listed(Run(state="stopped", name="warm-up", run="a5", host="box-3", pid=2, started=START - 2e5, steps=5_000_000)),
        Listed(Run(state="ended early", name="spirals", run="a6", host="box-3", pid=3, started=START - 9e6, loss=falling)),
    )  # fmt: skip


_FAILED = RunEnded(
    seq=9999, step=34_000, wall=START + 120, reason="error", error="RuntimeError: CUDA out of memory"
)
_DONE = RunEnded(seq=9999, step=34_000, wall=START + 120)

SCENES: dict[str, Scene] = {
    "live": Scene(_told(STORY), (), ("● live", "last frame just now", "memorized")),
    "empty": Scene(_told([], "connecting"), (), ("connecting", "waiting for the first frame", "no loss yet")),
    "waiting": Scene(_told([header(), Heartbeat(seq=1, notes={"curvature": "waiting for the reference 128/512"})]), (), ("waiting for the",)),
    "stale": Scene(_told(STORY[:400], "stale"), (), ("stale", "no frame for a while")),
    "dead": Scene(_told(STORY[:400], "dead"), (), ("✖ dead", "the training process is gone")),
    "ended": Scene(_told([*STORY, _DONE], "ended"), (), ("■ ended", "training finished")),
    "failed": Scene(_told([*STORY, _FAILED], "ended"), (), ("training failed", "CUDA out of memory")),
    "ended-early": Scene(_told(STORY, "ended early"), (), ("ended early", "did not say that it was over")),
    "doubts": Scene(_told(doubtful()), (), ("59 frames lost near step 900", "not converged", "unreliable", "nan")),
    "paused": Scene(_told(STORY), ("space",), ("‖ paused", "paused at step 34 000")),
    "replay": Scene(_tape(20_000), (), ("‖ paused", "step 20 000 of 34 000", "phase")),
    "replaying": Scene(_tape(20_000, playing=True, speed=8.0), (), ("▶ replay", "8×", "of 34 000")),
    "enlarged": Scene(_told(STORY), ("2",), ("λ max", "edge 42")),
    "filtered": Scene(_told(STORY), ("slash", *"val", "enter"), ("filter val: 2 of",)),
    "refused": Scene(_told(STORY), ("slash", *"val(a"), ("val(a", "not a regular expression")),
    "alerts": Scene(_told(STORY), ("a", "down"), ("evidence", "known at", "confidence")),
    "detail": Scene(_told(STORY), ("d",), ("detail: temperature", "Langevin temperature")),
    "volume": Scene(_told(past()), ("d", "c"), ("log V", "nats since the first one: wider")),
    "layers": Scene(_told(past()), ("l",), ("blocks.8.linear", "dead")),
    "layers-over-time": Scene(_told(past()), ("l", "v"), ("layers over time", "second moment")),
    "no-layers": Scene(_told([header()]), ("l",), ("no layers yet",)),
    "spectrum": Scene(_told(past()), ("s",), ("▒ negative", "31 % ± 2 %", "chance")),
    "spectrum-over-time": Scene(_told(past()), ("s", "v"), ()),
    "no-spectrum": Scene(_told([header()]), ("s",), ("no density yet",)),
    "runs": Scene(_told(STORY), ("r", "down", "space"), ("grok-p97", "ended early", "2 live", "picked 1"), found=Found(_listed())),
    "runs-searching": Scene(
        _told(STORY), ("r",), ("asking gpu-box", "1 of 3"), found=Found(_listed()[:2], doing="asking gpu-box", done=1, total=3)
    ),
    "no-runs": Scene(_told(STORY), ("r",), ("lsmon demo",)),
    "cursor": Scene(_told(STORY), ("x", "i", *["left"] * 20), ("read at step", "over time since the start")),
    "help": Scene(_told(STORY), ("question_mark",), ("Keys", "Leave; the training goes on")),
    "note": Scene(_told([*STORY, Mark(seq=9999, step=34_000, note="mine")]), ("m", *"too hot"), ("note on step 34 000", "too hot")),
    "compare": Scene(
        _told([]), (), ("other − grok-p97", "aligned by step"), (_told(STORY), _told(_shifted("other", 1.5)))
    ),
    "compare-by-loss": Scene(_told([]), ("x", "x"), ("aligned by the best loss",), (_told(STORY), _told(_shifted("other", 1.5)))),
}  # fmt: skip

__all__ = ["SCENES", "STORY", "Layers", "Scene", "doubtful", "past"]


async def lead(app: LsmonApp, pilot: Pilot[None], scene: Scene) -> None:
    """To where the scene is, by its keys."""
    await settle(app, pilot)
    if scene.compared:
        app.compare([source() for source in scene.compared])
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and "−" in shown(app))
    for key in scene.keys:
        await pilot.press(key)
