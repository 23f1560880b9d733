"""Text from outside cannot drive the terminal, be taken for markup, or break a frame."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from rich.cells import cell_len
from textual.events import Paste
from textual.widgets import Input

from lsmon.protocol.clean import clean_line, clean_name
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    RunEnded,
    RunStarted,
    Scalars,
)
from lsmon.protocol.sources.source import Link
from lsmon.tui.app import LsmonApp
from lsmon.tui.catalog import Found, Listed
from lsmon.tui.runs import Run
from lsmon.tui.screens.dashboard import Dashboard
from lsmon.tui.screens.runs import RunsScreen
from tests.bench.story import Told
from tests.screenplay import dashboard, until

PAYLOADS = [
    "\x1b]52;c;bWFsaWNl\x07", "\x1b]0;title\x07", "\x1b[31mred\x1b[2J", "\x1bP+q544e\x1b\\", "\x9b31m\x9d0;t\x9c", "\x07bell",
    "[red]x[/red]", "[stage=a]", "[@click=app.bell()]x[/]", "x[/", "run[/foo]x",
    "a\nb\rc\x08d\x0b", "\u202eevil\u2066", "模型训练" * 40, "e\u0301\u0327\u200d👩‍👩‍👧", "long" * 2000, "%s {0} $name", "",
]  # fmt: skip

_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def hostile(text: str) -> list[AnyFrame]:
    """The text in every place that a frame has for one, through the codec as from a socket."""
    made: list[AnyFrame] = [
        RunStarted(seq=1, wall=1.0, run=text, name=text, host=text, optimizer=text, device=text, lsmon=text or "1", parameters=9),
        Scalars(seq=2, step=1, values={"loss": 1.0, text or "x": 2.0, f"{text}/a": 3.0, f"trainability/{text}": 1.0},
                words={"loss": text}),
        Alert(seq=3, step=1, kind=text, severity="critical", message=text, advice=text, evidence={text or "x": 1.0}),
        Mark(seq=4, step=1, note=text),
        Layers(seq=4, step=1, names=(text, "b"), values={"activation": (1.0, 2.0), text or "x": (3.0,)}),
        Layers(seq=4, step=1, names=(text,), values={"hessian/max": (1.0,)}),
        Curvature(seq=4, step=1, density_grid=(-1.0, 1.0), density_mass=(0.5, 0.5), method=text, notes=(text,)),
        Heartbeat(seq=4, step=1, recording=text, notes={"curvature": text, "temperature": text, text: text}),
        RunEnded(seq=5, step=2, reason="error", error=text),
    ]  # fmt: skip
    decoded = [decode(encode(frame)) for frame in made]
    return [frame for frame in decoded if frame is not None]


@pytest.mark.parametrize("group", range(3))
def test_no_payload_reaches_the_screen_raw(group: int) -> None:
    """In every widget, boxed, enlarged and folded: no control character, no row out of line, no crash."""

    async def session() -> None:
        source = Told()
        app = LsmonApp(source, fps=0.01)
        async with app.run_test(size=(120, 44)) as pilot:
            dashboard = app.screen
            assert isinstance(dashboard, Dashboard)

            async def look(*keys: str) -> None:
                await pilot.press(*keys)
                dashboard.tick()
                await pilot.pause()
                check(app, app.size.width)

            for payload in PAYLOADS[group::3]:
                source.tell(*hostile(payload))
                await look()
                await look("3")
                await look("escape")
                await look("a")
                for page in "ls":
                    await look(page)
                    await look("v")
                    await look("v")
                await look("s")
                await look("d")
                for _ in range(7):
                    await look("c")
                await look("escape")
                await look("i", "left")
                await look("escape")
            await look("question_mark")
            await look("end")
            await look("escape")
            for size in ((60, 15), (30, 10)):
                await pilot.resize_terminal(*size)
                await look()

    asyncio.run(session())


def check(app: LsmonApp, width: int) -> None:
    strips = app.screen._compositor.render_strips()
    for strip in strips:
        assert not _CONTROL.search(strip.text)
        assert cell_len(strip.text) == width
    for segment in (segment for strip in strips for segment in strip):
        assert not segment.control
        assert segment.style is None or segment.style.link is None


def test_trouble_and_link_words_are_shown_as_they_are() -> None:
    """Square brackets in a source's sentence are no markup."""

    async def session() -> None:
        source = Told(hostile("run[/foo]x"))
        source.link = Link("dead", "ssh said [/bold] and left", 3)
        app = LsmonApp(source, fps=0.01)
        async with app.run_test(size=(120, 36)) as pilot:
            assert isinstance(app.screen, Dashboard)
            app.screen.tick()
            await pilot.pause()
            rows = [strip.text for strip in app.screen._compositor.render_strips()]
            assert "ssh said [/bold] and left" in rows[-1]
            assert "run[/foo]x" in rows[0]

    asyncio.run(session())


