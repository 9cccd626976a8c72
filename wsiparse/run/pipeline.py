"""The straight line: slide -> plan -> field -> objects. One function per step, in the order they run.

`analyse` walks it in memory; `wsiparse.run.batch` walks it for folders of slides and writes the results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import RunConfig
from wsiparse.coords import Frame, to_level0
from wsiparse.errors import TileReadError
from wsiparse.export.objectframe import ObjectFrame, tables_frame
from wsiparse.field.store import Field, memory_field
from wsiparse.field.tiles import FieldTile, core_field, whole_core
from wsiparse.machine import own_version
from wsiparse.objects.split import split_pixels
from wsiparse.parallel.progress import Progress, Quiet
from wsiparse.parallel.threads import Waits, map_ordered, read_ahead, timed
from wsiparse.recognize.base import (
    Recognizer,
    mirror_outside,
    recognition_grid,
)
from wsiparse.recognize.stain import od_bytes
from wsiparse.report.stats.summary import nothing_told
from wsiparse.run.engine import Engine
from wsiparse.run.plan import Pass, Prepared, prepare
from wsiparse.slides import Slide
from wsiparse.stitch.block import BlockResult
from wsiparse.stitch.stitcher import Stitcher
from wsiparse.tiling import TilePlan
from wsiparse.types import (
    Box,
    ObjectTable,
    PromptKind,
    PromptSet,
    RecognitionGrid,
    Tile,
    Unreadable,
)

if TYPE_CHECKING:
    import geopandas
    import pandas

__all__ = [
    "Analysis",
    "BlockWork",
    "TileWork",
    "analyse",
    "in_raster_order",
    "layers_of",
    "objects_of",
    "part_of_tile",
    "recognise",
    "recognition_scores",
]

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


@dataclass(frozen=True, slots=True)
class BlockWork:
    """How objects are made of a field; changes no object.

    Parameters
    ----------
    block_px : edge of the stitcher's blocks, px
    workers : threads
    progress : is shown how far it is
    ready : called with each block before it is read, in the calling thread; returns once the field holds it
    """

    block_px: int
    workers: int
    progress: Progress
    ready: Callable[[Box], None] = lambda _: None


@dataclass(frozen=True, slots=True, repr=False)
class Analysis:
    """Objects of one slide or image in memory.

    Parameters
    ----------
    cells, regions : in raster order of first pixel, field px; `objects`, `to_pandas` and `polygons` have level-0 px
    frames : frame of each kind's coordinates
    prepared : plans and engine they come from
    unreadable : tiles that could not be read

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.slides.synthetic import paint_he
    >>> found = wsiparse.recognise(paint_he(256, 256, seed=1).image, 0.5, ["nuclei"], engine="classical")
    >>> found.to_pandas()["area_um2"].median().item()
    61.5
    """

    cells: ObjectTable
    regions: ObjectTable
    frames: dict[PromptKind, Frame]
    prepared: Prepared
    unreadable: tuple[Unreadable, ...]

    def __repr__(self) -> str:
        lost = f", {len(self.unreadable)} unreadable tiles" if self.unreadable else ""
        counts = f"{len(self.cells)} cells, {len(self.regions)} regions on {self.prepared.area_mm2:.3g} mm2{lost}"
        return f"Analysis({counts}; {self.prepared.title})"

    def objects(self) -> ObjectFrame:
        """All objects as the table that `wsiparse.read_objects` gives, cells first: level-0 px, um, polygons, ids."""
        plan = self.prepared.passes[0].plan
        facts = {
            "version": own_version(),
            "engine": self.prepared.title,
            "slide": plan.fingerprint,
            "name": plan.slide_name,
            "slide_id": plan.slide_name,
            "size": list(plan.slide_size),
            "mpp": list(plan.slide_mpp),
            "unit": "level-0 px",
            "origin": [0, 0],
        }
        return tables_frame({"cell": self.cells, "region": self.regions}, self.frames, self.prepared.prompts, facts)

    def polygons(self) -> NDArray[np.object_]:
        """(N,) shapely polygons, dtype object, of all objects, cells first, level-0 px (an image's own), holes kept."""
        return self.objects().polygons()

    def to_pandas(self) -> pandas.DataFrame:
        """A row an object, cells first; the columns of `wsiparse export`, x_px and y_px in level-0 px.

        Raises
        ------
        OutputError
            If pandas is not installed.
        """
        return self.objects().to_pandas()

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """`to_pandas` with the polygons as geometry, level-0 px, no coordinate reference system.

        Raises
        ------
        OutputError
            If geopandas is not installed.
        """
        return self.objects().to_geopandas()


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


def layers_of(scale_pass: Pass) -> list[tuple[PromptKind, int]]:
    """The layers of a pass's field: ("cell", 0) when any prompt is a cell, ("region", r) for each region prompt."""
    prompts = scale_pass.scale.spec.prompts
    cells: list[tuple[PromptKind, int]] = [("cell", 0)] if prompts.of_kind("cell") else []
    return cells + [("region", r) for r in range(len(prompts.of_kind("region")))]


def objects_of(
    field: Field,
    scale_pass: Pass,
    prompts: PromptSet,
    layer: tuple[PromptKind, int],
    how: BlockWork,
    *,
    recognition: RecognitionGrid | None = None,
    min_recognition: float = 0.0,
) -> Iterator[ObjectTable]:
    """Step 4 for one layer: every object, once, as soon as its last pixel is known; field px, no promised order.

    Cells outside the analysed area (by their centroid) are left out; a region is cut where the field was cut. An object
    whose class scores below `min_recognition` in the tile that owns its first pixel is left out whole.

    Parameters
    ----------
    field : of this pass
    scale_pass : the pass
    prompts : all prompts of the run
    layer : one of `layers_of`
    how : in which blocks, on how many threads
    recognition, min_recognition : see above; None for engines without scores
    """
    kind, r = layer
    plan, scale = scale_pass.plan, scale_pass.scale
    split = split_pixels(scale.info.split, plan.frame) if kind == "cell" else None
    stitcher = Stitcher(plan.grid.canvas, how.block_px, n_classes=len(prompts), split=split)
    of_kind = [scale.positions[i] for i in scale.spec.prompts.of_kind(kind)]
    region_class = np.uint8(of_kind[r] + 1 if kind == "region" else 0)
    occupied = _occupied_blocks(plan, stitcher)

    def digest(i: int) -> BlockResult:
        cells, regions, od = field.read(stitcher.box(i))
        if kind == "cell":
            return stitcher.digest(i, cells[0], cells[1], od, cells[2])
        return stitcher.digest(i, (regions[r] > 0) * region_class, regions[r], od)

    def awaited() -> Iterator[int]:
        for i in occupied:
            how.ready(stitcher.box(i))
            yield i

    def kept(table: ObjectTable) -> ObjectTable:
        if len(table) and recognition is not None:
            table = replace(table, recognition=recognition.of_objects(table))
            if min_recognition > 0:  # a prompt without score parameters is not judged
                table = table.take(np.flatnonzero(~(table.recognition < min_recognition)))
        if len(table) == 0:
            return table
        if kind == "region":
            return replace(table, class_share=table.class_share[:, :0])
        inside = plan.area.keeps(to_level0(table.centroid, plan.frame))
        table = replace(table, class_share=np.ascontiguousarray(table.class_share[:, of_kind]))
        return table if inside.all() else table.take(np.flatnonzero(inside))

    with how.progress.stage(f"objects ({kind}s)", len(occupied), "blocks") as stage:
        for i in sorted(set(range(len(stitcher))).difference(occupied)):
            yield kept(stitcher.add_empty(i))
        for block in map_ordered(digest, awaited(), workers=how.workers):
            yield kept(stitcher.add(block))
            stage.advance()
    assert stitcher.finished


def _occupied_blocks(plan: TilePlan, stitcher: Stitcher) -> list[int]:
    """Blocks that meet the core of a kept tile, ascending."""
    wanted = np.zeros((plan.grid.rows, plan.grid.columns), np.bool_)
    wanted.flat[np.asarray(plan.kept, np.int64)] = True
    s = plan.grid.stride
    found = []
    for i in range(len(stitcher)):
        box = stitcher.box(i)
        if wanted[box.y // s : (box.y1 - 1) // s + 1, box.x // s : (box.x1 - 1) // s + 1].any():
            found.append(i)
    return found


def analyse(
    slide: Slide,
    config: RunConfig,
    *,
    engine: Engine | None = None,
    roi: Path | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Analysis:
    """The whole road in memory: for notebooks, tests and evaluation of small slides.

    Parameters
    ----------
    slide : open slide of known mpp
    config : run settings
    engine : of the same settings; None to make it
    roi : GeoJSON file of the regions to analyse
    workers : threads; changes no result
    progress : where to tell how far it is

    Returns
    -------
    Analysis with all objects
    """
    progress = progress or Quiet()
    engine = engine or Engine(config)
    prepared = prepare(slide, config, engine, roi)
    lost: list[Unreadable] = []
    found: dict[PromptKind, list[ObjectTable]] = {"cell": [], "region": []}
    for scale_pass in prepared.passes:
        tiles: list[FieldTile] = []
        for cores, bad in recognise(
            slide,
            scale_pass,
            engine.recognizers.of(scale_pass.scale.spec),
            scale_pass.plan.kept.tolist(),
            TileWork(workers, workers if workers > 1 else 0, config.batch_size, progress, Waits()),
        ):
            tiles += cores
            lost += bad
        field = memory_field(scale_pass.plan.grid, len(scale_pass.scale.spec.prompts.of_kind("region")), tiles)
        recognition = recognition_scores(scale_pass, [(t.index, t.statistics) for t in tiles])
        for layer in layers_of(scale_pass):
            found[layer[0]] += objects_of(
                field,
                scale_pass,
                prepared.prompts,
                layer,
                BlockWork(config.block_size, workers, progress),
                recognition=recognition,
                min_recognition=config.min_recognition,
            )
    cells = in_raster_order(found["cell"])
    nothing = nothing_told(prepared.prompts, len(cells), prepared.area_mm2)
    if nothing:
        log.warning("%s", nothing)
    return Analysis(cells, in_raster_order(found["region"]), prepared.frames(), prepared, tuple(lost))


def in_raster_order(batches: Iterable[ObjectTable]) -> ObjectTable:
    """All rows of all batches as one table sorted by first pixel."""
    table = ObjectTable.concat(list(batches))
    return table.take(table.raster_order())
