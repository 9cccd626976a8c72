"""What people annotated on a slide: GeoJSON of QuPath, label images, lists of points.

Beside each other in a folder, or one file for one slide; NAME is the slide's file name with or without its ending, or
the name of its results folder:

NAME.geojson [.gz, .zip]     points, outlines, classified detections; fields (see `wsiparse.measure.truth_json`)
NAME.label.png, .tif         instance ids, 0 background, of the whole slide at any scale; classes in
                             NAME.types.json, {"id": class}
NAME.points.json             [[x, y, class], ...], level-0 px
NAME.points.csv, NAME.csv    columns x, y, class in level-0 px, or x_um, y_um, class

A class is a name, or a number of the tiles that `wsiparse train` reads.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from shapely.geometry.base import BaseGeometry
from skimage import measure

from wsiparse.errors import RoiError
from wsiparse.measure.truth_json import drawn_in
from wsiparse.objects.trace import trace_labels
from wsiparse.tiling.region_classes import tidy_name
from wsiparse.tiling.roi import geojson_text

__all__ = ["CLASS_NUMBERS", "SlideFacts", "Truth", "read_truth", "truth_file"]

#: Classes of annotated tiles; 0 is no class.
CLASS_NUMBERS: Final = {
    0: "",
    1: "Other",
    2: "inflammatory cells",
    3: "epithelial cells",
    4: "connective tissue cells",
}

_ENDINGS: Final = (
    ".geojson", ".geojson.gz", ".geojson.zip", ".label.png", ".label.tif", ".label.tiff", ".points.json",
    ".points.csv", ".csv", ".json",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What of a slide tells places on it.

    Parameters
    ----------
    names : what a file may be called, without its ending, the first that fits counts
    size : (width, height), level-0 px
    mpp : (x, y), um per level-0 px
    origin : of GeoJSON coordinates, level-0 px: the slide's bounds, where QuPath has it
    """

    names: tuple[str, ...]
    size: tuple[int, int]
    mpp: tuple[float, float]
    origin: tuple[int, int] = (0, 0)


