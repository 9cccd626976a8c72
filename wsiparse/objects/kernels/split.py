"""Components to instances: levels, persistent peaks, flood, and the runs of what was flooded.

Peaks by union-find in descending level (Edelsbrunner, Letscher & Zomorodian 2002), flood by a queue per level (Beucher
& Meyer 1993): see `wsiparse.objects.split`.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from wsiparse.objects.kernels.distance import FINE
from wsiparse.objects.kernels.types import Bytes, Ints, Longs
from wsiparse.objects.kernels.union_find import find_root

#: Steps per px of the level the flood sorts by.
LEVELS_PER_PX = 16


@njit(cache=True, nogil=True)
def coarse_levels(x0: Ints, x1: Ints, slot: Longs, values: Ints, level: Ints) -> None:
    """Smoothed distances as flood levels, rounded to nearest.

    Parameters
    ----------
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, first slot of each run
    values : (S,) int32, 1/FINE px
    level : (S,) int32, written on pixels: 1/LEVELS_PER_PX px
    """
    unit = FINE // LEVELS_PER_PX
    for k in range(len(x0)):
        s, n = slot[k], x1[k] - x0[k]
        v, to = values[s : s + n], level[s : s + n]
        for i in range(n):
            to[i] = (v[i] + unit // 2) // unit


@njit(cache=True, nogil=True)
def add_levels(x0: Ints, x1: Ints, src: Longs, slot: Longs, plane: Bytes, level: Ints) -> None:
    """Add the pixels of a flat stored landscape to the levels.

    Parameters
    ----------
    x0, x1 : (R,) int32, of each run, px
    src : (R,) int64, where each run's first pixel lies in `plane`
    slot : (R,) int64, first slot of each run
    plane : (n,) uint8, grey levels
    level : (S,) int32, changed in place on pixels
    """
    for k in range(len(x0)):
        n = x1[k] - x0[k]
        v, to = plane[src[k] : src[k] + n], level[slot[k] : slot[k] + n]
        for i in range(n):
            to[i] += v[i]


@njit(cache=True, nogil=True)
def clear_levels(x0: Ints, x1: Ints, slot: Longs, level: Ints) -> None:
    """Level 0 on every pixel.

    Parameters
    ----------
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, first slot of each run
    level : (S,) int32, written on pixels
    """
    for k in range(len(x0)):
        level[slot[k] : slot[k] + x1[k] - x0[k]] = 0


@njit(cache=True, nogil=True)
def _local_maxima(level: Ints, up: Ints, down: Ints, lo: int, hi: int) -> tuple[int, int]:
    """Pixels with no 4-neighbour that is higher, or as high and earlier in raster order; and the highest level."""
    maxima = 0
    top = 0
    for i in range(lo, hi):
        s = np.uint64(i)
        v = level[s]
        if (
            (v >= 0)
            & (level[np.uint64(i - 1)] < v)
            & (level[np.uint64(i + 1)] <= v)
            & (level[np.uint64(up[s])] < v)
            & (level[np.uint64(down[s])] <= v)
        ):
            maxima += 1
            top = max(top, v)
    return maxima, top


@njit(cache=True, nogil=True)
def _sort_descending(level: Ints, lo: int, hi: int, top: int, bucket: Ints, order: Ints) -> int:
    """Counting sort of a component's slots, highest first, ties in raster order; returns how many."""
    for v in range(top + 1):
        bucket[v] = 0
    for i in range(lo, hi):
        v = level[np.uint64(i)]
        if v >= 0:
            bucket[np.uint64(v)] += 1
    total = 0
    for v in range(top, -1, -1):
        n = bucket[v]
        bucket[v] = total
        total += n
    for i in range(lo, hi):
        v = level[np.uint64(i)]
        if v >= 0:
            at = bucket[np.uint64(v)]
            order[np.uint64(at)] = i
            bucket[np.uint64(v)] = at + 1
    return total


