"""Bad peers at a training's sockets, and what its steps, its memory and its viewers feel: ``python -m tests.bench peers``.

Attack and calm take turns in one run, so that both see the same machine; "none" is the same with nobody attacking, and
shows how far apart two equal halves are. A step is a third of a millisecond of work and ``probe.step``. ``--secs 60`` attacks each for a minute, ``--only`` some of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import textwrap
import time
from array import array
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from lsmon.protocol.cards import Card, read_cards
from lsmon.protocol.frames import UNNUMBERED
from lsmon.protocol.sources.live import Live

SLICES = 6
EDGE_SECS = 0.5
"""Left out at either end of a slice: attackers are still coming or going."""

TRAINING = """
import os, sys, time
from array import array
from lsmon.probe import Probe
began, cost, cpu = array("d"), array("d"), array("d")
with Probe(name="attacked") as probe:
    for step in range(30_000):  # history is full from the start
        probe.step(float(step))
        if step % 2000 == 0:
            time.sleep(0.05)
    time.sleep(1.0)
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # this thread only, not those of the probe
    print("ready", flush=True)
    until = time.monotonic() + float(sys.argv[1])
    while time.monotonic() < until:
        a, c = time.monotonic(), time.thread_time()
        for _ in range(12_000):
            pass
        probe.step(1.0)
        cpu.append(time.thread_time() - c)
        cost.append(time.monotonic() - a)
        began.append(a)
        time.sleep(0.002)
with open(sys.argv[2], "wb") as file:
    for values in (began, cost, cpu):
        values.tofile(file)
print(len(began), flush=True)
"""

SETUP = """
import json, os, random, socket, sys, time
live, ask = sys.argv[1:3]
dice = random.Random(os.getpid())
GREETING = b"\\xff\\0\\0\\0\\0\\0\\0\\0\\1\\x7f\\3\\0NULL" + b"\\0" * 48

def raw(path):
    peer = socket.socket(socket.AF_UNIX)
    peer.settimeout(2)
    peer.connect(path)
    return peer

def ready(kind=b"SUB"):
    peer = raw(live)
    peer.sendall(GREETING + b"\\4\\x19\\5READY\\x0bSocket-Type\\0\\0\\0\\3" + kind)
    return peer

def peer_of(kind, path, **options):
    import zmq
    context = zmq.Context()
    context.linger = 0
    peer = context.socket(getattr(zmq, kind))
    peer.sndtimeo = 1000
    for name, value in options.items():
        setattr(peer, name, value)
    peer.connect("ipc://" + path)
    return peer

def forever(act):
    while True:
        try:
            act()
        except OSError:
            time.sleep(0.01)
        except Exception as error:
            if type(error).__name__ not in ("Again", "ZMQError"):
                raise
"""

PEERS = {
    "none": "time.sleep(1e9)",
    "stalled reader": """
        peers = [peer_of("SUB", live, rcvhwm=1) for _ in range(5)]
        for peer in peers: peer.subscribe(b"")
        time.sleep(1e9)""",
    "many subscriptions": """
        peer = peer_of("XSUB", live)
        numbers = iter(range(10**9))
        forever(lambda: peer.send(b"\\1" + b"%015d" % next(numbers)))""",
    "long subscriptions": """
        numbers = iter(range(10**9))
        def burst():
            peer = peer_of("XSUB", live)
            for _ in range(200): peer.send(b"\\1" + (b"%d" % next(numbers)).ljust(2000, b"x"))
            time.sleep(0.05)
            peer.close()
        forever(burst)""",
    "messages upstream": """
        peer = peer_of("XSUB", live)
        forever(lambda: peer.send(b"f" + bytes(200)))""",
    "random bytes": """
        def strike():
            with raw(dice.choice([live, ask])) as peer:
                peer.sendall((GREETING if dice.random() < .5 else b"") + dice.randbytes(dice.choice([1, 100, 10000])))
        forever(strike)""",
    "idle connections": """
        held = []
        def come():
            if len(held) > 600:
                for peer in held: peer.close()
                held.clear()
            held.append(raw(dice.choice([live, ask])))
        forever(come)""",
    "huge frames announced": """
        def announce():
            with ready() as peer:
                peer.sendall(b"\\2" + dice.choice([2**31, 2**40, 2**62]).to_bytes(8, "big") + b"x")
                time.sleep(0.02)
        forever(announce)""",
    "a huge frame sent": """
        def pour():
            with ready() as peer:
                peer.sendall(b"\\2" + (1 << 30).to_bytes(8, "big"))
                for _ in range(300): peer.sendall(bytes(1 << 20))
        forever(pour)""",
    "requests": """
        peer = peer_of("DEALER", ask, rcvhwm=10)
        def ask_on():
            peer.send(b'{"after":0}')
            while peer.poll(0): peer.recv_multipart()
        forever(ask_on)""",
    "answers unread": """
        peer = peer_of("DEALER", ask, rcvhwm=1)
        forever(lambda: peer.send(b'{"after":0}'))""",
    "nonsense requests": """
        peer = peer_of("DEALER", ask)
        forever(lambda: peer.send(dice.choice([b"", b"[" * 4000, b"\\xff", b'{"after":1e99}'])))""",
}
ATTACKERS = 2


@dataclass(frozen=True, slots=True)
class Felt:
    """What one kind of peer did."""

    calm: tuple[float, float]
    """99th percentiles of a step without the attack, in ms of wall time and of the training thread's CPU time."""
    attacked: tuple[float, float]
    worst: float
    """Longest step under attack, ms of wall time."""
    grown: float
    """MiB of resident memory, the most under attack less the most before it."""
    lost: int
    """Frames that a healthy viewer missed."""
    seen: int


