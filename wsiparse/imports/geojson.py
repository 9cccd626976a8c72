"""GeoJSON of any program: QuPath's objects, those of StarDist, CellViT and TIAToolbox, and our own.

QuPath says in ``properties.objectType`` what an object is. A cell has two outlines, its own (``geometry``) and that of
its nucleus (``nucleusGeometry``). Each polygon of a MultiPolygon and each point of a MultiPoint is an object. Source:
the reader and writer of QuPath 0.5 and 0.6 (qupath.lib.io.QuPathTypeAdapters).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from wsiparse.choices import Outline
from wsiparse.errors import ImportFileError
from wsiparse.imports.found import Classes, Collector, Declared, DeclaredKind, Found, SourceFile, number_or_nan
from wsiparse.imports.jsonstream import JsonStream
from wsiparse.tiling.region_classes import stated_class

__all__ = ["feature_lines", "feature_list", "own_facts"]

_ANNOTATIONS: Final = ("annotation", "pathannotationobject", "tmacoreobject", "tma core", "tma_core")
_WORDS: Final = (*_ANNOTATIONS, "detection", "cell", "tile")
_ROOT: Final = ("root", "pathrootobject")
#: Of version 0.2 of QuPath, which wrote the class of an object as its id.
_LEGACY: Final = frozenset({"PathAnnotationObject", "PathDetectionObject", "PathCellObject", "PathTileObject"})


class FeatureReader:
    """Features of one file, one at a time.

    Parameters
    ----------
    source : the file
    name : what error messages call it
    classes : of all files
    outline : which outline of a cell that has two
    """

    def __init__(self, source: SourceFile, name: str, classes: Classes, outline: Outline) -> None:
        self._source, self._name, self._classes, self._outline = source, name, classes, outline
        self.collector = Collector(name)

    def add(self, feature: Any) -> None:
        """One Feature, or a bare geometry.

        Raises
        ------
        ImportFileError
            If it is neither.
        """
        if not isinstance(feature, Mapping):
            raise self._no_feature(feature)
        if feature.get("type") != "Feature":
            self._geometry(feature, self._classes.number("", "cell"), float("nan"))
            return
        properties = feature.get("properties")
        told: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
        if "objectType" in told and self._source.program == "GeoJSON":
            self._source.program = "QuPath"
        kind = _kind(feature, told)
        if kind is None:
            return
        geometry = feature.get("geometry")
        nucleus = feature.get("nucleusGeometry")
        if isinstance(nucleus, Mapping):
            if self._outline == "nucleus":
                geometry = nucleus
            else:
                self._source.leave("nuclei of cells, whose own outline is kept (--outline nucleus keeps theirs)")
        if kind == "annotation":
            if self._source.program == "wsiparse":
                kind = "region"
            elif isinstance(geometry, Mapping) and geometry.get("type") in ("Point", "MultiPoint"):
                kind = "cell"
        number = self._classes.number(_class_of(told), kind, _colour(told))
        if geometry is None:
            self._source.leave("features without a geometry")
        else:
            self._geometry(geometry, number, _score(told))
        for member in ("childObjects", "children"):  # a hierarchy, as QuPath writes it on demand
            for child in told.get(member) or () if isinstance(told.get(member), list) else ():
                self.add(child)

    def _geometry(self, geometry: Any, number: int, score: float) -> None:
        if not isinstance(geometry, Mapping):
            raise self._no_feature(geometry)
        kind, coordinates = geometry.get("type"), geometry.get("coordinates")
        plane = geometry.get("plane")
        if isinstance(plane, Mapping) and any(plane.get(axis) not in (None, 0) for axis in ("z", "t")):
            self._source.leave("objects on another plane")
            return
        if kind == "GeometryCollection":
            for part in geometry.get("geometries") or ():
                self._geometry(part, number, score)
            return
        if kind in ("LineString", "MultiLineString"):
            self._source.leave("lines")
            return
        if not isinstance(coordinates, list) or kind not in ("Polygon", "MultiPolygon", "Point", "MultiPoint"):
            raise self._no_feature(geometry)
        if kind == "Point":
            self.collector.add([[coordinates]], number, score)
        elif kind == "MultiPoint":
            for point in coordinates:
                self.collector.add([[point]], number, score)
        elif kind == "Polygon":
            self._polygon(coordinates, number, score)
        else:
            if len(coordinates) > 1:
                self._source.leave("outlines of several parts, each of which is an object now")
            for rings in coordinates:
                self._polygon(rings, number, score)

    def _polygon(self, rings: Any, number: int, score: float) -> None:
        if isinstance(rings, list) and rings and all(isinstance(ring, list) and ring for ring in rings):
            self.collector.add(rings, number, score)
        else:
            self._source.leave("empty outlines")

    def _no_feature(self, node: Any) -> ImportFileError:
        what = f"an object of type {str(node.get('type'))[:60]!r}" if isinstance(node, Mapping) else type(node).__name__
        return ImportFileError(f"{self._name}: not GeoJSON ({what} where a feature should be). Export it again.")


def _kind(feature: Mapping[str, Any], told: Mapping[str, Any]) -> DeclaredKind | None:
    """What an object is said to be; None for the root of a hierarchy."""
    for member in ("objectType", "object_type", "type"):
        if isinstance(told.get(member), str):
            word = str(told[member]).casefold()
            if member == "type" and word not in _WORDS:  # a class, as TIAToolbox writes it
                continue
            return None if word in _ROOT else "annotation" if word in _ANNOTATIONS else "cell"
    if feature.get("id") in _LEGACY:
        return "annotation" if str(feature["id"]).casefold() in _ANNOTATIONS else "cell"
    return "cell"


def _class_of(told: Mapping[str, Any]) -> str:
    name = stated_class(told)
    if not name:  # TIAToolbox writes a type, in words or as a number
        kind = told.get("type")
        if isinstance(kind, str | int) and not isinstance(kind, bool) and str(kind).casefold() not in _WORDS:
            name = str(kind) if isinstance(kind, str) else f"type {kind}"
    return " ".join(name.split())


def _colour(told: Mapping[str, Any]) -> str | None:
    """The colour of a class as "#rrggbb": QuPath's list of bytes, or its signed number of older versions."""
    given = told.get("classification")
    given = given if isinstance(given, Mapping) else told
    rgb = given.get("color")
    if isinstance(rgb, list) and len(rgb) >= 3 and all(isinstance(v, int) and 0 <= v <= 255 for v in rgb[:3]):
        return "#" + "".join(f"{v:02x}" for v in rgb[:3])
    packed = given.get("colorRGB")
    if isinstance(packed, int) and not isinstance(packed, bool):
        return f"#{packed & 0xFFFFFF:06x}"
    return None


