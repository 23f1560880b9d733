"""Cells to draw on, and what changed since the last drawing: plain lists, so that the first paint loads no numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import groupby

from rich.cells import get_character_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region
from textual.strip import Strip

from ..wrapping import wrapped


class Canvas:
    """``rows`` by ``cols`` cells, each one character and the name of an ink."""

    def __init__(self, cols: int, rows: int, *, ascii_only: bool = False) -> None:
        self.cols, self.rows, self.ascii_only = cols, rows, ascii_only
        self.text = [[" "] * cols for _ in range(rows)]
        self.inks = [["ink"] * cols for _ in range(rows)]

    def put(self, x: int, y: int, text: str, ink: str = "ink", *, end: int | None = None) -> int:
        """Write one line from ``x``, cut with ``…`` before ``end``; gives the column after it."""
        if not 0 <= y < self.rows:
            return x
        if self.ascii_only:
            text = plain(text)
        end = self.cols if end is None else min(end, self.cols)
        if x < 0 or x >= end:
            return x
        if cells(text) > end - x:
            text = fit(text, end - x, "~" if self.ascii_only else "…")
        row, inks = self.text[y], self.inks[y]
        if text.isascii():
            row[x : x + len(text)] = text
            inks[x : x + len(text)] = [ink] * len(text)
            return x + len(text)
        for char in text:
            width = get_character_cell_size(char)
            if width == 0:  # a combining sign or joiner has no cell of its own, and terminals differ on it
                continue
            row[x], inks[x] = char, ink
            if width == 2:
                row[x + 1], inks[x + 1] = "", ink
            x += width
        return x

    def centre(self, words: str, ink: str = "dim") -> None:
        """Words in the middle, over as many lines as they need."""
        lines = wrapped(words, max(min(self.cols - 2, 44), 8), max(self.rows, 1))
        for y, line in enumerate(lines, start=(self.rows - len(lines)) // 2):
            self.put(max((self.cols - cells(line)) // 2, 0), y, line, ink)

    def labels(self, y: int, left: int, labels: Iterable[tuple[int, str]]) -> None:
        """Each about its column, between ``left`` and the end; one that would touch the one before is left out."""
        free = left
        for column, label in labels:
            x = min(max(column - len(label) // 2, left), self.cols - len(label))
            if x >= free:
                free = self.put(x, y, label, "faint") + 2

    def strip(self, y: int, style: Callable[[str], Style]) -> Strip:
        """A row as Textual draws it, runs of one ink joined."""
        row, segments, x = self.text[y], [], 0
        for ink, run in groupby(self.inks[y]):
            width = len(list(run))
            segments.append(Segment("".join(row[x : x + width]), style(ink)))
            x += width
        return Strip(segments, self.cols)

    def changes(self, before: Canvas) -> list[Region]:
        """The parts of rows that differ from another canvas of the same size."""
        regions = []
        for y in range(self.rows):
            row, inks, old, old_inks = self.text[y], self.inks[y], before.text[y], before.inks[y]
            if row == old and inks == old_inks:
                continue
            differ = [x for x in range(self.cols) if row[x] != old[x] or inks[x] != old_inks[x]]
            # From a cell left of the change, so that a wide character is never cut in half.
            first = max(differ[0] - 1, 0)
            regions.append(Region(first, y, min(differ[-1] + 2, self.cols) - first, 1))
        return regions


_PLAIN = str.maketrans(
    {
        "−": "-",
        "±": "+-",
        "≥": ">=",
        "λ": "lambda",
        "×": "x",
        "…": "~",
        "·": "|",
        "–": "-",
        "∞": "inf",
        "η": "lr",
        "→": "->",
        "←": "<-",
        "↑": "up",
        "↓": "down",
        "½": "1/2",
        "²": "^2",
        "\u0302": "^",
        "ĝ": "g",
        "û": "u",
        "ᵀ": "^T",
        "α": "alpha",
        "δ": "delta",
        "ε": "eps",
        "θ": "theta",
        "τ": "tau",
        "Δ": "d",
        "Σ": "sum",
        "∇": "grad ",
        "∝": "~",
    }
)


def plain(text: str) -> str:
    """In ASCII: our own signs spelled out, ``?`` for any other.

    >>> plain("ηλ_max ≥ 1.5")
    'lr lambda_max >= 1.5'
    """
    if text.isascii():
        return text
    return text.replace("ηλ", "η λ").translate(_PLAIN).encode("ascii", "replace").decode()


def cells(text: str) -> int:
    """The width of a text as a Canvas draws it: character by character."""
    return len(text) if text.isascii() else sum(map(get_character_cell_size, text))


def cut(text: str, room: int, end: str = "…", *, clauses: bool = True) -> str:
    """As ``fit``, but between two words where there are several, since half of a number would be another number, and
    rather between two ``clauses`` where that keeps most of it and every number.

    >>> cut("9 014 frames lost near step 34 000", 27)
    '9 014 frames lost near…'
    >>> cut("16 of 512 examples, to keep to the budget", 36)
    '16 of 512 examples…'
    >>> cut("4 of 512 examples, ≤ 30% high; not yet checked", 36)
    '4 of 512 examples, ≤ 30% high…'
    """
    kept = fit(text, room, end)
    words, space, _ = kept.rpartition(" ")
    if kept == text or not space or not words.strip():
        return kept
    clause = max(words.rfind(mark) for mark in (", ", "; ", ": "))
    whole = clauses and 2 * clause > len(words) and not any(map(str.isdigit, words[clause:]))
    return words[: clause if whole else None].rstrip(" ,;:") + end


def fit(text: str, room: int, end: str = "…") -> str:
    """At most ``room`` cells; the last is ``end`` when something was cut off."""
    if cells(text) <= room:
        return text
    kept, width = [], 0
    for char in text:
        width += get_character_cell_size(char)
        if width > room - 1:
            break
        kept.append(char)
    return "".join(kept) + (end if room > 0 else "")