def percentile(values: list[float], share: float = 0.99) -> float:
    ordered = sorted(values)
    return ordered[int(len(ordered) * share)] * 1e3 if ordered else float("nan")


def attack(name: str, secs: float) -> Felt:
    with tempfile.TemporaryDirectory(prefix="lsmon-") as home:
        os.environ["LSMON_DIR"] = home
        os.environ.pop("LSMON_RUNTIME_DIR", None)
        times = Path(home) / "times"
        whole = 2 * secs + 2.0
        training = subprocess.Popen(
            [sys.executable, "-c", TRAINING, str(whole), str(times)], stdout=subprocess.PIPE, text=True
        )
        assert training.stdout is not None
        if training.stdout.readline() != "ready\n":
            raise SystemExit("the training did not start")
        (card,) = read_cards()
        under: list[tuple[float, float]] = []
        calm: list[tuple[float, float]] = []
        seen = gaps = 0
        before = most = 0.0
        with closing(Live(card)) as live:
            last = 0
            until = time.monotonic() + 1.0
            attackers: list[subprocess.Popen[bytes]] = []
            turn, began = -1, time.monotonic()
            while training.poll() is None:
                for frame in live.read():
                    if not isinstance(frame, UNNUMBERED):
                        seen += 1
                        gaps += max(0, frame.seq - last - 1) if last and frame.seq > last else 0
                    last = max(last, frame.seq)
                now = time.monotonic()
                if now >= until and turn < 2 * SLICES - 1:
                    if turn >= 0:
                        (under if attackers else calm).append((began + EDGE_SECS, now - EDGE_SECS))
                    leave(attackers)
                    turn, began, until = turn + 1, now, now + secs / SLICES
                    attackers = come(name, card) if turn % 2 else []
                    before = before or memory(training.pid)
                if turn > 0:
                    most = max(most, memory(training.pid) or most)
                live.wait(0.02)
            leave(attackers)
            (under if attackers else calm).append((began + EDGE_SECS, until - EDGE_SECS))
            lost = live.link.lost + gaps
        steps = int(training.stdout.read())
        return felt(times, steps, calm, under, most - before, lost, seen)


def felt(
    times: Path, steps: int, calm: list[tuple[float, float]], under: list[tuple[float, float]],
    grown: float, lost: int, seen: int,
) -> Felt:  # fmt: skip
    values = array("d")
    with times.open("rb") as file:
        values.fromfile(file, 3 * steps)
    began, wall, cpu = values[:steps], values[steps : 2 * steps], values[2 * steps :]

    def within(slices: list[tuple[float, float]]) -> tuple[list[float], list[float]]:
        chosen = [i for i, at in enumerate(began) if any(first <= at < last for first, last in slices)]
        return [wall[i] for i in chosen], [cpu[i] for i in chosen]

    (wall_calm, cpu_calm), (wall_under, cpu_under) = within(calm), within(under)
    return Felt(
        (percentile(wall_calm), percentile(cpu_calm)), (percentile(wall_under), percentile(cpu_under)),
        max(wall_under, default=0.0) * 1e3, grown, lost, seen,
    )  # fmt: skip


def come(name: str, card: Card) -> list[subprocess.Popen[bytes]]:
    code = SETUP + textwrap.dedent(PEERS[name])
    return [
        subprocess.Popen(["nice", "-n", "5", sys.executable, "-c", code, card.live, card.ask])
        for _ in range(ATTACKERS)
    ]


def leave(attackers: list[subprocess.Popen[bytes]]) -> None:
    for attacker in attackers:
        if attacker.poll() not in (None, -9):
            raise SystemExit("an attacker gave up")
        attacker.kill()
        attacker.wait()


def memory(pid: int) -> float:
    """Resident MiB now; 0 when the process is gone."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--secs", type=float, default=12.0, help="of attack for each kind")
    parser.add_argument("--only", nargs="*", default=[], choices=PEERS)
    parser.add_argument("--json", action="store_true", help="one object a line")
    args = parser.parse_args()
    print(
        f"{'':22} p99 of a step: wall ms calm → attacked   ratio   CPU ratio   worst ms   memory MiB   viewer"
    )
    for name in args.only or PEERS:
        found = attack(name, args.secs)
        if args.json:
            print(json.dumps({"peer": name, **{k: getattr(found, k) for k in Felt.__slots__}}))
            continue
        print(
            f"{name:22} {found.calm[0]:24.3f} → {found.attacked[0]:6.3f} {found.attacked[0] / found.calm[0]:11.3f}"
            f" {found.attacked[1] / found.calm[1]:11.3f} {found.worst:10.1f} {found.grown:+12.1f}"
            f"   {found.seen} frames, {found.lost} lost",
            flush=True,
        )


if __name__ == "__main__":
    main()
