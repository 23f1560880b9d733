"""What a person has set: ``config.toml`` in the user's configuration folder, read once at the start."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

from lsmon.protocol.clean import clean_line
from lsmon.protocol.errors import UsageError

FASTEST_FPS = 60.0


@dataclass(frozen=True, slots=True)
class Settings:
    theme: str = ""
    """Empty for what was chosen last."""
    ascii: bool | None = None
    """None follows the terminal."""
    fps: float | None = None
    keys: dict[str, str] = field(default_factory=dict)
    """Binding id → keys, separated by commas."""


def config_path() -> Path:
    """``$LSMON_CONFIG``, else ``lsmon/config.toml`` where the system keeps such files."""
    if given := os.environ.get("LSMON_CONFIG"):
        return Path(given).expanduser()
    from platformdirs import user_config_path

    return user_config_path("lsmon") / "config.toml"


def load(path: Path | None = None) -> Settings:
    """The settings; what is not there is as it comes. Raises UsageError for what cannot be read or is not known."""
    path = config_path() if path is None else path
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return Settings()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The settings cannot be read ({error}): {path}") from None
    try:
        told = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(f"The settings are not TOML ({clean_line(str(error), 120)}): {path}") from None
    known: dict[str, tuple[type, ...]] = {
        "theme": (str,),
        "ascii": (bool,),
        "fps": (int, float),
        "keys": (dict,),
    }
    for name, value in told.items():
        if type(value) not in known.get(name, ()):
            kinds = "theme = text, ascii = true or false, fps = a number, [keys] with the name of an action = keys"
            raise UsageError(
                f"The settings cannot have {clean_line(f'{name} = {value!r}', 60)}; there are {kinds}: {path}"
            )
    if theme := told.get("theme"):
        from .themes import no_theme

        if words := no_theme(theme):
            raise UsageError(f"The settings cannot be followed: {words}: {path}")
    keys = told.get("keys", {})
    fps = told.get("fps")
    if fps is not None and not 0 < fps <= FASTEST_FPS:
        raise UsageError(
            f"The settings want {fps:g} redraws a second; between 1 and {FASTEST_FPS:.0f} can be had: {path}"
        )
    if keys:
        _check(keys, path)
    return Settings(told.get("theme", ""), told.get("ascii"), None if fps is None else float(fps), dict(keys))


def _check(keys: dict[str, object], path: Path) -> None:
    from .every_key import clash, every_binding
    from .keys import is_key

    known = {binding.id for binding in every_binding()}
    for name, wanted in keys.items():
        if name not in known:
            raise UsageError(
                f"The settings give a key to {clean_line(name, 40)!r}, and nothing is called that; `lsmon settings --defaults` lists what can be set: {path}"
            )
        if not isinstance(wanted, str) or not wanted.strip():
            raise UsageError(f'The key of {name} is written as text, such as "ctrl+l" or "y,Y": {path}')
        for key in filter(None, map(str.strip, wanted.split(","))):
            if not is_key(key):
                raise UsageError(
                    f"The settings give {name} the key {clean_line(key, 40)!r}, which is none; keys are written like f1, ctrl+l, slash or Q: {path}"
                )
    twice = clash({name: str(wanted) for name, wanted in keys.items()})
    if twice:
        key, one, two = twice
        raise UsageError(
            f"The settings give the key {key} to {one} and to {two}; set one of them to another: {path}"
        )
