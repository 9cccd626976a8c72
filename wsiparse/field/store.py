"""The class field as zip files of Zarr arrays: one part per chunk of tiles, read back by any box.

A part is one file (one inode on a shared file system, one atomic publish) with five arrays: `tiles` (n,) int64,
`cells` (n, 3, S, S) uint8, `regions` (n, R, S, S) uint8 and `od` (n, S, S) uint8, S = the grid's stride, one Zarr
chunk a tile, zstd; and `statistics` (n, P, 4) float32, P = 0 where the engine has none. Its attributes tell the
version of this layout. Tiles nobody wrote are background.
"""

from __future__ import annotations

import threading
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec
from zarr.storage import MemoryStore, ZipStore

from wsiparse.errors import FieldError
from wsiparse.field.tiles import FieldTile
from wsiparse.types import Box, TileGrid

__all__ = ["VERSION", "Field", "PartCache", "PartReader", "PartWriter", "memory_field", "parts_field"]

#: Of the layout of a part; parts of version 1 told none and had no optical density.
VERSION: Final = 2

#: Decoded tiles a field keeps; blocks are asked for in raster order, so neighbours are enough.
_KEEP = 16

#: Parts that are open at a time: neighbours in raster order are enough, and open files are limited.
_OPEN_PARTS = 16


class PartWriter:
    """A part under way: tiles are compressed as they come, so that a whole chunk of them takes little memory.

    Parameters
    ----------
    grid : which core holds which pixel
    n_regions : number of region layers
    room : most tiles that will come
    """

    def __init__(self, grid: TileGrid, n_regions: int, room: int) -> None:
        s, zstd = grid.stride, ZstdCodec(level=1)
        self._files: dict[str, Any] = {}  # zarr buffers by name
        self._root = zarr.create_group(MemoryStore(self._files), attributes={"version": VERSION})
        self._planes = {
            name: self._root.create_array(
                name, shape=(room, *shape), dtype="uint8", chunks=(1, *some), compressors=zstd
            )
            for name, shape, some in (
                ("cells", (3, s, s), (3, s, s)),
                ("regions", (n_regions, s, s), (max(n_regions, 1), s, s)),
                ("od", (s, s), (s, s)),
            )
        }
        self._tiles: list[int] = []
        self._statistics: list[NDArray[np.float32]] = []

    def __len__(self) -> int:
        return len(self._tiles)

    def add(self, tile: FieldTile) -> None:
        """Take the next tile in."""
        k = len(self)
        for name, given in (("cells", tile.cells), ("regions", tile.regions), ("od", tile.od)):
            if given.any():
                full = np.zeros((*given.shape[:-2], *self._planes[name].shape[-2:]), np.uint8)
                full[..., : given.shape[-2], : given.shape[-1]] = given
                self._planes[name][k] = full
        self._tiles.append(tile.index)
        self._statistics.append(tile.statistics)

    def so_far(self) -> PartWriter:
        """A copy that can be written while more tiles come to this one; compressed tiles are shared."""
        other: PartWriter = object.__new__(PartWriter)
        other._files = dict(self._files)
        other._root = zarr.open_group(MemoryStore(other._files), mode="r+")
        other._planes = {name: _array(other._root, name) for name in self._planes}
        other._tiles, other._statistics = list(self._tiles), list(self._statistics)
        return other

    def write(self, path: Path) -> None:
        """Write the tiles that came to `path` (not atomic: the caller publishes); nothing can be added after that."""
        n = len(self)
        for plane in self._planes.values():
            plane.resize((n, *plane.shape[1:]))
        index = self._root.create_array("tiles", shape=(n,), dtype="int64", chunks=(max(n, 1),))
        index[:] = np.array(self._tiles, np.int64)
        judged = np.stack(self._statistics) if n else np.zeros((0, 0, 4), np.float32)
        statistics = self._root.create_array(
            "statistics", shape=judged.shape, dtype="float32", chunks=tuple(max(k, 1) for k in judged.shape)
        )
        statistics[:] = judged
        with zipfile.ZipFile(path, mode="w", compression=zipfile.ZIP_STORED) as archive:
            for name, data in self._files.items():
                archive.writestr(name, data.to_bytes())


