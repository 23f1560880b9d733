"""The screen on a training that says 5000 frames a second: its CPU, how soon a key is answered, and its bytes.

    python -m tests.bench.live_screen [--secs 10]

The training is a process with the real server, the screen the real one in a pseudo-terminal, and between them the real
sockets. At the end the store is asked whether it has every sample.
"""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from argparse import ArgumentParser
from array import array
from pathlib import Path

from lsmon.protocol.cards import Card, write_card
from lsmon.protocol.codec import encode
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import AnyFrame, Curvature, Heartbeat, Ritz, RunStarted, Scalars
from lsmon.protocol.places import runtime_dir
from lsmon.protocol.process import this_process
from lsmon.protocol.wire.server import Server
from lsmon.tui.commands.show import screen
from lsmon.tui.target import find
from tests.bench.terminal import Terminal

RATE = 5000
"""Frames a second."""
BATCH = 50
"""Frames between two looks at the clock and the sockets."""
KEYS = 80
RUN = "bench"

# Key and what only its answer paints: a word of what it opens, or the title of a panel, which no tick paints again.
# Not escape: Textual waits 100 ms to see whether it begins the bytes of another key, where the terminal does not say it.
_KEYS = (
    (b" ", "paused"), (b" ", "live"), (b"?", "Keys"), (b"?", "sharpness"), (b"2", "λ max"), (b"2", "temperature"),
    (b"a", "alerts"), (b"a", "temperature"),
)  # fmt: skip


def frame(seq: int, wall: float) -> AnyFrame:
    """Five scalars in most frames; each of the other panels has something new 20 to 100 times a second."""
    kind = seq % 100
    if kind == 50:
        top = 38 + 3 * math.sin(seq * 1e-3)
        return Curvature(
            seq=seq, step=seq, wall=wall, top=(Ritz(top, 0.1, True), Ritz(top / 2, 0.1, True)),
            bottom=(Ritz(-1 + math.sin(seq * 1e-3), 0.05, True),), negative_at_least=3 + seq // 1000 % 3,
            lanczos_steps=32, batch=512, share=0.03,
        )  # fmt: skip
    if kind == 51:
        noise = 3e-6 * (1 + 0.3 * math.sin(seq * 0.1))
        values = {
            "temperature/noise": noise,
            "val/loss": 2.5,
            "train/acc": 0.9,
            "val/acc": 0.5 + 0.1 * math.sin(seq),
        }
        return Scalars(
            seq=seq, step=seq, wall=wall, values=values, errors={"temperature/noise": noise * 0.04}
        )
    loss = 2.0 / (1 + seq * 1e-4) * (1 + 0.2 * math.sin(seq * 1.7))
    values = {
        "loss": loss, "lr": 1e-3, "grad/norm": loss**0.5, "weight/norm": 30 + math.sin(seq * 1e-4), "update/ratio": 1e-3 * loss,
    }  # fmt: skip
    return Scalars(seq=seq, step=seq, wall=wall, values=values)


def losses(last_seq: int) -> int:
    """Frames up to this number that carry a loss; the first is the header."""
    return sum(1 for seq in range(2, last_seq + 1) if seq % 100 not in (50, 51))


def train(until: Path) -> None:
    """Says its frames at the rate, until that file is there."""
    header = RunStarted(
        seq=1, run=RUN, name=RUN, host="here", wall=time.time(), model="Sequential", parameters=226_000, optimizer="AdamW",
    )  # fmt: skip
    server, folds = Server(runtime_dir(), header), Folds()
    me = this_process()
    write_card(
        Card(
            run=RUN, name=RUN, host="here", pid=me.pid, boot=me.boot, pid_started=me.pid_started, live=str(server.live),
            ask=str(server.ask), started=time.time(),
        )
    )  # fmt: skip
    began, seq, beat = time.monotonic(), 1, 0.0
    while not until.exists():
        for _ in range(BATCH):
            seq += 1
            made = frame(seq, time.time())
            server.publish(made, encode(made))
            for row in folds.add(made):
                server.publish(row, encode(row))
        now = time.monotonic()
        if now - beat >= 1.0:
            beat = now
            made = Heartbeat(seq=seq, step=seq, wall=time.time(), rate=RATE, share=0.03)
            server.publish(made, encode(made))
        server.poll()
        time.sleep(max(0.0, began + seq / RATE - time.monotonic()))
    server.close()


def look(report: Path) -> None:
    """The screen, and when it is left what its store holds."""
    source = find(RUN)
    app = screen(source)
    app.run()
    newest = app.feed.newest
    source.close()
    counted = sum(array("q", newest.series["loss"].counts))
    report.write_text(json.dumps({"seq": newest.seq, "lost": newest.lost, "losses": counted}))


