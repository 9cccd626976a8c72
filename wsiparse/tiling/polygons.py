"""Polygons of any number of corners: their union, and their exact area in every cell of a grid of lines. Pure.

`coverage` takes one pass over the edges. By Green's theorem the area a polygon P covers of a cell [a, b] x [c, d] is
the integral over P's counter-clockwise boundary, within c <= y <= d, of ``(clamp(x, a, b) - a) dy``. So every edge is
cut at all grid lines, and each piece adds ``(mean x - a) dy`` to the cell it lies in and ``(b - a) dy`` to all cells
left of it in its row, the latter as one running sum per row. The cost is the number of pieces plus the number of cells,
whatever the polygon's shape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

__all__ = ["Edges", "coverage", "edges_of", "united"]

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

#: More polygons than this are united in groups of as many, neighbours first, and the groups with their neighbours.
_AT_ONCE: Final = 512
#: So few are not sorted first.
_FEW: Final = 16


@dataclass(frozen=True, eq=False)
class Edges:
    """All edges of polygons, shells counter-clockwise (y upwards), holes clockwise; in order of their lower end.

    Parameters
    ----------
    start, end : (E, 2) float64, x then y
    reach : (E,) float64, the highest y of each edge and all before it
    """

    start: Floats
    end: Floats
    reach: Floats

    def between(self, low: float, high: float) -> tuple[Floats, Floats]:
        """Start and end of the edges that may lie between two heights, (m, 2) float64 each."""
        first = int(np.searchsorted(self.reach, low, side="right"))
        last = int(np.searchsorted(np.minimum(self.start[:, 1], self.end[:, 1]), high, side="left"))
        return self.start[first:last], self.end[first:last]


def united(shapes: Sequence[BaseGeometry]) -> BaseGeometry:
    """The union of polygons.

    Sixty thousand cells side by side take a second, not an hour: only what may touch is noded together. Where all
    overlap their neighbours it takes longer, but in steps that are short, so that a signal is answered between them.

    Parameters
    ----------
    shapes : valid Polygons and MultiPolygons, any number
    """
    if len(shapes) == 1:
        return shapes[0]
    # of single polygons and collections alike: one class of drawn cells is one shape of many parts
    parts = shapely.get_parts(np.array([*shapes, None], object)[:-1])
    if len(parts) <= _FEW:
        return shapely.union_all(list(shapes))
    parts = parts[~shapely.is_empty(parts)]
    one, other = shapely.STRtree(parts).query(parts)
    beside = np.zeros(len(parts), np.bool_)
    beside[one[one != other]] = True
    together = parts[beside]
    # neighbours in the plane are neighbours in the list; equal places keep the order they were given in
    together = together[np.argsort(_along_curve(together), kind="stable")]
    groups = [_parts_united(together[k : k + _AT_ONCE]) for k in range(0, len(together), _AT_ONCE)]
    while len(groups) > 1:
        pairs = zip(groups[::2], [*groups[1::2], parts[:0]], strict=False)
        groups = [_both(a, b) for a, b in pairs]
    found = np.concatenate([parts[~beside], *groups])
    whole: Any = found[0] if len(found) == 1 else shapely.multipolygons(found)
    assert isinstance(whole, BaseGeometry)
    return whole


def _along_curve(parts: NDArray[Any]) -> NDArray[np.int64]:
    """Place of each polygon's middle on a curve that fills the plane (Morton 1966: bits of x and y in turn)."""
    out = np.zeros(len(parts), np.int64)
    if not len(parts):
        return out
    x0, y0, x1, y1 = shapely.bounds(parts).T
    for shift, middle in enumerate(((x0 + x1) / 2, (y0 + y1) / 2)):
        low, high = float(middle.min()), float(middle.max())
        cell = ((middle - low) / max(high - low, 1e-300) * 65535).astype(np.int64)
        for bit in range(16):
            out |= ((cell >> bit) & 1) << (2 * bit + shift)
    return out


def _parts_united(parts: NDArray[Any]) -> NDArray[Any]:
    union = shapely.get_parts(shapely.union_all(parts))
    polygons: NDArray[Any] = union[shapely.get_type_id(union) == shapely.GeometryType.POLYGON]
    return polygons


