"""Every key of every screen, in groups as help lists them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module

from textual.binding import Binding, BindingType

from .keys import bound, keys_of, written

Group = tuple[str, tuple[list[BindingType], ...]]


_HERE: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Panels", ("screens.dashboard:Dashboard", "screens.looking:Looking")),
    ("Any run", ("screens.watching:Watching", "screens.takeaway:Takeaway")),
)
_ALL = (
    *_HERE,
    (
        "Alerts",
        ("screens.alerts:AlertsPage", "widgets.alert_list:AlertList", "widgets.alert_detail:AlertDetail"),
    ),
    ("Layers", ("screens.layers:LayersPage", "widgets.layer_table:LayerTable")),
    ("Spectrum", ("screens.spectrum:SpectrumPage",)),
    ("Detail", ("screens.detail:DetailPage", "widgets.detail:DetailPanel")),
    ("Runs", ("screens.runs:RunsScreen", "widgets.run_list:RunList")),
    ("Compare", ("screens.compare:CompareScreen",)),
    ("Help", ("screens.help:Help", "widgets.help:HelpPanel")),
    ("Everywhere", ("app:LsmonApp", "screens.page:Page", "screens.ask:Ask")),
)
"""By name, as commands are: help lists the keys of screens that need help."""
_ALONE = ("Runs", "Compare", "Help")
"""Screens without the keys of any run."""


def near() -> list[Group]:
    """Those of the screen that is always there."""
    return [(title, tuple(map(_bindings, names))) for title, names in _HERE]


def groups() -> list[Group]:
    """Where, and the bindings there. Loads all screens."""
    return [(title, tuple(map(_bindings, names))) for title, names in _ALL]


def _bindings(name: str) -> list[BindingType]:
    module, _, kind = name.partition(":")
    found: list[BindingType] = getattr(import_module(f".{module}", __package__), kind).BINDINGS
    return found


def clash(keymap: Mapping[str, str]) -> tuple[str, str, str] | None:
    """A key that would do two things on one screen, and which; None where there is none."""
    shared = [
        bindings for title, classes in groups() if title in ("Any run", "Everywhere") for bindings in classes
    ]
    for title, classes in groups():
        taken: dict[str, Binding] = {}
        beside = [] if title in _ALONE else shared[:2]
        for binding in bound([*classes, *beside, shared[2]]):
            for key in keys_of(binding, keymap):
                other = taken.setdefault(key, binding)
                # What shares a key as it comes does so in different places.
                if other is not binding and not all(key in each.key.split(",") for each in (other, binding)):
                    return written(key), other.id or "", binding.id or ""
    return None


def every_binding() -> list[Binding]:
    return bound(bindings for _, classes in groups() for bindings in classes)


def listed(
    keymap: Mapping[str, str], which: Sequence[Group] | None = None
) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """By group: (keys, what they do, the name under which config.toml sets them). A key is listed where it is met first."""
    told: list[tuple[str, list[tuple[str, str, str]]]] = []
    known: set[str] = set()
    for title, classes in groups() if which is None else which:
        lines: list[tuple[str, str, str]] = []
        for binding in bound(classes):
            if binding.id in known or binding.id is None:
                continue
            known.add(binding.id)
            keys = "  ".join(written(key) for key in keys_of(binding, keymap))
            lines.append((keys, binding.tooltip or binding.description, binding.id))
        told.append((title, _numbers(lines)))
    return told


def _numbers(lines: list[tuple[str, str, str]]) -> list[tuple[str, str, str]]:
    """The keys of the panels in one line."""
    panels = [line for line in lines if line[2].startswith("panel_")]
    if len(panels) < 2:
        return lines
    one = (
        f"{panels[0][0]} to {panels[-1][0]}",
        "Enlarge a panel by its number",
        f"{panels[0][2]} to {panels[-1][2]}",
    )
    return [*(line for line in lines if line not in panels), one]
