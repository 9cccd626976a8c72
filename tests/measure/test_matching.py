"""Sums of fields against an independent recomputation: scipy's assignment, shapely's areas, sklearn's confusion."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from wsiparse.measure.figures import NOTHING, field_rows, figures_of
from wsiparse.measure.matching import SUMS, Area, FieldSums, Side, compare_sides
from wsiparse.objects.scores import overlap_agreement

C = 3


def _side(rng: np.random.Generator, n: int, extent: float = 60.0) -> Side:
    """Squares and crosses that may overlap their neighbours."""
    places = rng.uniform(0, extent, (n, 2))
    half = rng.uniform(2, 5, (n, 2))
    shapes = shapely.box(*(places - half).T, *(places + half).T)
    return Side(places, rng.integers(-1, C, n), shapes)


def _pairs(truth: Side, found: Side) -> list[tuple[int, int]]:
    """All pairs within 3 um: as many as can be, then the least distance."""
    distance = cdist(truth.points, found.points)
    cost = np.where(distance <= 3, distance - 1e4, 0)
    return [(int(a), int(b)) for a, b in zip(*linear_sum_assignment(cost), strict=True) if distance[a, b] <= 3]


def _recomputed(truth: Side, found: Side, area: Area, wanted: int | None) -> dict[str, float]:
    """The same figures, one nucleus after the other."""
    assert truth.shapes is not None
    assert found.shapes is not None
    pairs = _pairs(truth, found)
    mate = {b: a for a, b in pairs}
    inside = [area.shape.intersects(shapely.Point(p)) for p in truth.points]
    rows = [k for k in range(len(truth)) if inside[k]]
    columns = [
        k
        for k in range(len(found))
        if (inside[mate[k]] if k in mate else area.shape.intersects(shapely.Point(found.points[k])))
    ]
    if wanted is not None:
        rows = [k for k in rows if truth.class_of[k] == wanted]
        columns = [
            k for k in columns if found.class_of[k] == wanted and (k not in mate or truth.class_of[mate[k]] >= 0)
        ]
    hits = [(mate[k], k) for k in columns if k in mate and mate[k] in rows]
    iou = {}
    for a in rows:
        for b in columns:
            shared = truth.shapes[a].intersection(found.shapes[b]).area
            if shared > 0:
                iou[a, b] = shared / truth.shapes[a].union(found.shapes[b]).area
    above, below, used = 0.0, 0.0, set()
    for a in rows:
        mine = {b: v for (x, b), v in iou.items() if x == a}
        if not mine:
            below += truth.shapes[a].area
            continue
        best = min(mine, key=lambda b: (-mine[b], b))
        used.add(best)
        above += truth.shapes[a].intersection(found.shapes[best]).area
        below += truth.shapes[a].union(found.shapes[best]).area
    below += sum(found.shapes[b].area for b in columns if b not in used)
    good = [v for v in iou.values() if v > 0.5]
    return dict(zip(SUMS, (len(rows), len(columns), len(hits), len(good), sum(good), above, below), strict=True))


@given(st.integers(0, 14), st.integers(0, 14), st.integers(0, 2**31))
def test_sums_equal_an_independent_recomputation(n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth, found = _side(rng, n), _side(rng, m)
    areas = [Area("a", shapely.box(5, 5, 30, 55)), Area("b", shapely.box(30, 10, 58, 50))]
    # a centroid on the border of two fields belongs to the first; these never lie on it
    for area, sums in zip(areas, compare_sides("s", truth, found, areas, C), strict=True):
        for wanted, row in ((None, sums.nuclei), *enumerate(sums.classes)):
            expected = _recomputed(truth, found, area, wanted)
            np.testing.assert_allclose(row, list(expected.values()), rtol=1e-9, atol=1e-9)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(0, 2**31))
def test_the_confusion_matrix_is_that_of_sklearn(n: int, m: int, seed: int) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(seed)
    truth, found = _side(rng, n), _side(rng, m)
    sums = compare_sides("s", truth, found, [Area("all", shapely.box(-9, -9, 99, 99))], C)[0]
    pairs = _pairs(truth, found)
    a = [int(truth.class_of[i]) % (C + 2) if truth.class_of[i] >= 0 else C for i, _ in pairs]
    b = [int(found.class_of[j]) if found.class_of[j] >= 0 else C for _, j in pairs]
    left, right = {i for i, _ in pairs}, {j for _, j in pairs}
    for i in range(n):
        if i not in left:
            a, b = [*a, int(truth.class_of[i]) if truth.class_of[i] >= 0 else C], [*b, C + 1]
    for j in range(m):
        if j not in right:
            a, b = [*a, C + 1], [*b, int(found.class_of[j]) if found.class_of[j] >= 0 else C]
    expected = metrics.confusion_matrix(a, b, labels=range(C + 2)) if a else np.zeros((C + 2, C + 2))
    # equal distances may pair otherwise; places are random reals, so there are none
    np.testing.assert_array_equal(sums.confusion, expected)


def _painted(side: Side, size: int) -> NDArray[np.int32]:
    out = np.zeros((size, size), np.int32)
    assert side.shapes is not None
    for k, shape in enumerate(side.shapes, 1):
        x0, y0, x1, y1 = (int(v) for v in shape.bounds)
        out[y0:y1, x0:x1] = k
    return out


def test_outlines_give_what_label_images_give() -> None:
    """Pixel squares that do not overlap: polygons and label images are the same things."""
    rng = np.random.default_rng(5)

    def grid(shift: int) -> Side:
        places = [(x + shift, y) for x in range(4, 90, 12) for y in range(4, 90, 12) if rng.random() < 0.8]
        shapes = np.array([shapely.box(x, y, x + 8, y + int(rng.integers(4, 9))) for x, y in places] + [None], object)
        points = shapely.get_coordinates(shapely.centroid(shapes[:-1]))
        return Side(points, np.zeros(len(places), np.int64), shapes[:-1])

    truth, found = grid(0), grid(2)
    sums = compare_sides("s", truth, found, [Area("all", shapely.box(0, 0, 100, 100))], 1)[0].nuclei
    by_pixels = overlap_agreement(_painted(truth, 100), _painted(found, 100), 3.0)
    expected = [by_pixels.truth, by_pixels.found, by_pixels.pairs, by_pixels.overlaps, by_pixels.overlap_iou]
    np.testing.assert_allclose(sums[:5], expected)
    np.testing.assert_allclose(sums[5:], [by_pixels.aji_intersection, by_pixels.aji_union])


def test_a_field_border_cuts_no_pair() -> None:
    truth = Side(np.array([[9.0, 5.0], [11.0, 20.0]]), np.zeros(2, np.int64))
    found = Side(np.array([[11.0, 5.0], [9.0, 20.0]]), np.zeros(2, np.int64))
    sums = compare_sides("s", truth, found, [Area("left", shapely.box(0, 0, 10, 30))], 1)[0]
    # the first pair counts with its annotation inside, the second with its annotation outside not at all
    assert sums.nuclei[:3].tolist() == [1, 1, 1]


def test_partial_annotations_tell_recall_and_classes_only() -> None:
    truth = Side(np.array([[5.0, 5.0], [20.0, 5.0]]), np.array([0, 1]))
    found = Side(np.array([[5.0, 6.0], [40.0, 40.0]]), np.array([1, 1]))
    sums = compare_sides("s", truth, found, [Area("all", shapely.box(0, 0, 50, 50))], 2, partial=True)
    rows = figures_of(sums, ["a", "b"], partial=True)["rows"]
    assert rows[0]["recall"]["value"] == 0.5
    assert rows[0]["precision"]["value"] is None
    assert rows[0]["precision"]["reason"] == "not every nucleus of these fields is annotated"
    assert rows[2]["precision"]["value"] == 0.0
    assert rows[0]["limits"]["mean"] is None
    assert field_rows(sums, ["a", "b"], partial=True)[0]["precision"] is None


def test_a_comparison_with_itself_is_perfect_and_with_a_shifted_copy_is_not() -> None:
    rng = np.random.default_rng(8)
    side = _side(rng, 40, 200.0)

    def moved(by: float) -> Side:
        shapes: Any = shapely.transform(side.shapes, lambda xy: xy + by)
        return Side(side.points + by, side.class_of, shapes)

    area = [Area("all", shapely.box(-50, -50, 300, 300))]

    def figures(by: float) -> dict[str, Any]:
        row: dict[str, Any] = figures_of(compare_sides("s", side, moved(by), area, C), ["a", "b", "c"])["rows"][0]
        return row

    own = figures(0.0)
    assert [own[k]["value"] for k in ("f1", "precision", "recall", "count_ratio")] == [1.0] * 4
    assert own["limits"]["mean"] == 0
    shifted = figures(6.0)
    assert shifted["f1"]["value"] < 0.5
    assert shifted["pq"]["value"] < own["pq"]["value"]


def test_a_confusion_matrix_names_what_is_on_one_side_only() -> None:
    truth = Side(np.array([[5.0, 5.0]]), np.array([0]))
    found = Side(np.array([[30.0, 5.0]]), np.array([-1]))
    sums: list[FieldSums] = compare_sides("s", truth, found, [Area("all", shapely.box(0, 0, 50, 50))], 1)
    confusion = figures_of(sums, ["a"])["confusion"]
    assert confusion["names"] == ["a", "no class", NOTHING]
    assert confusion["counts"] == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]
