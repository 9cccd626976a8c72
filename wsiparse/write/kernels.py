"""Compiled inner loops of measurements, ids and GeoJSON. Slow twins: `wsiparse.write.reference`.

Compiled code has no bounds check: every function here trusts its arguments, and the callers in `ids` and `geojson`
check them once (`wsiparse.write.tables.checked`). Plain integers and floats throughout, so that all of it also runs
with NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["canonical_shells", "centi_texts", "format_points", "format_polygons", "measure_shapes"]

#: "00" to "99", so that two digits cost one division.
_PAIRS: Final = np.frombuffer("".join(f"{n:02d}" for n in range(100)).encode(), np.uint8)
_HEX: Final = np.frombuffer(b"0123456789abcdef", np.uint8)
_POWERS: Final = np.array([10**n for n in range(19)], np.int64)

_ZERO: Final = 48
_MINUS: Final = 45
_POINT: Final = 46
_COMMA: Final = 44
_OPEN: Final = 91
_CLOSE: Final = 93
_LINE: Final = 10
_DASH_AFTER: Final = np.array([i in (3, 5, 7, 9) for i in range(16)])


@njit(cache=True, nogil=True)
def canonical_shells(
    coords: NDArray[np.int32], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """The canonical open shell of every polygon (see `wsiparse.write.ids.canonical_ring`), one after the other.

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
def _ring_sums(coords: NDArray[np.int32], a: int, b: int, x0: float, y0: float, sums: NDArray[np.float64]) -> None:
    """Length (city block), corners, and Green's integrals of 1, x, y, x^2, xy, y^2 relative to (x0, y0)."""
    for i in range(8):
        sums[i] = 0.0
    for i in range(a, b - 1):
        x, y = coords[i, 0] - x0, coords[i, 1] - y0
        u, v = coords[i + 1, 0] - x0, coords[i + 1, 1] - y0
        cross = x * v - u * y
        sums[0] += abs(u - x) + abs(v - y)
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
    coords: NDArray[np.int32], ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Shape of every crack polygon: perimeter, circularity, solidity, eccentricity (see `wsiparse.write.measure`).

    Parameters
    ----------
    coords : (V, 2) int32, x then y, px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64

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
    for k in range(count):
        first, last = polygon_offsets[k], polygon_offsets[k + 1]
        a, b = ring_offsets[first], ring_offsets[first + 1]
        x0, y0 = float(coords[a, 0]), float(coords[a, 1])
        _ring_sums(coords, a, b, x0, y0, total)
        shell_area = total[2] / 2
        shell_length = per_length * total[0] - per_corner * total[1]
        for ring in range(first + 1, last):
            _ring_sums(coords, ring_offsets[ring], ring_offsets[ring + 1], x0, y0, sums)
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


@njit(cache=True, nogil=True)
def _put_piece(
    out: NDArray[np.uint8], p: int, pieces: NDArray[np.uint8], offsets: NDArray[np.int64], which: int
) -> int:
    for i in range(offsets[which], offsets[which + 1]):
        out[p] = pieces[i]
        p += 1
    return p


@njit(cache=True, nogil=True)
def _put_whole(out: NDArray[np.uint8], p: int, value: int) -> int:
    """Digits of `value` >= 0."""
    digits = 1
    while digits < 19 and value >= _POWERS[digits]:
        digits += 1
    end = p + digits
    at = end
    while value >= 100:
        rest = value // 100
        pair = 2 * (value - 100 * rest)
        value = rest
        at -= 2
        out[at] = _PAIRS[pair]
        out[at + 1] = _PAIRS[pair + 1]
    if value >= 10:
        out[p] = _PAIRS[2 * value]
        out[p + 1] = _PAIRS[2 * value + 1]
    else:
        out[p] = _ZERO + value
    return end


@njit(cache=True, nogil=True)
def _put_centi(out: NDArray[np.uint8], p: int, value: int) -> int:
    """`value` hundredths with at most two decimals, none for whole numbers."""
    if value < 0:
        out[p] = _MINUS
        p += 1
        value = -value
    whole = value // 100
    rest = value - 100 * whole
    p = _put_whole(out, p, whole)
    if rest:
        out[p] = _POINT
        out[p + 1] = _PAIRS[2 * rest]
        out[p + 2] = _PAIRS[2 * rest + 1]
        p += 3 if rest % 10 else 2
    return p


@njit(cache=True, nogil=True)
def _put_decimal(out: NDArray[np.uint8], p: int, value: float, decimals: int) -> int:
    """A finite number, rounded to `decimals`, without trailing zeros; whole above 2^53 of the last place."""
    if value < 0:
        out[p] = _MINUS
        p += 1
        value = -value
    scale = _POWERS[decimals]
    if value >= 9007199254740992.0 / scale:
        return _put_whole(out, p, int(min(value, 9.2e18)))
    units = math.floor(value * scale + 0.5)
    while decimals > 0 and units % 10 == 0:
        units //= 10
        decimals -= 1
    scale = _POWERS[decimals]
    whole = units // scale
    p = _put_whole(out, p, whole)
    if decimals > 0:
        rest = units - whole * scale
        out[p] = _POINT
        for i in range(decimals):
            out[p + decimals - i] = _ZERO + rest % 10
            rest //= 10
        p += decimals + 1
    return p


@njit(cache=True, nogil=True)
def _put_head(
    out: NDArray[np.uint8], p: int, pieces: NDArray[np.uint8], piece_offsets: NDArray[np.int64], uid: NDArray[np.uint8]
) -> int:
    out[p] = _COMMA
    out[p + 1] = _LINE
    p = _put_piece(out, p + 2, pieces, piece_offsets, 0)
    for i in range(16):
        out[p] = _HEX[uid[i] >> 4]
        out[p + 1] = _HEX[uid[i] & 15]
        p += 2
        if _DASH_AFTER[i]:
            out[p] = _MINUS
            p += 1
    return _put_piece(out, p, pieces, piece_offsets, 1)


