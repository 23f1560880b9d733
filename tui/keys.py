"""The keys of the screens, as they are bound and as people write them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from textual.binding import Binding, BindingType
from textual.keys import KEY_NAME_REPLACEMENTS, Keys, key_to_character

_SIGNS = {
    "question_mark": "?", "left": "←", "right": "→", "up": "↑", "down": "↓", "comma": ",", "full_stop": ".", "minus": "-",
    "plus": "+", "slash": "/", "colon": ":", "left_square_bracket": "[", "right_square_bracket": "]", "less_than_sign": "<",
    "greater_than_sign": ">", "equals_sign": "=", "pageup": "pgup", "pagedown": "pgdn", "escape": "esc",
}  # fmt: skip

_NAMED = {key.value.rpartition("+")[2] for key in Keys if not key.value.startswith("<")} | {
    *KEY_NAME_REPLACEMENTS.values()
}
_HELD = {"ctrl", "shift", "alt", "super", "hyper", "meta"}


def is_key(key: str) -> bool:
    """Whether it is written as a key that can be pressed.

    >>> is_key("ctrl+l"), is_key("slash"), is_key("/"), is_key("f1"), is_key("F1"), is_key("ctrl+nosuch")
    (True, True, True, True, False, False)
    """
    *held, last = key.split("+") if key != "+" else [key]
    return _HELD.issuperset(held) and (last in _NAMED or key_to_character(last) is not None)


def written(key: str) -> str:
    """One key as it stands on the keyboard.

    >>> written("question_mark"), written("shift+left"), written("ctrl+s"), written("n")
    ('?', 'shift ←', 'ctrl s', 'n')
    """
    *held, last = key.split("+") if key != "+" else [key]
    return " ".join([*held, _SIGNS.get(last, last)])


def bound(groups: Iterable[Iterable[BindingType]]) -> list[Binding]:
    """The bindings of several classes that have an id, each id once."""
    found: dict[str, Binding] = {}
    for bindings in groups:
        for item in bindings:
            if isinstance(item, Binding) and item.id:
                found.setdefault(item.id, item)
    return list(found.values())


def keys_of(binding: Binding, keymap: Mapping[str, str]) -> list[str]:
    """Its keys, the person's own where there are any."""
    return [key.strip() for key in keymap.get(binding.id or "", binding.key).split(",") if key.strip()]


def hinted(
    hints: Iterable[tuple[str, str]], groups: Iterable[Iterable[BindingType]], keymap: Mapping[str, str]
) -> tuple[tuple[str, str], ...]:
    """Hints written for the keys as they come, in the person's own keys."""
    if not keymap:
        return tuple(hints)
    own = {
        written(default): written(keys_of(binding, keymap)[0])
        for binding in bound(groups)
        if binding.id in keymap and keys_of(binding, keymap)
        for default in binding.key.split(",")
    }
    return tuple((" ".join(own.get(key, key) for key in keys.split(" ")), does) for keys, does in hints)
