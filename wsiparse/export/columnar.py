"""Objects as rows of a table file: CSV, Parquet, GeoParquet; the only pyarrow import.

All are written frame by frame in constant memory. CSV rounds as GeoJSON does; Parquet keeps full doubles. GeoParquet
follows version 1.1.0 of its specification: polygons as WKB, a bounding box per row that readers may filter by, and the
file's metadata under the key ``geo``, with ``crs`` null because coordinates are pixels.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import publish
from wsiparse.export.deflate import TextFile
from wsiparse.export.extras import optional
from wsiparse.export.objectframe import ObjectFrame, Outlines, id_texts
from wsiparse.store.sort import KINDS

__all__ = ["GEOPARQUET", "half_up", "write_csv", "write_parquet"]

#: Version of the GeoParquet specification that is followed.
GEOPARQUET: Final = "1.1.0"

#: Decimals of the columns that are no measurements; area_px is exact.
_DECIMALS: Final = {"x_px": 2, "y_px": 2, "x_um": 3, "y_um": 3}


def half_up(values: NDArray[np.float64], decimals: int) -> NDArray[np.float64]:
    """Rounded to `decimals`, halves away from zero, as the GeoJSON writer does; NaN stays.

    Parameters
    ----------
    values : (...) float64
    decimals : >= 0

    Returns
    -------
    (...) float64, the same shape
    """
    scale = 10.0**decimals
    rounded: NDArray[np.float64] = np.copysign(np.floor(np.abs(values) * scale + 0.5) / scale, values)
    return rounded


def _line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _csv_rows(frame: ObjectFrame, classes: list[str], slide_id: str) -> str:
    """The lines of a frame; `classes` are the quoted class names by class id - 1, `slide_id` is quoted too."""
    kinds = [prompt.kind for prompt in frame.prompts]
    rows = frame.class_id.astype(np.int64) - 1
    columns: list[list[Any]] = [
        id_texts(frame.uuid).astype("U36").tolist(),
        [classes[k] for k in rows.tolist()],
        [kinds[k] for k in rows.tolist()],
    ]
    layout = ["%s", "%s", "%s"]
    places = _DECIMALS | dict(zip(frame.measured, frame.decimals.tolist(), strict=True))
    for name in frame.columns[3:-1]:
        values = frame[name]
        form = f"%.{places[name]}f" if name in places else "%.15g"
        if name in places:
            values = half_up(values, places[name])
        if np.isfinite(values).all():
            columns.append(values.tolist())
            layout.append(form)
        else:
            columns.append([form % value if math.isfinite(value) else "" for value in values.tolist()])
            layout.append("%s")
    line = ",".join((*layout, slide_id.replace("%", "%%"))) + "\n"
    return "".join(map(line.__mod__, zip(*columns, strict=True)))


def write_csv(path: Path, frames: Iterable[ObjectFrame], *, cell: Callable[[str], str]) -> int:
    """Write one line an object under a header, UTF-8, decimal points, empty where there is no number.

    Centroids have two decimals (px) or three (um), measurements as many as in GeoJSON, `area_px` all.

    Parameters
    ----------
    path : ``X.csv`` or ``X.csv.gz``
    frames : objects, at least one frame
    cell : how text becomes a cell that no spreadsheet takes for a formula (`wsiparse.names.safe_cell`)

    Returns
    -------
    Number of objects.

    Raises
    ------
    OutputError
        If the folder cannot be written to or the disk is full.
    """
    file = TextFile(path)
    rows, classes, slide_id = 0, None, ""
    try:
        for frame in frames:
            if classes is None:
                file.write(_line(map(cell, frame.columns)).encode())
                # a line of one cell is that cell, quoted where it must be
                classes = [_line([cell(name)]).removesuffix("\n") for name in frame.class_names]
                slide_id = _line([cell(frame.slide_id)]).removesuffix("\n")
            file.write(_csv_rows(frame, classes, slide_id).encode())
            rows += len(frame)
        file.commit(path)
    finally:
        file.discard()
    return rows


def _wkb(shapes: Outlines) -> tuple[bytes, NDArray[np.int64]]:
    """Polygons as well-known binary (OGC 06-103r4, 8.2), little-endian, one after the other, and where each begins.

    Straight from the columns: no geometry objects, which take several times the memory.
    """
    rings, polygons = shapes.ring_offsets.tolist(), shapes.polygon_offsets.tolist()
    points = memoryview(np.ascontiguousarray(shapes.coords, "<f8").tobytes())
    in_ring = np.diff(shapes.ring_offsets).astype("<u4").tobytes()
    in_polygon = np.diff(shapes.polygon_offsets).astype("<u4").tobytes()
    pieces: list[bytes | memoryview] = []
    for k in range(len(polygons) - 1):
        pieces += (b"\x01\x03\x00\x00\x00", in_polygon[4 * k : 4 * k + 4])
        for r in range(polygons[k], polygons[k + 1]):
            pieces += (in_ring[4 * r : 4 * r + 4], points[16 * rings[r] : 16 * rings[r + 1]])
    vertices = shapes.ring_offsets[shapes.polygon_offsets]
    starts = 9 * np.arange(len(polygons)) + 4 * shapes.polygon_offsets + 16 * vertices
    return b"".join(pieces), starts


def _arrow_table(pyarrow: Any, frame: ObjectFrame, *, geometry: bool) -> Any:
    n = len(frame)
    texts = pyarrow.array(list(frame.class_names), pyarrow.string())
    of_class = frame.class_id.astype(np.int16) - 1
    of_kind = np.array([KINDS.index(prompt.kind) for prompt in frame.prompts], np.int16)[of_class]
    ends = np.arange(n + 1, dtype=np.int32) * 36
    columns = {
        "id": pyarrow.StringArray.from_buffers(
            n, pyarrow.py_buffer(ends), pyarrow.py_buffer(np.ascontiguousarray(id_texts(frame.uuid)))
        ),
        "class": pyarrow.DictionaryArray.from_arrays(pyarrow.array(of_class), texts),
        "kind": pyarrow.DictionaryArray.from_arrays(pyarrow.array(of_kind), pyarrow.array(list(KINDS))),
        # NaN says that there is no such number, which Parquet calls null
        **{name: pyarrow.array(frame[name], from_pandas=True) for name in frame.columns[3:-1]},
        "slide_id": pyarrow.DictionaryArray.from_arrays(
            pyarrow.array(np.zeros(n, np.int16)), pyarrow.array([frame.slide_id], pyarrow.string())
        ),
    }
    if geometry:
        box = frame.shapes().bounds()
        sides = [pyarrow.array(np.ascontiguousarray(box[:, k])) for k in range(4)]
        columns["bbox"] = pyarrow.StructArray.from_arrays(sides, ["xmin", "ymin", "xmax", "ymax"])
        data, starts = _wkb(frame.shapes())
        columns["geometry"] = pyarrow.Array.from_buffers(
            pyarrow.large_binary(), n, [None, pyarrow.py_buffer(starts), pyarrow.py_buffer(data)]
        )
    return pyarrow.table(columns)


def _geo_metadata(bounds: NDArray[np.float64]) -> dict[str, Any]:
    """The value of the key ``geo``; `bounds` is of all rows, infinite without any."""
    column: dict[str, Any] = {
        "encoding": "WKB",
        "geometry_types": ["Polygon"] if np.isfinite(bounds).all() else [],
        "crs": None,
        "edges": "planar",
        "covering": {"bbox": {side: ["bbox", side] for side in ("xmin", "ymin", "xmax", "ymax")}},
    }
    if np.isfinite(bounds).all():
        column["bbox"] = bounds.tolist()
    return {"version": GEOPARQUET, "primary_column": "geometry", "columns": {"geometry": column}}


def write_parquet(path: Path, frames: Iterable[ObjectFrame], *, geometry: bool, facts: Mapping[str, Any]) -> int:
    """Write a Parquet file, one row group a frame, Zstandard; `facts` as JSON under the metadata key ``wsiparse``.

    Parameters
    ----------
    path : the file
    frames : objects, at least one frame; with outlines if `geometry`
    geometry : add polygons and their boxes and make it a GeoParquet file
    facts : JSON values

    Returns
    -------
    Number of objects.

    Raises
    ------
    OutputError
        If pyarrow is not installed, the folder cannot be written to or the disk is full.
    """
    what = "The format geoparquet" if geometry else "The format parquet"
    pyarrow, parquet = optional("pyarrow", what), optional("pyarrow.parquet", what)
    bounds = np.array([np.inf, np.inf, -np.inf, -np.inf])
    source = iter(frames)
    first = next(source)
    told = {"wsiparse": json.dumps(dict(facts), ensure_ascii=False)}
    schema = _arrow_table(pyarrow, first, geometry=geometry).schema.with_metadata(told)
    rows = 0
    # a file of Python's, so that a full disk is the operating system's own error
    with (
        publish(path) as temporary,
        temporary.open("wb") as sink,
        # dictionaries are for what repeats; ids and numbers do not
        parquet.ParquetWriter(sink, schema, compression="zstd", use_dictionary=["class", "kind"]) as writer,
    ):
        for frame in itertools.chain([first], source):
            if not len(frame):
                continue
            rows += len(frame)
            writer.write_table(_arrow_table(pyarrow, frame, geometry=geometry), row_group_size=len(frame))
            if geometry:
                box = frame.shapes().bounds()
                bounds[:2] = np.minimum(bounds[:2], box[:, :2].min(axis=0))
                bounds[2:] = np.maximum(bounds[2:], box[:, 2:].max(axis=0))
        if geometry:
            writer.add_key_value_metadata({"geo": json.dumps(_geo_metadata(bounds))})
    return rows
