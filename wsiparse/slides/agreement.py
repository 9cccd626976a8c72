"""Whether two levels of a pyramid show the same picture: a few places of both, compared after averaging.

A page that is a label, a macro picture or blank may have the size of a level. Places lie in the cells of a grid over
the slide; where the file tells how many bytes its tiles take, each cell's place is the tile with the most, which shows
most. In both levels the place is averaged over squares. Only squares that differ from the slide's usual colour in one
of the two levels tell something; the sum of their differences is compared with the sum of how much they stand out:

    disagreement = sum |a - b| / sum (|a - m| + |b - m|),    m = median colour of the finer level

0 for the same picture, about 1 for pictures that have nothing to do with each other. All is done in a fixed order, so
the answer does not depend on who asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import TileReadError
from wsiparse.types import Box

__all__ = ["MOST_DISAGREEMENT", "Comparison", "TileBytes", "compare_levels"]

Size = tuple[int, int]
#: ``read(box) -> (h, w, 3) uint8`` of one level.
ReadBox = Callable[[Box], NDArray[np.uint8]]

#: Above it two levels show different pictures. Real pyramids have less than 0.05, also where every n-th pixel was
#: taken, and 0.1 where a level is 8 % darker; blank levels, other pictures and other scales have 0.2 to 0.9.
MOST_DISAGREEMENT: Final = 0.15

#: Cells of the grid along each axis, and longest edge of a place, px of the coarser and of the finer level.
_CELLS: Final = 8
_COARSE_PX: Final = 32
_FINE_PX: Final = 2048
#: Edge of a square, px of the coarser level.
_SQUARE_PX: Final = 4
#: A difference of so little (of 255) is coding, sharpening or noise; what stands out less tells nothing.
_ALLOWED: Final = 8.0
_STANDS_OUT: Final = 16.0
#: Fewer squares that stand out tell nothing: dust.
_LEAST_SQUARES: Final = 4


@dataclass(frozen=True, slots=True)
class TileBytes:
    """Where a level has data.

    Parameters
    ----------
    counts : (rows, columns) int64, coded bytes of each tile
    tile : (width, height) of a tile, px
    """

    counts: NDArray[np.int64]
    tile: Size


@dataclass(frozen=True, slots=True)
class Comparison:
    """How two levels compare.

    Parameters
    ----------
    disagreement : 0 the same, about 1 nothing in common
    squares : how many told something; without any the disagreement is 0
    """

    disagreement: float
    squares: int

    @property
    def agrees(self) -> bool:
        """Whether nothing speaks against their showing the same."""
        return self.squares < _LEAST_SQUARES or self.disagreement <= MOST_DISAGREEMENT

    @property
    def certain(self) -> bool:
        """Whether something shows that they do."""
        return self.squares >= _LEAST_SQUARES and self.disagreement <= MOST_DISAGREEMENT


def compare_levels(
    fine: ReadBox,
    coarse: ReadBox,
    size: Size,
    ratio: int,
    *,
    tiles: TileBytes | None = None,
    background: tuple[int, int, int] = (255, 255, 255),
) -> Comparison:
    """Compare a level with a finer one.

    Parameters
    ----------
    fine, coarse : read a box that lies inside the level, (h, w, 3) uint8
    size : (width, height) of the coarser level, px; the finer one has `ratio` times as many, give or take some
    ratio : px of the finer level per px of the coarser one, on both axes
    tiles : tiles of the finer level, where known
    background : colour of what the finer level does not have; squares of nothing else are not compared
    """
    pairs: list[tuple[NDArray[np.float64], NDArray[np.float64]]] = []
    for place in _places(size, ratio, tiles):
        try:
            near = fine(Box(place.x * ratio, place.y * ratio, place.width * ratio, place.height * ratio))
            far = coarse(place)
        except TileReadError:  # told when it is wanted
            continue
        square = min(_SQUARE_PX, place.width), min(_SQUARE_PX, place.height)
        there = (near != np.array(background, np.uint8)).any(axis=2)
        known = _means(there[..., None], (square[0] * ratio, square[1] * ratio))[:, 0] > 0
        pairs.append(
            (_means(near, (square[0] * ratio, square[1] * ratio))[known], _means(far, square)[known])
        )  # fmt: skip
    if not pairs:
        return Comparison(0.0, 0)
    a, b = (np.concatenate(side) for side in zip(*pairs, strict=True))
    return _compared(a, b)


def _compared(a: NDArray[np.float64], b: NDArray[np.float64]) -> Comparison:
    """Of the mean colours (n, 3) of the same squares in both levels."""
    if not len(a):
        return Comparison(0.0, 0)
    middle = np.median(a, axis=0)
    out_a, out_b = np.abs(a - middle), np.abs(b - middle)
    telling = np.maximum(out_a.max(axis=1), out_b.max(axis=1)) > _STANDS_OUT
    if not telling.any():
        return Comparison(0.0, 0)
    apart = np.maximum(np.abs(a - b)[telling] - _ALLOWED, 0.0).sum()
    return Comparison(float(apart / (out_a + out_b)[telling].sum()), int(telling.sum()))


def _places(size: Size, ratio: int, tiles: TileBytes | None) -> Iterator[Box]:
    """Boxes of the coarser level, px, row by row."""
    edge = max(1, min(_COARSE_PX, _FINE_PX // ratio))
    width, height = min(edge, size[0]), min(edge, size[1])
    across, down = max(1, min(_CELLS, size[0] // width)), max(1, min(_CELLS, size[1] // height))
    for j in range(down):
        for i in range(across):
            cell = (
                i * size[0] // across,
                j * size[1] // down,
                (i + 1) * size[0] // across,
                (j + 1) * size[1] // down,
            )  # fmt: skip
            x, y = (
                _richest(cell, ratio, tiles)
                if tiles is not None
                else ((cell[0] + cell[2]) // 2, (cell[1] + cell[3]) // 2)
            )
            left, top = (min(max(c - n // 2, 0), m - n) for c, n, m in zip((x, y), (width, height), size, strict=True))
            yield Box(left, top, width, height)


def _richest(cell: tuple[int, int, int, int], ratio: int, tiles: TileBytes) -> tuple[int, int]:
    """Centre of the tile with the most bytes among those whose middle lies in a cell, px of the coarser level."""
    (rows, columns), (tw, th) = tiles.counts.shape, tiles.tile
    x0, y0, x1, y1 = (n * ratio for n in cell)
    left, right = min(x0 // tw, columns - 1), min(max(x1 // tw, x0 // tw + 1), columns)
    top, bottom = min(y0 // th, rows - 1), min(max(y1 // th, y0 // th + 1), rows)
    part = tiles.counts[top:bottom, left:right]
    row, column = divmod(int(part.argmax()), part.shape[1])
    return ((left + column) * tw + tw // 2) // ratio, ((top + row) * th + th // 2) // ratio


def _means(pixels: NDArray[np.uint8] | NDArray[np.bool_], block: Size) -> NDArray[np.float64]:
    """Means of whole blocks (width, height), (n, channels); what fills none is left out."""
    down, across = pixels.shape[0] // block[1], pixels.shape[1] // block[0]
    whole = pixels[: down * block[1], : across * block[0]]
    blocks = whole.reshape(down, block[1], across, block[0], pixels.shape[2])
    means: NDArray[np.float64] = blocks.mean(axis=(1, 3), dtype=np.float64).reshape(-1, pixels.shape[2])
    return means
