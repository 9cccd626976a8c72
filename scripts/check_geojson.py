#!/usr/bin/env python3
"""Will QuPath read these files? Checks GeoJSON against everything its reader refuses, and what this project promises.

QuPath drops a whole file for one bad feature. Each file is read as a stream, so a million objects need little memory;
the report counts objects by type and class with their summed area. Exit code 0: all files are fine; 1: something
would be refused (or breaks a promise: ids that are no UUIDs or come twice, more than two decimals); 2: usage.

Example: scripts/check_geojson.py results/slides/*/cells.geojson.gz
"""

from __future__ import annotations

import argparse
import gzip
import io
import json
import math
import re
import sys
import uuid
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import shapely

CHUNK = 1 << 20
BATCH = 4096

OBJECT_TYPES = ("annotation", "detection", "cell", "tile")
KINDS = ("Point", "MultiPoint", "LineString", "MultiLineString", "Polygon", "MultiPolygon")
PLANE = frozenset("czt")

Part = list[np.ndarray]  # the rings of a polygon, or one list of positions
Shape = tuple[str, list[Part]]  # kind and parts


class RefusedError(Exception):
    """Something that QuPath refuses, or that this project does not write."""


class JsonStream:
    """JSON values taken from the front of a text that is read as needed."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._source = text
        self._text = ""
        self._at = 0
        self._ended = False
        self._constants: list[str] = []
        self._decoder = json.JSONDecoder(parse_constant=self._constant)

    def _constant(self, name: str) -> float:
        self._constants.append(name)
        return math.nan

    def _more(self, size: int = CHUNK) -> bool:
        new = "" if self._ended else self._source.read(size)
        self._ended = not new
        self._text = self._text[self._at :] + new
        self._at = 0
        return bool(new)

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            while self._at < len(self._text):
                character = self._text[self._at]
                if character not in " \t\r\n":
                    return character
                self._at += 1
            if not self._more():
                return ""

    def take(self, character: str, where: str) -> None:
        """Step over one expected character."""
        found = self.peek()
        if found != character:
            what = f"{found!r}" if found else "the end of the file"
            raise RefusedError(f"not valid JSON: expected {character!r} {where}, found {what}")
        self._at += 1

    def comma_before(self, end: str) -> None:
        """Step over a comma, unless `end` follows at once; not both."""
        if self.peek() != end:
            self.take(",", "between two values")
            if self.peek() == end:
                raise RefusedError(f"not valid JSON: a comma before {end!r}")

    def value(self) -> Any:
        """The next value of any kind; NaN and infinities, which JSON does not have, come as NaN."""
        if not self.peek():
            raise RefusedError("not valid JSON: the file ends in the middle")
        size = CHUNK
        while True:
            self._constants.clear()
            try:
                found, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Cut off by the end of what was read so far, or wrong in the midst of it?
                cut = error.pos >= len(self._text) - 16 or error.msg.startswith("Unterminated string")
                if not cut or not self._more(size):
                    ending = " (the file ends in the middle)" if cut else ""
                    raise RefusedError(f"not valid JSON: {error.msg}{ending}") from None
                size *= 2
            except RecursionError:
                raise RefusedError("not valid JSON: nested too deeply") from None
            else:
                if end < len(self._text) or not self._more(size):
                    break  # else a number may go on in what was not read yet
        self._at = end if end <= len(self._text) else len(self._text)
        return found

    @property
    def constants(self) -> bool:
        """Did the last value hold NaN or an infinity?"""
        return bool(self._constants)


def features(stream: JsonStream) -> Iterator[Any]:
    """Every entry of "features"; raises `RefusedError` for anything but one FeatureCollection."""
    start = stream.peek()
    if start == "[":
        raise RefusedError("the file holds an array, not a FeatureCollection")
    if start != "{":
        raise RefusedError("the file is empty" if not start else f"not valid JSON: starts with {start!r}")
    stream.take("{", "at the start")
    kind, seen = None, False
    while stream.peek() != "}":
        key = stream.value()
        if not isinstance(key, str):
            raise RefusedError("not valid JSON: a key is not a string")
        stream.take(":", f"after the key {key!r}")
        if key == "features":
            seen = True
            stream.take("[", 'after "features"')
            while stream.peek() != "]":
                yield stream.value()
                stream.comma_before("]")
            stream.take("]", 'after "features"')
        else:
            value = stream.value()
            kind = value if key == "type" else kind
        stream.comma_before("}")
    stream.take("}", "at the end")
    if kind != "FeatureCollection":
        raise RefusedError(f"the file is of type {kind!r}, not FeatureCollection")
    if not seen:
        raise RefusedError("the FeatureCollection has no features array")
    if stream.peek():
        raise RefusedError("text goes on after the FeatureCollection (one JSON value a line is not GeoJSON)")


def positions(value: Any, what: str) -> np.ndarray:
    """A list of positions as (n, 2) numbers, not yet looked at one by one."""
    try:
        points = np.array(value)
    except ValueError:
        raise RefusedError(f"{what}: positions differ in length") from None
    if points.ndim != 2 or points.shape[1] not in (2, 3) or points.dtype.kind not in "iuf":
        raise RefusedError(f"{what}: positions are not pairs of numbers")
    return points[:, :2]


def polygon(rings: Any, what: str) -> Part:
    """The rings of one polygon, closed and long enough."""
    if not isinstance(rings, list) or not rings:
        raise RefusedError(f"{what}: a polygon without rings")
    found = []
    for ring in rings:
        points = positions(ring, what)
        if points[0, 0] != points[-1, 0] or points[0, 1] != points[-1, 1]:
            raise RefusedError(f"{what}: a ring is not closed")
        if len(points) < 4:
            raise RefusedError(f"{what}: a ring of fewer than four positions")
        found.append(points)
    return found


def touches_only(shape: shapely.Geometry) -> bool:
    """Is an invalid polygon only one whose rings touch themselves at points, which QuPath accepts?"""
    if not shapely.is_valid_reason(shape).startswith("Ring Self-intersection"):
        return False
    # Where rings cross or holes lie outside, the repaired area is not that of the rings added up.
    return math.isclose(shapely.area(shapely.make_valid(shape)), shapely.area(shape), rel_tol=1e-9)


def geometry_of(value: Any, what: str = "geometry") -> Shape:
    """A geometry of a kind that QuPath reads, its structure checked."""
    if value is None:
        raise RefusedError(f"{what} is null")
    if not isinstance(value, dict):
        raise RefusedError(f"{what} is not an object")
    kind, coordinates = value.get("type"), value.get("coordinates")
    if kind not in KINDS:
        raise RefusedError(f"{what} is a {kind}, which QuPath does not read")
    if not isinstance(coordinates, list) or not coordinates:
        raise RefusedError(f"{what} has no coordinates")
    plane = value.get("plane", {})
    if not isinstance(plane, dict) or not PLANE.issuperset(plane):
        raise RefusedError(f"{what}: plane holds something else than c, z, t")
    if kind == "Polygon":
        return kind, [polygon(coordinates, what)]
    if kind == "Point":
        return kind, [[positions([coordinates], what)]]
    if kind in ("MultiPoint", "LineString"):
        return kind, [[positions(coordinates, what)]]
    if kind == "MultiLineString":
        return kind, [[positions(line, what)] for line in coordinates]
    if len(coordinates) < 2:
        raise RefusedError(f"{what}: a MultiPolygon of one part, write a Polygon")
    return kind, [polygon(rings, what) for rings in coordinates]


def class_of(properties: dict[str, Any]) -> str:
    """The class name of an object, "" without one."""
    if "classification" not in properties:
        return ""
    value = properties["classification"]
    if isinstance(value, str):
        names = [value]
    elif isinstance(value, dict):
        names = value.get("names", [value.get("name")])
        colour = value.get("color")
        if colour is None:
            raise RefusedError("classification without color, write [r, g, b]")
        good = isinstance(colour, list) and len(colour) == 3
        if not good or not all(type(part) is int and 0 <= part <= 255 for part in colour):
            raise RefusedError(f"classification color {colour!r} is not [r, g, b] of 0-255")
        if not isinstance(names, list) or not names:
            raise RefusedError("classification names is not a list of names")
    else:
        raise RefusedError("classification is neither a name nor an object")
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise RefusedError(f"class name {name!r} is blank")
        if "\n" in name or "\r" in name:
            raise RefusedError(f"class name {name!r} has a line break")
    return ": ".join(names)


def check_properties(properties: Any) -> tuple[str, str]:
    """Object type and class of a feature from its properties."""
    if properties is None:
        raise RefusedError("properties is null, leave it out")
    if not isinstance(properties, dict):
        raise RefusedError("properties is not an object")
    for key, value in properties.items():
        if value is None:
            raise RefusedError(f"properties.{key} is null, leave it out")
    kind = properties.get("objectType", properties.get("type", "annotation"))
    if kind not in OBJECT_TYPES:
        raise RefusedError(f"objectType {kind!r} is none of {', '.join(OBJECT_TYPES)}, QuPath makes it an annotation")
    if not isinstance(properties.get("name", ""), str):
        raise RefusedError("name is not a string")
    if not isinstance(properties.get("isLocked", False), bool):
        raise RefusedError("isLocked is neither true nor false")
    measurements = properties.get("measurements", {})
    if not isinstance(measurements, dict):
        raise RefusedError("measurements is not an object of names and numbers")
    for name, value in measurements.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RefusedError(f"measurement {name!r} is not a number")
        if not math.isfinite(value):
            raise RefusedError(f"measurement {name!r} is not finite")
    metadata = properties.get("metadata", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise RefusedError("metadata is not an object of strings")
    return kind, class_of(properties)


UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def check_id(feature: dict[str, Any]) -> bytes:
    """The 16 bytes of a feature's id, none without one."""
    if "id" not in feature:
        return b""
    value = feature["id"]
    if value is None:
        raise RefusedError("id is null, leave it out")
    if not isinstance(value, str) or not UUID.fullmatch(value):
        raise RefusedError(f"id {value!r} is not a UUID, QuPath ignores it")
    return bytes.fromhex(value.replace("-", ""))


