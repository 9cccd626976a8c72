from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference import objects as reference
from tests.reference.canonical import object_set_digest
from tests.strategies import CellField, cell_fields
from wsiparse.objects.table import build_table
from wsiparse.types import ObjectTable

pytestmark = pytest.mark.kernels


def table_of(field: CellField) -> ObjectTable:
    labels, n = reference.components(field.classes > 0)
    return build_table(labels, n, field.classes, field.confidence, field.n_classes, od=field.od)


@given(cell_fields(), st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_rows(field: CellField, random: object) -> None:
    table = table_of(field)
    rows = list(range(len(table)))
    random.shuffle(rows)  # type: ignore[attr-defined]
    shuffled = table.take(np.array(rows, np.int64))
    assert object_set_digest(shuffled) == object_set_digest(table)
    assert object_set_digest(shuffled, columns=True) == object_set_digest(table, columns=True)


def test_the_digest_tells_class_outline_and_number_apart() -> None:
    mask = np.array([[1, 1, 0, 1]], np.uint8)
    labels, n = reference.components(mask > 0)
    table = build_table(labels, n, mask, mask * 100, 2)
    found = {object_set_digest(table), object_set_digest(table.take(np.array([0]))), object_set_digest(ObjectTable())}
    found.add(object_set_digest(replace(table, class_id=table.class_id + np.uint8(1))))
    found.add(object_set_digest(replace(table, coords=table.coords + np.int32(1))))
    assert len(found) == 5


def test_scores_enter_only_when_asked_for() -> None:
    mask = np.ones((2, 2), np.uint8)
    one, other = (build_table(mask.astype(np.int32), 1, mask, mask * c, 1) for c in (100, 200))
    assert object_set_digest(one) == object_set_digest(other)
    assert object_set_digest(one, columns=True) != object_set_digest(other, columns=True)
    darker = replace(one, mean_od=np.full(1, 0.5, np.float32))
    assert object_set_digest(one, columns=True) != object_set_digest(darker, columns=True)
