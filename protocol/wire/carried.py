"""A command that a carrier runs elsewhere: spoken to over its stdin, read without waiting, ended for certain."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from ..clean import clean_line
from ..errors import Unreachable

PATIENCE_SECS = 0.5
"""An ssh whose stdin ends is over in 50 ms; one that hangs in the network is ended, then killed."""
READ_BYTES = 1 << 16
_STDERR_BYTES = 4096


def last_words(said: bytes) -> str:
    """The last line of what a carrier wrote to stderr, made safe to show; the far lsmon's own before others' chatter."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    ours = [line for line in lines if line.startswith("lsmon: ")]
    return clean_line(next((line for line in reversed(ours or lines) if line), ""), 200)


class Carried:
    """The running command. Raises Unreachable when it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            # In a session of its own it has no terminal to write on, and Ctrl-C is ours to handle.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )  # fmt: skip
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise Unreachable(
                f"Cannot start {clean_line(command[0], 80)} ({reason.lower()}); "
                "install an OpenSSH client, set LSMON_SSH, or mend --via."
            ) from None
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None and stdout is not None and stderr is not None
        self._in, self._out, self._err = stdin, stdout, stderr
        for pipe in (stdin, stdout, stderr):
            os.set_blocking(pipe.fileno(), False)
        self._said = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def words(self) -> str:
        return last_words(self._said)

    def read(self) -> bytes | None:
        """What it has written; None when that is nothing yet, ``b""`` when there will be no more."""
        self._listen()
        ended = (
            self._process.poll() is not None
        )  # before reading: what it leaves behind may hold the pipe open
        try:
            return os.read(self._out.fileno(), READ_BYTES)
        except BlockingIOError:
            return b"" if ended else None

    def tell(self, line: bytes) -> bool:
        """Write a short line to its stdin; whether it was taken, whole as a pipe takes what is short."""
        try:
            os.write(self._in.fileno(), line)
        except OSError:  # full, or nobody there
            return False
        return True

    def close(self, patience_secs: float = PATIENCE_SECS) -> int:
        """End it; its exit code, which is the far command's, or the carrier's own when it failed."""
        with self._process as process:
            self._in.close()  # by which a relay knows that nobody listens
            for end in (process.terminate, process.kill):
                try:
                    process.wait(patience_secs)
                    break
                except subprocess.TimeoutExpired:
                    end()
            self._listen()
        return process.returncode

    def _listen(self) -> None:
        try:
            while data := os.read(self._err.fileno(), READ_BYTES):
                self._said = (self._said + data)[-_STDERR_BYTES:]
        except BlockingIOError:
            pass
