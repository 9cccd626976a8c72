"""Outlines along pixel cracks: exact area, valid for OGC Simple Features (ISO 19125-1), corners only.

An object's boundary runs between pixels, through integer corner coordinates: pixel (x, y) covers
[x, x+1] x [y, y+1]. A polygon's area is therefore its number of pixels, unlike contours through pixel centres, which
lose a fifth of a small nucleus. It is built from the ends of runs alone, row line by row line, so it costs runs rather
than boundary pixels, gives shells and holes in one pass, and needs no dense crop of a giant object.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects import kernels
from wsiparse.objects.runs import Runs, label_runs

__all__ = ["trace_labels", "trace_runs"]

Rings = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64]]


def trace_runs(runs: Runs) -> Rings:
    """Rings of every group of `runs`, which must be connected (4- or 8-connected).

    Returns
    -------
    coords : (V, 2) int32, x then y, canvas px; rings closed, collinear points left out
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64; the first ring of an object is its shell

    The shell starts at the top left corner of the first pixel in raster order, a hole at that of its own first pixel,
    holes follow in raster order. Shells wind positively (numbers, as RFC 7946 wants), clockwise on screen; holes
    the other way.

    Raises
    ------
    ValueError
        If a group is in several pieces.
    """
    polygon_offsets = np.empty(len(runs) + 1, np.int64)
    coords, ring_offsets, ok = kernels.trace_runs(runs.start, runs.y, runs.x0, runs.x1, polygon_offsets)
    if not ok:
        raise ValueError("an object is in several pieces: only connected objects have one outline")
    return coords, ring_offsets, polygon_offsets


def trace_labels(labels: NDArray[np.int32], n: int, origin: tuple[int, int] = (0, 0)) -> Rings:
    """Rings of the labels of an image; see `trace_runs`.

    Parameters
    ----------
    labels : (H, W) int32, 0 background
    n : number of labels, 1..n
    origin : x, y of the first pixel on the canvas, px

    Returns
    -------
    coords : (V, 2) int32, x then y, canvas px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (n + 1,) int64

    Raises
    ------
    ValueError
        On another shape or dtype, labels outside 0..n, a label without pixels or in several pieces.
    """
    return trace_runs(checked_label_runs(labels, n, origin))


def checked_label_runs(labels: NDArray[np.int32], n: int, origin: tuple[int, int]) -> Runs:
    """`wsiparse.objects.runs.label_runs` after checking what the kernels take for granted."""
    labels = np.asarray(labels)
    if labels.ndim != 2 or labels.dtype != np.int32:
        raise ValueError(f"labels must be (H, W) int32, got shape {labels.shape} of {labels.dtype}")
    if labels.size and (labels.min() < 0 or labels.max() > n):
        raise ValueError(f"labels must lie in 0..{n}, found {labels.min()}..{labels.max()}")
    if max(abs(origin[0]) + labels.shape[1], abs(origin[1]) + labels.shape[0]) >= 2**31:
        raise ValueError(f"coordinates beyond 2^31 px: origin {origin}, labels {labels.shape}")
    runs = label_runs(np.ascontiguousarray(labels), n, origin)
    if n and (np.diff(runs.start) == 0).any():
        raise ValueError(f"label {int(np.argmin(np.diff(runs.start))) + 1} of {n} has no pixel")
    return runs
