"""Write a recording, or anything that replay opens, in another format.

csv, jsonl and tensorboard hold all numbers; svg and txt are the screen as it stands at the end, or at --at STEP.
OUT is a file, or - for stdout.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import BinaryIO

from lsmon.protocol.counts import counted
from lsmon.protocol.errors import LsmonError, UsageError
from lsmon.protocol.recording.reader import Recording
from lsmon.protocol.sources.source import Source
from lsmon.protocol.sources.tfevents import is_named

from ..pages import PAGES
from ..progress import Progress
from ..target import opened, recording_path

LOSSY = 3
"""Exit code when frames are missing from what was written."""
PICTURES = ("svg", "txt")
FORMATS = ("csv", "jsonl", "tensorboard", *PICTURES)
OF_PICTURES = ("at", "size", "page", "theme")
PARQUET = (
    "Parquet is not written here; write csv, then, where pandas and pyarrow are installed, "
    "`python -c \"import pandas; pandas.read_csv('run.csv').to_parquet('run.parquet')\"`."
)

UNNAMED = (
    "lsmon: TensorBoard sees only files with `tfevents` in their names, such as events.out.tfevents.1; "
    "`lsmon replay` opens this one as it is.\n"
)


def add(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument(
        "--to", choices=(*FORMATS, "parquet"), required=True, help="the format; parquet by way of csv"
    )
    parser.add_argument(
        "-o", "--out", required=True, metavar="OUT", help="a file that does not exist yet, or -"
    )
    parser.add_argument(
        "--at", type=int, default=None, metavar="STEP", help="svg, txt: as it was at this step"
    )
    parser.add_argument(
        "--size", default="", metavar="COLSxROWS", help="svg, txt: of the screen, 120x36 unless given"
    )
    parser.add_argument(
        "--page",
        choices=PAGES,
        default="",
        help="svg, txt: not the panels",
    )
    parser.add_argument("--theme", default="", metavar="NAME", help="svg: colours, such as lsmon-light")


def run(args: Namespace) -> int:
    if args.to == "parquet":
        raise UsageError(PARQUET)
    given = [name for name in OF_PICTURES if getattr(args, name) not in (None, "")]
    if given and args.to not in PICTURES:
        raise UsageError(
            f"Argument --{given[0]}: it is for pictures, svg and txt; {args.to} holds the whole run."
        )
    recording = opened(recording_path(args.path))
    try:
        if args.to in PICTURES:
            from ..picture import picture, size
            from ..themes import no_theme

            if args.theme and (words := no_theme(args.theme)):
                raise UsageError(f"Argument --theme: {words}.")
            drawn = picture(
                _at(recording, args.at), size(args.size or "120x36"), page=args.page, theme=args.theme
            )
            with _opened(args.out) as out:
                out.write((drawn.svg if args.to == "svg" else drawn.text).encode())
        else:
            with Progress(f"writing {args.to}") as told, _opened(args.out) as out:
                _converted(recording, args.to, out, told)
            if args.to == "tensorboard" and args.out != "-" and not is_named(Path(args.out)):
                sys.stderr.write(UNNAMED)
        for words in recording.damage:
            sys.stderr.write(f"lsmon: {words}\n")
        if recording.lost:
            sys.stderr.write(
                f"lsmon: Not there to be written: {counted(recording.lost, 'frame')} of the recording.\n"
            )
        return LOSSY if recording.lost else 0
    finally:
        recording.close()


def _at(recording: Recording, step: int | None) -> Source:
    from lsmon.protocol.sources.replay import Replay

    replay = Replay(recording, playing=False)
    if step is None:
        replay.seek_end()
    else:
        replay.seek(step)
    return replay


def _converted(recording: Recording, to: str, out: BinaryIO, told: Progress) -> None:
    from ..exports import to_csv, to_jsonl, to_tensorboard

    if to == "csv":
        text = TextIOWrapper(out, encoding="utf-8", newline="")
        to_csv(recording, text, told)
        text.flush()
        text.detach()
    else:
        (to_jsonl if to == "jsonl" else to_tensorboard)(recording, out, told)


@contextmanager
def _opened(out: str) -> Iterator[BinaryIO]:
    """A new file, gone again when what should be in it could not be written whole."""
    if out == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(out).expanduser()
    try:
        with path.open("xb") as file:
            try:
                yield file
            except BaseException:
                path.unlink(missing_ok=True)
                raise
    except FileExistsError:
        raise UsageError(f"There is a file already, and it is left alone: {path}") from None
    except OSError as error:
        raise LsmonError(f"Cannot write ({(error.strerror or str(error)).lower()}): {path}") from None
