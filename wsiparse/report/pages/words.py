"""Numbers as people read them. Pure.

The page's script formats rows that are not yet in the document; it follows the same rules, halves away from zero
included (ECMA-262, Number.prototype.toPrecision), and a test holds the two against each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

__all__ = ["NOTHING", "count", "interval", "listed", "micro", "p_value", "plain", "sentence", "significant", "times"]

#: Stands for a number that is not known.
NOTHING: Final = "\N{EN DASH}"
#: Narrow no-break space: between thousands, and between a number and its unit.
_THIN: Final = "\u202f"
_MINUS: Final = "\N{MINUS SIGN}"


def _grouped(digits: str) -> str:
    """Thousands of a plain decimal number set apart."""
    sign = _MINUS if digits.startswith("-") else ""
    whole, dot, rest = digits.lstrip("-").partition(".")
    return f"{sign}{int(whole):,}".replace(",", _THIN) + dot + rest


def count(n: int | None) -> str:
    r"""A whole number; a dash for None.

    >>> count(1234567)
    '1\u202f234\u202f567'
    """
    return NOTHING if n is None else _grouped(str(int(n)))


def _rounded(value: float, digits: int) -> Decimal:
    exact = Decimal(value)
    last = exact.adjusted() - digits + 1
    rounded = exact.quantize(Decimal(1).scaleb(last), ROUND_HALF_UP)
    # 9.996 has become 10.00, a digit too many
    return rounded.quantize(Decimal(1).scaleb(last + 1)) if rounded.adjusted() > exact.adjusted() else rounded


def significant(value: float | None, digits: int = 3) -> str:
    r"""A number with so many significant digits, halves away from zero; a dash for None.

    Numbers of fifteen and more digits before the point, or four and more noughts behind it, get an exponent.

    >>> [significant(v) for v in (1234.5, 56.78, 0.012345, 0)]
    ['1\u202f230', '56.8', '0.0123', '0']
    """
    if value is None:
        return NOTHING
    if value == 0:
        return "0"
    rounded = _rounded(value, digits)
    if abs(value) < 1e-4 or abs(value) >= 1e15:
        return f"{rounded:.{digits - 1}e}".replace("-", _MINUS).replace("+", "")
    return _grouped(f"{rounded:f}")


def interval(low: float | None, high: float | None) -> str:
    """Both ends of an interval; a dash when there is none."""
    return NOTHING if low is None or high is None else f"{significant(low)} to {significant(high)}"


def plain(value: object) -> str:
    """A setting as it was given, without digits it does not need; a dash for None.

    >>> plain(250.0), plain(0.05), plain("auto")
    ('250', '0.05', 'auto')
    """
    if value is None:
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def p_value(p: float | None) -> str:
    """A probability, small ones as a bound.

    >>> [p_value(p) for p in (0.0004, 0.0312, 0.5, 1.0)]
    ['< 0.001', '0.031', '0.50', '1.0']
    """
    if p is None:
        return NOTHING
    return "< 0.001" if p < 0.001 else significant(p, 2)


def times(n: int, one: str, many: str) -> str:
    """A count and its noun.

    >>> times(1, "tile", "tiles"), times(0, "tile", "tiles")
    ('1 tile', '0 tiles')
    """
    return f"{count(n)} {one if n == 1 else many}"


def listed(words: Sequence[str], joint: str = "and") -> str:
    """Words in a sentence.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {joint} {words[-1]}"


def micro(text: str) -> str:
    """Text of ASCII, as files have it, with the signs of its units: um behind a number as µm, mm2 as mm².

    >>> micro("margin 0-100 um"), micro("0.01 mm2"), micro("um 3 um2")
    ('margin 0-100 µm', '0.01 mm²', 'um 3 µm²')
    """
    return re.sub(r"\bmm2\b", "mm²", re.sub(r"(?<=\d )um(2?)\b", lambda m: "µm²" if m[1] else "µm", text))


def sentence(text: str) -> str:
    """A reason as a sentence.

    >>> sentence("too few cells"), sentence("Too few cells.")
    ('Too few cells.', 'Too few cells.')
    """
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?", ")")) else ".") if text else ""
