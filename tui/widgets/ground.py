"""What lies under the widgets that are drawn: the screen, and what holds some of them.

Both are nothing but their colour. Of a widget that may have a border and content Textual draws every line, also under
what covers it, and of the last thousand such widgets it keeps the lines when they are gone (Textualize/textual#6665):
60 KB a screen of 120 columns that was opened.
"""

from __future__ import annotations

from textual.containers import Container
from textual.screen import Screen


class Ground(Screen[None]):
    BLANK = True


class Patch(Container):
    BLANK = True
