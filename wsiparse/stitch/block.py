"""One block on its own: what is finished, and what its neighbours must complete.

Pure and free of shared state, so blocks may be digested by any number of threads or processes, in any order.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects.runs import Runs, connected, gather, grouped, packed
from wsiparse.objects.split import SplitPixels, split_runs
from wsiparse.objects.table import sum_classes, sum_od, table_of_runs
from wsiparse.stitch import kernels
from wsiparse.types import Box, ObjectTable

__all__ = ["BlockResult", "Finished", "block_result", "finish_cells", "finish_whole"]

#: Segments along left, top, right and bottom border: (n, 3) int64, first and past last canvas px, open component.
Ints = NDArray[np.int32]
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
class BlockResult:
    """What the stitcher needs to know of one block; picklable.

    Parameters
    ----------
    index : block number, row-major
    finished : objects of the components closed inside the block
    runs : open components, canvas px, pointing into `planes`
    planes : (n,) uint8 each, class, confidence, OD and, where the splitter floods it, landscape of their pixels; none
        for regions
    sums, present : (C, n_classes) int64, C open components, see `wsiparse.objects.table.sum_classes`
    od : (C,) int64, see `wsiparse.objects.table.sum_od`
    sides : (n, 3) int64 for left, top, right and bottom, where they touch borders shared with other blocks: first and
        past last canvas px, open component
    """

    index: int
    finished: Finished
    runs: Runs
    planes: tuple[NDArray[np.uint8], ...]
    sums: NDArray[np.int64]
    present: NDArray[np.int64]
    od: NDArray[np.int64]
    sides: Sides


def block_result(
    index: int,
    box: Box,
    canvas: tuple[int, int],
    planes: tuple[NDArray[np.uint8], ...],
    n_classes: int,
    split: SplitPixels | None,
    min_area_px: int,
) -> BlockResult:
    """Finish the closed components of a block and pack the open ones.

    Parameters
    ----------
    index, box : the block, canvas px
    canvas : (width, height), px
    planes : class map, confidence, OD and, for cells that are split on it, landscape; (H, W) uint8 C-contiguous each
    n_classes : number of prompts
    split : how cells are split, None for regions
    min_area_px : smallest region kept (cells: in `split`)
    """
    y, x0, x1, component, n = connected(planes[0])
    sides, closed = _borders(y, x0, x1, component, n, box, canvas)
    # closed components first, then the open ones, both in raster order
    runs = grouped(component, n, y, x0, x1, box.width, (box.x, box.y))
    done, left = runs.slice(0, closed), runs.slice(closed, n)
    flat = tuple(p.ravel() for p in planes)
    if split is None:
        finished = finish_whole(done, *_sums(done, flat, n_classes), min_area_px)
        kept: tuple[NDArray[np.uint8], ...] = ()
    else:
        finished = finish_cells(done, flat, n_classes, split)
        kept = tuple(gather(p, left) for p in flat)
    return BlockResult(index, finished, packed(left), kept, *_sums(left, flat, n_classes), sides)


def _sums(
    runs: Runs, planes: tuple[NDArray[np.uint8], ...], n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """`sum_classes` and `sum_od` of groups whose runs point into these flat planes."""
    sums, present = sum_classes(runs, planes[0], planes[1], n_classes)
    return sums, present, sum_od(runs, planes[2])


def _borders(
    y: Ints, x0: Ints, x1: Ints, component: Ints, n: int, box: Box, canvas: tuple[int, int]
) -> tuple[Sides, int]:
    """Segments along shared borders by number of the open component, and how many components are closed.

    Runs in px of the block; `component` is renumbered in place so that the closed ones come first.
    """
    found = np.empty((4, max(box.width, box.height), 3), np.int64)
    counts = np.empty(4, np.int64)
    number = np.zeros(n, np.int32)
    shared = (box.x > 0, box.y > 0, box.x1 < canvas[0], box.y1 < canvas[1])
    closed = kernels.border_segments(y, x0, x1, component, number, box.width, box.height, shared, found, counts)
    sides = tuple(
        found[side, : counts[side]] + np.array([along, along, 0]) for side, along in enumerate(2 * (box.y, box.x))
    )
    return (sides[0], sides[1], sides[2], sides[3]), int(closed)


def finish_cells(runs: Runs, planes: tuple[NDArray[np.uint8], ...], n_classes: int, split: SplitPixels) -> Finished:
    """Instances of complete cell components.

    Parameters
    ----------
    runs : 4-connected components
    planes : (n,) uint8 each, flat, as in `BlockResult`
    n_classes : number of prompts
    split : how they are split
    """
    if not len(runs):
        return Finished(empty_table(n_classes))
    instances = split_runs(runs, planes[3] if split.needs_landscape else None, split)
    sums, present, od = _sums(instances, planes, n_classes)
    table = table_of_runs(instances, sums, present, split.min_area_px, split.min_confidence, od=od)
    whole = int((runs.pixels() > split.max_component_px).sum())
    return Finished(table, len(instances) - len(table), whole)


def finish_whole(
    runs: Runs,
    sums: NDArray[np.int64],
    present: NDArray[np.int64],
    od: NDArray[np.int64],
    min_area_px: int,
    min_confidence: float = 0.0,
    whole: int = 0,
) -> Finished:
    """Complete components as one object each: regions, and cell components too large to split.

    Parameters
    ----------
    runs : G components
    sums, present : (G, n_classes) int64, see `wsiparse.objects.table.sum_classes`
    od : (G,) int64, see `wsiparse.objects.table.sum_od`
    min_area_px : smallest object that is kept, px
    min_confidence : lowest mean confidence that is kept, 0-1
    whole : number of components too large to split, for `Finished`
    """
    if not len(runs):
        return Finished(empty_table(sums.shape[1]))
    table = table_of_runs(runs, sums, present, min_area_px, min_confidence, od=od)
    return Finished(table, len(runs) - len(table), whole)


def empty_table(n_classes: int) -> ObjectTable:
    """A table without rows and with `n_classes` share columns."""
    return ObjectTable(class_share=np.zeros((0, n_classes), np.float32))
