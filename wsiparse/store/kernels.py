"""Compiled loops over vertices: canonical shells, of which ids are made, and measurements.

Compiled code has no bounds check: every function here trusts its arguments, and the callers check them once
(`wsiparse.store.tables.checked`). Plain integers and floats throughout, so that all of it also runs with
NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["canonical_shells", "measure_shapes"]


@njit(cache=True, nogil=True)
def canonical_shells(
    coords: NDArray[np.int32], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The canonical open shell of every polygon (see `wsiparse.store.ids.canonical_ring`), one after the other.

    Parameters
    ----------
    coords : (V, 2) int32, x then y, px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64

    Returns
    -------
    (K, 2) int32 vertices, x then y, and (N + 1,) int64 offsets
    """
    count = len(polygon_offsets) - 1
    offsets = np.zeros(count + 1, np.int64)
    for k in range(count):
        ring = polygon_offsets[k]
        offsets[k + 1] = offsets[k] + max(0, ring_offsets[ring + 1] - ring_offsets[ring] - 1)
    out = np.empty((offsets[count], 2), np.int32)
    for k in range(count):
        base = ring_offsets[polygon_offsets[k]]
        n = offsets[k + 1] - offsets[k]
        best, step = 0, 1
        for i in range(n):
            x, y = coords[base + i, 0], coords[base + i, 1]
            bx, by = coords[base + best, 0], coords[base + best, 1]
            if y < by or (y == by and x < bx):
                best, step = i, 1
                if _walk_before(coords, base, n, i, -1, i, 1):
                    step = -1
            elif y == by and x == bx:
                for way in (1, -1):
                    if _walk_before(coords, base, n, i, way, best, step):
                        best, step = i, way
        at = best
        for j in range(offsets[k], offsets[k + 1]):
            out[j, 0] = coords[base + at, 0]
            out[j, 1] = coords[base + at, 1]
            at += step
            if at == n:
                at = 0
            elif at < 0:
                at = n - 1
    return out, offsets


@njit(cache=True, nogil=True)
def _walk_before(coords: NDArray[np.int32], base: int, n: int, a: int, way_a: int, b: int, way_b: int) -> bool:
    """Does the ring read from `a` in direction `way_a` come before the one from `b`, comparing (y, x)?"""
    for _ in range(n):
        ya, yb = coords[base + a, 1], coords[base + b, 1]
        if ya != yb:
            return bool(ya < yb)
        xa, xb = coords[base + a, 0], coords[base + b, 0]
        if xa != xb:
            return bool(xa < xb)
        a += way_a
        b += way_b
        if a == n:
            a = 0
        elif a < 0:
            a = n - 1
        if b == n:
            b = 0
        elif b < 0:
            b = n - 1
    return False


@njit(cache=True, nogil=True)
def _ring_sums(
    coords: NDArray[np.int32], a: int, b: int, x0: float, y0: float, sums: NDArray[np.float64], free: bool
) -> None:
    """Length (city block, of a free outline as it is), corners, and Green's integrals of 1, x, y, x^2, xy, y^2 relative
    to (x0, y0).
    """
    for i in range(8):
        sums[i] = 0.0
    for i in range(a, b - 1):
        x, y = coords[i, 0] - x0, coords[i, 1] - y0
        u, v = coords[i + 1, 0] - x0, coords[i + 1, 1] - y0
        cross = x * v - u * y
        sums[0] += math.sqrt((u - x) ** 2 + (v - y) ** 2) if free else abs(u - x) + abs(v - y)
        sums[1] += 1.0
        sums[2] += cross
        sums[3] += (x + u) * cross
        sums[4] += (y + v) * cross
        sums[5] += (x * x + x * u + u * u) * cross
        sums[6] += (2 * x * y + x * v + u * y + 2 * u * v) * cross
        sums[7] += (y * y + y * v + v * v) * cross
    if sums[2] < 0:
        for i in range(2, 8):
            sums[i] = -sums[i]


