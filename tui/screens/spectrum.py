"""The spectrum of the Hessian: as it was measured last, against what chance would give, and over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from ..widgets.panel import Scene
from ..widgets.spectrum import SpectrumPanel
from ..widgets.spectrum_heat import SpectrumHeat
from .page import Page
from .watching import Keys

_BOTH = 38
"""Rows of the terminal from which on both have room at once."""


class SpectrumPage(Page):
    """The density with its facts, and below it, or in its place, all densities as a heat map."""

    OWN_KEYS: ClassVar[Keys] = (("?", "help"), ("v", "over time"), ("esc", "back"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("v", "over_time", "Over time", tooltip="The last density, or all of them", id="over_time"),
    ]

    def body(self) -> Iterable[Widget]:
        yield SpectrumPanel("spectrum")
        yield SpectrumHeat("spectrum over time")

    def on_resize(self) -> None:
        super().on_resize()
        heat, last = self.query_one(SpectrumHeat), self.query_one(SpectrumPanel)
        both = self.size.height >= _BOTH
        if both:
            heat.display = last.display = True
        elif heat.display and last.display:
            heat.display = False
        heat.styles.height = "2fr" if both else "1fr"
        last.styles.height = "3fr" if both else "1fr"

    def on_mount(self) -> None:
        self.query_one(SpectrumHeat).display = self.size.height >= _BOTH

    def renew(self) -> None:
        scene = Scene(self.view, (), {}, self._ascii, over=self.over)
        for panel in (self.query_one(SpectrumPanel), self.query_one(SpectrumHeat)):
            if panel.display:
                panel.show(scene)

    def action_over_time(self) -> None:
        """Where both have room, they take turns at the whole of it."""
        heat, last = self.query_one(SpectrumHeat), self.query_one(SpectrumPanel)
        if heat.display and last.display:
            last.display = False
        elif self.size.height >= _BOTH and heat.display:
            last.display, heat.display = True, False
        elif self.size.height >= _BOTH:
            heat.display = True
        else:
            heat.display, last.display = last.display, heat.display
        self.renew()
