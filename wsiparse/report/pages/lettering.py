"""Text in pictures, with the signs of units that Pillow's own font lacks: µ and ² are drawn of its letters. Pure."""

from __future__ import annotations

from PIL import ImageDraw, ImageFont

__all__ = ["Font", "font_of", "text_width", "write"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

#: Of the letter size: a raised 2, the stem of a µ below the line and its thickness.
_RAISED, _STEM, _THICK = 0.62, 0.2, 0.085


def font_of(size_px: int) -> Font:
    """The font of all pictures at a size."""
    return ImageFont.load_default(size_px)


def text_width(draw: ImageDraw.ImageDraw, text: str, font: Font) -> float:
    """Width of a text as `write` draws it, px."""
    return sum(draw.textlength(_letters(piece), font=_sized(piece, font)) for piece in _pieces(text))


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
    for piece in _pieces(text):
        own = _sized(piece, font)
        draw.text((x, y), _letters(piece), fill=fill, font=own)
        if piece == "µ":
            _stem(draw, x, y, own, fill)
        x += draw.textlength(_letters(piece), font=own)


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


def _pieces(text: str) -> list[str]:
    """Runs of letters that the font has, and the signs between them."""
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
