"""Where a value stands that a loss reaches: under a key of a dict or a list, in the cell of a closure, or as an attribute
of what has no dict to write to (a class, an object with slots)."""

from __future__ import annotations

from types import CellType
from typing import Any, NamedTuple

MISSING = object()
"""What stands where nothing does."""


class Attributes:
    """Those of a class or an object, by their names as keys."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self._of, name)
        except AttributeError as error:
            raise KeyError(name) from error

    def __setitem__(self, name: str, value: Any) -> None:
        (type if isinstance(self._of, type) else object).__setattr__(self._of, name, value)


class Place(NamedTuple):
    holder: Any
    key: Any = None

    def get(self) -> Any:
        try:
            return self.holder.cell_contents if isinstance(self.holder, CellType) else self.holder[self.key]
        except (KeyError, IndexError, ValueError):
            return MISSING

    def put(self, value: Any) -> None:
        if isinstance(self.holder, CellType):
            self.holder.cell_contents = value
        else:
            self.holder[self.key] = value
