"""Outlines of other programs as polygons that can be counted, measured and drawn: closed, valid, on the slide. Pure.

Coordinates are hundredths of a level-0 px (`wsiparse.coords.free_frame`). Nothing is changed that need not be: a valid
outline on the slide keeps its corners, rounded to hundredths. What is done to the others is counted.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.errors import ImportFileError
from wsiparse.imports.found import Found
from wsiparse.types import ObjectTable

__all__ = ["CUT", "DROPPED", "MADE_VALID", "OFF", "POINTS", "Place", "table_of", "tidy"]

#: What is counted.
OFF: Final = "off the slide"
CUT: Final = "cut at the edge of the slide"
DROPPED: Final = "without an area"
MADE_VALID: Final = "crossing themselves"
POINTS: Final = "points"

#: Of an outline that crosses itself, parts of a smaller share of the whole are slivers.
_SLIVER: Final = 0.05

#: A point is drawn as an octagon of this diameter, um.
_POINT_UM: Final = 4.0

#: Coordinates beyond this are of no slide, level-0 px.
_FARTHEST: Final = 1e9


@dataclass(frozen=True, slots=True)
class Place:
    """Where coordinates of a file lie on the slide: ``level-0 px = origin + scale * px of the file``.

    Parameters
    ----------
    origin, scale : (x, y)
    reach : (width, height) that objects may lie in, level-0 px: the slide, with the rest of a label's px at its edge
    """

    origin: tuple[float, float]
    scale: tuple[float, float]
    reach: tuple[float, float]


def tidy(found: Found, place: Place, frame: Frame, source: str, counts: Counter[str]) -> ObjectTable:
    """Objects of a file as a table in the free frame of the slide.

    Parameters
    ----------
    found : as the file has them
    place : of its coordinates
    frame : free frame of the slide
    source : what error messages call the file
    counts : what was done, by the words above; filled

    Returns
    -------
    objects that have an area on the slide, and points, whose ``area_px`` is 0; scores NaN where there are none

    Raises
    ------
    ImportFileError
        If a coordinate is not finite, or of no slide.
    """
    level0 = found.coords * place.scale + place.origin
    _check_numbers(level0, found, source)
    sizes = np.diff(found.ring_offsets)
    shells = sizes[found.polygon_offsets[:-1]]
    is_point = (shells == 1) & (np.diff(found.polygon_offsets) == 1)
    grid = np.floor(level0 / frame.downsample + 0.5)
    shapes = np.empty(len(found), object)
    spots = found.ring_offsets[found.polygon_offsets[:-1][is_point]]
    shapes[is_point] = _octagons(grid[spots], frame)
    shapes[~is_point] = _polygons(grid, found, np.flatnonzero(~is_point))
    if is_point.any():
        counts[POINTS] += int(is_point.sum())
    shapes, row = _valid(shapes, counts)
    reach = (place.reach[0] / frame.downsample[0], place.reach[1] / frame.downsample[1])
    shapes, row = _on_slide(shapes, row, reach, counts)
    return table_of(shapes, found.class_id[row], found.score[row], is_point[row], frame)


def _check_numbers(level0: NDArray[np.float64], found: Found, source: str) -> None:
    bad = ~(np.abs(level0) < _FARTHEST).all(axis=1)  # NaN is not less
    if bad.any():
        vertex = int(np.argmax(bad))
        ring = int(np.searchsorted(found.ring_offsets, vertex, side="right")) - 1
        row = int(np.searchsorted(found.polygon_offsets, ring, side="right")) - 1
        x, y = level0[vertex].tolist()
        raise ImportFileError(
            f"{source}: object {found.first + row + 1} has a corner at {x:g}, {y:g}, which is on no slide. Export it "
            "again."
        )


def _octagons(centres: NDArray[np.float64], frame: Frame) -> NDArray[np.object_]:
    turns = (np.arange(8) + 0.5) * (np.pi / 4)
    ring = np.stack([np.cos(turns), np.sin(turns)], axis=1) * (_POINT_UM / 2 / np.asarray(frame.mpp))
    return np.asarray(shapely.polygons(np.rint(centres[:, None, :] + ring)), object)


def _polygons(grid: NDArray[np.float64], found: Found, rows: NDArray[np.int64]) -> NDArray[np.object_]:
    """Polygons of some rows; None where the shell has no three corners."""
    rings, polygons = _taken(found.polygon_offsets, rows)
    vertices, offsets = _taken(found.ring_offsets, rings)
    coords, offsets = _closed(grid[vertices], offsets)
    long = np.diff(offsets) >= 4
    shapes = np.empty(len(rows), object)
    if long.all():
        shapes[:] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coords, (offsets, polygons))
        return shapes
    # a ring of fewer corners than three is no hole, and no shell
    lines = [coords[a:b] for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)]
    for k, (a, b) in enumerate(zip(polygons[:-1].tolist(), polygons[1:].tolist(), strict=True)):
        if long[a]:
            shapes[k] = shapely.Polygon(lines[a], [lines[r] for r in range(a + 1, b) if long[r]])
    return shapes


def _taken(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Elements of ragged rows, and their offsets."""
    lengths = offsets[rows + 1] - offsets[rows]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(int(new[-1])) + np.repeat(offsets[rows] - new[:-1], lengths), new


