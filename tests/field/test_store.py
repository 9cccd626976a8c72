from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.storage import ZipStore

from wsiparse.errors import FieldError
from wsiparse.field import store
from wsiparse.field.store import Field, PartCache, PartReader, PartWriter, memory_field, parts_field
from wsiparse.field.tiles import FieldTile
from wsiparse.types import Box, TileGrid


def painted(grid: TileGrid, n_regions: int, skip: set[int], seed: int) -> tuple[np.ndarray, list[FieldTile]]:
    """A random canvas (4 + R, h, w; OD last) and its tiles; skipped tiles are background."""
    rng = np.random.default_rng(seed)
    canvas = rng.integers(0, 4, (4 + n_regions, grid.canvas[1], grid.canvas[0])).astype(np.uint8)
    tiles = []
    for tile in grid:
        c = tile.core
        part = canvas[:, c.y : c.y1, c.x : c.x1]
        if tile.index in skip:
            part[:] = 0
        else:
            tiles.append(FieldTile(tile.index, part[:3].copy(), part[3:-1].copy(), part[-1].copy()))
    return canvas, tiles


def write_part(path: Path, tiles: list[FieldTile], grid: TileGrid, n_regions: int, room: int | None = None) -> None:
    part = PartWriter(grid, n_regions, len(tiles) if room is None else room)
    for tile in tiles:
        part.add(tile)
    part.write(path)


def planes(field: Field, box: Box) -> np.ndarray:
    """What `painted` paints, read back."""
    cells, regions, od = field.read(box)
    return np.concatenate([cells, regions, od[None]])


grids = st.builds(
    TileGrid,
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.just(16),
    st.integers(0, 5),
)


@given(grids, st.integers(0, 2), st.sets(st.integers(0, 30)), st.data())
def test_any_box_of_a_memory_field_equals_the_canvas(
    grid: TileGrid, n: int, skip: set[int], data: st.DataObject
) -> None:
    canvas, tiles = painted(grid, n, skip, 1)
    field = memory_field(grid, n, tiles)
    w, h = grid.canvas
    x, y = data.draw(st.integers(0, w - 1)), data.draw(st.integers(0, h - 1))
    box = Box(x, y, data.draw(st.integers(1, w - x)), data.draw(st.integers(1, h - y)))
    np.testing.assert_array_equal(planes(field, box), canvas[:, box.y : box.y1, box.x : box.x1])


@pytest.mark.parametrize("n_regions", [0, 2])
def test_published_parts_read_back_exactly(tmp_path: Path, n_regions: int) -> None:
    grid = TileGrid((70, 45), 24, 4)
    canvas, tiles = painted(grid, n_regions, {2, 5}, 2)
    write_part(tmp_path / "a.zip", tiles[:3], grid, n_regions)
    write_part(tmp_path / "b.zip", tiles[3:], grid, n_regions, room=30)  # some did not come
    first = {tile.index for tile in tiles[:3]}
    shelf = PartCache(grid)
    field = parts_field(grid, n_regions, shelf, lambda i: tmp_path / ("a.zip" if i in first else "b.zip"))
    np.testing.assert_array_equal(planes(field, Box(0, 0, 70, 45)), canvas)
    shelf.close()


def test_a_shelf_keeps_few_parts_open_and_reads_them_all(tmp_path: Path) -> None:
    grid = TileGrid((24 * 40, 24), 24, 0)
    canvas, tiles = painted(grid, 0, set(), 3)
    for tile in tiles:
        write_part(tmp_path / f"{tile.index}.zip", [tile], grid, 0)
    shelf = PartCache(grid)
    before = len(list(Path("/proc/self/fd").iterdir())) if Path("/proc/self/fd").is_dir() else 0
    cells, _, _ = parts_field(grid, 0, shelf, lambda i: tmp_path / f"{i}.zip").read(Box(0, 0, 24 * 40, 24))
    np.testing.assert_array_equal(cells, canvas[:3])
    if before:
        assert len(list(Path("/proc/self/fd").iterdir())) - before <= 20
    shelf.close()


def test_a_part_that_is_not_one_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "torn.zip"
    path.write_bytes(b"PK\x03\x04 torn")
    with pytest.raises(FieldError, match=r"torn\.zip: not a readable field part .* Delete it and run again"):
        PartReader(path, TileGrid((8, 8), 8, 0))


def test_a_part_of_another_layout_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = TileGrid((24, 24), 24, 0)
    _, tiles = painted(grid, 0, set(), 3)
    monkeypatch.setattr(store, "VERSION", 1)
    write_part(tmp_path / "old.zip", tiles, grid, 0)
    monkeypatch.undo()
    with pytest.raises(
        FieldError, match=r"old\.zip: a field part of layout version 1, this program reads 2\. Delete it"
    ):
        PartReader(tmp_path / "old.zip", grid)


def test_a_part_without_a_version_is_of_the_first_layout(tmp_path: Path) -> None:
    with ZipStore(tmp_path / "old.zip", mode="w") as old:
        zarr.create_group(old)
    with pytest.raises(FieldError, match="layout version 1"):
        PartReader(tmp_path / "old.zip", TileGrid((8, 8), 8, 0))


def test_planes_of_different_size_are_refused() -> None:
    cells, regions, od = np.zeros((3, 4, 5), np.uint8), np.zeros((1, 4, 5), np.uint8), np.zeros((4, 5), np.uint8)
    FieldTile(0, cells, regions, od)
    for wrong in ((cells[:2], regions, od), (cells, regions[:, 1:], od), (cells, regions, od[1:])):
        with pytest.raises(ValueError, match=r"cells"):
            FieldTile(0, *wrong)


def test_a_box_outside_the_canvas_is_a_callers_error() -> None:
    field = memory_field(TileGrid((8, 8), 8, 0), 0, [])
    with pytest.raises(ValueError, match="not inside the canvas"):
        field.read(Box(4, 4, 8, 2))
