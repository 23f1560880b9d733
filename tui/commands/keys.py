"""Keys for watching a run over TCP, which a training opens with Probe(listen="tcp://HOST:PORT") for those alone who are allowed.

    lsmon keys make            where you watch, and where you train, once
    lsmon keys                 shows your own key, and whose are allowed
    lsmon keys allow KEY NAME  where you train: who shows this key may watch
    lsmon keys forget NAME     and may not any more, once the connection ends

Over ssh none of this is needed: `lsmon HOST:`.
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace

from lsmon.protocol.errors import NoSuchRun, UsageError


def add(parser: ArgumentParser) -> None:
    parser.add_argument("act", nargs="?", default="show", choices=("show", "make", "allow", "forget"))
    parser.add_argument(
        "key", nargs="?", default="", metavar="KEY", help="64 hexadecimal digits; to forget, its name too"
    )
    parser.add_argument("name", nargs="?", default="", metavar="NAME", help="whose it is")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def run(args: Namespace) -> int:
    from lsmon.protocol.wire import keys

    if args.act in ("allow", "forget") and not args.key:
        raise UsageError(f"Which key? `lsmon keys {args.act} KEY`.")
    if args.act in ("show", "make") and args.key:
        raise UsageError(f"`lsmon keys {args.act}` takes no key; see `lsmon keys --help`.")
    if args.act == "make":
        keys.make()
    elif args.act == "allow":
        keys.allow(keys.read(args.key), args.name)
    elif args.act == "forget" and not keys.forget(args.key):
        raise NoSuchRun("No key is on the list by that name; `lsmon keys` shows the list.")
    pair, allowed = keys.own(), {keys.shown(key): name for key, name in keys.allowed().items()}
    own = keys.shown(pair.public) if pair else None
    if args.json:
        sys.stdout.write(json.dumps({"own": own, "allowed": allowed}) + "\n")
        return 0
    if own is None:
        sys.stderr.write("You have no keys yet; `lsmon keys make`.\n")
    else:
        sys.stdout.write(f"your key  {own}\n")
    for key, name in allowed.items():
        sys.stdout.write(f"allowed   {key}  {name}".rstrip() + "\n")
    return 0
