"""Step 4 of the straight line: objects are made of the field, block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from wsiparse.coords import to_level0
from wsiparse.field.store import Field
from wsiparse.objects.split import split_pixels
from wsiparse.parallel.progress import Progress
from wsiparse.parallel.threads import map_ordered
from wsiparse.run.plan import Pass
from wsiparse.stitch.block import BlockResult
from wsiparse.stitch.stitcher import Stitcher
from wsiparse.tiling import TilePlan
from wsiparse.types import Box, ObjectTable, PromptKind, PromptSet, RecognitionGrid

__all__ = ["BlockWork", "in_raster_order", "layers_of", "objects_of"]


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


def in_raster_order(batches: Iterable[ObjectTable]) -> ObjectTable:
    """All rows of all batches as one table sorted by first pixel."""
    table = ObjectTable.concat(list(batches))
    return table.take(table.raster_order())
