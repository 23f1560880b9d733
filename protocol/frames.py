"""What is said: the frames, one tagged union, the same on the wire and in the file.

Evolution: new fields go last and have defaults; no field is renamed, retyped or reordered; a frame type that a reader
does not know is skipped. ``tests/golden`` keeps a recording of every format version for ever.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

FORMAT = 1
"""Version of the frames and of the folder that holds them. A reader refuses a larger one in one sentence."""

INTS = range(-(1 << 63), 1 << 63)
"""What a frame can carry."""

Int = Annotated[int, Meta(ge=INTS[0], le=INTS[-1])]
"""JSON knows no bounds, and what does arithmetic with numbers of a thousand digits does."""

Severity = Literal["info", "warning", "critical"]


class Frame(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="type"):
    """What every frame carries."""

    seq: Int = 0
    """Number within the run, from 1, without holes: a hole seen by a reader is a loss.
    ``Heartbeat`` and ``Summary`` repeat the number of the last frame before them instead of taking one."""
    step: Int = 0
    """The training's own step; may go back after a resume, which opens a new attempt."""
    wall: float = 0.0
    """Unix time in seconds."""
    rank: Int = 0
    attempt: Int = 1


IMPORTED = "imported"
"""Id of a run that another's file tells of."""


class RunStarted(Frame, frozen=True, kw_only=True, tag="run_started"):
    """The header: who is training what. A late joiner gets it first, and each recorded file starts with it."""

    format: Int = FORMAT
    run: str = ""
    """Unique id, also the name of the session card and the end of the recording's folder name."""
    name: str = ""
    host: str = ""
    user: str = ""
    pid: Int = 0
    boot: str = ""
    """Boot id of the host, so that a reused pid on a rebooted machine is not taken for the run."""
    pid_started: Int = 0
    """Start time of the process in clock ticks since boot: pids are reused, the pair is not."""
    command: tuple[str, ...] = ()
    lsmon: str = ""
    torch: str = ""
    model: str = ""
    parameters: Int = 0
    """Number of parameters that receive a gradient, d."""
    optimizer: str = ""
    device: str = ""
    budget: float = 0.0
    recording: str = ""
    """Folder of the recording on the host that trains; empty when not recorded."""
    untimed: bool = False
    """Nobody wrote down when its steps were: the times of its frames only order them."""

    @property
    def imported(self) -> bool:
        """Whether it was made of another's file, which does not say how its training ended."""
        return self.run == IMPORTED


class Scalars(Frame, frozen=True, kw_only=True, tag="scalars"):
    """Named numbers of one step (names: ``protocol/names.py``)."""

    values: dict[str, float] = {}
    errors: dict[str, float] = {}
    """Standard error of a value, in its unit, for the names that are estimates."""
    words: dict[str, str] = {}
    """What must be said of a value: method, sample, "unreliable: ...". Short, for a person."""
    nonfinite: dict[str, str] = {}
    """Wire form only: JSON has no NaN, so the codec moves such values here ("nan", "inf", "-inf") and back."""


class Ritz(Struct, frozen=True, omit_defaults=True):
    """An eigenvalue estimate: some eigenvalue lies within ``value ± residual``, and hardly ever the one meant does not."""

    value: float
    residual: float
    converged: bool = False


class Curvature(Frame, frozen=True, kw_only=True, tag="curvature"):
    """Spectrum of the Hessian on the reference batch, at the parameters of ``step``."""

    top: tuple[Ritz, ...] = ()
    """Largest eigenvalues, signed, the largest first."""
    bottom: tuple[Ritz, ...] = ()
    """Smallest eigenvalues, signed, the most negative first."""
    negative_at_least: Int = 0
    """Certified lower bound of the number of eigenvalues below ``-tolerance`` (Cauchy interlacing)."""
    tolerance: float = 0.0
    lanczos_steps: Int = 0
    hvps: Int = 0
    """Hessian-vector products spent."""
    seconds: float = 0.0
    """What this measurement cost the training thread."""
    share: float = 0.0
    """Share of the run's wall time that the probe has cost so far."""
    method: str = ""
    batch: Int = 0
    """Examples in the reference batch."""
    parameters: Int = 0
    loss: float | None = None
    """Loss on the reference batch."""
    grad_norm: float | None = None
    """Norm of the gradient on the reference batch."""
    noise: float = 0.0
    """Asymmetry seen in the products, absolute: the numerical floor of every value here."""
    notes: tuple[str, ...] = ()
    grad_curvature: float | None = None
    """ĝᵀHĝ, curvature along the normalised gradient on the reference batch."""
    preconditioned: Ritz | None = None
    """Largest eigenvalue of P^½HP^½ for optimizers with a metric P, to compare with ``hessian/edge``."""
    negative_fraction: float | None = None
    negative_fraction_se: float | None = None
    zero_fraction: float | None = None
    zero_fraction_se: float | None = None
    fraction_tolerance: float | None = None
    """τ: negative means below -τ|H|, zero means within ±τ|H|."""
    resolution: float | None = None
    """Smallest τ that the Lanczos steps can resolve; fractions below it are not given."""
    trace: float | None = None
    trace_se: float | None = None
    density_grid: tuple[float, ...] = ()
    """Curvatures, ascending, and the share of the spectrum at each; empty when no density was measured."""
    density_mass: tuple[float, ...] = ()
    log_volume: float | None = None
    """-½ Σ ln(1 + max(λ,0)/δ), nats."""
    log_volume_se: float | None = None
    llc_quadratic: float | None = None
    """½ Σ max(λ,0)/(max(λ,0)+δ): half the effective number of parameters."""
    llc_quadratic_se: float | None = None
    delta: float | None = None
    """δ, an absolute curvature, fixed for the run."""
    undersampled: float | None = None
    """Mean λ_max of the two halves of the reference batch over λ_max of the whole, less one; above 0.15 the batch
    is too small for the level of the sharpness to be believed."""
    memory: Int = 0
    """Bytes that the Krylov basis took."""
    log_volume_probes: tuple[float, ...] = ()
    """``log_volume`` as each probe sees it: the same probes all through a run, so that differences are better known."""
    log_volume_shorter: tuple[float, ...] = ()
    """``log_volume`` with fewer Lanczos steps, for the error that the probes have in common."""
    displacement: float | None = None
    """|u|, u = θ - θ₀ since the measurement before that had a gradient, on the same examples."""
    displacement_curvature: float | None = None
    """2 (L - L₀ - ∇L₀·u) / |u|²: the mean of uᵀHu / |u|² on the straight way from θ₀ to θ, weighted with 2 (1 - t)."""


