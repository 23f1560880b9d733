"""Colours: Okabe and Ito's set, told apart by every kind of colour vision, on a quiet ground."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from rich.style import Style
from textual.theme import BUILTIN_THEMES, Theme

from lsmon.protocol.clean import clean_line


@dataclass(frozen=True, slots=True)
class Palette:
    """The inks that the panels draw with."""

    ground: str
    ink: str
    dim: str
    faint: str
    """Axis labels and headings: read, but last."""
    rule: str
    """Frames and lines, of which nothing is read."""
    focus: str
    curves: tuple[str, ...]
    info: str
    warning: str
    critical: str
    good: str
    styles: dict[str, Style] = field(default_factory=dict, compare=False)

    def style(self, ink: str) -> Style:
        """The Style of an ink: a field's name, ``curve0``, ``soft curve0`` (half-way into the ground), ``bold ink``."""
        style = self.styles.get(ink)
        if style is None:
            name = ink.removeprefix("bold ").removeprefix("soft ")
            if name.startswith("curve"):
                colour = self.curves[int(name[5:]) % len(self.curves)]
            else:
                colour = getattr(self, name)
            if ink.startswith("soft "):
                colour = _mix(colour, self.ground, 0.5)
            style = Style(color=colour, bgcolor=self.ground, bold=ink.startswith("bold "))
            self.styles[ink] = style
        return style


def _mix(colour: str, ground: str, share: float) -> str:
    pairs = [(int(colour[i : i + 2], 16), int(ground[i : i + 2], 16)) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(a * share + b * (1 - share)):02x}" for a, b in pairs)


def _palette(
    ground: str,
    ink: str,
    curves: tuple[str, ...],
    severities: tuple[str, str, str, str],
    *,
    dim: float = 0.7,
    faint: float = 0.54,
    rule: float = 0.36,
) -> Palette:
    """``dim``, ``faint`` and ``rule`` as shares of the ink in the ground."""
    info, warning, critical, good = severities
    return Palette(
        ground=ground, ink=ink, dim=_mix(ink, ground, dim), faint=_mix(ink, ground, faint),
        rule=_mix(ink, ground, rule), focus=_mix(ink, ground, 0.8), curves=curves,
        info=info, warning=warning, critical=critical, good=good,
    )  # fmt: skip


DARK = _palette(
    "#101418", "#dbe2ea",
    ("#56b4e9", "#e69f00", "#3fbf9b", "#cc79a7", "#d9cf55", "#e0703a"),
    ("#56b4e9", "#e69f00", "#ef6f3c", "#3fbf9b"),
)  # fmt: skip
LIGHT = _palette(
    "#fbfaf7", "#1d252d",
    ("#0072b2", "#b35c00", "#00795a", "#a4447f", "#7a6a00", "#b8400a"),
    ("#0072b2", "#a35200", "#b8330a", "#00795a"), dim=0.78, faint=0.64, rule=0.5,
)  # fmt: skip


def _theme(name: str, palette: Palette, *, dark: bool) -> Theme:
    return Theme(
        name=name, dark=dark, primary=palette.curves[0], secondary=palette.curves[2], accent=palette.curves[1],
        warning=palette.warning, error=palette.critical, success=palette.good, foreground=palette.ink,
        background=palette.ground, surface=palette.ground, panel=_mix(palette.ink, palette.ground, 0.08),
    )  # fmt: skip


SIXTEEN = _palette(
    "#000000", "#ffffff",
    ("#55ffff", "#ffff55", "#55ff55", "#ff55ff", "#ffffff", "#ff5555"),
    ("#55ffff", "#ffff55", "#ff5555", "#55ff55"), dim=2 / 3, faint=2 / 3, rule=1 / 3,
)  # fmt: skip
"""The bright ones of the sixteen that every terminal has, as Rich knows them: it takes the nearest, and half of a bright
one is the dark one of its name. Rules have the grey that some terminals hardly show, words never."""

THEMES = {
    "lsmon-dark": (_theme("lsmon-dark", DARK, dark=True), DARK),
    "lsmon-light": (_theme("lsmon-light", LIGHT, dark=False), LIGHT),
    "lsmon-16": (_theme("lsmon-16", SIXTEEN, dark=True), SIXTEEN),
}


def no_theme(name: str) -> str:
    """Why there is none of this name, in words; empty when there is one, ours or of Textual."""
    if name in THEMES or name in BUILTIN_THEMES:
        return ""
    return f"there is no theme {clean_line(name, 40)!r}, but {', '.join(THEMES)}, and those of Textual"


def palette_for(theme: Theme) -> Palette:
    """Our own palette for our themes; for any other theme of Textual, ours with its ground and ink."""
    ours = THEMES.get(theme.name)
    if ours is not None:
        return ours[1]
    return _derived(theme.background or "", theme.foreground or "", dark=theme.dark)


@lru_cache(maxsize=32)
def _derived(ground: str, ink: str, *, dark: bool) -> Palette:
    like = DARK if dark else LIGHT
    if not all(
        len(colour) == 7 and colour.startswith("#") for colour in (ground, ink)
    ):  # "ansi_default", ...
        return like
    return _palette(ground, ink, like.curves, (like.info, like.warning, like.critical, like.good))
