"""Compiled passes over one tile: landscapes of labels, and star-convex candidates. No checks: the callers do."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["RIM", "label_levels", "paint_stars"]

#: Highest level of pixels that touch another label; all others of a label are higher.
RIM = 3


@njit(cache=True, nogil=True)
def _neighbour(i: int, side: int, height: int, width: int) -> int:
    """The flat index above, left, right or below of `i`, -1 outside."""
    y, x = i // width, i % width
    if side == 0:
        return i - width if y > 0 else -1
    if side == 1:
        return i - 1 if x > 0 else -1
    if side == 2:
        return i + 1 if x < width - 1 else -1
    return i + width if y < height - 1 else -1


@njit(cache=True, nogil=True)
def label_levels(labels: NDArray[np.int32], out: NDArray[np.uint8]) -> None:
    """See `wsiparse.recognize.exported.energy.label_landscape`.

    Parameters
    ----------
    labels : (H, W) int32, 0 is background
    out : (H, W) uint8, zeros, written
    """
    height, width = labels.shape
    flat, level = labels.ravel(), out.ravel()
    piece = np.zeros(flat.size, np.int32)
    depth = np.zeros(flat.size, np.int32)
    members, queue = np.empty(flat.size, np.int64), np.empty(flat.size, np.int64)
    count = 0
    for start in range(flat.size):
        if flat[start] == 0 or piece[start] != 0:
            continue
        count += 1
        members[0], n, done = start, 1, 0
        piece[start] = count
        while done < n:
            i = members[done]
            done += 1
            for side in range(4):
                j = _neighbour(i, side, height, width)
                if j >= 0 and piece[j] == 0 and flat[j] == flat[start]:
                    piece[j] = count
                    members[n] = j
                    n += 1
        seed = _deepest(members, n, piece, depth, queue, height, width)
        _fall(seed, n, piece, depth, queue, level, height, width)
    _rims(piece, depth, queue, level, height, width)


@njit(cache=True, nogil=True)
def _rims(
    piece: NDArray[np.int32],
    tier: NDArray[np.int32],
    queue: NDArray[np.int64],
    level: NDArray[np.uint8],
    height: int,
    width: int,
) -> None:
    """Levels of pixels that touch another piece: how many of them hang on each in a row, at most `RIM`.

    A flood that reaches a pixel first decides. Of two pieces that touch, the pixels along the touch come last, each
    from the inside of its own piece; where a pixel has no inside beside it (at the corner of three pieces), the one
    that it hangs on goes before all others of the rim.
    """
    end = 0
    for i in range(piece.size):
        tier[i] = 0
        if piece[i] == 0:
            continue
        tier[i] = 1
        for side in range(4):
            j = _neighbour(i, side, height, width)
            if j >= 0 and piece[j] != 0 and piece[j] != piece[i] and level[i] != 255:
                tier[i] = -1
    for i in range(piece.size):
        if tier[i] == -1:
            level[i] = 0
            for side in range(4):
                j = _neighbour(i, side, height, width)
                if j >= 0 and piece[j] == piece[i] and tier[j] == 1:
                    tier[i] = 2
            if tier[i] == 2:
                queue[end] = i
                end += 1
    done = 0
    while done < end:
        i = queue[done]
        done += 1
        for side in range(4):
            j = _neighbour(i, side, height, width)
            if j >= 0 and piece[j] == piece[i] and tier[j] == -1:
                tier[j] = tier[i] + 1
                queue[end] = j
                end += 1
    for k in range(end - 1, -1, -1):
        i = queue[k]
        if tier[i] == 2:
            continue
        for side in range(4):
            j = _neighbour(i, side, height, width)
            if j >= 0 and piece[j] == piece[i] and tier[j] == tier[i] - 1:
                level[j] = min(RIM, max(level[j], level[i] + 1))
                break


@njit(cache=True, nogil=True)
def _deepest(
    members: NDArray[np.int64],
    n: int,
    piece: NDArray[np.int32],
    depth: NDArray[np.int32],
    queue: NDArray[np.int64],
    height: int,
    width: int,
) -> int:
    """The member farthest from what is not of its piece, in steps along rows and columns; the first of equals."""
    mine = piece[members[0]]
    end = 0
    for k in range(n):
        i = members[k]
        depth[i] = 0
        for side in range(4):
            j = _neighbour(i, side, height, width)
            if j < 0 or piece[j] != mine:
                depth[i] = 1
        if depth[i] == 1:
            queue[end] = i
            end += 1
    done = 0
    while done < end:
        i = queue[done]
        done += 1
        for side in range(4):
            j = _neighbour(i, side, height, width)
            if j >= 0 and piece[j] == mine and depth[j] == 0:
                depth[j] = depth[i] + 1
                queue[end] = j
                end += 1
    best = members[0]
    for k in range(n):
        i = members[k]
        if depth[i] > depth[best] or (depth[i] == depth[best] and i < best):
            best = i
    return int(best)


@njit(cache=True, nogil=True)
def _fall(
    seed: int,
    n: int,
    piece: NDArray[np.int32],
    depth: NDArray[np.int32],
    queue: NDArray[np.int64],
    level: NDArray[np.uint8],
    height: int,
    width: int,
) -> None:
    """Levels of a piece: 255 at the seed, then 127 down to `RIM` + 1 by the steps from it."""
    mine = piece[seed]
    for k in range(n):  # `queue` holds all members: `_deepest` left them there
        depth[queue[k]] = -1
    queue[0], end, done = seed, 1, 0
    depth[seed] = 0
    while done < end:
        i = queue[done]
        done += 1
        for side in range(4):
            j = _neighbour(i, side, height, width)
            if j >= 0 and piece[j] == mine and depth[j] < 0:
                depth[j] = depth[i] + 1
                queue[end] = j
                end += 1
    longest = depth[queue[n - 1]]
    for k in range(1, n):
        i = queue[k]
        level[i] = RIM + 1 + (126 - RIM) * (longest - depth[i]) // longest
    level[seed] = 255


@njit(cache=True, nogil=True)
def _row_of_star(y: int, ys: NDArray[np.float64], xs: NDArray[np.float64], crossings: NDArray[np.float64]) -> int:
    """Where row `y` crosses the outline, ascending; how many crossings."""
    found, n = 0, len(ys)
    for k in range(n):
        y0, x0, y1, x1 = ys[k], xs[k], ys[(k + 1) % n], xs[(k + 1) % n]
        if (y0 <= y) != (y1 <= y):
            x = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            at = found
            while at > 0 and crossings[at - 1] > x:
                crossings[at] = crossings[at - 1]
                at -= 1
            crossings[at] = x
            found += 1
    return found


@njit(cache=True, nogil=True)
def paint_stars(
    centres: NDArray[np.int64],
    rays: NDArray[np.float32],
    stride: int,
    overlap: float,
    labels: NDArray[np.int32],
    winner: NDArray[np.int64],
) -> int:
    """Paint candidates, the likeliest first, and leave out those that share too much with one painted before.

    Parameters
    ----------
    centres : (n, 2) int64, y then x in the maps, in the order they are tried
    rays : (R, h, w) float32, px of the tile
    stride : px of the tile for one of the maps
    overlap : a candidate that shares more than this share of the smaller of the two is left out
    labels : (H, W) int32, zeros, written: number of the painted candidate, from 1
    winner : (n,) int64, written: which candidate each number is

    Returns
    -------
    how many were painted
    """
    height, width = labels.shape
    n_rays = len(rays)
    ys, xs, crossings = np.empty(n_rays), np.empty(n_rays), np.empty(n_rays)
    area = np.zeros(len(centres) + 1, np.int64)
    shared = np.zeros(len(centres) + 1, np.int64)
    touched = np.empty(len(centres) + 1, np.int64)
    count = 0
    for c in range(len(centres)):
        cy, cx = centres[c]
        top, bottom = np.inf, -np.inf
        for k in range(n_rays):
            angle = 2 * np.pi * k / n_rays
            length = max(rays[k, cy, cx], np.float32(0))
            ys[k] = cy * stride + length * np.sin(angle)
            xs[k] = cx * stride + length * np.cos(angle)
            top, bottom = min(top, ys[k]), max(bottom, ys[k])
        y0, y1 = max(0, int(np.ceil(top))), min(height - 1, int(np.floor(bottom)))
        pixels = touches = 0
        for y in range(y0, y1 + 1):
            for pair in range(_row_of_star(y, ys, xs, crossings) // 2):
                left, right = (
                    max(0.0, np.ceil(crossings[2 * pair])),
                    min(width - 1.0, np.ceil(crossings[2 * pair + 1]) - 1),
                )
                for x in range(int(left), int(right) + 1):
                    pixels += 1
                    other = labels[y, x]
                    if other != 0:
                        if shared[other] == 0:
                            touched[touches] = other
                            touches += 1
                        shared[other] += 1
        free = pixels > 0
        for t in range(touches):
            other = touched[t]
            if shared[other] > overlap * min(pixels, area[other]):
                free = False
            shared[other] = 0
        if not free:
            continue
        count += 1
        area[count] = pixels
        winner[count - 1] = c
        for y in range(y0, y1 + 1):
            for pair in range(_row_of_star(y, ys, xs, crossings) // 2):
                left, right = (
                    max(0.0, np.ceil(crossings[2 * pair])),
                    min(width - 1.0, np.ceil(crossings[2 * pair + 1]) - 1),
                )
                for x in range(int(left), int(right) + 1):
                    if labels[y, x] == 0:
                        labels[y, x] = count
    return count
