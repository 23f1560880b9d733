"""A terminal for benchmarks: a command runs in it, its keys are pressed, and every byte that it draws has its time."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")

# What a program asks a terminal, and what xterm answers: one that gets no answer waits for it, which is not its own
# slowness. Cursor position, device attributes, colours of ink and ground, synchronised output, keyboard protocol.
_ANSWERS = (
    (rb"\x1b\[6n", b"\x1b[1;1R"),
    (rb"\x1b\[0?c", b"\x1b[?62;22c"),
    (rb"\x1b\[>0?q", b"\x1bP>|XTerm(390)\x1b\\"),
    (rb"\x1b\]10;\?(?:\x07|\x1b\\)", b"\x1b]10;rgb:dddd/dddd/dddd\x1b\\"),
    (rb"\x1b\]11;\?(?:\x07|\x1b\\)", b"\x1b]11;rgb:1010/1414/1818\x1b\\"),
    (rb"\x1b\[\?2026\$p", b"\x1b[?2026;2$y"),
    (rb"\x1b\[\?2027\$p", b"\x1b[?2027;0$y"),
    (rb"\x1b\[\?2048\$p", b"\x1b[?2048;0$y"),
    (rb"\x1b\[\?u", b"\x1b[?0u"),
)  # fmt: skip
_QUESTIONS = re.compile(b"|".join(b"(" + question + b")" for question, _ in _ANSWERS))
_UPDATE = b"\x1b[?2026h"


class Terminal:
    """``cols`` by ``rows``, with a command in it that was started just now."""

    def __init__(
        self, command: Sequence[str], cols: int, rows: int, env: Mapping[str, str] | None = None
    ) -> None:
        self.started = time.perf_counter()
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, cols, 0, 0))
            setting = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
            os.execvpe(command[0], list(command), {**os.environ, **setting, **(env or {})})
        self.bytes = 0
        """Drawn so far."""
        self.updates = 0
        """Synchronised updates so far, which is a redraw each."""
        self._unanswered = b""
        self.alive = True

    def read(self, secs: float) -> bytes:
        """What is drawn within ``secs``, as soon as there is something; nothing when the command is gone."""
        if not self.alive or not select.select([self._fd], [], [], max(secs, 0.0))[0]:
            return b""
        try:
            data = os.read(self._fd, 1 << 16)
        except OSError:  # Linux says EIO when the other side has closed
            data = b""
        if not data:
            self.alive = False
            return b""
        self.bytes += len(data)
        self.updates += data.count(_UPDATE)
        self._answer(data)
        return data

    def read_until(self, seen: Callable[[bytes], bool], secs: float = 30.0) -> float | None:
        """Seconds since the start when all that was drawn since this call satisfies ``seen``; None when it never does."""
        data, until = b"", time.perf_counter() + secs
        while self.alive and (left := until - time.perf_counter()) > 0:
            data += self.read(left)
            if seen(data):
                return time.perf_counter() - self.started
        return None

    def watch(self, secs: float) -> None:
        """Lets it draw for this long."""
        until = time.perf_counter() + secs
        while self.alive and (left := until - time.perf_counter()) > 0:
            self.read(left)

    def press(self, keys: bytes) -> None:
        os.write(self._fd, keys)

    def cpu_secs(self) -> float:
        """CPU that the command and what it started have taken so far, in steps of the kernel's clock (10 ms)."""
        total = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except OSError:  # it ended while we looked
                continue
            if int(fields[3]) == self.pid:  # its session, which is led by the command
                total += sum(map(int, fields[11:15]))
        return total / TICKS

    def close(self) -> None:
        """Ends the command, and waits until it is gone."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                break
            until = time.perf_counter() + 5.0
            while time.perf_counter() < until:
                self.read(0.02)  # one that is drawing its farewell must not wait for us
                if os.waitpid(self.pid, os.WNOHANG)[0]:
                    os.close(self._fd)
                    return

    def _answer(self, data: bytes) -> None:
        data = self._unanswered + data
        end = 0
        for question in _QUESTIONS.finditer(data):
            assert question.lastindex is not None
            os.write(self._fd, _ANSWERS[question.lastindex - 1][1])
            end = question.end()
        self._unanswered = data[end:][-16:]
