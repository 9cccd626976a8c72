"""Compiled sums over nuclei. No checks: `wsiparse.recognize.instances` validates.

Sums run in raster order and moments are integers relative to the nucleus's own box, so a nucleus has the same numbers
wherever it lies in a tile.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["instance_sums", "ring_sums"]


@njit(cache=True, nogil=True)
def instance_sums(
    labels: NDArray[np.int32],
    rgb: NDArray[np.uint8],
    red_lut: NDArray[np.float32],
    hematoxylin_lut: NDArray[np.float32],
    weight: NDArray[np.float32],
    box: NDArray[np.int64],
    moment: NDArray[np.int64],
    total: NDArray[np.float64],
) -> None:
    """Fill boxes and sums of instances 1..n (row k - 1 is instance k).

    Parameters
    ----------
    labels : (H, W) int32, 0 background
    rgb : (H, W, 3) uint8
    red_lut : (256,) float32, value of a red byte
    hematoxylin_lut : (3, 256) float32, see `wsiparse.recognize.stain.hematoxylin_lut`
    weight : (H, W) float32
    box : (n, 4) int64, out: px, y0, x0, y1, x1, half-open
    moment : (n, 6) int64, out: area, and sums of y, x, y*y, x*x, y*x relative to the box's origin
    total : (n, 4) float64, out: sums of red, red squared, hematoxylin, weight
    """
    height, width = labels.shape
    box[:, 0] = height
    box[:, 1] = width
    box[:, 2:] = 0
    moment[:] = 0
    total[:] = 0
    for y in range(height):
        for x in range(width):
            k = labels[y, x] - 1
            if k >= 0:
                box[k, 0] = min(box[k, 0], y)
                box[k, 1] = min(box[k, 1], x)
                box[k, 2] = max(box[k, 2], y + 1)
                box[k, 3] = max(box[k, 3], x + 1)
    for y in range(height):
        for x in range(width):
            k = labels[y, x] - 1
            if k >= 0:
                v, u = y - box[k, 0], x - box[k, 1]
                moment[k, 0] += 1
                moment[k, 1] += v
                moment[k, 2] += u
                moment[k, 3] += v * v
                moment[k, 4] += u * u
                moment[k, 5] += v * u
                r, g, b = rgb[y, x, 0], rgb[y, x, 1], rgb[y, x, 2]
                red = np.float64(red_lut[r])
                total[k, 0] += red
                total[k, 1] += red * red
                total[k, 2] += hematoxylin_lut[0, r] + hematoxylin_lut[1, g] + hematoxylin_lut[2, b]
                total[k, 3] += weight[y, x]


@njit(cache=True, nogil=True)
def ring_sums(
    labels: NDArray[np.int32],
    rgb: NDArray[np.uint8],
    hematoxylin_lut: NDArray[np.float32],
    box: NDArray[np.int64],
    reach: int,
    count: NDArray[np.int64],
    total: NDArray[np.float64],
) -> None:
    """Hematoxylin of the background within `reach` px (square neighbourhood) of each instance.

    Parameters
    ----------
    labels : (H, W) int32, 0 background
    rgb : (H, W, 3) uint8
    hematoxylin_lut : (3, 256) float32, see `wsiparse.recognize.stain.hematoxylin_lut`
    box : (n, 4) int64, as `instance_sums` fills it
    reach : px; 6 is a 13 x 13 window
    count : (n,) int64, out: background pixels of the ring
    total : (n,) float64, out: their hematoxylin
    """
    height, width = labels.shape
    for k in range(box.shape[0]):
        count[k] = 0
        total[k] = 0.0
        top, left = max(0, box[k, 0] - reach), max(0, box[k, 1] - reach)
        bottom, right = min(height, box[k, 2] + reach), min(width, box[k, 3] + reach)
        rows, columns = box[k, 2] - box[k, 0], right - left
        near = np.zeros((rows, columns), np.uint8)
        for i in range(rows):
            y = box[k, 0] + i
            for x in range(box[k, 1], box[k, 3]):
                if labels[y, x] == k + 1:
                    for u in range(max(left, x - reach), min(right, x + reach + 1)):
                        near[i, u - left] = 1
        above = np.zeros(columns, np.int64)
        for y in range(top, bottom):
            new, old = y + reach, y - reach - 1
            if y == top:
                for i in range(0, min(rows, new - box[k, 0] + 1)):
                    for u in range(columns):
                        above[u] += near[i, u]
            else:
                if box[k, 0] <= new < box[k, 2]:
                    for u in range(columns):
                        above[u] += near[new - box[k, 0], u]
                if box[k, 0] <= old < box[k, 2]:
                    for u in range(columns):
                        above[u] -= near[old - box[k, 0], u]
            for u in range(columns):
                x = left + u
                if above[u] > 0 and labels[y, x] == 0:
                    count[k] += 1
                    total[k] += (
                        hematoxylin_lut[0, rgb[y, x, 0]]
                        + hematoxylin_lut[1, rgb[y, x, 1]]
                        + hematoxylin_lut[2, rgb[y, x, 2]]
                    )
