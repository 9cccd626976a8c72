"""The slide itself as JPEG tiles."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.slides import Slide
from wsiparse.types import Box
from wsiparse.viewer.pyramid import TilePyramid

__all__ = ["SlideTiles"]

_QUALITY: Final = 80

#: What cannot be decoded, and the smallest piece worth trying again, px.
_UNREADABLE: Final = (214, 214, 214)
_SMALLEST_PX: Final = 32


class SlideTiles:
    """Tiles of a slide, rendered when asked for.

    Parameters
    ----------
    slide : an open slide
    pyramid : its levels
    mpp : (x, y), um per level-0 px
    """

    def __init__(self, slide: Slide, pyramid: TilePyramid, mpp: tuple[float, float]) -> None:
        self._slide, self._pyramid, self._mpp = slide, pyramid, mpp

    def jpeg(self, exponent: int, column: int, row: int) -> bytes:
        """One tile; grey where the slide cannot be decoded.

        Raises
        ------
        ValueError
            If there is no such tile.
        """
        box = self._pyramid.box(exponent, column, row)
        step = 2.0**exponent
        mx, my = self._mpp
        frame = Frame(self._pyramid.level_size(exponent), (step, step), (mx * step, my * step))
        out = io.BytesIO()
        Image.fromarray(self._pixels(box, frame)).save(out, format="JPEG", quality=_QUALITY)
        return out.getvalue()

    def _pixels(self, box: Box, frame: Frame) -> NDArray[np.uint8]:
        try:
            return self._slide.read(box, frame)
        except TileReadError:
            pass
        out = np.empty((box.height, box.width, 3), np.uint8)
        out[:] = np.array(_UNREADABLE, np.uint8)
        if min(box.width, box.height) > _SMALLEST_PX:
            left, top = box.width // 2, box.height // 2
            for y, height in ((0, top), (top, box.height - top)):
                for x, width in ((0, left), (left, box.width - left)):
                    out[y : y + height, x : x + width] = self._pixels(Box(box.x + x, box.y + y, width, height), frame)
        return out
