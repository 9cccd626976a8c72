"""Compiled sums over nuclei and their surroundings, and the classifier. No checks: callers validate.

Sums are of integers and run in raster order relative to the nucleus itself, and each nucleus is scored alone in a fixed
order, so a nucleus has the same numbers wherever it lies in a tile and whatever lies in it beside.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["nucleus_sums", "scores", "surround_sums"]


@njit(cache=True, nogil=True)
def nucleus_sums(
    labels: NDArray[np.int32],
    od: NDArray[np.int16],
    box: NDArray[np.int64],
    moment: NDArray[np.int64],
    stain: NDArray[np.int64],
    texture: NDArray[np.int64],
    histogram: NDArray[np.int32],
) -> None:
    """Fill the sums of instances 1..n (row k - 1 is instance k).

    Parameters
    ----------
    labels : (H, W) int32, 0 background
    od : (H, W, 3) int16, optical density of each channel, 1/1000
    box : (n, 4) int64, out: y0, x0, y1, x1, half-open, px
    moment : (n, 6) int64, out: area, and sums of y, x, y*y, x*x, y*x relative to the box's origin
    stain : (n, 6) int64, out: sums of the three channels, sums of their squares
    texture : (n, 5) int64, out: edges to other labels; of pairs beside each other number and sum of the sizes of their
        differences in summed OD; of pairs 3 px apart the same
    histogram : (n, 64) int32, out: of summed OD, in steps of 0.1
    """
    height, width = labels.shape
    box[:, 0] = height
    box[:, 1] = width
    box[:, 2:] = 0
    moment[:] = 0
    stain[:] = 0
    texture[:] = 0
    histogram[:] = 0
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
            if k < 0:
                continue
            v, u = y - box[k, 0], x - box[k, 1]
            moment[k, 0] += 1
            moment[k, 1] += v
            moment[k, 2] += u
            moment[k, 3] += v * v
            moment[k, 4] += u * u
            moment[k, 5] += v * u
            whole = 0
            for c in range(3):
                value = int(od[y, x, c])
                stain[k, c] += value
                stain[k, 3 + c] += value * value
                whole += value
            histogram[k, min(whole // 100, 63)] += 1
            if y == 0 or labels[y - 1, x] != k + 1:
                texture[k, 0] += 1
            if x == 0 or labels[y, x - 1] != k + 1:
                texture[k, 0] += 1
            for step in (1, 3):
                column = 1 if step == 1 else 3
                if y + step < height and labels[y + step, x] == k + 1:
                    other = np.int64(od[y + step, x, 0]) + od[y + step, x, 1] + od[y + step, x, 2]
                    texture[k, column] += 1
                    texture[k, column + 1] += abs(whole - other)
                if x + step < width and labels[y, x + step] == k + 1:
                    other = np.int64(od[y, x + step, 0]) + od[y, x + step, 1] + od[y, x + step, 2]
                    texture[k, column] += 1
                    texture[k, column + 1] += abs(whole - other)


@njit(cache=True, nogil=True)
def surround_sums(
    labels: NDArray[np.int32],
    od: NDArray[np.int16],
    box: NDArray[np.int64],
    moment: NDArray[np.int64],
    radii: NDArray[np.int64],
    limits: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None:
    """Fill the sums of rings around each nucleus, on every second pixel, the nucleus itself left out.

    Parameters
    ----------
    labels : (H, W) int32, 0 background
    od : (H, W, 3) int16, optical density of each channel, 1/1000
    box : (n, 4) int64, as `nucleus_sums` gives it
    moment : (n, 6) int64, as `nucleus_sums` gives it
    radii : (R,) int64, outer radii, px, ascending
    limits : (2,) int64: red OD from which a pixel is dark, summed OD below which it is empty, 1/1000
    out : (n, R, 7) int64, out: pixels, sums of the three channels, sum of red squared, dark ones, empty ones
    """
    height, width = labels.shape
    out[:] = 0
    reach = radii[-1]
    for k in range(len(box)):
        area = moment[k, 0]
        # the middle of the nucleus, rounded down in the same way wherever it lies
        cy = box[k, 0] + moment[k, 1] // area
        cx = box[k, 1] + moment[k, 2] // area
        for dy in range(-reach, reach + 1, 2):
            y = cy + dy
            if y < 0 or y >= height:
                continue
            for dx in range(-reach, reach + 1, 2):
                x = cx + dx
                far = dy * dy + dx * dx
                if x < 0 or x >= width or far > reach * reach or labels[y, x] == k + 1:
                    continue
                ring = 0
                while far > radii[ring] * radii[ring]:
                    ring += 1
                red, green, blue = np.int64(od[y, x, 0]), np.int64(od[y, x, 1]), np.int64(od[y, x, 2])
                out[k, ring, 0] += 1
                out[k, ring, 1] += red
                out[k, ring, 2] += green
                out[k, ring, 3] += blue
                out[k, ring, 4] += red * red
                out[k, ring, 5] += red >= limits[0]
                out[k, ring, 6] += red + green + blue < limits[1]


@njit(cache=True, nogil=True)
def scores(
    features: NDArray[np.float64],
    mean: NDArray[np.float64],
    scale: NDArray[np.float64],
    weights: NDArray[np.float64],
    out: NDArray[np.float64],
) -> None:
    """Fill the probabilities of each nucleus's classes: a linear head on standardised features, and softmax.

    Parameters
    ----------
    features : (n, F) float64
    mean, scale : (F,) float64
    weights : (F + 1, C) float64, the last row is the bias
    out : (n, C) float64, out, rows sum to 1
    """
    n_features, n_classes = features.shape[1], weights.shape[1]
    for k in range(len(features)):
        top = -np.inf
        for c in range(n_classes):
            total = weights[n_features, c]
            for j in range(n_features):
                total += min(max((features[k, j] - mean[j]) * scale[j], -4.0), 4.0) * weights[j, c]
            out[k, c] = total
            top = max(top, total)
        whole = 0.0
        for c in range(n_classes):
            out[k, c] = math.exp(out[k, c] - top)
            whole += out[k, c]
        for c in range(n_classes):
            out[k, c] /= whole