def measure(cols: int, rows: int, secs: float, keys: int, *, over_ssh: bool) -> None:
    """One viewer on the running training: prints a line each for CPU, bytes, keys and samples."""
    with tempfile.TemporaryDirectory() as root:
        report = Path(root) / "report"
        env = {"SSH_CONNECTION": "127.0.0.1 1 127.0.0.1 22" if over_ssh else ""}
        command = [sys.executable, "-m", "tests.bench.live_screen", "--look", str(report)]
        terminal = Terminal(command, cols, rows, env)
        terminal.read_until(lambda data: "● live".encode() in data)
        terminal.watch(3.0)
        begun, before = time.perf_counter(), (terminal.cpu_secs(), terminal.bytes, terminal.updates)
        terminal.watch(secs)
        took = time.perf_counter() - begun
        now = terminal.cpu_secs(), terminal.bytes, terminal.updates
        cpu, drawn, updates = ((after - earlier) / took for earlier, after in zip(before, now, strict=True))
        print(f"{cols}x{rows}{', over ssh' if over_ssh else ''}, {RATE} frames/s for {took:.0f} s")
        print(
            f"  CPU {100 * cpu:.0f} % of a core, {updates:.1f} redraws/s, {drawn / 1e3:.1f} KB/s to the terminal"
        )
        if keys:
            answers = _answers(terminal, keys)
            print(f"  key to paint: {_spread([secs for _, secs in answers])}")
            by_key = {key: sorted(secs for what, secs in answers if what == key) for key, _ in answers}
            each = (f"{key} {secs[len(secs) // 2] * 1e3:.0f}" for key, secs in by_key.items())
            print(f"  median of each key in ms: {', '.join(each)}")
            print(f"  the same of `cat`, which only echoes: {_spread(_echoes(keys))}")
        terminal.press(b"q")
        terminal.read_until(lambda _: report.exists(), 10.0)
        terminal.close()
        said = json.loads(report.read_text())
        print(
            f"  store: {said['losses']} samples of the loss up to frame {said['seq']}, "
            f"{losses(said['seq'])} were sent, {said['lost']} frames lost"
        )


def _spread(secs: list[float]) -> str:
    ranked = sorted(secs)
    middle, high = ranked[len(ranked) // 2], ranked[math.ceil(len(ranked) * 0.95) - 1]
    return f"median {middle * 1e3:.0f} ms, p95 {high * 1e3:.0f} ms, longest {ranked[-1] * 1e3:.0f} ms of {len(ranked)}"


def _echoes(keys: int) -> list[float]:
    """What this machine takes at the moment for a key that costs nothing."""
    terminal, took = Terminal(["cat"], 80, 24), []
    terminal.watch(0.5)
    for _ in range(keys):
        terminal.watch(0.1)
        pressed = time.perf_counter()
        terminal.press(b"x")
        terminal.read_until(lambda data: b"x" in data, 5.0)
        took.append(time.perf_counter() - pressed)
    terminal.close()
    return took


def _answers(terminal: Terminal, keys: int) -> list[tuple[str, float]]:
    """Each key with the seconds to the paint of what it does; keys fall anywhere between two redraws."""
    chance = random.Random(0)
    took = []
    for number in range(keys):
        key, word = _KEYS[number % len(_KEYS)]
        terminal.watch(0.3 + chance.random() * 0.1)
        pressed = time.perf_counter() - terminal.started
        terminal.press(key)
        answered = terminal.read_until(lambda data, word=word: word.encode() in data, 5.0)
        if answered is None:
            sys.exit(f"Key {key!r} was not answered with {word!r}.")
        took.append((f"{key!r} ({word})", answered - pressed))
    return took


def main() -> None:
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--secs", type=float, default=10.0)
    parser.add_argument("--train", type=Path, help="used by itself: the training's process")
    parser.add_argument("--look", type=Path, help="used by itself: the viewer's process")
    args = parser.parse_args()
    if args.train:
        return train(args.train)
    if args.look:
        return look(args.look)
    with tempfile.TemporaryDirectory(prefix="lsmon") as root:
        os.environ.update(LSMON_DIR=root, LSMON_RUNTIME_DIR=f"{root}/sockets")
        over = Path(root) / "over"
        training = subprocess.Popen([sys.executable, "-m", "tests.bench.live_screen", "--train", str(over)])
        try:
            until = time.monotonic() + 20
            while not list(Path(root).glob("runs/*.json")) and time.monotonic() < until:
                time.sleep(0.05)
            measure(100, 30, args.secs, KEYS, over_ssh=False)
            measure(120, 36, args.secs, 0, over_ssh=True)
        finally:
            over.touch()
            training.wait(10)


if __name__ == "__main__":
    main()
