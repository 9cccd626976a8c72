"""GeoParquet: polygons and points as well-known binary, of any program or of ours.

A class is the text (or number) of the first of the columns class, classification, class_name, label, type, name; what
is in other columns is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.errors import ImportFileError
from wsiparse.imports.found import Classes, DeclaredKind, Found, SourceFile, number_or_nan
from wsiparse.imports.geojson import own_facts

__all__ = ["parquet_file"]

_CLASS_COLUMNS: Final = ("class", "classification", "class_name", "label", "type", "name")
_SCORES: Final = ("detection_probability", "probability", "score", "prob")
_ROWS: Final = 1 << 13


def parquet_file(path: Path, classes: Classes) -> SourceFile:
    """The objects of a GeoParquet file.

    Raises
    ------
    ImportFileError
        If pyarrow is not installed, or it is no GeoParquet file.
    """
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as error:
        raise ImportFileError(
            f"{path}: reading GeoParquet needs the package pyarrow: pip install 'wsiparse[parquet]'."
        ) from error
    try:
        file = parquet.ParquetFile(path)
        told = {key.decode(): value for key, value in (file.schema_arrow.metadata or {}).items()}
        geo = json.loads(told["geo"]) if "geo" in told else {}
        own = json.loads(told["wsiparse"]) if "wsiparse" in told else None
    except FileNotFoundError:
        raise ImportFileError(f"{path}: no such file. Check the path.") from None
    except (OSError, ValueError, ArrowException) as error:
        raise ImportFileError(f"{path}: not a Parquet file ({' '.join(str(error).split())[:200]}).") from error
    column = geo.get("primary_column", "geometry") if isinstance(geo, Mapping) else "geometry"
    names = set(file.schema_arrow.names)
    if column not in names:
        raise ImportFileError(
            f"{path}: no geometry in it (its columns: {', '.join(sorted(names))[:200]}). Give a GeoParquet file."
        )
    source = SourceFile("wsiparse" if own else "GeoParquet", "level0", iter(()), own_facts(own))
    source.batches = _batches(file, path, column, classes, source)
    return source


def _batches(file: Any, path: Path, column: str, classes: Classes, source: SourceFile) -> Iterator[Found]:
    names = {name.casefold(): name for name in file.schema_arrow.names}
    of_class = next((names[name] for name in _CLASS_COLUMNS if name in names), None)
    score = next((names[name] for name in _SCORES if name in names), None)
    kind = names.get("kind")
    wanted = [name for name in (column, of_class, score, kind) if name is not None]
    done = 0
    for batch in file.iter_batches(_ROWS, columns=wanted):
        try:
            shapes = shapely.from_wkb(np.array(batch[column].to_pylist(), object))
        except (TypeError, ValueError, shapely.errors.ShapelyError) as error:
            raise ImportFileError(f"{path}: geometries that are no well-known binary. Write GeoParquet 1.0.") from error
        texts = batch[of_class].to_pylist() if of_class else [None] * len(shapes)
        kinds = batch[kind].to_pylist() if kind else [None] * len(shapes)
        scores = [number_or_nan(v) for v in batch[score].to_pylist()] if score else [np.nan] * len(shapes)
        numbers = [_number(classes, text, what) for text, what in zip(texts, kinds, strict=True)]
        yield replace(_found(shapes, np.array(numbers, np.uint8), np.array(scores, np.float32), source), first=done)
        done += len(shapes)


def _number(classes: Classes, text: Any, kind: Any) -> int:
    told: DeclaredKind = "region" if kind == "region" else "cell"
    name = "" if text is None else text if isinstance(text, str) else f"type {text}"
    if isinstance(text, str) and text.startswith("{"):  # QuPath's classification, as geopandas keeps it
        try:
            name = str(json.loads(text).get("name") or "")
        except (ValueError, AttributeError):
            name = text
    return classes.number(" ".join(name.split()), told)


def _found(
    shapes: NDArray[np.object_], numbers: NDArray[np.uint8], scores: NDArray[np.float32], source: SourceFile
) -> Found:
    parts, owner = shapely.get_parts(shapes, return_index=True)
    several = int((np.bincount(owner, minlength=len(shapes)) > 1).sum())
    if several:
        source.leave("outlines of several parts, each of which is an object now", several)
    kinds = shapely.get_type_id(parts)
    kept = np.isin(kinds, (0, 3)) & ~shapely.is_empty(parts)
    lost = int((~kept).sum()) + int(shapely.is_missing(shapes).sum())
    if lost:
        source.leave("rows without a polygon or a point", lost)
    parts, owner = parts[kept], owner[kept]
    rings, of_part = shapely.get_rings(parts, return_index=True)
    point = shapely.get_type_id(parts) == 0
    # a point is a ring of one vertex
    pieces = np.concatenate([rings, parts[point]])
    order = np.argsort(np.concatenate([of_part, np.flatnonzero(point)]), kind="stable")
    coords, of_ring = shapely.get_coordinates(pieces[order], return_index=True)
    sizes = np.bincount(of_ring, minlength=len(pieces))
    counts = np.bincount(np.concatenate([of_part, np.flatnonzero(point)]), minlength=len(parts))
    return Found(
        coords,
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        numbers[owner],
        scores[owner],
    )
