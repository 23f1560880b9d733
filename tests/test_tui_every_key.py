"""Every key of every screen reaches the action that help promises."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from textual.binding import Binding
from textual.pilot import Pilot
from textual.screen import Screen

from lsmon import tui
from lsmon.tui.app import LsmonApp
from lsmon.tui.catalog import Found, Listed
from lsmon.tui.every_key import every_binding, groups
from lsmon.tui.keys import bound
from lsmon.tui.runs import Run
from lsmon.tui.screens.alerts import AlertsPage
from lsmon.tui.screens.ask import Ask
from lsmon.tui.screens.compare import CompareScreen
from lsmon.tui.screens.detail import DetailPage
from lsmon.tui.screens.help import Help
from lsmon.tui.screens.layers import LayersPage
from lsmon.tui.screens.page import Page
from lsmon.tui.screens.runs import RunsScreen
from lsmon.tui.screens.spectrum import SpectrumPage
from lsmon.tui.settings import Settings
from lsmon.tui.widgets.alert_detail import AlertDetail
from lsmon.tui.widgets.run_list import RunList
from tests.bench.story import Tape, Told, frames
from tests.screenplay import settle

STORY = list(frames(4000))


class Ran(list[str]):
    """What keys would have done, once ``listen`` has begun."""

    on = False


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Ran:
    monkeypatch.setenv("LSMON_DIR", str(tmp_path))
    heard, real = Ran(), LsmonApp.run_action

    async def run_action(app: LsmonApp, action: Any, *where: Any, **named: Any) -> bool:
        if not heard.on:
            return await real(app, action, *where, **named)
        heard.append(str(action))
        return True

    monkeypatch.setattr(LsmonApp, "run_action", run_action)
    return heard


def _screen(app: LsmonApp, title: str) -> Screen[None] | None:
    """The screen of this group, to be pushed; None for the panels."""
    pages = {"Alerts": AlertsPage, "Layers": LayersPage, "Spectrum": SpectrumPage, "Detail": DetailPage}
    if title in pages:
        return pages[title](app.feed)
    if title == "Runs":
        return RunsScreen()
    if title == "Help":
        return Help((), replay=True)
    if title == "Compare":
        return CompareScreen([app.feed], mine=False)
    return None


async def _go(app: LsmonApp, pilot: Pilot[None], title: str) -> None:
    """To the screen of this group, with the focus on the part that has keys."""
    screen = _screen(app, title)
    if screen is not None:
        await app.push_screen(screen)
        await pilot.pause()
    if isinstance(screen, RunsScreen):
        await app.workers.wait_for_complete()
        run = Run(state="live", name="a", run="a", host="b", pid=1, started=0.0)
        screen.post_message(RunsScreen.Step(Found((Listed(run),))))
        await pilot.pause()
        screen.query_one(RunList).focus()
        await pilot.pause()


async def _focused(app: LsmonApp, pilot: Pilot[None], title: str) -> AsyncIterator[Binding]:
    """The keys of this group, each while the part of the screen that has it has the focus."""
    for bindings in dict(groups())[title]:
        if bindings is AlertDetail.BINDINGS:
            app.screen.query_one(AlertDetail).focus()
            await pilot.pause()
        for binding in bound([bindings]):
            yield binding


@pytest.mark.parametrize("title", [title for title, _ in groups() if title != "Everywhere"])
def test_every_key_does_what_help_says(title: str, ran: Ran) -> None:
    """On its own screen, and on the part of it that has the focus."""

    async def session() -> None:
        app = LsmonApp(Tape(STORY, step=2000), fps=0.01)
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(app, pilot)
            await _go(app, pilot, title)
            ran.on = True
            async for binding in _focused(app, pilot, title):
                for key in binding.key.split(","):
                    ran.clear()
                    await pilot.press(key)
                    assert ran[:1] == [binding.action], (key, binding.id, ran)

    asyncio.run(session())


@pytest.mark.parametrize("over", [None, AlertsPage])
def test_the_keys_of_everywhere(over: type[Screen[None]] | None, ran: Ran) -> None:
    """The app's own on the panels; a page closes by any of its own."""

    async def session() -> None:
        app = LsmonApp(Told(STORY), fps=0.01)
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(app, pilot)
            if over is AlertsPage:
                await app.push_screen(AlertsPage(app.feed))
            await pilot.pause()
            ran.on = True
            kind = LsmonApp if over is None else Page
            wanted = [item for item in kind.BINDINGS if isinstance(item, Binding)]
            for binding in wanted:
                for key in binding.key.split(","):
                    ran.clear()
                    await pilot.press(key)
                    assert ran[:1] == [binding.action], (key, binding.id, ran)

    asyncio.run(session())


@pytest.mark.parametrize("title", [title for title, _ in groups() if title != "Everywhere"])
def test_every_key_can_be_another(title: str, ran: Ran) -> None:
    """Each binding under a key of its own does what it did, and its old keys do it no more."""
    new = {str(binding.id): f"f{number}" for number, binding in enumerate(every_binding(), 1)}

    async def session() -> None:
        app = LsmonApp(Tape(STORY, step=2000), fps=0.01, settings=Settings(keys=new))
        async with app.run_test(size=(120, 36)) as pilot:
            await settle(app, pilot)
            await _go(app, pilot, title)
            ran.on = True
            async for binding in _focused(app, pilot, title):
                ran.clear()
                await pilot.press(new[str(binding.id)])
                assert ran[:1] == [binding.action], (new[str(binding.id)], binding.id, ran)
                for key in binding.key.split(","):
                    ran.clear()
                    await pilot.press(key)
                    assert binding.action not in ran, (key, binding.id)

    asyncio.run(session())


def test_what_is_asked_is_left_by_its_key() -> None:
    """The line to type into takes every key but this one."""

    async def session() -> None:
        for keys, key in (({}, "escape"), ({"ask_leave": "f9"}, "f9")):
            app = LsmonApp(Told(STORY[:50]), fps=0.01, settings=Settings(keys=keys))
            async with app.run_test(size=(100, 30)) as pilot:
                await settle(app, pilot)
                await pilot.press("slash", "q", "l")
                assert isinstance(app.screen, Ask)
                await pilot.press(key)
                assert not isinstance(app.screen, Ask)

    asyncio.run(session())


def test_every_class_with_keys_is_listed() -> None:
    """What has bindings of its own is in a group, so that help tells of it and it can be set."""
    known = {id(bindings) for _, classes in groups() for bindings in classes}
    for path in sorted(Path(tui.__path__[0]).rglob("*.py")):
        if "BINDINGS: ClassVar" not in path.read_text():
            continue
        module = import_module(
            ".".join(("lsmon.tui", *path.relative_to(tui.__path__[0]).with_suffix("").parts))
        )
        for kind in vars(module).values():
            own = (
                kind.__dict__.get("BINDINGS")
                if isinstance(kind, type) and kind.__module__ == module.__name__
                else None
            )
            assert not own or id(own) in known, kind
