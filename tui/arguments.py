"""The arguments of one command; argparse, with a usage error as one sentence."""

from __future__ import annotations

from argparse import ArgumentParser, RawDescriptionHelpFormatter
from typing import NoReturn

from lsmon.protocol.errors import UsageError


class Arguments(ArgumentParser):
    """Raises UsageError where argparse would print its usage and leave."""

    def __init__(self, command: str, description: str) -> None:
        super().__init__(
            prog=f"lsmon {command}",
            description=description,
            formatter_class=RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}; see `{self.prog} --help`.")
