"""The terminal itself tells of an alert: its bell, and a desktop notification where it knows OSC 9."""

from __future__ import annotations

import threading
from argparse import ArgumentParser
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from lsmon.protocol.clean import clean_line
from lsmon.protocol.frames import Alert


def add_ringing(parser: ArgumentParser) -> None:
    """The options of ``Terminal``."""
    parser.add_argument("--bell", action="store_true", help="ring the terminal's bell when an alert comes")
    parser.add_argument("--notify", action="store_true", help="desktop notification by the terminal (OSC 9)")


def line_of(alert: Alert, run: str) -> str:
    """An alert in one line."""
    kind = alert.kind.replace("_", " ")
    return clean_line(f"{run}: {kind} at step {alert.step}. {' '.join(alert.message.split())}", 500)


@dataclass(frozen=True)
class Terminal:
    """Codes for the terminal; ``write`` takes them there. As an alarm it is told the facts of an alert."""

    bell: bool
    osc9: bool
    write: Callable[[str], object]
    name: str = "--bell"

    def tell(self, facts: dict[str, Any], gone: threading.Event) -> None:
        self.ring(facts["text"])

    def ring(self, line: str) -> None:
        text = clean_line(line, 200)
        self.write((f"\x1b]9;{text}\x1b\\" if self.osc9 else "") + ("\a" if self.bell else ""))
