"""The spectrum of the Hessian as it was measured last."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from ..widgets.panel import Scene
from ..widgets.spectrum import SpectrumPanel
from .page import Page
from .watching import Keys


class SpectrumPage(Page):
    """One plot and its facts over the whole screen."""

    OWN_KEYS: ClassVar[Keys] = (("?", "help"), ("esc", "back"))

    def body(self) -> Iterable[Widget]:
        yield SpectrumPanel("spectrum")

    def renew(self) -> None:
        self.query_one(SpectrumPanel).show(Scene(self.feed.view, (), {}, self._ascii))