@dataclass(frozen=True, eq=False)
class Truth:
    """Annotations of one slide, level-0 px.

    Parameters
    ----------
    source : the file
    points : (N, 2) float64, centroids, x then y
    shapes : (N,) polygons or None, dtype object
    names : (N,) class names, "" for none
    fields : names and polygons; empty where the file does not say
    whole : the file is about the whole slide
    regions : class and polygon of areas too large for a nucleus
    notes : lines about what was left aside
    """

    source: Path
    points: NDArray[np.float64]
    shapes: NDArray[Any]
    names: tuple[str, ...]
    fields: tuple[tuple[str, BaseGeometry], ...] = ()
    whole: bool = False
    regions: tuple[tuple[str, BaseGeometry], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def outlined(self) -> bool:
        """Whether every nucleus has an outline."""
        return all(shape is not None for shape in self.shapes)


def truth_file(where: Path, slide: SlideFacts) -> Path | None:
    """The file with a slide's annotations, None where a folder has none.

    Parameters
    ----------
    where : a file, which is of the slide, or a folder of files named as slides

    Raises
    ------
    RoiError
        If there is no such folder or file, or the folder has two for the slide.
    """
    if where.is_file():
        return where
    if not where.is_dir():
        raise RoiError(f"{where}: no such folder or file of annotations. Check the path.")
    for name in slide.names:
        found = [where / f"{name}{ending}" for ending in _ENDINGS if (where / f"{name}{ending}").is_file()]
        if len(found) > 1:
            raise RoiError(f"{where}: two files of annotations for {name}, {found[0].name} and {found[1].name}. "
                           "Keep one.")  # fmt: skip
        if found:
            return found[0]
    return None


def read_truth(path: Path, slide: SlideFacts) -> Truth:
    """Annotations of a slide.

    Parameters
    ----------
    path : one of the kinds above
    slide : whose they are

    Raises
    ------
    RoiError
        If the file cannot be read or used, or more of it lies off the slide than on it.
    """
    name = path.name.casefold()
    if name.endswith((".label.png", ".label.tif", ".label.tiff", ".png", ".tif", ".tiff")):
        truth = _of_labels(path, slide)
    elif name.endswith(".csv"):
        truth = _of_rows(path, *_csv_rows(path, slide))
    elif name.endswith(".points.json"):
        truth = _of_rows(path, *_json_rows(path))
    else:
        truth = _of_geojson(path, slide)
    inside = (truth.points >= 0) & (truth.points <= np.array(slide.size))
    on: NDArray[np.bool_] = inside[:, 0] & inside[:, 1]
    if len(on) and on.mean() < 0.5:
        x, y = truth.points[~on][0]
        raise RoiError(
            f"{path}: {int((~on).sum())} of {len(on)} annotated nuclei lie off the slide of {slide.size[0]} x "
            f"{slide.size[1]} px (one at {x:.0f}, {y:.0f}). It is of another slide, or not in level-0 px."
        )
    return truth


def _of_geojson(path: Path, slide: SlideFacts) -> Truth:
    drawn = drawn_in(geojson_text(path), str(path), slide.mpp[0] * slide.mpp[1])
    move = np.array(slide.origin, np.float64)

    def moved(shape: BaseGeometry) -> BaseGeometry:
        out: BaseGeometry = shapely.transform(shape, lambda xy: xy + move)
        return out

    cut = shapely.union_all([moved(s) for s in drawn.left_out]) if drawn.left_out else None
    fields = [(name, moved(shape) if cut is None else moved(shape).difference(cut)) for name, shape in drawn.fields]
    shapes = np.array([None if s is None else moved(s) for s in drawn.shapes] + [None], object)[:-1]
    notes = [f"{path}: {drawn.other} features are neither nuclei nor areas and are left aside"] if drawn.other else []
    return Truth(
        path,
        np.array(drawn.points, np.float64).reshape(-1, 2) + move,
        shapes,
        tuple(drawn.names),
        _united(fields),
        regions=tuple((name, moved(shape)) for name, shape in drawn.regions),
        notes=tuple(notes),
    )


def _united(fields: Sequence[tuple[str, BaseGeometry]]) -> tuple[tuple[str, BaseGeometry], ...]:
    """Fields that share area become one, so that no nucleus counts twice; unnamed ones get a number."""
    groups: list[tuple[list[str], BaseGeometry]] = []
    for name, shape in fields:
        touching = [g for g in groups if shapely.intersection(g[1], shape).area > 0]
        names = [n for g in touching for n in g[0]] + [name]
        groups = [g for g in groups if g not in touching]
        groups.append((names, shapely.union_all([*(g[1] for g in touching), shape])))
    out: list[tuple[str, BaseGeometry]] = []
    for k, (names, shape) in enumerate(groups, 1):
        own = " + ".join(n for n in names if n) or f"field {k}"
        out.append((own if own not in {n for n, _ in out} else f"{own} ({k})", shape))
    return tuple(out)


def _of_labels(path: Path, slide: SlideFacts) -> Truth:
    try:
        picture = np.asarray(Image.open(io.BytesIO(path.read_bytes())))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise RoiError(f"{path}: cannot be read as a label image ({error}). Mend or remove it.") from error
    if picture.ndim != 2:
        raise RoiError(f"{path}: a picture of {picture.shape[2]} channels. Labels have one channel, a number each.")
    factor = np.array(slide.size, np.float64) / picture.shape[::-1]
    if abs(factor[0] / factor[1] - 1) > 0.01:
        found = f"{picture.shape[1]} x {picture.shape[0]} px"
        raise RoiError(f"{path}: {found} have not the shape of the slide, {slide.size[0]} x {slide.size[1]} px. "
                       "A label image shows the whole slide.")  # fmt: skip
    types = _types(path)
    pieces = np.asarray(measure.label(picture, background=0, connectivity=2), np.int32)  # type: ignore[no-untyped-call]
    n = int(pieces.max(initial=0))
    coords, rings, polygons = trace_labels(pieces, n)
    shapes = shapely.from_ragged_array(
        shapely.GeometryType.POLYGON, coords.astype(np.float64) * factor, (rings, polygons)
    )
    first = np.zeros(n, np.int64)
    first[pieces[pieces > 0] - 1] = picture[pieces > 0]
    ids = np.unique(first)
    whole = [shapes[first == i] for i in ids]
    joined = np.array([p[0] if len(p) == 1 else shapely.multipolygons(p) for p in whole] + [None], object)[:-1]
    points = shapely.get_coordinates(shapely.centroid(joined)).reshape(-1, 2)
    return Truth(path, points, joined, tuple(_class_name(types.get(str(i), 0), path) for i in ids), whole=True)


def _types(path: Path) -> dict[str, Any]:
    beside = path.with_name(path.name.partition(".label.")[0] + ".types.json")
    if not beside.is_file():
        return {}
    try:
        found = json.loads(beside.read_text(encoding="utf-8"))
        return {str(int(k)): v for k, v in found.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise RoiError(f"{beside}: no table of classes of ids ({error}). Mend or remove it.") from error


def _class_name(value: Any, path: Path) -> str:
    try:
        number = int(value)
    except (TypeError, ValueError):
        return tidy_name(str(value))
    if number not in CLASS_NUMBERS:
        known = ", ".join(f"{k} {v or 'no class'}" for k, v in CLASS_NUMBERS.items())
        raise RoiError(f"{path}: a class of number {number}; known are {known}. Write names instead.")
    return CLASS_NUMBERS[number]


def _of_rows(path: Path, points: NDArray[np.float64], classes: Sequence[Any]) -> Truth:
    if not np.isfinite(points).all():
        raise RoiError(f"{path}: a coordinate that is not a finite number. Mend it.")
    names = tuple(_class_name(c, path) if str(c).strip() else "" for c in classes)
    return Truth(path, points, np.full(len(points), None, object), names, whole=True)


def _json_rows(path: Path) -> tuple[NDArray[np.float64], list[Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        points = np.array([row[:2] for row in rows], np.float64).reshape(-1, 2)
        return points, [row[2] if len(row) > 2 else "" for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RoiError(f"{path}: no list of [x, y, class] ({' '.join(str(error).split())[:100]}). Mend it.") from error


def _csv_rows(path: Path, slide: SlideFacts) -> tuple[NDArray[np.float64], list[str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise RoiError(f"{path}: cannot be read as a table of points ({error}). Write it as UTF-8.") from error
    first = text.partition("\n")[0]
    rows = list(csv.DictReader(io.StringIO(text), delimiter=max(",;\t", key=first.count)))
    columns = {(name or "").strip().casefold(): name for name in (rows[0] if rows else {})}
    where = next((p for p in (("x_um", "y_um"), ("x_px", "y_px"), ("x", "y")) if set(p) <= set(columns)), None)
    if where is None or "class" not in columns:
        found = ", ".join(n for n in columns if n) or "none"
        raise RoiError(f"{path}: columns x, y and class are needed (level-0 px; or x_um and y_um), found: {found}.")
    scale = np.array(slide.mpp) if where[0] == "x_um" else np.ones(2)
    points = np.zeros((len(rows), 2))
    for k, row in enumerate(rows):
        try:
            points[k] = [float(row[columns[axis]]) for axis in where]
        except (TypeError, ValueError):
            raise RoiError(f"{path}: line {k + 2}: x and y are no numbers. Mend it.") from None
    return points / scale, [str(row[columns["class"]] or "") for row in rows]
