"""Compiled sums over nuclei. No checks: `wsiparse.recognize.instances` validates.

Sums run in raster order and moments are integers relative to the nucleus's own box, so a nucleus has the same numbers
wherever it lies in a tile.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["class_sums", "deal", "instance_sums", "ring_sums"]


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


@njit(cache=True, nogil=True)
def class_sums(
    labels: NDArray[np.int32], weight: NDArray[np.uint8], classes: NDArray[np.uint8], sums: NDArray[np.int64]
) -> None:
    """Weighted sums of class maps over the pixels of each instance.

    Parameters
    ----------
    labels : (N,) int32, 0 background
    weight : (N,) uint8
    classes : (C, N) uint8
    sums : (n, C) int64, out
    """
    sums[:] = 0
    for k in range(len(labels)):
        instance = labels[k] - 1
        if instance >= 0:
            for c in range(len(classes)):
                sums[instance, c] += np.int64(weight[k]) * np.int64(classes[c, k])


@njit(cache=True, nogil=True)
def deal(
    labels: NDArray[np.int32],
    weight: NDArray[np.uint8],
    wanted: NDArray[np.int64],
    dealt: NDArray[np.int64],
    prompt: NDArray[np.int16],
) -> None:
    """Deal the pixels of each instance to prompts in raster order, each to the one that lacks most.

    Parameters
    ----------
    labels : (N,) int32, 0 background
    weight : (N,) uint8, what a pixel counts
    wanted : (n, P) int64, the share of each prompt, rows sum to at most 2^16; a row of zeros for nobody
    dealt : (n, P + 1) int64, zeros; scratch: what each prompt has, and what was dealt in all
    prompt : (N,) int16, out: the prompt of each pixel, -1 for none; the first of equals
    """
    prompts = wanted.shape[1]
    for k in range(len(labels)):
        instance = labels[k] - 1
        prompt[k] = -1
        if instance < 0:
            continue
        whole = np.int64(0)
        for p in range(prompts):
            whole += wanted[instance, p]
        if whole == 0:
            continue
        count = np.int64(weight[k])
        dealt[instance, prompts] += count
        best, most = 0, np.int64(0)
        for p in range(prompts):
            lack = wanted[instance, p] * dealt[instance, prompts] - whole * dealt[instance, p]
            if p == 0 or lack > most:
                best, most = p, lack
        dealt[instance, best] += count
        prompt[k] = best
