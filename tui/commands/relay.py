"""The far end of ssh: write a run's frames to stdout until stdin closes. Called by ``lsmon HOST:RUN``, not by people."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace

from lsmon.protocol.wire.relay import relay

from ..target import live_cards, pick


def add(parser: ArgumentParser) -> None:
    parser.add_argument("run_name", nargs="?", default="", metavar="RUN")
    parser.add_argument(
        "--after", type=int, default=0, metavar="SEQ", help="the last frame that is known already"
    )


def run(args: Namespace) -> int:
    return relay(pick(args.run_name, live_cards()), sys.stdout.fileno(), sys.stdin.fileno(), args.after)
