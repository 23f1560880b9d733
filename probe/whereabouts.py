"""The line of the program that a thread is in: what a loop that does not go on is waiting for."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path
from types import FrameType

_PATHS = sysconfig.get_paths()
_LIBRARIES = (
    *(_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    str(Path(__file__).parent),
)


def whereabouts(thread: int) -> str:
    """``train.py:88 in evaluate, inside selectors.py:468 in select``: the innermost line of the program's own, and the
    innermost of all where that is a library's. Empty when the thread is gone."""
    inner = frame = sys._current_frames().get(thread)
    while frame is not None and _foreign(frame):
        frame = frame.f_back
    if inner is None:
        return ""
    if frame is None or frame is inner:
        return _line(inner)
    return f"{_line(frame)}, inside {_line(inner)}"


def _foreign(frame: FrameType) -> bool:
    """Of the standard library, of an installed package, or ours."""
    path = frame.f_code.co_filename
    return path.startswith((*_LIBRARIES, "<frozen")) or "-packages" in path


def _line(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
