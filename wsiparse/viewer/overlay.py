"""Overlay tiles: one class of one tile as a small PNG, transparent where the class is not.

Near, objects are outlined in the colour of their class: whole objects, drawn from their polygons, at every scale up to
`wsiparse.viewer.pyramid.OUTLINE_UM`. From afar, the more of a px a class covers, the more opaque it is; the opacity
grows with the square root of the share, so that a rare class is seen on a whole slide.

A picture a class, rather than one picture that the page recolours: classes that overlap (regions and cells, regions
of several prompts) are shown and hidden exactly, a class costs nothing while it is hidden and no request when it is
shown again, and the page never looks at pixels, which browsers forbid to pages opened from a folder.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wsiparse.coords import to_level0
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Box, PromptKind
from wsiparse.viewer.index import ObjectIndex
from wsiparse.viewer.kernels import paint_lines
from wsiparse.viewer.labelmaps import SAMPLES, LabelMaps
from wsiparse.viewer.pyramid import OUTLINE_UM, TILE_PX, TilePyramid

__all__ = ["EMPTY_TILE", "OverlayTiles", "occupied_tiles"]

#: Half the width of an outline, px of the screen: as much of it lies inside an object as outside.
_HALF_LINE_PX: Final[dict[PromptKind, int]] = {"cell": 1, "region": 2}

#: Opacity of a px that a class fills, of 255; regions lie over tissue that should be seen.
_FULL: Final[dict[PromptKind, int]] = {"cell": 230, "region": 110}

#: Steps of opacity, so that a px takes four bits.
_STEPS: Final = 15


def _png(steps: NDArray[np.uint8], rgb: tuple[int, int, int], alphas: list[int]) -> bytes:
    """A PNG of one colour whose px have the opacity ``alphas[step]``."""
    image = Image.fromarray(steps)
    image.putpalette(bytes(rgb) * len(alphas))
    out = io.BytesIO()
    image.save(out, format="PNG", transparency=bytes(alphas), bits=1 if len(alphas) == 2 else 4)
    return out.getvalue()


def _empty() -> bytes:
    out = io.BytesIO()
    Image.new("P", (TILE_PX, TILE_PX)).save(out, format="GIF", transparency=0)
    return out.getvalue()


#: A tile without any object. A GIF, because OpenSeadragon clears the place of a PNG before it draws it: a tile without
#: objects would cut the lines that its neighbours draw at their border.
EMPTY_TILE: Final = _empty()


class OverlayTiles:
    """Draws tiles of a slide's objects.

    Parameters
    ----------
    reader : the objects
    indexes : where they lie, by kind
    labels : label images of the same objects
    pyramid : pyramid of the overlay
    mpp : um per level-0 px, x
    """

    def __init__(
        self,
        reader: ObjectsReader,
        indexes: dict[PromptKind, ObjectIndex],
        labels: LabelMaps,
        pyramid: TilePyramid,
        mpp: float,
    ) -> None:
        self._prompts = reader.prompts
        self._indexes, self._labels, self._pyramid, self._mpp = indexes, labels, pyramid, mpp

    def png(self, class_id: int, exponent: int, column: int, row: int) -> bytes:
        """One class of one tile.

        Parameters
        ----------
        class_id : position in the prompt set + 1
        exponent, column, row : those of the tile, see `TilePyramid`

        Raises
        ------
        OutputError
            If objects or labels are damaged.
        ValueError
            If there is no such class or tile.
        """
        if not 1 <= class_id <= len(self._prompts):
            raise ValueError(f"class {class_id} is not in 1..{len(self._prompts)}")
        box = self._pyramid.box(exponent, column, row)
        prompt = self._prompts[class_id - 1]
        if self._mpp * 2.0**exponent <= OUTLINE_UM:
            return _png(self._outlines(class_id, exponent, box), prompt.rgb, [0, 255])
        share = self._labels.covered(class_id, exponent, box) / SAMPLES**2
        alphas = [round(_FULL[prompt.kind] * step / _STEPS) for step in range(_STEPS + 1)]
        return _png(np.ceil(np.sqrt(share) * _STEPS).astype(np.uint8), prompt.rgb, alphas)

    def _outlines(self, class_id: int, exponent: int, box: Box) -> NDArray[np.uint8]:
        kind = self._prompts[class_id - 1].kind
        index, half = self._indexes[kind], _HALF_LINE_PX[kind]
        step = 2.0**exponent / np.asarray(index.frame.downsample)  # frame px per px of the tile
        # a px more than a line needs, for the rounding
        x0, x1 = (box.x - half - 1) * step[0], (box.x1 + half + 1) * step[0]
        y0, y1 = (box.y - half - 1) * step[1], (box.y1 + half + 1) * step[1]
        rows = index.rows_in(x0, y0, x1, y1)
        rows = rows[index.class_id[rows] == class_id]
        image = np.zeros((box.height, box.width), np.uint8)
        if len(rows):
            table = index.outlines(rows)
            points = np.floor(to_level0(table.coords, index.frame) / 2.0**exponent + 0.5).astype(np.int64)
            paint_lines(image, points - (box.x, box.y), table.ring_offsets, half)
        return image


def occupied_tiles(index: ObjectIndex, class_id: int, pyramid: TilePyramid) -> NDArray[np.bool_]:
    """(rows, columns) bool, for each tile of level 0: does any object of a class come near?"""
    columns, rows = pyramid.grid(0)
    out = np.zeros((rows, columns), np.bool_)
    frame, boxes = index.frame, index.boxes[index.class_id == class_id]
    near = 8  # level-0 px: an outline is a few px wide on the coarsest level that has outlines
    scale = np.tile(np.asarray(frame.downsample) / TILE_PX, 2)
    tiles = np.floor(boxes * scale + np.array([-near, -near, near, near]) / TILE_PX).astype(np.int64)
    tiles = np.clip(tiles, 0, np.array([columns - 1, rows - 1] * 2))
    wide = (tiles[:, 2] - tiles[:, 0] > 1) | (tiles[:, 3] - tiles[:, 1] > 1)
    for x in (0, 2):
        for y in (1, 3):
            out[tiles[~wide, y], tiles[~wide, x]] = True
    for x0, y0, x1, y1 in tiles[wide].tolist():
        out[y0 : y1 + 1, x0 : x1 + 1] = True
    return out
