"""Steps 1 to 3 of the straight line: tiles are read, recognised and cut to what each owns of the field."""

from __future__ import annotations

import logging
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.errors import TileReadError
from wsiparse.field.tiles import FieldTile, core_field, whole_core
from wsiparse.parallel.progress import Progress
from wsiparse.parallel.threads import Waits, map_ordered, read_ahead, timed
from wsiparse.recognize.base import Recognizer, mirror_outside, recognition_grid
from wsiparse.recognize.stain import od_bytes
from wsiparse.run.plan import Pass
from wsiparse.slides import Slide
from wsiparse.types import Box, RecognitionGrid, Tile, Unreadable

__all__ = ["TileWork", "part_of_tile", "recognise", "recognition_scores"]

log = logging.getLogger("wsiparse")


@dataclass(frozen=True, slots=True)
class TileWork:
    """How tiles are recognised; changes no result on a CPU.

    Parameters
    ----------
    workers : threads that recognise, of one core each
    readers : threads that read ahead of them; 0 reads in the threads that recognise
    batch : tiles the network sees at once
    progress : is shown how far it is
    waits : adds up how long the workers waited for pixels
    """

    workers: int
    readers: int
    batch: int
    progress: Progress
    waits: Waits


def _pixels(slide: Slide, tile: Tile, frame: Frame) -> NDArray[np.uint8]:
    """A tile's read box, (H, W, 3) uint8, mirrored where it reaches past the canvas or where its context is unreadable.

    Raises
    ------
    TileReadError
        If the core itself cannot be read.
    """
    try:
        return mirror_outside(slide.read(tile.box, frame), tile.box, frame.size)
    except TileReadError as err:
        core = slide.read(tile.core, frame)
        log.warning("tile %d: its context is unreadable and was mirrored: %s", tile.index, err)
        top, left = tile.core.y - tile.box.y, tile.core.x - tile.box.x
        pads = ((top, tile.box.y1 - tile.core.y1), (left, tile.box.x1 - tile.core.x1), (0, 0))
        return np.pad(core, pads, mode="reflect")


@dataclass(frozen=True, slots=True)
class _Read:
    """Step 1 for a batch of tiles.

    Parameters
    ----------
    tiles : those that could be read
    parts : what is recognised of each: `part_of_tile`
    images : (H, W, 3) uint8 each, of the parts
    lost : the others
    """

    tiles: list[Tile]
    parts: list[Tile]
    images: list[NDArray[np.uint8]]
    lost: list[Unreadable]


def _read_tiles(slide: Slide, scale_pass: Pass, indices: Sequence[int]) -> _Read:
    """An unreadable tile costs only itself."""
    found = _Read([], [], [], [])
    plan, info = scale_pass.plan, scale_pass.scale.info
    for index in indices:
        tile = plan.grid[index]
        part = part_of_tile(tile, plan.area.field_mask(tile.core, plan.frame), info.align_px) if info.any_size else tile
        try:
            found.images.append(_pixels(slide, part, plan.frame))
            found.tiles.append(tile)
            found.parts.append(part)
        except TileReadError as err:
            log.warning("tile %d unreadable: %s", index, err)
            found.lost.append(Unreadable(index, tile.core, str(err)))
    return found


def _field_of(read: _Read, scale_pass: Pass, recognizer: Recognizer) -> tuple[list[FieldTile], list[Unreadable]]:
    """Steps 2 and 3: recognise, cut the cores."""
    if not read.tiles:
        return [], read.lost
    plan = scale_pass.plan
    prompts, ids = scale_pass.scale.spec.prompts, tuple(p + 1 for p in scale_pass.scale.positions)
    cores: list[FieldTile] = []
    for _, alike in groupby(zip(read.tiles, read.parts, read.images, strict=True), key=lambda one: one[2].shape):
        batch = list(alike)
        recognition = recognizer(np.stack([image for _, _, image in batch]))
        for k, (tile, part, image) in enumerate(batch):
            mask = plan.area.field_mask(part.core, plan.frame)
            found = core_field(recognition, k, part, prompts, mask, ids, od_bytes(_core_of(image, part)))
            cores.append(found if part is tile else whole_core(found, part.core, tile.core))
    return cores, read.lost


def part_of_tile(tile: Tile, mask: NDArray[np.bool_], align: int) -> Tile:
    """The least of a tile that shapes results: the box of what is computed of its core, with the tile's own context.

    Parameters
    ----------
    tile : read box and core, field px; the context is the same on all sides
    mask : (h, w) bool over the core: what is computed
    align : offsets from the tile's origin, and sides, are multiples of it, px

    Returns
    -------
    Tile of the same index; `tile` itself where all of it is needed, or nothing
    """
    halo = tile.core.x - tile.box.x
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return tile
    (y0, y1), (x0, x1) = ((int(k[0]) // align * align, -(-(int(k[-1]) + 1) // align) * align) for k in (rows, columns))
    box = Box(tile.box.x + x0, tile.box.y + y0, x1 - x0 + 2 * halo, y1 - y0 + 2 * halo)
    if box == tile.box or box.x1 > tile.box.x1 or box.y1 > tile.box.y1:
        return tile
    core = Box(tile.core.x + x0, tile.core.y + y0, min(x1, tile.core.width) - x0, min(y1, tile.core.height) - y0)
    return Tile(tile.index, box, core)


def _core_of(image: NDArray[np.uint8], tile: Tile) -> NDArray[np.uint8]:
    """What a tile owns of its read box: no other tile says anything about these pixels."""
    y, x = tile.core.y - tile.box.y, tile.core.x - tile.box.x
    return image[y : y + tile.core.height, x : x + tile.core.width]


def recognise(
    slide: Slide,
    scale_pass: Pass,
    recognizer: Recognizer,
    indices: Sequence[int],
    how: TileWork,
) -> Generator[tuple[list[FieldTile], list[Unreadable]]]:
    """Field bytes of the given tiles, batch by batch in index order.

    Parameters
    ----------
    indices : of these tiles
    how : on how many threads, and how many at once
    """
    if not indices:
        return
    batches = (indices[k : k + how.batch] for k in range(0, len(indices), how.batch))
    with (
        how.progress.stage("recognise", len(indices), "tiles") as stage,
        read_ahead(lambda some: _read_tiles(slide, scale_pass, some), batches, readers=how.readers) as coming,
        closing(
            map_ordered(
                lambda ready: timed(ready, lambda read: _field_of(read, scale_pass, recognizer)),
                coming,
                workers=how.workers,
                initializer=recognizer.limit_threads,
            )
        ) as found,
    ):
        for (cores, lost), waited_s, worked_s in found:
            how.waits.add(waited_s, worked_s)
            stage.advance(len(cores) + len(lost))
            yield cores, lost


def recognition_scores(scale_pass: Pass, tiles: Sequence[tuple[int, NDArray[np.float32]]]) -> RecognitionGrid | None:
    """Recognition scores of a pass from its tiles' indices and mask statistics; None for engines without any.

    Parameters
    ----------
    scale_pass : the pass
    tiles : index and statistics, (P, 4) float32, of each tile that was read, prompts as in `work.scale.positions`

    Raises
    ------
    WeightsError
        If the score parameters lie beside the weights but are damaged.
    """
    return recognition_grid(scale_pass.scale.spec, scale_pass.scale.positions, scale_pass.plan.grid, tiles)
