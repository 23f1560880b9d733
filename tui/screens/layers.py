"""The layers of the network, input side first: how scale, dead units and sharpness go with depth, now and over time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.widget import Widget

from ..widgets.layer_heat import LayerHeat
from ..widgets.layer_table import LayerTable
from ..widgets.panel import Scene
from .page import Page
from .watching import Keys


class LayersPage(Page):
    """A table of what was measured last, or one quantity of all layers over the whole run."""

    OWN_KEYS: ClassVar[Keys] = (
        ("?", "help"),
        ("c", "quantity"),
        ("↑ ↓", "scroll"),
        ("v", "over time"),
        ("esc", "back"),
    )
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(
            "v",
            "over_time",
            "Over time",
            tooltip="The last measurement, or all of them; of a spectrum too",
            id="over_time",
        ),
        Binding("c", "quantity", "Quantity", tooltip="Over time: the next quantity", id="layer_quantity"),
    ]

    def body(self) -> Iterable[Widget]:
        yield LayerTable("layers")
        yield LayerHeat("layers over time")

    def on_mount(self) -> None:
        self.query_one(LayerHeat).display = False
        self.query_one(LayerTable).focus()

    def renew(self) -> None:
        scene = Scene(self.view, (), {}, self._ascii, over=self.over)
        for panel in (self.query_one(LayerTable), self.query_one(LayerHeat)):
            if panel.display:
                panel.show(scene)

    def action_over_time(self) -> None:
        table, heat = self.query_one(LayerTable), self.query_one(LayerHeat)
        table.display, heat.display = heat.display, table.display
        (heat if heat.display else table).focus()
        self.renew()

    def action_quantity(self) -> None:
        heat = self.query_one(LayerHeat)
        if heat.display:
            heat.turn()
        else:
            self.action_over_time()
