from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.patterns import irregular_tissue, tumour_truth, two_densities
from wsiparse.report.stats.borders import distance_to, mask_border, polygon_border
from wsiparse.report.stats.cell_compartments import auto_compartments
from wsiparse.report.stats.compartments import Compartments, region_compartments
from wsiparse.report.stats.tissue import Tissue

TISSUE = irregular_tissue(3.6, 3.6, 7)
TRUTH = tumour_truth(TISSUE, "lobed")


def find(seed: int, tumour: tuple[float, float], connective: tuple[float, float], truth: np.ndarray = TRUTH):
    return auto_compartments(
        two_densities(TISSUE, truth, tumour, 2 * seed), two_densities(TISSUE, truth, connective, 2 * seed + 1), TISSUE
    )


def overlap(got: Compartments | None, truth: np.ndarray = TRUTH) -> float:
    assert got is not None
    found = got.labels == 1
    return float((found & truth).sum() / (found | truth).sum())


@pytest.mark.parametrize(
    ("tumour", "connective"),
    [((3000.0, 100.0), (300.0, 1500.0)), ((2000.0, 200.0), (400.0, 800.0)), ((3000.0, 100.0), (100.0, 100.0))],
    ids=["dense", "loose", "sparse stroma"],
)
def test_a_tumour_with_a_known_border_is_recovered(tumour, connective) -> None:
    got = find(0, tumour, connective)
    assert overlap(got) >= 0.95
    assert got is not None
    assert got.names == ("tumour", "margin 0-100 um", "margin 100-500 um", "stroma")
    assert got.area_mm2[0] == pytest.approx(TRUTH.sum() * 64e-6, rel=0.03)
    assert "bandwidth_um" in got.parameters


def test_a_mixture_without_a_border_stays_one_compartment_with_a_reason() -> None:
    nowhere = np.zeros_like(TRUTH)
    for seed in range(6):
        got = find(seed, (0.0, 1500.0), (0.0, 800.0), nowhere)
        assert got is not None
        assert got.names == ("tumour",)
        assert "do not differ clearly" in got.reason
        assert got.area_mm2 == (pytest.approx(TISSUE.area_mm2),)
        assert np.isnan(got.distance_um(np.array([[1000.0, 1000.0]]))).all()


def test_stroma_with_dense_and_sparse_parts_is_no_tumour() -> None:
    got = find(1, (60.0, 20.0), (1500.0, 200.0))
    assert got is not None
    assert got.names == ("stroma",)
    assert got.tumour == ()
    assert "nowhere are tumour cells denser" in got.reason


@pytest.mark.parametrize(("lacking", "name"), [("tumour", "stroma"), ("connective", "tumour")])
def test_cells_of_one_kind_only_make_one_compartment(lacking: str, name: str) -> None:
    some, none = two_densities(TISSUE, TRUTH, (500.0, 500.0), 1), np.zeros((0, 2))
    got = auto_compartments(*((none, some) if lacking == "tumour" else (some, none)), TISSUE)
    assert got is not None
    assert got.names == (name,)
    assert got.reason == f"no {lacking} cells were found"


def test_no_tissue_has_no_compartments_and_bands_must_ascend() -> None:
    nothing = Tissue(np.zeros((4, 4), np.bool_), (8.0, 8.0), (32.0, 32.0))
    assert auto_compartments(np.zeros((0, 2)), np.zeros((0, 2)), nothing) is None
    with pytest.raises(ValueError, match="ascending"):
        auto_compartments(np.zeros((0, 2)), np.zeros((0, 2)), TISSUE, margin_um=(500.0, 100.0))


def test_parts_share_out_the_tissue_and_labels_match_bands_of_exact_distance() -> None:
    got = find(2, (3000.0, 100.0), (300.0, 1500.0))
    assert got is not None
    assert sum(got.area_mm2) == pytest.approx(TISSUE.area_mm2, rel=1e-12)
    np.testing.assert_array_equal(got.labels > 0, TISSUE.mask)
    xs, ys = TISSUE.centres_um()
    rows, columns = np.nonzero(TISSUE.mask)
    pick = np.random.default_rng(0).choice(len(rows), 3000, replace=False)
    centres = np.stack([xs[columns[pick]], ys[rows[pick]]], axis=1)
    away = got.distance_um(centres)
    want = np.where(away < 0, 0, 1 + (away > 100) + (away > 500))
    np.testing.assert_array_equal(got.of_points(centres), want)


