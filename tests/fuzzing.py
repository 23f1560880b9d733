"""Inputs that are nearly right: real frames, files, streams and cards, changed where it hurts; and who reads them.

A format is a pair: ``make(dice)`` gives an input, ``take(folder, data)`` reads it as lsmon does and lets LsmonError
alone pass. Changed bytes get their checksums back half of the time, so that what is behind the checksum is reached.
"""

from __future__ import annotations

import json
import random
import struct
import tempfile
import zlib
from collections.abc import Callable
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import zstandard

from lsmon.protocol.cards import Card, read_cards
from lsmon.protocol.codec import decode, encode
from lsmon.protocol.detectors.watch import Watch
from lsmon.protocol.errors import LsmonError
from lsmon.protocol.fold import Folds
from lsmon.protocol.frames import (
    Alert,
    AnyFrame,
    Curvature,
    Heartbeat,
    Layers,
    Mark,
    Ritz,
    RunEnded,
    RunStarted,
    Scalars,
    Summary,
)
from lsmon.protocol.process import this_process
from lsmon.protocol.recording.about import About
from lsmon.protocol.recording.chunks import MAGIC
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.recording.record import record
from lsmon.protocol.regime import Regime
from lsmon.protocol.sources import tfevents
from lsmon.protocol.sources.opening import open_path
from lsmon.protocol.sources.replay import Replay
from lsmon.protocol.wire import records
from lsmon.protocol.wire.order import Order
from lsmon.tui.lines import Lines
from lsmon.tui.store import Store

FRAMES: list[AnyFrame] = [
    Scalars(seq=2, step=1, wall=1.5, values={"loss": 0.5, "lr": 0.1}, errors={"loss": 0.1}, words={"loss": "n=4"}),
    Scalars(seq=3, step=2, wall=1.6, values={"loss": float("nan"), "hessian/max": 3.0}),
    Curvature(
        seq=4, step=2, top=(Ritz(2.0, 0.1, True), Ritz(1.0, 0.2)), bottom=(Ritz(-1.0, 0.2),), negative_at_least=3,
        preconditioned=Ritz(1.0, 0.1), negative_fraction=0.1, trace=3.0, notes=("a",),
    ),
    Layers(seq=5, step=2, names=("in", "out"), values={"grad": (0.1, 0.2)}),
    Alert(seq=6, step=2, kind="loss_spike", severity="warning", evidence={"after": 3.0}, message="Loss\njumped."),
    Mark(seq=7, step=2, note="lr lowered"),
    Heartbeat(seq=7, step=2, pid=12, rate=3.5, notes={"curvature": "waiting"}, recording="stopped: disk full"),
    Summary(seq=7, step=2, first_seq=2, first_step=1, series={"loss": (2, 0.1, 0.5, 0.3, 0.5, 1)}),
    Scalars(seq=8, step=3, wall=2.0, values={"loss": 0.4, "val/loss": 0.6}),
    RunEnded(seq=9, step=3, reason="error", error="ValueError: no"),
]  # fmt: skip
HEADER = RunStarted(seq=1, run="r1", name="a run", wall=1.0, command=("python", "train.py"), parameters=10)

NUMBERS = [0, 1, -1, 255, 256, 65535, 2**31, 2**32, 2**32 - 1, 2**53, 2**63 - 1, -(2**63), 2**64, 10**400, 1.5, 1e308, 1e-320]  # fmt: skip
THINGS: list[Any] = [None, True, [], {}, "", "x" * 5000, "\x1b]52;c;A\x07", "\u202e", "nan", "inf", [[]], {"": 0}, "\ud800"]  # fmt: skip
TOKENS = [b"nan", b"-inf", b"1e999", b"\x00", b"\xff\xfe", b"\r", b'"', b"'", b",", b";", b"\t", b"{", b"[", b"}", b"\xe2\x80\xa8",
          b"9" * 400, b"0x1p3", b"1_000", b"\xef\xbb\xbf", b"step", b"\n\n", b'"step":-1', b"=cmd()"]  # fmt: skip


class Format(NamedTuple):
    """How to make inputs of a kind, and how to read them."""

    make: Callable[[random.Random], bytes]
    take: Callable[[Path, bytes], None]