@pytest.mark.parametrize("group", range(3))
def test_no_name_of_a_run_reaches_the_list_raw(group: int) -> None:
    """Names, hosts, states and troubles of other machines, in the list of runs and where several are compared."""

    async def session() -> None:
        app = LsmonApp(Told(), fps=0.01)
        async with app.run_test(size=(120, 30)) as pilot:
            for payload in PAYLOADS[group::3]:
                name = clean_name(payload)
                run = Run(
                    state="live",
                    name=name,
                    run=name,
                    host=name,
                    pid=1,
                    started=0.0,
                    recording=clean_line(payload),
                    place=name,
                )
                await pilot.press("r")
                await pilot.pause()
                screen = app.screen
                assert isinstance(screen, RunsScreen)
                await app.workers.wait_for_complete()
                screen.post_message(RunsScreen.Step(Found((Listed(run),), (clean_line(payload),))))
                await pilot.pause()
                check(app, app.size.width)
                await pilot.press("q")
                app.compare([Told(hostile(payload)), Told(hostile("b"))])
                await pilot.pause()
                await pilot.press("pagedown", "x", "pagedown", "x", "enter")
                await pilot.pause()
                check(app, app.size.width)
                await pilot.press("escape", "escape")
                await pilot.pause()

    asyncio.run(session())


@pytest.mark.parametrize("group", range(3))
def test_nothing_that_is_typed_or_pasted_reaches_the_screen_raw(
    group: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In notes and what comes of them, in the filter, in the search for a command, in what is said of a copy or a file."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    async def session() -> None:
        app = LsmonApp(Told(), fps=0.01)
        async with app.run_test(size=(100, 30)) as pilot:
            for payload in PAYLOADS[group::3]:
                app.open(Told(hostile(payload)))
                dashboard(app).tick()
                await pilot.press("slash", "enter")
                await pilot.pause()
                for opening, closing in (
                    ("m", "enter"),
                    ("slash", "enter"),
                    ("slash", "escape"),
                    ("colon", "escape"),
                ):
                    await pilot.press(opening)
                    await until(pilot, lambda: len(app.screen_stack) == 2 and bool(app.screen.query(Input)))
                    app.post_message(Paste(payload))
                    await pilot.pause()
                    check(app, app.size.width)
                    await pilot.press(closing)
                    await pilot.pause()
                    if len(app.screen_stack) == 2:  # refused
                        check(app, app.size.width)
                        await pilot.press("escape")
                    dashboard(app).tick()
                    await pilot.pause()
                    check(app, app.size.width)
                await pilot.press("a")
                await pilot.pause()
                check(app, app.size.width)
                await pilot.press("escape")
                for key in "CSE":
                    await pilot.press(key)
                    await pilot.pause()
                    check(app, app.size.width)

    asyncio.run(session())
    for path in tmp_path.glob("*.csv"):
        assert not _CONTROL.search(path.read_text())