def _score(told: Mapping[str, Any]) -> float:
    measured = told.get("measurements")
    if isinstance(measured, Mapping):
        return number_or_nan(measured.get("Detection probability"))
    return number_or_nan(told.get("prob", told.get("probability")))


def own_facts(facts: Any) -> Declared:
    """What a file of ours says of its coordinates, from its member ``wsiparse``."""
    if not isinstance(facts, Mapping):
        return Declared()
    declared = Declared()
    try:
        if isinstance(facts.get("slide"), str):
            declared = replace(declared, slide=str(facts["slide"]))
        if "origin" in facts:
            declared = replace(declared, origin=(int(facts["origin"][0]), int(facts["origin"][1])))
        if "downsample" in facts:
            x, y = (float(v) for v in facts["downsample"])
            declared = replace(declared, downsample=(x, y)) if min(x, y) > 0 else declared
    except (TypeError, ValueError, LookupError):
        return Declared()
    return declared


def feature_list(stream: JsonStream, features: FeatureReader) -> Iterator[Found]:
    """The features of a list that begins here, as they come."""
    for _ in stream.elements():
        features.add(stream.value())
        if features.collector.full:
            yield features.collector.take()


def feature_lines(stream: JsonStream, features: FeatureReader) -> Iterator[Found]:
    """The features of a text that has one after the other, as TIAToolbox writes them, line by line."""
    while stream.peek():
        features.add(stream.value())
        if features.collector.full:
            yield features.collector.take()
