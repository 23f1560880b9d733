"""Whole numbers in words, as a person reads them."""

from __future__ import annotations


def grouped(value: int) -> str:
    """An integer in groups of three.

    >>> grouped(41200), grouped(-999)
    ('41 200', '−999')
    """
    return f"{value:,}".replace(",", " ").replace("-", "−")


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "frame"), counted(1200, "frame")
    ('1 frame', '1 200 frames')
    """
    return f"{grouped(count)} {noun}" + ("" if count == 1 else "s")
