from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame, to_um
from wsiparse.report.stats.density import density_grid, squares_over
from wsiparse.report.stats.tissue import Tissue, analysed_tissue, cell_index
from wsiparse.tiling import AnalysisArea
from wsiparse.tiling.geometry import polygonal
from wsiparse.tiling.polygons import coverage


@st.composite
def shapes(draw: st.DrawFn) -> BaseGeometry:
    """Stars, unions and differences of boxes and triangles, on quarter units so that edges fall on grid lines."""
    number = st.integers(-8, 60).map(lambda v: v / 4)
    out: BaseGeometry = shapely.Polygon()
    for _ in range(draw(st.integers(1, 3))):
        points = draw(st.lists(st.tuples(number, number), min_size=3, max_size=6, unique=True))
        part = polygonal(shapely.make_valid(shapely.Polygon(points)))
        out = out.difference(part) if draw(st.booleans()) else out.union(part)
    return polygonal(out)


lines = st.lists(st.integers(-4, 48).map(lambda v: v / 4), min_size=2, max_size=7, unique=True).map(
    lambda v: np.array(sorted(v))
)


@given(shapes(), lines, lines)
def test_coverage_equals_cutting_every_cell_out_of_the_polygon(shape: BaseGeometry, xs: np.ndarray, ys: np.ndarray):
    got = coverage(shape, xs, ys)
    want = [
        [shape.intersection(shapely.box(x0, y0, x1, y1)).area for x0, x1 in itertools.pairwise(xs)]
        for y0, y1 in itertools.pairwise(ys)
    ]
    np.testing.assert_allclose(got, want, atol=1e-9)


def test_coverage_refuses_lines_that_do_not_ascend() -> None:
    with pytest.raises(ValueError, match="ascending"):
        coverage(shapely.box(0, 0, 1, 1), np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="polygon"):
        coverage(shapely.Point(0, 0), np.array([0.0, 1.0]), np.array([0.0, 1.0]))


MPP = (0.5, 0.25)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[tuple[int, int], Frame, np.ndarray, BaseGeometry | None]:
    h, w = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    mask = np.array(draw(st.lists(st.booleans(), min_size=h * w, max_size=h * w))).reshape(h, w)
    frame = Frame((w, h), (16.0, 32.0), (16 * MPP[0], 32 * MPP[1]))
    size = (16 * w - draw(st.integers(0, 15)), 32 * h - draw(st.integers(0, 31)))
    roi = None
    if draw(st.booleans()):
        roi = polygonal(shapely.affinity.scale(draw(shapes()), 10, 20, origin=(0, 0)))
        roi = None if roi.is_empty else roi
    return size, frame, mask, roi


@given(scenes())
def test_tissue_area_is_that_of_the_analysed_area(scene: tuple) -> None:
    size, frame, mask, roi = scene
    cover = np.random.default_rng(mask.size).integers(1, 256, mask.shape).astype(np.uint8)
    for part in (None, cover):
        want = AnalysisArea(size, frame, mask, roi, cover=part).area_mm2(MPP)
        got = analysed_tissue(size, frame, mask, roi=roi, cover=part)
        assert got.area_mm2 == pytest.approx(want, rel=1e-9, abs=1e-15)
        assert got.area_um2().sum() * 1e-6 == pytest.approx(want, rel=1e-9, abs=1e-15)
        assert (got.cells == analysed_tissue(size, frame, mask, roi=roi).cells).all()


@given(scenes())
def test_unreadable_tiles_are_taken_out_once(scene: tuple) -> None:
    size, frame, mask, roi = scene
    lost = [shapely.box(3, 5, 40, 50), shapely.box(20, 20, 70, 90)]
    kept = (shapely.box(0, 0, *size) if roi is None else roi).difference(shapely.union_all(lost))
    want = AnalysisArea(size, frame, mask, polygonal(kept)).area_mm2(MPP) if not kept.is_empty else 0.0
    got = analysed_tissue(size, frame, mask, roi=roi, unreadable=lost).area_mm2
    assert got == pytest.approx(want, rel=1e-9, abs=1e-14)


@given(scenes(), st.sampled_from((3.0, 8.0, 10.0, 13.7, 500.0)))
def test_squares_share_out_the_tissue_exactly(scene: tuple, size_um: float) -> None:
    size, frame, mask, roi = scene
    tissue = analysed_tissue(size, frame, mask, roi=roi)
    grid = density_grid(np.zeros((0, 2)), np.zeros(0, int), 1, tissue, size_um)
    if grid is None:
        assert tissue.area_mm2 == 0
        return
    assert grid.area_mm2.sum() == pytest.approx(tissue.area_mm2, rel=1e-9)
    xs, ys = grid.squares.lines_um
    cells = np.argwhere(mask)
    boxes = shapely.box(cells[:, 1] * 8, cells[:, 0] * 8, cells[:, 1] * 8 + 8, cells[:, 0] * 8 + 8)
    whole = shapely.union_all(boxes).intersection(shapely.box(0, 0, size[0] * MPP[0], size[1] * MPP[1]))
    if roi is not None:
        whole = whole.intersection(shapely.affinity.scale(roi, *MPP, origin=(0, 0)))
    i, j = grid.area_mm2.shape[0] // 2, grid.area_mm2.shape[1] // 2
    want = whole.intersection(shapely.box(xs[j], ys[i], xs[j + 1], ys[i + 1])).area
    assert grid.area_mm2[i, j] * 1e6 == pytest.approx(want, abs=1e-7)


