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
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsiparse.atomic import publish_folder
from wsiparse.coords import Frame
from wsiparse.machine import own_version
from wsiparse.store.sort import KINDS, frames_to_json, prompts_to_json
from wsiparse.store.zarrfolder import filled_folder
from wsiparse.types import COLUMNS, Column, ObjectTable, PromptKind, PromptSet, RecognitionGrid

__all__ = [
    "FORMAT",
    "GROUPS",
    "STORED",
    "VERSION",
    "decode_coords",
    "encode_coords",
    "write_objects",
]

FORMAT: Final = "wsiparse objects"
VERSION: Final = 2

#: Name of each kind's group.
GROUPS: Final[dict[PromptKind, str]] = {"cell": "cells", "region": "regions"}

# Rows and vertices a chunk: 5 M objects are ~330 files, and a chunk in memory is at most 8 MB.
_ROW_CHUNK: Final = 1 << 18
_VERTEX_CHUNK: Final = 1 << 20
_LEVEL: Final = 3

#: Columns of a kind, as stored: all but recognition scores, which are those of the grids.
STORED: Final = tuple(column for column in COLUMNS if column.name != "recognition")


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
    """Coordinates of differences: the inverse of `encode_coords`.

    Parameters
    ----------
    delta : (V, 2) int32, as stored; overwritten
    ring_offsets : (R + 1,) int64, starting at 0
    polygon_offsets : (N + 1,) int64, starting at 0
    first_px : (N, 2) int32, y then x, field px

    Returns
    -------
    (V, 2) int32, x then y, field px: `delta` itself
    """
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

    def __init__(self, group: zarr.Group, column: Column, shape: tuple[int, ...]) -> None:
        rows = max(1, min(shape[0], _VERTEX_CHUNK if column.per == "vertex" else _ROW_CHUNK))
        chunks = (rows, *(max(1, n) for n in shape[1:]))
        self.shape = shape
        self.digest = hashlib.sha256()
        self._done = self._fill = 0
        self._buffer = np.empty((rows, *shape[1:]), column.dtype)
        self._array = group.create_array(
            column.name,
            shape=shape,
            dtype=np.dtype(column.dtype),
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
    columns = {c.name: _ColumnWriter(group, c, c.shape(*totals)) for c in STORED}
    ring_base = vertex_base = 0
    columns["polygon_offsets"].add(np.zeros(1, np.int64))
    columns["ring_offsets"].add(np.zeros(1, np.int64))
    for table in tables:
        if not len(table):
            continue
        columns["coords"].add(encode_coords(table))
        columns["ring_offsets"].add(table.ring_offsets[1:] + vertex_base)
        columns["polygon_offsets"].add(table.polygon_offsets[1:] + ring_base)
        for column in STORED:
            if column.per == "object":
                columns[column.name].add(getattr(table, column.name))
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
    value_bytes = sum(np.dtype(c.dtype).itemsize * math.prod(c.shape(*totals[kind])) for kind in KINDS for c in STORED)
    with publish_folder(path) as folder, filled_folder(folder, value_bytes) as root:
        columns = {
            GROUPS[kind]: _write_group(root.create_group(GROUPS[kind]), tables[kind], totals[kind]) for kind in KINDS
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
            "rows": {GROUPS[kind]: totals[kind][0] for kind in KINDS},
            "columns": columns,
            "recognition": judged,
        }
        root.update_attributes(attributes)
