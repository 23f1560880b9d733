"""Keys for TCP: this user's own pair, and whose keys may watch. Two files that nobody else may read or write.

A key is shown as 64 hexadecimal digits, which go through any shell. CURVE (CurveZMQ, rfc.zeromq.org/spec/26) checks
and encrypts with them. A public key is no secret.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import NamedTuple

import zmq
from zmq.utils import z85

from ..clean import clean_line, clean_name
from ..errors import LsmonError, UsageError
from ..places import make_private, state_dir

_KEY = re.compile(r"[0-9a-fA-F]{64}")
_LIST_BYTES = 1 << 20
"""Ten thousand viewers."""


class Pair(NamedTuple):
    """As libzmq takes them: 40 characters of Z85."""

    public: bytes
    secret: bytes


def folder() -> Path:
    return state_dir() / "keys"


def own_file() -> Path:
    return folder() / "own"


def allowed_file() -> Path:
    return folder() / "allowed"


def shown(key: bytes) -> str:
    """A key as people pass it on."""
    return z85.decode(key).hex()


def read(words: str) -> bytes:
    """The key in these words. Raises UsageError."""
    if not _KEY.fullmatch(words):
        raise UsageError(
            f"A key has 64 hexadecimal digits, as `lsmon keys` shows them, unlike {clean_line(words, 80)!r}."
        )
    return z85.encode(bytes.fromhex(words))


def make() -> Pair:
    """A new pair for this user. Raises UsageError when there is one: whoever knows it would be locked out."""
    public, secret = zmq.curve_keypair()
    try:
        make_private(folder())
        with os.fdopen(os.open(own_file(), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(shown(secret) + "\n")
    except FileExistsError:
        raise UsageError(
            f"There are keys already, and others may rely on them; to begin anew remove {own_file()}"
        ) from None
    except OSError as error:
        raise _trouble("write", error, own_file()) from None
    return Pair(public, secret)


def own() -> Pair | None:
    """This user's pair, if it has been made. Raises LsmonError when others could read or have written it."""
    words = _read(own_file())
    if words is None:
        return None
    try:
        secret = read(words.strip())
    except UsageError:
        raise LsmonError(
            f"There is no key in the file; `lsmon keys make` once it is removed: {own_file()}"
        ) from None
    return Pair(zmq.curve_public(secret), secret)


def allowed() -> dict[bytes, str]:
    """Keys that may watch, and what they are called. Raises LsmonError when others could have written the list."""
    keys = {}
    for line in (_read(allowed_file()) or "").splitlines():
        key, _, name = line.strip().partition(" ")
        if _KEY.fullmatch(key):
            keys[read(key)] = clean_name(name.strip())
    return keys


def allow(key: bytes, name: str = "") -> None:
    """Put the key on the list, or give it another name. Raises LsmonError."""
    _write_list({**allowed(), key: clean_name(name)})


def forget(which: str) -> list[bytes]:
    """Take the key off the list, or all that are called so; those that were on it. Raises LsmonError."""
    keys = allowed()
    gone = [key for key, name in keys.items() if which in (shown(key), name)]
    if gone:
        _write_list({key: name for key, name in keys.items() if key not in gone})
    return gone


def _write_list(keys: dict[bytes, str]) -> None:
    draft = allowed_file().with_suffix(f".{os.getpid()}")
    try:
        make_private(folder())
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.writelines(f"{shown(key)} {name}".rstrip() + "\n" for key, name in keys.items())
        draft.replace(allowed_file())
    except OSError as error:
        raise _trouble("write", error, allowed_file()) from None


def _read(path: Path) -> str | None:
    """What a file of ours says that nobody else can read or write; None when it is not there."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            for found in (os.fstat(file.fileno()), path.parent.stat()):
                wide = found.st_mode & (0o077 if stat.S_ISREG(found.st_mode) else 0o022)
                if wide or found.st_uid != os.getuid():
                    raise LsmonError(
                        f"Others on this machine could read or change the keys; `chmod 600` the file and `chmod 700` "
                        f"its folder, and see that both are yours: {path}"
                    )
            return file.read(_LIST_BYTES).decode(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _trouble("read", error, path) from None


def _trouble(what: str, error: OSError, path: Path) -> LsmonError:
    return LsmonError(f"Cannot {what} keys ({(error.strerror or str(error)).lower()}); see to {path}")