def bent(value: Any, dice: random.Random, depth: int = 0) -> Any:
    """JSON with one or a few of its leaves, keys or members changed."""
    if dice.random() < 0.1 or depth > 6:
        return dice.choice(THINGS) if dice.random() < 0.5 else dice.choice(NUMBERS)
    if isinstance(value, dict) and value:
        key = dice.choice(list(value))
        choice = dice.randrange(6)
        if choice == 0:
            return {name: part for name, part in value.items() if name != key}
        if choice == 1:
            return {**value, dice.choice(["", "\x1b[31m", "x" * 300, "step", "loss\n"]): value[key]}
        if choice == 2:
            return {**value, **{f"name{n}": value[key] for n in range(dice.choice([3, 300]))}}
        return {**value, key: bent(value[key], dice, depth + 1)}
    if isinstance(value, list) and value:
        at = dice.randrange(len(value))
        if dice.random() < 0.3:
            return value * dice.choice([0, 2, 50])
        return [*value[:at], bent(value[at], dice, depth + 1), *value[at + 1 :]]
    return dice.choice(NUMBERS) if dice.random() < 0.7 else dice.choice(THINGS)


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mangled(data: bytes, dice: random.Random, tokens: list[bytes] = TOKENS) -> bytes:
    """Bytes flipped, removed, repeated, swapped, or replaced by what has hurt somebody before."""
    changed = bytearray(data)
    for _ in range(dice.choice([1, 1, 2, 8])):
        at, length = dice.randrange(len(changed) + 1), dice.choice([1, 2, 4, 8, 60, 1000])
        change = dice.randrange(7)
        if change == 0 and changed:
            changed[at % len(changed)] ^= 1 << dice.randrange(8)
        elif change == 1:
            del changed[at : at + length]
        elif change == 2:
            changed[at:at] = changed[at : at + length]
        elif change == 3:
            changed[at : at + length] = dice.randbytes(length)
        elif change == 4:
            changed[at:at] = dice.choice(tokens)
        elif change == 5:
            changed[at : at + 8] = struct.pack("<Q", dice.choice([0, 1, 2**31, 2**32, 2**63, 2**64 - 1]))
        else:
            del changed[at:]
    return bytes(changed)


# ---- frames


def a_frame(dice: random.Random) -> bytes:
    whole = encode(dice.choice([HEADER, *FRAMES]))
    how = dice.random()
    if how < 0.7:
        return dumped(bent(json.loads(whole), dice))
    return mangled(whole, dice) if how < 0.95 else dice.randbytes(dice.choice([0, 3, 200]))


def frames_in(dice: random.Random) -> bytes:
    return b"\n".join(a_frame(dice).replace(b"\n", b" ") for _ in range(dice.choice([1, 3, 10])))


def take_frames(_: Path, data: bytes) -> None:
    """Decoded, ordered, folded, watched, and shown by both faces."""
    order, folds, watch, regime, store, lines = Order(), Folds(), Watch(), Regime(), Store(), Lines()
    for line in data.split(b"\n"):
        try:
            frame = decode(line)
        except LsmonError:
            continue
        frame = order.admit(frame) if frame is not None else None
        if frame is None:
            continue
        if not isinstance(frame, Summary):
            folds.add(frame)
            watch.see(frame)
            regime.see(frame)
        store.fold(frame)
        lines.fold(frame)
        encode(frame)
    folds.close()
    lines.rest()
    store.view()


# ---- MCAP


@lru_cache(maxsize=1)
def a_recording() -> tuple[bytes, bytes, bytes]:
    """Segment, overview and page of a small recording."""
    with tempfile.TemporaryDirectory(prefix="lsmon-") as home:
        folder = Path(home)
        more = [
            Scalars(seq=seq, step=seq, wall=float(seq), values={"loss": 1 / seq}) for seq in range(10, 200)
        ]
        record(folder, HEADER, [*FRAMES[:-1], *more])
        return tuple((folder / name).read_bytes() for name in ("000.mcap", "overview.mcap", "meta.json"))  # type: ignore[return-value]


def records_of(data: bytes) -> list[tuple[int, bytes]]:
    """Opcode and content of the records of an MCAP file or of a chunk."""
    found, at = [], 0
    while at + 9 <= len(data):
        opcode, length = struct.unpack_from("<BQ", data, at)
        found.append((opcode, data[at + 9 : at + 9 + length]))
        at += 9 + length
    return found


def packed(records: list[tuple[int, bytes]]) -> bytes:
    return b"".join(struct.pack("<BQ", opcode, len(content)) + content for opcode, content in records)


