"""What a person has set and what the screen remembers: read once, refused in a sentence, never in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace as replaced
from textual.pilot import Pilot

from lsmon.protocol.errors import UsageError
from lsmon.tui.app import LsmonApp
from lsmon.tui.cli import main
from lsmon.tui.every_key import every_binding, groups, listed
from lsmon.tui.lens import Lens
from lsmon.tui.remembered import Remembered, recall, remember
from lsmon.tui.screens.spectrum import SpectrumPage
from lsmon.tui.settings import Settings, load
from lsmon.tui.widgets.curve import CurvePanel
from tests.bench.story import Told, frames
from tests.screenplay import dashboard, panels, settle, shown, text

STORY = list(frames(3000))


def started(
    check: Callable[[LsmonApp, Pilot[None]], Awaitable[None]],
    settings: Settings = Settings(),  # noqa: B008
    recalled: Remembered = Remembered(),  # noqa: B008
) -> LsmonApp:
    """The app, when it is over."""
    app = LsmonApp(Told(STORY), fps=0.01, settings=settings, recalled=recalled)

    async def session() -> None:
        async with app.run_test(size=(140, 40)) as pilot:
            await settle(app, pilot)
            await check(app, pilot)

    asyncio.run(session())
    return app


def test_nothing_set_is_as_it_comes(tmp_path: Path) -> None:
    assert load(tmp_path / "nothing.toml") == Settings()


def test_all_that_can_be_set(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        'theme = "lsmon-light"\nascii = true\nfps = 2\n[keys]\nlog = "ctrl+l"\nquit = "Q,ctrl+x"\n'
    )
    assert load(path) == Settings("lsmon-light", True, 2.0, {"log": "ctrl+l", "quit": "Q,ctrl+x"})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("theme = 7", "theme = 7; there are theme = text"), ("theme = 'lsmon-lihgt'", "no theme 'lsmon-lihgt', but lsmon-dark"), ("colour = 'red'", "colour = 'red'"), ("fps = true", "fps = True"), ("fps = 0", "between 1 and 60"), ("= 1", "not TOML"),
        ("[keys]\nnosuch = 'x'", "give a key to 'nosuch', and nothing is called that"), ("[keys]\nlog = 3", "key of log"), ("[keys]\nlog = ''", "key of log"), ("[keys]\nlog = 'ctrl+l, F1'", "log the key 'F1'"), ("[keys]\nlog = 'ctrl+nosuch'", "'ctrl.nosuch'"), ("\udcff", "cannot be read"), ("[keys]\nlog = 'l'", "to log and to layers|to layers and to log"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_sentence(tmp_path: Path, text: str, words: str) -> None:
    """With the path at its end."""
    path = tmp_path / "config.toml"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError, match=words) as raised:
        load(path)
    assert str(raised.value).endswith(str(path))
    assert "\n" not in str(raised.value)


def test_the_printed_settings_are_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As comments where nothing is set; with every comment taken away, every default, and each is accepted."""
    path = tmp_path / "config.toml"
    monkeypatch.setenv("LSMON_CONFIG", str(path))
    assert main(["settings"]) == 0
    page = capsys.readouterr().out
    path.write_text(page)
    assert load() == Settings()
    path.write_text(
        "\n".join(line.removeprefix("# ") if " = " in line else line for line in page.splitlines())
    )
    assert load().keys == {binding.id: binding.key for binding in every_binding()}
    assert (load().theme, load().ascii, load().fps) == ("lsmon-dark", False, 10.0)
    path.write_text('[keys]\nlog = "ctrl+l"')
    assert main(["settings"]) == 0
    assert '\nlog = "ctrl+l"' in capsys.readouterr().out


def test_every_key_can_be_set_and_is_explained() -> None:
    """Each binding of each screen has a name and words; within a screen no key is bound twice."""
    for title, classes in groups():
        for bindings in classes:
            taken: dict[str, str] = {}
            for binding in bindings:
                assert not isinstance(binding, tuple)
                assert binding.id, (title, binding)
                assert binding.tooltip, (title, binding)
                for key in binding.key.split(","):
                    assert taken.setdefault(key, binding.id) == binding.id, (title, key)
    names = [name for _, lines in listed({}) for _, _, name in lines]
    assert len(names) == len(set(names))


def test_a_key_that_was_set_does_it_and_stands_on_the_screen() -> None:
    """And the one that came with it does no more."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert "ctrl l log" in text(app)[-1]
        loss = panels(app)["loss"]
        assert isinstance(loss, CurvePanel)
        await pilot.press("y")
        assert loss.scale_log is None
        await pilot.press("ctrl+l")
        assert loss.scale_log is False
        await pilot.press("F")
        await settle(app, pilot)
        assert isinstance(app.screen, SpectrumPage)

    started(check, Settings(keys={"log": "ctrl+l", "spectrum": "F"}))


def test_theme_and_ascii() -> None:
    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert app.theme == "lsmon-light"
        assert shown(app).isascii()

    started(check, Settings(theme="lsmon-light", ascii=True), Remembered(theme="lsmon-16"))


def test_the_next_screen_is_as_the_last_was_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Theme, enlarged panel, axes, lens; not the zoom, which is of that run. Through a file that only its owner reads, and without one all the same."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    assert recall() == Remembered()

    async def leave(app: LsmonApp, pilot: Pilot[None]) -> None:
        await pilot.press("t", "y", "2", "x", "w", "u", "g", "z", "i")

    remember(started(leave).remembered())  # as it is done: after the end
    looked = {"over": "elapsed", "smoothing": 1, "usual": True, "blocks": True}
    assert recall() == Remembered(theme="lsmon-light", large="sharpness", log={"loss": False}, **looked)  # type: ignore[arg-type]

    async def again(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert app.theme == "lsmon-light"
        assert list(panels(app)) == ["sharpness"]
        assert dashboard(app).lens == Lens(kind="elapsed", smoothing=1, usual=True, blocks=True)
        assert "over time since the start, smoothed, outliers outside" in shown(app)
        await pilot.press("escape")
        await settle(app, pilot)
        assert "loss" in panels(app)
        assert dashboard(app).remembered(app.theme) == replaced(recall(), large="")

    started(again, recalled=recall())
    for bad in (b"\xff{", b'{"over": "miles"}', b'{"smoothing": "much"}'):
        (tmp_path / "state" / "screen.json").write_bytes(bad)
        assert recall() == Remembered()
    monkeypatch.setenv("LSMON_DIR", "/proc/nowhere")
    remember(Remembered(theme="x"))


def test_a_terminal_of_sixteen_colours_gets_them() -> None:
    """Unless something else was asked for; and it is not remembered for the next terminal."""
    light = Remembered(theme="lsmon-light")
    assert LsmonApp(Told(), sixteen=True).theme == "lsmon-16"
    assert LsmonApp(Told(), sixteen=True, recalled=light).remembered().theme == "lsmon-light"
    assert LsmonApp(Told(), sixteen=True, settings=Settings(theme="lsmon-light")).theme == "lsmon-light"


def test_what_is_remembered_holds_for_a_run_that_lacks_it() -> None:
    """Without tokens it is drawn over its steps, and nothing else is said."""

    async def check(app: LsmonApp, pilot: Pilot[None]) -> None:
        assert dashboard(app).lens.smoothing == 1
        assert "over tokens" not in shown(app) and "smoothed" in text(app)[-1]

    started(check, recalled=Remembered(over="tokens", smoothing=4))
