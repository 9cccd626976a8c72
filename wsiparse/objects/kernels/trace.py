"""Outlines of groups of runs, along the cracks between pixels."""

from __future__ import annotations

import numpy as np
from numba import njit

from wsiparse.objects.kernels.types import Ints, Longs


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

    The shell comes first and starts at the top left corner of the first pixel, a hole at the top left corner of its
    first pixel, holes in raster order of that pixel; all rings walk with the object on the right hand on screen (y
    down), which is the positive (counter-clockwise) direction of the numbers, as RFC 7946 wants shells, and the
    negative one for holes.

    Parameters
    ----------
    start : (G + 1,) int64
    ys, x0, x1 : (R,) int32, of each run, canvas px
    polygon_offsets : (G + 1,) int64, written

    Returns
    -------
    coords : (V, 2) int32, x then y, canvas px
    ring_offsets : (n + 1,) int64, n rings
    ok : False when a group is not connected
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
