"""Print the settings as they are, as a file that can be changed and put where lsmon looks for it.

lsmon settings > config.toml     (its first line says where lsmon looks for it)
"""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from ..settings import Settings, config_path, load


def add(parser: ArgumentParser) -> None:
    parser.add_argument("--defaults", action="store_true", help="as they come, whatever is set")


def run(args: Namespace) -> int:
    settings = Settings() if args.defaults else load()
    sys.stdout.writelines(f"{line}\n" for line in page(settings))
    return 0


def page(settings: Settings) -> Iterator[str]:
    """TOML; what is not set stands there as a comment."""
    from ..every_key import groups
    from ..keys import bound

    yield f"# {config_path()}"
    yield _line(
        "theme",
        settings.theme or None,
        "lsmon-dark",
        "lsmon-dark, lsmon-light, lsmon-16; empty: the last one chosen with t",
    )
    yield _line("ascii", settings.ascii, False, "nothing but ASCII; else as the terminal says")
    yield _line("fps", settings.fps, 10, "redraws a second; else 10, and 4 over ssh")
    yield ""
    yield "[keys]"
    known: set[str] = set()
    for title, classes in groups():
        yield f"# {title}"
        for binding in bound(classes):
            if binding.id and binding.id not in known:
                known.add(binding.id)
                yield _line(
                    binding.id,
                    settings.keys.get(binding.id),
                    binding.key,
                    binding.tooltip or binding.description,
                )


def _line(name: str, value: object, instead: object, words: str) -> str:
    given = json.dumps(
        instead if value is None else value
    )  # text, numbers and truth are written alike in TOML
    return f"{'# ' if value is None else ''}{name} = {given}".ljust(44) + f"  # {words}"
