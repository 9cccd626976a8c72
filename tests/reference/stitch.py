"""The whole canvas at once, by plain SciPy and NumPy: what the stitcher must equal, bit for bit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tests.reference import objects as reference
from wsiparse.objects.split import SplitPixels
from wsiparse.types import OD_STEPS, ObjectTable

__all__ = ["whole_canvas"]


def whole_canvas(
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8],
    od: NDArray[np.uint8],
    landscape: NDArray[np.uint8] | None,
    n_classes: int,
    split: SplitPixels | None,
    min_area_px: int = 0,
) -> ObjectTable:
    """All objects of a canvas, in raster order of their first pixel.

    Parameters
    ----------
    classes, confidence, od, landscape : (H, W) uint8, as for `wsiparse.stitch.stitcher.Stitcher.digest`
    n_classes, split, min_area_px : as for the stitcher
    """
    if split is None:
        labels, n = reference.components(classes > 0)
    else:
        labels, n = reference.split_cells(classes > 0, landscape, split)
        min_area_px = split.min_area_px
    inside = labels > 0
    owner = labels[inside].astype(np.int64) - 1
    area = np.bincount(owner, minlength=n)
    # doubles hold these integer sums exactly
    share = np.bincount(owner * n_classes + classes[inside] - 1, weights=confidence[inside], minlength=n * n_classes)
    pixels = np.bincount(owner * n_classes + classes[inside] - 1, minlength=n * n_classes).reshape(n, n_classes)
    sums = share.reshape(n, n_classes)
    total = sums.sum(axis=1)
    keep = area >= min_area_px
    if split is not None:
        keep &= total >= split.min_confidence * 255 * area
    rows = np.flatnonzero(keep)
    number = np.zeros(n + 1, np.int32)
    number[rows + 1] = np.arange(1, len(rows) + 1)
    labels = number[labels]
    dark = np.bincount(labels.ravel(), weights=od.ravel(), minlength=len(rows) + 1)[1:]
    y, x = np.nonzero(labels)
    owner = labels[y, x].astype(np.int64) - 1
    centroid = [np.bincount(owner, weights=2.0 * v + 1, minlength=len(rows)) / (2 * area[rows]) for v in (x, y)]
    _, first = np.unique(owner, return_index=True)
    area, sums, pixels, total = area[rows], sums[rows], pixels[rows], total[rows]
    coords, ring_offsets, polygon_offsets = reference.trace_labels(labels, len(rows))
    return ObjectTable(
        coords=coords,
        ring_offsets=ring_offsets,
        polygon_offsets=polygon_offsets,
        class_id=(np.where(pixels > 0, sums, -1).argmax(axis=1) + 1).astype(np.uint8),
        score=(total / (255.0 * area)).astype(np.float32),
        area_px=area.astype(np.int64),
        centroid=np.column_stack(centroid),
        first_px=np.column_stack([y[first], x[first]]).astype(np.int32),
        class_share=(sums / np.maximum(total, 1)[:, None]).astype(np.float32),
        mean_od=(dark / (OD_STEPS * area)).astype(np.float32),
    )
