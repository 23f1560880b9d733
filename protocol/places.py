"""Where things lie: recordings and session cards in the state folder, sockets in one that only their owner can enter."""

from __future__ import annotations

import os
import stat
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

from .errors import LsmonError

PATH_BYTES = 103 if sys.platform == "darwin" else 107
"""Longest path of a unix socket (sun_path, less the final zero)."""

SOCKET_NAME_BYTES = 1 + 16 + 5
"""Room that a socket's own name needs below the folder: a slash, a run id (ours have 8 characters), ".live"."""

_NETWORK = {"nfs", "nfs4", "lustre", "cifs", "smb3", "fuse.sshfs", "gpfs", "beegfs", "ceph", "9p"}


def state_dir() -> Path:
    """``$LSMON_DIR``, else the user's state folder."""
    if given := os.environ.get("LSMON_DIR"):
        return _absolute(given)
    from platformdirs import user_state_path

    return user_state_path("lsmon")


@lru_cache
def _absolute(given: str) -> Path:
    """A relative one is meant from where the process was at first: a loop may change its folder meanwhile."""
    return Path(given).expanduser().absolute()


def recordings_dir() -> Path:
    return state_dir() / "recordings"


def cards_dir() -> Path:
    return state_dir() / "runs"


def runtime_dir() -> Path:
    """An existing folder of mode 0700 for sockets, whose path leaves room for their names.

    ``$LSMON_RUNTIME_DIR``; else ``sockets`` in the state folder, when that is on a local disk; else a folder in the
    temporary one. Not ``$XDG_RUNTIME_DIR``: it is removed at the last logout, while training goes on.
    Raises LsmonError when none of them will do.
    """
    if given := os.environ.get("LSMON_RUNTIME_DIR"):
        folder = _absolute(given)
        if not _fits(folder):
            raise LsmonError(
                f"A socket's path holds {PATH_BYTES} bytes; set LSMON_RUNTIME_DIR to a shorter path than {folder}"
            )
        return private(folder)
    choices = [state_dir() / "sockets", Path(tempfile.gettempdir()) / f"lsmon-{os.getuid()}"]
    trouble = ""
    for folder in choices:
        if not _fits(folder) or _on_network(folder):
            continue
        try:
            return private(folder)
        except LsmonError as error:
            trouble = str(error)
    raise LsmonError(
        trouble or "No local folder with a short path for sockets; set LSMON_RUNTIME_DIR to one."
    )


def _fits(folder: Path) -> bool:
    return len(os.fsencode(folder)) + SOCKET_NAME_BYTES <= PATH_BYTES


def make_private(folder: Path) -> None:
    """Make a folder that only its owner can enter, and the state folder above it if that is missing. Raises OSError."""
    if folder.is_relative_to(state_dir()):
        state_dir().mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def private(folder: Path) -> Path:
    """Make the folder, or see that it is ours alone: in a shared one somebody else may have made it first.

    Raises LsmonError when it is not.
    """
    try:
        make_private(folder)
        found = folder.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise LsmonError(
                f"The folder for sockets belongs to somebody else; set LSMON_RUNTIME_DIR instead of {folder}"
            )
        if found.st_mode & 0o777 != 0o700:
            folder.chmod(0o700)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise LsmonError(
            f"Cannot make a folder for sockets ({reason}); set LSMON_RUNTIME_DIR to one that can be written to, "
            f"instead of {folder}"
        ) from None
    return folder


def _on_network(folder: Path) -> bool:
    """Unix sockets on a network disk cannot be connected to, or only from the machine that made them."""
    try:
        mounts = Path("/proc/self/mounts").read_text().splitlines()
    except OSError:
        return False
    kinds = {fields[1]: fields[2] for line in mounts if len(fields := line.split()) > 2}
    home = next((str(path) for path in (folder, *folder.parents) if str(path) in kinds), "/")
    return kinds.get(home, "") in _NETWORK
