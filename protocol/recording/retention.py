"""Which recordings may go, and taking them away: never one that may still be written, never a file that is not ours."""

from __future__ import annotations

import time
from collections.abc import Container
from pathlib import Path
from typing import NamedTuple

from ..errors import LsmonError
from ..process import is_alive
from .folder import is_ours, list_recordings, read_meta

SETTLED_SECS = 86400.0
"""A recording without an end that was written to within a day may belong to a training that cannot be seen from here:
on another machine of a shared disk, in another container, or waiting for a full disk."""


class Old(NamedTuple):
    """A recording that may go."""

    folder: Path
    bytes: int
    idle_secs: float
    """Since it was last written to."""


def old(root: Path, *, keep: int = 0, older_secs: float = 0.0, live: Container[str] = ()) -> list[Old]:
    """The recordings under ``root`` that are neither among the ``keep`` newest nor younger than ``older_secs``, the
    oldest last. A run that lives is left out, also when the name of its folder is among ``live``; so is a link to a recording."""
    now = time.time()
    found = []
    for folder in list_recordings(root)[keep:]:
        try:
            if folder.is_symlink() or folder.name in live:
                continue
            files = [path.lstat() for path in folder.iterdir() if is_ours(path)]
            idle = now - max(status.st_mtime for status in files)
        except (OSError, ValueError):
            continue  # gone meanwhile, or not to be looked into
        if idle >= older_secs and not _may_live(folder, idle):
            found.append(Old(folder, sum(status.st_size for status in files), idle))
    return found


def remove(folder: Path) -> bool:
    """Take the recording's own files away, and the folder if nothing else is in it; False when something is.

    Raises LsmonError when the disk does not allow it.
    """
    try:
        # The segments last: what is left of a removal that was interrupted is still seen as a recording.
        for path in sorted(filter(is_ours, folder.iterdir()), key=lambda path: path.name[:1].isdigit()):
            path.unlink(missing_ok=True)
        if any(folder.iterdir()):
            return False
        folder.rmdir()
    except OSError as error:
        raise LsmonError(f"Cannot remove ({(error.strerror or str(error)).lower()}): {folder}") from None
    return True


def _may_live(folder: Path, idle_secs: float) -> bool:
    meta = read_meta(folder)
    if meta is not None and meta.ended:
        return False
    header = meta.run if meta is not None else None
    if header is not None and is_alive(header.pid, header.boot, header.pid_started):
        return True
    return idle_secs < SETTLED_SECS
