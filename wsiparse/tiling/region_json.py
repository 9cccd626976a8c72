"""Areas in GeoJSON as QuPath and others write it: annotations and TMA cores, told from other objects. Pure.

QuPath's "All objects" holds cells, detections and tiles beside annotations. Its reader tells them by
``properties.objectType`` (once ``object_type``, else ``type``; version 0.2 wrote the class of the object as the id) and
takes what says nothing for an annotation; so does this one. An annotation on another plane of a stack or of a time
series (``geometry.plane``) is none of the one plane that is analysed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import RoiError
from wsiparse.tiling.region_classes import stated_class

__all__ = ["Area", "Left", "Why", "areas_in", "object_type", "why_not_json"]

_AGAIN: Final = "Export the annotations again."

#: Types of objects, small letters, that are no regions: QuPath's own words and the classes of its version 0.2.
_OBJECTS: Final = frozenset(
    {"detection", "cell", "tile", "pathdetectionobject", "pathcellobject", "pathtileobject", "root", "pathrootobject"}
)
_LEGACY: Final = frozenset({"PathAnnotationObject", "PathDetectionObject", "PathCellObject", "PathTileObject"}) | {
    "TMACoreObject",
    "PathRootObject",
}
_AREAS: Final = ("Polygon", "MultiPolygon")
_WITHOUT_AREA: Final = ("Point", "MultiPoint", "LineString", "MultiLineString")
#: Members that hold nothing of a shape and may be large.
_HEAVY: Final = ("measurements", "metadata")
#: Coordinates beyond this are of no slide, and products of larger ones overflow, px.
_FARTHEST: Final = 1e9

Why = Literal["no area", "object", "missing core", "other plane"]


@dataclass(frozen=True, slots=True)
class Area:
    """A Polygon or MultiPolygon of a file.

    Parameters
    ----------
    class_name : as written, "" for none
    polygons : for each its rings, (n, 2) finite float64, x then y
    """

    class_name: str
    polygons: list[list[NDArray[np.float64]]]


@dataclass(slots=True)
class Left:
    """How many features and geometries were left aside, by the reason."""

    counts: dict[Why, int] = field(default_factory=dict)

    def add(self, why: Why) -> None:
        """One more."""
        self.counts[why] = self.counts.get(why, 0) + 1

    def of(self, why: Why) -> int:
        """How many for one reason."""
        return self.counts.get(why, 0)


def areas_in(text: str, source: str, left: Left) -> Iterator[Area]:
    """Every area of GeoJSON text that is a region, in its order.

    Parameters
    ----------
    text : FeatureCollection, Feature, list of features, or bare geometry; NaN and Infinity among measurements are read
    source : what error messages call it
    left : counts what is left aside

    Raises
    ------
    RoiError
        If the text is not GeoJSON, or an area has coordinates that are not finite numbers.
    """
    try:
        document = json.loads(text, object_hook=_light)
    except RecursionError:
        raise RoiError(f"{source}: nested too deeply to be GeoJSON. {_AGAIN}") from None
    except ValueError as error:
        raise RoiError(f"{source}: not valid GeoJSON ({why_not_json(text, error)}). {_AGAIN}") from error
    yield from _areas(document, "", source, left)


def why_not_json(text: str, error: ValueError) -> str:
    """What a text is that is not JSON, a few words."""
    start = text.lstrip()[:1]
    if not start:
        return "the file is empty"
    if start == "<":
        return "XML, as ASAP, ImageScope and HALO write; open it in QuPath and export GeoJSON from there"
    if "Extra data" in str(error) and start == "{":
        return f"several documents in one file, the second {str(error).partition(': ')[2]}; write one FeatureCollection"
    return " ".join(str(error).split())[:200] or type(error).__name__


def _light(item: dict[str, Any]) -> dict[str, Any]:
    """A JSON object with its rings as arrays and without measurements: a fifth of the memory."""
    for name in _HEAVY:
        item.pop(name, None)
    if item.get("type") in _AREAS:
        given = item.get("coordinates")
        try:
            polygons = [given] if item["type"] == "Polygon" else given
            item["coordinates"] = [[_ring(ring) for ring in polygon] for polygon in polygons]  # type: ignore[union-attr]
        except (TypeError, ValueError, IndexError):
            item["coordinates"] = None
    return item


def _ring(points: Any) -> NDArray[np.float64]:
    """(n, 2) x, y of a GeoJSON ring; heights are left out."""
    try:
        ring = np.array(points, np.float64)
    except ValueError:  # some points have a height and some have none
        ring = np.array([point[:2] for point in points], np.float64)
    if not ring.size:
        return np.zeros((0, 2))
    if ring.ndim != 2 or ring.shape[1] < 2:
        raise ValueError("a point needs two coordinates")
    return np.ascontiguousarray(ring[:, :2])


def _areas(node: Any, class_name: str, source: str, left: Left) -> Iterator[Area]:
    if isinstance(node, list):
        for item in node:
            yield from _areas(item, class_name, source, left)
        return
    kind = node.get("type") if isinstance(node, Mapping) else None
    if kind == "FeatureCollection":
        yield from _areas(_members(node, "features", source), class_name, source, left)
    elif kind == "Feature":
        yield from _of_feature(node, source, left)
    elif kind == "GeometryCollection":
        if not _elsewhere(node, left):
            yield from _areas(_members(node, "geometries", source), class_name, source, left)
    elif kind in _AREAS:
        if not _elsewhere(node, left):
            yield _checked(node, class_name, source)
    elif kind in _WITHOUT_AREA:
        left.add("no area")
    else:
        raise RoiError(f"{source}: not GeoJSON, {_what(node, kind)}. Export the annotations as GeoJSON.")


def _what(node: Any, kind: Any) -> str:
    if not isinstance(node, Mapping):
        return f"a {type(node).__name__} where an object should be"
    if kind is None and node:
        return f"an object without a type (its members: {', '.join(map(str, list(node)[:5]))[:100]})"
    return f"an object of type {str(kind)[:60]!r}"


def _of_feature(feature: Mapping[str, Any], source: str, left: Left) -> Iterator[Area]:
    properties = feature.get("properties")
    told: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    kind = object_type(feature, told)
    geometry = feature.get("geometry")
    if kind in _OBJECTS:
        if geometry is not None and "root" not in kind:
            left.add("object")
    elif "tma" in kind and told.get("isMissing") in (True, "true", 1):
        left.add("missing core")
    elif geometry is not None:
        yield from _areas(geometry, stated_class(told), source, left)
    for member in ("childObjects", "children"):  # a hierarchy, as QuPath writes it on demand
        if isinstance(told.get(member), list):
            yield from _areas(told[member], "", source, left)


def object_type(feature: Mapping[str, Any], told: Mapping[str, Any]) -> str:
    """What a feature is to QuPath, in small letters."""
    for member in ("objectType", "object_type", "type"):
        if isinstance(told.get(member), str):
            return str(told[member]).casefold()
    if feature.get("id") in _LEGACY:
        return str(feature["id"]).casefold()
    return "cell" if "nucleusGeometry" in feature else "annotation"


def _elsewhere(geometry: Mapping[str, Any], left: Left) -> bool:
    """Whether a geometry lies on another plane than the one that is analysed; counted if so."""
    plane = geometry.get("plane")
    if not isinstance(plane, Mapping) or not any(plane.get(axis) not in (None, 0) for axis in ("z", "t")):
        return False
    left.add("other plane")
    return True


def _members(node: Mapping[str, Any], key: str, source: str) -> list[Any]:
    items = node.get(key)
    if not isinstance(items, list):
        raise RoiError(f"{source}: a {node['type']} without a list of {key}. {_AGAIN}")
    return items


def _checked(geometry: Mapping[str, Any], class_name: str, source: str) -> Area:
    polygons = geometry.get("coordinates")
    if polygons is None:
        raise RoiError(f"{source}: a {geometry['type']} with malformed coordinates. Export it again.")
    if not all(np.isfinite(ring).all() for rings in polygons for ring in rings):
        raise RoiError(f"{source}: a coordinate that is not a finite number. {_AGAIN}")
    farthest = max((float(np.abs(ring).max()) for rings in polygons for ring in rings if ring.size), default=0.0)
    if farthest > _FARTHEST:
        raise RoiError(f"{source}: a coordinate of {farthest:g}, which is of no slide. {_AGAIN}")
    return Area(class_name, polygons)
