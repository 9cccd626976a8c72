"""Checkpoints of the carry: complete, checked, and refused when damaged."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import CellField, cell_fields, planes_of, ring
from wsiparse.errors import FieldError
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import BlockDigest, Stitcher
from wsiparse.stitch.checkpoint import pack, unpack

pytestmark = pytest.mark.kernels


def digest(stitcher: Stitcher, field: CellField, i: int) -> BlockDigest:
    box = stitcher.box(i)
    return stitcher.digest(i, *(p[box.y : box.y1, box.x : box.x1] for p in field.planes))


def half_done() -> Stitcher:
    field = planes_of(ring(20, 20), 0, n_classes=2)
    stitcher = Stitcher((20, 20), 6, 2, SplitPixels())
    for i in range(0, len(stitcher), 2):
        stitcher.add(digest(stitcher, field, i))
    return stitcher


@given(cell_fields(), st.integers(3, 9), st.data())
def test_a_restored_stitcher_is_in_the_same_state(field: CellField, block_px: int, data: st.DataObject) -> None:
    height, width = field.classes.shape
    stitcher = Stitcher((width, height), block_px, field.n_classes, SplitPixels())
    order = data.draw(st.permutations(range(len(stitcher))))
    for i in order[: data.draw(st.integers(0, len(order)))]:
        stitcher.add(digest(stitcher, field, i))
    restored = Stitcher.from_bytes(stitcher.to_bytes())
    assert restored.same_setup(stitcher)
    assert restored.open_px == stitcher.open_px
    assert restored.missing().tolist() == stitcher.missing().tolist()
    assert (restored.objects, restored.dropped, restored.whole) == (stitcher.objects, stitcher.dropped, stitcher.whole)
    assert restored.to_bytes() == stitcher.to_bytes()


def test_another_job_is_told_apart() -> None:
    one = Stitcher((20, 20), 6, 2, SplitPixels())
    assert one.same_setup(Stitcher((20, 20), 6, 2, SplitPixels()))
    assert not one.same_setup(Stitcher((20, 20), 7, 2, SplitPixels()))
    assert not one.same_setup(Stitcher((20, 20), 6, 2, SplitPixels(persistence=3.0)))
    assert not one.same_setup(Stitcher((20, 20), 6, 2, None))


def test_every_changed_byte_is_noticed() -> None:
    data = half_done().to_bytes()
    for at in range(0, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 0x10
        with pytest.raises(FieldError, match="stitch checkpoint"):
            Stitcher.from_bytes(bytes(changed))


def test_a_checkpoint_of_an_older_layout_is_told() -> None:
    data = half_done().to_bytes().replace(b"wsiparse stitch 2", b"wsiparse stitch 1", 1)
    with pytest.raises(FieldError, match=r"stitch 2.*found .*stitch 1.* Delete the checkpoint"):
        Stitcher.from_bytes(data)


@pytest.mark.parametrize("length", [0, 1, 17, 18, 49, 50, 60, -1])
def test_a_checkpoint_cut_short_is_noticed(length: int) -> None:
    with pytest.raises(FieldError, match="stitch checkpoint"):
        Stitcher.from_bytes(half_done().to_bytes()[:length])


def test_arrays_come_back_as_they_went() -> None:
    arrays = {
        "a": np.arange(6, dtype=np.int32).reshape(2, 3),
        "none": np.zeros((0, 3), np.int64),
        "b": np.ones(1, bool),
    }
    facts, found = unpack(pack({"x": [1, None]}, arrays))
    assert facts == {"x": [1, None]}
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype


def test_digests_travel_between_processes() -> None:
    field = planes_of(ring(20, 20), 0, n_classes=2)
    stitcher, other = (Stitcher((20, 20), 6, 2, SplitPixels()) for _ in range(2))
    for i in range(len(stitcher)):
        found = digest(stitcher, field, i)
        stitcher.add(found)
        other.add(pickle.loads(pickle.dumps(found)))
    assert other.to_bytes() == stitcher.to_bytes()
