"""Whether there is a terminal that a screen can be drawn on."""

from __future__ import annotations

import os
import sys


def has_screen() -> bool:
    """False without a tty and on ``TERM=dumb``, where Textual would write its escape codes all the same."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
