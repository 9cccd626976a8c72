from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.store.tables import PROMPTS, blobs, same
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable

TABLE = blobs()


def test_a_good_table_passes_without_copies() -> None:
    found = checked(TABLE, PROMPTS)
    assert same(found, TABLE)
    assert np.shares_memory(found.coords, TABLE.coords)
    assert len(checked(ObjectTable(), PROMPTS)) == 0


def test_read_only_strided_and_wider_columns_are_brought_into_the_common_layout() -> None:
    odd = replace(TABLE, coords=np.asfortranarray(TABLE.coords), score=TABLE.score.astype(np.float64))
    odd.class_id.flags.writeable = False
    try:
        found = checked(odd, PROMPTS)
    finally:
        odd.class_id.flags.writeable = True
    assert same(found, TABLE)
    assert found.coords.flags.c_contiguous
    assert found.class_id.flags.writeable


def broken_ring(table: ObjectTable) -> ObjectTable:
    coords = table.coords.copy()
    coords[0, 0] += 1
    return replace(table, coords=coords)


def short_ring(table: ObjectTable) -> ObjectTable:
    offsets = table.ring_offsets.copy()
    offsets[1] = 3
    return replace(table, ring_offsets=offsets)


@pytest.mark.parametrize(
    ("table", "match"),
    [
        (broken_ring(TABLE), "closed"),
        (short_ring(TABLE), "four vertices"),
        (replace(TABLE, class_id=np.zeros(len(TABLE), np.uint8)), "class ids"),
        (replace(TABLE, class_id=np.full(len(TABLE), 4, np.uint8)), "class ids"),
        (replace(TABLE, coords=TABLE.coords.astype(np.float64)), "should be int32"),
        (replace(TABLE, coords=TABLE.coords[:, [0, 1, 1]]), "shape"),
        (replace(TABLE, centroid=TABLE.centroid[:, 0]), "shape"),
        (replace(TABLE, polygon_offsets=TABLE.polygon_offsets * 0 + TABLE.polygon_offsets[-1]), "start at 0"),
    ],
)
def test_a_table_that_compiled_code_would_trip_over_is_refused(table: ObjectTable, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        checked(table, PROMPTS)


def test_coordinates_further_apart_than_a_slide_are_refused() -> None:
    coords = TABLE.coords.copy()
    coords[TABLE.ring_offsets[0] : TABLE.ring_offsets[1]] += np.int32(2**30)
    coords[TABLE.ring_offsets[1] : TABLE.ring_offsets[2]] -= np.int32(2**30 + 2**20)
    with pytest.raises(ValueError, match="spread"):
        checked(replace(TABLE, coords=coords), PROMPTS)


@given(st.data())
def test_a_run_of_rows_equals_taking_them(data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(TABLE)))
    stop = data.draw(st.integers(start, len(TABLE)))
    assert same(TABLE.rows(start, stop), TABLE.take(np.arange(start, stop)))
