from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsiparse.objects.scores import (
    Agreement,
    centroids_of,
    class_agreement,
    match_points,
    overlap_agreement,
    paint_objects,
    point_agreement,
)
from wsiparse.objects.trace import trace_labels
from wsiparse.types import ObjectTable

RADIUS = 3.0

points = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=5).map(
    lambda rows: np.array(rows, np.float64).reshape(-1, 2)
)
label_images = st.lists(st.integers(0, 4), min_size=48, max_size=48).map(
    lambda values: np.array(values, np.int32).reshape(6, 8)
)


def best_pairing(first: NDArray[np.float64], second: NDArray[np.float64]) -> tuple[int, float]:
    """Most pairs, then least distance, by trying everything."""
    few, many = (first, second) if len(first) <= len(second) else (second, first)
    best = (0, 0.0)
    for chosen in itertools.permutations(range(len(many)), len(few)):
        lengths = [math.dist(few[k], many[c]) for k, c in enumerate(chosen)]
        kept = [v for v in lengths if v <= RADIUS]
        best = min(best, (-len(kept), sum(kept)))
    return -best[0], best[1]


@given(points, points)
def test_matching_finds_the_most_pairs_and_then_the_least_distance(
    first: NDArray[np.float64], second: NDArray[np.float64]
) -> None:
    i, j = match_points(first, second, RADIUS)
    distance = np.hypot(*(first[i] - second[j]).T)
    assert len(set(i)) == len(i)
    assert len(set(j)) == len(j)
    count, total = best_pairing(first, second)
    assert len(i) == count
    assert distance.sum() == pytest.approx(total)
    assert (distance <= RADIUS).all()


def test_a_chain_is_paired_even_where_the_nearest_neighbour_would_block_it() -> None:
    # greedy takes 1-1 (distance 1) and leaves both ends alone
    i, j = match_points(np.array([[0.0, 0], [4, 0]]), np.array([[3.0, 0], [7, 0]]), RADIUS)
    assert list(zip(i, j, strict=True)) == [(0, 0), (1, 1)]


def test_a_pair_at_exactly_the_radius_counts() -> None:
    assert len(match_points(np.array([[0.0, 0]]), np.array([[RADIUS, 0]]), RADIUS)[0]) == 1


def test_centroids_are_means_of_pixel_centres() -> None:
    labels = np.array([[0, 7, 7], [0, 0, 7], [3, 0, 0]], np.int32)
    ids, centres = centroids_of(labels)
    assert ids.tolist() == [3, 7]
    np.testing.assert_allclose(centres, [[0.5, 2.5], [13 / 6, 5 / 6]])


def plain_overlaps(truth: NDArray[np.int32], found: NDArray[np.int32]) -> tuple[int, float, int, int]:
    """Matches, their IoU and both sums of the AJI, straight from the definitions."""
    truths = [truth == k for k in np.unique(truth) if k]
    founds = [found == k for k in np.unique(found) if k]
    table = [[(a & b).sum() / (a | b).sum() for b in founds] for a in truths]
    hits = [v for row in table for v in row if v > 0.5]
    above = below = 0
    used = set()
    for a, row in zip(truths, table, strict=True):
        j = int(np.argmax(row)) if row else 0
        if row and row[j] > 0:
            above, below = above + int((a & founds[j]).sum()), below + int((a | founds[j]).sum())
            used.add(j)
        else:
            below += int(a.sum())
    below += sum(int(b.sum()) for j, b in enumerate(founds) if j not in used)
    return len(hits), float(sum(hits)), above, below


@given(label_images, label_images)
def test_overlap_figures_follow_their_definitions(truth: NDArray[np.int32], found: NDArray[np.int32]) -> None:
    result = overlap_agreement(truth, found)
    hits, iou, above, below = plain_overlaps(truth, found)
    assert (result.overlaps, result.aji_intersection, result.aji_union) == (hits, above, below)
    assert result.overlap_iou == pytest.approx(iou)