def _closed(coords: NDArray[np.float64], offsets: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Rings whose last vertex is the first."""
    starts, ends = offsets[:-1], offsets[1:]
    open_ = np.zeros(len(starts), np.bool_)
    filled = ends > starts
    open_[filled] = (coords[starts[filled]] != coords[ends[filled] - 1]).any(axis=1)
    if not open_.any():
        return coords, offsets
    closed = np.insert(coords, ends[open_], coords[starts[open_]], axis=0)
    return closed, offsets + np.concatenate([[0], np.cumsum(open_)])


def _valid(shapes: NDArray[np.object_], counts: Counter[str]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Valid polygons with an area, and the row each is of; an outline that crosses itself may become several."""
    row = np.arange(len(shapes))
    missing = shapely.is_missing(shapes)
    sound = shapely.is_valid(shapes) & (shapely.area(shapes) > 0)
    broken = np.flatnonzero(~missing & ~sound)
    parts, owner = _repaired(shapes[broken])
    repaired = np.unique(owner)
    for what, n in ((MADE_VALID, len(repaired)), (DROPPED, int(missing.sum()) + len(broken) - len(repaired))):
        if n:
            counts[what] += n
    if not len(broken) and not missing.any():
        return shapes, row
    shapes = np.concatenate([shapes[sound], parts])
    row = np.concatenate([row[sound], broken[owner]])
    order = np.argsort(row, kind="stable")
    return shapes[order], row[order]


def _repaired(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """What outlines that cross themselves enclose, on whole coordinates again, without slivers."""
    made = shapely.make_valid(shapes, method="structure", keep_collapsed=False)
    parts, owner = shapely.get_parts(shapely.set_precision(made, 1.0), return_index=True)
    area = shapely.area(parts)
    whole = np.bincount(owner, area, minlength=len(shapes))
    kept = (area > 0) & (area >= _SLIVER * whole[owner]) & (shapely.get_type_id(parts) == 3)
    return np.asarray(parts[kept], object), owner[kept]


def _on_slide(
    shapes: NDArray[np.object_], row: NDArray[np.int64], reach: tuple[float, float], counts: Counter[str]
) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    width, height = (round(v) for v in reach)
    box = shapely.bounds(shapes).reshape(-1, 4)
    inside = (box[:, 0] >= 0) & (box[:, 1] >= 0) & (box[:, 2] <= width) & (box[:, 3] <= height)
    if inside.all():
        return shapes, row
    over = np.flatnonzero(~inside)
    cut = shapely.set_precision(shapely.intersection(shapes[over], shapely.box(0, 0, width, height)), 1.0)
    parts, owner = shapely.get_parts(cut, return_index=True)
    kept = (shapely.get_type_id(parts) == 3) & (shapely.area(parts) > 0)
    parts, owner = np.asarray(parts[kept], object), owner[kept]
    left = len(np.unique(owner))
    for what, n in ((CUT, left), (OFF, len(over) - left)):
        if n:
            counts[what] += n
    out, of = np.concatenate([shapes[inside], parts]), np.concatenate([row[inside], row[over[owner]]])
    order = np.argsort(of, kind="stable")
    return out[order], of[order]


def table_of(
    shapes: NDArray[np.object_],
    class_id: NDArray[np.uint8],
    score: NDArray[np.float32],
    is_point: NDArray[np.bool_],
    frame: Frame,
) -> ObjectTable:
    """Valid polygons on whole coordinates of a frame as a table.

    Parameters
    ----------
    shapes : (N,) of dtype object, polygons, px of the frame, inside it
    class_id : (N,) uint8
    score : (N,) float32
    is_point : (N,) bool, those that have no area of their own
    frame : of the table; objects may reach past it, and begin in it
    """
    if not len(shapes):
        return ObjectTable()
    _, coords, (rings, polygons) = shapely.to_ragged_array(shapes)
    points = np.rint(coords).astype(np.int32)
    centre = shapely.get_coordinates(shapely.centroid(shapes))
    area = np.where(is_point, 0, np.maximum(np.rint(shapely.area(shapes)), 1)).astype(np.int64)
    return ObjectTable(
        coords=points,
        ring_offsets=rings.astype(np.int64),
        polygon_offsets=polygons.astype(np.int64),
        class_id=class_id,
        score=score,
        area_px=area,
        centroid=centre,
        first_px=_first(
            points, rings[polygons[:-1]].astype(np.int64), rings[polygons[:-1] + 1].astype(np.int64), frame
        ),
        class_share=np.zeros((len(shapes), 0), np.float32),
    )


def _first(points: NDArray[np.int32], start: NDArray[np.int64], stop: NDArray[np.int64], frame: Frame) -> Any:
    """(N, 2) int32, y then x: the top of each shell, its leftmost corner there."""
    # shells lie between holes: each range is reduced by itself
    edges = np.stack([start, stop], axis=1).ravel()
    edges = edges[:-1] if edges[-1] == len(points) else edges
    top = np.minimum.reduceat(points[:, 1], edges)[::2]
    length = np.diff(np.concatenate([start, [len(points)]]))  # holes have y below the top
    at_top = points[:, 1] == np.repeat(top, length)
    left = np.minimum.reduceat(np.where(at_top, points[:, 0], np.iinfo(np.int32).max), start)
    last = np.array(frame.size, np.int64) - 1
    return np.stack([np.minimum(top, last[1]), np.minimum(left, last[0])], axis=1).astype(np.int32)
