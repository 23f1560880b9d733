"""Any path with a training's numbers, opened as a recording: ours as it is, another's written anew beside it."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadRecording
from ..recording.reader import Recording


def open_path(path: Path) -> Recording:
    """The recording at this path, whoever wrote it. Raises BadRecording or NewerFormat, a plain sentence each."""
    path = Path(path)
    try:
        if path.suffix == ".mcap" or any(path.glob("*.mcap")):
            return Recording.open(path)
        from .imported import imported  # which takes as long to load as all that opens ours

        return imported(path) or Recording.open(path)
    except OSError as error:
        raise BadRecording(f"Cannot read this file ({error.strerror or error}): {path}") from None
