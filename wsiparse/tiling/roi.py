"""Regions of interest: GeoJSON as QuPath and others export it, to polygons in level-0 px.

`read_regions` opens the file; everything else is pure. What a region's rings enclose: `geometry.polygons_of_rings`.
Which features are regions: `region_json`. Which classes are one, tumour, stroma or left out: `region_classes`.
"""

from __future__ import annotations

import gzip
import io
import json
import logging
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

import numpy as np
import shapely
from shapely.geometry.base import BaseGeometry

from wsiparse.errors import RoiError
from wsiparse.tiling.geometry import polygonal, polygons_of_rings
from wsiparse.tiling.polygons import united
from wsiparse.tiling.region_classes import is_left_out, one_spelling
from wsiparse.tiling.region_json import Left, Why, areas_in

__all__ = [
    "Region",
    "Regions",
    "cut_to_slide",
    "geojson_text",
    "off_slide",
    "parse_regions",
    "read_regions",
    "union_on_slide",
]

log = logging.getLogger(__name__)

#: A file that unpacks to more is refused, bytes.
_MOST_BYTES: Final = 2 << 30
#: Shares of the regions' area that lie off the slide: more than the first is told, more than the second refused.
_TOLD_OFF, _MOST_OFF = 0.01, 0.5


@dataclass(frozen=True, slots=True)
class Region:
    """One annotated region.

    Parameters
    ----------
    geometry : valid Polygon or MultiPolygon, level-0 px, not empty
    class_name : QuPath's classification ("Tumor", "Tumor: Positive"), or the feature's name, or ""
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
    notes : a line for everything that was left aside, and for each class that was written in several ways
    """

    regions: tuple[Region, ...]
    skipped: int
    notes: tuple[str, ...] = ()


def read_regions(path: Path, *, offset: tuple[float, float] = (0.0, 0.0)) -> Regions:
    """The polygons of a GeoJSON file with their class names; see `parse_regions`.

    Parameters
    ----------
    path : GeoJSON, or a .gz or .zip of one file of it, told by its first bytes; UTF-8, or UTF-16 and UTF-32
    offset : (x, y) added to every point: the slide's bounds origin when the file is in QuPath's frame

    Raises
    ------
    RoiError
        If the file cannot be read or `parse_regions` refuses it.
    """
    return parse_regions(geojson_text(path), str(path), offset=offset)


def geojson_text(path: Path) -> str:
    """The text of a GeoJSON file.

    Parameters
    ----------
    path : GeoJSON, or a .gz or .zip of one file of it, told by its first bytes; UTF-8, or UTF-16 and UTF-32

    Raises
    ------
    RoiError
        If the file cannot be read.
    """
    try:
        with Path(path).expanduser().open("rb") as file:
            data = _unpacked(file, str(path))
        return data.decode(json.detect_encoding(data))
    except FileNotFoundError:
        raise RoiError(f"{path}: no such region-of-interest file. Check the path.") from None
    except UnicodeDecodeError:
        raise RoiError(f"{path}: not a text file. Export the annotations as GeoJSON.") from None
    except (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile, RuntimeError) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise RoiError(f"{path}: cannot be unpacked ({why}). Export or copy it again.") from error
    except OSError as error:
        raise RoiError(
            f"{path}: cannot be read ({error.strerror or error}). Check the path and permissions."
        ) from error


def _unpacked(file: IO[bytes], source: str) -> bytes:
    """The bytes of a file, or of the only GeoJSON file in it."""
    start = file.read(4)
    file.seek(0)
    if start[:2] == b"\x1f\x8b":
        with gzip.GzipFile(fileobj=file) as unpacked:
            return _limited(unpacked, source)
    if start != b"PK\x03\x04":
        return _limited(file, source)
    with zipfile.ZipFile(file) as folder:
        names = [
            name
            for name in folder.namelist()
            if name.lower().endswith((".geojson", ".json")) and not PurePosixPath(name).name.startswith(".")
        ]
        if len(names) != 1:
            raise RoiError(
                f"{source}: {len(names)} GeoJSON files in it, one is needed. Unpack it"
                + (", and give the folder for several slides." if names else ".")
            )
        with folder.open(names[0]) as unpacked:
            return _limited(unpacked, source)


def _limited(file: IO[bytes] | gzip.GzipFile, source: str) -> bytes:
    out = io.BytesIO()
    while chunk := file.read(1 << 20):
        out.write(chunk)
        if out.tell() > _MOST_BYTES:
            raise RoiError(f"{source}: more than {_MOST_BYTES >> 30} GB of text. Export annotations only, not objects.")
    return out.getvalue()


