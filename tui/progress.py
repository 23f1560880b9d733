"""On stderr, how far something has come that takes longer than a second."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

PATIENCE_SECS = 1.0
"""What is over sooner needs no words."""
EVERY_SECS = 0.1
LINE_SECS = 10.0
"""Between the lines where there is no terminal to draw a bar on."""
_COLS = 24


class Progress:
    """``exporting ━━━━━━────── 43 %``, gone when it is over; a line now and then where stderr is no terminal."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._bar = sys.stderr.isatty()
        self._next = time.monotonic() + (PATIENCE_SECS if self._bar else LINE_SECS)
        self._drawn = self._over = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        if self._drawn:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if self._over or now < self._next:
            return
        share = min(done / total, 1.0) if total > 0 else 0.0
        if not self._bar:
            self._next = now + LINE_SECS
            sys.stderr.write(f"lsmon: {self._doing}, {share:.0%}\n")
            return
        self._next, self._drawn = now + EVERY_SECS, True
        full = round(_COLS * share)
        sys.stderr.write(f"\r{self._doing} {'━' * full}{'─' * (_COLS - full)} {share:.0%}\x1b[K")
        sys.stderr.flush()
