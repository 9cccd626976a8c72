"""objects.zarr: the source of truth, every object of a slide as sorted columns.

Layout (Zarr format 3, Zstandard with checksums, a few large chunks)::

    objects.zarr/              attributes: format, version, software, engine, slide, frames, prompts, rows, columns
      cells/                   one group a kind, rows in raster order of the first pixel (y, then x, then class)
        coords                 (V, 2) int32   differences, x then y, field px (see below)
        ring_offsets           (R + 1,) int64
        polygon_offsets        (N + 1,) int64
        class_id               (N,) uint8     position in `prompts` + 1
        score                  (N,) float32
        area_px                (N,) int64
        centroid               (N, 2) float64 x then y, field px
        first_px               (N, 2) int32   y then x, field px
        class_share            (N, P) float32
        mean_od                (N,) float32   NaN where unknown
      regions/                 the same
      recognition/scale-K/     for engines with recognition scores, one group a scale (attributes: the prompts'
        scores                 positions, canvas, tile_px, halo_px): (P, rows, columns) float32
        statistics             (P, rows, columns, 4) float32

`coords` holds each vertex as its difference to the vertex before it in the same ring, and the first vertex of a ring as
its difference to the object's first pixel (x, y), modulo 2^32; so any range of rows decodes by itself. Offsets and all
other columns are those of `wsiparse.types.ObjectTable`. ``attributes["columns"]`` holds length and SHA-256 of every
column as stored (uncompressed, little-endian, row-major), ``attributes["recognition"]`` the SHA-256 of both arrays of
every scale. An object's recognition score is not stored: it is that of its class in the tile of its first pixel.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsiparse.coords import Frame
from wsiparse.errors import OutputError
from wsiparse.types import ObjectTable, Prompt, PromptKind, PromptSet, RecognitionGrid, TileGrid
from wsiparse.version import own_version
from wsiparse.write.parts import publish_folder
from wsiparse.write.spool import KINDS, ObjectSpool, frames_to_json, prompts_to_json
from wsiparse.write.tables import raster_sorted
from wsiparse.write.zarrfolder import filled_folder

__all__ = ["FORMAT", "VERSION", "ObjectSpool", "ObjectsReader", "write_objects", "write_table"]

FORMAT: Final = "wsiparse objects"
VERSION: Final = 2

_GROUPS: Final[dict[PromptKind, str]] = {"cell": "cells", "region": "regions"}

# Rows and vertices a chunk: 5 M objects are ~330 files, and a chunk in memory is at most 8 MB.
_ROW_CHUNK: Final = 1 << 18
_VERTEX_CHUNK: Final = 1 << 20
_LEVEL: Final = 3

# Columns of a kind that are kept once they have been read and their checksums compared: every export of a small slide
# would otherwise pay for reading ten tiny arrays again.
_KEPT_BYTES: Final = 1 << 22

_DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "coords": np.dtype("<i4"),
    "ring_offsets": np.dtype("<i8"),
    "polygon_offsets": np.dtype("<i8"),
    "class_id": np.dtype("u1"),
    "score": np.dtype("<f4"),
    "area_px": np.dtype("<i8"),
    "centroid": np.dtype("<f8"),
    "first_px": np.dtype("<i4"),
    "class_share": np.dtype("<f4"),
    "mean_od": np.dtype("<f4"),
}


def _shapes(rows: int, rings: int, vertices: int, shares: int) -> dict[str, tuple[int, ...]]:
    return {
        "coords": (vertices, 2),
        "ring_offsets": (rings + 1,),
        "polygon_offsets": (rows + 1,),
        "class_id": (rows,),
        "score": (rows,),
        "area_px": (rows,),
        "centroid": (rows, 2),
        "first_px": (rows, 2),
        "class_share": (rows, shares),
        "mean_od": (rows,),
    }


def encode_coords(table: ObjectTable) -> NDArray[np.int32]:
    """(V, 2) int32: the differences that `coords` stores, modulo 2^32."""
    delta = np.empty_like(table.coords)
    np.subtract(table.coords[1:], table.coords[:-1], out=delta[1:])
    starts, anchors = _ring_starts(table.ring_offsets, table.polygon_offsets, table.first_px)
    delta[starts] = table.coords[starts] - anchors
    return delta


def decode_coords(
    delta: NDArray[np.int32],
    ring_offsets: NDArray[np.int64],
    polygon_offsets: NDArray[np.int64],
    first_px: NDArray[np.int32],
) -> NDArray[np.int32]:
    """(V, 2) int32: the inverse of `encode_coords`, for offsets that start at 0; `delta` itself, overwritten."""
    starts, anchors = _ring_starts(ring_offsets, polygon_offsets, first_px)
    anchors = anchors + delta[starts]
    coords = np.cumsum(delta, axis=0, dtype=np.int32, out=delta)
    anchors -= coords[starts]
    lengths = _filled(ring_offsets)
    for axis in (0, 1):
        coords[:, axis] += np.repeat(anchors[:, axis], lengths)
    return coords


def _filled(ring_offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths = np.diff(ring_offsets)
    return cast("NDArray[np.int64]", lengths[lengths > 0])


def _ring_starts(
    ring_offsets: NDArray[np.int64], polygon_offsets: NDArray[np.int64], first_px: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """First vertex of each ring that has any, and the first pixel (x, y) of the object it belongs to."""
    anchors = np.repeat(first_px[:, ::-1], np.diff(polygon_offsets), axis=0)
    filled = np.diff(ring_offsets) > 0
    return ring_offsets[:-1][filled], anchors[filled]


class _ColumnWriter:
    """Fills one array chunk by chunk and keeps its SHA-256."""

    def __init__(self, group: zarr.Group, name: str, shape: tuple[int, ...]) -> None:
        rows = max(1, min(shape[0], _VERTEX_CHUNK if name == "coords" else _ROW_CHUNK))
        chunks = (rows, *(max(1, n) for n in shape[1:]))
        self.shape = shape
        self.digest = hashlib.sha256()
        self._done = self._fill = 0
        self._buffer = np.empty((rows, *shape[1:]), _DTYPES[name])
        self._array = group.create_array(
            name,
            shape=shape,
            dtype=_DTYPES[name],
            chunks=chunks,
            compressors=ZstdCodec(level=_LEVEL, checksum=True),
            fill_value=0,
            config={"write_empty_chunks": True},  # so that a chunk that is not there is a loss, not zeros
        )

    def add(self, values: NDArray[Any]) -> None:
        taken = 0
        while taken < len(values):
            count = min(len(values) - taken, len(self._buffer) - self._fill)
            self._buffer[self._fill : self._fill + count] = values[taken : taken + count]
            taken += count
            self._fill += count
            if self._fill == len(self._buffer):
                self._flush()

    def _flush(self) -> None:
        part = self._buffer[: self._fill]
        if part.size:
            self._array[self._done : self._done + self._fill] = part
            self.digest.update(part.data.cast("B"))
        self._done += self._fill
        self._fill = 0

    def close(self) -> dict[str, object]:
        """Flush and return what the attributes say about the column."""
        self._flush()
        if self._done != self.shape[0]:
            raise ValueError(f"{self._array.name}: {self._done} rows came, {self.shape[0]} were announced")
        return {"length": self._done, "sha256": self.digest.hexdigest()}


def _write_group(
    group: zarr.Group, tables: Iterable[ObjectTable], totals: tuple[int, int, int, int]
) -> dict[str, object]:
    columns = {name: _ColumnWriter(group, name, shape) for name, shape in _shapes(*totals).items()}
    ring_base = vertex_base = 0
    columns["polygon_offsets"].add(np.zeros(1, np.int64))
    columns["ring_offsets"].add(np.zeros(1, np.int64))
    for table in tables:
        if not len(table):
            continue
        columns["coords"].add(encode_coords(table))
        columns["ring_offsets"].add(table.ring_offsets[1:] + vertex_base)
        columns["polygon_offsets"].add(table.polygon_offsets[1:] + ring_base)
        for name in ("class_id", "score", "area_px", "centroid", "first_px", "class_share", "mean_od"):
            columns[name].add(getattr(table, name))
        ring_base += len(table.ring_offsets) - 1
        vertex_base += len(table.coords)
    return {name: writer.close() for name, writer in columns.items()}


def _write_grid(group: zarr.Group, judged: RecognitionGrid) -> dict[str, str]:
    """One scale's recognition scores; returns what the attributes say about its arrays."""
    grid = judged.grid
    group.update_attributes(
        {"prompts": list(judged.positions), "canvas": list(grid.canvas), "tile_px": grid.tile, "halo_px": grid.halo}
    )
    sums = {}
    for name, values in (("scores", judged.scores), ("statistics", judged.statistics)):
        values = np.ascontiguousarray(values, "<f4")
        array = group.create_array(
            name,
            shape=values.shape,
            dtype="float32",
            chunks=tuple(max(1, n) for n in values.shape),
            config={"write_empty_chunks": True},
        )
        array[:] = values
        sums[name] = hashlib.sha256(values.data.cast("B")).hexdigest()
    return sums


