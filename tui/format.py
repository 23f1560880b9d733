"""Numbers and times as a person reads them: few digits, SI letters, one width of minus."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from functools import lru_cache

from lsmon.protocol.counts import grouped

_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def number(value: float, digits: int = 3) -> str:
    """``digits`` significant digits in at most seven characters for the usual three.

    >>> number(0.00123), number(-38.25), number(41200), number(1e-9), number(0.5)
    ('1.23e-3', '−38.2', '41 200', '1e-9', '0.5')
    """
    if not math.isfinite(value):
        return "nan" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1e6 or size < 1e-2:
        mantissa, _, exponent = f"{value:.{digits - 1}e}".partition("e")
        if "." in mantissa:
            mantissa = mantissa.rstrip("0").rstrip(".")
        text = f"{mantissa}e{int(exponent)}"
    elif size >= 10 ** (digits - 1):
        text = grouped(round(value))
    else:
        text = f"{value:.{digits}g}"
        if "e" in text:  # 999.7 rounds up to 1e+03
            text = grouped(round(value))
    return _minus(text)


def _minus(text: str) -> str:
    """The sign in front only: exponents keep their hyphen and stay pasteable."""
    return f"−{text[1:]}" if text.startswith("-") else text


@lru_cache(maxsize=1024)  # every alert is looked at anew in each frame of the screen
def in_words(sentence: str) -> str:
    """A sentence whose numbers have the minus and the exponents of all others; hyphens stay.

    >>> in_words("λ_min was -0.163, low-rank, 1e-03 of -5, 1.6e+32")
    'λ_min was −0.163, low-rank, 1e-3 of −5, 1.6e32'
    """
    sentence = re.sub(r"(?<=\d)e(?:\+|(-))0*(?=\d)", r"e\1", sentence)
    return re.sub(r"(?<![\w.)\]-])-(?=\.?\d)", "−", sentence)


def short(value: float, digits: int = 3, cells: int = 6) -> str:
    """For axes and headers: three digits and an SI letter. What would take more than six characters gives up its space
    or the zero before the point, then digits.

    >>> short(226000), short(1500), short(0.25), short(-2e-5), short(12)
    ('226 k', '1.5 k', '0.25', '−2e-5', '12')
    >>> short(-1.23e6), short(-1.5e-3), short(1.6e302), short(12345, 5)
    ('−1.23M', '−.0015', '2e302', '12 345')
    """
    texts = (text for fewer in range(digits, 0, -1) for text in _forms(value, fewer))
    return next((text for text in texts if len(text) <= cells), _short(value, 1))


def _forms(value: float, digits: int) -> Iterator[str]:
    text = _short(value, digits)
    yield text
    if text[-1].isalpha():
        yield text.replace(" ", "")
    elif 1e-4 <= abs(value) < 1:
        yield _minus(f"{value:.{min(digits, 3)}g}".replace("0.", ".", 1))


def _short(value: float, digits: int) -> str:
    size = abs(value)
    if size < 9.995e14 and (digits <= 3 or size >= 1e6):
        for unit, letter in _SI:
            if size >= unit * 0.9995:
                rounded = float(f"{value / unit:.{digits}g}")  # 99.7 to two digits is 100, and not 1e+02
                return _minus(f"{rounded:.{max(digits, 4)}g} {letter}")
    if 0 < size < 1e-2 or size >= 1e15:
        digits = min(digits, 2 if digits <= 3 else 3)
    return number(value, digits)


def size(count: int) -> str:
    """Of what is held in bytes.

    >>> size(0), size(546_000)
    ('0 B', '546 kB')
    """
    words = short(count)
    return f"{words}B" if words[-1].isalpha() else f"{words} B"


def percent(share: float, digits: int = 2) -> str:
    """A share of one in per cent.

    >>> percent(0.031), percent(1.0), percent(0.9973), percent(0.0004), percent(0.097, 1)
    ('3.1 %', '100 %', '99.7 %', '0.04 %', '10 %')
    """
    if not math.isfinite(share):
        return number(share)
    hundred = share * 100
    if 99 < hundred < 100:
        return f"{hundred:.1f} %" if hundred < 99.95 else "99.9 %"
    text = f"{hundred:.{digits}g}" if abs(hundred) < 10**digits - 0.5 else f"{hundred:.0f}"
    return _minus(f"{text} %")


def with_error(value: float, error: float) -> str:
    """The value to the digit that its error leaves it, and the error; a share of it for very small or large values, as
    long as it is one.

    >>> with_error(38.234, 0.12), with_error(3.1e-6, 1.2e-7), with_error(5.0, math.nan), with_error(-0.42, 0.031)
    ('38.23 ± 0.12', '3.1e-6 ± 3.9 %', '5', '−0.42 ± 0.03')
    >>> with_error(0.0, 0.0), with_error(-6.51e-4, 0.0103)
    ('0', '−6.51e-4 ± 0.01')
    """
    if not (math.isfinite(error) and math.isfinite(value)) or error <= 0:
        return number(value)
    size = abs(value)
    if size and not 1e-2 <= size < 1e4:
        return f"{number(value)} ± {percent(error / size) if error <= size else number(error, 1)}"
    if error <= size * 5e-4:
        return f"{number(value)} ± {number(error, 1)}"
    # One digit of the error says enough, two when the first is a 1.
    exponent = math.floor(math.log10(error))
    decimals = -exponent + (error < 2 * 10.0**exponent)
    return _minus(f"{value:.{max(decimals, 0)}f} ± {error:.{max(decimals, 0)}f}")


def with_share(value: float, error: float) -> str:
    """The same in fewer cells; without an error of one per cent or less, which is what "converged" promises.

    >>> with_share(13.54, 0.27), with_share(-0.16, 0.008), with_share(0.0, 0.1), with_share(0.406, 2e-3), with_share(1e-3, 0.02)
    ('13.5±2%', '−0.16±5%', '0±0.1', '0.406', '1e-3±0.02')
    """
    if not (math.isfinite(error) and math.isfinite(value)) or error <= abs(value) * 1e-2:
        return number(value)
    share = percent(error / abs(value), 1).replace(" ", "") if error <= abs(value) else number(error, 1)
    return f"{number(value)}±{share}"


def duration(secs: float) -> str:
    """Elapsed time.

    >>> duration(8020), duration(59), duration(200000)
    ('2:13:40', '0:59', '2 d 7:33')
    """
    if not math.isfinite(secs) or secs < 0:
        return "–"
    whole = int(secs)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24}:{minutes:02}"
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def age(secs: float) -> str:
    """How long ago, in whole units: a digit that changes ten times a second is noise.

    >>> age(0.31), age(42), age(200), age(90000)
    ('0 s', '42 s', '3 min', '25 h')
    """
    if secs < 120:
        return f"{max(secs, 0):.0f} s"
    if secs < 7200:
        return f"{secs / 60:.0f} min"
    return f"{secs / 3600:.0f} h" if secs < 48 * 3600 else f"{secs / 86400:.0f} d"


def clock(wall: float) -> str:
    """Date and time of the day here, to the second; empty for what no clock shows."""
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall))
    except (OverflowError, ValueError, OSError):
        return ""
