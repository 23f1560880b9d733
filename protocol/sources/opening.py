"""Any path with a training's numbers, opened as a recording: ours as it is, another's written anew beside it."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadRecording
from ..recording.reader import Recording
from ..told import Told, untold


def open_path(path: Path, told: Told = untold) -> Recording:
    """The recording at this path, whoever wrote it. Raises BadRecording or NewerFormat, a plain sentence each.

    ``told`` hears how far it has come, where much has to be read.
    """
    path = Path(path)
    try:
        if path.suffix == ".mcap" or any(path.glob("*.mcap")):
            return Recording.open(path, told)
        from .imported import imported  # which takes as long to load as all that opens ours

        return imported(path, told) or Recording.open(path, told)
    except OSError as error:
        raise BadRecording(f"Cannot read this file ({error.strerror or error}): {path}") from None