def bent_chunk(content: bytes, dice: random.Random) -> bytes:
    """Other messages under a checksum that is right."""
    head = struct.unpack_from("<QQQII", content)
    if not 0 <= zstandard.frame_content_size(content[32 + head[4] + 8 :]) < 1 << 20:
        raise ValueError("bent already, and would be believed and allocated here")
    inner = records_of(zstandard.decompress(content[32 + head[4] + 8 :]))
    at = dice.randrange(len(inner))
    opcode, message = inner[at]
    change = dice.randrange(5)
    if change == 0:
        inner[at] = (dice.choice([0, 5, 6, 255]), message)
    elif change == 1:
        inner = inner * dice.choice([0, 2, 20])
    elif change == 2 and opcode == 5:
        inner[at] = (opcode, message[:22] + a_frame(dice))
    elif change == 3 and opcode == 5:
        numbers = struct.pack("<HI", dice.choice([0, 1, 4, 9, 65535]), dice.choice([0, 1, 2**31, 2**32 - 1]))
        inner[at] = (opcode, numbers + message[6:])
    else:
        dice.shuffle(inner)
    raw = packed(inner)
    if dice.random() < 0.2:
        raw = mangled(raw, dice)
    size, crc = len(raw), zlib.crc32(raw)
    if dice.random() < 0.2:
        size, crc = dice.choice([0, size - 1, 1 << 26, 1 << 40]), dice.choice([0, crc])
    data = zstandard.compress(raw) if dice.random() < 0.9 else zstandard.compress(bytes(1 << 24))
    times = (
        (head[0], head[1])
        if dice.random() < 0.8
        else (dice.choice([0, 2**64 - 1]), dice.choice([0, 2**64 - 1]))
    )
    body = struct.pack("<QQQII", *times, size % 2**64, crc, 4) + b"zstd"
    return body + struct.pack("<Q", len(data)) + data


def an_mcap(dice: random.Random) -> bytes:
    """Three files, each behind its length."""
    files = list(a_recording())
    for index in range(3):
        if dice.random() < 0.6:
            files[index] = _bent_file(files[index], dice) if index < 2 else _bent_page(files[index], dice)
    return b"".join(struct.pack("<Q", len(data)) + data for data in files)


def _bent_page(data: bytes, dice: random.Random) -> bytes:
    return dumped(bent(json.loads(data), dice)) if dice.random() < 0.8 else mangled(data, dice)


def _bent_file(data: bytes, dice: random.Random) -> bytes:
    if dice.random() < 0.3:
        return mangled(data, dice)
    records = records_of(data[len(MAGIC) : -len(MAGIC)])
    chunks = [index for index, (opcode, _) in enumerate(records) if opcode == 6]
    for _ in range(dice.choice([1, 2, 5])):
        at = dice.randrange(len(records))
        change = dice.randrange(6)
        if change == 0:
            del records[at]
        elif change == 1:
            records.insert(at, records[dice.randrange(len(records))])
        elif change == 2:
            records[at] = (records[at][0], mangled(records[at][1], dice))
        else:
            at = dice.choice(chunks)
            if at < len(records) and records[at][0] == 6:
                try:
                    records[at] = (6, bent_chunk(records[at][1], dice))
                except (struct.error, zstandard.ZstdError, ValueError, IndexError):
                    pass  # bent already
        if not records:
            return MAGIC
    body = packed(records)
    if dice.random() < 0.5:  # so that the search for chunks is reached
        return MAGIC + body
    return MAGIC + body + MAGIC


def take_mcap(folder: Path, data: bytes) -> None:
    at = 0
    for name in ("000.mcap", "overview.mcap", "meta.json"):
        (length,) = struct.unpack_from("<Q", data, at)
        (folder / name).write_bytes(data[at + 8 : at + 8 + length])
        at += 8 + length
    try:
        recording = Recording.open(folder)
    except LsmonError:
        return
    with closing(Replay(recording, playing=False)) as replay:
        About.of(recording)
        list(recording.frames())
        recording.events()
        for level in (64, 4096):
            list(recording.summaries(level))
        for step in (0, 100, 10**12):
            replay.seek(step)
            store = Store()
            for frame in replay.read():
                store.fold(frame)
            store.view()


# ---- TensorBoard events, CSV, JSON lines


def a_tfevents(dice: random.Random) -> bytes:
    out = b""
    for step in range(dice.choice([1, 5, 30])):
        value = _field(1, b"loss") + b"\x15" + struct.pack("<f", dice.choice([0.5, float("nan"), 1e30]))
        if dice.random() < 0.3:
            tensor = b"\x08\x02" + _field(4, struct.pack("<d", 0.25))
            value = _field(1, b"val") + _field(8, tensor)
        event = (
            b"\x09" + struct.pack("<d", 1e9 + step) + b"\x10" + _varint(step) + _field(5, _field(1, value))
        )
        if dice.random() < 0.3:
            event = mangled(
                event, dice, [b"\xff" * 9, b"\x80" * 20, b"\x12\xff\xff\xff\xff\x0f", b"\x0a\x00"]
            )
        head = struct.pack("<Q", len(event))
        out += (
            head
            + struct.pack("<I", tfevents.masked(head))
            + event
            + struct.pack("<I", tfevents.masked(event))
        )
    return mangled(out, dice) if dice.random() < 0.4 else out