@njit(cache=True, nogil=True)
def _put_tail(
    out: NDArray[np.uint8],
    p: int,
    pieces: NDArray[np.uint8],
    piece_offsets: NDArray[np.int64],
    class_id: int,
    values: NDArray[np.float64],
    decimals: NDArray[np.int64],
) -> int:
    p = _put_piece(out, p, pieces, piece_offsets, 4 + len(decimals) + class_id)
    p = _put_piece(out, p, pieces, piece_offsets, 2)
    some = False
    for m in range(len(decimals)):
        if math.isfinite(values[m]):
            if some:
                out[p] = _COMMA
                p += 1
            some = True
            p = _put_piece(out, p, pieces, piece_offsets, 4 + m)
            p = _put_decimal(out, p, values[m], decimals[m])
    return _put_piece(out, p, pieces, piece_offsets, 3)


@njit(cache=True, nogil=True)
def centi_texts(centi: NDArray[np.int64], width: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Hundredths as decimal text.

    Parameters
    ----------
    centi : (n,) int64
    width : must hold the longest, characters

    Returns
    -------
    texts : (n, width) uint8
    lengths : (n,) int64
    """
    texts = np.zeros((len(centi), width), np.uint8)
    lengths = np.empty(len(centi), np.int64)
    for i in range(len(centi)):
        lengths[i] = _put_centi(texts[i], 0, centi[i])
    return texts, lengths


@njit(cache=True, nogil=True)
def format_polygons(
    out: NDArray[np.uint8],
    index: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    x_texts: NDArray[np.uint8],
    x_lengths: NDArray[np.int64],
    y_texts: NDArray[np.uint8],
    y_lengths: NDArray[np.int64],
    class_id: NDArray[np.uint8],
    uids: NDArray[np.uint8],
    values: NDArray[np.float64],
    decimals: NDArray[np.int64],
    pieces: NDArray[np.uint8],
    piece_offsets: NDArray[np.int64],
) -> int:
    """Polygon features as JSON text, each preceded by a comma and a line feed; returns the number of bytes.

    The vertex (x, y) of `index` is written as row x of `x_texts` and row y of `y_texts`: whole slides have far fewer
    different coordinates than vertices, and copying a text is four times as fast as making it.

    Pieces: 0 before the id, 1 between id and coordinates, 2 before the measurements, 3 at the end, 4... the
    measurement names, then one for each class id from 0.

    Parameters
    ----------
    out : (bytes,) uint8, room for the text, which is not checked
    index : (V, 2) int32, rows of both tables of texts
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    x_texts, y_texts : (K, L) uint8, text of each coordinate of an axis
    x_lengths, y_lengths : (K,) int64, how long it is
    class_id : (N,) uint8
    uids : (N, 16) uint8, the bytes of each id
    values : (N, M) float64, measurements; those that are not finite are not written
    decimals : (M,) int64, how they are written
    pieces : (text,) uint8, one after the other
    piece_offsets : (n + 1,) int64, where each begins
    """
    p = 0
    for k in range(len(class_id)):
        p = _put_head(out, p, pieces, piece_offsets, uids[k])
        out[p] = _OPEN
        p += 1
        for ring in range(polygon_offsets[k], polygon_offsets[k + 1]):
            out[p] = _OPEN
            p += 1
            for i in range(ring_offsets[ring], ring_offsets[ring + 1]):
                x, y = index[i, 0], index[i, 1]
                out[p] = _OPEN
                p += 1
                length = x_lengths[x]
                for j in range(length):
                    out[p + j] = x_texts[x, j]
                p += length
                out[p] = _COMMA
                p += 1
                length = y_lengths[y]
                for j in range(length):
                    out[p + j] = y_texts[y, j]
                p += length
                out[p] = _CLOSE
                out[p + 1] = _COMMA
                p += 2
            out[p - 1] = _CLOSE
            out[p] = _COMMA
            p += 1
        out[p - 1] = _CLOSE
        p = _put_tail(out, p, pieces, piece_offsets, class_id[k], values[k], decimals)
    return p


@njit(cache=True, nogil=True)
def format_points(
    out: NDArray[np.uint8],
    centi: NDArray[np.int64],
    class_id: NDArray[np.uint8],
    uids: NDArray[np.uint8],
    values: NDArray[np.float64],
    decimals: NDArray[np.int64],
    pieces: NDArray[np.uint8],
    piece_offsets: NDArray[np.int64],
) -> int:
    """Point features as JSON text; as `format_polygons` otherwise.

    Parameters
    ----------
    out : (bytes,) uint8, room for the text, which is not checked
    centi : (N, 2) int64, x then y, hundredths of a level-0 px
    class_id : (N,) uint8
    uids : (N, 16) uint8, the bytes of each id
    values : (N, M) float64, measurements; those that are not finite are not written
    decimals : (M,) int64, how they are written
    pieces : (text,) uint8, one after the other
    piece_offsets : (n + 1,) int64, where each begins
    """
    p = 0
    for k in range(len(class_id)):
        p = _put_head(out, p, pieces, piece_offsets, uids[k])
        out[p] = _OPEN
        p = _put_centi(out, p + 1, centi[k, 0])
        out[p] = _COMMA
        p = _put_centi(out, p + 1, centi[k, 1])
        out[p] = _CLOSE
        p = _put_tail(out, p + 1, pieces, piece_offsets, class_id[k], values[k], decimals)
    return p
