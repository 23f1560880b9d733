"""Labels for the ticks of an axis, of which each says where its tick is."""

from __future__ import annotations

from collections.abc import Sequence

from .format import number, short

_LETTERS = {"k": 3, "M": 6, "G": 9, "T": 12}
_OFF = 0.25
"""Of the way to the next tick: a label that is as far off as that would be taken for another place."""


def tick_names(ticks: Sequence[float], cells: int = 6) -> list[str]:
    """With as many digits as tell the ticks apart; empty where what fits into ``cells`` would still be another number.
    Powers of ten beside a letter for one would be of two scripts.

    >>> tick_names([1000, 2000]), tick_names([56150, 56152]), tick_names([1e-10, 1.04e-10, 1.1e-10])
    (['1 k', '2 k'], ['56 150', '56 152'], ['1e-10', '', ''])
    >>> tick_names([1, 1e10, 1e20])
    ['1', '1e10', '1e20']
    """
    tries = [[_name(ticks, index, digits, cells) for index in range(len(ticks))] for digits in (3, 4, 5, 6)]
    names = max(tries, key=lambda names: sum(map(bool, names)))
    if any("e" in name for name, tick in zip(names, ticks, strict=True) if abs(tick) > 1):
        powers = [
            number(tick) if name[-1:] in _LETTERS else name for name, tick in zip(names, ticks, strict=True)
        ]
        names = powers if max(map(len, powers)) <= cells else names
    return names


def _name(ticks: Sequence[float], index: int, digits: int, cells: int) -> str:
    tick, name = ticks[index], short(ticks[index], digits, cells)
    nearest = min((abs(other - tick) for other in ticks if other != tick), default=abs(tick))
    return name if len(name) <= cells and abs(_meant(name) - tick) <= _OFF * nearest else ""


def _meant(name: str) -> float:
    """The number that a person reads.

    >>> _meant("−1.23M"), _meant("56 150"), _meant("−2e-5")
    (-1230000.0, 56150.0, -2e-05)
    """
    figures = name.replace("−", "-").replace("∞", "inf").replace(" ", "")
    power = _LETTERS.get(figures[-1], 0)
    return float(f"{figures[:-1]}e{power}" if power else figures)
