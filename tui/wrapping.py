"""Words over several lines."""

from __future__ import annotations

import re
import textwrap


def wrapped(words: str, cols: int, most: int | None = None, placeholder: str = " …") -> list[str]:
    """Lines of at most ``cols`` characters, ``most`` of them; a number stays together with its groups and its per cent.

    >>> wrapped("Since step 4 501.", 12)
    ['Since step', '4 501.']
    """
    kept = re.sub(r"(?<=\d) (?=\d{3}(?!\d)|%)", "\u00a0", words)
    folded = textwrap.wrap(
        kept, cols, max_lines=None if most is None else max(most, 1), placeholder=placeholder
    )
    return [line.replace("\u00a0", " ") for line in folded]