def outlines(shapes: list[Shape]) -> np.ndarray:
    """Shapely polygons and multipolygons."""
    parts = [part for _, some in shapes for part in some]
    rings = [ring for part in parts for ring in part]
    if not rings:
        return np.empty(0, object)
    ring_ends = np.cumsum([0, *(len(ring) for ring in rings)])
    part_ends = np.cumsum([0, *(len(part) for part in parts)])
    points = np.concatenate(rings).astype(np.float64)
    polygons = shapely.from_ragged_array(shapely.GeometryType.POLYGON, points, (ring_ends, part_ends))
    found, at = np.empty(len(shapes), object), 0
    for i, (kind, some) in enumerate(shapes):
        found[i] = polygons[at] if kind == "Polygon" else shapely.MultiPolygon(list(polygons[at : at + len(some)]))
        at += len(some)
    return found


class Report:
    """What was found in one file."""

    def __init__(self, shown: int) -> None:
        self.features = 0
        self.refused = 0
        self.problems: list[str] = []
        self.types: Counter[str] = Counter()
        self.classes: Counter[str] = Counter()
        self.areas: defaultdict[str, float] = defaultdict(float)
        self._shown = shown
        self._ids = bytearray()
        self._batch: list[tuple[int, str | None, Shape]] = []  # number, class (None: a nucleus), shape

    def note(self, where: str, problem: object) -> None:
        self.refused += 1
        if len(self.problems) < self._shown:
            self.problems.append(f"{where}: {problem}")

    def feature(self, feature: Any, *, constants: bool) -> None:
        number = self.features
        self.features += 1
        try:
            if not isinstance(feature, dict) or feature.get("type") != "Feature":
                raise RefusedError("not an object of type Feature")
            if constants:
                raise RefusedError("NaN or Infinity is not JSON")
            self._ids += check_id(feature)
            kind, name = check_properties(feature.get("properties", {}))
            if "geometry" not in feature:
                raise RefusedError("no geometry")
            shape = geometry_of(feature["geometry"])
            if "nucleusGeometry" in feature:
                self._batch.append((number, None, geometry_of(feature["nucleusGeometry"], "nucleusGeometry")))
        except RefusedError as problem:
            self.note(f"feature {number}", problem)
            return
        self.types[kind] += 1
        self.classes[name] += 1
        self._batch.append((number, name, shape))
        if len(self._batch) >= BATCH:
            self.test_shapes()

    def test_shapes(self) -> None:
        """Numbers, validity and areas of the shapes gathered so far, all at once."""
        batch, self._batch = self._batch, []
        lists = [(i, points) for i, (_, _, (_, parts)) in enumerate(batch) for part in parts for points in part]
        if not lists:
            return
        points = np.concatenate([p for _, p in lists]).astype(np.float64)
        owner = np.repeat([i for i, _ in lists], [len(p) for _, p in lists])
        finite = np.isfinite(points)
        hundredths = np.where(finite, points, 0) * 100
        coarse = np.abs(hundredths - np.rint(hundredths)) <= 1e-4 + 1e-15 * np.abs(hundredths)
        wrong = dict.fromkeys(
            np.unique(owner[~coarse.all(axis=1)]).tolist(), "more than two decimals, which QuPath rounds"
        )
        wrong |= dict.fromkeys(np.unique(owner[~finite.all(axis=1)]).tolist(), "a coordinate is not finite")
        for i, what in wrong.items():
            self.note(f"feature {batch[i][0]}", what)
        flat = [i for i, (_, _, (kind, _)) in enumerate(batch) if kind.endswith("Polygon") and i not in wrong]
        shapes = outlines([batch[i][2] for i in flat])
        areas, valid = shapely.area(shapes), shapely.is_valid(shapes)
        for i, shape, area, good in zip(flat, shapes, areas.tolist(), valid.tolist(), strict=True):
            number, name, _ = batch[i]
            if not good and not touches_only(shape):
                self.note(f"feature {number}", f"invalid outline: {shapely.is_valid_reason(shape)}")
            elif area <= 0:
                self.note(f"feature {number}", "an outline without area")
            elif name is not None:
                self.areas[name] += area

    def test_ids(self) -> None:
        ids = np.sort(np.frombuffer(bytes(self._ids), "S16"))
        twice = ids[1:][ids[1:] == ids[:-1]]
        if len(twice):
            first = uuid.UUID(bytes=bytes(twice[0]).ljust(16, b"\0"))
            self.note("file", f"{len(twice)} ids come twice, the first is {first}")


