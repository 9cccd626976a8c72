from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.reference import writing as reference
from tests.store.tables import blobs, table_of
from tests.strategies import comb, masks
from wsiparse.export import raster_kernels
from wsiparse.export.raster import OutlineSweep, RunQueue, level_size
from wsiparse.store.tables import raster_sorted
from wsiparse.types import ObjectTable

pytestmark = pytest.mark.kernels


def ids_of(table: ObjectTable) -> NDArray[np.int32]:
    return np.arange(1, len(table) + 1, dtype=np.int32)


def swept(table: ObjectTable, size: tuple[int, int], stops: list[int]) -> NDArray[np.int32]:
    """All runs of a table whose rows are handed over one by one, as late as allowed."""
    sweep, runs, taken = OutlineSweep(size), [], 0
    for stop in stops:
        while taken < len(table) and table.first_px[taken, 0] < stop:
            sweep.add(table.take(np.array([taken])), np.array([taken + 1], np.int32))
            taken += 1
        runs.append(sweep.band(stop))
    return np.concatenate(runs)


def painted(runs: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    image = np.zeros(size[::-1], np.int32)
    raster_kernels.paint_runs(image, runs, 0)
    return image


@st.composite
def scenes(draw: st.DrawFn) -> tuple[ObjectTable, tuple[int, int], list[int]]:
    """Objects on a canvas, and where its bands of rows end."""
    mask = draw(masks(20).filter(lambda m: bool(m.any())))
    room = draw(st.tuples(*[st.integers(0, 3)] * 4))
    table = raster_sorted(table_of(mask, origin=(room[0], room[1])))
    width, height = mask.shape[1] + room[0] + room[2], mask.shape[0] + room[1] + room[3]
    cuts = draw(st.lists(st.integers(1, height), unique=True, max_size=6).map(sorted))
    return table, (width, height), [*(c for c in cuts if c < height), height]


@given(scenes())
def test_swept_outlines_equal_the_pixels_inside_them(scene: tuple[ObjectTable, tuple[int, int], list[int]]) -> None:
    table, size, stops = scene
    runs = swept(table, size, stops)
    np.testing.assert_array_equal(painted(runs, size), reference.label_image(table, ids_of(table), size))
    assert (np.diff(runs[:, 0]) >= 0).all()
    assert int((runs[:, 2] - runs[:, 1]).sum()) == int(table.area_px.sum())


@given(scenes(), st.integers(0, 6), st.sampled_from((1, 3, 8, 64)))
def test_coarser_levels_show_the_pixels_that_the_reference_looks_up(
    scene: tuple[ObjectTable, tuple[int, int], list[int]], level: int, edge: int
) -> None:
    table, size, stops = scene
    coarse = level_size(size, level)
    queue, rows = RunQueue(size, level, edge), coarse[1]
    for start, stop in pairwise([0, *stops]):
        runs = swept(table, size, stops)
        queue.add(runs[(runs[:, 0] >= start) & (runs[:, 0] < stop)])
    image = np.zeros(coarse[::-1], np.int32)
    for stop in [*range(edge, rows, edge), rows]:
        pieces, offsets = queue.take(stop)
        for column, (a, b) in enumerate(pairwise(offsets)):
            tile = image[:stop, column * edge : (column + 1) * edge]
            assert (pieces[a:b, 2] <= tile.shape[1]).all()
            raster_kernels.paint_runs(tile, pieces[a:b], 0)
    expected = reference.coarser(reference.label_image(table, ids_of(table), size), level)
    np.testing.assert_array_equal(image, expected)
    assert len(queue.take(rows)[0]) == 0


@pytest.mark.parametrize("teeth", [63, 64, 66, 301])
def test_an_object_that_a_row_crosses_any_number_of_times_is_exact(teeth: int) -> None:
    table = table_of(comb(5, teeth))
    assert len(table) == 1
    np.testing.assert_array_equal(painted(swept(table, (teeth, 5), [2, 5]), (teeth, 5)), comb(5, teeth))


def test_objects_with_holes_over_many_bands_equal_the_reference() -> None:
    table = raster_sorted(blobs(120, seed=4))
    assert np.diff(table.polygon_offsets).max() > 1
    expected = reference.label_image(table, ids_of(table), (120, 120))
    for step in (1, 7, 120):
        runs = swept(table, (120, 120), [*range(step, 120, step), 120])
        np.testing.assert_array_equal(painted(runs, (120, 120)), expected)


def test_what_is_kept_is_what_reaches_below() -> None:
    table = raster_sorted(blobs(120, seed=4))
    sweep = OutlineSweep((120, 120))
    sweep.add(table, ids_of(table))
    kept = []
    for stop in range(10, 121, 10):
        sweep.band(stop)
        kept.append(sum(map(len, sweep._edges)))
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] == 0


def test_a_level_covers_the_canvas_to_its_last_pixel() -> None:
    assert level_size((1, 1), 5) == (1, 1)
    assert level_size((1024, 1025), 10) == (1, 2)
    assert [level_size((5, 4), level) for level in range(4)] == [(5, 4), (3, 2), (2, 1), (1, 1)]


def test_outlines_that_cannot_be_rasterised_are_refused() -> None:
    table = table_of(np.ones((3, 3), bool), origin=(2, 5))
    one = ids_of(table)
    with pytest.raises(ValueError, match="leaves the canvas of 4 x 9 px"):
        OutlineSweep((4, 9)).add(table, one)
    with pytest.raises(ValueError, match="leaves the canvas"):
        OutlineSweep((9, 7)).add(table, one)
    sweep = OutlineSweep((9, 9))
    sweep.band(6)
    with pytest.raises(ValueError, match="begins in row 5, above row 6"):
        sweep.add(table, one)
    table.coords[1, 0] += 1
    table.coords[1, 1] += 1
    with pytest.raises(ValueError, match="neither horizontal nor vertical"):
        OutlineSweep((9, 9)).add(table, one)
