"""The folder of a recording: its name, its files, and the page that says whose it is without opening them."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from itertools import chain, count
from pathlib import Path

import msgspec

from ..codec import decode, encode
from ..errors import BadFrame
from ..frames import RunStarted
from ..places import make_private

META = "meta.json"
OVERVIEW = "overview.mcap"
_META_SIZE = 1 << 20
"""Bytes. Ours are below 10 KB; a larger page is not ours and is not read."""
_STAMP = len("YYYYmmdd-HHMMSS")
_SEGMENT = re.compile(r"\d{3,6}\.mcap")
_OVERVIEW = re.compile(r"overview(-\d{3,6})?\.mcap")
_META = re.compile(rf"{re.escape(META)}|\.{re.escape(META)}\.\d+")
"""And the draft that a kill leaves while the page is written anew."""


class Meta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``meta.json``: enough to list a recording. A convenience; the segments are the truth."""

    header: msgspec.Raw
    frames: int = 0
    """Numbered frames recorded, known once the recorder was closed."""
    last_step: int = 0
    ended: str = ""
    """"finished", "error: ..." or "" while it runs and when it ended early."""
    seconds: float = 0.0
    """From the first to the last frame."""

    @property
    def run(self) -> RunStarted | None:
        """The header, cleaned; None when it cannot be read."""
        try:
            frame = decode(bytes(self.header))
        except BadFrame:
            return None
        return frame if isinstance(frame, RunStarted) else None


def new_folder(root: Path, header: RunStarted) -> Path:
    """A name, not taken yet, for a folder ``root/<YYYYmmdd-HHMMSS>-<name>-<run>``; the recorder makes it."""
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(header.wall))
    stem = f"{stamp}-{_safe(header.name, 'run')}-{_safe(header.run, str(os.getpid()))}"
    names = chain([stem], (f"{stem}-{again}" for again in count(1)))
    return next(folder for name in names if not os.path.lexists(folder := root / name))


def make_folder(folder: Path) -> None:
    """Makes it and the one above, which only their owner can enter. Raises OSError."""
    make_private(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def list_recordings(root: Path) -> list[Path]:
    """The recordings under this folder, the newest first."""
    try:
        found = [path for path in root.iterdir() if is_recording(path)]
    except OSError:
        return []
    stamps = Counter(path.name[:_STAMP] for path in found)

    def age(path: Path) -> tuple[str, float, str]:
        stamp = path.name[:_STAMP]
        meta = read_meta(path) if stamps[stamp] > 1 else None  # the name has seconds, the header is finer
        header = meta.run if meta is not None else None
        return stamp, header.wall if header is not None else 0.0, path.name

    return sorted(found, key=age, reverse=True)


def is_recording(path: Path) -> bool:
    """Whether this is a folder with at least one segment in it."""
    try:
        return path.is_dir() and any(_SEGMENT.fullmatch(child.name) for child in path.iterdir())
    except OSError:
        return False


def is_ours(path: Path) -> bool:
    """Whether this is a file, named like one that a recorder writes."""
    named = any(pattern.fullmatch(path.name) for pattern in (_SEGMENT, _OVERVIEW, _META))
    return named and path.is_file() and not path.is_symlink()


def is_overview(path: Path) -> bool:
    """Whether it is named like the overview of a recording."""
    return _OVERVIEW.fullmatch(path.name) is not None


def segment_path(folder: Path, number: int) -> Path:
    return folder / f"{number:03d}.mcap"


def overview_path(folder: Path, number: int) -> Path:
    """The overview that begins beside segment ``number``: there is a second one only after a full disk."""
    return folder / (f"overview-{number:03d}.mcap" if number else OVERVIEW)


def segments(folder: Path) -> list[Path]:
    """In the order they were written."""
    found = [path for path in folder.iterdir() if _SEGMENT.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem))


def last_written(folder: Path) -> float | None:
    """Unix time at which the recording last grew, which it does twice a second while its training lives; None when
    there is none."""
    try:
        return max((path.stat().st_mtime for path in segments(folder)), default=None)
    except OSError:
        return None


def overviews(folder: Path) -> list[Path]:
    """In the order they were written."""
    found = [path for path in folder.iterdir() if _OVERVIEW.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.stem.partition("-")[2] or 0))


def write_meta(
    folder: Path,
    header: RunStarted,
    *,
    frames: int = 0,
    last_step: int = 0,
    ended: str = "",
    seconds: float = 0.0,
) -> None:
    """Replaces ``meta.json`` in one move, so that nobody reads half of it. Raises OSError."""
    meta = Meta(
        header=msgspec.Raw(encode(header)), frames=frames, last_step=last_step, ended=ended, seconds=seconds
    )
    draft = folder / f".{META}.{os.getpid()}"
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(msgspec.json.encode(meta))
        draft.replace(folder / META)
    except OSError:
        draft.unlink(missing_ok=True)
        raise


def read_meta(folder: Path) -> Meta | None:
    """The page of this recording, or None when there is none that can be read."""
    try:
        with (folder / META).open("rb") as file:
            return msgspec.json.decode(file.read(_META_SIZE), type=Meta)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _safe(text: str, instead: str) -> str:
    """At most 40 letters that every file system, shell and ssh take as they are."""
    return re.sub(r"[^A-Za-z0-9._]+", "-", text)[:40].strip("-.") or instead
