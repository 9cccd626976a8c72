"""labels.ome.zarr: objects as label images that OME-Zarr readers open.

Layout::

    labels.ome.zarr/           an image: the class map, once more, as plain numbers
      0, 1, ...                levels, (y, x) uint8
      OME/METADATA.ome.xml     the size of a pixel, for readers that use Bio-Formats
      labels/
        cells/                 (y, x) int32, instance ids of cells
        cell_classes/          (y, x) uint8, class ids in the colours of the prompts
        regions_<class id>/    (y, x) int32, instance ids of the regions of one prompt
        region_classes/        (y, x) uint8

Outlines of a free frame, which follow no pixels, are drawn in pixels of 0.5 um (`wsiparse.coords.raster_frame`): a
pixel is an object's whose outline holds its centre, and where cells overlap the later row wins.

NGFF wants label images below an image, and readers that open only images (QuPath through Bio-Formats is one) see that
image alone; so it is the class map of the cells, or that of the regions where no prompt asks for cells. Kinds without
a prompt have no label images.

Instance id k is row k - 1 of the kind's table in objects.zarr; rows are in raster order of the first pixel. Class id =
position in the prompt set + 1; 0 is background in all of them. Regions of different prompts may overlap, so each prompt
has its own instances; in the class map the smallest class id wins. Cells and regions keep their own pixel grids, whose
scales and translations put them in place (`wsiparse.export.ngff`). A pixel of level k of the pyramid shows one pixel of
level 0, the same in all label images of a grid (`wsiparse.export.raster_kernels.coarser_runs`), so classes and
instances agree at every level and shares of area are kept on average, which averaging would not do for small nuclei.

Rows of tiles are written from top to bottom from what `wsiparse.export.raster` keeps of the objects. Tiles without
objects are not written. Chunks are Zstandard; in NGFF 0.4 inside Blosc frames, because QuPath's reader of Zarr format 2
knows no other Zstandard. Which bytes come out depends on objects.zarr alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numcodecs import Blosc
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from wsiparse.atomic import publish_folder
from wsiparse.choices import Ngff
from wsiparse.coords import Frame, is_free, raster_frame
from wsiparse.export import ngff
from wsiparse.export.raster import OutlineSweep, RunQueue, level_size
from wsiparse.export.raster_kernels import coarser_runs, paint_runs
from wsiparse.machine import own_version
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import KINDS
from wsiparse.store.tables import checked
from wsiparse.store.zarrfolder import filled_folder
from wsiparse.types import ObjectTable, PromptKind, PromptSet

__all__ = ["class_map", "write_labels"]

#: Edge of a chunk, px.
_CHUNK_PX: Final = 1024

#: Longest edge of the coarsest level, px.
_COARSEST_PX: Final = 1024

#: Rows of pixels whose outlines are turned into runs at a time: bounds the memory, changes no byte.
_BAND_PX: Final = 256

#: Objects read at a time; a region may have as many vertices as thousands of cells.
_BATCH_ROWS: Final[dict[PromptKind, int]] = {"cell": 1 << 13, "region": 1 << 8}

_Array = zarr.Array[Any]


@dataclass(frozen=True, slots=True)
class _Layer:
    """One label image of instances: its folder, what people call it, and the positions of its prompts."""

    path: str
    name: str
    positions: tuple[int, ...]


def _layers(kind: PromptKind, prompts: PromptSet) -> list[_Layer]:
    """The instance layers of a kind, by class id."""
    if kind == "cell":
        return [_Layer("cells", "cells", prompts.of_kind(kind))]
    return [_Layer(f"regions_{k + 1}", f"regions: {prompts[k].class_name}", (k,)) for k in prompts.of_kind(kind)]


def write_labels(path: Path, reader: ObjectsReader, *, version: Ngff = "0.5") -> None:
    """Write the objects as an OME-Zarr folder and publish it in one step.

    Parameters
    ----------
    path : the folder to make, e.g. ``labels.ome.zarr`` (an older one is replaced); readers want ".zarr" in the name
    reader : the objects
    version : of NGFF; "0.5" is Zarr format 3, "0.4" Zarr format 2

    Raises
    ------
    OutputError
        If the folder cannot be written, the disk is full, or objects.zarr is damaged.
    ValueError
        On another version, or if the objects are not crack outlines inside their frame in raster order.
    """
    if version not in ("0.5", "0.4"):
        raise ValueError(f"NGFF version {version!r} is neither '0.5' nor '0.4'")
    prompts = reader.prompts
    kinds = [kind for kind in KINDS if prompts.of_kind(kind)]
    # Label images must have as many levels as the image they belong to.
    levels = max(ngff.level_count(raster_frame(reader.frames[kind]).size, _COARSEST_PX) for kind in kinds)
    value_bytes = sum(_value_bytes(reader, kind) for kind in kinds)
    with publish_folder(path) as folder:
        with filled_folder(folder, value_bytes, zarr_format=3 if version == "0.5" else 2) as root:
            labels = root.create_group("labels")
            names = [name for kind in kinds for name in _write_kind(labels, reader, kind, levels, version)]
            labels.update_attributes(ngff.attributes(version, labels=names))
            _describe_image(root, reader, kinds[0], levels, version)
        # the folder itself is an image: a copy of the class map
        for level in map(str, range(levels)):
            shutil.copytree(folder / "labels" / _class_path(kinds[0]) / level, folder / level)
        xml = ngff.ome_xml(_class_name(kinds[0]), raster_frame(reader.frames[kinds[0]]))
        (folder / "OME" / "METADATA.ome.xml").write_text(xml, encoding="utf-8", newline="\n")


def class_map(reader: ObjectsReader, kind: PromptKind, level: int) -> NDArray[np.uint8]:
    """One level of the class map of a kind, in memory: the same pixels that `write_labels` writes.

    Parameters
    ----------
    reader : the objects
    kind : which of them
    level : of the pyramid, 0 the field itself

    Returns
    -------
    (h, w) uint8, class ids

    Raises
    ------
    OutputError
        If objects.zarr is damaged.
    """
    size, layers = reader.frames[kind].size, _layers(kind, reader.prompts)
    width, height = level_size(size, level)
    out = np.zeros((height, width), np.uint8)
    class_of = np.zeros(reader.count(kind) + 1, np.uint8)
    for _, runs in _bands(reader, kind, layers, class_of):
        for found in reversed(runs):  # the smallest class id last, for it wins
            rows = coarser_runs(found, level, *size)
            if not len(rows):
                continue
            top, bottom = int(rows[:, 0].min()), int(rows[:, 0].max()) + 1
            ids = np.zeros((bottom - top, width), np.int32)
            paint_runs(ids, rows, top)
            shown = class_of[ids]
            np.copyto(out[top:bottom], shown, where=shown > 0)
    return out


def _value_bytes(reader: ObjectsReader, kind: PromptKind) -> int:
    """Bytes of all label images of a kind, uncompressed; the coarser levels are a third of the finest at most."""
    width, height = raster_frame(reader.frames[kind]).size
    return width * height * (4 * len(_layers(kind, reader.prompts)) + 1) * 4 // 3


def _describe_image(root: zarr.Group, reader: ObjectsReader, kind: PromptKind, levels: int, version: Ngff) -> None:
    """Make the folder itself an image: the class map of `kind`."""
    name, frame = _class_name(kind), raster_frame(reader.frames[kind])
    facts = {"software": f"wsiparse {own_version()}", "engine": reader.engine, "slide": reader.slide}
    content = ngff.attributes(
        version,
        multiscales=ngff.multiscales(version, name, frame, levels, {"value": _CLASS_VALUE}),
        omero=ngff.omero(name, len(reader.prompts)),
    )
    root.update_attributes({**content, "wsiparse": facts})
    # The namespace key keeps the group's metadata of one version, as the specification asks.
    root.create_group("OME", attributes=ngff.attributes(version))


_CLASS_VALUE: Final = "class id: position in the prompt set + 1; where regions of several prompts overlap the smallest"


def _class_path(kind: PromptKind) -> str:
    return f"{kind}_classes"


def _class_name(kind: PromptKind) -> str:
    return f"{kind} classes"


def _write_kind(labels: zarr.Group, reader: ObjectsReader, kind: PromptKind, levels: int, version: Ngff) -> list[str]:
    """Write every label image of one kind; returns their names, the class map last."""
    frame, prompts, layers = raster_frame(reader.frames[kind]), reader.prompts, _layers(kind, reader.prompts)
    table = {"cell": "cells", "region": "regions"}[kind]
    value = (
        f"instance id: row of {table} in objects.zarr + 1, rows in raster order of the first pixel (y, then x); "
        f"the features of {table}.geojson.gz are in the same order"
    )
    arrays: list[list[_Array]] = []
    for layer in layers:
        facts = {"value": value, "classes": [prompts[k].class_name for k in layer.positions]}
        content = {
            "multiscales": ngff.multiscales(version, layer.name, frame, levels, facts),
            "image_label": ngff.image_label(version),
        }
        arrays.append(_create(labels, layer.path, content, np.int32, frame, levels, version))
    classes = _create(
        labels,
        _class_path(kind),
        {
            "multiscales": ngff.multiscales(version, _class_name(kind), frame, levels, {"value": _CLASS_VALUE}),
            "image_label": ngff.image_label(version, prompts, prompts.of_kind(kind)),
        },
        np.uint8,
        frame,
        levels,
        version,
    )
    pyramid = [
        _Level(frame.size, level, [images[level] for images in arrays], classes[level]) for level in range(levels)
    ]
    class_of = np.zeros(reader.count(kind) + 1, np.uint8)
    for stop, runs in _bands(reader, kind, layers, class_of):
        for level in pyramid:
            level.add(runs, stop, class_of)
    return [*(layer.path for layer in layers), _class_path(kind)]


def _create(
    labels: zarr.Group,
    path: str,
    content: dict[str, Any],
    dtype: type[np.generic],
    frame: Frame,
    levels: int,
    version: Ngff,
) -> list[_Array]:
    """A label image without pixels: its group and the arrays of its levels."""
    group = labels.create_group(path, attributes=ngff.attributes(version, **content))
    if version == "0.5":
        form: dict[str, Any] = {"compressors": ZstdCodec(level=1, checksum=False), "dimension_names": ngff.AXES}
    else:
        form = {
            # Shuffled bytes compress worse: runs of one id are what is there to find.
            "compressors": Blosc("zstd", clevel=3, shuffle=Blosc.NOSHUFFLE),
            "chunk_key_encoding": {"name": "v2", "separator": "/"},
        }
    return [
        group.create_array(
            str(level),
            shape=level_size(frame.size, level)[::-1],
            dtype=dtype,
            chunks=(_CHUNK_PX, _CHUNK_PX),
            fill_value=0,
            config={"write_empty_chunks": False},
            **form,
        )
        for level in range(levels)
    ]


def _bands(
    reader: ObjectsReader, kind: PromptKind, layers: Sequence[_Layer], class_of: NDArray[np.uint8]
) -> Iterator[tuple[int, list[NDArray[np.int32]]]]:
    """The runs of each layer in the rows above `stop` and below those before; fills `class_of` (by instance id)."""
    frame = reader.frames[kind]
    drawn = raster_frame(frame)
    size, scale = drawn.size, tuple(a / b for a, b in zip(frame.downsample, drawn.downsample, strict=True))
    sweeps = [OutlineSweep(size, (scale[0], scale[1]) if is_free(frame) else None) for _ in layers]
    batches = reader.batches(kind, _BATCH_ROWS[kind])
    known = taken = 0  # every object that begins above row `known` has been taken
    for start in range(0, size[1], _BAND_PX):
        stop = min(start + _BAND_PX, size[1])
        while known < stop:
            batch = next(batches, None)
            if batch is None:
                known = size[1]
                break
            table = checked(batch, reader.prompts)
            ids = np.arange(taken + 1, taken + len(table) + 1, dtype=np.int32)
            class_of[ids] = table.class_id
            for sweep, layer in zip(sweeps, layers, strict=True):
                sweep.add(*_of_layer(table, ids, layer))
            taken += len(table)
            known = int(table.first_px[-1, 0] * scale[1])
        yield stop, [sweep.band(stop) for sweep in sweeps]


def _of_layer(table: ObjectTable, ids: NDArray[np.int32], layer: _Layer) -> tuple[ObjectTable, NDArray[np.int32]]:
    chosen = np.isin(table.class_id, np.array(layer.positions) + 1)
    return (table, ids) if chosen.all() else (table.take(np.flatnonzero(chosen)), ids[chosen])


class _Level:
    """One level of all label images of a kind, written a row of tiles at a time.

    Parameters
    ----------
    size : (width, height) of level 0, px
    level : of the pyramid
    instances : for each layer, the array of its instance ids
    classes : the array of the class map
    """

    def __init__(self, size: tuple[int, int], level: int, instances: Sequence[_Array], classes: _Array) -> None:
        self._rows, self._level = size[1], level
        self._size = level_size(size, level)
        self._instances, self._classes = instances, classes
        self._queues = [RunQueue(size, level, _CHUNK_PX) for _ in instances]
        self._top = 0

    def add(self, runs: Sequence[NDArray[np.int32]], stop: int, class_of: NDArray[np.uint8]) -> None:
        """Take each layer's runs of the next rows of level 0, up to row `stop`, and write what is complete."""
        for queue, found in zip(self._queues, runs, strict=True):
            queue.add(found)
        while self._top < self._size[1]:
            bottom = min(self._top + _CHUNK_PX, self._size[1])
            if stop < min(bottom << self._level, self._rows):
                return
            self._write(bottom, class_of)
            self._top = bottom

    def _write(self, bottom: int, class_of: NDArray[np.uint8]) -> None:
        """Write the tiles of the rows from `_top` to `bottom`."""
        top, width = self._top, self._size[0]
        pieces = [queue.take(bottom) for queue in self._queues]
        for column, left in enumerate(range(0, width, _CHUNK_PX)):
            right = min(left + _CHUNK_PX, width)
            shown: NDArray[np.uint8] | None = None
            for array, (runs, offsets) in zip(self._instances, pieces, strict=True):
                a, b = offsets[column], offsets[column + 1]
                if a == b:
                    continue
                ids = np.zeros((bottom - top, right - left), np.int32)
                paint_runs(ids, runs[a:b], top)
                array[top:bottom, left:right] = ids
                found = class_of[ids]
                # layers come by class id, so what is there already is the smallest
                shown = found if shown is None else np.where(shown > 0, shown, found)
            if shown is not None:
                self._classes[top:bottom, left:right] = shown
