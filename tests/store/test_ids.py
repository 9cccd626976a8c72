from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.store.tables import PROMPTS, blobs, masks, table_of
from wsiparse.export import reference
from wsiparse.store.ids import canonical_ring, object_id, object_ids
from wsiparse.types import ObjectTable

rings = hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(-3, 3)).map(
    lambda points: np.concatenate([points, points[:1]])
)


@given(rings)
def test_the_canonical_ring_equals_the_smallest_of_all_rotations(ring: NDArray[np.int32]) -> None:
    np.testing.assert_array_equal(canonical_ring(ring), reference.canonical_ring(ring))


@given(rings, st.integers(0, 8), st.booleans())
def test_start_and_direction_do_not_change_the_canonical_ring(ring: NDArray[np.int32], turn: int, back: bool) -> None:
    points = np.roll(ring[:-1], turn, axis=0)[:: -1 if back else 1]
    np.testing.assert_array_equal(canonical_ring(np.concatenate([points, points[:1]])), canonical_ring(ring))


@given(masks())
def test_ids_of_a_table_equal_ids_made_one_by_one(mask: NDArray[np.bool_]) -> None:
    table = table_of(mask, origin=(5, 70_000))
    found = [uuid.UUID(bytes=row.tobytes()) for row in object_ids(table, PROMPTS, "fingerprint é")]
    assert found == reference.ids(table, PROMPTS, "fingerprint é")
    assert all(i.version == 5 and i.variant == uuid.RFC_4122 for i in found)
    one = object_id("fingerprint é", PROMPTS[int(table.class_id[0]) - 1].class_name, reference.rings_of(table, 0)[0])
    assert one == found[0]


def test_ids_are_distinct_and_depend_on_slide_class_and_place() -> None:
    table = blobs()
    base = {row.tobytes() for row in object_ids(table, PROMPTS, "a")}
    assert len(base) == len(table)
    moved = replace(table, coords=table.coords + np.int32(1))
    other_class = replace(table, class_id=(4 - table.class_id).astype(np.uint8))
    for changed, fingerprint in ((table, "b"), (moved, "a"), (other_class, "a")):
        assert not base & {row.tobytes() for row in object_ids(changed, PROMPTS, fingerprint)}


def test_ids_never_change_between_versions() -> None:
    ring = np.array([[2, 1], [4, 1], [4, 3], [2, 3], [2, 1]])
    assert str(object_id("slide", "Nucleus", ring)) == "8fe5a2b7-9d5e-5f3a-93fc-2fd328e4d383"


def test_an_empty_table_has_no_ids() -> None:
    assert object_ids(ObjectTable(), PROMPTS, "a").shape == (0, 16)


@pytest.mark.parametrize(
    "ring",
    [
        np.zeros((4, 3), np.int32),
        np.array([[0, 0], [1, 0], [1, 1]], np.int32),
        np.array([[0.5, 0], [1, 0], [0.5, 0]]),
        np.array([[2**31, 0], [1, 0], [2**31, 0]]),
        np.zeros((0, 2), np.int32),
    ],
)
def test_what_is_no_ring_of_pixels_is_refused(ring: NDArray[np.generic]) -> None:
    with pytest.raises(ValueError, match="ring"):
        canonical_ring(ring)  # type: ignore[arg-type]
