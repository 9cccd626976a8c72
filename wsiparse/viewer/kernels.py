"""Numba kernel of the overlay; checked against neighbourhoods of pixels in the tests."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["paint_lines"]


@njit(cache=True, nogil=True)
def paint_lines(image: NDArray[np.uint8], points: NDArray[np.int64], rings: NDArray[np.int64], half: int) -> None:
    """Set every px within `half` px of a line to 1, corners squared; lines are horizontal or vertical.

    Parameters
    ----------
    image : (H, W) uint8, changed in place
    points : (V, 2) int64, x then y, corners of px of `image`; may lie outside it
    rings : (R + 1,) int64, vertices of each ring: lines join consecutive vertices of a ring
    half : half the width of a line, px
    """
    height, width = image.shape
    for r in range(len(rings) - 1):
        for i in range(rings[r], rings[r + 1] - 1):
            x0 = max(min(points[i, 0], points[i + 1, 0]) - half, 0)
            x1 = min(max(points[i, 0], points[i + 1, 0]) + half, width)
            y0 = max(min(points[i, 1], points[i + 1, 1]) - half, 0)
            y1 = min(max(points[i, 1], points[i + 1, 1]) + half, height)
            for y in range(y0, y1):
                for x in range(x0, x1):
                    image[y, x] = 1
