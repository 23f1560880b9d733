"""The layers of the network, input side first: how scale, dead units and sharpness go with depth."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget

from ..widgets.panel import Scene
from ..widgets.table import LayerTable
from .page import Page


class LayersPage(Page):
    """One table over the whole screen."""

    def body(self) -> Iterable[Widget]:
        yield LayerTable("layers")

    def on_mount(self) -> None:
        self.query_one(LayerTable).focus()

    def renew(self) -> None:
        self.query_one(LayerTable).show(Scene(self.feed.view, (), {}, self._ascii))
