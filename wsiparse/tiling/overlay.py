"""Classes of many polygons laid over each other, one small part of the plane at a time. Pure.

Sixty thousand drawn cells, or one outline of half a million corners, are too much for one overlay: it takes hundreds of
bytes a corner, and nobody can stop it. So the plane is divided until every part holds few corners, polygons are cut
where a dividing line crosses them, and each part is laid out for itself. What comes out are `Pieces`: polygons that
share no area, and may share edges where they were cut. Areas, points and distances are those of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.tiling.polygons import Edges, edges_of, united

__all__ = ["Layout", "Pieces", "laid_out", "parts_of"]

Floats = NDArray[np.float64]
Shapes = NDArray[Any]

#: Corners in one part of the plane.
_MOST_CORNERS: Final = 1 << 14
#: Where a part is divided, of its width: no corner that people or programs draw lies exactly there.
_DIVIDED_AT: Final = 0.4978123459876543


@dataclass(frozen=True, eq=False)
class Pieces:
    """Polygons that share no area.

    Parameters
    ----------
    polygons : (n,) of dtype object, valid Polygons, any unit; may share edges and corners
    """

    polygons: Shapes

    @cached_property
    def area(self) -> float:
        """Square units."""
        return float(shapely.area(self.polygons).sum())

    @cached_property
    def bounds(self) -> tuple[float, float, float, float]:
        """(x0, y0, x1, y1); NaN without polygons."""
        if not len(self.polygons):
            return math.nan, math.nan, math.nan, math.nan
        x0, y0, x1, y1 = shapely.total_bounds(self.polygons)
        return float(x0), float(y0), float(x1), float(y1)

    @cached_property
    def edges(self) -> Edges:
        """Of all rings, see `edges_of`."""
        return edges_of(self.polygons)

    def contain(self, points: Floats) -> NDArray[np.bool_]:
        """(N,) bool: which points, (N, 2) float64, lie in a polygon or on its edge."""
        found: NDArray[np.bool_] = shapely.intersects_xy(self._prepared, points[:, 0], points[:, 1])
        return found

    @cached_property
    def _prepared(self) -> Any:
        whole = shapely.multipolygons(self.polygons)
        shapely.prepare(whole)
        return whole

    def transformed(self, scale: Sequence[float]) -> Pieces:
        """Every coordinate times (x, y) of `scale`."""
        return Pieces(_valid(shapely.transform(self.polygons, lambda xy: xy * np.asarray(scale, np.float64))))


@dataclass(frozen=True, eq=False)
class Layout:
    """Layers without what earlier ones cover.

    Parameters
    ----------
    alone : of each layer what no earlier one has
    inside : the same, on the ground
    rest : ground without any layer
    """

    alone: tuple[Pieces, ...]
    inside: tuple[Pieces, ...]
    rest: Pieces


def parts_of(shapes: Sequence[Any] | Shapes) -> Shapes:
    """The valid polygons of polygonal geometries, in order; those that rounding spoiled are mended.

    Parameters
    ----------
    shapes : (m,) of dtype object, polygonal geometries

    Returns
    -------
    (n,) of dtype object
    """
    array = np.empty(len(shapes), object)
    array[:] = shapes
    return _valid(_polygons(array))


def laid_out(layers: Sequence[Shapes], ground: Shapes) -> tuple[tuple[int, ...], Layout]:
    """Lay classes of polygons over each other, those with less area on top, and cut them to a ground.

    Parameters
    ----------
    layers : of each class (n,) of dtype object: valid polygons, which may overlap; of equal areas the earlier class
        lies on top
    ground : (m,) of dtype object, valid polygons; may overlap, too

    Returns
    -------
    order in which the classes lie, the topmost first; the layers in the order given
    """
    leaves = []
    areas = np.zeros(len(layers))
    for leaf in _divided([*layers, ground]):
        joined = [_joined(shapes) for shapes in leaf[:-1]]
        areas += [float(shapely.area(shapes).sum()) for shapes in joined]
        leaves.append((joined, _joined(leaf[-1])))
    # parts are summed in another order than the shapes were drawn: the last digits say nothing
    order = sorted(range(len(layers)), key=lambda k: (float(f"{areas[k]:.9e}"), k))
    alone: list[list[Shapes]] = [[] for _ in layers]
    inside: list[list[Shapes]] = [[] for _ in layers]
    rest = []
    for joined, here in leaves:
        above = here[:0]
        for k in order:
            own = _without(joined[k], above)
            alone[k].append(own)
            inside[k].append(_common(own, here))
            above = np.concatenate([above, own])
        rest.append(_without(here, above))
    nothing = ground[:0]
    return tuple(order), Layout(
        tuple(Pieces(np.concatenate([nothing, *found])) for found in alone),
        tuple(Pieces(np.concatenate([nothing, *found])) for found in inside),
        Pieces(np.concatenate([nothing, *rest])),
    )


def _divided(layers: Sequence[Shapes]) -> Iterator[list[Shapes]]:
    """Layers in parts of the plane that hold few corners each."""
    waiting = [list(layers)]
    while waiting:
        leaf = waiting.pop()
        corners = [shapely.get_num_coordinates(shapes) for shapes in leaf]
        total = sum(int(n.sum()) for n in corners)
        if not total:
            continue
        halves = _halves(leaf) if total > _MOST_CORNERS else None
        if halves is None or max(_corners(half) for half in halves) > 0.9 * total:
            yield leaf  # what lies on one spot cannot be divided
        else:
            waiting += halves[::-1]


def _corners(layers: Sequence[Shapes]) -> int:
    return sum(int(shapely.get_num_coordinates(shapes).sum()) for shapes in layers)


def _halves(layers: Sequence[Shapes]) -> tuple[list[Shapes], list[Shapes]]:
    """What lies on either side of a line across the longer side of what there is."""
    x0, y0, x1, y1 = shapely.total_bounds(np.concatenate(layers))
    axis = int(y1 - y0 > x1 - x0)
    low, high = (x0, y0)[axis], (x1, y1)[axis]
    line = _balanced(layers, axis, low, high)
    sides = [[x0 - 1, y0 - 1, x1 + 1, y1 + 1], [x0 - 1, y0 - 1, x1 + 1, y1 + 1]]
    sides[0][2 + axis] = sides[1][axis] = line
    out: tuple[list[Shapes], list[Shapes]] = ([], [])
    for shapes in layers:
        bounds = shapely.bounds(shapes)
        before, after = bounds[:, 2 + axis] <= line, bounds[:, axis] >= line
        crossed = shapes[~before & ~after]
        for kept, whole, side in zip(out, (before, after), sides, strict=True):
            cut = _polygons(shapely.intersection(crossed, shapely.box(*side))) if len(crossed) else crossed
            kept.append(np.concatenate([shapes[whole], cut]))
    return out


def _balanced(layers: Sequence[Shapes], axis: int, low: float, high: float) -> float:
    """A line with about as many corners on either side; in the middle where corners crowd at one place."""
    at = np.concatenate([shapely.bounds(shapes)[:, axis::2].mean(axis=1) for shapes in layers])
    weight = np.concatenate([shapely.get_num_coordinates(shapes) for shapes in layers])
    order = np.argsort(at, kind="stable")
    reached = np.cumsum(weight[order])
    middle = float(at[order[np.searchsorted(reached, reached[-1] / 2)]])
    line = middle + (high - low) * 1e-4 * _DIVIDED_AT
    return line if low + 0.1 * (high - low) < line < high - 0.1 * (high - low) else low + (high - low) * _DIVIDED_AT


def _polygons(shapes: Shapes) -> Shapes:
    """The polygons of geometries of any kind, collections taken apart."""
    parts = shapely.get_parts(shapely.get_parts(shapes))
    found: Shapes = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)]
    return found


def _valid(shapes: Shapes) -> Shapes:
    good = shapely.is_valid(shapes)
    if bool(good.all()):
        return shapes
    return np.concatenate([shapes[good], _polygons(shapely.make_valid(shapes[~good]))])


def _joined(shapes: Shapes) -> Shapes:
    """The union of polygons, as polygons."""
    return _polygons(np.array([united(shapes.tolist())], object)) if len(shapes) > 1 else shapes


def _pairs(a: Shapes, b: Shapes) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Which of `a` may touch one of `b` and the other way round; which of `a` are one of `b`."""
    of_a, of_b = shapely.STRtree(b).query(a)
    alike = (shapely.bounds(a[of_a]) == shapely.bounds(b[of_b])).all(axis=1)
    alike &= shapely.get_num_coordinates(a[of_a]) == shapely.get_num_coordinates(b[of_b])
    same = np.flatnonzero(alike)
    same = same[shapely.equals_identical(shapely.normalize(a[of_a[same]]), shapely.normalize(b[of_b[same]]))]
    equal, other = np.zeros(len(a), np.bool_), np.zeros(len(b), np.bool_)
    equal[of_a[same]] = True
    other[of_b[same]] = True
    # neither side overlaps itself: what is the same on both meets nothing else
    left = ~equal[of_a] & ~other[of_b]
    touching, touched = np.zeros(len(a), np.bool_), np.zeros(len(b), np.bool_)
    touching[of_a[left]] = True
    touched[of_b[left]] = True
    return touching, touched, equal


def _without(a: Shapes, b: Shapes) -> Shapes:
    """Polygons without common area, without what others of the same kind cover."""
    if not len(a) or not len(b):
        return a
    touching, touched, equal = _pairs(a, b)
    if not touching.any():
        return a[~equal]
    cut = shapely.difference(shapely.multipolygons(a[touching]), united(b[touched].tolist()))
    return np.concatenate([a[~touching & ~equal], _polygons(np.array([cut], object))])


def _common(a: Shapes, b: Shapes) -> Shapes:
    """What two sets of polygons without common area share."""
    if not len(a) or not len(b):
        return a[:0]
    touching, touched, equal = _pairs(a, b)
    if not touching.any():
        return a[equal]
    cut = shapely.intersection(shapely.multipolygons(a[touching]), shapely.multipolygons(b[touched]))
    return np.concatenate([a[equal], _polygons(np.array([cut], object))])