def _varint(value: int) -> bytes:
    out = b""
    while value >= 128:
        out += bytes([value & 127 | 128])
        value >>= 7
    return out + bytes([value])


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def a_csv(dice: random.Random) -> bytes:
    separator = dice.choice([",", ";", "\t"])
    rows = [separator.join(["step", "loss", "wall_time", "val/acc"])]
    rows += [
        separator.join([str(n), f"{1 / (n + 1):.4g}", str(1e9 + n), ""])
        for n in range(dice.choice([1, 20, 100]))
    ]
    data = dice.choice(["\n", "\r\n"]).join(rows).encode()
    return mangled(data, dice) if dice.random() < 0.9 else dice.randbytes(dice.choice([0, 5, 500]))


def a_jsonl(dice: random.Random) -> bytes:
    if dice.random() < 0.3:  # what `lsmon tail --json` prints
        return b"\n".join([encode(HEADER), frames_in(dice), encode(FRAMES[0]), encode(FRAMES[-1])])
    rows = [
        dumped({"step": n, "loss": 1 / (n + 1), "wall": 1e9 + n, "name": "x"})
        for n in range(dice.choice([1, 20, 100]))
    ]
    for _ in range(dice.choice([1, 3])):
        at = dice.randrange(len(rows))
        rows[at] = (
            dumped(bent(json.loads(rows[at]), dice)) if dice.random() < 0.5 else mangled(rows[at], dice)
        )
        if not _is_object(rows[at]):
            break
    return b"\n".join(rows)


def _is_object(row: bytes) -> bool:
    try:
        return isinstance(json.loads(row), dict)
    except (ValueError, RecursionError):
        return False


def _take_file(name: str) -> Callable[[Path, bytes], None]:
    def take(folder: Path, data: bytes) -> None:
        path = folder / name
        path.write_bytes(data)
        try:
            recording = open_path(path)
        except LsmonError:
            return
        with closing(recording):
            store = Store()
            for frame in recording.frames():
                store.fold(frame)
            store.view()

    return take


# ---- relay streams


def a_stream(dice: random.Random) -> bytes:
    """Records of one zlib stream; half of those that are bent are bent before they are packed."""
    noise = dice.choice([b"", b"Welcome to box-3\n", records.MAGIC[:5], dice.randbytes(300)])
    version = (
        records.VERSION
        if dice.random() < 0.9
        else dice.choice([b"1\n", b"-1\n", b"9" * 5000 + b"\n", b"\xff\n"])
    )
    parts = [records.MAGIC + version]
    stream = zlib.compressobj(6)
    for _ in range(dice.choice([1, 4])):
        state = {"run": "0a1b", "phase": "live", "words": "fine"}
        first = dumped(bent(state, dice)) if dice.random() < 0.4 else dumped(state)
        lines = bytes(1 << 24) if dice.random() < 0.05 else b"\n".join([first, frames_in(dice)])
        body = stream.compress(lines) + stream.flush(zlib.Z_SYNC_FLUSH)
        if dice.random() < 0.2:
            body = mangled(body, dice)
        length = len(body) if dice.random() < 0.9 else dice.choice([0, 1, len(body) + 1, 2**31, 2**32 - 1])
        parts.append(struct.pack(">I", length) + body)
    whole = noise + b"".join(parts)
    return mangled(whole, dice) if dice.random() < 0.3 else whole


def take_stream(folder: Path, data: bytes) -> None:
    """In pieces of uneven length, as a pipe gives them."""
    reader, dice = records.RelayReader(), random.Random(len(data))
    try:
        while data:
            cut = dice.choice([1, 7, 1000, len(data)])
            for found in reader.feed(data[:cut]):
                take_frames(folder, b"\n".join(found.lines))
            data = data[cut:]
    except LsmonError:
        return


# ---- session cards


def a_card(dice: random.Random) -> bytes:
    me = this_process()
    card = Card(
        run="card", name="mlp", host=me.host, pid=me.pid, boot=me.boot, pid_started=me.pid_started,
        live="/tmp/x.live", ask="/tmp/x.ask", recording="/tmp/r", started=1.0,
    )  # fmt: skip
    whole = msgspec.json.encode(card)
    return dumped(bent(json.loads(whole), dice)) if dice.random() < 0.7 else mangled(whole, dice)


def take_card(folder: Path, data: bytes) -> None:
    """``folder`` is ``$LSMON_DIR``."""
    (folder / "runs").mkdir(exist_ok=True)
    (folder / "runs" / "card.json").write_bytes(data)
    for card in read_cards():
        assert isinstance(card.alive, bool)
        msgspec.json.encode(card)
        assert "\x1b" not in card.name + card.host + card.recording


FORMATS = {
    "frames": Format(frames_in, take_frames),
    "mcap": Format(an_mcap, take_mcap),
    "tfevents": Format(a_tfevents, _take_file("events.out.tfevents.1")),
    "csv": Format(a_csv, _take_file("run.csv")),
    "jsonl": Format(a_jsonl, _take_file("run.jsonl")),
    "relay": Format(a_stream, take_stream),
    "cards": Format(a_card, take_card),
}