@njit(cache=True, nogil=True)
def _mark_seeds(
    level: Ints,
    up: Ints,
    down: Ints,
    lo: int,
    order: Ints,
    pixels: int,
    parent: Ints,
    persistence: int,
    relative: int,
    label: Ints,
) -> int:
    """Label 1 on every peak that persists; returns how many. `parent` (slots from `lo`) comes filled with -1.

    Superlevel components grow in descending level, each known by its highest pixel; where two meet the lower of the
    two peaks ends.
    """
    seeds = 1
    label[order[0]] = 1  # the highest peak is always one
    for i in range(pixels):
        here = int(order[np.uint64(i)])
        s = np.uint64(here)
        v = int(level[s])
        mine = -1
        for d in range(4):
            t = (int(up[s]) if d == 0 else here - 1 if d == 1 else here + 1 if d == 2 else int(down[s])) - lo
            if t < 0 or parent[np.uint64(t)] < 0:
                continue
            r = find_root(parent, t)
            if mine < 0:
                mine = r
            elif r != mine:
                a, b = int(level[np.uint64(lo + mine)]), int(level[np.uint64(lo + r)])
                if b > a or (a == b and r < mine):
                    mine, r = r, mine
                    b = a
                if b - v >= persistence and (b - v) * 1024 >= relative * b:
                    label[lo + r] = 1
                    seeds += 1
                parent[r] = mine
        parent[np.uint64(here - lo)] = mine if mine >= 0 else here - lo
    return seeds


@njit(cache=True, nogil=True)
def _flood(
    level: Ints, up: Ints, down: Ints, lo: int, hi: int, top: int, head: Ints, tail: Ints, following: Ints, label: Ints
) -> None:
    """Spread the labels of seeds over a component: a first-in first-out queue per level, highest first."""
    for v in range(top + 1):
        head[v] = -1
    seeds = 0
    for i in range(lo, hi):
        if label[i] != 0:
            seeds += 1
            label[i] = seeds
            v = level[i]
            following[i - lo] = -1
            if head[v] < 0:
                head[v] = i
            else:
                following[tail[v] - lo] = i
            tail[v] = i
    v = top
    while v >= 0:
        here = int(head[v])
        if here < 0:
            v -= 1
            continue
        s = np.uint64(here)
        head[v] = following[np.uint64(here - lo)]
        for d in range(4):
            j = int(up[s]) if d == 0 else here - 1 if d == 1 else here + 1 if d == 2 else int(down[s])
            t = np.uint64(j)
            if level[t] < 0 or label[t] != 0:
                continue
            label[t] = label[s]
            to = np.uint64(min(int(level[t]), v))
            following[np.uint64(j - lo)] = -1
            if head[to] < 0:
                head[to] = j
            else:
                following[np.uint64(tail[to] - lo)] = j
            tail[to] = j


