"""Text from outside, made safe to show.

Terminals obey escape codes wherever they come from, and no widget of Textual removes them, so every string that
enters (wire, file, host name, ssh's stderr, exception) passes through here once, at the door.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

NAME_LENGTH = 128
MESSAGE_LENGTH = 4096

# C0, DEL and C1 drive terminals (ECMA-48); the bidi controls reorder what a person reads (CVE-2021-42574).
_CONTROLS = (*range(0x20), *range(0x7F, 0xA0))
_BIDI = (*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F)
_OTHERS = (
    0x2028,
    0x2029,
    0xFEFF,
    *range(0xD800, 0xE000),
)  # line separators, byte order mark, lone surrogates
_MARK = "␦"
_LINE_TABLE = dict.fromkeys((*_CONTROLS, *_BIDI, *_OTHERS), _MARK)
_MESSAGE_TABLE = {**_LINE_TABLE, ord("\n"): "\n", ord("\t"): " "}


def clean_line(text: str, length: int = MESSAGE_LENGTH) -> str:
    """One line without a control character; ``␦`` stands where one was.

    >>> clean_line("run\\x1b]52;c;AAAA\\x07")
    'run␦]52;c;AAAA␦'
    """
    return _cap(unicodedata.normalize("NFC", text[: length * 4]).translate(_LINE_TABLE), length)


def clean_name(text: str) -> str:
    """One line of at most 128 characters: names of runs, hosts and quantities."""
    return _known_name(text) if len(text) <= NAME_LENGTH else clean_line(text, NAME_LENGTH)


@lru_cache(maxsize=4096)
def _known_name(text: str) -> str:
    """The same few come with every frame. Longer ones are not kept: 4096 of a frame's length would be 4 GB."""
    return clean_line(text, NAME_LENGTH)


def clean_message(text: str) -> str:
    """Lines kept, at most 4096 characters, no other control character."""
    return _cap(
        unicodedata.normalize("NFC", text[: MESSAGE_LENGTH * 4]).translate(_MESSAGE_TABLE), MESSAGE_LENGTH
    )


def _cap(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