def test_order_of_cells_changes_no_bit_and_moving_the_slide_no_label() -> None:
    t, c = two_densities(TISSUE, TRUTH, (3000.0, 100.0), 4), two_densities(TISSUE, TRUTH, (300.0, 1500.0), 5)
    random = np.random.default_rng(0)
    first, other = (
        auto_compartments(t, c, TISSUE),
        auto_compartments(random.permutation(t), random.permutation(c), TISSUE),
    )
    assert first is not None
    assert other is not None
    assert first.labels.tobytes() == other.labels.tobytes()
    assert dict(first.parameters) == dict(other.parameters)
    mask = np.pad(TISSUE.mask, ((7, 0), (3, 0)))
    moved = Tissue(mask, TISSUE.cell_um, (mask.shape[1] * 8.0, mask.shape[0] * 8.0))
    shifted = auto_compartments(t + [24.0, 56.0], c + [24.0, 56.0], moved)
    assert shifted is not None
    np.testing.assert_array_equal(shifted.labels[7:, 3:], first.labels)


def slow_distance(points: np.ndarray, segments: np.ndarray) -> np.ndarray:
    a, along = segments[:, 0], segments[:, 1] - segments[:, 0]
    t = np.clip(((points[:, None] - a) * along).sum(-1) / (along * along).sum(-1), 0, 1)
    gap = points[:, None] - a - t[..., None] * along
    return np.sqrt((gap**2).sum(-1)).min(axis=1)


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_distances_to_the_border_of_cells_equal_those_to_their_union(seed: int) -> None:
    random = np.random.default_rng(seed)
    cells = random.random((6, 7)) < 0.5
    cells[random.integers(6), random.integers(7)] = True
    points = random.uniform(-10, 70, (30, 2))
    i, j = np.nonzero(cells)
    union = shapely.union_all(shapely.box(j * 8, i * 10, j * 8 + 8, i * 10 + 10))
    got = distance_to(points, mask_border(cells, (8.0, 10.0)))
    np.testing.assert_allclose(got, shapely.distance(union.boundary, shapely.points(points)), atol=1e-9)
    np.testing.assert_allclose(got, slow_distance(points, mask_border(cells, (8.0, 10.0))), atol=1e-9)


def test_without_a_border_everything_is_infinitely_far() -> None:
    assert distance_to(np.zeros((2, 2)), mask_border(np.zeros((3, 3), np.bool_), (8.0, 8.0))).tolist() == [math.inf] * 2
    assert len(polygon_border(shapely.Polygon())) == 0


PLAIN = Tissue(np.ones((50, 50), np.bool_), (8.0, 8.0), (400.0, 400.0))


def test_inside_tumour_the_edge_of_the_tissue_is_no_border() -> None:
    # tumour fills the left half: its points are measured to the middle line, not to the slide's edge
    got = region_compartments([("Tumor", shapely.box(0, 0, 200, 400))], PLAIN, tumour=("Tumor",))
    assert got.names == ("Tumor", "other tissue")
    np.testing.assert_allclose(got.distance_um(np.array([[10.0, 200.0], [150.0, 3.0], [260.0, 50.0]])), [-190, -50, 60])


def test_where_regions_overlap_the_smaller_class_wins_and_areas_are_exact() -> None:
    tumour, tissue = shapely.Point(150, 150).buffer(73.3), shapely.box(33.3, 40, 361, 377.7)
    for regions in ([("T", tumour), ("S", tissue)], [("S", tissue), ("T", tumour)]):
        got = region_compartments(regions, PLAIN, tumour=("T",))
        area = dict(zip(got.names, got.area_mm2, strict=True))
        assert area["T"] == pytest.approx(tumour.area * 1e-6, rel=1e-9)
        assert area["S"] == pytest.approx((tissue.area - tumour.area) * 1e-6, rel=1e-9)
        assert sum(area.values()) == pytest.approx(PLAIN.area_mm2, rel=1e-9)
        where = [got.names[k] for k in got.of_points(np.array([[150.0, 150.0], [300.0, 300.0], [5.0, 5.0]]))]
        assert where == ["T", "S", "other tissue"]
        assert [got.names[k - 1] for k in got.labels[[18, 40, 0], [18, 40, 0]]] == where


