"""Network output of a tile -> the bytes of its core.

The field holds, per pixel, three bytes for the cell layer (winning class, quantised confidence, landscape), one byte
for each region prompt (confidence, 0 where below its threshold) and one for the optical density, which all layers
share. A pixel is written exactly once, by the one tile whose core holds it; whatever needs context has happened inside
the recognizer, before the core is cut out. Background is 0 in every byte, so that it costs next to nothing on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.panoptic import combine_cells, quantise
from wsiparse.types import Box, PromptSet, Recognition, Tile

__all__ = ["FieldTile", "core_field", "whole_core"]


@dataclass(frozen=True, slots=True)
class FieldTile:
    """The field bytes of one core.

    Parameters
    ----------
    index : tile index in its grid
    cells : (3, h, w) uint8: class id (0 background), confidence round(255 p), landscape
    regions : (R, h, w) uint8: confidence of each region prompt in prompt order, 0 = not there
    od : (h, w) uint8: a pixel's optical density times `wsiparse.types.OD_STEPS`, 0 where no prompt is
    statistics : (P, 4) float32, mask statistics of each prompt on the whole tile; (0, 4) where the engine has none

    Raises
    ------
    ValueError
        If the shapes of `cells`, `regions` and `od` do not match.
    """

    index: int
    cells: NDArray[np.uint8]
    regions: NDArray[np.uint8]
    od: NDArray[np.uint8]
    statistics: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))

    def __post_init__(self) -> None:
        if self.cells.ndim != 3 or self.cells.shape[0] != 3:
            raise ValueError(f"cells must be (3, h, w), got {self.cells.shape}")
        if self.regions.ndim != 3 or self.regions.shape[1:] != self.cells.shape[1:]:
            raise ValueError(f"regions {self.regions.shape} do not match cells {self.cells.shape}")
        if self.od.shape != self.cells.shape[1:]:
            raise ValueError(f"od {self.od.shape} does not match cells {self.cells.shape}")


def core_field(
    recognition: Recognition,
    position: int,
    tile: Tile,
    prompts: PromptSet,
    mask: NDArray[np.bool_],
    class_ids: Sequence[int],
    od: NDArray[np.uint8],
) -> FieldTile:
    """Cut one tile's core out of a batch and reduce it to bytes.

    Parameters
    ----------
    recognition : what the recognizer said about the batch; its H x W is the tile's read box
    position : place of the tile in the batch
    tile : read box and core, field px
    prompts : same order as the probabilities
    mask : (h, w) bool over the core; False pixels are written as background
    class_ids : what the class byte is for each prompt, 1-255
    od : (h, w) uint8 over the core, optical density of its own pixels times `wsiparse.types.OD_STEPS`

    Returns
    -------
    FieldTile of the core's size
    """
    y, x = tile.core.y - tile.box.y, tile.core.x - tile.box.x
    rows, columns = slice(y, y + tile.core.height), slice(x, x + tile.core.width)
    probabilities = recognition.probabilities[position, :, rows, columns]
    cell_ids, region_ids = prompts.of_kind("cell"), prompts.of_kind("region")
    cells = np.zeros((3, tile.core.height, tile.core.width), np.uint8)
    if cell_ids:
        thresholds = np.array([prompts[i].threshold for i in cell_ids], np.float32)
        winner, confidence = combine_cells(np.ascontiguousarray(probabilities[list(cell_ids)]), thresholds)
        ids = np.array([0, *(class_ids[i] for i in cell_ids)], np.uint8)
        cells[0] = ids[winner]
        cells[1] = confidence
        if recognition.landscape is not None:
            cells[2] = recognition.landscape[position, rows, columns]
        cells *= mask
        cells[1:] *= cells[0] > 0
    regions = np.zeros((len(region_ids), tile.core.height, tile.core.width), np.uint8)
    for r, i in enumerate(region_ids):
        p = probabilities[i]
        regions[r] = np.where((p > prompts[i].threshold) & mask, np.maximum(quantise(p), 1), 0)
    od = od * (cells[0].astype(np.bool_) | regions.any(axis=0))
    if recognition.statistics is None:
        return FieldTile(tile.index, cells, regions, od)
    return FieldTile(tile.index, cells, regions, od, recognition.statistics[position])


def whole_core(part: FieldTile, inner: Box, core: Box) -> FieldTile:
    """The field bytes of a core of which only a part was recognised; the rest is background.

    Parameters
    ----------
    part : what was recognised, as large as `inner`
    inner : the part, field px, inside `core`
    core : the tile's core
    """
    rows = slice(inner.y - core.y, inner.y1 - core.y)
    columns = slice(inner.x - core.x, inner.x1 - core.x)

    def placed(given: NDArray[np.uint8]) -> NDArray[np.uint8]:
        full = np.zeros((*given.shape[:-2], core.height, core.width), np.uint8)
        full[..., rows, columns] = given
        return full

    return FieldTile(part.index, placed(part.cells), placed(part.regions), placed(part.od), part.statistics)
