"""A box put together from tiles is the piece of the picture; inner tiles are those that no neighbour touches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures_slides import textured
from wsiparse.slides.kernels import put_tiles
from wsiparse.slides.tilebox import TileBox
from wsiparse.slides.tilecache import TileKey
from wsiparse.types import Box

#: Of 11 x 9 tiles of 7 x 5 px.
TILE = (7, 5)
PICTURE = textured(45, 77)

boxes = st.builds(Box, st.integers(0, 50), st.integers(0, 30), st.integers(1, 27), st.integers(1, 15))


def tile_of(key: TileKey) -> np.ndarray:
    (width, height), (_, row, column) = TILE, key
    return PICTURE[row * height : (row + 1) * height, column * width : (column + 1) * width].copy()


@pytest.mark.kernels
@given(box=boxes, most=st.integers(1, 40), data=st.data())
def test_every_tile_is_in_one_group_and_all_make_the_box(box: Box, most: int, data: st.DataObject) -> None:
    picture = TileBox(3, box, TILE)
    seen: list[TileKey] = []
    last = picture.rows.start
    for rows, outer, inner in picture.groups(most):
        assert rows.start == last
        last = rows.stop
        assert len(outer) + len(inner) <= most or len(rows) == 1
        assert {key.row for key in [*outer, *inner]} == set(rows)
        for keys in (outer, inner):
            assert keys == sorted(keys)
            keys = data.draw(st.permutations(keys))
            cut = data.draw(st.integers(0, len(keys)))
            for some in (keys[:cut], keys[cut:]):
                picture.put([(key, tile_of(key)) for key in some])
            seen += keys
    assert last == picture.rows.stop
    assert sorted(seen) == [TileKey(3, row, column) for row in picture.rows for column in picture.columns]
    np.testing.assert_array_equal(picture.pixels, PICTURE[box.y : box.y1, box.x : box.x1])


@given(box=boxes, overlap=st.floats(0, 1 / 8))
def test_boxes_beside_one_want_none_of_its_inner_tiles_and_those_below_only_its_seam(box: Box, overlap: float) -> None:
    picture = TileBox(0, box, TILE)
    shared_x, shared_y = int(box.width * overlap), int(box.height * overlap)
    for column in picture.inner_columns:
        left, right = column * TILE[0], (column + 1) * TILE[0]
        assert box.x + shared_x <= left
        assert right <= box.x1 - shared_x
    for row in range(picture.rows.start, picture.seam_row):
        assert (row + 1) * TILE[1] <= box.y1 - shared_y
    assert picture.tiles_beside == sum(column not in picture.inner_columns for column in picture.columns) * len(
        picture.rows
    )


@given(box=boxes, data=st.data())
def test_rows_of_tiles_are_filled_with_a_colour_and_no_other(box: Box, data: st.DataObject) -> None:
    picture = TileBox(0, box, TILE)
    picture.pixels[:] = 9
    first = data.draw(st.integers(picture.rows.start, picture.rows.stop - 1))
    rows = range(first, data.draw(st.integers(first + 1, picture.rows.stop)))
    picture.fill(rows, (1, 2, 3))
    for y in range(box.height):
        expected = (1, 2, 3) if (y + box.y) // TILE[1] in rows else (9, 9, 9)
        assert (picture.pixels[y] == expected).all()


@pytest.mark.kernels
@given(
    corners=st.lists(st.tuples(st.integers(-12, 20), st.integers(-12, 20)), max_size=3),
    size=st.tuples(st.integers(1, 16), st.integers(1, 16)),
)
def test_tiles_are_put_where_indexing_would_put_them(corners: list[tuple[int, int]], size: tuple[int, int]) -> None:
    tiles = tuple(textured(6, 9) + np.uint8(k) for k in range(3))
    wide = np.zeros((size[0] + 50, size[1] + 50, 3), np.uint8)
    for (y, x), tile in zip(corners, tiles, strict=False):
        wide[y + 20 : y + 26, x + 20 : x + 29] = tile
    out = np.zeros((size[0], size[1] * 3), np.uint8)
    put_tiles(tiles, np.array(corners, np.int64).reshape(-1, 2), out)
    np.testing.assert_array_equal(out.reshape(*size, 3), wide[20 : 20 + size[0], 20 : 20 + size[1]])
