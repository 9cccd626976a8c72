from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.tiling.geometry import cells_within, polygons_of_rings
from wsiparse.tiling.polygons import united

SQUARE = [(1.0, 1), (9, 1), (9, 9), (1, 9), (1, 1)]
HOLE = [(3.0, 3), (3, 6), (6, 6), (6, 3), (3, 3)]


def rings(*drawn: list[tuple[float, float]]) -> list[np.ndarray]:
    return [np.array(ring, np.float64) for ring in drawn]


@pytest.mark.parametrize(
    ("drawn", "area"),
    [
        ([SQUARE, HOLE], 64 - 9),
        ([SQUARE[:-1]], 64),
        ([SQUARE[::-1]], 64),
        ([[(1, 1), (9, 9), (9, 1), (1, 9), (1, 1)]], 32),
        ([SQUARE, [(10, 10), (11, 10), (11, 11), (10, 10)]], 64),
        ([SQUARE, [(8, 4), (10, 4), (10, 6), (8, 6), (8, 4)]], 64 - 2),
        ([SQUARE, HOLE, [(5, 5), (5, 8), (8, 8), (8, 5), (5, 5)]], 64 - 9 - 9 + 1),
        ([SQUARE + SQUARE], 64),
        ([[(1, 1), (9, 1), (9, 5), (15, 5), (9, 5), (9, 9), (1, 9), (1, 1)]], 64),
        # a brush that goes over its own stroke leaves no gap where it was twice
        ([[(1, 1), (9, 1), (9, 9), (2, 9), (2, 2), (8, 2), (8, 8), (1, 8), (1, 1)]], 64 - 1),
        ([[(1, 1), (5, 1), (5, 5), (9, 5), (9, 9), (5, 9), (5, 5), (1, 5), (1, 1)]], 32),
        ([SQUARE, SQUARE], 0),
        ([SQUARE, [(2, 2), (2, 2), (2, 2)]], 64),
        ([[(5, 5), (5, 5), (7, 7), (5, 5)]], 0),
        ([], 0),
    ],
)
def test_a_shell_is_what_its_ring_winds_around_and_holes_are_taken_out_of_it(drawn: list, area: float) -> None:
    found = polygons_of_rings([rings(*drawn)])
    assert found.is_valid
    assert found.area == pytest.approx(area)


def winding(x: float, y: float, ring: np.ndarray) -> int:
    """How often a ring goes around a point: crossings of the ray to the right, upwards less downwards."""
    turns = 0
    for (ax, ay), (bx, by) in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        if (ay <= y) != (by <= y) and ax + (y - ay) * (bx - ax) / (by - ay) > x:
            turns += 1 if by > ay else -1
    return turns


corners = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=3, max_size=9)


@given(st.lists(st.lists(corners, min_size=1, max_size=3), min_size=1, max_size=3))
def test_points_lie_inside_by_their_winding_numbers(drawn: list) -> None:
    polygons = [rings(*polygon) for polygon in drawn]
    found = polygons_of_rings(polygons)
    assert found.is_valid
    assert found.geom_type in ("Polygon", "MultiPolygon")
    # off every line between two corners of a grid of integers
    for x in np.arange(0.503, 8, 1.0):
        for y in np.arange(0.5017, 8, 1.0):
            want = any(winding(x, y, p[0]) != 0 and not any(winding(x, y, h) for h in p[1:]) for p in polygons)
            near = found.boundary.distance(shapely.Point(x, y)) if not found.is_empty else 1.0
            assert near < 1e-9 or found.contains(shapely.Point(x, y)) == want


@st.composite
def shapes(draw: st.DrawFn) -> shapely.geometry.base.BaseGeometry:
    number = st.floats(-30, 130).map(lambda v: round(v, 2))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        ring = draw(st.lists(st.tuples(number, number), min_size=3, max_size=7, unique=True))
        parts.append(shapely.MultiPoint(ring).convex_hull)
    hole = shapely.Point(draw(number), draw(number)).buffer(draw(st.floats(1, 40)))
    return shapely.difference(shapely.union_all([p for p in parts if p.geom_type == "Polygon"]), hole)


@given(shapes(), st.sampled_from([0.0, 0.5, 7.0, 50.0]), st.sampled_from([(8.0, 8.0), (8.0, 5.0), (3.0, 9.0)]))
def test_cells_within_a_distance_are_those_measured_one_by_one(shape, distance: float, cell) -> None:
    if shape.geom_type not in ("Polygon", "MultiPolygon"):
        return
    grid = (13, 12)
    got = cells_within(shape, distance, cell, grid)
    cx, cy = cell
    for row, column in np.ndindex(*grid):
        box = shapely.box(column * cx, row * cy, (column + 1) * cx, (row + 1) * cy)
        away = math.inf if shape.is_empty else shape.distance(box)
        assert got[row, column] == (away <= distance) or abs(away - distance) < 1e-9
    wanted = np.random.default_rng(0).random(grid) < 0.5
    np.testing.assert_array_equal(cells_within(shape, distance, cell, grid, wanted), got & wanted)


def test_the_margin_of_a_fine_outline_is_that_of_its_grown_shape() -> None:
    turn = np.linspace(0, 2 * np.pi, 20_001)[:-1]
    radius = 300 + 40 * np.sin(31 * turn) + np.random.default_rng(0).uniform(-3, 3, len(turn))
    shape = shapely.make_valid(shapely.Polygon(np.stack([450 + radius * np.cos(turn), 450 + radius * np.sin(turn)], 1)))
    got = cells_within(shape, 50.0, (8.0, 8.0), (113, 113))
    coarse = shapely.simplify(shape, 0.1)
    for row, column in np.ndindex(*got.shape):
        away = coarse.distance(shapely.box(8 * column, 8 * row, 8 * column + 8, 8 * row + 8))
        assert got[row, column] == (away <= 50) or abs(away - 50) <= 0.1


def test_many_shapes_unite_as_few_do() -> None:
    random = np.random.default_rng(0)
    at = random.uniform(0, 300, (700, 2))
    boxes = shapely.box(*at.T, *(at + random.uniform(1, 12, (700, 2))).T)
    got, want = united(list(boxes)), shapely.union_all(boxes)
    assert got.is_valid
    assert got.equals(want)
    assert united([]).is_empty
    assert united([shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(2, 2, 3, 3)])] * 300).area == 2
