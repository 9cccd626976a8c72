"""Compiled inner loops of rasterising outlines. Slow twins: `label_image` and `coarser` in `tests.reference.writing`.

Compiled code has no bounds check: every function here trusts its arguments, and `wsiparse.export.raster` checks them
once. Plain integers throughout, so that all of it also runs with NUMBA_DISABLE_JIT=1.

Edges are (E, 4) int32: x, first row, row after the last, id. Runs are (R, 4) int32: row, first column, column after the
last, id.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["band_runs", "centre_edges", "coarser_runs", "paint_runs", "split_runs", "vertical_edges"]


@njit(cache=True, nogil=True)
def vertical_edges(
    coords: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    ids: NDArray[np.int32],
) -> tuple[NDArray[np.int32], bool]:
    """The vertical edges of crack polygons, object by object; False if an edge is neither vertical nor horizontal.

    Parameters
    ----------
    coords : (V, 2) int32, x then y, canvas px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    ids : (N,) int32, of each object

    Returns
    -------
    edges : (E, 4) int32, none where one is aslant
    ok : False when one is
    """
    count = 0
    for ring in range(len(ring_offsets) - 1):
        for i in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            if coords[i, 1] != coords[i + 1, 1]:
                if coords[i, 0] != coords[i + 1, 0]:
                    return np.empty((0, 4), np.int32), False
                count += 1
    edges = np.empty((count, 4), np.int32)
    e = 0
    for k in range(len(polygon_offsets) - 1):
        for ring in range(polygon_offsets[k], polygon_offsets[k + 1]):
            for i in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
                a, b = coords[i, 1], coords[i + 1, 1]
                if a != b:
                    edges[e, 0] = coords[i, 0]
                    edges[e, 1] = min(a, b)
                    edges[e, 2] = max(a, b)
                    edges[e, 3] = ids[k]
                    e += 1
    return edges, True


@njit(cache=True, nogil=True)
def centre_edges(
    coords: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    ids: NDArray[np.int32],
    scale_x: float,
    scale_y: float,
    width: int,
    height: int,
) -> NDArray[np.int32]:
    """Vertical edges of the pixels whose centres lie in polygons of any kind: an edge a row that an outline crosses.

    Parameters
    ----------
    coords : (V, 2) int32, x then y, of any unit
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    ids : (N,) int32, of each object
    scale_x, scale_y : canvas px per unit
    width, height : of the canvas, px; what lies outside is left out

    Returns
    -------
    (E, 4) int32
    """
    count = 0
    for ring in range(len(ring_offsets) - 1):
        for i in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
            first, stop = _rows_of(coords[i, 1] * scale_y, coords[i + 1, 1] * scale_y, height)
            count += stop - first
    edges = np.empty((count, 4), np.int32)
    e = 0
    for k in range(len(polygon_offsets) - 1):
        for ring in range(polygon_offsets[k], polygon_offsets[k + 1]):
            for i in range(ring_offsets[ring], ring_offsets[ring + 1] - 1):
                x0, y0 = coords[i, 0] * scale_x, coords[i, 1] * scale_y
                x1, y1 = coords[i + 1, 0] * scale_x, coords[i + 1, 1] * scale_y
                first, stop = _rows_of(y0, y1, height)
                for y in range(first, stop):
                    at = x0 + (y + 0.5 - y0) / (y1 - y0) * (x1 - x0)
                    edges[e, 0] = min(max(math.ceil(at - 0.5), 0), width)
                    edges[e, 1] = y
                    edges[e, 2] = y + 1
                    edges[e, 3] = ids[k]
                    e += 1
    return edges


@njit(cache=True, nogil=True)
def _rows_of(a: float, b: float, height: int) -> tuple[int, int]:
    """The rows [first, stop) whose centres lie between two heights, the upper one included."""
    low, high = min(a, b), max(a, b)
    first, stop = max(math.ceil(low - 0.5), 0), min(math.ceil(high - 0.5), height)
    return first, max(first, stop)


@njit(cache=True, nogil=True)
def band_runs(edges: NDArray[np.int32], start: int, stop: int) -> NDArray[np.int32]:
    """Runs of some rows inside the outlines (even-odd rule), by row, then id.

    Parameters
    ----------
    edges : (E, 4) int32, those of one object side by side, ids ascending; edges outside the rows are skipped
    start, stop : the rows [start, stop), px

    Returns
    -------
    (R, 4) int32
    """
    rows = stop - start
    steps = np.zeros(rows + 1, np.int64)
    for e in range(len(edges)):
        a, b = max(edges[e, 1], start) - start, min(edges[e, 2], stop) - start
        if a < b:
            steps[a] += 1
            steps[b] -= 1
    cursor = np.zeros(rows, np.int64)
    crossing = total = 0
    for y in range(rows):
        cursor[y] = total
        crossing += steps[y]
        total += crossing
    columns, owners = np.empty(total, np.int32), np.empty(total, np.int32)
    for e in range(len(edges)):
        for y in range(max(edges[e, 1], start) - start, min(edges[e, 2], stop) - start):
            at = cursor[y]
            columns[at] = edges[e, 0]
            owners[at] = edges[e, 3]
            cursor[y] = at + 1
    runs = np.empty((total // 2, 4), np.int32)
    r = 0
    first = 0
    for y in range(rows):
        end = int(cursor[y])
        while first < end:
            last = first + 1
            while last < end and owners[last] == owners[first]:
                last += 1
            _sort(columns, first, last)
            for i in range(first, last, 2):
                runs[r, 0] = start + y
                runs[r, 1] = columns[i]
                runs[r, 2] = columns[i + 1]
                runs[r, 3] = owners[first]
                r += 1
            first = last
    return runs


@njit(cache=True, nogil=True)
def _sort(values: NDArray[np.int32], first: int, last: int) -> None:
    """Sort values[first:last] in place; mostly there are two."""
    if last - first > 64:
        values[first:last].sort()
        return
    for i in range(first + 1, last):
        value = values[i]
        j = i - 1
        while j >= first and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value


@njit(cache=True, nogil=True)
def coarser_runs(runs: NDArray[np.int32], level: int, width: int, height: int) -> NDArray[np.int32]:
    """The same runs as a level of a pyramid shows them (see `wsiparse.export.raster.level_size`).

    Pixel i of an axis of `extent` px shows pixel min((i << level) + half, extent - 1), half being half a block.

    Parameters
    ----------
    runs : (R, 4) int32, px of level 0
    level : of the pyramid, >= 0
    width, height : of level 0, px

    Returns
    -------
    (n, 4) int32, px of the level, n <= R
    """
    if level == 0:
        return runs
    half = 1 << (level - 1)
    columns, rows = ((width - 1) >> level) + 1, ((height - 1) >> level) + 1
    column_is_cut = ((columns - 1) << level) + half > width - 1
    row_is_cut = ((rows - 1) << level) + half > height - 1
    free_columns = columns - 1 if column_is_cut else columns
    mask = (1 << level) - 1
    out = np.empty(runs.shape, np.int32)
    r = 0
    for i in range(len(runs)):
        y = runs[i, 0] - half
        row = y >> level
        if row_is_cut and runs[i, 0] == height - 1:
            row = rows - 1
        elif y < 0 or y & mask:
            continue
        first = max(0, (runs[i, 1] - half + mask) >> level)
        last = min(free_columns, (runs[i, 2] - half + mask) >> level)
        if column_is_cut and runs[i, 2] == width:
            last = columns
        if first < last:
            out[r, 0] = row
            out[r, 1] = first
            out[r, 2] = last
            out[r, 3] = runs[i, 3]
            r += 1
    return out[:r].copy()


@njit(cache=True, nogil=True)
def split_runs(runs: NDArray[np.int32], edge: int, columns: int) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Cut runs at the borders of tiles and sort them by tile column, otherwise in the order they came.

    Parameters
    ----------
    runs : (R, 4) int32
    edge : of a tile, px
    columns : number of tiles in a row

    Returns
    -------
    runs : (P, 4) int32, with columns counted from their tile's own first
    offsets : (columns + 1,) int64
    """
    offsets = np.zeros(columns + 1, np.int64)
    for i in range(len(runs)):
        for tile in range(runs[i, 1] // edge, (runs[i, 2] - 1) // edge + 1):
            offsets[tile + 1] += 1
    for tile in range(columns):
        offsets[tile + 1] += offsets[tile]
    cursor = offsets[:-1].copy()
    out = np.empty((offsets[columns], 4), np.int32)
    for i in range(len(runs)):
        for tile in range(runs[i, 1] // edge, (runs[i, 2] - 1) // edge + 1):
            at = cursor[tile]
            out[at, 0] = runs[i, 0]
            out[at, 1] = max(runs[i, 1] - tile * edge, 0)
            out[at, 2] = min(runs[i, 2] - tile * edge, edge)
            out[at, 3] = runs[i, 3]
            cursor[tile] = at + 1
    return out, offsets


@njit(cache=True, nogil=True)
def paint_runs(image: NDArray[np.int32], runs: NDArray[np.int32], top: int) -> None:
    """Write the id of each run into an image.

    Parameters
    ----------
    image : (H, W) int32, changed in place
    runs : (R, 4) int32
    top : row of the image's first row
    """
    for i in range(len(runs)):
        y, value = runs[i, 0] - top, runs[i, 3]
        for x in range(runs[i, 1], runs[i, 2]):
            image[y, x] = value
