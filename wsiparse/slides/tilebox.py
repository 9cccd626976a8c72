"""A box of a level and the tiles under it: which of them other boxes will want, and where each goes in its pixels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.slides.tilecache import TileKey
from wsiparse.types import Box

__all__ = ["TileBox"]

#: Other boxes will want the tiles that reach into this part of a box's width or height from its edge. Boxes overlap by
#: a sixteenth as a rule.
_EDGE_PART: Final = 8

#: Tiles that are copied to their places in one call; the compiled code is made for this number.
_AT_ONCE: Final = 8


class TileBox:
    """The pixels of a box, filled tile by tile.

    Parameters
    ----------
    level : level of the slide
    box : px of the level, inside it
    tile : (width, height) of a tile, px

    Attributes
    ----------
    pixels : (box.height, box.width, 3) uint8, whatever memory held until they are filled
    rows, columns : those of the tiles that the box touches
    inner_rows, inner_columns : those of them that no other box will want
    seam_row : the first row of those that the boxes below will want
    """

    def __init__(self, level: int, box: Box, tile: tuple[int, int]) -> None:
        self._level, self._box, self._tile = level, box, tile
        self.pixels = np.empty((box.height, box.width, 3), np.uint8)
        self.columns, self.inner_columns, _ = _touched(box.x, box.x1, tile[0])
        self.rows, self.inner_rows, self.seam_row = _touched(box.y, box.y1, tile[1])
        self._outer_columns = [column for column in self.columns if column not in self.inner_columns]

    @property
    def tiles_beside(self) -> int:
        """How many tiles the outer columns have, which the boxes beside this one will want."""
        return len(self.rows) * len(self._outer_columns)

    def groups(self, most: int) -> Iterator[tuple[range, list[TileKey], list[TileKey]]]:
        """Some rows after the other, up to `most` tiles or one row: the rows, and keys of outer and of inner tiles."""
        step = max(1, most // len(self.columns))
        for first in range(self.rows.start, self.rows.stop, step):
            rows = range(first, min(first + step, self.rows.stop))
            outer, inner = [], []
            for row in rows:
                inside = row in self.inner_rows
                outer += [TileKey(self._level, row, k) for k in (self._outer_columns if inside else self.columns)]
                if inside:
                    inner += [TileKey(self._level, row, k) for k in self.inner_columns]
            yield rows, outer, inner

    def fill(self, rows: range, colour: tuple[int, int, int]) -> None:
        """Give the part of the box in some rows of tiles one colour."""
        height = self._tile[1]
        top, bottom = max(rows.start * height - self._box.y, 0), rows.stop * height - self._box.y
        self.pixels[top:bottom] = colour

    def put(self, tiles: Sequence[tuple[TileKey, NDArray[np.uint8]]]) -> None:
        """Fill the parts of the box that lie in some tiles.

        Parameters
        ----------
        tiles : each with its key and its (height, width, 3) uint8 pixels, C-contiguous and writable
        """
        from wsiparse.slides.kernels import put_tiles  # compiled code is loaded by those who read tiles only

        (width, height), box = self._tile, self._box
        pixels, corners = [], []
        for (_, row, column), tile in tiles:
            pixels.append(tile)
            corners.append((row * height - box.y, column * width - box.x))
        pixels += pixels[-1:] * (-len(corners) % _AT_ONCE)
        places, out = np.array(corners, np.int64), self.pixels.reshape(box.height, 3 * box.width)
        for k in range(0, len(corners), _AT_ONCE):
            put_tiles(tuple(pixels[k : k + _AT_ONCE]), places[k : k + _AT_ONCE], out)


def _touched(start: int, stop: int, size: int) -> tuple[range, range, int]:
    """Rows or columns of tiles under an interval of px, those of them away from its ends, and the first at its end."""
    edge = max(1, (stop - start) // _EDGE_PART)
    inner, last = (start + edge - 1) // size + 1, (stop - edge) // size
    return range(start // size, -(-stop // size)), range(inner, max(inner, last)), last
