"""Compiled loops on runs of pixels: connect, split, trace and measure objects. No checks: the callers validate.

Everything works on *runs*: a run k is the pixels ``(y[k], x0[k] .. x1[k]-1)``, maximal along its row, and runs are
sorted by (y, x0) inside their group. ``start`` (G + 1,) delimits the groups (components, or instances). A group's
cost is its pixels and runs, never its bounding box, so a ring round the slide costs what it covers.

*Slots* lay the pixels of runs out along one axis, with a void slot before the first and after every run, so that the
left and right neighbour of slot s are s - 1 and s + 1; ``up`` and ``down`` hold the slots of the vertical neighbours.
Slot 0 is void and stands for every missing neighbour. 4-neighbours never belong to two components, so whatever moves
along these links is component-local by construction, and nothing depends on where a component lies or what lies
beside it.

All arithmetic that decides anything is on integers: sums do not depend on their order, results not on the compiler.

Hot loops index slices from 0, or with unsigned numbers: for a signed index numba also emits Python's counting from
the end, which keeps short loops from being vectorised (2-3 times slower).

One file although long: numba's on-disk cache notices changes of a kernel's own file only, so kernels that call each
other live together.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]

#: Fixed-point steps per px of a distance while it is smoothed, and of the level the flood sorts by.
FINE = 256
LEVELS_PER_PX = 16
#: Above this length the lower envelope of the distance transform beats the local search in short runs.
SHORT_RUN = 48
#: floor(FINE * sqrt(i)): nearly all distances inside cells are short.
_SQUARE_ROOTS = np.floor(np.sqrt(np.arange(1024.0)) * FINE).astype(np.int32)


# ---------------------------------------------------------------------------------------------------- runs


@njit(cache=True, nogil=True)
def count_runs(image: NDArray[np.integer]) -> int:
    """Number of runs of equal non-zero value in `image` (H, W)."""
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
    """Write the runs counted by `count_runs`, in raster order, with their value."""
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
def _root(parent: Ints, i: int) -> int:
    here = np.int64(i)
    up = parent[np.uint64(here)]
    while up != here:
        above = parent[np.uint64(up)]
        parent[np.uint64(here)] = above
        here = np.int64(above)
        up = parent[np.uint64(here)]
    return int(here)


@njit(cache=True, nogil=True)
def connect_runs(ys: Ints, x0: Ints, x1: Ints, component: Ints) -> int:
    """4-connected components of runs in raster order, numbered 0.. by first pixel; returns how many."""
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
            i, j = _root(parent, k), _root(parent, b)
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
    """Stable counting sort: ``order[start[g]:start[g + 1]]`` are the runs of group g; negative groups are left out."""
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


# --------------------------------------------------------------------------------------------------- slots


@njit(cache=True, nogil=True)
def slot_starts(x0: Ints, x1: Ints, slot: Longs) -> int:
    """First slot of every run; returns the total number of slots, voids included."""
    s = 1
    for k in range(len(x0)):
        slot[k] = s
        s += x1[k] - x0[k] + 1
    return s


@njit(cache=True, nogil=True)
def gather(plane: Bytes, x0: Ints, x1: Ints, src: Longs, slot: Longs, out: Bytes) -> None:
    """Copy the pixels of runs from where they lie in a flat `plane` to their slots."""
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
    """Vertical neighbours of every slot inside its group; 0 where there is none (arrays come zeroed).

    Also writes each stretch over which two runs lie one above the other, in raster order of the lower run: slots
    ``upper + i`` and ``lower + i``, 0 <= i < ``length``. Returns how many there are, at most two a run.
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
def _row_distances(column: Ints, first: int, n: int, out: Ints, vertex: Longs, left: Longs) -> None:
    """Lower envelope of the parabolas (i - j)^2 + column[j]^2 along one run, in linear time.

    Felzenszwalb & Huttenlocher (2012), with Meijster's integer separation; the voids at both ends are sites too.
    """
    top = 0
    vertex[0] = 0
    left[0] = 0
    for u in range(1, n + 2):
        gu = int(column[first - 1 + u])
        gu *= gu
        while top >= 0:
            v = vertex[top]
            gv = int(column[first - 1 + v])
            gv *= gv
            t = left[top]
            if (t - v) * (t - v) + gv > (t - u) * (t - u) + gu:
                top -= 1
            else:
                break
        if top < 0:
            top = 0
            vertex[0] = u
            left[0] = 0
        else:
            v = vertex[top]
            gv = int(column[first - 1 + v])
            # last position where v is not farther than u
            w = 1 + (u * u - v * v + gu - gv * gv) // (2 * (u - v))
            if w <= n + 1:
                top += 1
                vertex[top] = u
                left[top] = w
    for i in range(n + 1, -1, -1):
        v = vertex[top]
        if 1 <= i <= n:
            g = int(column[first - 1 + v])
            out[first - 1 + i] = (i - v) * (i - v) + g * g
        if i == left[top]:
            top -= 1


