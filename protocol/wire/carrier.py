"""How a command is run elsewhere: by the user's own ssh, with its config, agent and jump hosts, or by whatever else
carries stdin and stdout (``srun --jobid 7 --overlap``, ``kubectl exec -i pod --``, ``docker exec -i box``).
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from ..clean import clean_line
from ..errors import UsageError

_HOST = re.compile(r"(ssh://)?[\w.@:%+\[\]-]{1,255}")
MISSING = (126, 127)
"""Exit codes of a shell that did not find the command, or may not run it."""
BROKEN = (255, -9, -15, -13, -1)
"""Exit codes of ssh when the connection failed, or when somebody, we included, ended ssh itself."""

OPTIONS = ("-T", "-e", "none", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")
"""No terminal and no escape character: eight clean bits. No prompts: they would be lost under the screen. And a host
that drops packets must not hold a person for two minutes."""
ALONE = ("-o", "ControlPath=none")
"""Not over the user's ControlMaster: after a change of network that one is dead, and does not know it for minutes."""

LAUNCHER = (
    'command -v lsmon >/dev/null 2>&1 && exec lsmon "$@"; '
    '[ -x ~/.local/bin/lsmon ] && exec ~/.local/bin/lsmon "$@"; '
    "state=${LSMON_DIR:-${XDG_STATE_HOME:-$HOME/.local/state}/lsmon}; "
    '[ -O "$state/python" ] && trained=$(head -n 1 "$state/python"); '
    'for python in "$trained" python3 python; do '
    'command -v "$python" >/dev/null 2>&1 && "$python" -c "import lsmon.tui" </dev/null >/dev/null 2>&1 '
    '&& exec "$python" -m lsmon.tui "$@"; done; exit 127'
)
"""The shell of a command over ssh reads no profile, so that PATH often lacks what a person has. Then the Python that
trained last, whose path lies beside the session cards, has lsmon for certain; a file that is not one's own is not believed. One line, and POSIX
but for -O, which every sh has."""


@dataclass(frozen=True, slots=True)
class Carrier:
    """Runs lsmon somewhere. ``name`` is what people call that place."""

    name: str
    prefix: tuple[str, ...]
    """Words before the command that is run there."""
    remote_command: tuple[str, ...] = ()
    """How lsmon is called there; empty when that is to be found out."""
    over_ssh: bool = False
    """ssh hands its words to a shell, which must get them quoted; other carriers hand on the words themselves."""

    def command(self, *args: str, alone: bool = False) -> list[str]:
        """The words that run ``lsmon args`` there; ``alone``: over a connection of its own."""
        words = [*(self.remote_command or ("sh", "-c", LAUNCHER, "lsmon")), *args]
        if not self.over_ssh:
            return [*self.prefix, *words]
        return [*self.prefix, *(ALONE if alone else ()), "--", self.name, " ".join(map(_quoted, words))]

    def failure(self, code: int, why: str) -> str:
        """The sentence for one that ended with this exit code before lsmon spoke, and this as its last words."""
        spoke = why.startswith("lsmon: ")
        if code in MISSING and not spoke:
            said = f" ({why})" if why else ""
            return (
                f"lsmon is not installed there, or not where a plain command finds it{said}; install it there, or "
                f"pass --remote-command with its full path; the place is {self.name}"
            )
        if self.over_ssh and code in BROKEN:
            return (
                f"Cannot connect ({why or 'ssh gave no reason'}); lsmon cannot ask for a password, so see that "
                f"`ssh -o BatchMode=yes {self.name} true` works"
            )
        if spoke and "nrecognized arguments" in why:
            return f"The lsmon there is an older one than this; update it there; the place is {self.name}"
        if why:
            return f"{self.name} says: {why.removeprefix('lsmon: ')}"
        return f"What ran there is not lsmon (exit code {code}); check --remote-command; the place is {self.name}"

    def is_broken(self, code: int, why: str) -> bool:
        """Whether the connection failed, rather than lsmon at its other end."""
        return code in BROKEN if self.over_ssh else not why.startswith("lsmon: ")


def ssh(host: str, remote_command: Sequence[str] = ()) -> Carrier:
    """The user's ssh to ``host``, which may be ``user@host`` or ``ssh://user@host:port``; ``$LSMON_SSH`` stands in for
    ``ssh``. Raises UsageError when ``host`` could be taken for an option.
    """
    if host.startswith("-") or not _HOST.fullmatch(host):
        raise UsageError(f"Not the name of a host: {clean_line(host, 80)!r}.")
    return Carrier(host, (*_ssh(), *OPTIONS), tuple(remote_command), over_ssh=True)


def via(prefix: str, remote_command: Sequence[str] = ()) -> Carrier:
    """Any command that runs the words after it elsewhere. Raises UsageError for what is no command line."""
    words = tuple(split(prefix, "--via"))
    if not words:
        raise UsageError("--via is empty; give it a command such as 'kubectl exec -i pod --'.")
    return Carrier(clean_line(prefix, 80), words, tuple(remote_command))


def split(words: str, option: str) -> list[str]:
    """Words as a shell would see them. Raises UsageError when a quotation is open."""
    try:
        return shlex.split(words)
    except ValueError as error:
        raise UsageError(f"{option} cannot be read ({str(error).lower()}): {clean_line(words, 80)}") from None


def known_to_ssh(word: str) -> bool:
    """Whether the user's ssh config has another address for ``word``: it is a host then, though nobody said so."""
    import subprocess

    if word.startswith("-") or not _HOST.fullmatch(word) or _is_number(word):
        return False
    try:
        asked = subprocess.run(
            [*_ssh(), "-G", "--", word], stdin=subprocess.DEVNULL, capture_output=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(rb"^hostname (.+)$", asked.stdout, re.MULTILINE)
    return found is not None and found[1].decode(errors="replace") != word.rpartition("@")[2].lower()


def _is_number(word: str) -> bool:
    """To ssh 6692 is 0.0.26.36; to us it is the pid of a run that is over."""
    import socket

    try:
        socket.inet_aton(word)
    except OSError:
        return False
    return True


def _ssh() -> list[str]:
    return split(os.environ.get("LSMON_SSH", ""), "LSMON_SSH") or ["ssh"]


def _quoted(word: str) -> str:
    """Quoted for a shell, save for a home folder in front: ``~/venv/bin/lsmon`` is how people say it."""
    return "~/" + shlex.quote(word[2:]) if word.startswith("~/") and len(word) > 2 else shlex.quote(word)