@given(st.integers(0, 10**6))
@settings(max_examples=30)
def test_regions_share_out_tissue_and_points_like_polygons_do(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((8, 9)) < 0.7
    mask[0, 0] = True
    tissue = Tissue(mask, (8.0, 8.0), (72.0, 64.0))
    regions = [
        (f"class {random.integers(3)}", shapely.Point(*random.uniform(0, 70, 2)).buffer(random.uniform(4, 40)))
        for _ in range(4)
    ]
    got = region_compartments(regions, tissue, tumour=("class 0",))
    again = region_compartments([regions[k] for k in random.permutation(4)], tissue, tumour=("class 0",))
    assert sum(got.area_mm2) == pytest.approx(tissue.area_mm2, rel=1e-9)
    assert got.names == again.names
    assert got.area_mm2 == again.area_mm2
    points = random.uniform(0, 64, (40, 2))
    np.testing.assert_array_equal(got.of_points(points), again.of_points(points))
    np.testing.assert_array_equal(got.of_points(points) >= 0, tissue.contains(points))
    whole = {n: shapely.union_all([g for m, g in regions if m == n]) for n, _ in regions}
    for point, k in zip(points, got.of_points(points), strict=True):
        if k >= 0:
            holders = sorted((g.area, n) for n, g in whole.items() if g.contains(shapely.Point(point)))
            assert got.names[k] == (holders[0][1] if holders else "other tissue")


def test_a_region_beside_the_tissue_leaves_all_of_it_to_the_rest() -> None:
    got = region_compartments([("T", shapely.box(900, 900, 950, 950))], PLAIN, tumour=("T",))
    assert got.area_mm2 == (0.0, pytest.approx(PLAIN.area_mm2))
    with pytest.raises(ValueError, match="must be a polygon"):
        region_compartments([("T", shapely.Point(1, 1))], PLAIN)
    with pytest.raises(ValueError, match="at least one region"):
        region_compartments([], PLAIN)


@given(st.integers(0, 10**6))
@settings(max_examples=25)
def test_compartments_of_regions_are_those_of_overlays_of_the_whole(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((8, 9)) < 0.8
    mask[0, 0] = True
    # a region of interest as the run makes it of the same drawings, and one of its own
    drawn = [
        ("stroma" if random.random() < 0.5 else "tumour", shapely.Point(*random.uniform(0, 70, 2)).buffer(r, 3))
        for r in random.uniform(2, 15, 40)
    ]
    region = shapely.union_all([shape for _, shape in drawn]) if random.random() < 0.5 else shapely.box(5, 6, 60, 50)
    region = shapely.intersection(region, shapely.box(0, 0, 70, 63))
    tissue = Tissue(mask, (8.0, 8.0), (70.0, 63.0), region)
    got = region_compartments(drawn, tissue, tumour=("tumour",))
    whole = {name: shapely.union_all([g for n, g in drawn if n == name]) for name in {n for n, _ in drawn}}
    small, *large = sorted(whole, key=lambda name: whole[name].area)
    disjoint = {small: whole[small], **{n: whole[n].difference(whole[small]) for n in large}}
    i, j = np.nonzero(mask)
    cells = shapely.intersection(
        shapely.union_all(shapely.box(j * 8, i * 8, j * 8 + 8, i * 8 + 8)), shapely.box(0, 0, 70, 63)
    )
    ground = shapely.intersection(cells, region)
    for name, mm2 in zip(got.names, got.area_mm2, strict=True):
        want = disjoint.get(name, region.difference(shapely.union_all(list(whole.values()))))
        assert mm2 == pytest.approx(want.intersection(ground).area * 1e-6, abs=1e-15)
    points = random.uniform(0, 63, (60, 2))
    core = disjoint.get("tumour", shapely.Polygon())
    # the ground without tumour has thread-like spikes where two outlines are one but for rounding: no tissue
    left = region.difference(shapely.union_all(list(whole.values())))
    away = [shape for name, shape in disjoint.items() if name != "tumour"] + [left] * (left.area > 1e-3)
    other = shapely.union_all(away).intersection(ground)
    if core.is_empty or other.area < 1e-6:
        return
    inside = np.isin(got.of_points(points), got.tumour)
    at = shapely.points(points)
    want = np.where(inside, -shapely.distance(other, at), shapely.distance(core, at))
    outside = inside | ~shapely.intersects(core, at)
    np.testing.assert_allclose(got.distance_um(points)[outside], want[outside], atol=1e-9)


def test_distance_to_lines_of_many_segments_that_follow_each_other_is_exact() -> None:
    random = np.random.default_rng(5)
    ring = np.stack([np.cos(np.linspace(0, 6.28, 90)), np.sin(np.linspace(0, 6.28, 90))], axis=1) * 30
    border = np.concatenate([polygon_border(shapely.Polygon(ring)), polygon_border(shapely.box(40, 40, 45, 50))])
    points = random.uniform(-60, 60, (200, 2))
    np.testing.assert_allclose(distance_to(points, border), slow_distance(points, border), atol=1e-9)
    np.testing.assert_allclose(distance_to(points, border[::-1]), slow_distance(points, border), atol=1e-9)