def write_objects(
    path: Path,
    tables: Mapping[PromptKind, Iterable[ObjectTable]],
    totals: Mapping[PromptKind, tuple[int, int, int, int]],
    *,
    frames: Mapping[PromptKind, Frame],
    prompts: PromptSet,
    engine: str,
    slide: Mapping[str, object],
    recognition: Sequence[RecognitionGrid] = (),
) -> None:
    """Write objects.zarr from sorted tables, one at a time, and publish it in one step.

    Parameters
    ----------
    path : the folder to make (an older one is replaced)
    tables : for each kind, its objects in raster order of the first pixel
    totals : for each kind, (rows, rings, vertices, class shares per row) over all its tables
    frames : for each kind, the frame of its coordinates
    prompts : what class ids mean
    engine : the words every output carries (`EngineInfo.title`)
    slide : facts of the slide as JSON values (fingerprint, size, mpp, bounds origin, ...)
    recognition : scores of tiles and prompts, one grid a scale, stored below ``recognition/``

    Raises
    ------
    OutputError
        If the folder cannot be written or the disk is full.
    ValueError
        If the tables do not add up to `totals`.
    """
    value_bytes = sum(
        _DTYPES[name].itemsize * math.prod(shape) for kind in KINDS for name, shape in _shapes(*totals[kind]).items()
    )
    with publish_folder(path) as folder, filled_folder(folder, value_bytes) as root:
        columns = {
            _GROUPS[kind]: _write_group(root.create_group(_GROUPS[kind]), tables[kind], totals[kind]) for kind in KINDS
        }
        judged = [_write_grid(root.create_group(f"recognition/scale-{k}"), grid) for k, grid in enumerate(recognition)]
        attributes: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "software": f"wsiparse {own_version()}",
            "engine": engine,
            "slide": dict(slide),
            "frames": frames_to_json(frames),
            "prompts": prompts_to_json(prompts),
            "rows": {_GROUPS[kind]: totals[kind][0] for kind in KINDS},
            "columns": columns,
            "recognition": judged,
        }
        root.update_attributes(attributes)


