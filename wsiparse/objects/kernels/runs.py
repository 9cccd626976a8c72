"""Runs of pixels: found, connected, grouped, laid out in slots, painted."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from wsiparse.objects.kernels.types import Bytes, Ints, Longs
from wsiparse.objects.kernels.union_find import find_root


@njit(cache=True, nogil=True)
def count_runs(image: NDArray[np.integer]) -> int:
    """Number of runs of equal non-zero value in `image`, (H, W) of an integer dtype, W >= 1."""
    height, width = image.shape
    n = 0
    for y in range(height):
        row = image[y]
        if row[0] != 0:
            n += 1
        for x in range(1, width):
            n += (row[x] != 0) & (row[x] != row[x - 1])
    return n


@njit(cache=True, nogil=True)
def fill_runs(image: NDArray[np.integer], ys: Ints, x0: Ints, x1: Ints, value: Ints) -> None:
    """Write the runs counted by `count_runs`, in raster order, with their value.

    Parameters
    ----------
    image : (H, W) of an integer dtype
    ys, x0, x1 : (R,) int32, written: row, first px, px after the last
    value : (R,) int32, written
    """
    height, width = image.shape
    k = 0
    for y in range(height):
        row = image[y]
        x = 0
        while x < width:
            v = row[x]
            if v == 0:
                x += 1
                continue
            begin = x
            x += 1
            while x < width and row[x] == v:
                x += 1
            ys[k] = y
            x0[k] = begin
            x1[k] = x
            value[k] = v
            k += 1


@njit(cache=True, nogil=True)
def connect_runs(ys: Ints, x0: Ints, x1: Ints, component: Ints) -> int:
    """4-connected components of runs, numbered 0.. by first pixel; returns how many.

    Parameters
    ----------
    ys, x0, x1 : (R,) int32, of each run, px, in raster order
    component : (R,) int32, written
    """
    n = len(ys)
    parent = component  # union-find in place; the smaller index is the root, so a root is its component's first run
    a = 0
    for k in range(n):
        parent[k] = k
        y, left, right = ys[k], x0[k], x1[k]
        while ys[a] < y - 1 or (ys[a] == y - 1 and x1[a] <= left):
            a += 1
        b = a
        while b < k and ys[b] == y - 1 and x0[b] < right:
            i, j = find_root(parent, k), find_root(parent, b)
            if i < j:
                parent[j] = i
            else:
                parent[i] = j
            b += 1
    count = 0
    for k in range(n):
        # roots come first, so a smaller parent already holds its number (as -1 - number)
        p = parent[k]
        if p == k:
            parent[k] = -1 - count
            count += 1
        else:
            parent[k] = parent[p]
    for k in range(n):
        component[k] = -1 - component[k]
    return count


@njit(cache=True, nogil=True)
def group_runs(group: Ints, n: int, start: Longs, order: Longs) -> None:
    """Stable counting sort: ``order[start[g]:start[g + 1]]`` are the runs of group g; negative groups are left out.

    Parameters
    ----------
    group : (R,) int32, of each run, < `n`
    n : number of groups
    start : (n + 1,) int64, written
    order : (R,) int64, written as far as ``start[n]``
    """
    start[:] = 0
    for g in group:
        if g >= 0:
            start[g + 1] += 1
    for g in range(n):
        start[g + 1] += start[g]
    fill = start[:n].copy()
    for k in range(len(group)):
        g = group[k]
        if g >= 0:
            order[fill[g]] = k
            fill[g] += 1


@njit(cache=True, nogil=True)
def slot_starts(x0: Ints, x1: Ints, slot: Longs) -> int:
    """First slot of every run; returns the total number of slots, voids included.

    Parameters
    ----------
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, written
    """
    s = 1
    for k in range(len(x0)):
        slot[k] = s
        s += x1[k] - x0[k] + 1
    return s


@njit(cache=True, nogil=True)
def gather(plane: Bytes, x0: Ints, x1: Ints, src: Longs, slot: Longs, out: Bytes) -> None:
    """Copy the pixels of runs from where they lie in a flat plane to their slots.

    Parameters
    ----------
    plane : (n,) uint8
    x0, x1 : (R,) int32, of each run, px
    src : (R,) int64, where each run's first pixel lies in `plane`
    slot : (R,) int64, where it goes in `out`
    out : (S,) uint8, written on pixels
    """
    for k in range(len(src)):
        n = x1[k] - x0[k]
        source, target = plane[src[k] : src[k] + n], out[slot[k] : slot[k] + n]
        for i in range(n):
            target[i] = source[i]


@njit(cache=True, nogil=True)
def link_slots(
    ys: Ints,
    x0: Ints,
    x1: Ints,
    start: Longs,
    slot: Longs,
    up: Ints,
    down: Ints,
    upper: Ints,
    lower: Ints,
    length: Ints,
) -> int:
    """Vertical neighbours of every slot inside its group; 0 where there is none.

    Also writes each stretch over which two runs lie one above the other, in raster order of the lower run: slots
    ``upper + i`` and ``lower + i``, 0 <= i < ``length``.

    Parameters
    ----------
    ys, x0, x1 : (R,) int32, of each run, px
    start : (G + 1,) int64
    slot : (R,) int64, first slot of each run
    up, down : (S,) int32, come zeroed: slots of the neighbours
    upper, lower, length : (2 * R,) int32, written

    Returns
    -------
    Number of stretches J, at most two a run
    """
    n = 0
    for g in range(len(start) - 1):
        a = start[g]
        for k in range(start[g], start[g + 1]):
            y, left, right, s = ys[k], x0[k], x1[k], slot[k]
            while ys[a] < y - 1 or (ys[a] == y - 1 and x1[a] <= left):
                a += 1
            b = a
            while b < k and ys[b] == y - 1 and x0[b] < right:
                begin = max(left, x0[b])
                t = slot[b] + begin - x0[b]
                u = s + begin - left
                m = min(right, x1[b]) - begin
                above, below = up[u : u + m], down[t : t + m]
                for i in range(m):
                    above[i] = t + i
                    below[i] = u + i
                upper[n] = t
                lower[n] = u
                length[n] = m
                n += 1
                b += 1
    return n


@njit(cache=True, nogil=True)
def paint_runs(start: Longs, ys: Ints, x0: Ints, x1: Ints, number: Ints, out: Ints) -> None:
    """Write ``number[g]`` into the pixels of group g of a dense image.

    Parameters
    ----------
    start : (G + 1,) int64
    ys, x0, x1 : (R,) int32, of each run, px of `out`
    number : (G,) int32
    out : (H, W) int32, written on pixels
    """
    for g in range(len(start) - 1):
        v = number[g]
        for k in range(start[g], start[g + 1]):
            row = out[ys[k]]
            for x in range(x0[k], x1[k]):
                row[x] = v
