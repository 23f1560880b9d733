"""Where a value stands that a loss reaches: under a key of a dict or a list, or in the cell of a closure."""

from __future__ import annotations

from types import CellType
from typing import Any, NamedTuple

MISSING = object()
"""What stands where nothing does."""


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
