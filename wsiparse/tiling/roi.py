"""Regions of interest: GeoJSON as QuPath and others export it, to polygons in level-0 px.

`read_roi` opens the file; everything else is pure.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.errors import RoiError
from wsiparse.tiling.geometry import polygonal

__all__ = ["Region", "Regions", "is_left_out", "parse_regions", "read_regions", "read_roi", "union_on_slide"]

log = logging.getLogger(__name__)

#: Classes that mark what must not be analysed; QuPath's own is "Ignore*".
_LEFT_OUT: Final = frozenset(
    {"ignore", "ignored", "exclude", "excluded", "artefact", "artefacts", "artifact", "artifacts"}
)


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated region.

    Parameters
    ----------
    geometry : valid Polygon or MultiPolygon, level-0 px, not empty
    class_name : QuPath's classification ("Tumor"), or the feature's name, or ""
    """

    geometry: BaseGeometry
    class_name: str = ""


@dataclass(frozen=True, slots=True)
class Regions:
    """The polygons of a file.

    Parameters
    ----------
    regions : in file order, at least one
    skipped : how many geometries had no area (points, lines, degenerate rings)
    """

    regions: tuple[Region, ...]
    skipped: int


def read_roi(path: Path, slide_size: tuple[int, int], *, offset: tuple[float, float] = (0.0, 0.0)) -> BaseGeometry:
    """The union of all polygons of a GeoJSON file, without those that are left out, cut to the slide.

    Parameters
    ----------
    path : FeatureCollection, Feature, list of features, or bare geometry
    slide_size : (width, height), level-0 px
    offset : (x, y) added to every point: the slide's bounds origin when the file is in QuPath's frame

    Returns
    -------
    valid Polygon or MultiPolygon, level-0 px

    Raises
    ------
    RoiError
        If the file is missing, not GeoJSON, holds no polygon or not finite coordinates, or misses the slide.
    """
    found = read_regions(path, offset=offset)
    if found.skipped:
        log.warning("%s: %d geometries without area skipped, only polygons restrict the analysis", path, found.skipped)
    return union_on_slide(found, slide_size, str(path))


def read_regions(path: Path, *, offset: tuple[float, float] = (0.0, 0.0)) -> Regions:
    """The polygons of a GeoJSON file with their class names; see `parse_regions`.

    Raises
    ------
    RoiError
        If the file cannot be read or `parse_regions` refuses it.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise RoiError(f"{path}: no such region-of-interest file. Check the path.") from None
    except UnicodeDecodeError:
        raise RoiError(f"{path}: not a text file. Export the annotations as (uncompressed) GeoJSON.") from None
    except OSError as error:
        raise RoiError(
            f"{path}: cannot be read ({error.strerror or error}). Check the path and permissions."
        ) from error
    return parse_regions(text, str(path), offset=offset)


def parse_regions(text: str, source: str, *, offset: tuple[float, float] = (0.0, 0.0)) -> Regions:
    """Polygons from GeoJSON text.

    Invalid polygons (self-crossing, as drawn by hand) are made valid; everything without area is counted and skipped.

    Parameters
    ----------
    text : GeoJSON
    source : what error messages call it
    offset : (x, y) added to every point, level-0 px

    Raises
    ------
    RoiError
        If the text is not GeoJSON, holds no polygon, or has coordinates that are not finite numbers.
    """
    import geojson

    try:
        document = geojson.loads(text)
    except RecursionError:
        raise RoiError(f"{source}: nested too deeply to be GeoJSON. Export the annotations again.") from None
    except ValueError as error:  # bad JSON, bad numbers
        raise RoiError(f"{source}: not valid GeoJSON ({_one_line(error)}). Export the annotations again.") from error
    except (TypeError, KeyError, AttributeError) as error:  # JSON objects that only look like GeoJSON
        raise RoiError(
            f"{source}: not valid GeoJSON (an object lacks a member). Export the annotations again."
        ) from error
    regions: list[Region] = []
    skipped = 0
    for geometry, class_name in _geometries(document, "", source):
        polygon = _polygon(geometry, source)
        if polygon.is_empty:
            skipped += 1
        else:
            regions.append(Region(shapely.transform(polygon, lambda xy: xy + np.asarray(offset)), class_name))
    if not regions:
        others = f" (only {skipped} geometries without area)" if skipped else ""
        raise RoiError(
            f"{source}: no polygon in it{others}. Draw areas, not points or lines, and export them as GeoJSON."
        )
    return Regions(tuple(regions), skipped)


def union_on_slide(found: Regions, slide_size: tuple[int, int], source: str) -> BaseGeometry:
    """The union of regions, without those that `is_left_out`, cut to the slide; of the slide when all are left out.

    Raises
    ------
    RoiError
        If nothing of it lies on the slide.
    """
    slide = shapely.box(0, 0, *slide_size)
    left_out = shapely.union_all([r.geometry for r in found.regions if is_left_out(r.class_name)])
    inside = [r.geometry for r in found.regions if not is_left_out(r.class_name)]
    union = shapely.union_all(inside) if inside else slide
    on_slide = polygonal(shapely.intersection(union, slide))
    if not left_out.is_empty and not on_slide.is_empty:
        on_slide = polygonal(shapely.difference(on_slide, left_out))
        if on_slide.is_empty:
            raise RoiError(
                f"{source}: everything in it is left out by regions of a class such as Ignore* or Artefact. Remove "
                "them, or give no region of interest."
            )
    if on_slide.is_empty:
        x0, y0, x1, y1 = union.bounds
        raise RoiError(
            f"{source}: outside the slide, it spans x {x0:g}-{x1:g}, y {y0:g}-{y1:g} and the slide "
            f"{slide_size[0]} x {slide_size[1]} px. Coordinates must be full-resolution pixels, not microns."
        )
    return on_slide


def is_left_out(class_name: str) -> bool:
    """Whether a region's class says that it must not be analysed: Ignore*, Exclude, Artefact, in any case."""
    return class_name.strip().rstrip("*").strip().casefold() in _LEFT_OUT


