"""A command that a carrier runs elsewhere: spoken to over its stdin, read without waiting, ended for certain."""

from __future__ import annotations

import os
import select
import subprocess
import time
from collections.abc import Sequence
from typing import NamedTuple

from ..clean import clean_line
from ..errors import Unreachable

PATIENCE_SECS = 0.5
"""An ssh whose stdin ends is over in 50 ms; one that hangs in the network is ended, then killed."""
READ_BYTES = 1 << 16
_STDERR_BYTES = 4096
ANSWER_BYTES = 8 << 20
"""Ten thousand runs, each with the course of its loss."""
LOOK_SECS = 0.2
"""Between looks at whether it has ended: what it leaves behind may hold its output open."""


def last_words(said: bytes) -> str:
    """The last line of what a carrier wrote to stderr, made safe to show; the far lsmon's own before others' chatter."""
    lines = [line.strip() for line in said.decode(errors="replace").splitlines()]
    ours = [line for line in lines if line.startswith("lsmon: ")]
    return clean_line(next((line for line in reversed(ours or lines) if line), ""), 200)


class Answer(NamedTuple):
    """What a command said that is over."""

    out: bytes
    code: int
    words: str


def answer(command: Sequence[str], secs: float) -> Answer:
    """Run a short command to its end. A connection that ssh leaves in the background does not hold us up.

    Raises Unreachable when it cannot be started, takes longer, or says more than a list of runs can be.
    """
    carried = Carried(command)
    until = time.monotonic() + secs
    said = b""
    try:
        while (data := carried.read()) != b"":
            said += data or b""
            if len(said) > ANSWER_BYTES:
                raise Unreachable("What ran there says more than lsmon would; check --remote-command.")
            if time.monotonic() > until:
                raise Unreachable(f"No answer within {secs:.0f} s.")
            if data is None:
                carried.wait(LOOK_SECS)
    except BaseException:
        carried.close(0.0)
        raise
    return Answer(said, carried.close(), carried.words)


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

    def wait(self, secs: float) -> None:
        """Until it says something, for so long at most."""
        select.select([self._out], [], [], secs)

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
