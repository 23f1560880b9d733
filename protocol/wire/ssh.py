"""The user's own ssh, with its config, agent and jump hosts, running one command on another host."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from collections.abc import Sequence

from ..clean import clean_line
from ..errors import Unreachable, UsageError

_HOST = re.compile(r"[\w.@:%+\[\]-]{1,255}")
PATIENCE_SECS = 0.5
"""An ssh whose stdin ends is over in 50 ms; one that hangs in the network is ended, then killed."""
_STDERR_BYTES = 4096
MISSING = (126, 127)
"""Exit codes of a shell that did not find the command, or may not run it."""
BROKEN = (255, -9, -15, -13, -1)
"""Exit codes of ssh when the connection failed, or when somebody, we included, ended ssh itself."""
READ_BYTES = 1 << 16

OPTIONS = ("-T", "-e", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
"""No terminal and no escape character: eight clean bits. No prompts: they would be lost under the screen. And a host
that drops packets must not hold a person for two minutes."""


def ssh_command(host: str, *args: str, remote_command: Sequence[str] = ("lsmon",)) -> list[str]:
    """The command that runs ``remote_command args`` on ``host``; ``$LSMON_SSH`` stands in for ``ssh``.

    The far shell gets every word quoted. Raises UsageError when ``host`` could be taken for an option.
    """
    if host.startswith("-") or not _HOST.fullmatch(host):
        raise UsageError(f"Not the name of a host: {clean_line(host, 80)!r}.")
    ssh = shlex.split(os.environ.get("LSMON_SSH", "")) or ["ssh"]
    return [*ssh, *OPTIONS, "--", host, " ".join(map(_quoted, [*remote_command, *args]))]


def _quoted(word: str) -> str:
    """Quoted for a shell, save for a home folder in front: ``~/venv/bin/lsmon`` is how people say it."""
    return "~/" + shlex.quote(word[2:]) if word.startswith("~/") and len(word) > 2 else shlex.quote(word)


def failure(host: str, code: int, why: str) -> str:
    """The sentence for an ssh that ended with this exit code, and this as its last words."""
    if code in MISSING:
        return (
            f"lsmon is not installed there, or not on the PATH of a command over ssh; install it or pass "
            f"--remote-command with its full path; the host is {host}"
        )
    if code in BROKEN:
        return (
            f"Cannot connect ({why or 'ssh gave no reason'}); lsmon cannot ask for a password, so see that "
            f"`ssh -o BatchMode=yes {host} true` works"
        )
    if why:
        return f"{host} says: {why.removeprefix('lsmon: ')}"
    return f"What ran there is not lsmon (exit code {code}); check --remote-command; the host is {host}"


class Ssh:
    """A running ssh whose output is read without waiting. Raises Unreachable when it cannot be started."""

    def __init__(self, command: Sequence[str]) -> None:
        try:
            # In a session of its own it has no terminal to write on, and Ctrl-C is ours to handle.
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )  # fmt: skip
        except OSError as error:
            raise Unreachable(
                f"Cannot start {clean_line(command[0], 80)} ({(error.strerror or str(error)).lower()}); "
                "install an OpenSSH client, or set LSMON_SSH."
            ) from None
        assert self._process.stdout is not None and self._process.stderr is not None
        self._out, self._err = self._process.stdout, self._process.stderr
        os.set_blocking(self._out.fileno(), False)
        os.set_blocking(self._err.fileno(), False)
        self._said = b""

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def words(self) -> str:
        """The last line it wrote to stderr, made safe to show."""
        lines = [line.strip() for line in self._said.decode(errors="replace").splitlines()]
        return clean_line(next((line for line in reversed(lines) if line), ""), 200)

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

    def close(self, patience_secs: float = PATIENCE_SECS) -> int:
        """End it; its exit code, which is the far command's, or 255 when the connection failed."""
        with self._process as process:
            if process.stdin is not None:
                process.stdin.close()  # by which a relay knows that nobody listens
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
