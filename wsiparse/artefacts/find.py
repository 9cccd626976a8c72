"""Artefacts of a whole slide, block by block: pixels in, polygons out; the same for any size of the blocks. Pure.

The slide is read at 1 um per px where tissue or ink was seen on its overview. Ink is looked for at 2 um per px, focus
is judged on cells of 16 um. What a px becomes depends on the picture within 48 um: blocks are read with so much around
them. Focus is judged when all cells are known, since it is compared with the rest of the slide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.artefacts.focus import BANDS, CELL_PX, FOCUS_REACH_PX, focus_sums, out_of_focus
from wsiparse.artefacts.ink import INK_REACH_UM, ink_mask
from wsiparse.choices import ArtefactKind
from wsiparse.coords import Frame
from wsiparse.tiling.polygons import united
from wsiparse.types import Box

__all__ = ["ARTEFACT_MPP", "COARSEST_FOCUS_MPP", "FoundArtefacts", "Ground", "find_artefacts"]

Mask = NDArray[np.bool_]

#: Scale at which the slide is read, um per px.
ARTEFACT_MPP: Final = 1.0
#: Focus is judged on slides whose pixels are at most so large, um: on larger ones the finest band is not there.
COARSEST_FOCUS_MPP: Final = 0.65
#: Px that are read around a block; a multiple of the cells, so that blocks and cells share their grid.
_HALO_PX: Final = 48
#: Px of the picture a px of the ink's has a side.
_HALVED: Final = 2
#: A cell of which more is ink is not judged for focus.
_MOST_INK: Final = 0.25

assert max(FOCUS_REACH_PX, INK_REACH_UM / ARTEFACT_MPP) <= _HALO_PX
assert _HALO_PX % CELL_PX == 0


@dataclass(frozen=True, eq=False)
class Ground:
    """What is known of the slide before artefacts are looked for.

    Parameters
    ----------
    frame : of about `ARTEFACT_MPP`
    slide_size : (width, height), level-0 px; polygons end there
    overview : frame of the masks; covers the slide
    tissue, foreign : (h, w) bool, overview px: where objects count; pen and black that were told from tissue there
    background : (3,) float32, colour of glass, 0-255
    """

    frame: Frame
    slide_size: tuple[int, int]
    overview: Frame
    tissue: Mask
    foreign: Mask
    background: NDArray[np.float32]

    def at(self, mask: Mask, xs: NDArray[np.float64], ys: NDArray[np.float64]) -> Mask:
        """A mask of the overview at places.

        Parameters
        ----------
        mask : (h, w) bool, overview px
        xs : (W,) float64, columns, px of the frame
        ys : (H,) float64, rows, px of the frame

        Returns
        -------
        (H, W) bool
        """
        (height, width), (ox, oy), (fx, fy) = mask.shape, self.overview.downsample, self.frame.downsample
        columns = np.clip((xs * (fx / ox)).astype(np.int64), 0, width - 1)
        rows = np.clip((ys * (fy / oy)).astype(np.int64), 0, height - 1)
        return np.asarray(mask[np.ix_(rows, columns)])


@dataclass(frozen=True, eq=False)
class FoundArtefacts:
    """Where a slide's artefacts are.

    Parameters
    ----------
    shapes : polygons of each kind that was looked for, level-0 px, perhaps empty
    """

    shapes: dict[ArtefactKind, BaseGeometry]


@dataclass(frozen=True, eq=False)
class _Block:
    """What is known of a block alone: polygons of ink and sums of its cells."""

    box: Box
    ink: list[BaseGeometry]
    sums: NDArray[np.int64]
    judged: Mask


def find_artefacts(
    read: Callable[[Box], NDArray[np.uint8] | None],
    ground: Ground,
    kinds: Sequence[ArtefactKind],
    *,
    block_px: int = 512,
    each: Callable[[Callable[[Box], _Block | None], Iterable[Box]], Iterable[_Block | None]] = map,
) -> FoundArtefacts:
    """Look for artefacts on the tissue of a slide.

    Parameters
    ----------
    read : pixels (height, width, 3) uint8 of a box of the frame, within it; None where they cannot be read
    ground : frames, tissue, background
    kinds : what is looked for
    block_px : edge of the blocks, px of the frame, a multiple of 16; changes no result
    each : `map`, or one that works on several blocks at once

    Raises
    ------
    ValueError
        If `block_px` is no multiple of 16.
    """
    if block_px < CELL_PX or block_px % CELL_PX:
        raise ValueError(f"blocks must be a multiple of {CELL_PX} px, got {block_px}")
    width, height = ground.frame.size
    rows, columns = -(-height // CELL_PX), -(-width // CELL_PX)
    # exact: a cell's energy is a whole number that is rounded once
    sums = np.zeros((BANDS, rows, columns), np.float32)
    judged = np.zeros((rows, columns), np.bool_)
    ink: list[BaseGeometry] = []
    for block in each(lambda box: _look(read, ground, box, ink="ink" in kinds), _blocks(ground, block_px)):
        if block is None:
            continue
        ink += block.ink
        y, x = block.box.y // CELL_PX, block.box.x // CELL_PX
        place = np.s_[y : y + block.judged.shape[0], x : x + block.judged.shape[1]]
        sums[:, *place], judged[place] = block.sums, block.judged
    shapes: dict[ArtefactKind, BaseGeometry] = {}
    if "ink" in kinds:
        shapes["ink"] = _whole(ink)
    if "out_of_focus" in kinds:
        shapes["out_of_focus"] = _whole(_boxes(out_of_focus(sums, judged), Box(0, 0, width, height), CELL_PX, ground))
    return FoundArtefacts(shapes)


def _whole(parts: Sequence[BaseGeometry]) -> BaseGeometry:
    """The union, written the same way whatever it was put together from."""
    # corners along straight edges remain where parts met
    return shapely.normalize(shapely.simplify(united(parts), 0.0)) if parts else shapely.MultiPolygon()


def _blocks(ground: Ground, block_px: int) -> Iterator[Box]:
    """Blocks in which there is anything to look at, from the top."""
    width, height = ground.frame.size
    wanted = ground.tissue | ground.foreign
    for y in range(0, height, block_px):
        for x in range(0, width, block_px):
            box = Box(x, y, min(block_px, width - x), min(block_px, height - y))
            xs, ys = (np.arange(a, a + n + 1, dtype=np.float64) for a, n in ((x, box.width), (y, box.height)))
            if ground.at(wanted, xs, ys).any():
                yield box


def _look(read: Callable[[Box], NDArray[np.uint8] | None], ground: Ground, box: Box, *, ink: bool) -> _Block | None:
    """One block; None where it cannot be read."""
    width, height = ground.frame.size
    x0, y0 = max(0, box.x - _HALO_PX), max(0, box.y - _HALO_PX)
    x1, y1 = min(width, box.x1 + _HALO_PX), min(height, box.y1 + _HALO_PX)
    pixels = read(Box(x0, y0, x1 - x0, y1 - y0))
    if pixels is None:
        return None
    # only at the slide's end is anything missing to whole cells
    pixels = np.pad(pixels, ((0, -(y1 - y0) % CELL_PX), (0, -(x1 - x0) % CELL_PX), (0, 0)), mode="edge")
    top, left = box.y - y0, box.x - x0
    rows, columns = -(-box.height // CELL_PX), -(-box.width // CELL_PX)
    cells = np.s_[
        top // CELL_PX : top // CELL_PX + rows,
        left // CELL_PX : left // CELL_PX + columns,
    ]
    sums = focus_sums(_mean_density(pixels, ground.background))[:, *cells]
    judged = ground.at(ground.tissue, _middles(box.x, columns, CELL_PX), _middles(box.y, rows, CELL_PX))
    found: list[BaseGeometry] = []
    if ink:
        mask = ink_mask(_halved_density(pixels, ground.background), _HALVED * ground.frame.mean_mpp)
        inner = np.s_[
            top // _HALVED : (top + rows * CELL_PX) // _HALVED, left // _HALVED : (left + columns * CELL_PX) // _HALVED
        ]
        mask = mask[inner]
        share = mask.reshape(rows, CELL_PX // _HALVED, columns, CELL_PX // _HALVED).mean(axis=(1, 3))
        judged &= share <= _MOST_INK
        places = (_middles(a, n, _HALVED) for a, n in ((box.x, mask.shape[1]), (box.y, mask.shape[0])))
        found = _boxes(mask & ground.at(ground.tissue | ground.foreign, *places), box, _HALVED, ground)
    return _Block(box, [united(found)] if found else [], sums, judged)


def _middles(start: int, count: int, step: int) -> NDArray[np.float64]:
    """(count,) middles of intervals of `step` px, from a place on."""
    return np.asarray((np.arange(count) + 0.5) * step + start, np.float64)


def _mean_density(pixels: NDArray[np.uint8], background: NDArray[np.float32]) -> NDArray[np.float32]:
    """(h, w) float32: mean density of the three channels."""
    levels = np.maximum(np.arange(256, dtype=np.float32), 1)
    total = np.zeros(pixels.shape[:2], np.float32)
    for k in range(3):
        total += np.maximum(np.log10(background[k] / levels), 0).astype(np.float32)[pixels[:, :, k]]
    return np.asarray(total / np.float32(3))


def _halved_density(pixels: NDArray[np.uint8], background: NDArray[np.float32]) -> NDArray[np.float32]:
    """(3, h / 2, w / 2) float32: densities of the mean intensity of 2 x 2 px."""
    rows = pixels[::2].astype(np.uint16) + pixels[1::2]
    fours = rows[:, ::2] + rows[:, 1::2]
    levels = np.maximum(np.arange(4 * 255 + 1, dtype=np.float32) / 4, 1)
    return np.stack(
        [np.maximum(np.log10(background[k] / levels), 0).astype(np.float32)[fours[:, :, k]] for k in range(3)]
    )


def _boxes(mask: Mask, box: Box, step: int, ground: Ground) -> list[Any]:
    """Runs of set px of a mask as polygons, level-0 px.

    Parameters
    ----------
    mask : (h, w) bool, px of `step` px of the frame, from the box's corner
    """
    (fx, fy), (width, height) = ground.frame.downsample, ground.slide_size
    change = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    xs, ys = ([(a + step * k) * f for k in of] for a, f, of in ((box.x, fx, (start, end)), (box.y, fy, (row, row + 1))))
    shapes: list[Any] = shapely.box(
        np.minimum(xs[0], width), np.minimum(ys[0], height), np.minimum(xs[1], width), np.minimum(ys[1], height)
    ).tolist()
    return [shape for shape in shapes if shape.area > 0]
