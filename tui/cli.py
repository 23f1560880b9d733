"""The command ``lsmon``: finds out which command is meant, imports that one alone, and says what went wrong in a sentence.

Stdout is data, stderr is talk. Exit codes: 0 fine, 1 error, 2 usage, 3 lossy, 130 interrupted.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from lsmon.protocol.errors import LsmonError, NoSuchRun, UsageError

COMMANDS = {
    "show": "open the screen on a run; `lsmon TARGET` is short for it",
    "replay": "watch a recording again, at any speed",
    "ls": "live and recorded runs, here or on each HOST",
    "info": "what a recording holds: steps, gaps, drops, overhead",
    "compare": "lay runs over one another, and tell how they differ",
    "tail": "a run as plain lines, or as JSON",
    "alerts": "run the detectors over a recording, a table or TensorBoard events",
    "watch": "wait for alerts without a screen, and run a command or call a webhook",
    "repair": "what can be read of a damaged recording, written anew",
    "prune": "remove old recordings",
    "export": "write a recording as a table, JSON lines, TensorBoard events, SVG or text",
    "demo": "a real training with the screen on it",
    "keys": "who may watch over TCP, where a training listens there",
    "settings": "print the settings, with every key that can be changed",
    "doctor": "check terminal, sockets, ssh, disk and torch",
    "relay": "the far end of ssh: a run's frames on stdout",
}

HELP = """\
usage: lsmon [TARGET] [options]
       lsmon COMMAND ...

A live view of a training and its loss landscape.

TARGET is the name, id or pid of a run on this machine, HOST: or HOST:RUN over ssh,
or the path of a recording. Without one lsmon opens the run that is live here;
with several hosts, a list of what runs on them. --via CMD replaces ssh.

commands:
{commands}

`lsmon COMMAND --help` says more, `lsmon show --help` lists the options of the screen.
Exit codes: 0 fine, 1 error, 2 usage, 3 lossy, 130 interrupted.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; nothing that goes wrong becomes a traceback."""
    words = list(sys.argv[1:] if argv is None else argv)
    _open_what_is_closed()
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except LsmonError as error:
        return _say(str(error), error.exit_code)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _forget_output()  # whoever read it has seen enough
        return 0
    except Exception as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            _forget_output()
            return _say("What was said could not be written: no space left on the device.", 1)
        if os.environ.get("LSMON_LOG") == "debug":
            raise
        what = f"{type(error).__name__}: {error}"[:200]
        return _say(f"This should not have happened: {what}. LSMON_LOG=debug shows where.", 1)


def _open_what_is_closed() -> None:
    """A service or a shell may start us without one of the three; Python has None there."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode, encoding="utf-8"))


def _forget_output() -> None:
    """Python would complain again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _run(words: list[str]) -> int:
    if words[:1] in (["--help"], ["-h"]):
        commands = "\n".join(f"  {name:<10}{meaning}" for name, meaning in COMMANDS.items())
        sys.stdout.write(HELP.format(commands=commands))
        return 0
    if words[:1] == ["--version"]:
        from importlib.metadata import version  # 20 ms, more than all the rest of --help

        sys.stdout.write(f"lsmon {version('lsmon')}\n")
        return 0
    name = words.pop(0) if words[:1] and words[0] in COMMANDS else "show"
    from .arguments import Arguments

    command = import_module(f".commands.{name}", __package__)
    parser = Arguments(name, command.__doc__ or "")
    command.add(parser)
    try:
        code: int = command.run(parser.parse_args(words))
    except (NoSuchRun, UsageError) as error:
        near = _nearest(words) if name == "show" else ""
        if near:
            raise type(error)(f"{error} Did you mean `lsmon {near}`?") from None
        raise
    return code


def _nearest(words: Sequence[str]) -> str:
    """The command that the first word may have been meant for; empty when there is none like it."""
    from difflib import get_close_matches

    return next(iter(get_close_matches(words[0], COMMANDS, 1, 0.7)), "") if words else ""


def _say(sentence: str, code: int) -> int:
    from lsmon.protocol.clean import clean_line  # sentences quote paths, hosts and what others said

    sys.stderr.write(f"lsmon: {clean_line(sentence)}\n")
    return code
