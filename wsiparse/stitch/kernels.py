"""Compiled loops of the stitcher: unite components over seams and lay their pieces out. No checks.

*Nodes* are the open components of single blocks. ``parent`` is a union-find forest over them (-1: unused), ``sibling``
links the members of a component in a circle, so that uniting two is swapping two links. At roots ``pending`` counts
the border segments that still face a block which has not arrived, and ``px`` the pixels.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int32]
Longs = NDArray[np.int64]
Bytes = NDArray[np.uint8]


@njit(cache=True, nogil=True)
def _root(parent: Longs, i: int) -> int:
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@njit(cache=True, nogil=True)
def unite_seam(parent: Longs, sibling: Longs, pending: Longs, px: Longs, mine: Longs, theirs: Longs) -> None:
    """Unite the nodes whose segments overlap along one seam; segments (n, 3) int64: first, past last, node; sorted."""
    j = 0
    for i in range(len(mine)):
        lo, hi = mine[i, 0], mine[i, 1]
        while j < len(theirs) and theirs[j, 1] <= lo:
            j += 1
        k = j
        while k < len(theirs) and theirs[k, 0] < hi:
            a, b = _root(parent, mine[i, 2]), _root(parent, theirs[k, 2])
            if a != b:
                if b < a:
                    a, b = b, a
                parent[b] = a
                pending[a] += pending[b]
                px[a] += px[b]
                sibling[a], sibling[b] = sibling[b], sibling[a]
            k += 1


@njit(cache=True, nogil=True)
def settle(parent: Longs, pending: Longs, segments: Longs) -> None:
    """The neighbour of these segments has arrived: they wait no longer."""
    for i in range(len(segments)):
        pending[_root(parent, segments[i, 2])] -= 1


@njit(cache=True, nogil=True)
def closed_roots(parent: Longs, pending: Longs, nodes: Longs, out: Longs) -> int:
    """Roots among the components of `nodes` that wait for no block any more, each once; returns how many."""
    n = 0
    for i in nodes:
        r = _root(parent, i)
        if pending[r] == 0:
            pending[r] = -1  # claimed
            out[n] = r
            n += 1
    return n


@njit(cache=True, nogil=True)
def count_members(roots: Longs, sibling: Longs, run_count: Longs) -> tuple[int, int]:
    """Nodes and runs of the components of `roots`."""
    nodes = 0
    runs = 0
    for r in roots:
        i = r
        while True:
            nodes += 1
            runs += run_count[i]
            i = sibling[i]
            if i == r:
                break
    return nodes, runs


@njit(cache=True, nogil=True)
def collect(
    roots: Longs,
    sibling: Longs,
    run_at: Longs,
    run_count: Longs,
    byte_at: Longs,
    ys: Ints,
    x0: Ints,
    x1: Ints,
    members: Longs,
    group: Longs,
    piece_y: Ints,
    piece_x0: Ints,
    piece_x1: Ints,
    src: Longs,
) -> None:
    """Members of every root, and all their runs with group number and position of their bytes."""
    m = 0
    n = 0
    for g in range(len(roots)):
        i = roots[g]
        while True:
            members[m] = i
            m += 1
            position = byte_at[i]
            for k in range(run_at[i], run_at[i] + run_count[i]):
                group[n] = g
                piece_y[n] = ys[k]
                piece_x0[n] = x0[k]
                piece_x1[n] = x1[k]
                src[n] = position
                position += x1[k] - x0[k]
                n += 1
            i = sibling[i]
            if i == roots[g]:
                break


@njit(cache=True, nogil=True)
def join_pieces(
    order: Longs,
    group: Longs,
    ys: Ints,
    x0: Ints,
    x1: Ints,
    start: Longs,
    out_y: Ints,
    out_x0: Ints,
    out_x1: Ints,
    slot: Longs,
) -> tuple[int, int]:
    """Join the pieces of runs that seams cut; `order` sorts the pieces by (group, y, x0).

    Fills ``start`` (G + 1,) and the joined runs, and ``slot`` (one a piece, in sorted order): where the piece's pixels
    go when the joined runs are laid out with a void before the first and after every run. Returns the number of
    joined runs and of slots.
    """
    m = -1
    s = 0
    start[:] = 0
    previous = -1
    for i in range(len(order)):
        k = order[i]
        if group[k] != previous or out_y[m] != ys[k] or out_x1[m] != x0[k]:
            m += 1
            s += 1
            out_y[m] = ys[k]
            out_x0[m] = x0[k]
            previous = group[k]
            start[previous + 1] += 1
        out_x1[m] = x1[k]
        slot[i] = s
        s += x1[k] - x0[k]
    for g in range(len(start) - 1):
        start[g + 1] += start[g]
    return m + 1, s + 1


@njit(cache=True, nogil=True)
def copy_pieces(order: Longs, x0: Ints, x1: Ints, src: Longs, slot: Longs, plane: Bytes, out: Bytes) -> None:
    """Copy the bytes of every piece to its slots."""
    for i in range(len(order)):
        k = order[i]
        a, b = src[k], slot[i]
        for j in range(x1[k] - x0[k]):
            out[b + j] = plane[a + j]


@njit(cache=True, nogil=True)
def compact_runs(
    nodes: Longs, run_at: Longs, run_count: Longs, ys: Ints, x0: Ints, x1: Ints, out_y: Ints, out_x0: Ints, out_x1: Ints
) -> None:
    """Move the runs of `nodes` together into new arrays and let ``run_at`` follow."""
    n = 0
    for i in nodes:
        begin = run_at[i]
        run_at[i] = n
        for k in range(begin, begin + run_count[i]):
            out_y[n] = ys[k]
            out_x0[n] = x0[k]
            out_x1[n] = x1[k]
            n += 1


@njit(cache=True, nogil=True)
def compact_bytes(nodes: Longs, byte_at: Longs, byte_count: Longs, plane: Bytes, out: Bytes) -> None:
    """Copy the bytes of `nodes` together into a new plane; ``byte_at`` stays as it is."""
    n = 0
    for i in nodes:
        begin = byte_at[i]
        for k in range(begin, begin + byte_count[i]):
            out[n] = plane[k]
            n += 1


@njit(cache=True, nogil=True)
def border_segments(
    start: Longs,
    ys: Ints,
    x0: Ints,
    x1: Ints,
    left: int,
    top: int,
    right: int,
    bottom: int,
    sides: Longs,
    counts: Longs,
) -> None:
    """Segments of components along the borders of a block [left, right) x [top, bottom); -1: no border to look at.

    ``sides`` (4, n, 3) int64 for left, top, right, bottom: first, past last canvas px along the border, component;
    in the order of components (the caller sorts). ``counts`` (4,) gets how many.
    """
    counts[:] = 0
    for g in range(len(start) - 1):
        for k in range(start[g], start[g + 1]):
            y, a, b = ys[k], x0[k], x1[k]
            for side in range(4):
                if side == 0:
                    touches = a == left
                elif side == 1:
                    touches = y == top
                elif side == 2:
                    touches = b == right
                else:
                    touches = y == bottom - 1
                if touches:
                    n = counts[side]
                    along = side & 1 == 1
                    sides[side, n, 0] = a if along else y
                    sides[side, n, 1] = b if along else y + 1
                    sides[side, n, 2] = g
                    counts[side] += 1


@njit(cache=True, nogil=True)
def sum_members(roots: Longs, sibling: Longs, sums: Longs, present: Longs, out_sums: Longs, out_present: Longs) -> None:
    """Class sums of whole components from those of their nodes."""
    for g in range(len(roots)):
        i = roots[g]
        while True:
            for c in range(sums.shape[1]):
                out_sums[g, c] += sums[i, c]
                out_present[g, c] += present[i, c]
            i = sibling[i]
            if i == roots[g]:
                break


@njit(cache=True, nogil=True)
def roots_of(parent: Longs, nodes: Longs, out: Longs) -> None:
    """The root of every node."""
    for i in range(len(nodes)):
        out[i] = _root(parent, nodes[i])
