"""A recorded run, by what a person calls it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import NoSuchRun, UsageError
from lsmon.protocol.places import recordings_dir
from lsmon.protocol.recording.folder import list_recordings, read_meta

MOST_NAMED = 5


@dataclass(frozen=True, slots=True)
class _Recorded:
    folder: Path
    name: str
    """Empty where the recording does not say; so is ``run``."""
    run: str
    pid: int

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in (self.name, self.run, self.folder.name) if name)

    @property
    def called(self) -> str:
        return f"{self.name} ({self.run[:8]})" if self.name else self.folder.name


def recorded_exactly(target: str) -> Path | None:
    """The newest recording whose name, id or folder is ``target``; None when there is none."""
    return next((each.folder for each in _all() if target in each.names), None)


def recorded(target: str) -> Path:
    """The same; else the newest whose pid it was, or of the one run whose name, id or folder begins with ``target``,
    or has it in its folder.

    Raises NoSuchRun when there is none, UsageError when runs of several names are meant.
    """
    every = _all()
    ways = (
        [each for each in every if target in each.names],
        [each for each in every if each.pid and target == str(each.pid)][:1],  # pids come again
        [each for each in every if any(name.startswith(target) for name in each.names)],
        [each for each in every if target in each.folder.name],
    )
    found = next((way for way in ways if way), [])
    if not found:
        raise NoSuchRun(
            f"No run, live or recorded, and no file is called {clean_line(target, 80)!r}; `lsmon ls` lists what there is."
        )
    # Of one name the newest is meant, as by the whole name.
    if found is not ways[0] and len({each.name or each.folder.name for each in found}) > 1:
        named = ", ".join(each.called for each in found[:MOST_NAMED])
        more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
        raise UsageError(
            f"Several runs begin with {clean_line(target, 80)!r}, name one of them: {named}{more}."
        )
    return found[0].folder


def _all() -> list[_Recorded]:
    """The newest first."""
    found = []
    for folder in list_recordings(recordings_dir()):
        meta = read_meta(folder)
        header = meta.run if meta is not None else None
        found.append(
            _Recorded(folder, header.name, header.run, header.pid) if header else _Recorded(folder, "", "", 0)
        )
    return found
