"""Objects as the table people work with: level-0 coordinates, class names, measurements, ids.

Every tabular format is made of `ObjectFrame`, so all of them tell the same numbers under the same names::

    id                str    UUIDv5 (see `wsiparse.store.ids`)
    class, kind       str    class name; "cell" or "region"
    x_px, y_px        float  centroid, level-0 px
    x_um, y_um        float  the same in microns, from the same origin
    area_px           float  area, level-0 px^2
    area_um2, ...     float  the measurements of `wsiparse.store.measure`; NaN where an object has none
    mean_od           float  one of them: mean optical density
    recognition_score float  if the engine has such scores; NaN for classes without
    share_<class>     float  one for each cell class, if there are several
    slide_id          str    name of the slide's results folder, the same in every row: tables can be put together
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.choices import ExportKind
from wsiparse.coords import Frame, is_free, to_level0, to_qupath, um2_per_px
from wsiparse.errors import OutputError
from wsiparse.export.extras import optional
from wsiparse.export.geojson import SIMPLIFY_PX
from wsiparse.machine import own_version
from wsiparse.results.whole import check_beside
from wsiparse.store.ids import object_ids
from wsiparse.store.measure import measure, measure_checked
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import KINDS
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, PromptKind, PromptSet

if TYPE_CHECKING:
    import geopandas
    import pandas

__all__ = [
    "ObjectFrame",
    "Outlines",
    "column_name",
    "id_texts",
    "joined",
    "object_frames",
    "read_objects",
    "slide_fact",
    "sound_batches",
    "source_facts",
    "tables_frame",
]

_FIXED: Final = ("id", "class", "kind", "x_px", "y_px", "x_um", "y_um", "area_px")
_DASH_AFTER: Final = (4, 6, 8, 10)


@dataclass(frozen=True, eq=False)
class Outlines:
    """Polygons as a ragged array; offsets as in `wsiparse.types.ObjectTable`.

    Parameters
    ----------
    coords : (V, 2) float64, x then y, level-0 px less the offset
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    """

    coords: NDArray[np.float64]
    ring_offsets: NDArray[np.int64]
    polygon_offsets: NDArray[np.int64]

    def polygons(self) -> NDArray[Any]:
        """(N,) shapely polygons, dtype object."""
        offsets = (self.ring_offsets, self.polygon_offsets)
        found: NDArray[Any] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, self.coords, offsets)
        return found

    def bounds(self) -> NDArray[np.float64]:
        """(N, 4) float64: smallest x, smallest y, largest x, largest y of each polygon."""
        starts = self.ring_offsets[self.polygon_offsets[:-1]]
        if not len(starts):
            return np.zeros((0, 4))
        low, high = (ufunc.reduceat(self.coords, starts, axis=0) for ufunc in (np.minimum, np.maximum))
        return np.concatenate([low, high], axis=1)


@dataclass(frozen=True, eq=False, repr=False)
class ObjectFrame:
    """A table of objects; ``frame["area_um2"]`` is a column (see the module), `columns` lists them.

    Parameters
    ----------
    facts : where the objects come from, as JSON values: version, engine, slide fingerprint, id, name, size and mpp,
        unit and origin of the coordinates
    prompts : names, colours and kinds of the classes
    uuid : (N, 16) uint8, the bytes of each id
    class_id : (N,) uint8, position in `prompts` + 1
    centroid : (N, 2) float64, x then y, level-0 px less the origin
    area_px : (N,) float64, level-0 px^2
    measured : names of the M measurements, as columns
    decimals : (M,) int64, decimals worth writing as text
    values : (N, M) float64, NaN where an object has no such number
    outlines : the polygons, or None if they were not asked for

    Examples
    --------
    >>> import wsiparse
    >>> objects = wsiparse.read_objects(next(Path("results/slides").iterdir()))
    >>> objects.columns[:6]
    ('id', 'class', 'kind', 'x_px', 'y_px', 'x_um')
    >>> table = objects.to_pandas()
    >>> len(table) == len(objects)
    True
    """

    facts: Mapping[str, Any]
    prompts: PromptSet
    uuid: NDArray[np.uint8]
    class_id: NDArray[np.uint8]
    centroid: NDArray[np.float64]
    area_px: NDArray[np.float64]
    measured: tuple[str, ...]
    decimals: NDArray[np.int64]
    values: NDArray[np.float64]
    outlines: Outlines | None = None

    def __len__(self) -> int:
        return len(self.class_id)

    def __repr__(self) -> str:
        counts = np.bincount(self.class_id, minlength=len(self.prompts) + 1)[1:].tolist()
        told = ", ".join(f"{n} {name}" for name, n in zip(self.class_names, counts, strict=True))
        return f"ObjectFrame({told}; {len(self.columns)} columns{'' if self.outlines else ', no outlines'})"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns."""
        return (*_FIXED, *self.measured, "slide_id")

    @property
    def slide_id(self) -> str:
        """Name of the slide's results folder, which no other slide of these results has; in memory the slide's name."""
        return str(self.facts["slide_id"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes, prompt order; a class id is a position in it + 1."""
        return tuple(prompt.class_name for prompt in self.prompts)

    @property
    def mpp(self) -> tuple[float, float]:
        """Microns per level-0 px, x and y."""
        x, y = self.facts["mpp"]
        return float(x), float(y)

    def __getitem__(self, column: str) -> NDArray[Any]:
        """One column, (N,): text as ``<U``, numbers as float64.

        Raises
        ------
        KeyError
            If there is no such column.
        """
        if column == "id":
            return id_texts(self.uuid).astype("U36")
        if column in ("class", "kind"):
            texts = self.class_names if column == "class" else tuple(prompt.kind for prompt in self.prompts)
            return np.array(texts)[self.class_id.astype(np.intp) - 1]
        if column in ("x_px", "y_px"):
            return self.centroid[:, "xy".index(column[0])]
        if column in ("x_um", "y_um"):
            axis = "xy".index(column[0])
            return self.centroid[:, axis] * self.mpp[axis]
        if column == "area_px":
            return self.area_px
        if column == "slide_id":
            return np.full(len(self), self.slide_id)
        if column in self.measured:
            return self.values[:, self.measured.index(column)]
        raise KeyError(f"no column {column!r}; there are {', '.join(self.columns)}")

    def polygons(self) -> NDArray[Any]:
        """(N,) shapely polygons, dtype object, level-0 px less the origin, holes kept.

        Raises
        ------
        ValueError
            If the frame was read without outlines.
        """
        return self.shapes().polygons()

    def shapes(self) -> Outlines:
        """The outlines.

        Raises
        ------
        ValueError
            If the frame was read without outlines.
        """
        if self.outlines is None:
            raise ValueError("these objects were read without outlines")
        return self.outlines

    def to_pandas(self) -> pandas.DataFrame:
        """A ``pandas.DataFrame`` of all columns; class, kind, slide_id are categories, ``attrs["wsiparse"]`` the facts.

        Raises
        ------
        OutputError
            If pandas is not installed.
        """
        frames = optional("pandas", "A data frame")
        data = {name: self[name] for name in self.columns if name not in ("class", "kind", "slide_id")}
        table = frames.DataFrame(data)
        kinds = [prompt.kind for prompt in self.prompts]
        codes = self.class_id.astype(np.int16) - 1
        of_kind = np.array([KINDS.index(kind) for kind in kinds], np.int16)[codes]
        table.insert(1, "class", frames.Categorical.from_codes(codes, list(self.class_names)))
        table.insert(2, "kind", frames.Categorical.from_codes(of_kind, list(KINDS)))
        table["slide_id"] = frames.Categorical.from_codes(np.zeros(len(self), np.int8), [self.slide_id])
        table.attrs["wsiparse"] = dict(self.facts)
        return table

    def to_geopandas(self) -> geopandas.GeoDataFrame:
        """A ``geopandas.GeoDataFrame``: `to_pandas` with the polygons as geometry, no coordinate reference system.

        Raises
        ------
        ValueError
            If the frame was read without outlines.
        OutputError
            If geopandas is not installed.
        """
        frames = optional("geopandas", "A geo data frame")
        return frames.GeoDataFrame(self.to_pandas(), geometry=self.polygons(), crs=None)


def id_texts(uuid: NDArray[np.uint8]) -> NDArray[np.bytes_]:
    """Ids as text: (N, 16) uint8, their bytes -> (N,) of dtype S36, hyphenated hexadecimal."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    text = np.empty((len(uuid), 36), np.uint8)
    place = 0
    for k in range(16):
        if k in _DASH_AFTER:
            text[:, place] = ord("-")
            place += 1
        text[:, place] = digits[uuid[:, k] >> 4]
        text[:, place + 1] = digits[uuid[:, k] & 15]
        place += 2
    return text.view("S36")[:, 0]


def column_name(measurement: str) -> str:
    """The column of a measurement: "Area um^2" is ``area_um2``, "Share Lymphocyte" is ``share_Lymphocyte``."""
    if measurement.startswith("Share "):
        return f"share_{measurement.removeprefix('Share ')}"
    return measurement.lower().replace("^", "").replace(" ", "_")


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