def scattered(seed: int, mask: np.ndarray, n: int) -> tuple[Tissue, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    tissue = Tissue(mask, (8.0, 8.0), (mask.shape[1] * 8.0, mask.shape[0] * 8.0))
    cells = np.argwhere(mask)[random.integers(0, mask.sum(), n)]
    # quarters of a micron: many lie on lines of cells and squares
    points = (cells[:, ::-1] * 8 + random.integers(0, 32, (n, 2)) / 4).astype(np.float64)
    return tissue, points, random.integers(0, 3, n)


def blobs(seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    mask = random.random((12, 15)) < 0.4
    mask[random.integers(12), random.integers(15)] = True
    return mask


@given(st.integers(0, 999), st.sampled_from((5.0, 16.0, 33.3)))
def test_counts_add_up_and_equal_a_loop_over_squares(seed: int, size_um: float) -> None:
    tissue, points, classes = scattered(seed, blobs(seed), 60)
    grid = density_grid(points, classes, 3, tissue, size_um)
    assert grid is not None
    np.testing.assert_array_equal(grid.counts.sum(axis=(1, 2)), np.bincount(classes, minlength=3))
    xs, ys = grid.squares.lines_um
    for k in range(3):
        for i in range(grid.counts.shape[1]):
            for j in range(grid.counts.shape[2]):
                x, y = points[classes == k].T
                inside = (x >= xs[j] - 1e-9) & (x < xs[j + 1] - 1e-9) & (y >= ys[i] - 1e-9) & (y < ys[i + 1] - 1e-9)
                assert grid.counts[k, i, j] == inside.sum()


@given(st.integers(0, 999), st.integers(0, 9), st.integers(0, 9))
def test_moving_slide_and_objects_together_moves_nothing_but_the_origin(seed: int, dx: int, dy: int) -> None:
    mask = blobs(seed)
    tissue, points, classes = scattered(seed, mask, 40)
    moved = Tissue(np.pad(mask, ((dy, 0), (dx, 0))), (8.0, 8.0), ((15 + dx) * 8.0, (12 + dy) * 8.0))
    before = density_grid(points, classes, 3, tissue, 20.0)
    after = density_grid(points + [dx * 8, dy * 8], classes, 3, moved, 20.0)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(after.counts, before.counts)
    np.testing.assert_allclose(after.area_mm2, before.area_mm2, atol=1e-15)
    assert after.squares.origin_um == (before.squares.origin_um[0] + dx * 8, before.squares.origin_um[1] + dy * 8)


@given(st.integers(0, 999))
def test_the_order_of_objects_changes_no_bit(seed: int) -> None:
    tissue, points, classes = scattered(seed, blobs(seed), 50)
    order = np.random.default_rng(seed).permutation(50)
    one, other = (density_grid(points[o], classes[o], 3, tissue, 20.0) for o in (np.arange(50), order))
    assert one is not None
    assert other is not None
    assert one.per_mm2.tobytes() == other.per_mm2.tobytes()


def test_an_edge_square_is_divided_by_its_own_tissue_and_a_sliver_has_no_density() -> None:
    mask = np.zeros((2, 4), np.bool_)
    mask[:, :2] = True
    mask[0, 2:] = True
    tissue = Tissue(mask, (8.0, 8.0), (32.0, 16.0))
    points = np.array([[1.0, 1.0], [20.0, 2.0]])
    grid = density_grid(points, np.zeros(2, int), 1, tissue, 16.0, least_share=0.5)
    assert grid is not None
    np.testing.assert_allclose(grid.share, [[1.0, 0.5]])
    np.testing.assert_allclose(grid.per_mm2[0], [[1 / 256e-6, 1 / 128e-6]])
    sparse = density_grid(points, np.zeros(2, int), 1, tissue, 16.0, least_share=0.6)
    assert sparse is not None
    assert np.isnan(sparse.per_mm2[0, 0, 1])
    assert sparse.counts.sum() == 2


def test_without_tissue_there_is_no_grid_and_stray_objects_are_refused() -> None:
    nothing = Tissue(np.zeros((3, 3), np.bool_), (8.0, 8.0), (24.0, 24.0))
    assert density_grid(np.zeros((0, 2)), np.zeros(0, int), 2, nothing, 50.0) is None
    with pytest.raises(ValueError, match="no tissue"):
        density_grid(np.ones((1, 2)), np.zeros(1, int), 2, nothing, 50.0)
    some = Tissue(np.ones((3, 3), np.bool_), (8.0, 8.0), (24.0, 24.0))
    with pytest.raises(ValueError, match="outside the grid"):
        density_grid(np.array([[60.0, 0.0]]), np.zeros(1, int), 1, some, 12.0)
    with pytest.raises(ValueError, match="edge of a square"):
        squares_over(some, 0.0)


def test_a_point_on_a_line_belongs_to_the_cell_after_it_whatever_the_rounding() -> None:
    step = 16 * 0.2521
    lines_um = np.array([k * 16 * 0.2521 for k in range(1000)])
    np.testing.assert_array_equal(cell_index(lines_um, 0.0, step, 2000), np.arange(1000))
    np.testing.assert_array_equal(cell_index(np.array([-0.1, 10.0, 10.1]), 0.0, 1.0, 10), [-1, 9, -1])


def test_microns_are_field_px_times_mpp() -> None:
    frame = Frame((10, 10), (1.0, 1.0), (0.5, 0.25))
    np.testing.assert_array_equal(to_um(np.array([[2, 4]]), frame), [[1.0, 1.0]])
