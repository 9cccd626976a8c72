"""The grid of tiles the viewer shows: powers of two over level 0, from a picture in one tile to finer than the slide.

A level is named by its exponent: one px of level k is 2^k level-0 px a side, so 0 is the slide's own scale and -1 is
twice as fine. Addresses count levels the other way, from 0 for the coarsest, as deep-zoom viewers do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from wsiparse.types import Box

__all__ = ["OUTLINE_UM", "OVERLAP_PX", "TILE_PX", "TilePyramid", "finest_overlay"]

#: Edge of a tile without what it shares with its neighbours, px.
TILE_PX: Final = 512

#: How far a tile reaches into each neighbour, px: placed at whole px of the screen, tiles then leave no seam, and a
#: line on the border of two tiles is whole in both.
OVERLAP_PX: Final = 2

#: Up to this many um per px objects are outlined, beyond they are filled: a nucleus of 8 um is then less than 8 px.
OUTLINE_UM: Final = 1.1

#: Outlines are drawn down to about this many um per px, so that they stay sharp when a slide is magnified.
_SHARP_UM: Final = 0.15
_MOST_FINER: Final = 3


@dataclass(frozen=True, slots=True)
class TilePyramid:
    """Levels of square tiles over a slide.

    Parameters
    ----------
    size : (width, height), level-0 px
    finest : exponent of the finest level; negative is finer than level 0

    Raises
    ------
    ValueError
        If a side is below 1 px.
    """

    size: tuple[int, int]
    finest: int = 0

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"size must be at least 1 x 1 px, got {self.size}")

    @property
    def coarsest(self) -> int:
        """Exponent of the first level that fits into one tile."""
        return max(self.finest, math.ceil(math.log2(max(self.size) / TILE_PX)))

    @property
    def levels(self) -> int:
        """How many levels there are."""
        return self.coarsest - self.finest + 1

    def exponent(self, level: int) -> int:
        """Exponent of the level that addresses call `level`.

        Raises
        ------
        ValueError
            If there is no such level.
        """
        if not 0 <= level < self.levels:
            raise ValueError(f"level {level} is not in 0..{self.levels - 1}")
        return self.coarsest - level

    def level_size(self, exponent: int) -> tuple[int, int]:
        """(width, height) of a level, px; a px that the slide fills in part counts."""
        width, height = self.size
        if exponent < 0:
            return width << -exponent, height << -exponent
        return (width - 1 >> exponent) + 1, (height - 1 >> exponent) + 1

    def grid(self, exponent: int) -> tuple[int, int]:
        """(columns, rows) of tiles of a level."""
        width, height = self.level_size(exponent)
        return -(-width // TILE_PX), -(-height // TILE_PX)

    def box(self, exponent: int, column: int, row: int) -> Box:
        """The pixels of a tile, px of its level: its square and what it shares with neighbours, cut to the level.

        Raises
        ------
        ValueError
            If there is no such tile.
        """
        columns, rows = self.grid(exponent)
        if not (0 <= column < columns and 0 <= row < rows):
            raise ValueError(f"tile {column}, {row} is not in a grid of {columns} x {rows}")
        width, height = self.level_size(exponent)
        x, y = max(0, column * TILE_PX - OVERLAP_PX), max(0, row * TILE_PX - OVERLAP_PX)
        x1, y1 = (column + 1) * TILE_PX + OVERLAP_PX, (row + 1) * TILE_PX + OVERLAP_PX
        return Box(x, y, min(x1, width) - x, min(y1, height) - y)

    def tiles(self, exponent: int) -> Iterator[tuple[int, int]]:
        """(column, row) of every tile of a level, row by row."""
        columns, rows = self.grid(exponent)
        return ((column, row) for row in range(rows) for column in range(columns))


def finest_overlay(mpp: float) -> int:
    """Exponent of the finest level at which outlines are worth drawing on a slide of `mpp` um per level-0 px."""
    return -min(_MOST_FINER, max(0, math.ceil(math.log2(mpp / _SHARP_UM))))
