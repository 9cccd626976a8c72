"""Text in pictures, with letters that Pillow's own font lacks.

Its signs of units, µ and ², are drawn of letters it has. Text with other letters it lacks, such as class names of
regions in any script, is drawn in a font of this machine that has all of them; where there is none, letters lose their
accents, and what has no plain form is written as its Unicode escape. Never is a letter drawn as an empty box.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Final

from PIL import ImageDraw, ImageFont

__all__ = ["Font", "font_of", "plain_letters", "text_width", "write"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: Of the letter size: a raised 2, the stem of a µ below the line and its thickness.
_RAISED, _STEM, _THICK = 0.62, 0.2, 0.085

#: Size at which fonts are asked for letters, px, and a code that no font has a letter for.
_ASKED_PX: Final = 32
_NO_LETTER: Final = "\uffff"

_FONT_FILES: Final = (".ttf", ".ttc", ".otf", ".otc")
#: Fonts of many scripts, by the beginnings of their files' names: looked at first, in this order.
_FIRST: Final = (
    "dejavusans.", "notosans-regular", "liberationsans-regular", "arial.", "notosanscjk", "sourcehansans", "wqy",
    "droidsansfallback", "msyh", "pingfang", "hiragino", "malgun", "arialuni", "arial unicode", "unifont",
)  # fmt: skip
#: Letters without an accent that could be taken off.
_LIKE: Final = str.maketrans({
    "ß": "ss", "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
    "\u0131": "i", "\u2013": "-", "\u2014": "-", "\u2018": "'", "\u2019": "'", "\u00d7": "x",
})  # fmt: skip
#: Fonts looked at for one text.
_MOST_FONTS: Final = 300


def font_of(size_px: int) -> Font:
    """The font of all pictures at a size."""
    return ImageFont.load_default(size_px)


def text_width(draw: ImageDraw.ImageDraw, text: str, font: Font) -> float:
    """Width of a text as `write` draws it, px."""
    text, font = _drawable(text, font)
    return sum(draw.textlength(_letters(piece), font=_sized(piece, font)) for piece in _pieces(text, font))


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    font: Font,
    *,
    fill: str = "black",
    right: bool = False,
) -> None:
    """Draw a text from its upper left corner, or from its upper right one.

    Parameters
    ----------
    at : (x, y) of the corner, px
    text : one line
    font : see `font_of`
    fill : colour
    right : `at` is the right end
    """
    x, y = at
    if right:
        x -= text_width(draw, text, font)
    text, font = _drawable(text, font)
    for piece in _pieces(text, font):
        own = _sized(piece, font)
        draw.text((x, y), _letters(piece), fill=fill, font=own)
        if piece == "µ":
            _stem(draw, x, y, own, fill)
        x += draw.textlength(_letters(piece), font=own)


def _drawable(text: str, font: Font) -> tuple[str, Font]:
    """The text and the font that has its letters: this one, one of the machine's, or this one with plain letters."""
    text = "".join(" " if letter.isspace() else letter for letter in unicodedata.normalize("NFC", text))
    if not isinstance(font, ImageFont.FreeTypeFont):
        return plain_letters(text, str.isascii), font
    foreign = frozenset(letter for letter in text if letter not in "µ²" and not _own(letter))
    if not foreign:
        return text, font
    file = _file_with(frozenset(text) - {" "})
    if file is not None:
        return text, ImageFont.truetype(file, round(font.size))
    return plain_letters(text, _own), font


def plain_letters(text: str, has: Callable[[str], bool]) -> str:
    r"""A text of letters that a font has: without accents, or as Unicode escapes; µ and ² stay.

    >>> plain_letters("Épithélium 肿瘤 ß", str.isascii)
    'Epithelium \\u80bf\\u7624 ss'
    """
    out = []
    for letter in text:
        if letter in "µ²" or has(letter):
            out.append(letter)
            continue
        parts = unicodedata.normalize("NFKD", letter.translate(_LIKE))
        bare = "".join(part for part in parts if not unicodedata.combining(part))
        if bare and all(map(has, bare)):
            out.append(bare)
        elif not unicodedata.combining(letter):
            out.append(letter.encode("ascii", "backslashreplace").decode())
    return "".join(out)


@lru_cache(maxsize=4096)
def _own(letter: str) -> bool:
    """Whether the font of all pictures has a letter."""
    font = font_of(_ASKED_PX)
    return isinstance(font, ImageFont.FreeTypeFont) and _has(font, letter)


def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether a font has a letter: what it lacks is drawn as one and the same box."""
    mask, absent = font.getmask(letter), font.getmask(_NO_LETTER)
    return (mask.size, bytes(mask)) != (absent.size, bytes(absent))


@lru_cache(maxsize=256)
def _file_with(letters: frozenset[str]) -> str | None:
    """The first font of this machine that has all letters."""
    for file in _font_files()[:_MOST_FONTS]:
        try:
            font = ImageFont.truetype(file, _ASKED_PX)
            if all(_has(font, letter) for letter in sorted(letters)):
                return file
        except (OSError, ValueError):
            continue  # no font, or one that cannot be drawn
    return None


@lru_cache(maxsize=1)
def _font_files() -> tuple[str, ...]:
    """Every font of this machine, those of many scripts first."""
    found = {str(path): path.name.lower() for folder in _font_folders() for path in _below(folder)}

    def rank(file: str) -> tuple[int, str, str]:
        name = found[file]
        return next((k for k, start in enumerate(_FIRST) if name.startswith(start)), len(_FIRST)), name, file

    return tuple(sorted(found, key=rank))


def _below(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if name.lower().endswith(_FONT_FILES))


def _font_folders() -> list[Path]:
    """Where systems keep fonts."""
    if sys.platform == "win32":
        return [Path(os.environ.get("WINDIR", "C:/Windows"), "Fonts")]
    if sys.platform == "darwin":
        return [Path("/System/Library/Fonts"), Path("/Library/Fonts"), Path.home() / "Library/Fonts"]
    home = Path.home()
    return [Path("/usr/share/fonts"), Path("/usr/local/share/fonts"), home / ".local/share/fonts", home / ".fonts"]


def _stem(draw: ImageDraw.ImageDraw, x: float, y: float, font: Font, fill: str) -> None:
    """What makes a µ of the u that was drawn at (x, y)."""
    ink = font.getmask("u").getbbox()
    if ink is None:
        return
    _, top, _, bottom = draw.textbbox((x, y), "u", font=font)
    # the letter's bearing: half of what its advance is wider than its ink
    left = round(x + (draw.textlength("u", font=font) - (ink[2] - ink[0])) / 2)
    size = bottom - y
    draw.rectangle((left, top, left + max(0, round(_THICK * size) - 1), bottom + _STEM * size), fill=fill)


def _pieces(text: str, font: Font) -> list[str]:
    """Runs of letters that the font has, and the signs between them."""
    if isinstance(font, ImageFont.FreeTypeFont) and all(_has(font, sign) for sign in "µ²" if sign in text):
        return [text]
    found: list[str] = []
    for letter in text:
        if letter in "µ²" or not found or found[-1] in "µ²":
            found.append(letter)
        else:
            found[-1] += letter
    return found


def _letters(piece: str) -> str:
    return {"µ": "u", "²": "2"}.get(piece, piece)


def _sized(piece: str, font: Font) -> Font:
    if piece == "²" and isinstance(font, ImageFont.FreeTypeFont):
        return font.font_variant(size=max(6, round(_RAISED * font.size)))
    return font