@njit(cache=True, nogil=True)
def split_components(
    start: Longs,
    x0: Ints,
    x1: Ints,
    slot: Longs,
    up: Ints,
    down: Ints,
    level: Ints,
    persistence: int,
    relative: int,
    label: Ints,
    number: Longs,
) -> None:
    """Number the pixels of every component by instance: persistence seeds, then a flood in descending level.

    A peak becomes a seed when it rises at least `persistence` levels and at least `relative` / 1024 of its own level
    above the saddle towards a higher peak; of equal peaks the earlier in raster order counts as higher.

    Parameters
    ----------
    start : (G + 1,) int64
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, first slot of each run
    up, down : (S,) int32, slots of the vertical neighbours
    level : (S,) int32, landscape, >= 0 on pixels, -1 on voids
    persistence, relative : in levels, and in 1/1024 of a peak's own
    label : (S,) int32, comes zeroed and gets 1.. per component with several instances, in raster order of their first
        pixels
    number : (G,) int64, written: how many instances each component has
    """
    groups = len(start) - 1
    largest = 0
    for g in range(groups):
        a, b = start[g], start[g + 1] - 1
        largest = max(largest, slot[b] + x1[b] - x0[b] - slot[a])
    order = np.empty(largest, np.int32)
    parent = np.empty(largest + 1, np.int32)
    bucket = np.empty(512, np.int32)
    tail = np.empty(512, np.int32)
    for g in range(groups):
        lo = slot[start[g]]
        last = start[g + 1] - 1
        hi = slot[last] + x1[last] - x0[last]
        number[g] = 1  # then no label is needed to tell its pixels
        maxima, top = _local_maxima(level, up, down, lo, hi)
        if maxima == 1 or top < persistence:
            continue
        if top >= len(bucket):
            bucket = np.empty(top + top // 2 + 1, np.int32)
            tail = np.empty(top + top // 2 + 1, np.int32)
        pixels = _sort_descending(level, lo, hi, top, bucket, order)
        parent[: hi - lo + 1] = -1
        seeds = _mark_seeds(level, up, down, lo, order, pixels, parent, persistence, relative, label)
        if seeds == 1:
            label[order[0]] = 0
            continue
        number[g] = seeds
        _flood(level, up, down, lo, hi, top, bucket, tail, parent, label)
        # renumber by first pixel; `order` is free again
        order[:seeds] = 0
        seen = 0
        for i in range(lo, hi):
            n = label[np.uint64(i)]
            if n != 0:
                if order[n - 1] == 0:
                    seen += 1
                    order[n - 1] = seen
                label[np.uint64(i)] = order[n - 1]


@njit(cache=True, nogil=True)
def count_instance_runs(start: Longs, x0: Ints, x1: Ints, slot: Longs, label: Ints, number: Longs) -> int:
    """Number of runs that `instance_runs` writes.

    Parameters
    ----------
    start : (G + 1,) int64
    x0, x1 : (R,) int32, of each run, px
    slot : (R,) int64, first slot of each run
    label : (S,) int32, as `split_components` writes it
    number : (G,) int64, as `split_components` writes it
    """
    runs = 0
    for g in range(len(start) - 1):
        if number[g] == 1:
            runs += start[g + 1] - start[g]
            continue
        for k in range(start[g], start[g + 1]):
            s = slot[k]
            runs += 1
            for i in range(s + 1, s + x1[k] - x0[k]):
                runs += label[i] != label[i - 1]
    return runs


@njit(cache=True, nogil=True)
def instance_runs(
    start: Longs,
    ys: Ints,
    x0: Ints,
    x1: Ints,
    slot: Longs,
    src: Longs,
    label: Ints,
    number: Longs,
    out_start: Longs,
    out_y: Ints,
    out_x0: Ints,
    out_x1: Ints,
    out_src: Longs,
) -> None:
    """The runs of every instance, grouped by instance, with what ``src`` says of their first pixel.

    Parameters
    ----------
    start : (G + 1,) int64
    ys, x0, x1 : (R,) int32, of each run, canvas px
    slot : (R,) int64, first slot of each run
    src : (R,) int64, where each run's first pixel lies in the planes
    label : (S,) int32, as `split_components` writes it
    number : (G,) int64, as `split_components` writes it
    out_start : (number.sum() + 1,) int64, written
    out_y, out_x0, out_x1 : (n,) int32, written; n as `count_instance_runs` says
    out_src : (n,) int64, written
    """
    most = 1
    for g in range(len(start) - 1):
        most = max(most, number[g])
    fill = np.empty(most, np.int64)
    done = 0
    m = 0
    out_start[0] = 0
    for g in range(len(start) - 1):
        if number[g] == 1:
            for k in range(start[g], start[g + 1]):
                out_y[m] = ys[k]
                out_x0[m] = x0[k]
                out_x1[m] = x1[k]
                out_src[m] = src[k]
                m += 1
            done += 1
            out_start[done] = m
            continue
        fill[: number[g]] = 0
        for k in range(start[g], start[g + 1]):
            s = slot[k]
            fill[label[s] - 1] += 1
            for i in range(s + 1, s + x1[k] - x0[k]):
                if label[i] != label[i - 1]:
                    fill[label[i] - 1] += 1
        for j in range(number[g]):
            n = fill[j]
            fill[j] = m
            m += n
            done += 1
            out_start[done] = m
        for k in range(start[g], start[g + 1]):
            s = slot[k]
            n = x1[k] - x0[k]
            i = 0
            while i < n:
                begin = i
                j = label[s + i]
                while i < n and label[s + i] == j:
                    i += 1
                r = fill[j - 1]
                fill[j - 1] += 1
                out_y[r] = ys[k]
                out_x0[r] = x0[k] + begin
                out_x1[r] = x0[k] + i
                out_src[r] = src[k] + begin
