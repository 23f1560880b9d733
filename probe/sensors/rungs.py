"""Which way to the curvature a run takes, a rung of the ladder, and when a better one is tried again that has failed."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from lsmon.protocol.counts import grouped

from ..operators import ladder
from ..operators.ladder import Chosen
from ..reference import Reference
from .sensor import Context

AGAIN = 1000
"""Steps after which the best way is tried again that failed once it had worked (memory that others had taken for a while,
a batch that could not be read), and twice as many after each time."""

SOON = 10
"""The same where none has worked yet, and once: a worker may have died, or the loss of the first steps not be finite."""

EXACT = "exact: double backward, kept graph"
UNCHECKED = "not yet checked against a finite difference"


class Rungs:
    """``chosen`` is the way now; None before it is looked for, and where all have failed and the best is waited for."""

    def __init__(self) -> None:
        self.chosen: Chosen | None = None
        self.waiting = ""
        """Why there is none, and until when."""
        self._proved: int | None = None
        """The best way, by its rung, on which anything has been measured."""
        self._again_at: int | None = None
        """The step from which on a better way than the one now is tried again, since it has worked once."""
        self._patience = AGAIN
        self._hope = True

    def wanted(self, context: Context, part: Reference) -> bool:
        """Whether to look for the best way now; until it is found the exact one is used, unchecked."""
        if self._again_at is not None:
            if context.step >= self._again_at:
                self.chosen, self._again_at = None, None
            elif self.chosen is None:
                return False
        if self.chosen is not None:
            return False
        self.chosen = Chosen(
            1, EXACT, notes=(UNCHECKED,), model=context.model, loss_fn=context.loss_fn, reference=part
        )
        return True

    def choosing(
        self, context: Context, part: Reference, because: Exception | None
    ) -> Generator[None, None, bool]:
        """The best way that this model allows, or the next one ``because`` the one now failed; whether it is another.

        Raises ValueError when there is none and never was, for the second time.
        """
        before = self.chosen
        if because is not None:
            self.chosen = None
        subject = Context(context.model, context.optimizer, context.loss_fn, reference=part)
        chosen = yield from ladder.choosing(subject, after=before if because else None, because=because)
        wait, better = 0, "what had worked"
        if self._proved is not None and not 0 < chosen.rung <= self._proved:
            wait, self._patience = self._patience, 2 * self._patience
        elif self._proved is None and chosen.rung in (0, 3) and self._hope:
            wait, better, self._hope = SOON, "a better way", False
        if wait:
            self._again_at = context.step + wait
            again = f"tried again at step {grouped(self._again_at)}"
            if chosen.rung == 0:
                self.chosen, self.waiting = None, f"{chosen.reason}; {again}"
                return True
            chosen = replace(chosen, notes=(*chosen.notes, f"{better} is {again}"))
        if chosen.rung == 0:
            raise ValueError(chosen.reason)
        self.chosen = replace(chosen, model=context.model)
        return before is None or chosen.rung != before.rung

    def on(self, part: Reference | None) -> None:
        """From now on these examples are measured on."""
        if self.chosen is not None:
            self.chosen = replace(self.chosen, reference=part)

    def worked(self, chosen: Chosen) -> None:
        """Something has been measured on this way."""
        self._proved = min(chosen.rung, self._proved or chosen.rung)

    @property
    def hopeless(self) -> bool:
        """The way now is the last one, and nothing was ever measured."""
        return self.chosen is not None and self.chosen.rung == 3 and self._proved is None

    def try_again(self, step: int) -> None:
        """At once, if a better way is waited for."""
        if self._again_at is not None:
            self._again_at = step
