"""From the pixels of objects to rows of an `ObjectTable`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects import kernels
from wsiparse.objects.runs import Runs
from wsiparse.objects.trace import checked_label_runs, trace_runs
from wsiparse.types import MAX_PROMPTS, OD_STEPS, ObjectTable

__all__ = ["build_table", "sum_classes", "sum_od", "table_of_runs"]


def build_table(
    labels: NDArray[np.int32],
    n: int,
    class_map: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    n_classes: int,
    origin: tuple[int, int] = (0, 0),
    od: NDArray[np.uint8] | None = None,
) -> ObjectTable:
    """Rows 0..n-1 for the labels 1..n of a dense image.

    Parameters
    ----------
    labels : (H, W) int32, 0 background, each label connected
    n : number of labels, none empty
    class_map : (H, W) uint8, 1..n_classes under every label
    confidence : (H, W) uint8, probability times 255
    n_classes : number of prompts, 1-255
    origin : x, y of the first pixel on the canvas, px
    od : (H, W) uint8, optical density times `OD_STEPS`; None leaves the mean OD unknown

    Returns
    -------
    The table in canvas px; see `table_of_runs`.

    Raises
    ------
    ValueError
        On shapes, dtypes or values other than these.
    """
    if not 1 <= n_classes <= MAX_PROMPTS:
        raise ValueError(f"n_classes must be 1-{MAX_PROMPTS}, got {n_classes}")
    runs = checked_label_runs(labels, n, origin)
    given = [("class_map", class_map), ("confidence", confidence)] + ([] if od is None else [("od", od)])
    for name, image in given:
        if np.shape(image) != np.shape(labels) or np.asarray(image).dtype != np.uint8:
            raise ValueError(f"{name} must be {np.shape(labels)} uint8, got {np.shape(image)} of {image.dtype}")
    covered = np.asarray(class_map)[np.asarray(labels) > 0]
    if covered.size and (covered.min() < 1 or covered.max() > n_classes):
        raise ValueError(f"objects cover classes {covered.min()}..{covered.max()}, outside 1..{n_classes}")
    sums, present = sum_classes(runs, np.ravel(class_map), np.ravel(confidence), n_classes)
    return table_of_runs(runs, sums, present, od=None if od is None else sum_od(runs, np.ravel(od)))


def sum_classes(
    runs: Runs, classes: NDArray[np.uint8], confidence: NDArray[np.uint8], n_classes: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Summed confidence and number of pixels per object and class.

    Parameters
    ----------
    runs : one group an object
    classes : (n,) uint8, flat plane that `runs` points into; 1..n_classes on every pixel
    confidence : (n,) uint8, flat plane that `runs` points into; probability times 255
    n_classes : number of prompts

    Returns
    -------
    sums : (N, n_classes) int64, confidence
    present : (N, n_classes) int64, px
    """
    sums, present = np.zeros((len(runs), n_classes), np.int64), np.zeros((len(runs), n_classes), np.int64)
    kernels.measure_classes(runs.start, runs.x0, runs.x1, runs.src, classes, confidence, sums, present)
    return sums, present


def sum_od(runs: Runs, od: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Summed optical density per object, in steps of 1 / `OD_STEPS`.

    Parameters
    ----------
    runs : one group an object
    od : (n,) uint8, flat plane that `runs` points into; optical density times `OD_STEPS`

    Returns
    -------
    (N,) int64
    """
    sums = np.empty(len(runs), np.int64)
    kernels.sum_bytes(runs.start, runs.x0, runs.x1, runs.src, od, sums)
    return sums


def table_of_runs(
    runs: Runs,
    sums: NDArray[np.int64],
    present: NDArray[np.int64],
    min_area_px: int = 0,
    min_confidence: float = 0.0,
    *,
    od: NDArray[np.int64] | None = None,
) -> ObjectTable:
    """Measure, filter and trace connected groups of pixels.

    The class of an object is the one with the largest confidence summed over its pixels, ties in prompt order; the
    score is the mean confidence of all its pixels / 255, the mean OD the mean of their bytes / `OD_STEPS`: quotients of
    integer sums, in which no order shows. Objects below `min_area_px` or `min_confidence` are left out.

    Parameters
    ----------
    runs : one group an object
    sums, present : (N, P) int64, as `sum_classes` gives them
    min_area_px : smallest object that is kept, px
    min_confidence : lowest mean confidence that is kept, 0-1
    od : (N,) int64, as `sum_od` gives it; None leaves the mean OD unknown

    Returns
    -------
    Rows in the order of the groups that are kept, canvas px

    Raises
    ------
    ValueError
        If a kept group is in several pieces.
    """
    groups = len(runs)
    area, sum_x, sum_y = (np.empty(groups, np.int64) for _ in range(3))
    kernels.measure_shape(runs.start, runs.y, runs.x0, runs.x1, area, sum_x, sum_y)
    total = sums.sum(axis=1)
    keep = (area >= min_area_px) & (total >= min_confidence * 255.0 * area)
    if not keep.all():
        rows = np.flatnonzero(keep)
        runs = runs.take(rows)
        area, sum_x, sum_y, total = area[rows], sum_x[rows], sum_y[rows], total[rows]
        sums, present = sums[rows], present[rows]
        od = None if od is None else od[rows]
    coords, ring_offsets, polygon_offsets = trace_runs(runs)
    first = runs.start[:-1]
    half_area = 2.0 * area
    return ObjectTable(
        coords=coords,
        ring_offsets=ring_offsets,
        polygon_offsets=polygon_offsets,
        # a class without a pixel never wins, even where every confidence is 0
        class_id=(np.where(present > 0, sums, -1).argmax(axis=1) + 1).astype(np.uint8),
        score=(total / (255.0 * area)).astype(np.float32),
        area_px=area,
        centroid=np.column_stack([sum_x / half_area, sum_y / half_area]),
        first_px=np.column_stack([runs.y[first], runs.x0[first]]),
        class_share=(sums / np.maximum(total, 1)[:, None]).astype(np.float32),
        mean_od=np.full(len(area), np.nan, np.float32) if od is None else (od / (OD_STEPS * area)).astype(np.float32),
    )