def parse_regions(text: str, source: str, *, offset: tuple[float, float] = (0.0, 0.0)) -> Regions:
    """Polygons from GeoJSON text.

    Polygons that are drawn across themselves are made valid (see `polygons_of_rings`); objects that are no regions,
    and everything without area, are counted and left aside.

    Parameters
    ----------
    text : GeoJSON
    source : what error messages call it
    offset : (x, y) added to every point, level-0 px

    Raises
    ------
    RoiError
        If the text is not GeoJSON, holds no region, or has coordinates that are not finite numbers.
    """
    left, named, shapes = Left(), list[str](), list[BaseGeometry]()
    try:
        for area in areas_in(text, source, left):
            shape = polygons_of_rings(area.polygons)
            if shape.is_empty:
                left.add("no area")
            else:
                named.append(area.class_name)
                shapes.append(shape)
    except RecursionError:
        raise RoiError(f"{source}: nested too deeply to be GeoJSON. Export the annotations again.") from None
    notes = _left_aside(left)
    if not shapes:
        others = f" (only {'; '.join(notes)})" if notes else ""
        raise RoiError(
            f"{source}: no polygon in it{others}. Draw areas, not points or lines, and export the annotations as "
            "GeoJSON."
        )
    moved = shapely.transform(np.array(shapes, object), lambda xy: xy + np.asarray(offset, np.float64))
    names, spelling = one_spelling(named)
    regions = tuple(Region(shape, name) for shape, name in zip(moved.tolist(), names, strict=True))
    return Regions(regions, left.of("no area"), (*notes, *spelling))


def _left_aside(left: Left) -> list[str]:
    words: dict[Why, tuple[str, str]] = {
        "no area": (
            "geometry without area skipped, only polygons count",
            "geometries without area skipped, only polygons count",
        ),
        "object": (
            "detection, cell or tile skipped: it is an object, not a region",
            "detections, cells or tiles skipped: they are objects, not regions",
        ),
        "missing core": (
            "TMA core skipped that is marked as missing",
            "TMA cores skipped that are marked as missing",
        ),
        "other plane": (
            "region skipped that is drawn on another plane (z or t) than the first",
            "regions skipped that are drawn on another plane (z or t) than the first",
        ),
    }
    return [f"{left.of(why)} {what[left.of(why) > 1]}" for why, what in words.items() if left.of(why)]


def off_slide(found: Regions, slide_size: tuple[int, int], source: str) -> tuple[str, ...]:
    """A line that tells which share of the regions lies off the slide, or none.

    Of what is to be analysed; of what is left out where there is nothing else.

    Parameters
    ----------
    slide_size : (width, height), level-0 px
    source : what error messages call the file

    Raises
    ------
    RoiError
        If more than half lies off: the file is of another slide, in microns, or of another resolution.
    """
    kept, left_out = _kept_and_left_out(found)
    shapes = np.array(kept or left_out, object)
    x0, y0, x1, y1 = shapely.bounds(shapes).T
    beyond = (x0 < 0) | (y0 < 0) | (x1 > slide_size[0]) | (y1 > slide_size[1])
    reaching = shapes[beyond]
    on = float(shapely.area(shapely.intersection(reaching, shapely.box(0, 0, *slide_size))).sum())
    off = float(shapely.area(reaching).sum()) - on
    share = off / float(shapely.area(shapes).sum())
    spans = f"x {x0.min():g}-{x1.max():g}, y {y0.min():g}-{y1.max():g}"
    width, height = slide_size
    if share > _MOST_OFF:
        much = "outside" if share == 1 else f"mostly ({int(100 * share)} %) outside"
        raise RoiError(
            f"{source}: {much} the slide, it spans {spans} and the slide {width} x {height} px. Coordinates must be "
            "full-resolution pixels of this slide, not microns."
        )
    if share > _TOLD_OFF:
        told = f"{100 * share:.0f} % of the regions' area lies off the slide"
        return (f"{told}, it spans {spans} and the slide {width} x {height} px",)
    return ()


def cut_to_slide(shape: BaseGeometry, slide_size: tuple[int, int]) -> BaseGeometry:
    """The part of a polygonal geometry on the slide, level-0 px; (width, height) of the slide."""
    x0, y0, x1, y1 = shape.bounds
    if x0 >= 0 and y0 >= 0 and x1 <= slide_size[0] and y1 <= slide_size[1]:
        return shape
    return polygonal(shapely.intersection(shape, shapely.box(0, 0, *slide_size)))


def _kept_and_left_out(found: Regions) -> tuple[list[BaseGeometry], list[BaseGeometry]]:
    """Geometries of regions that are analysed, and of those that are left out."""
    out = {name for name in {r.class_name for r in found.regions} if is_left_out(name)}
    kept = [r.geometry for r in found.regions if r.class_name not in out]
    return kept, [r.geometry for r in found.regions if r.class_name in out]


def union_on_slide(found: Regions, slide_size: tuple[int, int], source: str) -> BaseGeometry:
    """The union of regions, without those that `is_left_out`, cut to the slide; of the slide when all are left out.

    Raises
    ------
    RoiError
        If nothing of it lies on the slide.
    """
    inside, apart = _kept_and_left_out(found)
    left_out = united(apart)
    union = united(inside) if inside else shapely.box(0, 0, *slide_size)
    on_slide = cut_to_slide(union, slide_size)
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
            f"{slide_size[0]} x {slide_size[1]} px. Coordinates must be full-resolution pixels of this slide, not "
            "microns."
        )
    return on_slide
