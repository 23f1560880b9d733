"""A terminal that goes away ends the viewer, whether anybody tells it or not, and whether it is drawing or not."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lsmon.tui.outlet import Outlet
from tests.bench.story import frames
from tests.recorded import record

PAINTED = b"\x1b[?2026l"
"""The end of an update: a whole frame was drawn."""


def resize(terminal: int, cols: int, rows: int) -> None:
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))


def await_drawn(terminal: int, wanted: bytes) -> None:
    data = b""
    while wanted not in data:
        data += os.read(terminal, 1 << 16)


@contextmanager
def viewer(folder: Path, cols: int, rows: int) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """A viewer that leads no terminal, so that no SIGHUP comes, and the other end of its terminal."""
    terminal, inside = pty.openpty()
    resize(terminal, cols, rows)
    process = subprocess.Popen(
        [sys.executable, "-m", "lsmon.tui", "replay", str(record(folder, frames(3000)))],
        stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        env={**os.environ, "LSMON_DIR": str(folder / "state"), "TERM": "xterm-256color"},
    )  # fmt: skip
    os.close(inside)
    try:
        os.write(terminal, b"\x1b[?2026;2$y")  # the answer to what it asks: here updates come in one go
        await_drawn(terminal, PAINTED)
        yield process, terminal
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("keys", [b"", b" "], ids=["playing", "still"])
def test_a_viewer_ends_when_its_terminal_goes_away_without_a_word(tmp_path: Path, keys: bytes) -> None:
    """It waited for ever for a thread that the dead terminal had ended, and took no signal."""
    with viewer(tmp_path, 120, 36) as (process, terminal):
        os.write(terminal, keys)
        os.close(terminal)
        assert process.wait() == 128 + signal.SIGHUP


def test_a_terminal_that_does_not_know_its_size_is_drawn_on(tmp_path: Path) -> None:
    """It was laid out for two sizes in turn, for ever, and took no key."""
    with viewer(tmp_path, 0, 0) as (process, terminal):
        os.write(terminal, b"q")
        await_drawn(terminal, b"\x1b[?1049l")
        assert process.wait() == 0
        os.close(terminal)


class Full(io.StringIO):
    """Takes nothing without a wait."""

    def __init__(self, fd: int) -> None:
        super().__init__()
        self._fd = fd

    def write(self, text: str) -> int:
        raise BlockingIOError

    def fileno(self) -> int:
        return self._fd


def test_a_terminal_that_another_program_made_not_wait_waits_again() -> None:
    """ssh does that to the terminal it shares; it is not gone."""
    reads, writes = os.pipe()
    os.set_blocking(writes, False)
    outlet = Outlet(Full(writes))
    outlet.write("x")
    assert os.get_blocking(writes) and not outlet.gone and not outlet.look()
    os.close(reads)
    os.close(writes)
