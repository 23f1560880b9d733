"""Whether the optimizer that was given is the one that trains: a loop may go on with another."""

from __future__ import annotations

from .sensor import Context, Sensor

WORDS = "the weights change, but not by the optimizer given to Probe: close the probe, and open one with the optimizer that steps"


class Abandoned(Sensor):
    """Measures nothing; says so in the notes when weights change while the optimizer does not step."""

    name = "optimizer"
    every = 50
    weight = 0.01
    needs = ("model", "optimizer")

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None

    def after_update(self, context: Context) -> None:
        """That it can be seen to step is all that is needed: the updates are counted."""

    def measure(self, context: Context) -> None:
        versions = sum(p._version for p in context.model.parameters() if p.requires_grad)
        now = (context.updates, versions)
        before, self._before = self._before or now, now
        if now[0] > before[0]:
            context.notes.pop(self.name, None)
        elif versions != before[1]:
            context.notes[self.name] = WORDS