class Layers(Frame, frozen=True, kw_only=True, tag="layers"):
    """A number a layer, for several quantities; ``names`` gives the order, input side first."""

    names: tuple[str, ...] = ()
    values: dict[str, tuple[float, ...]] = {}


class Alert(Frame, frozen=True, kw_only=True, tag="alert"):
    """Something happened. ``step`` is when it was known, ``onset_step`` since when it was so."""

    kind: str = ""
    severity: Severity = "info"
    onset_step: Int = 0
    message: str = ""
    evidence: dict[str, float] = {}
    """The numbers that crossed."""
    advice: str = ""
    confidence: float | None = None
    follows: Int | None = None
    """``seq`` of the alert that this one continues."""
    nonfinite: dict[str, str] = {}
    """As in ``Scalars``, for the evidence."""


class Mark(Frame, frozen=True, kw_only=True, tag="mark"):
    """A note by the person who trains."""

    note: str = ""


class Heartbeat(Frame, frozen=True, kw_only=True, tag="heartbeat"):
    """Once a second: the process lives, and this is how the probe is doing."""

    pid: Int = 0
    boot: str = ""
    pid_started: Int = 0
    dropped: Int = 0
    """Frames that the probe had to drop since the start, oldest first, because its queue was full."""
    share: float = 0.0
    rate: float = 0.0
    """Training steps a second over the last seconds."""
    recording: str = ""
    """Words about the recorder when it is not simply recording ("stopped: disk full")."""
    notes: dict[str, str] = {}
    """Sensor → what it waits for or why it is off, in words for its panel's empty state."""
    idle: float = 0.0
    """Seconds since the last step, or whatever the loop logged, where that is much longer than usual; else 0."""
    where: str = ""
    """The line of the program that an idle loop is in: ``train.py:88 in evaluate``."""


class Summary(Frame, frozen=True, kw_only=True, tag="summary"):
    """A stretch of the record, folded: what the overview file, a decimated stream and a late joiner's history are
    made of. ``seq`` and ``wall`` are those of the last frame in it, ``step`` is the largest."""

    level: Int = 64
    """How many frames were folded, nominally."""
    first_seq: Int = 0
    first_step: Int = 0
    first_wall: float = 0.0
    series: dict[str, tuple[Int, float, float, float, float, Int]] = {}
    """Name → (finite samples, min, max, mean, last finite, non-finite samples). Spikes survive in min and max."""
    measured: dict[str, tuple[Int, Int]] = {}
    """Name → first and last step at which it was measured, where it was told later: not those of the stretch."""


class RunEnded(Frame, frozen=True, kw_only=True, tag="run_ended"):
    """The training said that it is over; a recording without this frame ended early."""

    reason: Literal["finished", "error"] = "finished"
    error: str = ""
    """Type and message of the exception, when that is what ended it."""
    dropped: Int = 0


AnyFrame = RunStarted | Scalars | Curvature | Layers | Alert | Mark | Heartbeat | Summary | RunEnded

UNNUMBERED = (Heartbeat, Summary)
"""Frames that repeat the last number instead of taking one."""


def state(frame: AnyFrame) -> tuple[type, str] | None:
    """The slot of which this frame is the content until the next one comes; None when it is no state but an event.

    Curvature has three: the sharpness alone is measured more often than both ends of the spectrum, and those more often
    than its density. The sharpness by layer comes in frames of its own.
    """
    if isinstance(frame, Curvature):
        return Curvature, "density" if frame.density_grid else "ends" if frame.bottom else "sharpness"
    if isinstance(frame, Layers):
        return Layers, "sharpness" if "hessian/max" in frame.values else "scale"
    return (Heartbeat, "") if isinstance(frame, Heartbeat) else None
