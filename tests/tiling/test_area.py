from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling import AnalysisArea, whole_slide_area
from wsiparse.types import Box

MPP = (0.5, 0.4)


def overview(width: int, height: int, cell: tuple[float, float] = (16.0, 20.0)) -> Frame:
    return Frame((width, height), cell, (cell[0] * MPP[0], cell[1] * MPP[1]))


def area(
    tissue: list[str] | np.ndarray,
    roi: BaseGeometry | None = None,
    margin: float = 0.0,
    size: tuple[int, int] | None = None,
) -> AnalysisArea:
    """An area from a drawing: '#' is tissue."""
    mask = tissue if isinstance(tissue, np.ndarray) else np.array([[c == "#" for c in row] for row in tissue])
    height, width = mask.shape
    return AnalysisArea(size or (16 * width, 20 * height), overview(width, height), mask, roi, margin)


CELL_MM2 = 16 * 0.5 * 20 * 0.4 * 1e-6


def test_the_area_of_tissue_without_a_region_is_its_cells() -> None:
    assert area(["#..", ".##"]).area_mm2(MPP) == pytest.approx(3 * CELL_MM2, rel=1e-12)
    assert area(["...", "..."]).area_mm2(MPP) == 0


def test_cells_that_reach_past_the_slide_count_with_their_part_on_it() -> None:
    cut = area(["##", "##"], size=(24, 30))
    assert cut.area_mm2(MPP) == pytest.approx(24 * 0.5 * 30 * 0.4 * 1e-6, rel=1e-12)


@st.composite
def scenes(draw: st.DrawFn) -> tuple[np.ndarray, BaseGeometry]:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    mask = np.array(draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))).reshape(
        height, width
    )
    number = st.floats(-20, 200).map(lambda v: round(v, 2))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        corners = draw(st.lists(st.tuples(number, number), min_size=3, max_size=9, unique=True))
        parts.append(shapely.MultiPoint(corners).convex_hull)
    holes = shapely.Point(draw(number), draw(number)).buffer(draw(st.floats(1, 40)))
    union = shapely.difference(shapely.union_all([p for p in parts if p.geom_type == "Polygon"]), holes)
    return mask, union


@given(scenes())
def test_the_area_within_a_region_is_exact(scene: tuple[np.ndarray, BaseGeometry]) -> None:
    mask, roi = scene
    if roi.geom_type not in ("Polygon", "MultiPolygon") or roi.is_empty:
        return
    cells = [shapely.box(16 * x, 20 * y, 16 * x + 16, 20 * y + 20) for y, x in np.argwhere(mask)]
    exact = sum(shapely.intersection(cell, roi).area for cell in cells) * MPP[0] * MPP[1] * 1e-6
    assert area(mask, roi).area_mm2(MPP) == pytest.approx(exact, rel=1e-9, abs=1e-15)


