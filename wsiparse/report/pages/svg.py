"""The little of SVG that charts need: elements, round ticks, widths of words. Pure."""

from __future__ import annotations

import math
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from wsiparse.report.pages.words import significant

__all__ = [
    "INK",
    "LINE",
    "QUIET",
    "Axis",
    "Element",
    "add",
    "chart",
    "exact",
    "markup",
    "round_ticks",
    "shortened",
    "tick_text",
]

INK: Final = "#1d2126"
QUIET: Final = "#565d66"
LINE: Final = "#d5d9de"

_NARROW: Final = frozenset("iljtfrI.,:;'|!()[] /")
_BROAD: Final = frozenset("mwMW@%&<>=+~#")

Element = ET.Element


def add(parent: Element, tag: str, text: str | None = None, /, **attributes: str | float) -> Element:
    """A new child. Underscores of attribute names become hyphens, `class_` is class; floats get two decimals."""
    names = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
    child = ET.SubElement(parent, tag, {name: _plain(value) for name, value in names.items()})
    child.text = text
    return child


def _plain(value: str | float) -> str:
    if isinstance(value, str):
        return value
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def exact(value: float | None) -> str:
    """A number as data: the shortest text that gives the same number again; "" for None."""
    return "" if value is None else repr(value)


def chart(width: float, height: float, *, title: str, about: str, key: str, linked: bool = False) -> Element:
    """The root of a chart.

    Parameters
    ----------
    width, height : size in px of its own; the page scales it
    title, about : read to those who do not see it
    key : letters that no other chart of the page has
    linked : it holds links, so its parts must be reachable
    """
    attributes = {
        "class": "chart",
        "viewBox": f"0 0 {_plain(width)} {_plain(height)}",
        "width": _plain(width),
        "height": _plain(height),
        "role": "group" if linked else "img",
        "aria-labelledby": f"{key}-title {key}-about",
    }
    root = Element("svg", attributes)
    add(root, "title", title, id=f"{key}-title")
    add(root, "desc", about, id=f"{key}-about")
    return root


def markup(root: Element) -> Markup:
    """The chart as text for the page; names in it are escaped."""
    return Markup(ET.tostring(root, encoding="unicode", short_empty_elements=False))


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Multiples of a step of 1, 2 or 5 times a power of ten, the first at or below `low`, the last at or above `high`.

    Parameters
    ----------
    low, high : low <= high, finite
    most : how many at most, >= 3

    Returns
    -------
    at least two numbers, increasing

    Raises
    ------
    ValueError
        If `low` > `high`, or one is not finite.
    """
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"ticks need low <= high, got {low} and {high}")
    size = max(abs(low), abs(high))
    if size < 1e-200:  # steps of such numbers are no numbers
        low, high = 0.0, 1.0
    elif high - low <= 1e-9 * size:
        low, high = (0.0, high) if high > 0 else (low, 0.0)
    power = math.floor(math.log10((high - low) / most))
    while True:
        for factor in (1, 2, 5):
            # a division by a whole power of ten rounds once, a product with 10^-k twice
            step = factor * 10.0**power if power >= 0 else factor / 10.0**-power
            first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
            if 1 <= last - first < most:
                scale = 10.0 ** abs(power)
                return [i * factor * scale if power >= 0 else i * factor / scale for i in range(first, last + 1)]
        power += 1


def tick_text(value: float) -> str:
    """A tick's number: as many digits as it needs, six at most."""
    text = significant(value, 6)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


@dataclass(frozen=True, slots=True)
class Axis:
    """A straight scale: `low` lies at `start` px, `high` at `end` px."""

    low: float
    high: float
    start: float
    end: float

    @classmethod
    def of(cls, values: Sequence[float], start: float, end: float, most: int = 6) -> tuple[Axis, list[float]]:
        """An axis that holds all values, with round ends, and its ticks.

        Parameters
        ----------
        values : to be held
        start, end : px of the axis' ends
        most : ticks at most
        """
        ticks = round_ticks(min(values), max(values), most)
        return cls(ticks[0], ticks[-1], start, end), ticks

    def px(self, value: float) -> float:
        """Where a value lies."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _width_em(letter: str) -> float:
    if unicodedata.combining(letter):
        return 0.0
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in _NARROW:
        return 0.36
    if letter in _BROAD:
        return 0.95
    return 0.72 if letter.isupper() or not letter.isascii() else 0.6


def shortened(text: str, width_px: float, font_px: float = 12.0) -> str:
    """The text, or its beginning and an ellipsis, no wider than given by a cautious guess of letter widths."""
    text = " ".join(text.split())
    room = width_px / font_px
    if sum(map(_width_em, text)) <= room:
        return text
    room -= 1.0
    for k, letter in enumerate(text):
        room -= _width_em(letter)
        if room < 0:
            return text[:k].rstrip() + "…"
    raise AssertionError("the sum of the widths has changed")
