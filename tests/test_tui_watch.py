"""For people who are away: what is news is told once, by command or web request, and trouble is a sentence."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from lsmon.probe import Probe
from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.frames import Alert, AnyFrame, Heartbeat, RunEnded, RunStarted, Scalars
from lsmon.protocol.sources.source import Link
from lsmon.tui.alarms import Alarms, Command, Webhook
from lsmon.tui.app import LsmonApp
from lsmon.tui.cli import main
from lsmon.tui.commands.watch import Watcher, follow
from lsmon.tui.ringing import Terminal

SPIKE = Alert(
    seq=3,
    step=7,
    wall=1000.0,
    kind="loss_spike",
    severity="warning",
    message="Loss jumped\nup.",
    evidence={"after": 2.0},
)


class Noted:
    """An alarm that remembers."""

    name = "noted"

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def tell(self, facts: dict[str, Any], gone: threading.Event) -> None:
        self.kinds.append(facts["kind"])


class Told:
    """A source that gives these frames, a list a read, and is then over."""

    def __init__(self, *reads: list[AnyFrame], last: Link | None = None) -> None:
        self._reads, self._last = list(reads), last or Link("ended")

    @property
    def link(self) -> Link:
        return Link("live") if self._reads else self._last

    def read(self, max_items: int = 5000, max_secs: float = 0.02) -> list[AnyFrame]:
        return self._reads.pop(0) if self._reads else []

    def close(self) -> None: ...


def watched(source: Told, **options: Any) -> list[str]:
    noted = Noted()
    alarms = Alarms([noted], say=lambda words: None)
    try:
        follow(source, Watcher(alarms, **options), pause=lambda secs: None)
    finally:
        alarms.close(10.0)
    return noted.kinds


def alert(kind: str, wall: float, severity: Any = "info") -> Alert:
    return Alert(kind=kind, step=1, wall=wall, severity=severity)


def test_only_what_is_news_is_acted_upon(capsys: pytest.CaptureFixture[str]) -> None:
    """Old alerts are printed: those of the history, unless they are of the last minute."""
    source = Told(
        [RunStarted(name="mlp", host="box"), alert("memorized", 100.0)],
        [alert("overfitting", 995.0), Scalars(wall=1000.0), Heartbeat(wall=1000.0)],
        [alert("loss_spike", 1001.0), RunEnded(wall=1002.0)],
    )
    assert watched(source) == ["overfitting", "loss_spike"]
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_kind_and_severity_choose() -> None:
    frames: list[AnyFrame] = [
        Heartbeat(wall=1.0),
        alert("a", 2.0),
        alert("b", 2.0, "warning"),
        alert("c", 2.0, "critical"),
    ]
    assert watched(Told(frames), severity="warning") == ["b", "c"]
    assert watched(Told(frames), only=["a", "c"]) == ["a", "c"]


def test_a_process_that_is_gone_is_the_last_alert() -> None:
    noted = Noted()
    alarms = Alarms([noted], say=lambda words: None)
    source = Told([Heartbeat(wall=1.0)], last=Link("dead", "The training process 7 is gone."))
    with pytest.raises(LsmonError, match="7 is gone"):
        follow(source, Watcher(alarms), pause=lambda secs: None)
    alarms.close(10.0)
    assert noted.kinds == ["silent"]


class Hook(BaseHTTPRequestHandler):
    """Answers with the codes in turn, and keeps the bodies."""

    codes: ClassVar[list[int]]
    bodies: ClassVar[list[Any]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        type(self).bodies.append(json.loads(body))
        code = type(self).codes.pop(0)
        self.send_response(code)
        if code == 302:
            self.send_header("Location", "http://127.0.0.1:1/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None: ...


@pytest.fixture
def hook() -> Iterator[tuple[str, type[Hook]]]:
    class Own(Hook):
        codes: ClassVar[list[int]] = []
        bodies: ClassVar[list[Any]] = []

    server = HTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/secret", Own
    server.shutdown()
    thread.join(10)
    server.server_close()


def posted(url: str, retries: tuple[float, ...] = (0.0, 0.0)) -> list[str]:
    """What was said of one alert."""
    said: list[str] = []
    alarms = Alarms([Webhook(url, retries=retries)], say=said.append)
    alarms.tell(SPIKE, "mlp", "box")
    alarms.close(30.0)
    return said


def test_a_web_request_is_tried_again_and_carries_the_facts(hook: tuple[str, type[Hook]]) -> None:
    url, handler = hook
    handler.codes.extend([503, 429, 200])
    assert posted(url) == []
    assert len(handler.bodies) == 3
    body = handler.bodies[-1]
    assert body["text"] == "mlp: loss spike at step 7. Loss jumped up."
    assert (body["kind"], body["step"], body["severity"], body["evidence"]) == (
        "loss_spike",
        7,
        "warning",
        {"after": 2.0},
    )


def test_what_will_not_help_is_not_tried_again_and_no_secret_is_said(hook: tuple[str, type[Hook]]) -> None:
    url, handler = hook
    for code in (404, 302):
        handler.codes.append(code)
        (words,) = posted(url)
        assert f"answered {code}" in words and "secret" not in words
    handler.codes.extend([500] * 3)
    (words,) = posted(url)
    assert "answered 500" in words
    assert not handler.codes


def test_nobody_there_is_a_sentence(hook: tuple[str, type[Hook]]) -> None:
    (words,) = posted("http://127.0.0.1:1/secret")
    assert "127.0.0.1 is out of reach" in words and "secret" not in words


@pytest.fixture
def answering() -> Iterator[Callable[[bytes], tuple[str, list[bytes]]]]:
    """Makes what answers every connection with these bytes; its address, and what it was asked."""
    listening: list[socket.socket] = []

    def make(answer: bytes) -> tuple[str, list[bytes]]:
        server, asked = socket.create_server(("127.0.0.1", 0)), list[bytes]()
        listening.append(server)

        def serve() -> None:
            while True:
                try:
                    caller, _ = server.accept()
                except OSError:
                    return
                with caller:
                    said = b""
                    while not said.endswith(b"}"):
                        said += caller.recv(1 << 16)
                    asked.append(said)
                    caller.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{server.getsockname()[1]}/secret", asked

    yield make
    for server in listening:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


@pytest.mark.parametrize(
    "answer",
    [b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n"],
    ids=["ssh", "headers"],
)
def test_an_answer_that_is_none_is_a_sentence_and_the_next_alarm_is_told(
    answering: Callable[[bytes], tuple[str, list[bytes]]], answer: bytes
) -> None:
    """What answers there speaks no HTTP: that is said of each alert, and the command hears of all."""
    url, asked = answering(answer)
    noted, said = Noted(), list[str]()
    alarms = Alarms([Webhook(url, retries=(0.0,)), noted], say=said.append)
    for kind in ("loss_spike", "divergence"):
        alarms.tell(Alert(kind=kind), "mlp", "box")
    alarms.close(30.0)
    assert noted.kinds == ["loss_spike", "divergence"]
    assert len(said) == 2 and all("127.0.0.1 is out of reach" in words for words in said)
    assert len(asked) == 4


def test_what_was_taken_is_not_told_again_for_a_broken_answer(
    answering: Callable[[bytes], tuple[str, list[bytes]]],
) -> None:
    url, asked = answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert posted(url) == []
    assert len(asked) == 1


def test_an_alarm_that_breaks_does_not_end_the_others() -> None:
    """Whatever it raises is said, and the next alert has its turn."""

    class Breaks(Noted):
        def tell(self, facts: dict[str, Any], gone: threading.Event) -> None:
            super().tell(facts, gone)
            raise KeyError("odd")

    breaks, noted, said = Breaks(), Noted(), list[str]()
    alarms = Alarms([breaks, noted], say=said.append)
    for kind in ("loss_spike", "divergence"):
        alarms.tell(Alert(kind=kind), "mlp", "box")
    alarms.close(30.0)
    assert breaks.kinds == noted.kinds == ["loss_spike", "divergence"]
    assert len(said) == 2


@pytest.mark.parametrize(
    "url",
    [
        "", "example.org", "file:///etc/passwd", "ftp://example.org/x", "https://", "http://[x", "http://h:99999/",
        "https://example.org/my hook", "https://example.org/h\n", "https://example.org/höhe",
    ],
)  # fmt: skip
def test_what_is_no_web_address_is_told_at_once(url: str) -> None:
    with pytest.raises(UsageError, match="https://"):
        Webhook(url)


def test_a_command_gets_the_facts_and_cannot_be_made_to_run_others(tmp_path: Path) -> None:
    """The words come in its environment and on its input, never in its text."""
    out, said = tmp_path / "out", list[str]()
    evil = Alert(seq=3, step=7, kind="loss_spike", message="$(touch evil); `touch evil`")
    alarms = Alarms(
        [Command(f'echo "$LSMON_KIND $LSMON_STEP $LSMON_MESSAGE" > {out}; cat >> {out}'), Command("exit 3")],
        say=said.append,
    )
    alarms.tell(evil, "mlp", "box")
    alarms.close(30.0)
    first, second = out.read_text().splitlines()
    assert first == "loss_spike 7 $(touch evil); `touch evil`"
    assert json.loads(second)["run"] == "mlp"
    assert said == ["--on-alert did not tell of loss_spike: the command ended with exit code 3."]


def test_bell_and_notification_hold_no_control_character_of_others() -> None:
    written: list[str] = []
    facts = {"text": "mlp: \x1b]52;c;AAAA\x07 jumped"}
    Terminal(bell=True, osc9=True, write=written.append).tell(facts, threading.Event())
    assert written == ["\x1b]9;mlp: ␦]52;c;AAAA␦ jumped\x1b\\\a"]


def test_the_screen_rings_once_when_an_alert_comes_and_only_where_it_was_asked_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Through the driver, so that no other escape sequence is cut in two."""

    async def rung(*, bell: bool = False, osc9: bool = False) -> list[str]:
        app = LsmonApp(
            Told([RunStarted(name="mlp"), Heartbeat(wall=1.0)], [SPIKE], last=Link("live")),
            fps=0.01,
            bell=bell,
            osc9=osc9,
        )
        async with app.run_test() as pilot:
            written: list[str] = []
            assert app._driver is not None
            monkeypatch.setattr(app._driver, "write", written.append)
            for _ in range(3):
                app.feed.tick()
            await pilot.pause()
            return [each for each in written if "\a" in each or "]9;" in each]

    assert asyncio.run(rung()) == []
    assert asyncio.run(rung(bell=True)) == ["\a"]
    assert asyncio.run(rung(osc9=True)) == ["\x1b]9;mlp: loss spike at step 7. Loss jumped up.\x1b\\"]


def test_a_live_run_calls_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From a training's step to a file that a command wrote; the watcher ends with the run."""
    monkeypatch.setenv("LSMON_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("LSMON_RUNTIME_DIR", str(tmp_path))
    out, codes = tmp_path / "out", list[int]()
    line = f'{sys.executable} -c \'import os; open("{out}", "w").write(os.environ["LSMON_KIND"])\''
    with Probe(name="away") as probe:
        watcher = threading.Thread(target=lambda: codes.append(main(["watch", "away", "--on-alert", line])))
        watcher.start()
        deadline = time.monotonic() + 60
        for _ in range(10):
            probe.step(1.0)
        probe.step(float("nan"))
        while not (out.exists() and out.read_text()) and time.monotonic() < deadline:
            probe.step(1.0)
            time.sleep(0.01)
    watcher.join(30)
    assert out.read_text() == "nonfinite"
    assert codes == [0]
    assert "away: nonfinite at step 11" in capsys.readouterr().out


def test_a_recording_has_nothing_to_wait_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", str(tmp_path)]) == 2
    assert "lsmon alerts" in capsys.readouterr().err
