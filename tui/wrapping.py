"""Words over several lines."""

from __future__ import annotations

import re
import textwrap

from rich.cells import get_character_cell_size

_SECOND = "\ufdd0"
"""Stands for the second cell of a wide letter while lines are folded by counting letters; no text holds it."""


def wrapped(words: str, cols: int, most: int | None = None, placeholder: str = " …") -> list[str]:
    """Lines of at most ``cols`` cells, ``most`` of them; a number stays together with its groups and its per cent.

    >>> wrapped("Since step 4 501.", 12), wrapped("学習率を下げた", 9)
    (['Since step', '4 501.'], ['学習率を', '下げた'])
    """
    kept = re.sub(r"(?<=\d) (?=\d{3}(?!\d)|%)", "\u00a0", words)
    if not kept.isascii():
        wide = "".join(char + _SECOND * (get_character_cell_size(char) - 1) for char in kept)
        if _SECOND in wide:  # one cell less: a wide letter may be parted from its second one
            kept, cols = wide, max(cols - 1, 1)
    folded = textwrap.wrap(
        kept, cols, max_lines=None if most is None else max(most, 1), placeholder=placeholder
    )
    return [line.replace("\u00a0", " ").replace(_SECOND, "") for line in folded]
