"""One block on its own: what is finished, and what its neighbours must complete.

Pure and free of shared state, so blocks may be digested by any number of threads or processes, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.runs import Runs, components, gather, lay_out
from wsiparse.objects.split import SplitPixels, split_runs
from wsiparse.objects.table import sum_classes, table_of_runs
from wsiparse.stitch import kernels
from wsiparse.types import Box, ObjectTable

__all__ = ["BlockDigest", "Finished", "digest_block", "finish_cells", "finish_whole"]

#: Segments along left, top, right and bottom border: (n, 3) int64, first and past last canvas px, open component.
Sides = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True, slots=True)
class Finished:
    """Objects that no later block can change.

    Parameters
    ----------
    table : the objects, canvas px
    dropped : instances left out by the area and confidence filters
    whole : cell components kept as one object for exceeding `SplitPixels.max_component_px`
    """

    table: ObjectTable
    dropped: int = 0
    whole: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class BlockDigest:
    """What the stitcher needs to know of one block; picklable.

    Parameters
    ----------
    index : block number, row-major
    finished : objects of the components closed inside the block
    runs : open components, canvas px, pointing into `planes`
    planes : class, confidence and, where the splitter floods it, landscape of their pixels; none for regions
    sums, present : (open components, n_classes) int64, see `wsiparse.objects.table.sum_classes`
    sides : where they touch borders shared with other blocks
    """

    index: int
    finished: Finished
    runs: Runs
    planes: tuple[NDArray[np.uint8], ...]
    sums: NDArray[np.int64]
    present: NDArray[np.int64]
    sides: Sides


def digest_block(
    index: int,
    box: Box,
    canvas: tuple[int, int],
    planes: tuple[NDArray[np.uint8], ...],
    n_classes: int,
    split: SplitPixels | None,
    min_area_px: int,
) -> BlockDigest:
    """Finish the closed components of a block and pack the open ones.

    Parameters
    ----------
    index, box : the block, canvas px
    canvas : (width, height), px
    planes : class map, confidence and, for cells that are split on it, landscape; (H, W) uint8 C-contiguous each
    n_classes : number of prompts
    split : how cells are split, None for regions
    min_area_px : smallest region kept (cells: in `split`)
    """
    found = components(planes[0], (box.x, box.y))
    sides, is_open = _borders(found, box, canvas)
    flat = tuple(p.ravel() for p in planes)
    closed_rows, open_rows = np.flatnonzero(~is_open), np.flatnonzero(is_open)
    closed = found if not len(open_rows) else found.take(closed_rows)
    if split is None:
        finished = finish_whole(closed, *sum_classes(closed, flat[0], flat[1], n_classes), min_area_px=min_area_px)
    else:
        runs, slots = lay_out(closed)
        finished = finish_cells(runs, tuple(gather(p, closed, runs, slots) for p in flat), n_classes, split)
    left = found.take(open_rows)
    sums, present = sum_classes(left, flat[0], flat[1], n_classes)
    packed: tuple[NDArray[np.uint8], ...] = ()
    if split is not None:
        lengths = (left.x1 - left.x0).astype(np.int64)
        src = np.cumsum(lengths) - lengths
        target = Runs(left.start, left.y, left.x0, left.x1, src)
        packed = tuple(gather(p, left, target, int(lengths.sum())) for p in flat)
        left = target
    return BlockDigest(index, finished, left, packed, sums, present, sides)


def _borders(runs: Runs, box: Box, canvas: tuple[int, int]) -> tuple[Sides, NDArray[np.bool_]]:
    """Segments along shared borders, by number among the open components, and which components are open."""
    found = np.empty((4, max(box.width, box.height), 3), np.int64)
    counts = np.empty(4, np.int64)
    kernels.border_segments(
        runs.start,
        runs.y,
        runs.x0,
        runs.x1,
        box.x if box.x > 0 else -1,
        box.y if box.y > 0 else -1,
        box.x1 if box.x1 < canvas[0] else -1,
        box.y1 if box.y1 < canvas[1] else -1,
        found,
        counts,
    )
    is_open = np.zeros(len(runs), np.bool_)
    for side in range(4):
        is_open[found[side, : counts[side], 2]] = True
    number = np.cumsum(is_open) - 1
    sides = []
    for side in range(4):
        segments = found[side, : counts[side]]
        segments = segments[np.argsort(segments[:, 0])]
        segments[:, 2] = number[segments[:, 2]]
        sides.append(segments)
    return (sides[0], sides[1], sides[2], sides[3]), is_open


def finish_cells(runs: Runs, planes: tuple[NDArray[np.uint8], ...], n_classes: int, split: SplitPixels) -> Finished:
    """Instances of complete cell components; `planes` as in `BlockDigest`, laid out in slots."""
    if not len(runs):
        return Finished(empty_table(n_classes))
    instances = split_runs(runs, planes[2] if split.needs_landscape else None, split)
    sums, present = sum_classes(instances, planes[0], planes[1], n_classes)
    table = table_of_runs(instances, sums, present, split.min_area_px, split.min_confidence)
    whole = int((runs.pixels() > split.max_component_px).sum())
    return Finished(table, len(instances) - len(table), whole)


def finish_whole(
    runs: Runs,
    sums: NDArray[np.int64],
    present: NDArray[np.int64],
    min_area_px: int,
    min_confidence: float = 0.0,
    whole: int = 0,
) -> Finished:
    """Complete components as one object each: regions, and cell components too large to split."""
    if not len(runs):
        return Finished(empty_table(sums.shape[1]))
    table = table_of_runs(runs, sums, present, min_area_px, min_confidence)
    return Finished(table, len(runs) - len(table), whole)


def empty_table(n_classes: int) -> ObjectTable:
    """A table without rows and with `n_classes` share columns."""
    return ObjectTable(class_share=np.zeros((0, n_classes), np.float32))
