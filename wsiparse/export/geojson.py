"""Objects as GeoJSON in the dialect QuPath reads: polygons and centroids, streaming, in parts.

Coordinates are level-0 px (less `offset`) with at most two decimals, because QuPath rounds to that. Rounding is done
axis by axis and keeps the order of coordinates; as long as a field px is at least 0.01 level-0 px wide two different
field coordinates stay different, so a valid crack polygon stays valid. Where that does not hold (a finer field, or
simplified outlines, whose edges are oblique) every polygon is tested after rounding: a simplified outline that broke
returns to the full one, and one that still is not valid is left out and counted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import output_errors
from wsiparse.coords import Frame, is_free, um2_per_px
from wsiparse.export.deflate import TextFile
from wsiparse.export.features import FeatureStyle, FeatureText, ObjectType, slices, to_json
from wsiparse.machine import own_version
from wsiparse.store.ids import object_ids
from wsiparse.store.measure import Measurements, measure_checked
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, PromptSet

__all__ = ["GeojsonSummary", "OverlayFacts", "write_centroids", "write_geojson"]

#: Most objects in a file that QuPath's menu import takes at about 1 GB of its memory.
PART_ROWS: Final = 100_000

#: Tolerance of `simplify`, field px: less than a pixel, so that stairs become slopes and nothing moves further.
SIMPLIFY_PX: Final = 0.5

#: The finest field in which different coordinates stay different at two decimals.
_FINEST: Final = 0.01


@dataclass(frozen=True, slots=True)
class OverlayFacts:
    """What is true of all objects of a file.

    Parameters
    ----------
    frame : frame of their coordinates
    prompts : class names and colours
    fingerprint : of the slide; enters the ids
    engine : the words every output carries
    offset : level-0 px to subtract, x then y (the slide's bounds origin for QuPath, which crops to the bounds)
    """

    frame: Frame
    prompts: PromptSet
    fingerprint: str
    engine: str
    offset: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class GeojsonSummary:
    """What was written.

    Parameters
    ----------
    paths : the files, in order
    objects : features in all of them
    dropped : objects left out because nothing valid was left of them after rounding
    text_bytes : size before compression
    """

    paths: tuple[Path, ...]
    objects: int
    dropped: int
    text_bytes: int


class _Parts:
    """Files of at most `part_rows` features each; the first gets its name when it is known whether others follow."""

    def __init__(self, path: Path, part_rows: int, facts: dict[str, object]) -> None:
        self._path = path
        self._stem, self._suffix = _split_name(path)
        self._rows = part_rows
        self._facts = facts
        self._file: TextFile | None = None
        self._in_file = 0
        self.paths: list[Path] = []
        self.text_bytes = 0

    def room(self) -> int:
        """How many features the current file still takes; opens the next file when it is full."""
        if self._file is not None and self._in_file == self._rows:
            self._publish(last=False)
        return self._rows - self._in_file

    def write(self, text: memoryview, features: int) -> None:
        """Append features, at most as many as there is room for."""
        if self._file is None:
            self._open()
        assert self._file is not None
        self._file.write(text if self._in_file else text[1:])  # no comma before the first
        self._in_file += features

    def finish(self) -> None:
        """Publish the last file, an empty one if nothing was written, and remove files of an earlier export."""
        if self._file is None and not self.paths:
            self._open()
        if self._file is not None:
            self._publish(last=True)
        stale = re.compile(rf"{re.escape(self._stem)}(\.part\d{{3,}})?{re.escape(self._suffix)}")
        with output_errors(self._path):
            for path in sorted(self._path.parent.iterdir()):
                if stale.fullmatch(path.name) and path not in self.paths:
                    path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget the file that is open."""
        if self._file is not None:
            self._file.discard()

    def _open(self) -> None:
        self._file = TextFile(self._path)
        facts = {**self._facts, "part": len(self.paths) + 1}
        self._file.write(f'{{"type":"FeatureCollection","wsiparse":{to_json(facts)},"features":['.encode())

    def _publish(self, *, last: bool) -> None:
        assert self._file is not None
        self._file.write(b"\n]}\n")
        number = len(self.paths) + 1
        alone = last and number == 1
        path = self._path if alone else self._path.with_name(f"{self._stem}.part{number:03d}{self._suffix}")
        self.text_bytes += self._file.size
        self.paths.append(self._file.commit(path))
        self._file, self._in_file = None, 0


def _split_name(path: Path) -> tuple[str, str]:
    for suffix in (".geojson.gz", ".geojson", ".json.gz", ".json"):
        if path.name.endswith(suffix):
            return path.name[: -len(suffix)], suffix
    raise ValueError(f"{path.name}: a GeoJSON file is called .geojson or .geojson.gz")


def _style_and_facts(
    of: OverlayFacts, *, geometry: Literal["Point", "Polygon"], object_type: ObjectType, locked: bool
) -> tuple[FeatureStyle, dict[str, object]]:
    if object_type not in ("annotation", "detection"):
        raise ValueError(f"object type {object_type!r} is neither 'annotation' nor 'detection'")
    metadata = {"wsiparse": own_version(), "engine": of.engine} if object_type == "annotation" else {}
    style = FeatureStyle(geometry, object_type, locked, of.prompts, metadata)
    facts: dict[str, object] = {
        "version": own_version(),
        "engine": of.engine,
        "slide": of.fingerprint,
        "unit": "level-0 px",
        "origin": [int(of.offset[0]), int(of.offset[1])],
        "downsample": list(of.frame.downsample),
    }
    return style, facts


def write_geojson(
    path: Path,
    batches: Iterable[ObjectTable],
    of: OverlayFacts,
    *,
    object_type: ObjectType = "detection",
    locked: bool = False,
    simplify: bool = False,
    part_rows: int = PART_ROWS,
) -> GeojsonSummary:
    """Write objects as polygons, one table at a time, in constant memory.

    Files are published one by one as they fill; earlier parts beyond the last one written are removed at the end. The
    bytes depend on the objects and their order alone, not on how they were cut into batches.

    Parameters
    ----------
    path : ``X.geojson`` or ``X.geojson.gz``; more than `part_rows` objects go to ``X.part001.geojson.gz``, ... instead
    batches : objects, field px
    of : what is true of all of them
    object_type, locked : how QuPath takes the objects: cells are detections, regions locked annotations
    simplify : drop corners that lie within `SIMPLIFY_PX` of a straighter outline (measurements are of the full one)
    part_rows : most objects in a file, >= 1

    Raises
    ------
    ValueError
        If an argument is out of range or a class id is not in `prompts`.
    OutputError
        If the folder cannot be written to or the disk is full; the open part is then gone, finished ones stay.
    """
    if part_rows < 1:
        raise ValueError(f"part_rows must be >= 1, got {part_rows}")
    style, facts = _style_and_facts(of, geometry="Polygon", object_type=object_type, locked=locked)
    prompts, frame = of.prompts, of.frame
    parts = _Parts(path, part_rows, facts)
    formatter = FeatureText(style, frame, of.offset)
    objects = dropped = 0
    try:
        for table in batches:
            table = outlines = checked(table, prompts)
            ids = object_ids(table, prompts, of.fingerprint)
            numbers = measure_checked(table, prompts, um2_per_px(frame), free=is_free(frame))
            if simplify or min(frame.downsample) < _FINEST:
                outlines, kept = _writable(table, frame, simplify=simplify)
                dropped += len(table) - len(kept)
                ids, numbers = ids[kept], Measurements(numbers.names, numbers.decimals, numbers.values[kept])
            for rows in slices(outlines, parts.room):
                values = Measurements(numbers.names, numbers.decimals, numbers.values[rows])
                text = formatter.polygons(outlines.rows(rows.start, rows.stop), ids[rows], values)
                parts.write(text, rows.stop - rows.start)
            objects += len(outlines)
        parts.finish()
    finally:
        parts.discard()
    return GeojsonSummary(tuple(parts.paths), objects, dropped, parts.text_bytes)


def write_centroids(
    path: Path,
    batches: Iterable[ObjectTable],
    of: OverlayFacts,
    *,
    object_type: ObjectType = "detection",
    part_rows: int | None = None,
) -> GeojsonSummary:
    """Write one point an object, at its centroid, without measurements: a light alternative to `write_geojson`.

    Ids are those of the polygons, so that a point names its object; load one file or the other. Annotations are locked.
    Arguments as `write_geojson`; by default everything goes into one file.

    Raises
    ------
    ValueError, OutputError
        As `write_geojson`.
    """
    if part_rows is not None and part_rows < 1:
        raise ValueError(f"part_rows must be >= 1, got {part_rows}")
    style, facts = _style_and_facts(of, geometry="Point", object_type=object_type, locked=object_type == "annotation")
    parts = _Parts(path, part_rows or (1 << 62), facts)
    formatter = FeatureText(style, of.frame, of.offset)
    objects = 0
    try:
        for table in batches:
            table = checked(table, of.prompts)
            ids = object_ids(table, of.prompts, of.fingerprint)
            for rows in slices(table, parts.room):
                none = Measurements((), np.zeros(0, np.int64), np.zeros((rows.stop - rows.start, 0)))
                parts.write(
                    formatter.points(table.rows(rows.start, rows.stop), ids[rows], none), rows.stop - rows.start
                )
            objects += len(table)
        parts.finish()
    finally:
        parts.discard()
    return GeojsonSummary(tuple(parts.paths), objects, 0, parts.text_bytes)


def _writable(table: ObjectTable, frame: Frame, *, simplify: bool) -> tuple[ObjectTable, NDArray[np.int64]]:
    """Outlines that are valid after rounding, and the rows of `table` they belong to."""
    import shapely

    polygons = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, table.coords.astype(np.float64), (table.ring_offsets, table.polygon_offsets)
    )
    chosen = polygons
    if simplify:
        simple = shapely.simplify(polygons, SIMPLIFY_PX, preserve_topology=True)
        chosen = np.where(_valid_rounded(simple, frame), simple, polygons)
    kept = np.flatnonzero(_valid_rounded(chosen, frame)).astype(np.int64)
    if not len(kept):
        return ObjectTable(), kept
    _, coords, (rings, outlines) = shapely.to_ragged_array(chosen[kept])
    rest = table.take(kept)
    return (
        replace(
            rest,
            coords=np.rint(coords).astype(np.int32),
            ring_offsets=rings.astype(np.int64),
            polygon_offsets=outlines.astype(np.int64),
        ),
        kept,
    )


def _valid_rounded(polygons: NDArray[Any], frame: Frame) -> NDArray[np.bool_]:
    """(N,) bool: is each polygon a valid polygon with an area once its coordinates have two decimals?"""
    import shapely

    scale = np.asarray(frame.downsample) * 100.0
    rounded = shapely.transform(polygons, lambda points: np.floor(points * scale + 0.5))
    valid: NDArray[np.bool_] = shapely.is_valid(rounded) & (shapely.area(rounded) > 0)
    return valid
