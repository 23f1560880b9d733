"""The screen as SVG: every program that draws it puts each letter into its cell, and fetches nothing for it."""

from __future__ import annotations

import html
import re
from typing import Any

from textual.app import App

from .widgets.canvas import cells

_TEXT = re.compile(r'(<text [^>]*?\bx=")([\d.]+)("[^>]*?\btextLength=")([\d.]+)("[^>]*>)([^<]*)</text>')
_FETCHED = re.compile(r',\s*url\("https?:[^)]*\)\s*format\("\w+"\)')
"""Fonts that Textual's picture loads from elsewhere: whoever opens one would tell so, and offline it waits."""


def svg_of(app: App[Any]) -> str:
    """Of what is on the screen now. Many programs leave out blanks at the ends of a text and draw the rest in their
    place, or take a wide letter for one cell: each text begins at its first letter and is as long as its cells."""
    return _TEXT.sub(_placed, _FETCHED.sub("", app.export_screenshot()))


def _placed(found: re.Match[str]) -> str:
    head, x, middle, length, end, content = found.groups()
    text = html.unescape(content)
    words = text.strip()
    if not words:
        return ""
    cell = float(length) / len(text)
    begin = float(x) + cell * (len(text) - len(text.lstrip()))
    escaped = html.escape(words).replace("\xa0", "&#160;")
    return f"{head}{begin:g}{middle}{cell * cells(words):g}{end}{escaped}</text>"
