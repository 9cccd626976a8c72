"""Compiled loops of the stitcher: unite components over seams and lay their pieces out. No checks.

*Nodes* are the open components of single blocks. ``parent`` is a union-find forest over them (-1: unused), ``sibling``
links the members of a component in a circle, so that uniting two is swapping two links. At roots ``pending`` counts
the border segments that still face a block which has not arrived, and ``px`` the pixels.
"""

from __future__ import annotations

from numba import njit

from wsiparse.objects.kernels.types import Bytes, Ints, Longs
from wsiparse.objects.kernels.union_find import find_root


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
            a, b = find_root(parent, mine[i, 2]), find_root(parent, theirs[k, 2])
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
        pending[find_root(parent, segments[i, 2])] -= 1


@njit(cache=True, nogil=True)
def closed_roots(parent: Longs, pending: Longs, nodes: Longs, out: Longs) -> int:
    """Roots among the components of `nodes` that wait for no block any more, each once; returns how many."""
    n = 0
    for i in nodes:
        r = find_root(parent, i)
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
    src: Longs,
) -> tuple[int, int]:
    """Join the pieces of runs that seams cut; `order` sorts the pieces by (group, y, x0).

    Fills ``start`` (G + 1,) and the joined runs with the position ``src`` of their pixels when all pieces are packed
    in sorted order. Returns the number of joined runs and of pixels.
    """
    m = -1
    s = 0
    start[:] = 0
    previous = -1
    for i in range(len(order)):
        k = order[i]
        if group[k] != previous or out_y[m] != ys[k] or out_x1[m] != x0[k]:
            m += 1
            src[m] = s
            out_y[m] = ys[k]
            out_x0[m] = x0[k]
            previous = group[k]
            start[previous + 1] += 1
        out_x1[m] = x1[k]
        s += x1[k] - x0[k]
    for g in range(len(start) - 1):
        start[g + 1] += start[g]
    return m + 1, s


@njit(cache=True, nogil=True)
def copy_pieces(order: Longs, x0: Ints, x1: Ints, src: Longs, plane: Bytes, out: Bytes) -> None:
    """Copy the bytes of every piece, one after the other in sorted order."""
    at = 0
    for k in order:
        n = x1[k] - x0[k]
        source, target = plane[src[k] : src[k] + n], out[at : at + n]
        for i in range(n):
            target[i] = source[i]
        at += n


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
    ys: Ints,
    x0: Ints,
    x1: Ints,
    component: Ints,
    number: Ints,
    width: int,
    height: int,
    shared: tuple[bool, bool, bool, bool],
    sides: Longs,
    counts: Longs,
) -> int:
    """Segments of components along the shared borders of a block; returns how many components touch none.

    Runs in raster order, block px. ``sides`` (4, n, 3) for left, top, right, bottom: first, past last px along the
    border, number among the open components; ``counts`` (4,) how many, sorted along the border. ``component`` is
    renumbered: closed ones 0.., then the open ones, both in their old order. ``number`` (components,) comes zeroed.
    """
    counts[:] = 0
    for k in range(len(ys)):
        for side in range(4):
            if side == 0:
                touches = x0[k] == 0
            elif side == 1:
                touches = ys[k] == 0
            elif side == 2:
                touches = x1[k] == width
            else:
                touches = ys[k] == height - 1
            if touches and shared[side]:
                n = counts[side]
                along = side & 1 == 1
                sides[side, n, 0] = x0[k] if along else ys[k]
                sides[side, n, 1] = x1[k] if along else ys[k] + 1
                sides[side, n, 2] = component[k]
                counts[side] = n + 1
                number[component[k]] = 1
    closed = 0
    for c in range(len(number)):
        closed += number[c] == 0
    n_closed = 0
    n_open = closed
    for c in range(len(number)):
        if number[c] == 0:
            number[c] = n_closed
            n_closed += 1
        else:
            number[c] = n_open
            n_open += 1
    for k in range(len(component)):
        component[k] = number[component[k]]
    for side in range(4):
        for i in range(counts[side]):
            sides[side, i, 2] = number[sides[side, i, 2]] - closed
    return closed


@njit(cache=True, nogil=True)
def sum_members(
    roots: Longs,
    sibling: Longs,
    sums: Longs,
    present: Longs,
    od: Longs,
    out_sums: Longs,
    out_present: Longs,
    out_od: Longs,
) -> None:
    """Class sums and OD of whole components from those of their nodes; the outputs come zeroed."""
    for g in range(len(roots)):
        i = roots[g]
        while True:
            for c in range(sums.shape[1]):
                out_sums[g, c] += sums[i, c]
                out_present[g, c] += present[i, c]
            out_od[g] += od[i]
            i = sibling[i]
            if i == roots[g]:
                break


@njit(cache=True, nogil=True)
def roots_of(parent: Longs, nodes: Longs, out: Longs) -> None:
    """The root of every node."""
    for i in range(len(nodes)):
        out[i] = find_root(parent, nodes[i])