@njit(cache=True, nogil=True)
def squared_distances(
    x0: Ints, x1: Ints, slot: Longs, upper: Ints, lower: Ints, length: Ints, column: Ints, out: Ints, short_run: int
) -> None:
    """Exact squared Euclidean distance (px^2) from every pixel to the nearest pixel outside its component.

    Outside the canvas is outside the component. Distance to the background equals distance to the component's own
    complement: a shortest 4-connected staircase towards another component leaves this one through background, which
    is no farther. `column` is scratch; both arrays come zeroed and keep 0 on voids. Runs longer than `short_run` use
    the linear-time envelope instead of a local search.
    """
    runs = len(x0)
    longest = 0
    for k in range(runs):
        s, n = slot[k], x1[k] - x0[k]
        longest = max(longest, n)
        column[s : s + n] = 1
        out[s : s + n] = 1
    for j in range(len(length)):
        t, u, n = upper[j], lower[j], length[j]
        above, below = column[t : t + n], column[u : u + n]
        for i in range(n):
            below[i] = above[i] + 1
    for j in range(len(length) - 1, -1, -1):
        t, u, n = upper[j], lower[j], length[j]
        above, below = out[t : t + n], out[u : u + n]
        for i in range(n):
            above[i] = below[i] + 1
    for i in range(len(out)):
        column[i] = min(column[i], out[i])
    scratch = longest + 2 if longest > short_run else 0
    vertex = np.empty(scratch, np.int64)
    left = np.empty(scratch, np.int64)
    for k in range(runs):
        s, n = slot[k], int(x1[k] - x0[k])
        if n > short_run:
            _row_distances(column, s, n, out, vertex, left)
            continue
        row, found = column[s : s + n], out[s : s + n]
        for i in range(n):
            # the distance to the ends of the run bounds the search, so it stays inside
            best = min(int(row[i]), i + 1, n - i)
            best *= best
            step = 1
            square = 1
            while square < best:
                a = min(int(row[np.uint64(i - step)]), int(row[np.uint64(i + step)]))
                best = min(best, a * a + square)
                step += 1
                square = step * step
            found[i] = best


@njit(cache=True, nogil=True)
def distance_levels(squared: Ints, out: Ints) -> None:
    """sqrt of squared distances in 1/FINE px, rounded down; voids stay 0."""
    for i in range(len(squared)):
        d = squared[i]
        out[i] = _SQUARE_ROOTS[np.uint64(d)] if d < len(_SQUARE_ROOTS) else int(math.sqrt(float(d)) * FINE)


@njit(cache=True, nogil=True)
def diffuse(
    x0: Ints,
    x1: Ints,
    slot: Longs,
    upper: Ints,
    lower: Ints,
    length: Ints,
    values: Ints,
    flow: Ints,
    steps: int,
    weight: int,
) -> None:
    """Explicit heat flow in place on the component's own 4-neighbour graph, none over its border.

    Each step: v += weight / 256 * sum over neighbours (v_n - v), rounded to nearest. `steps` steps have variance
    2 * steps * weight / 256 px^2 per axis. `flow` is scratch.
    """
    for _ in range(steps):
        for k in range(len(x0)):
            s, n = slot[k], x1[k] - x0[k]
            v, f = values[s : s + n], flow[s : s + n]
            before = 0
            for i in range(n - 1):
                after = v[i + 1] - v[i]
                f[i] = after - before
                before = after
            f[n - 1] = -before
        for j in range(len(length)):
            t, u, n = upper[j], lower[j], length[j]
            v_above, v_below, above, below = values[t : t + n], values[u : u + n], flow[t : t + n], flow[u : u + n]
            for i in range(n):
                step = v_above[i] - v_below[i]
                below[i] += step
                above[i] -= step
        for k in range(len(x0)):
            s, n = slot[k], x1[k] - x0[k]
            v, f = values[s : s + n], flow[s : s + n]
            for i in range(n):
                v[i] += (f[i] * weight + 128) >> 8


