"""Compiled area averaging, and copying of tiles to their places in a picture.

No checks: `wsiparse.slides.resample.block_mean` validates, and `resample` is its slow twin; that of copying is NumPy's
indexing.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["block_means", "halves", "put_tiles"]


@njit(cache=True, nogil=True)
def block_means(source: NDArray[np.uint8], width: int, height: int, out: NDArray[np.uint8]) -> None:
    """Mean of whole blocks, rounded half up.

    A sum s < 256 n is divided by n = width * height as (s * ceil(2^40 / n)) >> 40, which is exact while
    256 n * n <= 2^40 (Granlund and Montgomery, Division by Invariant Integers, PLDI 1994, theorem 4.2).

    Parameters
    ----------
    source : (rows * height, columns * width * 3) uint8, RGB interleaved
    width, height : size of a block, px; width * height <= 2^16
    out : (rows, columns * 3) uint8, written
    """
    rows, columns, length = out.shape[0], out.shape[1] // 3, source.shape[1]
    n = width * height
    half = np.uint32(n // 2)
    factor = np.uint64(((1 << 40) + n - 1) // n)
    shift = np.uint64(40)
    sums = np.empty(length, np.uint32)
    for i in range(rows):
        sums[:] = 0
        for j in range(height):
            line = source[i * height + j]
            for k in range(length):
                sums[k] += line[k]
        for j in range(columns):
            red, green, blue = half, half, half
            for at in range(3 * j * width, 3 * (j + 1) * width, 3):
                red += sums[at]
                green += sums[at + 1]
                blue += sums[at + 2]
            out[i, 3 * j] = np.uint8((np.uint64(red) * factor) >> shift)
            out[i, 3 * j + 1] = np.uint8((np.uint64(green) * factor) >> shift)
            out[i, 3 * j + 2] = np.uint8((np.uint64(blue) * factor) >> shift)


@njit(cache=True, nogil=True)
def halves(source: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
    """`block_means` of 2 x 2 px, in passes over neighbours in memory that the compiler can do many at a time.

    Parameters
    ----------
    source : (2 * rows, 2 * columns * 3) uint8, RGB interleaved
    out : (rows, columns * 3) uint8, written
    """
    length = source.shape[1]
    sums = np.empty(length, np.uint16)
    means = np.empty(length, np.uint8)
    for i in range(out.shape[0]):
        upper, lower, line = source[2 * i], source[2 * i + 1], out[i]
        for k in range(length):
            sums[k] = np.uint16(upper[k]) + np.uint16(lower[k])
        # of every two neighbours, though every second is wanted: still faster than picking while adding
        for k in range(length - 3):
            means[k] = np.uint8((sums[k] + sums[k + 3] + np.uint16(2)) >> np.uint16(2))
        for j in range(line.shape[0] // 3):
            line[3 * j] = means[6 * j]
            line[3 * j + 1] = means[6 * j + 1]
            line[3 * j + 2] = means[6 * j + 2]


@njit(cache=True, nogil=True)
def put_tiles(tiles: tuple[NDArray[np.uint8], ...], corners: NDArray[np.int64], out: NDArray[np.uint8]) -> None:
    """Copy tiles to their places in a picture; what lies outside is left out.

    Many in one call, because each return takes the interpreter's lock, and may have to wait for it.

    Parameters
    ----------
    tiles : (h, w, 3) uint8 each, C-contiguous; compiled anew for another number of them
    corners : (n, 2) int64, y and x of the first n tiles' upper left corners in the picture, px, maybe negative
    out : (height, width * 3) uint8, RGB interleaved, written
    """
    for k in range(corners.shape[0]):
        tile = tiles[k]
        flat = tile.reshape(tile.shape[0], tile.shape[1] * 3)
        y, x = corners[k, 0], 3 * corners[k, 1]
        left = max(x, 0)
        right = max(left, min(x + flat.shape[1], out.shape[1]))
        for i in range(max(y, 0), min(y + flat.shape[0], out.shape[0])):
            source, line = flat[i - y, left - x : right - x], out[i, left:right]
            for j in range(line.shape[0]):
                line[j] = source[j]
