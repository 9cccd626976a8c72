"""Compiled loops of the stitcher: unite components over seams and lay their pieces out. No checks.

*Nodes* are the open components of single blocks. ``parent`` is a union-find forest over them (-1: unused), ``sibling``
links the members of a component in a circle, so that uniting two is swapping two links. At roots ``pending`` counts
the border segments that still face a block which has not arrived, and ``px`` the pixels. In the shapes below: room for
M nodes, G groups (components by their roots), R runs of all nodes, P prompts.

Union-find as in `wsiparse.objects.kernels.union_find`: path halving, the smaller node becomes the root.
"""

from __future__ import annotations

from numba import njit

from wsiparse.objects.kernels.types import Bytes, Ints, Longs
from wsiparse.objects.kernels.union_find import find_root


@njit(cache=True, nogil=True)
def unite_seam(parent: Longs, sibling: Longs, pending: Longs, px: Longs, mine: Longs, theirs: Longs) -> None:
    """Unite the nodes whose segments overlap along one seam.

    Parameters
    ----------
    parent, sibling, pending, px : (M,) int64, changed in place
    mine, theirs : (n, 3) and (m, 3) int64, segments: first px, past last, node; sorted
    """
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
    """The neighbour of these segments has arrived: they wait no longer.

    Parameters
    ----------
    parent, pending : (M,) int64, changed in place
    segments : (n, 3) int64, first px, past last, node
    """
    for i in range(len(segments)):
        pending[find_root(parent, segments[i, 2])] -= 1


@njit(cache=True, nogil=True)
def closed_roots(parent: Longs, pending: Longs, nodes: Longs, out: Longs) -> int:
    """Roots among the components of some nodes that wait for no block any more, each once; returns how many.

    Parameters
    ----------
    parent, pending : (M,) int64, changed in place: -1 marks what was found
    nodes : (n,) int64
    out : (n,) int64, written as far as what is returned
    """
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
    """Nodes and runs of the components of some roots.

    Parameters
    ----------
    roots : (G,) int64
    sibling, run_count : (M,) int64
    """
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
    """Members of every root, and all their runs with group number and position of their bytes.

    Parameters
    ----------
    roots : (G,) int64
    sibling, run_at, run_count, byte_at : (M,) int64
    ys, x0, x1 : (R,) int32, canvas px
    members : (nodes,) int64, written; nodes as `count_members` says
    group : (runs,) int64, written: position in `roots`; runs as `count_members` says
    piece_y, piece_x0, piece_x1 : (runs,) int32, written
    src : (runs,) int64, written: position of a run's first byte
    """
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
    """Join the pieces of runs that seams cut.

    Parameters
    ----------
    order : (n,) int64, sorts the pieces by (group, y, x0)
    group : (n,) int64, of each piece
    ys, x0, x1 : (n,) int32, of each piece, canvas px
    start : (G + 1,) int64, written: the joined runs of each group
    out_y, out_x0, out_x1 : (n,) int32, written: the joined runs
    src : (n,) int64, written: position of a joined run's pixels when all pieces are packed in sorted order

    Returns
    -------
    Number of joined runs, and of pixels
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
    """Copy the bytes of every piece, one after the other in sorted order.

    Parameters
    ----------
    order : (n,) int64, sorts the pieces
    x0, x1 : (n,) int32, of each piece, px
    src : (n,) int64, position of each piece's first byte in `plane`
    plane : (bytes,) uint8
    out : (pixels,) uint8, written
    """
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
    """Move the runs of some nodes together into new arrays and let ``run_at`` follow.

    Parameters
    ----------
    nodes : (n,) int64
    run_at : (M,) int64, changed in place
    run_count : (M,) int64
    ys, x0, x1 : (R,) int32, canvas px
    out_y, out_x0, out_x1 : (runs,) int32, written
    """
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
    """Copy the bytes of some nodes together into a new plane; ``byte_at`` stays as it is.

    Parameters
    ----------
    nodes : (n,) int64
    byte_at, byte_count : (M,) int64
    plane : (bytes,) uint8
    out : (kept,) uint8, written
    """
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

    Parameters
    ----------
    ys, x0, x1 : (R,) int32, runs in raster order, block px
    component : (R,) int32, renumbered: closed ones 0.., then the open ones, both in their old order
    number : (components,) int32, comes zeroed
    width, height : size of the block, px
    shared : whether the left, top, right and bottom border are
    sides : (4, n, 3) int64, written: first, past last px along the border, number among the open components
    counts : (4,) int64, written: how many segments each side has, sorted along the border
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
    """Class sums and OD of whole components from those of their nodes.

    Parameters
    ----------
    roots : (G,) int64
    sibling : (M,) int64
    sums, present : (M, P) int64
    od : (M,) int64
    out_sums, out_present : (G, P) int64, come zeroed
    out_od : (G,) int64, comes zeroed
    """
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
    """The root of every node.

    Parameters
    ----------
    parent : (M,) int64, changed in place
    nodes : (n,) int64
    out : (n,) int64, written
    """
    for i in range(len(nodes)):
        out[i] = find_root(parent, nodes[i])