def _both(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """The union of two unions, of which only polygons that may touch are noded."""
    of_b, of_a = shapely.STRtree(a).query(b, predicate="intersects")
    if not len(of_a):
        return np.concatenate([a, b])
    alone_a, alone_b = np.ones(len(a), np.bool_), np.ones(len(b), np.bool_)
    alone_a[of_a] = alone_b[of_b] = False
    meeting = shapely.union(shapely.multipolygons(a[~alone_a]), shapely.multipolygons(b[~alone_b]))
    return np.concatenate([a[alone_a], b[alone_b], _parts_united(np.array([meeting], object))])


def coverage(geometry: BaseGeometry | Edges, xs: Floats, ys: Floats) -> Floats:
    """Area of a polygon in each cell between grid lines.

    Parameters
    ----------
    geometry : valid Polygon or MultiPolygon, may be empty, may reach past the lines; or the edges of polygons that
        share no area
    xs : (nx + 1,) float64, ascending x of the grid's vertical lines, the geometry's unit
    ys : (ny + 1,) float64, ascending y of its horizontal lines

    Returns
    -------
    (ny, nx) float64, square units, within [0, cell area]; exact up to rounding

    Raises
    ------
    ValueError
        If the lines do not ascend or the geometry is not polygonal.
    """
    xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
    for lines in (xs, ys):
        if lines.ndim != 1 or len(lines) < 2 or not bool((np.diff(lines) > 0).all()):
            raise ValueError("grid lines must be at least two, ascending")
    if not isinstance(geometry, Edges):
        if not geometry.is_empty and geometry.geom_type not in ("Polygon", "MultiPolygon"):
            raise ValueError(f"a polygon is needed, got {geometry.geom_type}")
        geometry = edges_of(shapely.get_parts(geometry))
    ny, nx = len(ys) - 1, len(xs) - 1
    width, height = np.diff(xs), np.diff(ys)
    start, end = geometry.between(float(ys[0]), float(ys[-1]))
    # pieces that cannot add to any cell: level ones, and those above, below or left of the grid
    useful = (
        (start[:, 1] != end[:, 1])
        & (np.maximum(start[:, 1], end[:, 1]) > ys[0])
        & (np.minimum(start[:, 1], end[:, 1]) < ys[-1])
        & (np.maximum(start[:, 0], end[:, 0]) > xs[0])
    )
    first, last = _pieces(start[useful], end[useful], xs, ys)
    middle = (first + last) / 2
    rise = last[:, 1] - first[:, 1]
    row = np.searchsorted(ys, middle[:, 1], side="right") - 1
    column = np.searchsorted(xs, middle[:, 0], side="right") - 1
    kept = (row >= 0) & (row < ny) & (column >= 0)
    row, column, rise, x = row[kept], np.minimum(column[kept], nx), rise[kept], middle[kept, 0]
    # column nx collects what lies right of the grid: it covers its whole row
    sums = np.bincount(row * (nx + 1) + column, weights=rise, minlength=ny * (nx + 1)).reshape(ny, nx + 1)
    right_of = np.cumsum(sums[:, ::-1], axis=1)[:, ::-1][:, 1:]
    inside = column < nx
    own = np.bincount(
        row[inside] * nx + column[inside],
        weights=(x[inside] - xs[column[inside]]) * rise[inside],
        minlength=ny * nx,
    ).reshape(ny, nx)
    full = height[:, None] * width
    covered = np.clip(own + right_of * width, 0.0, full)
    # what rounding leaves of sums that cancel is no area
    covered[covered < 1e-11 * full] = 0.0
    return covered


def edges_of(polygons: NDArray[Any]) -> Edges:
    """All edges of polygons.

    Parameters
    ----------
    polygons : (n,) of dtype object, valid Polygons that share no area
    """
    parts = polygons[~shapely.is_empty(polygons)]
    if not len(parts):
        return Edges(np.zeros((0, 2)), np.zeros((0, 2)), np.zeros(0))
    _, coords, (ring_offsets, polygon_offsets) = shapely.to_ragged_array(parts)
    points = coords[:, :2].astype(np.float64)
    lengths = np.diff(ring_offsets)
    ring = np.repeat(np.arange(len(lengths)), lengths)
    same = ring[:-1] == ring[1:]
    start, end, ring = points[:-1][same], points[1:][same], ring[:-1][same]
    # relative to each ring's first point, so that large coordinates do not swamp a small ring's area
    origin = points[ring_offsets[:-1]][ring]
    (ax, ay), (bx, by) = (start - origin).T, (end - origin).T
    area = np.bincount(ring, weights=ax * by - bx * ay, minlength=len(lengths))
    shell = np.zeros(len(lengths), np.bool_)
    shell[polygon_offsets[:-1]] = True
    turned = ((area > 0) != shell)[ring, None]
    start, end = np.where(turned, end, start), np.where(turned, start, end)
    order = np.argsort(np.minimum(start[:, 1], end[:, 1]), kind="stable")
    start, end = start[order], end[order]
    return Edges(start, end, np.maximum.accumulate(np.maximum(start[:, 1], end[:, 1])))


def _pieces(start: Floats, end: Floats, xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """Edges cut at every grid line they cross: start and end (K, 2) of the pieces."""
    n = len(start)
    edges, cuts = [np.arange(n)], [np.zeros(n)]
    for axis, lines in ((0, xs), (1, ys)):
        low = np.searchsorted(lines, np.minimum(start[:, axis], end[:, axis]), side="right")
        high = np.searchsorted(lines, np.maximum(start[:, axis], end[:, axis]), side="left")
        count = np.maximum(high - low, 0)
        edge = np.repeat(np.arange(n), count)
        line = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count) + low[edge]
        edges.append(edge)
        cuts.append((lines[line] - start[edge, axis]) / (end[edge, axis] - start[edge, axis]))
    edge, cut = np.concatenate(edges), np.clip(np.concatenate(cuts), 0.0, 1.0)
    order = np.lexsort((cut, edge))
    edge, cut = edge[order], cut[order]
    first = start[edge] + cut[:, None] * (end[edge] - start[edge])
    is_last = np.append(edge[1:] != edge[:-1], True) if n else np.zeros(0, np.bool_)
    last = np.empty_like(first)
    last[~is_last] = first[np.flatnonzero(~is_last) + 1]
    last[is_last] = end
    return first, last
