from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wsiparse.train.targets import FIRST_CLASS_PLANE, Annotation, planes_of_labels, planes_of_points

LABELS = hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.integers(0, 3))


def planes(labels: NDArray[np.int32], **about: object) -> NDArray[np.uint8]:
    classes = np.zeros(int(labels.max()) + 1, np.int64)
    return planes_of_labels(np.zeros((*labels.shape, 3), np.uint8), Annotation(labels, classes, **about), 3)


@given(LABELS)
def test_the_boundary_is_where_a_neighbour_is_another(labels: NDArray[np.int32]) -> None:
    expected = np.zeros(labels.shape, bool)
    height, width = labels.shape
    for y in range(height):
        for x in range(width):
            for v, u in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                if 0 <= v < height and 0 <= u < width and labels[v, u] != labels[y, x]:
                    expected[y, x] = True
    np.testing.assert_array_equal(planes(labels)[5] > 0, expected)


@given(LABELS)
def test_the_centre_lies_inside_nuclei_only(labels: NDArray[np.int32]) -> None:
    made = planes(labels)
    np.testing.assert_array_equal(made[3] > 0, labels > 0)
    np.testing.assert_array_equal(made[4] > 0, labels > 0)


def test_a_round_nucleus_has_its_peak_in_the_middle_and_falls_outwards() -> None:
    y, x = np.indices((41, 41))
    made = planes((np.hypot(y - 20, x - 20) <= 12).astype(np.int32))[4]
    assert made[20, 20] == made.max() > 245
    assert (np.diff(made[20, 20:33].astype(int)) < 0).all()


def test_touching_nuclei_have_a_peak_each_and_a_valley_between() -> None:
    y, x = np.indices((30, 50))
    labels = np.where(np.hypot(y - 15, x - 14) <= 10, 1, 0) + np.where(np.hypot(y - 15, x - 35) <= 10, 2, 0)
    made = planes(labels.astype(np.int32))[4].astype(int)
    assert min(made[15, 14], made[15, 35]) > 245
    assert made[15, 24] < 100
    assert made[15, 25] < 100


def test_a_bent_nucleus_has_its_centre_inside() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[2:18, 2:6] = labels[14:18, 2:18] = 1
    made = planes(labels)[4]
    assert made.max() > 240
    assert made[labels == 0].max() == 0


def test_where_not_every_nucleus_is_annotated_only_their_surroundings_are_background() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[10:20, 10:20] = 1
    known = planes(labels, partial=True)[6]
    assert (known[labels == 1] == 255).all()
    assert known[15, 20] > 0
    assert known[35, 35] == 0


def test_a_rough_outline_says_there_is_a_nucleus_and_nothing_of_its_shape() -> None:
    labels = np.zeros((20, 20), np.int32)
    labels[5:9, 5:9], labels[12:16, 12:16] = 1, 2
    made = planes(labels, rough=np.array([False, True, False]))
    assert made[6, 6, 6] == made[6, 13, 13] == made[7, 13, 13] == 255
    assert made[7, 6, 6] == 0


def test_doubtful_background_weighs_less_and_nuclei_do_not() -> None:
    labels = np.zeros((8, 8), np.int32)
    labels[2:5, 2:5] = 1
    made = planes(labels, trust=np.full((8, 8), 0.2))
    assert set(np.unique(made[6][labels == 1])) == {255}
    assert set(np.unique(made[6][labels == 0])) == {51}


def test_the_outlines_trust_is_the_weight_of_the_shape_alone() -> None:
    made = planes(np.eye(8, dtype=np.int32), shape_weight=0.2)
    assert set(np.unique(made[7])) == {51}
    assert set(np.unique(made[6])) == {255}


def test_large_and_small_nuclei_weigh_by_the_root_of_their_areas() -> None:
    labels = np.zeros((40, 40), np.int32)
    labels[0:8, 0:8], labels[10:26, 10:26] = 1, 2
    made = planes_of_labels(np.zeros((40, 40, 3), np.uint8), Annotation(labels, np.array([0, 2, 2])), 3)
    assert made[FIRST_CLASS_PLANE + 1, 0, 0] == pytest.approx(2 * made[FIRST_CLASS_PLANE + 1, 10, 10], abs=2)
    assert not made[FIRST_CLASS_PLANE].any()


def test_points_are_nuclei_and_far_from_all_of_them_is_background() -> None:
    made = planes_of_points(np.zeros((60, 60, 3), np.uint8), np.array([[20.5, 10.5]]), np.array([3]), 3, partial=False)
    assert made[3, 10, 20] == made[6, 10, 20] == 255
    assert made[FIRST_CLASS_PLANE + 2, 10, 20] > 0
    assert made[6, 10, 27] == 0, "nobody knows how far the nucleus reaches"
    assert made[3, 50, 50] == 0
    assert 0 < made[6, 50, 50] < 255


def test_where_points_are_only_some_of_the_nuclei_nothing_is_background() -> None:
    made = planes_of_points(np.zeros((60, 60, 3), np.uint8), np.array([[20.5, 10.5]]), np.array([3]), 3, partial=True)
    assert not made[6][made[3] == 0].any()
    empty = planes_of_points(np.zeros((9, 9, 3), np.uint8), np.zeros((0, 2)), np.zeros(0, np.int64), 3, partial=True)
    assert not empty[3:].any()


def test_points_on_the_last_pixel_and_outside_are_kept_inside() -> None:
    made = planes_of_points(
        np.zeros((9, 9, 3), np.uint8), np.array([[9.0, 9.0], [-1.0, 0.0]]), np.array([1, 1]), 3, partial=True
    )
    assert made[3, 8, 8] == made[3, 0, 0] == 255