class PartReader:
    """Tiles of one published part, decoded on request. Safe to use from several threads.

    Parameters
    ----------
    path : the part, as `PartMaker.write` leaves it
    grid : which core holds which pixel

    Attributes
    ----------
    tiles : indices of the tiles it holds
    statistics : (n, P, 4) float32, mask statistics of these tiles

    Raises
    ------
    FieldError
        If the file is damaged, gone, or of another layout version.
    """

    def __init__(self, path: Path, grid: TileGrid) -> None:
        self._grid = grid
        self._lock = threading.Lock()
        self._path = path
        try:
            self._store = ZipStore(path, mode="r")
            root = zarr.open_group(self._store, mode="r")
            found = root.attrs.get("version", 1)
            if found != VERSION:
                self._store.close()
                raise FieldError(
                    f"{path}: a field part of layout version {found}, this program reads {VERSION}. "
                    "Delete it and run again."
                )
            self._cells, self._regions, self._od = (_array(root, name) for name in ("cells", "regions", "od"))
            self.tiles = tuple(int(i) for i in np.asarray(_array(root, "tiles")[:]))
            self.statistics = np.asarray(_array(root, "statistics")[:], np.float32)
        except (OSError, zipfile.BadZipFile, KeyError, ValueError) as err:
            raise FieldError(f"{path}: not a readable field part ({err}). Delete it and run again.") from err
        self._row = {index: k for k, index in enumerate(self.tiles)}

    def tile(self, index: int) -> FieldTile | None:
        """The field bytes of tile `index`, None when this part does not hold it (it could not be read).

        Raises
        ------
        FieldError
            If the tile's bytes cannot be decoded.
        """
        if index not in self._row:
            return None
        k, core = self._row[index], self._grid[index].core
        with self._lock:  # a zip file has one read position
            try:
                cells = np.asarray(self._cells[k, :, : core.height, : core.width])
                regions = np.asarray(self._regions[k, :, : core.height, : core.width])
                od = np.asarray(self._od[k, : core.height, : core.width])
            except (OSError, zipfile.BadZipFile, ValueError, RuntimeError) as err:
                raise FieldError(
                    f"{self._path}: tile {index} cannot be decoded ({err}). Delete the part and run again."
                ) from err
        return FieldTile(index, cells, regions, od, self.statistics[k])

    def close(self) -> None:
        """Close the file."""
        self._store.close()


def _array(root: zarr.Group, name: str) -> zarr.Array:  # type: ignore[type-arg]
    array = root[name]
    if not isinstance(array, zarr.Array):
        raise KeyError(name)
    return array


class Field:
    """The whole canvas as bytes, assembled box by box from tiles. Safe to use from several threads.

    Parameters
    ----------
    grid : which core holds which pixel
    n_regions : number of region layers
    fetch : tile index -> FieldTile, or None for a tile nobody wrote (background)
    """

    def __init__(self, grid: TileGrid, n_regions: int, fetch: Callable[[int], FieldTile | None]) -> None:
        self.grid = grid
        self.n_regions = n_regions
        self._fetch = fetch
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, FieldTile | None] = OrderedDict()

    def _tile(self, index: int) -> FieldTile | None:
        with self._lock:
            if index in self._kept:
                self._kept.move_to_end(index)
                return self._kept[index]
        tile = self._fetch(index)
        with self._lock:
            self._kept[index] = tile
            while len(self._kept) > _KEEP:
                self._kept.popitem(last=False)
        return tile

    def read(self, box: Box) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]:
        """Cells (3, h, w), regions (R, h, w) and OD (h, w), uint8 each, of a box inside the canvas, field px.

        Raises
        ------
        ValueError
            If the box reaches past the canvas.
        """
        if box.clip(self.grid.canvas) != box:
            raise ValueError(f"{box} is not inside the canvas {self.grid.canvas}")
        cells = np.zeros((3, box.height, box.width), np.uint8)
        regions = np.zeros((self.n_regions, box.height, box.width), np.uint8)
        od = np.zeros((box.height, box.width), np.uint8)
        s = self.grid.stride
        for row in range(box.y // s, (box.y1 - 1) // s + 1):
            for column in range(box.x // s, (box.x1 - 1) // s + 1):
                tile = self._tile(row * self.grid.columns + column)
                if tile is None:
                    continue
                x, y = column * s, row * s
                _, h, w = tile.cells.shape
                x0, x1, y0, y1 = max(box.x, x), min(box.x1, x + w), max(box.y, y), min(box.y1, y + h)
                to = (..., slice(y0 - box.y, y1 - box.y), slice(x0 - box.x, x1 - box.x))
                source = (..., slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
                cells[to] = tile.cells[source]
                regions[to] = tile.regions[source]
                od[to] = tile.od[source]
        return cells, regions, od


def memory_field(grid: TileGrid, n_regions: int, tiles: Iterable[FieldTile]) -> Field:
    """A field over tiles held in memory."""
    held = {t.index: t for t in tiles}
    return Field(grid, n_regions, held.get)


class PartCache:
    """Readers of many published parts, a few of them open at a time. Safe to use from several threads.

    Parameters
    ----------
    grid : which core holds which pixel
    """

    def __init__(self, grid: TileGrid) -> None:
        self._grid = grid
        self._lock = threading.Lock()
        self._open: OrderedDict[Path, PartReader] = OrderedDict()

    def reader(self, path: Path) -> PartReader:
        """The reader of a part; one that is pushed out by newer ones closes when its last user lets go of it."""
        with self._lock:
            reader = self._open.pop(path, None) or PartReader(path, self._grid)
            self._open[path] = reader
            while len(self._open) > _OPEN_PARTS:
                self._open.popitem(last=False)
            return reader

    def close(self) -> None:
        """Close what is open."""
        with self._lock:
            while self._open:
                self._open.popitem()[1].close()


def parts_field(grid: TileGrid, n_regions: int, shelf: PartCache, part_of: Callable[[int], Path | None]) -> Field:
    """A field over published parts.

    Parameters
    ----------
    grid : the tiles of the field
    n_regions : region prompts, each a layer of its own
    shelf : opens parts
    part_of : tile index -> the part that was published for it, None for a tile nobody wrote (background)
    """

    def fetch(index: int) -> FieldTile | None:
        path = part_of(index)
        return None if path is None else shelf.reader(path).tile(index)

    return Field(grid, n_regions, fetch)