def write_table(
    path: Path, table: ObjectTable, *, frame: Frame, prompts: PromptSet, engine: str, slide: Mapping[str, object]
) -> None:
    """Write one table that fits in memory (cells and regions, any order) as objects.zarr.

    The bytes are those that an `ObjectSpool` fed with the same rows would write.

    Raises
    ------
    ValueError
        If a class id is not in `prompts`.
    OutputError
        If the folder cannot be written or the disk is full.
    """
    if len(table) and not 1 <= int(table.class_id.min()) <= int(table.class_id.max()) <= len(prompts):
        raise ValueError(f"class ids must be 1..{len(prompts)}")
    region = np.array([False, *(prompt.kind == "region" for prompt in prompts)])[table.class_id]
    tables = {
        kind: raster_sorted(table.take(np.flatnonzero(chosen)))
        for kind, chosen in zip(KINDS, (~region, region), strict=True)
    }
    totals = {
        kind: (len(t), len(t.ring_offsets) - 1, len(t.coords), t.class_share.shape[1] if len(t) else 0)
        for kind, t in tables.items()
    }
    each = {kind: [t] for kind, t in tables.items()}
    write_objects(path, each, totals, frames=dict.fromkeys(KINDS, frame), prompts=prompts, engine=engine, slide=slide)


