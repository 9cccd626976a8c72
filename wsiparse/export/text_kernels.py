"""Compiled writing of numbers and of GeoJSON features as text.

Compiled code has no bounds check: every function here trusts its arguments, and the callers check them once
(`wsiparse.store.tables.checked`). Plain integers and floats throughout, so that all of it also runs with
NUMBA_DISABLE_JIT=1.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["centi_texts", "format_points", "format_polygons"]

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
