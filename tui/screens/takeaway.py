"""What a person takes from a screen: a picture, numbers, a value, and a note left behind."""

from __future__ import annotations

import csv
import io
import math
from array import array
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from textual.binding import Binding, BindingType

from lsmon.protocol.counts import counted, grouped
from lsmon.protocol.errors import LsmonError

from ..feed import Feed
from ..format import with_error
from ..svg import svg_of
from ..view import Track, View, read
from ..widgets.ground import Ground
from ..widgets.panel import Panel
from .ask import Ask

_MOST_FILES = 1000


class Takeaway(Ground):
    """For screens over one run; files go to the folder in which lsmon was started."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("m", "note", "Note", tooltip="Mark this step, or the cursor's, with a note", id="note"),
        Binding("C", "copy", "Copy", tooltip="Copy the values of the panel, or of all", id="copy"),
        Binding("S", "save_screen", "Save screen", tooltip="This screen as SVG and text", id="save_screen"),
        Binding(
            "E",
            "save_data",
            "Save data",
            tooltip="The numbers of the panel, or of all, as CSV; with a cursor those at its step",
            id="save_data",
        ),
    ]

    def __init__(self, feed: Feed) -> None:
        super().__init__()
        self.feed = feed

    @property
    def view(self) -> View:
        """What is shown, with the notes on it."""
        return self.feed.notes.on(self.feed.view)

    @property
    def sifted(self) -> View:
        """With what a filter leaves of it."""
        return self.view

    def chosen_panel(self) -> Panel | None:
        """The one that keys act on."""
        return self.focused if isinstance(self.focused, Panel) else None

    @property
    def cursor(self) -> int | None:
        """The step at which the screen is read; None for the newest."""
        return None

    def show(self) -> None:
        raise NotImplementedError

    def action_note(self) -> None:
        if not self.feed.view.seq:
            self.notify("There is no step yet to put a note on.", markup=False)
            return
        view = self.feed.view  # The run goes on while the note is typed.
        step = view.step if self.cursor is None else self.cursor
        self.app.push_screen(Ask(f"note on step {grouped(step)}"), partial(self._noted, view, step))

    def _noted(self, view: View, step: int, typed: str | None) -> None:
        if typed and typed.strip():
            try:
                self.feed.notes.add(view, typed, step)
            except LsmonError as error:
                self.notify(str(error), severity="error", markup=False)
            self.show()

    def _tracks(self) -> Sequence[Track]:
        """Of the panel that keys act on, where it holds any, else all that the filter leaves."""
        held = getattr(getattr(self.chosen_panel(), "content", None), "tracks", ())
        series = self.view.series
        # By name: what a panel holds may be over time instead of steps.
        tracks = [series[track.name] for track in held if isinstance(track, Track) and track.name in series]
        return tracks or list(self.sifted.series.values())

    def _at_cursor(self) -> Sequence[Track]:
        """With the values at the cursor, where there is one."""
        tracks, cursor = self._tracks(), self.cursor
        return tracks if cursor is None else [read(track, cursor) for track in tracks]

    def action_copy(self) -> None:
        tracks, cursor = self._at_cursor(), self.cursor
        lines = [
            f"step {self.feed.view.step if cursor is None else cursor}",
            *(f"{track.name} {with_error(track.value, track.error)}" for track in tracks),
        ]
        self.app.copy_to_clipboard("\n".join(lines))
        self.notify(
            f"{counted(len(tracks), 'value')} sent to the terminal's clipboard, if it has one.",
            markup=False,
            timeout=4,
        )

    async def action_save_screen(self) -> None:
        """Without what is said for a moment, which hides a part of it."""
        self.app.clear_notifications()
        await self.query("Toast").remove()
        self.call_after_refresh(self._save_shown)

    def _save_shown(self) -> None:
        strips = self._compositor.render_strips()
        text = "\n".join(strip.text.rstrip() for strip in strips) + "\n"
        self._save({".svg": svg_of(self.app), ".txt": text})

    def action_save_data(self) -> None:
        out = io.StringIO()
        table = csv.writer(out, lineterminator="\n")
        if self.cursor is not None:
            table.writerow(["name", "step", "value", "error"])
            for track in self._at_cursor():
                # Empty where there is none: not yet, or without an error.
                cells = ("" if math.isnan(number) else number for number in (track.value, track.error))
                table.writerow([track.name, track.step, *cells])
            self._save({".csv": out.getvalue()}, self.cursor)
            return
        table.writerow(["name", "first_step", "last_step", "wall", "samples", "mean", "min", "max"])
        for track in self._tracks():
            columns = [
                array("d", part)
                for part in (track.firsts, track.steps, track.walls, track.totals, track.lows, track.highs)
            ]
            for first, last, wall, total, low, high, count in zip(
                *columns, array("q", track.counts), strict=True
            ):
                if count:
                    table.writerow(
                        [track.name, int(first), int(last), wall, int(count), total / count, low, high]
                    )
        self._save({".csv": out.getvalue()})

    def _save(self, parts: dict[str, str], step: int | None = None) -> None:
        """Under a name that is not taken, with the step that they are of."""
        header = self.feed.view.header
        safe = "".join(char if char.isalnum() or char in "._-" else "-" for char in header.name or "run")[
            :60
        ].strip(".-")
        stem = f"lsmon-{safe or 'run'}-{self.feed.view.step if step is None else step}"
        folder = Path.cwd()
        for number in range(_MOST_FILES):
            paths = {
                suffix: folder / f"{stem}{f'-{number + 1}' if number else ''}{suffix}" for suffix in parts
            }
            try:
                for suffix, path in paths.items():
                    with path.open("x", encoding="utf-8") as file:
                        file.write(parts[suffix])
            except FileExistsError:
                continue
            except OSError as error:
                self.notify(
                    f"Cannot write here ({(error.strerror or str(error)).lower()}): {folder}",
                    severity="error",
                    markup=False,
                )
                return
            self.notify(
                f"Written: {', '.join(path.name for path in paths.values())}, in {folder}",
                markup=False,
                timeout=6,
            )
            return
