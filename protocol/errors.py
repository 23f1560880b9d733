"""Everything that lsmon can say went wrong, one root and a sentence each.

LsmonError
├── UsageError        the person asked for something that makes no sense (exit code 2)
├── BadFrame          bytes that are not a frame
├── BadRecording      a folder or file that is not, or is no longer, a recording
├── NewerFormat       written by a later lsmon than this one
├── NoSuchRun         nothing answers to that name
└── Unreachable       a socket or host that does not answer
"""

from __future__ import annotations


class LsmonError(Exception):
    """One plain sentence that names the cause and the remedy; the sensitive part (path, host) last."""

    exit_code = 1


class UsageError(LsmonError):
    """The person asked for something that makes no sense."""

    exit_code = 2


class BadFrame(LsmonError):
    """Bytes that are not a frame."""


class BadRecording(LsmonError):
    """A folder or file that is not a recording, or from which nothing can be read."""


class NewerFormat(LsmonError):
    """Written by a later lsmon than this one."""


class NoSuchRun(LsmonError):
    """Nothing, live or recorded, answers to that name."""


class Unreachable(LsmonError):
    """A socket or host that does not answer."""
