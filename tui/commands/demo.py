"""A real training with the screen on it.

grokking   modular addition: memorised first, understood later (default)
saddle     a deep linear network that leaves one saddle after another
edge       full-batch gradient descent that sharpens up to 2/η and stays there
langevin   noise of a known temperature, which the temperature panel reads back
chargpt    a small GPT that learns to spell Python
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from argparse import ArgumentParser, Namespace
from importlib.util import find_spec
from typing import IO

from lsmon.protocol.cards import read_cards
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.sources.source import Source

from ..target import live
from ..terminal import has_screen
from ..waiting import Waiting

DEMOS = ("grokking", "saddle", "edge", "langevin", "chargpt")

PATIENCE_SECS = 10.0
"""For the training to end by itself once it was asked to."""
_NOT_SEEN = "lsmon: live view waits: "
"""What a probe says that no viewer can find, followed by the reason."""
_MOST_SAID = 1 << 16
"""Bytes of the beginning, where it says that."""


def add(parser: ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", default="grokking", choices=DEMOS, metavar="NAME")
    parser.add_argument("--headless", action="store_true", help="plain lines instead of the screen")


def run(args: Namespace) -> int:
    if find_spec("torch") is None:
        raise LsmonError(
            "The demo trains a real network and needs PyTorch; install it with `pip install 'lsmon[torch]'`."
        )
    with tempfile.TemporaryFile("w+") as said:
        training = subprocess.Popen(
            [sys.executable, "-m", f"lsmon.demo.{args.name}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
        source = Waiting(
            lambda: _source(training, said), f"starting the training {args.name}, pid {training.pid}"
        )
        for end in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(end, _leave)  # else the training would go on, watched by nobody
        headless = args.headless or not has_screen()
        try:
            code = _watch(source, training, headless)
        finally:
            stopped = _stop(training, source.link.phase == "ended")
        if why := _unseen(said):
            if headless:  # it has been said
                return 1
            raise LsmonError(why)
        return _report(training.returncode, stopped, said, source.recording) or code


def _leave(end: int, _: object) -> None:
    sys.exit(128 + end)


def _watch(source: Source, training: subprocess.Popen[bytes], headless: bool) -> int:
    if headless:
        from .tail import follow

        return follow(source, stop=lambda: training.poll() is not None)
    from .show import watch

    return watch(source)


def _source(training: subprocess.Popen[bytes], said: IO[str]) -> Source | None:
    """The run of this very process, once its probe has written the session card.

    Raises LsmonError when the process ended before it came to that, or its probe says that it cannot.
    """
    for card in read_cards():
        if card.pid == training.pid and card.alive:
            return live(card)
    if training.poll() is not None:
        raise LsmonError("The training ended before its probe had started.")
    if why := _unseen(said):
        raise LsmonError(why)
    return None


def _unseen(said: IO[str]) -> str:
    """Why no viewer can find the training; empty where it has not said so."""
    # Not by way of the file: its position is also the one at which the training writes.
    lines = os.pread(said.fileno(), _MOST_SAID, 0).decode(errors="replace").splitlines()
    line = next((line for line in lines if line.startswith(_NOT_SEEN)), "")
    return line.removeprefix(_NOT_SEEN).removesuffix("; training goes on").strip()


def _stop(training: subprocess.Popen[bytes], over: bool) -> bool:
    """Ask a training that is not over to end, so that its recording gets an end too; True if it had to be asked."""
    try:
        training.wait(PATIENCE_SECS if over else 0)
        return False
    except subprocess.TimeoutExpired:
        pass
    training.send_signal(signal.SIGINT)
    try:
        training.wait(PATIENCE_SECS)
    except subprocess.TimeoutExpired:
        training.kill()
        training.wait()
    return True


def _report(code: int, stopped: bool, said: IO[str], recording: str) -> int:
    said.seek(0)
    lines = said.read().splitlines()
    if code and not stopped:
        raise LsmonError(
            f"The training failed with exit code {code}: {lines[-1] if lines else 'it said nothing'}"
        )
    if lines and not stopped:
        sys.stdout.write(lines[-1] + "\n")
    if stopped:
        sys.stdout.write("The training was stopped.\n")
    if recording:
        sys.stdout.write(f"Watch it again: lsmon replay {shlex.quote(recording)}\n")
    return 0
