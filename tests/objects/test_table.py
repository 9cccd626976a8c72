"""Measurements of objects: integer sums against NumPy, and the rules of class, score and filters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from tests.reference import objects as reference
from tests.strategies import CellField, cell_fields
from wsiparse.objects.runs import components
from wsiparse.objects.table import build_table, sum_classes, sum_od, table_of_runs
from wsiparse.types import ObjectTable

pytestmark = pytest.mark.kernels


def table_of(labels: list[list[int]], classes: list[list[int]], confidence: list[list[int]]) -> ObjectTable:
    image = np.array(labels, np.int32)
    return build_table(
        image, int(image.max()), np.array(classes, np.uint8), np.array(confidence, np.uint8), 3, origin=(10, 20)
    )


@given(cell_fields())
def test_every_column_equals_numpys(field: CellField) -> None:
    labels, n = reference.components(field.classes > 0)
    table = build_table(labels, n, field.classes, field.confidence, field.n_classes, origin=(7, 11), od=field.od)
    for i in range(n):
        y, x = np.nonzero(labels == i + 1)
        classes, confidence = field.classes[y, x], field.confidence[y, x].astype(np.int64)
        sums = [int(confidence[classes == c].sum()) for c in range(1, field.n_classes + 1)]
        held = [c for c in range(1, field.n_classes + 1) if (classes == c).any()]
        assert table.class_id[i] == max(held, key=lambda c: (sums[c - 1], -c))
        assert table.area_px[i] == len(x)
        assert table.first_px[i].tolist() == [y[0] + 11, x[0] + 7]
        assert table.centroid[i] == pytest.approx([x.mean() + 7.5, y.mean() + 11.5])
        assert table.score[i] == pytest.approx(confidence.mean() / 255)
        assert table.mean_od[i] == np.float32(field.od[y, x].astype(np.int64).sum() / (100 * len(x)))
        total = max(1, sum(sums))
        assert table.class_share[i] == pytest.approx(np.array(sums) / total)


def test_a_nucleus_half_called_one_class_and_half_another_is_of_the_surer_half() -> None:
    table = table_of([[1, 1, 1, 1]], [[1, 1, 1, 3]], [[50, 50, 50, 200]])
    assert table.class_id.tolist() == [3]
    assert table.class_share.tolist() == [pytest.approx([150 / 350, 0, 200 / 350])]


def test_equal_sums_go_to_the_first_prompt() -> None:
    assert table_of([[1, 1]], [[3, 2]], [[90, 90]]).class_id.tolist() == [2]


def test_a_class_without_a_pixel_never_wins() -> None:
    table = table_of([[1, 1]], [[3, 3]], [[0, 0]])
    assert table.class_id.tolist() == [3]
    assert table.score.tolist() == [0.0]


def test_small_and_unsure_objects_are_left_out() -> None:
    mask = np.array([[1, 1, 0, 1, 0, 1, 1]], np.uint8)
    runs = components(mask)
    sums, present = sum_classes(runs, mask.ravel(), np.array([9, 9, 0, 255, 0, 200, 210], np.uint8), 1)
    assert len(table_of_runs(runs, sums, present)) == 3
    kept = table_of_runs(runs, sums, present, min_area_px=2, min_confidence=0.5)
    assert kept.first_px.tolist() == [[0, 5]]
    assert kept.coords.tolist() == [[5, 0], [7, 0], [7, 1], [5, 1], [5, 0]]


def test_without_optical_density_the_mean_is_unknown() -> None:
    table = table_of([[1, 1, 2]], [[1, 1, 1]], [[9, 9, 9]])
    assert table.mean_od.dtype == np.float32
    assert np.isnan(table.mean_od).tolist() == [True, True]


def test_filters_leave_every_object_its_own_optical_density() -> None:
    mask = np.array([[1, 1, 0, 1, 0, 1, 1]], np.uint8)
    runs = components(mask)
    sums, present = sum_classes(runs, mask.ravel(), np.full(7, 255, np.uint8), 1)
    od = sum_od(runs, np.array([255, 255, 99, 50, 99, 10, 31], np.uint8))
    assert od.tolist() == [510, 50, 41]
    kept = table_of_runs(runs, sums, present, min_area_px=2, od=od)
    assert kept.mean_od.tolist() == [np.float32(2.55), np.float32(0.205)]


def test_no_objects_give_an_empty_table() -> None:
    table = build_table(np.zeros((3, 4), np.int32), 0, np.zeros((3, 4), np.uint8), np.zeros((3, 4), np.uint8), 2)
    assert len(table) == 0
    assert table.class_share.shape == (0, 2)


LABELS, CLASSES, CONFIDENCE = np.ones((2, 2), np.int32), np.ones((2, 2), np.uint8), np.ones((2, 2), np.uint8)


@pytest.mark.parametrize(
    ("labels", "classes", "confidence", "n_classes", "says"),
    [
        (LABELS, CLASSES[:1], CONFIDENCE, 1, "class_map must be"),
        (LABELS, CLASSES, CONFIDENCE.astype(np.float32), 1, "confidence must be"),
        (LABELS, 0 * CLASSES, CONFIDENCE, 1, "outside 1..1"),
        (LABELS, 2 * CLASSES, CONFIDENCE, 1, "outside 1..1"),
        (LABELS, CLASSES, CONFIDENCE, 0, "n_classes must be"),
        (LABELS, CLASSES, CONFIDENCE, 256, "n_classes must be"),
        (LABELS.astype(np.uint8), CLASSES, CONFIDENCE, 1, "labels must be"),
    ],
)
def test_planes_that_do_not_fit_are_refused(
    labels: np.ndarray, classes: np.ndarray, confidence: np.ndarray, n_classes: int, says: str
) -> None:
    with pytest.raises(ValueError, match=says):
        build_table(labels, 1, classes, confidence, n_classes)


def test_any_memory_layout_gives_the_same_rows() -> None:
    random = np.random.default_rng(0)
    mask = random.random((9, 8)) < 0.6
    labels, n = reference.components(mask)
    classes, confidence = mask.astype(np.uint8), random.integers(1, 255, mask.shape, np.uint8)
    expected = build_table(labels, n, classes, confidence, 1)
    other = build_table(np.asfortranarray(labels), n, np.asfortranarray(classes), np.asfortranarray(confidence), 1)
    np.testing.assert_array_equal(other.score, expected.score)
    np.testing.assert_array_equal(other.coords, expected.coords)
