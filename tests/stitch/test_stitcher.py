"""The same objects whatever the blocks, their order, the threads and when memory of finished ones is given up."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numba
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.benchmarks.nuclei_field import NucleiField
from tests.reference.canonical import object_set_digest
from tests.reference.stitch import whole_canvas
from tests.strategies import SHAPES, CellField, cell_fields, comb, full, planes_of, ring, split_settings, two_discs
from wsiparse.objects.split import SplitPixels
from wsiparse.stitch import Stitcher
from wsiparse.types import OD_STEPS, ObjectTable

pytestmark = pytest.mark.kernels

#: Interpreted kernels take a hundred times longer: canvases shrink with them.
SHRINK = 12 if numba.config.DISABLE_JIT else 1


def stitch(
    field: CellField,
    block_px: int,
    split: SplitPixels | None,
    order: Iterable[int] | None = None,
    compact_after: Iterable[int] = (),
    threads: int = 1,
    min_area_px: int = 0,
) -> ObjectTable:
    """All objects of a field by way of blocks; open components are compacted after the given numbers of blocks."""
    height, width = field.classes.shape
    stitcher = Stitcher((width, height), block_px, field.n_classes, split, min_area_px)

    def digest(i: int) -> object:
        box = stitcher.box(i)
        parts = [p[box.y : box.y1, box.x : box.x1] for p in field.planes]
        return stitcher.digest(i, *parts)

    order = list(range(len(stitcher)) if order is None else order)
    tables = []
    with ThreadPoolExecutor(threads) as pool:
        for count, block in enumerate(pool.map(digest, order), 1):
            tables.append(stitcher.add(block))  # type: ignore[arg-type]
            if count in compact_after:
                stitcher._carry.compact()
    assert stitcher.finished
    assert stitcher.open_px == 0
    assert stitcher.objects == sum(len(t) for t in tables)
    return ObjectTable.concat(tables)


def digest_of(table: ObjectTable) -> str:
    return object_set_digest(table, columns=True)


def blocks_of(field: CellField, block_px: int) -> int:
    height, width = field.classes.shape
    return -(-height // block_px) * -(-width // block_px)


@given(cell_fields(), st.one_of(st.none(), split_settings()), st.integers(3, 40), st.data())
@settings(max_examples=150)
def test_objects_equal_the_whole_canvas_for_any_block_order_and_compaction(
    field: CellField, split: SplitPixels | None, block_px: int, data: st.DataObject
) -> None:
    order = data.draw(st.permutations(range(blocks_of(field, block_px))))
    compact = data.draw(st.sets(st.sampled_from(range(1, len(order) + 1))))
    found = stitch(field, block_px, split, order, compact)
    expected = whole_canvas(*field.planes, field.n_classes, split)
    assert digest_of(found) == digest_of(expected)


@given(cell_fields(16), st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_regions_with_holes_equal_the_whole_canvas_at_tiny_blocks(
    field: CellField, block_px: int, random: object
) -> None:
    order = list(range(blocks_of(field, block_px)))
    random.shuffle(order)  # type: ignore[attr-defined]
    found = stitch(field, block_px, None, order, min_area_px=2)
    assert digest_of(found) == digest_of(whole_canvas(*field.planes, field.n_classes, None, min_area_px=2))


@pytest.mark.parametrize(
    "split", [None, SplitPixels(), SplitPixels(max_component_px=40)], ids=["region", "cell", "capped"]
)
@pytest.mark.parametrize("shape", SHAPES)
def test_named_shapes_equal_the_whole_canvas_compacted_at_every_block(shape: object, split: SplitPixels | None) -> None:
    field = planes_of(shape(21, 26), 3)  # type: ignore[operator]
    expected = whole_canvas(*field.planes, field.n_classes, split)
    random = np.random.default_rng(1)
    for block_px in (4, 7, 16, 26):
        order = random.permutation(blocks_of(field, block_px)).tolist()
        found = stitch(field, block_px, split, order, compact_after=range(1, len(order) + 1))
        assert digest_of(found) == digest_of(expected)
        assert found.area_px.sum() == (field.classes > 0).sum()


@pytest.fixture(scope="module")
def nuclei() -> CellField:
    """Touching nuclei of two classes with the odd speck, 1340 x 1110 px."""
    width, height = 1340 // SHRINK, 1110 // SHRINK
    mask = NucleiField((1385, 1385)).mask(20, 30, width, height) > 0
    mask |= np.random.default_rng(0).random(mask.shape) < 0.002
    return planes_of(mask, 5, n_classes=2)


@pytest.mark.parametrize("kind", ["cells", "cells on a stored landscape", "regions"])
def test_one_hash_for_all_block_sizes_threads_orders_and_compactions(nuclei: CellField, kind: str) -> None:
    split = {"cells": SplitPixels(), "regions": None}.get(kind, SplitPixels("stored", persistence=40))
    random = np.random.default_rng(2)
    expected = digest_of(stitch(nuclei, 4096, split))
    for block_px in (333 // SHRINK, 512 // SHRINK, 777 // SHRINK, 1024 // SHRINK, 2048 // SHRINK):
        n = blocks_of(nuclei, block_px)
        for threads in (1, 2, 4):
            assert digest_of(stitch(nuclei, block_px, split, threads=threads)) == expected
            order = random.permutation(n).tolist()
            assert digest_of(stitch(nuclei, block_px, split, order, threads=threads)) == expected
        assert digest_of(stitch(nuclei, block_px, split, order, compact_after=range(1, n + 1))) == expected


def od_sums(table: ObjectTable) -> list[int]:
    """Summed bytes of optical density of each object: float32 keeps them exact up to 2^23."""
    return np.rint(table.mean_od.astype(np.float64) * OD_STEPS * table.area_px).astype(np.int64).tolist()


@given(cell_fields(), st.one_of(st.none(), split_settings()), st.integers(3, 40))
@settings(max_examples=100)
def test_optical_density_of_all_objects_adds_up_to_that_of_the_foreground(
    field: CellField, split: SplitPixels | None, block_px: int
) -> None:
    split = split and replace(split, min_area_px=0, min_confidence=0.0)
    table = stitch(field, block_px, split)
    assert sum(od_sums(table)) == int(field.od[field.classes > 0].sum(dtype=np.int64))


@given(cell_fields(), st.one_of(st.none(), split_settings()), st.integers(3, 12), st.integers(3, 40))
@settings(max_examples=50)
def test_mean_od_does_not_depend_on_the_blocks(
    field: CellField, split: SplitPixels | None, block_px: int, other_px: int
) -> None:
    one, other = (stitch(field, px, split) for px in (block_px, other_px))
    one, other = (t.take(t.raster_order()) for t in (one, other))
    assert one.mean_od.tobytes() == other.mean_od.tobytes()


def test_optical_density_of_the_background_is_nobodys() -> None:
    mask = two_discs(20, 39)
    field = planes_of(mask, 0, n_classes=1)
    bright = replace(field, od=field.od * mask)
    assert digest_of(stitch(field, 7, SplitPixels())) == digest_of(stitch(bright, 7, SplitPixels()))


def test_polygons_cover_the_foreground_once_and_are_valid(nuclei: CellField) -> None:
    for split in (SplitPixels(), None):
        table = stitch(nuclei, 512 // SHRINK, split)
        polygons = shapely.from_ragged_array(
            shapely.GeometryType.POLYGON, table.coords.astype(np.float64), (table.ring_offsets, table.polygon_offsets)
        )
        assert shapely.is_valid(polygons).all()
        np.testing.assert_array_equal(shapely.area(polygons), table.area_px)
        assert table.area_px.sum() == (nuclei.classes > 0).sum()
        assert len(np.unique(table.first_px, axis=0)) == len(table)


def test_100000_specks_are_as_many_objects() -> None:
    y, x = np.indices((640 // SHRINK, 640 // SHRINK))
    field = planes_of((y % 2 == 0) & (x % 2 == 0), 0, n_classes=1)
    table = stitch(field, 100 // SHRINK, SplitPixels())
    assert len(table) == (field.classes > 0).sum()
    assert (table.area_px == 1).all()
    if SHRINK == 1:
        assert len(table) == 102_400


def test_a_comb_is_one_region_only_once_its_last_block_is_there() -> None:
    field = planes_of(comb(40, 41), 0, n_classes=1)
    stitcher = Stitcher((41, 40), 10, 1, None)
    found = []
    for i in range(len(stitcher)):
        box = stitcher.box(i)
        part = field.classes[box.y : box.y1, box.x : box.x1]
        found.append(len(stitcher.add(stitcher.digest(i, part, part, part))))
    assert found[-1] == 1
    assert sum(found) == 1


def test_an_object_is_handed_out_as_soon_as_its_last_neighbour_is_there() -> None:
    """Blocks 0 and 1 hold a nucleus between them; block 3 below is not needed for it, block 2 is empty."""
    mask = np.zeros((20, 20), np.uint8)
    mask[4:8, 8:12] = 1
    stitcher = Stitcher((20, 20), 10, 1, SplitPixels())
    assert len(stitcher.add(stitcher.digest(0, *[mask[:10, :10]] * 3))) == 0
    assert stitcher.open_px == 8
    table = stitcher.add(stitcher.digest(1, *[mask[:10, 10:]] * 3))
    assert table.coords.tolist() == [[8, 4], [12, 4], [12, 8], [8, 8], [8, 4]]
    assert stitcher.open_px == 0
    assert stitcher.missing().tolist() == [2, 3]
    stitcher.add_empty(2)
    stitcher.add_empty(3)
    assert stitcher.finished


@given(cell_fields(), st.integers(3, 12), st.randoms(use_true_random=False))
@settings(max_examples=50)
def test_blocks_without_foreground_may_be_named_instead_of_digested(
    field: CellField, block_px: int, random: object
) -> None:
    height, width = field.classes.shape
    stitcher = Stitcher((width, height), block_px, field.n_classes, SplitPixels())
    order = list(range(len(stitcher)))
    random.shuffle(order)  # type: ignore[attr-defined]
    tables = []
    for i in order:
        box = stitcher.box(i)
        parts = [p[box.y : box.y1, box.x : box.x1] for p in field.planes]
        tables.append(stitcher.add(stitcher.digest(i, *parts)) if parts[0].any() else stitcher.add_empty(i))
    assert digest_of(ObjectTable.concat(tables)) == digest_of(stitch(field, block_px, SplitPixels()))


def test_dropped_and_whole_components_are_counted_once_at_any_tiling() -> None:
    mask = np.zeros((12, 30), np.bool_)
    mask[1:11, 1:25] = True
    mask[5, 27] = True
    field = planes_of(mask, 0, n_classes=1)
    split = SplitPixels(min_area_px=2, max_component_px=100)
    for block_px in (5, 12, 30):
        stitcher = Stitcher((30, 12), block_px, 1, split)
        for i in range(len(stitcher)):
            box = stitcher.box(i)
            stitcher.add(stitcher.digest(i, *(p[box.y : box.y1, box.x : box.x1] for p in field.planes)))
        assert (stitcher.objects, stitcher.dropped, stitcher.whole) == (1, 1, 1)


def test_a_giant_gives_up_its_bytes_and_keeps_its_classes() -> None:
    """A component above the size limit is carried as runs and sums only, and comes out with the right class shares."""
    height, width = 64, 4096 // SHRINK // 16 * 16
    classes = np.ones((height, width), np.uint8)
    classes[:, : width // 4] = 2
    field = CellField(classes, np.full_like(classes, 100), 40 * classes, classes, 2)
    split = SplitPixels(max_component_px=1000)
    table = stitch(field, 16, split, order=np.random.default_rng(0).permutation(4 * (width // 16)).tolist())
    assert digest_of(table) == digest_of(whole_canvas(*field.planes, 2, split))
    assert table.class_share.tolist() == [pytest.approx([0.75, 0.25], abs=0.01)]
    assert table.mean_od.tolist() == [pytest.approx(0.5)]


def test_the_carry_follows_the_frontier_not_the_objects(nuclei: CellField) -> None:
    height, width = nuclei.classes.shape
    stitcher = Stitcher((width, height), 64 // min(SHRINK, 4), nuclei.n_classes, SplitPixels())
    most = 0
    for i in range(len(stitcher)):
        box = stitcher.box(i)
        stitcher.add(stitcher.digest(i, *(p[box.y : box.y1, box.x : box.x1] for p in nuclei.planes)))
        most = max(most, stitcher.open_px)
    assert 0 < most < 0.35 * (nuclei.classes > 0).sum()


@pytest.mark.parametrize("side", ["left", "top", "right", "bottom"])
def test_a_region_round_the_canvas_border_meets_itself(side: str) -> None:
    field = planes_of(ring(30, 30), 0, n_classes=1)
    blocks = {"left": 12, "top": 2, "right": 14, "bottom": 22}  # that side's middle block comes last
    order = [i for i in range(25) if i != blocks[side]] + [blocks[side]]
    table = stitch(field, 6, None, order)
    assert len(table) == 1
    assert table.coords.tolist()[:5] == [[0, 0], [30, 0], [30, 30], [0, 30], [0, 0]]


def test_a_full_canvas_is_a_square() -> None:
    table = stitch(planes_of(full(33, 33), 0, n_classes=1), 8, None)
    assert table.coords.tolist() == [[0, 0], [33, 0], [33, 33], [0, 33], [0, 0]]
    assert table.centroid.tolist() == [[16.5, 16.5]]


PART = np.ones((4, 4), np.uint8)


@pytest.mark.parametrize(
    ("planes", "says"),
    [
        ((PART[:3], PART, PART, PART), "classes must be"),
        ((PART.astype(np.int32), PART, PART, PART), "classes must be"),
        ((PART, PART.astype(np.float32), PART, PART), "confidence must be"),
        ((PART, PART, PART.astype(np.float32), PART), "od must be"),
        ((PART, PART, PART, PART[:, :2]), "landscape must be"),
        ((PART, PART, PART, None), "got None"),
        ((PART * 3, PART, PART, PART), "class 3 is outside"),
    ],
)
def test_planes_that_do_not_fit_the_block_are_refused(planes: tuple[np.ndarray, ...], says: str) -> None:
    stitcher = Stitcher((4, 4), 4, 2, SplitPixels("stored"))
    with pytest.raises(ValueError, match=says):
        stitcher.digest(0, *planes)


def test_a_block_arrives_once_and_must_exist() -> None:
    stitcher = Stitcher((8, 4), 4, 1, None)
    digest = stitcher.digest(0, PART, PART, PART)
    stitcher.add(digest)
    with pytest.raises(ValueError, match="arrived before"):
        stitcher.add(digest)
    with pytest.raises(ValueError, match="arrived before"):
        stitcher.add_empty(0)
    with pytest.raises(ValueError, match="block 2 of 2"):
        stitcher.add_empty(2)
    with pytest.raises(IndexError):
        stitcher.box(2)


@pytest.mark.parametrize(
    ("canvas", "block_px", "n_classes", "min_area_px"),
    [
        ((0, 4), 4, 1, 0),
        ((4, 4), 0, 1, 0),
        ((4, 4), 4, 0, 0),
        ((4, 4), 4, 256, 0),
        ((2**31, 1), 4, 1, 0),
        ((4, 4), 4, 1, -1),
    ],
)
def test_impossible_canvases_are_refused(
    canvas: tuple[int, int], block_px: int, n_classes: int, min_area_px: int
) -> None:
    with pytest.raises(ValueError, match=r"canvas|tile|n_classes|min_area_px"):
        Stitcher(canvas, block_px, n_classes, None, min_area_px)


def test_planes_may_be_views_of_a_larger_field() -> None:
    field = planes_of(full(9, 9), 0, n_classes=1)
    wide = tuple(np.repeat(p, 2, axis=1) for p in field.planes)
    stitcher = Stitcher((9, 9), 9, 1, SplitPixels("stored"))
    table = stitcher.add(stitcher.digest(0, *(p[:, ::2] for p in wide)))
    assert digest_of(table) == digest_of(stitch(field, 9, SplitPixels("stored")))