@njit(cache=True, nogil=True)
def coarse_levels(x0: Ints, x1: Ints, slot: Longs, values: Ints, level: Ints) -> None:
    """Distances in 1/FINE px as flood levels in 1/LEVELS_PER_PX px, rounded to nearest."""
    unit = FINE // LEVELS_PER_PX
    for k in range(len(x0)):
        s, n = slot[k], x1[k] - x0[k]
        v, to = values[s : s + n], level[s : s + n]
        for i in range(n):
            to[i] = (v[i] + unit // 2) // unit


@njit(cache=True, nogil=True)
def add_levels(x0: Ints, x1: Ints, src: Longs, slot: Longs, plane: Bytes, level: Ints) -> None:
    """Add the pixels of a flat stored landscape to the levels."""
    for k in range(len(x0)):
        n = x1[k] - x0[k]
        v, to = plane[src[k] : src[k] + n], level[slot[k] : slot[k] + n]
        for i in range(n):
            to[i] += v[i]


@njit(cache=True, nogil=True)
def clear_levels(x0: Ints, x1: Ints, slot: Longs, level: Ints) -> None:
    """Level 0 on every pixel."""
    for k in range(len(x0)):
        level[slot[k] : slot[k] + x1[k] - x0[k]] = 0


# --------------------------------------------------------------------------------------------------- split


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
            r = _root(parent, t)
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

    `level` (slots,) int32: landscape, >= 0 on pixels, -1 on voids. A peak becomes a seed when it rises at least
    `persistence` levels and at least `relative` / 1024 of its own level above the saddle towards a higher peak; of
    equal peaks the earlier in raster order counts as higher. `label` (slots,) int32 comes zeroed and gets 1.. per
    component with several instances, in raster order of their first pixels; ``number`` (G,) how many each component
    has.
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
    """Number of runs that `instance_runs` writes."""
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
    """The runs of every instance, grouped by instance, with what ``src`` says of their first pixel."""
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


# --------------------------------------------------------------------------------------------------- paint


@njit(cache=True, nogil=True)
def paint_runs(start: Longs, ys: Ints, x0: Ints, x1: Ints, number: Ints, out: Ints) -> None:
    """Write ``number[g]`` into the pixels of group g of a dense image."""
    for g in range(len(start) - 1):
        v = number[g]
        for k in range(start[g], start[g + 1]):
            row = out[ys[k]]
            for x in range(x0[k], x1[k]):
                row[x] = v


# --------------------------------------------------------------------------------------------------- trace


@njit(cache=True, nogil=True)
def _link_edges(ys: Ints, x0: Ints, x1: Ints, s: int, e: int, after: Longs) -> int:
    """Join the vertical edges of one object to rings; returns how many joints are corners.

    Edge 2k is the left side of run s + k, walked up; edge 2k + 1 its right side, walked down: the object is always on
    the right hand. ``after[edge]`` is the edge that follows. Along every row line the ends of the runs above and
    below are merged in x; between two of them with object on one side only lies a horizontal piece of boundary, and
    it joins the edge arriving at one end to the edge leaving at the other. Where two pixels of the object meet
    diagonally the boundary crosses from one to the other (8-connected turn): rings never touch themselves, as
    OGC Simple Features asks; a hole may touch a ring in a point.
    """
    corners = 0
    above0 = s
    above1 = s
    below0 = s
    while above0 < above1 or below0 < e:
        below1 = below0
        while below1 < e and ys[below1] == ys[below0]:
            below1 += 1
        i, i_end = 2 * (above0 - s), 2 * (above1 - s)
        j, j_end = 2 * (below0 - s), 2 * (below1 - s)
        in_above = False
        in_below = False
        pending = 0  # the edge at the left end of the open piece
        while i < i_end or j < j_end:
            if i < i_end:
                xa = x1[s + i // 2] if i & 1 else x0[s + i // 2]
            if j < j_end:
                xb = x1[s + j // 2] if j & 1 else x0[s + j // 2]
            if j >= j_end or (i < i_end and xa < xb):
                if in_above != in_below:
                    corners += 1
                    if in_above:
                        after[i] = pending
                    else:
                        after[pending] = i
                pending = i
                in_above = not in_above
                i += 1
            elif i >= i_end or xb < xa:
                if in_above != in_below:
                    corners += 1
                    if in_above:
                        after[j] = pending
                    else:
                        after[pending] = j
                pending = j
                in_below = not in_below
                j += 1
            else:
                if in_above == in_below:  # straight through
                    if in_above:
                        after[i] = j
                    else:
                        after[j] = i
                elif in_above:  # right end above, left end below: a diagonal touch
                    corners += 1
                    after[j] = pending
                    pending = i
                else:
                    corners += 1
                    after[pending] = i
                    pending = j
                in_above = not in_above
                in_below = not in_below
                i += 1
                j += 1
        above0, above1 = below0, below1
        below0 = below1
    return corners


@njit(cache=True, nogil=True)
def _grown(array: Ints, used: int, needed: int) -> Ints:
    size = max(needed, used + used // 2 + 64)
    out = np.empty((size, 2), np.int32)
    out[:used] = array[:used]
    return out


@njit(cache=True, nogil=True)
def trace_runs(start: Longs, ys: Ints, x0: Ints, x1: Ints, polygon_offsets: Longs) -> tuple[Ints, Longs, bool]:
    """Boundary rings of every group along pixel cracks, corners only.

    Returns (coords (V, 2) int32 x then y, ring_offsets (R + 1,) int64, ok). The shell comes first and starts at the
    top left corner of the first pixel, a hole at the top left corner of its first pixel, holes in raster order of
    that pixel; all rings walk with the object on the right hand on screen (y down), which is the positive
    (counter-clockwise) direction of the numbers, as RFC 7946 wants shells, and the negative one for holes. `ok` is
    False when a group is not connected.
    """
    groups = len(start) - 1
    longest = 0
    for g in range(groups):
        longest = max(longest, start[g + 1] - start[g])
    after = np.empty(2 * longest, np.int64)
    coords = np.empty((4 * len(ys) + 64, 2), np.int32)
    rings = np.empty(groups + groups // 8 + 17, np.int64)
    used = 0
    ring = 0
    ok = True
    rings[0] = 0
    polygon_offsets[0] = 0
    for g in range(groups):
        s, e = start[g], start[g + 1]
        corners = _link_edges(ys, x0, x1, s, e, after)
        edges = 2 * (e - s)
        if used + 2 * corners + edges > len(coords):
            coords = _grown(coords, used, used + 2 * corners + edges)
        left = edges
        first = 0
        while left > 0:
            while after[first] < 0:
                first += 1
            # a shell starts where its first edge ends, a hole where its first edge begins
            begin = used
            k = s + first // 2
            if first & 1:
                coords[used, 0] = x1[k]
                coords[used, 1] = ys[k]
                used += 1
            elif first > 0:
                ok = False
            edge = first
            while True:
                following = after[edge]
                after[edge] = -1
                left -= 1
                k, m = s + edge // 2, s + following // 2
                xa = x1[k] if edge & 1 else x0[k]
                xb = x1[m] if following & 1 else x0[m]
                if xa != xb:
                    y = ys[k] + (edge & 1)
                    coords[used, 0] = xa
                    coords[used, 1] = y
                    coords[used + 1, 0] = xb
                    coords[used + 1, 1] = y
                    used += 2
                edge = following
                if edge == first:
                    break
            if not first & 1:
                coords[used] = coords[begin]
                used += 1
            ring += 1
            if ring >= len(rings):
                grown = np.empty(2 * ring, np.int64)
                grown[:ring] = rings[:ring]
                rings = grown
            rings[ring] = used
        polygon_offsets[g + 1] = ring
    return coords[:used], rings[: ring + 1], ok


# -------------------------------------------------------------------------------------------------- measure


@njit(cache=True, nogil=True)
def measure_shape(start: Longs, ys: Ints, x0: Ints, x1: Ints, area: Longs, sum_x: Longs, sum_y: Longs) -> None:
    """Integer sums per group: pixels, doubled x and doubled y of the pixel centres."""
    for g in range(len(start) - 1):
        n = 0
        sx = 0
        sy = 0
        for k in range(start[g], start[g + 1]):
            a, b = int(x0[k]), int(x1[k])
            n += b - a
            sx += b * b - a * a
            sy += (b - a) * (2 * int(ys[k]) + 1)
        area[g] = n
        sum_x[g] = sx
        sum_y[g] = sy


@njit(cache=True, nogil=True)
def measure_classes(
    start: Longs, x0: Ints, x1: Ints, src: Longs, classes: Bytes, confidence: Bytes, sums: Longs, present: Longs
) -> None:
    """Confidence and pixels per class (G, P) int64, which come zeroed; class c counts in column c - 1."""
    for g in range(len(start) - 1):
        for k in range(start[g], start[g + 1]):
            s = src[k]
            for i in range(s, s + x1[k] - x0[k]):
                c = int(classes[i]) - 1
                sums[g, c] += int(confidence[i])
                present[g, c] += 1


# ------------------------------------------------------------------------------------------------- panoptic


#: Pixels handled at a time, so that a stretch of every prompt's map stays in the first-level cache.
_STRETCH = 2048


@njit(cache=True, nogil=True)
def combine_cells(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32], winner: Bytes, confidence: Bytes
) -> int:
    """Highest probability among those above their threshold, first on ties; (P, N) float32 -> (N,) uint8 twice.

    Returns how many values are no probabilities (NaN included).
    """
    prompts, n = probabilities.shape
    best = np.empty(_STRETCH, np.float32)
    who = np.empty(_STRETCH, np.int32)
    wrong = 0
    for begin in range(0, n, _STRETCH):
        m = min(_STRETCH, n - begin)
        best[:] = np.float32(-1.0)
        who[:] = 0
        for c in range(prompts):
            row = probabilities[c, begin : begin + m]
            threshold = thresholds[c]
            for i in range(m):
                p = row[i]
                wrong += not ((p >= np.float32(-0.001)) & (p <= np.float32(1.001)))
                take = (p > threshold) & (p > best[i]) & (p <= np.float32(1.001))
                best[i] = p if take else best[i]
                who[i] = c + 1 if take else who[i]
        for i in range(m):
            winner[begin + i] = who[i]
            confidence[begin + i] = min(255, max(1, int(255.0 * float(best[i]) + 0.5))) if who[i] > 0 else 0
    return wrong


@njit(cache=True, nogil=True)
def quantise(probabilities: NDArray[np.float32], out: Bytes) -> int:
    """round(255 p), halves up, clipped to 0-255; returns how many values are no probabilities."""
    wrong = 0
    for i in range(len(probabilities)):
        p = probabilities[i]
        good = (p >= np.float32(-0.001)) & (p <= np.float32(1.001))
        wrong += not good
        out[i] = min(255, max(0, int(255.0 * float(p) + 0.5))) if good else 0
    return wrong


@njit(cache=True, nogil=True)
def upstream_counts(
    probabilities: NDArray[np.float32], low: np.float32, area: Longs, won: Longs, total: NDArray[np.float64]
) -> int:
    """Per target: pixels above `low`, pixels won among those, summed probability; returns how many values are wrong."""
    targets, n = probabilities.shape
    best = np.empty(_STRETCH, np.float32)
    who = np.empty(_STRETCH, np.int32)
    wrong = 0
    for begin in range(0, n, _STRETCH):
        m = min(_STRETCH, n - begin)
        best[:] = low
        who[:] = 0
        for c in range(targets):
            row = probabilities[c, begin : begin + m]
            count = 0
            summed = 0.0
            for i in range(m):
                p = row[i]
                wrong += not ((p >= np.float32(-0.001)) & (p <= np.float32(1.001)))
                count += p > low
                summed += float(p) if p > low else 0.0
                take = p > best[i]
                best[i] = p if take else best[i]
                who[i] = c + 1 if take else who[i]
            area[c] += count
            total[c] += summed
        for i in range(m):
            if who[i] > 0:
                won[who[i] - 1] += 1
    return wrong


@njit(cache=True, nogil=True)
def upstream_winner(
    probabilities: NDArray[np.float32], kept: NDArray[np.bool_], high: np.float32, winner: Bytes
) -> None:
    """Position + 1 of the kept target of highest probability above `high`, first on ties; 0 for none."""
    targets, n = probabilities.shape
    best = np.empty(_STRETCH, np.float32)
    who = np.empty(_STRETCH, np.int32)
    for begin in range(0, n, _STRETCH):
        m = min(_STRETCH, n - begin)
        best[:] = high
        who[:] = 0
        for c in range(targets):
            if not kept[c]:
                continue
            row = probabilities[c, begin : begin + m]
            for i in range(m):
                p = row[i]
                take = p > best[i]
                best[i] = p if take else best[i]
                who[i] = c + 1 if take else who[i]
        for i in range(m):
            winner[begin + i] = who[i]