def _geometries(node: Any, class_name: str, source: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Geometry objects below a GeoJSON node, with the class name of the feature around them."""
    if isinstance(node, list):
        for item in node:
            yield from _geometries(item, class_name, source)
        return
    kind = node.get("type") if isinstance(node, Mapping) else None
    if kind == "FeatureCollection":
        yield from _geometries(_list(node, "features", source), class_name, source)
    elif kind == "Feature":
        if node.get("geometry") is not None:
            yield from _geometries(node["geometry"], _class_name(node.get("properties")), source)
    elif kind == "GeometryCollection":
        yield from _geometries(_list(node, "geometries", source), class_name, source)
    elif kind in ("Polygon", "MultiPolygon", "Point", "MultiPoint", "LineString", "MultiLineString"):
        yield node, class_name
    else:
        raise RoiError(f"{source}: not GeoJSON, an object of type {kind!r}. Export the annotations as GeoJSON.")


def _list(node: Mapping[str, Any], key: str, source: str) -> list[Any]:
    items = node.get(key)
    if not isinstance(items, list):
        raise RoiError(f"{source}: a {node['type']} without a list of {key}. Export the annotations again.")
    return items


def _class_name(properties: Any) -> str:
    """QuPath writes ``classification: {name: ...}`` and, for objects the user named, ``name``."""
    if not isinstance(properties, Mapping):
        return ""
    classification = properties.get("classification")
    name = classification.get("name") if isinstance(classification, Mapping) else classification
    return str(name or properties.get("name") or "")


def _polygon(geometry: Mapping[str, Any], source: str) -> BaseGeometry:
    """A valid polygon of a GeoJSON geometry; empty for one without area."""
    if geometry["type"] not in ("Polygon", "MultiPolygon"):
        return shapely.Polygon()
    coordinates: Any = geometry.get("coordinates")
    try:
        polygons = [
            [_ring(ring) for ring in polygon]
            for polygon in ([coordinates] if geometry["type"] == "Polygon" else coordinates)
        ]
    except (TypeError, ValueError, IndexError) as error:
        raise RoiError(f"{source}: a {geometry['type']} with malformed coordinates. Export it again.") from error
    if not all(np.isfinite(ring).all() for rings in polygons for ring in rings):
        raise RoiError(f"{source}: a coordinate that is not a finite number. Export the annotations again.")
    parts = []
    for rings in polygons:
        # a ring needs three different corners; QuPath writes shorter ones for clicks without a drag
        shell, *holes = [ring if len(np.unique(ring, axis=0)) >= 3 else None for ring in rings] or [None]
        if shell is not None:
            polygon = shapely.Polygon(shell, [hole for hole in holes if hole is not None])
            parts.append(polygonal(shapely.make_valid(polygon)))
    return shapely.union_all(parts) if parts else shapely.Polygon()


def _ring(points: Any) -> NDArray[np.float64]:
    """(n, 2) x, y of a GeoJSON ring; heights are left out."""
    ring = np.array([point[:2] for point in points], np.float64)
    if len(ring) and (ring.ndim != 2 or ring.shape[1] != 2):
        raise ValueError("a point needs two coordinates")
    return ring.reshape(-1, 2)


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
