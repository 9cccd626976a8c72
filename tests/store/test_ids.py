from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from tests.reference import writing as reference
from tests.store.tables import PROMPTS, blobs, masks, table_of
from wsiparse.store.ids import object_ids
from wsiparse.store.kernels import canonical_shells
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, Prompt, PromptSet

rings = hnp.arrays(np.int32, st.tuples(st.integers(1, 9), st.just(2)), elements=st.integers(-3, 3)).map(
    lambda points: np.concatenate([points, points[:1]])
)


def canonical_ring(ring: NDArray[np.int32]) -> NDArray[np.int32]:
    return canonical_shells(np.ascontiguousarray(ring), np.array([0, len(ring)]), np.array([0, 1]))[0]


def ids_of(table: ObjectTable, fingerprint: str) -> NDArray[np.uint8]:
    return object_ids(checked(table, PROMPTS), PROMPTS, fingerprint)


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
    found = [uuid.UUID(bytes=row.tobytes()) for row in ids_of(table, "fingerprint é")]
    assert found == reference.ids(table, PROMPTS, "fingerprint é")
    assert all(i.version == 5 and i.variant == uuid.RFC_4122 for i in found)


def test_ids_are_distinct_and_depend_on_slide_class_and_place() -> None:
    table = blobs()
    base = {row.tobytes() for row in ids_of(table, "a")}
    assert len(base) == len(table)
    moved = replace(table, coords=table.coords + np.int32(1))
    other_class = replace(table, class_id=(4 - table.class_id).astype(np.uint8))
    for changed, fingerprint in ((table, "b"), (moved, "a"), (other_class, "a")):
        assert not base & {row.tobytes() for row in ids_of(changed, fingerprint)}


def test_ids_never_change_between_versions() -> None:
    mask = np.zeros((4, 5), np.bool_)
    mask[1:3, 2:4] = True
    table, nuclei = table_of(mask), PromptSet((Prompt("nuclei", "Nucleus"),))
    [found] = object_ids(replace(table, class_id=np.ones(1, np.uint8)), nuclei, "slide")
    assert str(uuid.UUID(bytes=found.tobytes())) == "8fe5a2b7-9d5e-5f3a-93fc-2fd328e4d383"


def test_an_empty_table_has_no_ids() -> None:
    assert ids_of(ObjectTable(), "a").shape == (0, 16)
