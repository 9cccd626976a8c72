"""Exact distance of points to the border of a set of mask cells or of polygons; microns. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

__all__ = ["distance_to", "mask_border", "polygon_border"]

Floats = NDArray[np.float64]

#: Points asked at a time.
_BATCH = 1 << 17
#: Segments in one line.
_AT_ONCE = 16


def mask_border(cells: NDArray[np.bool_], cell_um: tuple[float, float]) -> Floats:
    """Border of a set of mask cells as straight segments, each as long as it runs.

    Parameters
    ----------
    cells : (h, w) bool
    cell_um : (x, y) edge of a cell, um

    Returns
    -------
    (S, 2, 2) float64: start and end, x then y, um
    """
    padded = np.pad(cells, 1)
    across = padded[1:-1, 1:] != padded[1:-1, :-1]  # (h, w + 1): upright edges, left of column j
    along = padded[1:, 1:-1] != padded[:-1, 1:-1]  # (h + 1, w): level edges, above row i
    column, y0, y1 = _runs(across.T)
    row, x0, x1 = _runs(along)
    upright = np.stack([np.stack([column, y0], 1), np.stack([column, y1], 1)], 1)
    level = np.stack([np.stack([x0, row], 1), np.stack([x1, row], 1)], 1)
    return np.concatenate([upright, level]).astype(np.float64) * np.asarray(cell_um, np.float64)


def polygon_border(geometry: BaseGeometry | NDArray[Any]) -> Floats:
    """Edges of polygons' rings, shells and holes.

    Parameters
    ----------
    geometry : one, or (n,) of dtype object

    Returns
    -------
    (S, 2, 2) float64: start and end, x then y, the polygons' unit
    """
    rings = shapely.get_rings(shapely.get_parts(geometry))
    points, ring = shapely.get_coordinates(rings, return_index=True)
    if not len(points):
        return np.zeros((0, 2, 2))
    same = ring[:-1] == ring[1:]
    edges: Floats = np.stack([points[:-1][same], points[1:][same]], axis=1)
    return edges


def distance_to(points_um: Floats, segments: Floats) -> Floats:
    """Distance of points to the nearest segment.

    Parameters
    ----------
    points_um : (N, 2) float64, x then y, um
    segments : (S, 2, 2) float64, start and end, x then y, um

    Returns
    -------
    (N,) float64, um; inf when there is no segment
    """
    points = np.asarray(points_um, np.float64).reshape(-1, 2)
    out = np.full(len(points), np.inf)
    if not len(segments):
        return out
    tree = shapely.STRtree(_lines(segments))
    for start in range(0, len(points), _BATCH):
        batch = shapely.points(points[start : start + _BATCH])
        (asked, _), distance = tree.query_nearest(batch, return_distance=True, all_matches=False)
        out[start + asked] = distance
    return out


def _lines(segments: Floats) -> NDArray[Any]:
    """Segments as lines, of at most `_AT_ONCE` that follow each other: a tree of few long lines takes less memory."""
    follows = np.zeros(len(segments), np.bool_)
    follows[1:] = (segments[1:, 0] == segments[:-1, 1]).all(axis=1)
    first = np.flatnonzero(~follows)
    place = np.arange(len(segments)) - np.repeat(first, np.diff([*first.tolist(), len(segments)]))
    starts = place % _AT_ONCE == 0
    line = np.cumsum(starts) - 1
    points, of = np.concatenate([segments[starts, 0], segments[:, 1]]), np.concatenate([line[starts], line])
    order = np.argsort(of, kind="stable")
    return np.asarray(shapely.linestrings(points[order], indices=of[order]), object)


def _runs(edges: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Line, start and end of every run of True along the second axis."""
    change = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    line, start = np.nonzero(change == 1)
    _, end = np.nonzero(change == -1)
    return line.astype(np.int64), start.astype(np.int64), end.astype(np.int64)