def test_a_perfect_result_scores_one_everywhere() -> None:
    labels = np.kron(np.arange(1, 5, dtype=np.int32).reshape(2, 2), np.ones((5, 5), np.int32))
    result = overlap_agreement(labels, labels + 10)
    figures = (result.f1, result.precision, result.recall, result.overlap_f1, result.pq, result.aji)
    assert figures == (1.0,) * 6


def test_splitting_one_of_two_nuclei_costs_what_the_definitions_say() -> None:
    truth = np.zeros((10, 40), np.int32)
    truth[:, :10], truth[:, 20:40] = 1, 2
    found = truth.copy()
    found[:, 32:40] = 3  # 12 + 8 columns of the second nucleus: IoU 0.6 and 0.4
    result = overlap_agreement(truth, found, radius=4.5)
    assert (result.truth, result.found, result.pairs, result.overlaps) == (2, 3, 2, 2)
    assert result.pq == pytest.approx((1 + 0.6) / 2.5)
    assert result.aji == pytest.approx((100 + 120) / (100 + 200 + 80))


def test_sums_of_images_weight_every_nucleus_alike() -> None:
    total = Agreement(truth=1, found=1, pairs=1) + Agreement(truth=3, found=5, pairs=1)
    assert total.f1 == pytest.approx(4 / 10)


def test_ratios_of_nothing_are_not_numbers() -> None:
    empty = overlap_agreement(np.zeros((3, 3), np.int32), np.zeros((3, 3), np.int32))
    assert all(math.isnan(v) for v in (empty.f1, empty.pq, empty.aji, empty.precision, empty.recall))


def test_class_scores_count_misses_false_detections_and_wrong_classes() -> None:
    truth = np.array([[0.0, 0], [10, 0], [20, 0], [30, 0], [40, 0]])
    truth_class = np.array([2, 2, 2, 1, 0])
    found = np.array([[0.0, 1], [10, 1], [30, 1], [40, 1], [90, 0]])
    found_class = np.array([2, 1, 2, 2, 2])
    # hit; wrong class; missed; false on another class; on an unlabelled one: left out; false in the open
    result = class_agreement(truth, truth_class, found, found_class, 2)
    assert (result.truth, result.found, result.pairs) == (3, 3, 1)
    strict = class_agreement(truth, truth_class, found, found_class, 2, unlabelled=None)
    assert (strict.truth, strict.found, strict.pairs) == (3, 4, 1)


def test_point_scores_need_no_outlines() -> None:
    result = point_agreement(np.array([[0.0, 0], [50, 50]]), np.array([[5.0, 0]]))
    assert (result.precision, result.recall) == (1.0, 0.5)


def test_images_of_different_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in shape"):
        overlap_agreement(np.zeros((2, 2), np.int32), np.zeros((2, 3), np.int32))


@given(label_images)
def test_painting_objects_undoes_tracing_them(image: NDArray[np.int32]) -> None:
    # connected pieces only: an object is one polygon
    labels = np.zeros_like(image)
    n = 0
    for y, x in np.ndindex(*image.shape):
        if image[y, x] and not labels[y, x]:
            n += 1
            stack = [(y, x)]
            while stack:
                v, u = stack.pop()
                if 0 <= v < 6 and 0 <= u < 8 and not labels[v, u] and image[v, u] == image[y, x]:
                    labels[v, u] = n
                    stack += [(v + 1, u), (v - 1, u), (v, u + 1), (v, u - 1)]
    coords, ring_offsets, polygon_offsets = trace_labels(labels, n)
    table = ObjectTable(
        coords=coords,
        ring_offsets=ring_offsets,
        polygon_offsets=polygon_offsets,
        class_id=np.ones(n, np.uint8),
        score=np.ones(n, np.float32),
        area_px=np.bincount(labels.ravel(), minlength=n + 1)[1:],
        centroid=np.zeros((n, 2)),
        first_px=np.zeros((n, 2), np.int32),
        class_share=np.zeros((n, 0), np.float32),
    )
    np.testing.assert_array_equal(paint_objects(table, (8, 6)), labels)
