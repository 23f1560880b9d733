"""What a sensor is. One of your own takes a few lines::

from lsmon.probe import Context, Finding, Probe, Sensor

class HeadNorm(Sensor):
    name = "head"
    every = 100

    def measure(self, context: Context) -> Finding:
        return {"head/norm": context.model.head.weight.norm()}

Probe(model, optimizer, sensors=[HeadNorm()])
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from lsmon.protocol.frames import Curvature, Layers, Scalars

from ..schedule import UNLIMITED

if TYPE_CHECKING:
    from ..division import Division
    from ..reference import Reference

Finding = Mapping[str, Any] | Scalars | Curvature | Layers | None
"""Named numbers (floats, or tensors of one element on any device) of this step, or a frame that says its own step;
None for "nothing yet"."""


@dataclass(slots=True)
class Context:
    """What a sensor may look at. It must not change any of it."""

    model: Any = None
    """Without its wrapper of DistributedDataParallel or torch.compile."""
    optimizer: Any = None
    loss_fn: Callable[[Any, Any], Any] | None = None
    step: int = 0
    attempt: int = 1
    """Rises when the training went back to an earlier step: what was half measured is of another trajectory."""
    batch: Any = None
    clip: float | None = None
    """The threshold at which the loop clips the gradient norm, when it has said so."""
    examples: int | None = None
    """N, how many examples an epoch draws without replacement, when the loop has said so."""
    seed: int = 0
    updates: int = 0
    """Calls of ``optimizer.step`` seen."""
    closure: bool = False
    """The update that began last computes its gradients itself: before it there were none, or those of the one before."""
    reference: Reference | None = None
    sharpness: float | None = None
    """The last λ_max measured, once there is one."""
    compiled: bool = False
    """The loop calls the model through torch.compile."""
    group: Any = None
    """The processes over which DistributedDataParallel averages the gradients; None is all of them."""
    by_halves: bool = False
    """The temperature is measured on the halves of a batch, which is better than by consecutive differences."""
    notes: dict[str, str] = field(default_factory=dict)
    """Sensor → what it waits for, in words for its panel."""
    share: Callable[[], float] = lambda: 0.0
    """What the probe has cost so far, of the run's wall time."""
    step_secs: float = 0.0
    """Median wall time of the training's own step; 0 while too few have been seen."""
    allowance: float = 0.0
    """Seconds of work per second of wall time that this sensor may count on."""
    saved: float = 0.0
    """Seconds of work that it has saved up, and may take at once."""
    gathered: int = -1
    """The step whose batch the reference was offered last."""
    divided: bool = False
    """Whether the reference's batches may be cut has been tried."""
    _division: Division | None = None

    def gather(self) -> Reference | None:
        """The reference batch once it is complete; until then this step's batch is added to it, once."""
        reference = self.reference
        if reference is None:
            return None
        if not self.divided:
            first = reference.batches[0] if reference.given else self.batch
            if first is None or not self._divides(reference, first):
                return None
        if not reference.complete and self.gathered != self.step:
            self.gathered = self.step
            reference.offer(self.batch)
        return reference if reference.complete else None

    def _divides(self, reference: Reference, batch: Any) -> bool:
        """Whether it is known if batches may be cut."""
        if self.loss_fn is not None:
            from ..division import Division  # only here, because it loads torch

            if self._division is None:
                self._division = Division(
                    self.model,
                    self.loss_fn,
                    batch,
                    mixed=reference.thinnest is not None,
                    at_once=self.allowance >= UNLIMITED,
                )
            if not self._division.settled(reference):
                return False
            self._division = None
        self.divided = True
        return True


class Sensor:
    """One or several quantities, and when to measure them."""

    name = "sensor"
    every = 1
    """Steps from one measurement to the next, at least; the budget may make it more."""
    seconds = 0.0
    """Wall time from one measurement to the next, at least."""
    weight = 1.0
    """Part of the budget, relative to the other sensors."""
    ceiling = 1.0
    """Largest share of the wall time that it takes even where the budget would give it more."""
    needs: tuple[str, ...] = ()
    """Of ``model``, ``optimizer`` and ``loss_fn``, those without which it stays off."""
    price: float | None = None
    """Seconds that its next turn is worth saving up for, where it knows better than what the last turn took."""
    busy = False
    """Half a measurement is worth nothing: while true, the next step is measured whatever the budget says."""

    aside = 0.0
    """Seconds that hooks of its own have taken since its last turn; they are charged to it with the next one."""

    def unfit(self, context: Context) -> str:
        """Why this training is not for it, in words for its panel: it stays off, which is no fault. Empty when it is."""
        return ""

    def expect(self, context: Context) -> None:
        """The training step that begins now will be measured: for what must be watched from its forward pass on."""

    def before_update(self, context: Context) -> None:
        """As ``optimizer.step`` begins: the gradients are those that it will consume."""

    def after_update(self, context: Context) -> None:
        """As ``optimizer.step`` returns: the parameters have moved, the gradients are still there."""

    def measure(self, context: Context) -> Finding | Sequence[Finding]:
        """In ``probe.step``. What is still on a device is not waited for."""
        raise NotImplementedError

    def took(self, seconds: float) -> None:
        """What a turn has cost, in the order of the turns; on a GPU known some steps later."""

    def request(self, why: str) -> bool:
        """Something happened (a kind of alert): true when the sensor wants its turn sooner because of it."""
        return False

    def close(self) -> None:
        """Let go of whatever is held."""
