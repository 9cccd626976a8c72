"""The compiled pass over the maps of one tile. No checks: `wsiparse.recognize.embedded.cut` calls it."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["landscape_bytes"]


@njit(cache=True, nogil=True)
def _mirrored(i: int, n: int) -> int:
    """The index inside 0..n-1 that index `i` of an endlessly mirrored row shows (d c b a | a b c d | d c b a)."""
    i %= 2 * n
    return i if i < n else 2 * n - 1 - i


@njit(cache=True, nogil=True)
def landscape_bytes(
    maps: NDArray[np.float32], shares: NDArray[np.float32], weights: NDArray[np.float64], out: NDArray[np.uint8]
) -> None:
    """Mix three maps, smooth along both axes, quantise.

    Sums are taken as SciPy's `gaussian_filter` takes them: in float64, the centre first, then pairs from the outside
    in; what the first axis gives is rounded to float32.

    Parameters
    ----------
    maps : (M, H, W) float32, M at least 3: foreground, centre, boundary
    shares : (3,) float32: of the centre, of the foreground, and how much of the boundary is taken off
    weights : (radius + 1,) float64, of the centre and outwards
    out : (H, W) uint8, written: round(255 v), v cut to 0-1
    """
    height, width = out.shape
    radius = len(weights) - 1
    rows = 2 * radius + 1
    mixed = np.empty((rows, width), np.float32)  # the rows that the window covers
    padded = np.empty(width + 2 * radius, np.float64)
    total = np.empty(width, np.float64)
    for below in range(-radius, height + radius):
        source = _mirrored(below, height)
        row = mixed[(below + radius) % rows]
        foreground, centre, boundary = maps[0, source], maps[1, source], maps[2, source]
        for x in range(width):
            row[x] = (shares[0] * centre[x] + shares[1] * foreground[x]) - shares[2] * boundary[x]
        y = below - radius
        if y < 0:
            continue
        row = mixed[(y + radius) % rows]
        for x in range(width):
            total[x] = row[x] * weights[0]
        for k in range(radius, 0, -1):
            upper, lower, weight = mixed[(y + radius - k) % rows], mixed[(y + radius + k) % rows], weights[k]
            for x in range(width):
                total[x] += (np.float64(upper[x]) + np.float64(lower[x])) * weight
        for x in range(width):
            padded[radius + x] = np.float32(total[x])
        for x in range(radius):
            padded[radius - 1 - x] = padded[radius + _mirrored(-1 - x, width)]
            padded[radius + width + x] = padded[radius + _mirrored(width + x, width)]
        for x in range(width):
            total[x] = padded[radius + x] * weights[0]
        for k in range(radius, 0, -1):
            weight = weights[k]
            for x in range(width):
                total[x] += (padded[radius + x - k] + padded[radius + x + k]) * weight
        for x in range(width):
            value = min(max(np.float32(total[x]), np.float32(0)), np.float32(1))
            out[y, x] = np.uint8(np.rint(value * np.float32(255)))
