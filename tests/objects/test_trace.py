"""Outlines: the run tracer against chained unit edges and against unions of pixel squares."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given

from tests.reference import objects as reference
from tests.strategies import SHAPES, diagonal_loop, masks, ring
from wsiparse.objects.split import SplitPixels, split_cells
from wsiparse.objects.trace import trace_labels

pytestmark = pytest.mark.kernels

Rings = tuple[np.ndarray, np.ndarray, np.ndarray]


def polygons_of(rings: Rings) -> np.ndarray:
    coords, ring_offsets, polygon_offsets = rings
    return shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coords.astype(np.float64), (ring_offsets, polygon_offsets)
    )


def components(mask: np.ndarray) -> tuple[np.ndarray, int]:
    return reference.components(mask)


@given(masks())
def test_rings_equal_those_of_chained_unit_edges(mask: np.ndarray) -> None:
    labels, n = components(mask)
    for got, wanted in zip(trace_labels(labels, n), reference.trace_labels(labels, n), strict=True):
        np.testing.assert_array_equal(got, wanted)


@given(masks(10))
def test_polygons_equal_the_union_of_their_pixels(mask: np.ndarray) -> None:
    labels, n = split_cells(mask, None, SplitPixels(persistence=0.0, relative_persistence=0.0))
    for i, polygon in enumerate(polygons_of(trace_labels(labels, n)), 1):
        y, x = np.nonzero(labels == i)
        union = shapely.union_all(shapely.box(x, y, x + 1, y + 1))
        assert polygon.equals(union)
        assert len(polygon.interiors) == len(union.interiors)


@given(masks())
def test_areas_are_pixel_counts_and_every_polygon_is_valid(mask: np.ndarray) -> None:
    labels, n = components(mask)
    polygons = polygons_of(trace_labels(labels, n))
    assert shapely.is_valid(polygons).all()
    np.testing.assert_array_equal(shapely.area(polygons), np.bincount(labels.ravel(), minlength=n + 1)[1:])


@given(masks())
def test_rings_keep_corners_only_start_at_their_first_corner_and_wind_as_told(mask: np.ndarray) -> None:
    labels, n = components(mask)
    coords, ring_offsets, polygon_offsets = trace_labels(labels, n)
    for k in range(n):
        for r in range(polygon_offsets[k], polygon_offsets[k + 1]):
            points = coords[ring_offsets[r] : ring_offsets[r + 1]].astype(np.int64)
            assert points[0].tolist() == points[-1].tolist()
            corners = points[:-1]
            assert len({tuple(p) for p in corners.tolist()}) == len(corners)  # no ring touches itself
            assert corners[0].tolist() == min(corners.tolist(), key=lambda p: (p[1], p[0]))
            steps = np.diff(points, axis=0)
            assert ((steps == 0).sum(axis=1) == 1).all()
            assert (steps[:, 0] * np.roll(steps, 1, axis=0)[:, 0] == 0).all()  # every corner turns
            x, y = points.T
            signed = int((x[:-1] * y[1:] - x[1:] * y[:-1]).sum())
            assert (signed > 0) == (r == polygon_offsets[k])


def test_a_loop_closed_by_a_diagonal_touch_has_a_hole_that_touches_the_shell() -> None:
    labels, n = components(diagonal_loop(4, 4))
    rings = trace_labels(labels, n)
    assert n == 1
    (polygon,) = polygons_of(rings)
    assert (polygon.area, len(polygon.interiors)) == (11, 1)
    assert polygon.exterior.intersection(shapely.Polygon(polygon.interiors[0]).exterior).equals(shapely.Point(1, 1))


def test_a_ring_round_the_canvas_has_eight_corners() -> None:
    coords, ring_offsets, polygon_offsets = trace_labels(ring(5, 7).astype(np.int32), 1, origin=(100, 20))
    assert coords.tolist() == [
        *([100, 20], [107, 20], [107, 25], [100, 25], [100, 20]),
        *([101, 21], [101, 24], [106, 24], [106, 21], [101, 21]),
    ]
    assert ring_offsets.tolist() == [0, 5, 10]
    assert polygon_offsets.tolist() == [0, 2]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (13, 12)])
def test_named_shapes_are_exact(shape: object, size: tuple[int, int]) -> None:
    mask = shape(*size)  # type: ignore[operator]
    labels, n = components(mask)
    polygons = polygons_of(trace_labels(labels, n))
    assert shapely.is_valid(polygons).all()
    assert shapely.area(polygons).sum() == mask.sum()
    assert shapely.union_all(polygons).area == mask.sum()


def test_a_label_in_two_pieces_is_refused() -> None:
    with pytest.raises(ValueError, match="several pieces"):
        trace_labels(np.array([[1, 0, 1]], np.int32), 1)


@pytest.mark.parametrize(
    ("labels", "n"),
    [
        (np.zeros((2, 2), np.int64), 0),
        (np.zeros(4, np.int32), 0),
        (np.array([[2]], np.int32), 1),
        (np.array([[-1]], np.int32), 1),
        (np.array([[1]], np.int32), 2),
        (np.zeros((0, 3), np.int32), 1),
    ],
)
def test_labels_that_are_not_1_to_n_are_refused(labels: np.ndarray, n: int) -> None:
    with pytest.raises(ValueError, match="label"):
        trace_labels(labels, n)


def test_coordinates_beyond_32_bits_are_refused() -> None:
    with pytest.raises(ValueError, match=r"2\^31"):
        trace_labels(np.ones((1, 1), np.int32), 1, origin=(2**31 - 1, 0))


def test_no_labels_give_no_rings() -> None:
    coords, ring_offsets, polygon_offsets = trace_labels(np.zeros((0, 7), np.int32), 0)
    assert (coords.shape, ring_offsets.tolist(), polygon_offsets.tolist()) == ((0, 2), [0], [0])
