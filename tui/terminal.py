"""Whether there is a terminal that a screen can be drawn on."""

from __future__ import annotations

import os
import sys


def has_screen() -> bool:
    """False without a tty (Textual draws on stderr) and on ``TERM=dumb``, where it would write its codes all the same."""
    return all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)) and os.environ.get(
        "TERM", ""
    ) not in ("", "dumb")
