"""Objects of objects.zarr, or in memory, as frames of the table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from wsiparse.choices import ExportKind
from wsiparse.coords import Frame, is_free, to_level0, to_qupath, um2_per_px
from wsiparse.errors import OutputError
from wsiparse.export.geojson import SIMPLIFY_PX
from wsiparse.export.objectframe import ObjectFrame, Outlines, column_name
from wsiparse.machine import own_version
from wsiparse.results.whole import check_beside
from wsiparse.store.ids import object_ids
from wsiparse.store.measure import measure, measure_checked
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import KINDS
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, PromptKind, PromptSet

__all__ = ["joined", "object_frames", "read_objects", "slide_fact", "sound_batches", "source_facts", "tables_frame"]


def slide_fact(reader: ObjectsReader, name: str) -> Any:
    """What objects.zarr tells of its slide.

    Raises
    ------
    OutputError
        If it does not.
    """
    if name not in reader.slide:
        raise OutputError(f"{reader.path}: lacks the slide's {name}. Run the slide again to make it anew.")
    return reader.slide[name]


def source_facts(reader: ObjectsReader, offset: tuple[int, int] = (0, 0)) -> dict[str, Any]:
    """What every file says of its origin, JSON values; `offset` is what coordinates were reduced by, level-0 px."""
    return {
        "version": own_version(),
        "engine": reader.engine,
        "slide": str(slide_fact(reader, "fingerprint")),
        # a file name of other than UTF-8 bytes cannot be written as text
        "slide_id": Path(reader.path).absolute().parent.name.encode(errors="replace").decode(),
        "name": str(slide_fact(reader, "name")).encode(errors="replace").decode(),
        "size": [int(v) for v in slide_fact(reader, "size")],
        "mpp": [float(v) for v in slide_fact(reader, "mpp")],
        "unit": "level-0 px",
        "origin": [int(v) for v in offset],
    }


def sound_batches(reader: ObjectsReader, kind: PromptKind, rows: int = 1 << 15) -> Iterator[ObjectTable]:
    """`ObjectsReader.batches`, each checked before compiled code sees it.

    Raises
    ------
    OutputError
        If the objects are damaged.
    """
    for table in reader.batches(kind, rows):
        try:
            yield checked(table, reader.prompts)
        except ValueError as error:
            raise OutputError(f"{reader.path}: damaged: {error}. Run the slide again to make it anew.") from error


def _simplified(table: ObjectTable) -> ObjectTable:
    """Outlines without the corners that lie within `SIMPLIFY_PX` of a straighter one; the full one where that fails."""
    offsets = (table.ring_offsets, table.polygon_offsets)
    full = shapely.from_ragged_array(shapely.GeometryType.POLYGON, table.coords.astype(np.float64), offsets)
    simple = shapely.simplify(full, SIMPLIFY_PX, preserve_topology=True)
    chosen = np.where(shapely.is_valid(simple) & (shapely.area(simple) > 0), simple, full)
    _, coords, (rings, polygons) = shapely.to_ragged_array(chosen)
    return replace(
        table,
        coords=np.rint(coords).astype(np.int32),
        ring_offsets=rings.astype(np.int64),
        polygon_offsets=polygons.astype(np.int64),
    )


def _schema(reader: ObjectsReader, kinds: Sequence[PromptKind]) -> dict[str, int]:
    """Measurement -> decimals, for all objects of these kinds."""
    prompts = {position for kind in kinds for position in reader.prompts.of_kind(kind)}
    judged = any(
        position in prompts and bool(np.isfinite(scores).any())
        for grid in reader.recognition
        for position, scores in zip(grid.positions, grid.scores, strict=True)
    )
    samples = {kind: reader.table(kind, 0, min(1, reader.count(kind))) for kind in kinds}
    return _schema_of(samples, reader.prompts, judged=judged)


def _schema_of(samples: Mapping[PromptKind, ObjectTable], prompts: PromptSet, *, judged: bool) -> dict[str, int]:
    """Measurement -> decimals, from an object of each kind, or an empty table of a kind without any."""
    found: dict[str, int] = {}
    for kind, table in samples.items():
        if not len(table):
            shares = len(prompts.of_kind("cell")) if kind == "cell" else 0
            table = ObjectTable(class_share=np.zeros((0, shares), np.float32))
        numbers = measure(table, prompts, 1.0, judged=judged)
        found |= dict(zip(numbers.names, numbers.decimals.tolist(), strict=True))
    return found


def tables_frame(
    tables: Mapping[PromptKind, ObjectTable],
    fields: Mapping[PromptKind, Frame],
    prompts: PromptSet,
    facts: Mapping[str, Any],
) -> ObjectFrame:
    """Objects in memory as one frame, kind after kind: what `read_objects` gives for the same objects on disk.

    Parameters
    ----------
    tables : all objects of each kind
    fields : frame of each kind's coordinates
    prompts : what class ids mean
    facts : as `ObjectFrame.facts`
    """
    judged = any(bool(np.isfinite(table.recognition).any()) for table in tables.values())
    schema = _schema_of(
        {kind: table.take(np.arange(min(1, len(table)))) for kind, table in tables.items()}, prompts, judged=judged
    )
    some = [kind for kind, table in tables.items() if len(table)] or list(tables)[:1]
    return joined(
        [
            _frame_of(
                checked(tables[kind], prompts), fields[kind], prompts, facts, schema, simplify=False, outlines=True
            )
            for kind in some
        ]
    )


def _frame_of(
    table: ObjectTable,
    field: Frame,
    prompts: PromptSet,
    facts: Mapping[str, Any],
    schema: Mapping[str, int],
    *,
    simplify: bool,
    outlines: bool,
) -> ObjectFrame:
    """A table that `checked` returned as a frame; the measurements are those of the full outlines."""
    numbers = measure_checked(table, prompts, um2_per_px(field), free=is_free(field))
    places = {name: k for k, name in enumerate(schema)}
    values = np.full((len(table), len(schema)), np.nan)
    values[:, [places[name] for name in numbers.names]] = numbers.values
    offset = (int(facts["origin"][0]), int(facts["origin"][1]))
    shapes = None
    if outlines:
        drawn = _simplified(table) if simplify and len(table) else table
        shapes = Outlines(to_qupath(to_level0(drawn.coords, field), offset), drawn.ring_offsets, drawn.polygon_offsets)
    return ObjectFrame(
        facts=facts,
        prompts=prompts,
        uuid=object_ids(table, prompts, str(facts["slide"])),
        class_id=table.class_id,
        centroid=to_qupath(to_level0(table.centroid, field), offset),
        # a point of another program has no area
        area_px=np.where(table.area_px > 0, table.area_px * (field.downsample[0] * field.downsample[1]), np.nan),
        measured=tuple(map(column_name, schema)),
        decimals=np.array(list(schema.values()), np.int64),
        values=values,
        outlines=shapes,
    )


def object_frames(
    reader: ObjectsReader,
    kinds: Sequence[PromptKind] = KINDS,
    *,
    offset: tuple[int, int] = (0, 0),
    simplify: bool = False,
    outlines: bool = True,
    rows: int = 1 << 15,
) -> Iterator[ObjectFrame]:
    """Objects as frames of at most `rows` rows, kind after kind, each in raster order; at least one frame.

    All frames have the same columns. If there are no objects, one empty frame tells them.

    Parameters
    ----------
    reader : objects.zarr
    kinds : which objects
    offset : level-0 px to subtract, x then y
    simplify : drop corners that lie within half a field px of a straighter outline
    outlines : whether polygons are wanted
    rows : most rows in a frame, >= 1

    Raises
    ------
    OutputError
        If objects.zarr is damaged, at the latest after the last frame.
    """
    facts, schema = source_facts(reader, offset), _schema(reader, kinds)
    some = False
    for kind in kinds:
        for table in sound_batches(reader, kind, rows):
            some = True
            yield _frame_of(
                table, reader.frames[kind], reader.prompts, facts, schema, simplify=simplify, outlines=outlines
            )
    if not some:
        empty = ObjectTable()
        field = reader.frames[kinds[0]]
        yield _frame_of(empty, field, reader.prompts, facts, schema, simplify=False, outlines=outlines)


def joined(frames: Sequence[ObjectFrame]) -> ObjectFrame:
    """The rows of all frames of one stream, one after the other."""
    first = frames[0]
    if len(frames) == 1:
        return first
    shapes = None
    if first.outlines is not None:
        parts = [frame.shapes() for frame in frames]
        offsets = (
            np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate([np.diff(o) for o in column]))])
            for column in ([p.ring_offsets for p in parts], [p.polygon_offsets for p in parts])
        )
        shapes = Outlines(np.concatenate([p.coords for p in parts]), *offsets)
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(frame, name) for frame in frames])
        for name in ("uuid", "class_id", "centroid", "area_px", "values")
    }
    return replace(first, outlines=shapes, **columns)


def read_objects(path: str | Path, kind: ExportKind = "both", *, outlines: bool = True) -> ObjectFrame:
    """The objects of one slide as a table in memory, level-0 px, cells first.

    Parameters
    ----------
    path : ``objects.zarr`` or the results folder of one slide, which holds it
    kind : which objects
    outlines : False leaves the polygons out, which take most of the memory (about 600 bytes an object)

    Raises
    ------
    OutputError
        If there is no objects.zarr, or it is damaged.
    ValueError
        If `kind` is none of the three.

    Examples
    --------
    >>> import wsiparse
    >>> objects = wsiparse.read_objects(next(Path("results/slides").iterdir()), "cell")
    >>> bool((objects["area_um2"] > 0).all())
    True
    """
    if kind not in (*KINDS, "both"):
        raise ValueError(f"kind {kind!r} is neither 'cell', 'region' nor 'both'")
    folder = Path(path)
    if (folder / "objects.zarr").is_dir():
        folder = folder / "objects.zarr"
    elif (folder / "slides").is_dir():
        raise OutputError(f"{folder}: holds the results of several slides; name one of the folders in slides/.")
    check_beside(folder)
    frames = object_frames(ObjectsReader(folder), KINDS if kind == "both" else (kind,), outlines=outlines)
    return joined(list(frames))
