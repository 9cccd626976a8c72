"""Annotated nuclei in GeoJSON as QuPath writes it: points, outlines, classified detections, and fields. Pure.

A nucleus is a point, or an area no larger than `LARGEST_UM2`; of a cell with a nucleus the nucleus. A larger area is a
field if its class says so (Region*, Field, ROI) or if it has no class; with a class it is a region of that class. Areas
of a class such as Ignore* are taken out of the fields, and nuclei of such a class out of the nuclei. Hidden planes,
lines and missing cores count for nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsiparse.errors import RoiError
from wsiparse.tiling.geometry import polygons_of_rings
from wsiparse.tiling.region_classes import is_left_out, stated_class, tidy_name
from wsiparse.tiling.region_json import object_type, why_not_json

__all__ = ["LARGEST_UM2", "Drawn", "drawn_in"]

#: A larger area is no nucleus, um2: a circle of 50 um.
LARGEST_UM2: Final = 2000.0

_FIELDS: Final = frozenset({"region", "field", "roi", "annotated area", "fov"})
_AREAS: Final = ("Polygon", "MultiPolygon")
_POINTS: Final = ("Point", "MultiPoint")


@dataclass(slots=True)
class Drawn:
    """What a file holds, level-0 px.

    Parameters
    ----------
    points : x, y, of nuclei; centroids of outlines
    shapes : outline of each, or None
    names : class of each as written, "" for none
    fields : name and area
    regions : class and area, of areas too large for a nucleus
    left_out : areas to be taken out of fields
    other : features that count for nothing
    """

    points: list[tuple[float, float]] = field(default_factory=list)
    shapes: list[BaseGeometry | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    fields: list[tuple[str, BaseGeometry]] = field(default_factory=list)
    regions: list[tuple[str, BaseGeometry]] = field(default_factory=list)
    left_out: list[BaseGeometry] = field(default_factory=list)
    other: int = 0

    def nucleus(self, point: tuple[float, float], shape: BaseGeometry | None, name: str) -> None:
        """One more, unless its class says that it is to be left out."""
        if is_left_out(name):
            self.other += 1
            return
        self.points.append(point)
        self.shapes.append(shape)
        self.names.append(name)


def drawn_in(text: str, source: str, um2_per_px: float) -> Drawn:
    """Nuclei and fields of GeoJSON text.

    Parameters
    ----------
    text : FeatureCollection, Feature, or list of features
    source : what error messages call it
    um2_per_px : area of a level-0 px

    Raises
    ------
    RoiError
        If the text is not GeoJSON, or a coordinate is no finite number.
    """
    try:
        document = json.loads(text)
    except RecursionError:
        raise RoiError(f"{source}: nested too deeply to be GeoJSON. Export the annotations again.") from None
    except ValueError as error:
        raise RoiError(
            f"{source}: not valid GeoJSON ({why_not_json(text, error)}). Export the annotations again."
        ) from error
    out = Drawn()
    for feature in _features(document, source):
        try:
            _take(feature, out, um2_per_px)
        except (TypeError, ValueError, IndexError, KeyError) as error:
            raise RoiError(
                f"{source}: a feature with malformed coordinates ({' '.join(str(error).split())[:80]}). "
                "Export the annotations again."
            ) from error
    return out


def _features(node: Any, source: str) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, list):
        for item in node:
            yield from _features(item, source)
        return
    kind = node.get("type") if isinstance(node, Mapping) else None
    if kind == "FeatureCollection" and isinstance(node.get("features"), list):
        yield from _features(node["features"], source)
    elif kind == "Feature":
        yield node
        told = node.get("properties")
        for member in ("childObjects", "children"):
            if isinstance(told, Mapping) and isinstance(told.get(member), list):
                yield from _features(told[member], source)
    else:
        found = f"type {str(kind)[:40]!r}" if kind is not None else f"a {type(node).__name__} without a type"
        raise RoiError(f"{source}: not a GeoJSON feature ({found}). Export the annotations as GeoJSON from QuPath.")


def _take(feature: Mapping[str, Any], out: Drawn, um2_per_px: float) -> None:
    properties = feature.get("properties")
    told: Mapping[str, Any] = properties if isinstance(properties, Mapping) else {}
    kind = object_type(feature, told)
    geometry = feature.get("nucleusGeometry") or feature.get("geometry")
    if not isinstance(geometry, Mapping) or "root" in kind or "tile" in kind or "tma" in kind or _elsewhere(geometry):
        out.other += isinstance(geometry, Mapping)
        return
    name = tidy_name(stated_class(told))
    drawn = geometry.get("type")
    if drawn in _POINTS:
        given = [geometry["coordinates"]] if drawn == "Point" else geometry["coordinates"]
        for x, y in np.asarray([point[:2] for point in given], np.float64).reshape(-1, 2).tolist():
            out.nucleus(_finite(x, y), None, name)
    elif drawn in _AREAS:
        given = [geometry["coordinates"]] if drawn == "Polygon" else geometry["coordinates"]
        shape = polygons_of_rings([[np.array([p[:2] for p in ring], np.float64) for ring in rings] for rings in given])
        if shape.is_empty:
            out.other += 1
            return
        _finite(*shape.bounds)
        annotated = not any(word in kind for word in ("cell", "detection"))
        _take_area(shape, name, str(told.get("name") or ""), out, annotated=annotated, um2=shape.area * um2_per_px)
    else:
        out.other += 1


def _take_area(shape: BaseGeometry, name: str, own: str, out: Drawn, *, annotated: bool, um2: float) -> None:
    is_field = annotated and name.casefold().rstrip("* ").strip() in _FIELDS
    if annotated and not is_field and is_left_out(name):
        out.left_out.append(shape)
    elif is_field or (annotated and um2 > LARGEST_UM2 and (not name or name == own)):
        out.fields.append((own, shape))
    elif annotated and um2 > LARGEST_UM2:
        out.regions.append((name, shape))
    else:
        middle = shapely.centroid(shape)
        out.nucleus((float(middle.x), float(middle.y)), shape, name)


def _elsewhere(geometry: Mapping[str, Any]) -> bool:
    plane = geometry.get("plane")
    return isinstance(plane, Mapping) and any(plane.get(axis) not in (None, 0) for axis in ("z", "t"))


def _finite(*values: float) -> tuple[float, float]:
    if not all(np.isfinite(v) and abs(v) < 1e9 for v in values):
        raise ValueError(f"{values[0]:g}, {values[1]:g} is no place on a slide")
    return values[0], values[1]