class _ColumnReader:
    """Row ranges of one array, reading each chunk once while they come in order."""

    def __init__(self, path: Path, array: zarr.Array[Any]) -> None:
        self._path = path
        self._array = array
        self._chunk = array.chunks[0]
        self._at = -1
        self._values: NDArray[Any] = np.empty(0)
        self._digest = hashlib.sha256()
        self._digested = 0

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Rows [start, stop) as a new array."""
        out = np.empty((stop - start, *self._array.shape[1:]), self._array.dtype)
        row = start
        while row < stop:
            number = row // self._chunk
            self._load(number)
            a, b = number * self._chunk, min((number + 1) * self._chunk, stop)
            out[row - start : b - start] = self._values[row - a : b - a]
            row = b
        return out

    def sha256(self) -> str | None:
        """Of everything read, if that was every chunk in order; else None."""
        return self._digest.hexdigest() if self._digested == -(-self._array.shape[0] // self._chunk) else None

    def _load(self, number: int) -> None:
        if number == self._at:
            return
        a = number * self._chunk
        self._values = _guarded_read(self._path, self._array, a, min(a + self._chunk, self._array.shape[0]))
        self._at = number
        if number == self._digested:
            self._digest.update(self._values.tobytes())
            self._digested += 1


def _guarded_read(path: Path, array: zarr.Array[Any], start: int, stop: int) -> NDArray[Any]:
    try:
        return np.asarray(array[start:stop])
    # What a codec raises on damaged bytes is its own affair: numcodecs has RuntimeError, the bytes codec ValueError.
    except (RuntimeError, ValueError, OSError) as error:
        raise _damaged(path, f"{array.name.strip('/')} rows {start}-{stop} cannot be decoded ({error})") from error


def _damaged(path: Path, what: str) -> OutputError:
    return OutputError(f"{path}: damaged: {what}. Run the slide again to make the objects anew.")


class ObjectsReader:
    """objects.zarr, read back.

    Parameters
    ----------
    path : the folder

    Attributes
    ----------
    path, attrs : the folder and its attributes (see the module)
    frames : for each kind, the frame of its coordinates
    prompts : what class ids mean
    engine : the words every output carries
    slide : facts of the slide
    recognition : recognition scores of tiles and prompts, one grid a scale; empty for engines without any

    The tables it gives carry the recognition score of each object.

    Raises
    ------
    OutputError
        If it is missing, of another format or version, or a column, a chunk or a recognition grid is missing.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise OutputError(f"{path}: no such folder; expected the objects.zarr of a finished slide.")
        try:
            self._root = zarr.open_group(path, mode="r")
        # zarr reports a missing, empty or garbled zarr.json in several ways, all of them one of these.
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise OutputError(f"{path}: not an objects.zarr ({error}).") from error
        self.attrs: dict[str, Any] = dict(self._root.attrs)
        if self.attrs.get("format") != FORMAT:
            raise OutputError(f"{path}: not an objects.zarr of wsiparse (format {self.attrs.get('format')!r}).")
        if self.attrs.get("version") != VERSION:
            raise OutputError(
                f"{path}: written in format version {self.attrs.get('version')!r}, this program reads {VERSION}. "
                "Use the wsiparse that wrote it, or run the slide again with --overwrite."
            )
        try:
            self.frames: dict[PromptKind, Frame] = {
                kind: Frame(**{key: tuple(value) for key, value in self.attrs["frames"][kind].items()})
                for kind in KINDS
            }
            self.prompts = PromptSet(tuple(Prompt(**item) for item in self.attrs["prompts"]))
            self.engine = str(self.attrs["engine"])
            self.slide: dict[str, Any] = dict(self.attrs["slide"])
            self._sums = {
                kind: {name: (int(column["length"]), str(column["sha256"])) for name, column in columns.items()}
                for kind, columns in ((kind, self.attrs["columns"][_GROUPS[kind]]) for kind in KINDS)
            }
            grids = [(str(sums["scores"]), str(sums["statistics"])) for sums in self.attrs["recognition"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise _damaged(path, f"attributes are incomplete ({error!r})") from error
        self._arrays = {kind: self._open_columns(kind) for kind in KINDS}
        self._kept: dict[PromptKind, dict[str, _ColumnReader]] = {}
        self.recognition = [self._read_grid(f"recognition/scale-{k}", *sums) for k, sums in enumerate(grids)]

    def _read_grid(self, name: str, *sums: str) -> RecognitionGrid:
        values = []
        try:
            group = self._root[name]
            attributes: dict[str, Any] = dict(group.attrs)
            canvas = (int(attributes["canvas"][0]), int(attributes["canvas"][1]))
            grid = TileGrid(canvas, int(attributes["tile_px"]), int(attributes["halo_px"]))
            positions = tuple(int(k) for k in attributes["prompts"])
            for column, expected in zip(("scores", "statistics"), sums, strict=True):
                array = self._root[f"{name}/{column}"]
                if not isinstance(array, zarr.Array):
                    raise TypeError(column)
                found = np.ascontiguousarray(array[...], "<f4")
                if hashlib.sha256(found.data.cast("B")).hexdigest() != expected:
                    raise _damaged(self.path, f"checksum of {name}/{column} differs")
                values.append(found)
            return RecognitionGrid(positions, grid, scores=values[0], statistics=values[1])
        # what zarr and its codecs raise on missing or damaged files is one of these
        except (OSError, LookupError, TypeError, ValueError, RuntimeError) as error:
            raise _damaged(self.path, f"{name} is missing or unreadable ({error!r})") from error

    def _open_columns(self, kind: PromptKind) -> dict[str, zarr.Array[Any]]:
        arrays: dict[str, zarr.Array[Any]] = {}
        rows = self._sums[kind].get("class_id", (0, ""))[0]
        for name, dtype in _DTYPES.items():
            column = f"{_GROUPS[kind]}/{name}"
            try:
                array = self._root[column]
            except (OSError, KeyError, TypeError, ValueError) as error:
                raise _damaged(self.path, f"column {column} is missing or unreadable") from error
            length = self._sums[kind].get(name, (-1, ""))[0]
            expected = {"polygon_offsets": rows + 1, "ring_offsets": length, "coords": length}.get(name, rows)
            if not isinstance(array, zarr.Array) or array.dtype != dtype or not array.shape[0] == length == expected:
                raise _damaged(self.path, f"column {column} is not {expected} rows of {dtype}")
            if array.nchunks_initialized < array.nchunks:
                raise _damaged(self.path, f"column {column} lacks chunks: {array.nchunks - array.nchunks_initialized}")
            arrays[name] = array
        return arrays

    def count(self, kind: PromptKind) -> int:
        """Number of objects of one kind, "cell" or "region".

        Raises
        ------
        ValueError
            If `kind` is neither.
        """
        return int(self._columns(kind)["class_id"].shape[0])

    def batches(self, kind: PromptKind, rows: int = 1 << 15) -> Iterator[ObjectTable]:
        """All objects of one kind, in order, `rows` at a time.

        The checksums of all columns are compared when the last batch has been taken, so that whoever consumes
        everything (an export, say) knows at its end that it was given what was written.

        Raises
        ------
        ValueError
            If `kind` is neither "cell" nor "region" or `rows` < 1.
        OutputError
            On damage: at once if a chunk does not decode, at the end if a checksum differs.
        """
        if rows < 1:
            raise ValueError(f"rows must be >= 1, got {rows}")
        return self._batches(kind, self._readers(kind), rows)

    def table(self, kind: PromptKind, start: int = 0, stop: int | None = None) -> ObjectTable:
        """Objects [start, stop) of one kind as one table; all of them, with checksums compared, by default.

        Raises
        ------
        ValueError
            If the range does not lie in [0, count].
        OutputError
            On damage.
        """
        total = self.count(kind)
        end = total if stop is None else stop
        if not 0 <= start <= end <= total:
            raise ValueError(f"rows {start}-{end} of {total}")
        if (start, end) == (0, total) and total:
            return ObjectTable.concat(list(self.batches(kind, total)))
        return self._slice(self._readers(kind), start, end)

    def rows_between(self, kind: PromptKind, top: float, bottom: float) -> tuple[int, int]:
        """Rows [start, stop) whose first pixel's y lies in [top, bottom], field px: rows are in raster order.

        Raises
        ------
        ValueError
            If `kind` is neither "cell" nor "region".
        OutputError
            On damage.
        """
        first = self._readers(kind)["first_px"].read(0, self.count(kind))[:, 0]
        return int(np.searchsorted(first, top, "left")), int(np.searchsorted(first, bottom, "right"))

    def verify(self) -> None:
        """Read everything and compare every checksum.

        Raises
        ------
        OutputError
            Naming the first column that is damaged.
        """
        for kind in KINDS:
            self._kept.pop(kind, None)
            for _ in self.batches(kind):
                pass

    def _columns(self, kind: PromptKind) -> dict[str, zarr.Array[Any]]:
        if kind not in self._arrays:
            raise ValueError(f"kind {kind!r} is neither 'cell' nor 'region'")
        return self._arrays[kind]

    def _readers(self, kind: PromptKind) -> dict[str, _ColumnReader]:
        columns = self._columns(kind)
        return self._kept.get(kind) or {name: _ColumnReader(self.path, array) for name, array in columns.items()}

    def _batches(self, kind: PromptKind, readers: dict[str, _ColumnReader], rows: int) -> Iterator[ObjectTable]:
        total = self.count(kind)
        for start in range(0, total, rows):
            yield self._slice(readers, start, min(start + rows, total))
        for name, reader in readers.items():
            if not total:
                reader.read(0, self._arrays[kind][name].shape[0])
            if reader.sha256() != self._sums[kind][name][1]:
                raise _damaged(self.path, f"checksum of column {_GROUPS[kind]}/{name} differs")
        arrays = self._arrays[kind].values()
        if sum(array.nbytes for array in arrays) <= _KEPT_BYTES and all(array.nchunks <= 1 for array in arrays):
            self._kept[kind] = readers

    def _slice(self, readers: dict[str, _ColumnReader], start: int, stop: int) -> ObjectTable:
        polygon_offsets = readers["polygon_offsets"].read(start, stop + 1)
        ring_offsets = readers["ring_offsets"].read(*self._span(polygon_offsets, 1))
        delta = readers["coords"].read(*self._span(ring_offsets, 0))
        first_px = readers["first_px"].read(start, stop)
        polygon_offsets -= polygon_offsets[0]
        ring_offsets -= ring_offsets[0]
        table = ObjectTable(
            coords=decode_coords(delta, ring_offsets, polygon_offsets, first_px),
            ring_offsets=ring_offsets,
            polygon_offsets=polygon_offsets,
            first_px=first_px,
            **{
                name: readers[name].read(start, stop)
                for name in ("class_id", "score", "area_px", "centroid", "class_share", "mean_od")
            },
        )
        return self._judged(table)

    def _judged(self, table: ObjectTable) -> ObjectTable:
        """The table with recognition scores: every class is of one grid at most."""
        if not self.recognition or not len(table):
            return table
        found = np.full(len(table), np.nan, np.float32)
        for grid in self.recognition:
            scores = grid.of_objects(table)
            np.copyto(found, scores, where=np.isfinite(scores))
        return replace(table, recognition=found)

    def _span(self, offsets: NDArray[np.int64], extra: int) -> tuple[int, int]:
        """The range that offsets index; they are read from disk, so they are not trusted to ascend."""
        if offsets[0] < 0 or bool((np.diff(offsets) < 0).any()):
            raise _damaged(self.path, "offsets do not ascend")
        return int(offsets[0]), int(offsets[-1]) + extra
