"""Notes of the person who watches, kept beside the recordings: the run itself is not written to by those who look on."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from lsmon.protocol.clean import clean_line
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.errors import BadFrame, LsmonError
from lsmon.protocol.frames import Mark
from lsmon.protocol.places import state_dir

from .view import View

MOST_NOTES = 1000
_LARGEST = 1 << 20


class Notes:
    """The notes on one run after another: ``on`` gives a view with those up to its step among its marks."""

    def __init__(self) -> None:
        self._key = ""
        self._marks: tuple[Mark, ...] = ()
        self._made: tuple[View, View] | None = None

    def on(self, view: View) -> View:
        """The same object as long as nothing has changed."""
        key = _key(view)
        if key != self._key:
            self._key, self._marks, self._made = key, _read(key), None
        if self._made is None or self._made[0] is not view:
            seen = tuple(mark for mark in self._marks if mark.step <= view.step)
            self._made = view, replace(view, marks=(*view.marks, *seen)) if seen else view
        return self._made[1]

    def add(self, view: View, note: str, at: int | None = None) -> Mark:
        """At this step, else at the newest. Raises LsmonError when it cannot be kept."""
        self.on(view)
        newest = at is None or at == view.step
        mark = Mark(
            step=view.step if at is None else at,
            wall=view.wall if newest else 0.0,  # of another step it is not known here
            attempt=view.attempt,
            note=clean_line(note),
        )
        path = _path(self._key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
                file.write(encode(mark) + b"\n")
        except OSError as error:
            raise LsmonError(
                f"The note cannot be kept ({(error.strerror or str(error)).lower()}): {path}"
            ) from None
        self._marks, self._made = (*self._marks, mark)[-MOST_NOTES:], None
        return mark


def _key(view: View) -> str:
    header = view.header
    return re.sub(r"[^A-Za-z0-9._]+", "-", f"{header.run}-{header.name}")[:80].strip(".-")


def _path(key: str) -> Path:
    return state_dir() / "notes" / f"{key or 'unnamed'}.jsonl"


def _read(key: str) -> tuple[Mark, ...]:
    try:
        with _path(key).open("rb") as file:
            lines = file.read(_LARGEST).splitlines()
    except OSError:
        return ()
    marks = []
    for line in lines:
        try:
            frame = decode(line)
        except BadFrame:
            continue
        if isinstance(frame, Mark):
            marks.append(frame)
    return tuple(marks[-MOST_NOTES:])
