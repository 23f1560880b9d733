"""Watch a recording again: the folder of a run or one of its .mcap files by path, or a recorded run by name or id."""

from __future__ import annotations

from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace

from lsmon.protocol.errors import UsageError

from ..target import open_recording, recording_path
from ..terminal import has_screen


def add(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, metavar="X", help="0.1 to 1000 times (default 1)"
    )
    parser.add_argument("--at", type=int, default=None, metavar="STEP", help="start there, paused")
    parser.add_argument(
        "--once", action="store_true", help=SUPPRESS
    )  # of `lsmon TARGET`, looked for here too


def run(args: Namespace) -> int:
    if args.once:
        raise UsageError(f"One frame of the screen is printed by `lsmon {args.path} --once`.")
    if not has_screen():
        from .tail import print_recording

        return print_recording(recording_path(args.path))
    source = open_recording(recording_path(args.path), args.speed)
    if args.at is not None:
        source.seek(args.at)
        source.play(False)
    from .show import watch

    return watch(source)


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0.1 <= speed <= 1000:
        raise ArgumentTypeError(f"{text} is not between 0.1 and 1000")
    return speed