@njit(cache=True, nogil=True)
def _hull_area(coords: NDArray[np.int32], a: int, b: int, keys: NDArray[np.int64], hull: NDArray[np.int64]) -> float:
    """Area of the convex hull of vertices [a, b): Andrew's monotone chain (Inf. Proc. Letters 9, 1979)."""
    n = b - a
    x0, y0 = np.int64(coords[a, 0]), np.int64(coords[a, 1])
    for i in range(n):
        # sorts by x, then y, which differ by less than 2^31 within a table
        keys[i] = ((np.int64(coords[a + i, 0]) - x0) << 32) + np.int64(coords[a + i, 1]) - y0
    if n <= 64:
        for i in range(1, n):
            key = keys[i]
            j = i - 1
            while j >= 0 and keys[j] > key:
                keys[j + 1] = keys[j]
                j -= 1
            keys[j + 1] = key
    else:
        keys[:n].sort()
    double = 0.0
    for side in range(2):
        size = 0
        for i in range(n):
            key = keys[i] if side == 0 else keys[n - 1 - i]
            while size >= 2 and _turn(hull[size - 2], hull[size - 1], key) <= 0:
                size -= 1
            hull[size] = key
            size += 1
        for i in range(size - 1):
            x, y = _unkey(hull[i])
            u, v = _unkey(hull[i + 1])
            double += x * v - u * y
    return abs(double) / 2


@njit(cache=True, nogil=True)
def _unkey(key: int) -> tuple[float, float]:
    x = (key + (1 << 31)) >> 32
    return float(x), float(key - (x << 32))


@njit(cache=True, nogil=True)
def _turn(a: int, b: int, c: int) -> float:
    ax, ay = _unkey(a)
    bx, by = _unkey(b)
    cx, cy = _unkey(c)
    return (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)


@njit(cache=True, nogil=True)
def measure_shapes(
    coords: NDArray[np.int32], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64], free: bool = False
) -> NDArray[np.float64]:
    """Shape of every polygon: perimeter, circularity, solidity, eccentricity (see `wsiparse.store.measure`).

    Parameters
    ----------
    coords : (V, 2) int32, x then y, px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    free : the outlines follow no pixels

    Returns
    -------
    (N, 4) float64; perimeter in px, the others 0-1
    """
    count = len(polygon_offsets) - 1
    out = np.empty((count, 4), np.float64)
    longest = 1
    for k in range(count):
        ring = polygon_offsets[k]
        longest = max(longest, ring_offsets[ring + 1] - ring_offsets[ring])
    keys, hull = np.empty(longest, np.int64), np.empty(longest, np.int64)
    sums, total = np.empty(8, np.float64), np.empty(8, np.float64)
    per_length, per_corner = math.pi / 8 * (1 + math.sqrt(2.0)), math.pi / (8 * math.sqrt(2.0))
    if free:
        per_length, per_corner = 1.0, 0.0
    for k in range(count):
        first, last = polygon_offsets[k], polygon_offsets[k + 1]
        a, b = ring_offsets[first], ring_offsets[first + 1]
        x0, y0 = float(coords[a, 0]), float(coords[a, 1])
        _ring_sums(coords, a, b, x0, y0, total, free)
        shell_area = total[2] / 2
        shell_length = per_length * total[0] - per_corner * total[1]
        for ring in range(first + 1, last):
            _ring_sums(coords, ring_offsets[ring], ring_offsets[ring + 1], x0, y0, sums, free)
            total[0] += sums[0]
            total[1] += sums[1]
            for i in range(2, 8):
                total[i] -= sums[i]
        out[k, 0] = per_length * total[0] - per_corner * total[1]
        out[k, 1] = min(1.0, 4 * math.pi * shell_area / (shell_length * shell_length)) if shell_length > 0 else 0.0
        hull_area = _hull_area(coords, a, b, keys, hull)
        out[k, 2] = min(1.0, shell_area / hull_area) if hull_area > 0 else 0.0
        out[k, 3] = _eccentricity(total)
    return out


@njit(cache=True, nogil=True)
def _eccentricity(sums: NDArray[np.float64]) -> float:
    area = sums[2] / 2
    if area <= 0:
        return 0.0
    mx, my = sums[3] / (6 * area), sums[4] / (6 * area)
    xx = sums[5] / (12 * area) - mx * mx
    xy = sums[6] / (24 * area) - mx * my
    yy = sums[7] / (12 * area) - my * my
    spread = math.sqrt((xx - yy) * (xx - yy) + 4 * xy * xy)
    major = (xx + yy + spread) / 2
    if major <= 0:
        return 0.0
    return math.sqrt(min(1.0, max(0.0, spread / major)))