@given(scenes(), st.integers(0, 2**32 - 1))
def test_a_point_is_kept_when_its_cell_is_tissue_and_the_region_contains_it(
    scene: tuple[np.ndarray, BaseGeometry], seed: int
) -> None:
    mask, roi = scene
    if roi.geom_type not in ("Polygon", "MultiPolygon"):
        return
    height, width = mask.shape
    points = np.random.default_rng(seed).uniform((-30, -30), (16 * width + 30, 20 * height + 30), (50, 2))
    expected = [
        0 <= x < 16 * width
        and 0 <= y < 20 * height
        and bool(mask[int(y // 20), int(x // 16)])
        and roi.contains(shapely.Point(x, y))
        for x, y in points
    ]
    assert area(mask, roi).keeps(points).tolist() == expected


def test_no_points_are_no_answer() -> None:
    assert area(["#"]).keeps(np.zeros((0, 2))).shape == (0,)


def test_the_share_of_random_points_kept_is_the_share_of_area() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((20, 20)) < 0.5
    roi = shapely.Point(160, 200).buffer(120)
    some = area(mask, roi)
    points = rng.uniform((0, 0), (320, 400), (200_000, 2))
    share = some.area_mm2(MPP) / (400 * CELL_MM2)
    assert some.keeps(points).mean() == pytest.approx(share, abs=0.005)


@given(
    scene=scenes(),
    margin=st.floats(0, 60),
    downsample=st.sampled_from([1.0, 2.0, 3.7, 40.0]),
    box=st.builds(Box, st.integers(-20, 60), st.integers(-20, 60), st.integers(1, 70), st.integers(1, 70)),
    data=st.data(),
)
def test_the_field_mask_depends_on_the_position_of_a_pixel_only(
    scene: tuple[np.ndarray, BaseGeometry], margin: float, downsample: float, box: Box, data: st.DataObject
) -> None:
    mask, roi = scene
    some = area(mask, None if roi.is_empty or roi.geom_type not in ("Polygon", "MultiPolygon") else roi, margin)
    frame = Frame(
        (max(1, int(some.slide_size[0] / downsample)), max(1, int(some.slide_size[1] / downsample))),
        (downsample,) * 2,
        (1, 1),
    )
    whole = some.field_mask(Box(-30, -30, 240, 240), frame)
    part = some.field_mask(box, frame)
    assert part.shape == (box.height, box.width)
    np.testing.assert_array_equal(part, whole[box.y + 30 : box.y1 + 30, box.x + 30 : box.x1 + 30])
    assert some.meets(box, frame) == part.any()
    outside = np.ones_like(whole)
    outside[30 : 30 + frame.size[1], 30 : 30 + frame.size[0]] = False
    assert not whole[outside].any()


@given(scenes(), st.floats(0, 60), st.integers(0, 2**32 - 1))
@example((np.ones((1, 1), np.bool_), shapely.Polygon([(0, 1), (1, 0), (0, 0)])), 7.4e-204, 0)
def test_everything_within_the_margin_of_a_kept_point_is_computed(
    scene: tuple[np.ndarray, BaseGeometry], margin: float, seed: int
) -> None:
    mask, roi = scene
    if roi.geom_type not in ("Polygon", "MultiPolygon"):
        return
    some = area(mask, roi, margin)
    frame = Frame(some.slide_size, (1, 1), MPP)
    rng = np.random.default_rng(seed)
    points = rng.uniform((0, 0), some.slide_size, (60, 2))
    points = points[some.keeps(points)]
    # 0.99: circles are drawn as polygons
    turn, reach = rng.uniform(0, 2 * np.pi, len(points)), 0.99 * margin * np.sqrt(rng.uniform(0, 1, len(points)))
    near = points + np.stack([np.cos(turn) * reach / MPP[0], np.sin(turn) * reach / MPP[1]], axis=1)
    field = some.field_mask(Box(0, 0, *some.slide_size), frame)
    for x, y in near:
        if 0 <= x < some.slide_size[0] and 0 <= y < some.slide_size[1]:
            assert field[int(y), int(x)]


def test_the_margin_reaches_no_further_than_two_cells_beyond_itself() -> None:
    mask = np.zeros((41, 41), np.bool_)
    mask[20, 20] = True
    some = area(mask, margin=40.0)
    distance = ndimage.distance_transform_edt(~mask, sampling=(8.0, 8.0))
    assert some.computed[distance <= 40].all()
    assert not some.computed[distance > 40 + 2 * 8 * 2**0.5].any()


def test_a_region_is_touched_by_every_cell_it_reaches() -> None:
    speck = shapely.box(33, 41, 34, 42)
    some = area(["###", "###", "###"], speck)
    np.testing.assert_array_equal(some.computed, [[False] * 3, [False] * 3, [False, False, True]])


def test_whole_slide_area_is_all_tissue() -> None:
    everything = whole_slide_area((30, 41), overview(2, 3))
    assert everything.area_mm2(MPP) == pytest.approx(30 * 0.5 * 41 * 0.4 * 1e-6)
    assert everything.keeps(np.array([[29.9, 40.9], [30.0, 5.0]])).tolist() == [True, False]


def test_parts_that_do_not_fit_together_are_refused() -> None:
    with pytest.raises(ValueError, match="bool"):
        AnalysisArea((16, 20), overview(1, 1), np.zeros((2, 2), np.bool_))
    with pytest.raises(ValueError, match="does not cover"):
        AnalysisArea((160, 20), overview(1, 1), np.zeros((1, 1), np.bool_))
    with pytest.raises(ValueError, match="margin"):
        AnalysisArea((16, 20), overview(1, 1), np.zeros((1, 1), np.bool_), None, float("nan"))
    with pytest.raises(ValueError, match="valid polygon"):
        AnalysisArea((16, 20), overview(1, 1), np.zeros((1, 1), np.bool_), shapely.Point(1, 1))
    bow_tie = shapely.Polygon([(0, 0), (9, 9), (9, 0), (0, 9)])
    with pytest.raises(ValueError, match="valid polygon"):
        AnalysisArea((16, 20), overview(1, 1), np.zeros((1, 1), np.bool_), bow_tie)
