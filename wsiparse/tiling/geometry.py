"""Plane geometry shared by regions of interest and analysis areas. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling.masks import strips, within
from wsiparse.tiling.polygons import coverage, united

__all__ = ["cells_met", "cells_within", "polygonal", "polygons_of_rings"]

#: Cells asked of a geometry at a time.
_BATCH: Final = 1 << 16
#: A larger share of a cell is no rounding.
_SURE: Final = 1e-6


def polygonal(geometry: BaseGeometry) -> BaseGeometry:
    """The part of a geometry that has area, as Polygon or MultiPolygon (empty if there is none)."""
    if geometry.geom_type in ("Polygon", "MultiPolygon"):
        return geometry
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type in ("Polygon", "MultiPolygon")]
    return united(parts) if parts else shapely.Polygon()


def cells_met(geometry: BaseGeometry, overview: Frame) -> NDArray[np.bool_]:
    """Cells of an overview in which a polygonal geometry, level-0 px, covers some area; (h, w) bool."""
    xs, ys = (np.arange(n + 1, dtype=np.float64) * f for n, f in zip(overview.size, overview.downsample, strict=True))
    met = np.zeros((overview.size[1], overview.size[0]), np.bool_)
    for strip in strips(met.shape):
        met[strip.rows] = coverage(geometry, xs, ys[strip.rows.start : strip.rows.stop + 1]) > 0
    return met


def polygons_of_rings(polygons: Sequence[Sequence[NDArray[np.float64]]]) -> BaseGeometry:
    """What a GeoJSON Polygon or MultiPolygon means, valid or not as drawn.

    A ring encloses the points around which it winds, whichever way and however often; a polygon is its first ring
    without everything that one of the others encloses (OGC Simple Features: holes are taken out of the shell, so a hole
    outside of it changes nothing, and holes that overlap or cross the shell take out what they cover). QuPath tells
    inside from outside by the same two rules, in ``PolygonROI.contains`` (winding number other than 0) and, for shapes
    with holes, by JTS's point-in-area test. Several polygons are their union.

    Parameters
    ----------
    polygons : for each its rings, (n, 2) finite float64, x then y, closed or not; rings with fewer than three
        different corners enclose nothing

    Returns
    -------
    valid Polygon or MultiPolygon, empty when nothing has area
    """
    parts = []
    for rings in polygons:
        shell, *holes = [_drawn(ring) for ring in rings] or [None]
        if shell is None:
            continue
        kept = [hole for hole in holes if hole is not None]
        polygon: BaseGeometry = shapely.Polygon(shell, kept)
        if not shapely.is_valid(polygon):
            polygon = _enclosed(shell)
            if kept:
                polygon = polygonal(shapely.difference(polygon, shapely.union_all([_enclosed(hole) for hole in kept])))
        if not polygon.is_empty:
            parts.append(polygon)
    if len(parts) == 1:
        return parts[0]
    return united(parts) if parts else shapely.Polygon()


def _drawn(ring: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """A ring with three different corners; QuPath writes shorter ones for clicks without a drag."""
    others = ring[(ring != ring[:1]).any(axis=1)]
    return ring if len(others) and bool((others != others[:1]).any()) else None


def _enclosed(ring: NDArray[np.float64]) -> BaseGeometry:
    """What a ring winds around, valid: "structure" unites the sides that it winds around either way."""
    return polygonal(shapely.make_valid(shapely.Polygon(ring), method="structure", keep_collapsed=False))


def cells_within(
    geometry: BaseGeometry,
    distance: float,
    cell: tuple[float, float],
    shape: tuple[int, int],
    wanted: NDArray[np.bool_] | None = None,
) -> NDArray[np.bool_]:
    """Cells of a grid that come as near to a geometry as a distance; those that share a point with it for 0.

    Exact, but only the cells on the border of the answer are measured exactly. A distance transform of the cells that
    hold some of the geometry says of each how near it can and how near it must be, and few are left in doubt: the cost
    grows with the cells and the corners, where growing the outline itself would take their product.

    Parameters
    ----------
    geometry : valid polygon, any unit; not changed, but prepared
    distance : same unit, >= 0
    cell : (x, y) edge of a cell, same unit; the first cell begins at (0, 0)
    shape : (h, w) of the grid
    wanted : (h, w) bool, cells that are asked for; by default all

    Returns
    -------
    (h, w) bool, False where not wanted
    """
    out = np.zeros(shape, np.bool_)
    if geometry.is_empty:
        return out
    cx, cy = cell
    # the geometry may lie past the grid: cells around it see to that its nearest point is seen
    around = int(distance / min(cell)) + 2
    first = -around
    held, surely = _cells_held(geometry, cell, (shape[0] + 2 * around, shape[1] + 2 * around), first)
    inner = (slice(around, around + shape[0]), slice(around, around + shape[1]))
    # the gap between two cells is the distance of one's centre to the centre of a neighbour of the other
    near = _gap_within(held, distance, cell)[inner]
    must = _gap_within(surely, distance - math.hypot(cx, cy), cell)[inner] | surely[inner]
    if wanted is not None:
        near &= wanted
        must &= wanted
    out |= near & must
    rows, columns = np.nonzero(near & ~must)
    shapely.prepare(geometry)
    for start in range(0, len(rows), _BATCH):
        x, y = columns[start : start + _BATCH], rows[start : start + _BATCH]
        boxes = shapely.box(x * cx, y * cy, (x + 1) * cx, (y + 1) * cy)
        out[y, x] = shapely.dwithin(geometry, boxes, distance)
    return out


def _gap_within(cells: NDArray[np.bool_], distance: float, cell: tuple[float, float]) -> NDArray[np.bool_]:
    """Cells with a gap of at most a distance to one of some cells; none for a negative distance."""
    from scipy import ndimage

    if distance < 0:
        return np.zeros_like(cells)
    beside: NDArray[np.bool_] = ndimage.binary_dilation(cells, np.ones((3, 3)))
    return within(beside, distance, (cell[1], cell[0]))


def _cells_held(
    geometry: BaseGeometry, cell: tuple[float, float], shape: tuple[int, int], first: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells of a grid that hold some of a geometry, with a few too many, and those that surely do.

    Parameters
    ----------
    first : column and row of the grid's first cell
    """
    held, surely = np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    xs, ys = ((first + np.arange(n + 1, dtype=np.float64)) * size for n, size in zip(shape[::-1], cell, strict=True))
    for strip in strips(shape):
        covered = coverage(geometry, xs, ys[strip.rows.start : strip.rows.stop + 1])
        held[strip.rows], surely[strip.rows] = covered > 0, covered > _SURE * cell[0] * cell[1]
    corners = np.floor(shapely.get_coordinates(geometry) / cell).astype(np.int64) - first
    corners = corners[((corners >= 0) & (corners < shape[::-1])).all(axis=1)]
    held[corners[:, 1], corners[:, 0]] = True
    return held, surely