def check(path: Path, shown: int = 20) -> Report:
    """Read one file to its end, or to where it cannot be read on."""
    report = Report(shown)
    try:
        with path.open("rb") as raw:
            packed = raw.peek(2)[:2] == b"\x1f\x8b"
            if packed != (path.suffix == ".gz"):
                raise RefusedError("compressed, but not called .gz" if packed else "called .gz, but not compressed")
            with io.TextIOWrapper(opened(raw) if packed else raw, encoding="utf-8", newline="") as text:
                stream = JsonStream(text)
                for feature in features(stream):
                    report.feature(feature, constants=stream.constants)
    except RefusedError as problem:
        report.note("file", problem)
    except UnicodeDecodeError as error:
        report.note("file", f"not UTF-8 text ({error.reason} at byte {error.start})")
    except (OSError, EOFError, zlib.error) as error:
        report.note("file", f"cannot be read: {error}")
    report.test_shapes()
    report.test_ids()
    return report


def opened(raw: Any) -> Any:
    """A gzip stream by the fastest library at hand."""
    with suppress(ImportError):
        from isal import igzip

        return igzip.GzipFile(fileobj=raw)
    return gzip.GzipFile(fileobj=raw)


def show(path: Path, report: Report) -> None:
    verdict = f"REFUSED ({report.refused} problems)" if report.refused else "ok"
    types = ", ".join(f"{kind} {n}" for kind, n in sorted(report.types.items())) or "none"
    print(f"{path}: {verdict}; {report.features} features: {types}; area {sum(report.areas.values()):.2f} px^2")
    for name in sorted(report.classes):
        print(f"  {name or '(no class)'}: {report.classes[name]}, area {report.areas[name]:.2f} px^2")
    for line in report.problems:
        print(f"  {line}")
    if report.refused > len(report.problems):
        print(f"  and {report.refused - len(report.problems)} more")


def main(arguments: list[str] | None = None) -> int:
    description, _, example = (__doc__ or "").partition("Example: ")
    parser = argparse.ArgumentParser(
        description=description, epilog=f"Example: {example}", formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help=".geojson or .geojson.gz")
    parser.add_argument("--problems", type=int, default=20, metavar="N", help="problems shown per file [20]")
    options = parser.parse_args(arguments)
    reports = [(path, check(path, options.problems)) for path in options.files]
    for path, report in reports:
        show(path, report)
    return int(any(report.refused for _, report in reports))


if __name__ == "__main__":
    sys.exit(main())
