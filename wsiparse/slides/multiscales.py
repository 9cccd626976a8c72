"""The metadata of an OME-Zarr image: plain JSON files, read without any library.

Source: the OME-Zarr specification 0.4 (Zarr format 2, ``.zattrs``) and 0.5 (Zarr format 3, ``zarr.json``),
ngff.openmicroscopy.org, sections "multiscales", "axes", "coordinateTransformations" and "bioformats2raw.layout".
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

from wsiparse.slides.images import ImageFact
from wsiparse.slides.metadata import MppClaim, parse_number
from wsiparse.slides.omexml import OmeImage, ome_images

__all__ = [
    "Multiscales",
    "NoImageError",
    "holds_image",
    "is_zarr_folder",
    "read_images",
    "read_multiscales",
    "read_objective",
]

_METADATA: Final = ("zarr.json", ".zattrs", ".zgroup")
#: More metadata than any image has.
_MOST_BYTES: Final = 16 << 20
_MOST_LEVELS: Final = 64
_MOST_IMAGES: Final = 1000

#: Microns per unit of space (UDUNITS-2 names, as the specification lists them); the symbols are what some writers put.
_UNIT_UM: Final[Mapping[str, float]] = {
    "angstrom": 1e-4, "picometer": 1e-6, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4,
    "meter": 1e6, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "mm": 1e3,
}  # fmt: skip


class NoImageError(Exception):
    """A folder without a usable OME-Zarr image; the text is the bare reason."""


@dataclass(frozen=True, slots=True)
class Multiscales:
    """One image of a folder.

    Parameters
    ----------
    group : where it is below the folder; "" for the folder itself
    axes : names, in the order of the arrays' dimensions, such as "tczyx"
    levels : where the arrays are below the group, finest first
    claim : what the coordinate transformations of the first level say about the pixel size
    """

    group: str
    axes: str
    levels: tuple[str, ...]
    claim: MppClaim


def is_zarr_folder(path: Path) -> bool:
    """Whether a path is a folder that calls itself a Zarr hierarchy, by name or by content."""
    # unlike Path's, these tests are False, not an error, where nobody may look
    return os.path.isdir(path) and (  # noqa: PTH112
        path.suffix.lower() == ".zarr" or any(os.path.isfile(path / name) for name in _METADATA)  # noqa: PTH113
    )


def holds_image(path: Path) -> bool:
    """Whether a folder is an OME-Zarr image with channels: what may be a slide, unlike label images."""
    if not is_zarr_folder(path):
        return False
    try:
        return "c" in read_multiscales(path).axes
    except NoImageError:
        return False


def read_images(folder: Path) -> list[tuple[ImageFact, str]]:
    """The images of an OME-Zarr folder with their groups: one, or those in the layout of bioformats2raw.

    Parameters
    ----------
    folder : top of the hierarchy

    Raises
    ------
    NoImageError
        If its metadata cannot be read.
    """
    attributes = _attributes(folder)
    if "multiscales" in attributes or "bioformats2raw.layout" not in attributes:
        return [(ImageFact("", (0, 0), 1), "")]
    told = _attributes(folder / "OME").get("series")
    groups = [str(name) for name in told] if isinstance(told, list) else []
    if not groups:
        found = (entry.name for entry in sorted(folder.iterdir()) if entry.name.isdecimal() and entry.is_dir())
        groups = sorted(found, key=int)
    if not groups or len(groups) > _MOST_IMAGES or any(_leaves(name) for name in groups):
        raise NoImageError(f"{len(groups)} images in it")
    described = _described(folder)
    images = []
    for k, group in enumerate(groups):
        name, size = (described[k].name, described[k].size) if len(described) == len(groups) else ("", (0, 0))
        try:
            levels = len(read_multiscales(folder, group).levels)
        except NoImageError:
            levels = 0
        images.append((ImageFact(name, size, levels), group))
    return images


def _described(folder: Path) -> tuple[OmeImage, ...]:
    """What the OME-XML that bioformats2raw writes says; nothing where it is not there or not readable."""
    path = folder / "OME" / "METADATA.ome.xml"
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return ()
        return ome_images(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, ElementTree.ParseError):
        return ()


def read_objective(folder: Path, number: int, count: int) -> float | None:
    """Nominal magnification of an image, as the OME-XML of bioformats2raw says it.

    Parameters
    ----------
    folder : top of the hierarchy
    number : number of the image
    count : images in the folder; OME-XML of another number does not tell which is which
    """
    described = _described(folder)
    return described[number].objective if len(described) == count else None


def read_multiscales(folder: Path, group: str = "") -> Multiscales:
    """An image of an OME-Zarr folder.

    Parameters
    ----------
    folder : top of the hierarchy
    group : where the image is below it; without one, of several in the layout of bioformats2raw the first

    Raises
    ------
    NoImageError
        If there is none, or its metadata are not what the specification says.
    """
    attributes = _attributes(folder / group)
    if not group and "multiscales" not in attributes and "bioformats2raw.layout" in attributes:
        attributes, group = _attributes(folder / "0"), "0"
    if "image-label" in attributes:
        raise NoImageError("a label image, not a picture")
    if "plate" in attributes or "well" in attributes:
        raise NoImageError("a plate of several images, give one of the images in it")
    found = attributes.get("multiscales")
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        raise NoImageError("no OME-Zarr image in it (no multiscales metadata)")
    try:
        return _parsed(found[0], group)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise NoImageError(f"its multiscales metadata are not OME-Zarr 0.4 or 0.5 ({error!r:.100})") from error


def _attributes(folder: Path) -> dict[str, Any]:
    """The OME attributes of a group: of Zarr format 3 if there is one, else of format 2; {} without any."""
    for name in ("zarr.json", ".zattrs"):
        path = folder / name
        try:
            if not path.is_file():
                continue
            if path.stat().st_size > _MOST_BYTES:
                raise NoImageError(f"{name} is {path.stat().st_size} bytes long")
            values = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise NoImageError(f"{name} cannot be read ({type(error).__name__})") from error
        if name == "zarr.json" and isinstance(values, dict):
            values = values.get("attributes", {})
            values = values.get("ome", values) if isinstance(values, dict) else {}
        return values if isinstance(values, dict) else {}
    return {}


def _parsed(image: dict[str, Any], group: str) -> Multiscales:
    axes = [axis["name"] if isinstance(axis, dict) else str(axis) for axis in image["axes"]]
    names = "".join(str(name).lower() for name in axes)
    if len(names) != len(axes) or len(set(names)) != len(names) or not {"y", "x"} <= set(names) <= set("tczyx"):
        raise ValueError(f"axes {names[:20]}")
    datasets = image["datasets"]
    levels = tuple(str(dataset["path"]) for dataset in datasets)
    if not 1 <= len(levels) <= _MOST_LEVELS or any(_leaves(path) for path in levels):
        raise ValueError(f"{len(levels)} levels")
    steps = [_scale(image, len(names)), _scale(datasets[0], len(names))]
    units = [axis.get("unit") if isinstance(axis, dict) else None for axis in image["axes"]]
    x, y = (_micron([step[names.index(axis)] for step in steps], units[names.index(axis)]) for axis in "xy")
    return Multiscales(group, names, levels, MppClaim("the OME-Zarr scale", x, y))


def _leaves(path: str) -> bool:
    """Whether a path leads out of the folder it starts in."""
    return not path or path.startswith("/") or "\\" in path or ".." in path.split("/")


def _scale(holder: dict[str, Any], count: int) -> list[object]:
    """The scale of each axis; 1 where nothing is said."""
    for step in holder.get("coordinateTransformations") or []:
        if step["type"] == "scale":
            values = list(step["scale"])
            if len(values) != count:
                raise ValueError(f"a scale of {len(values)} numbers for {count} axes")
            return values
    return [1.0] * count


def _micron(scales: list[object], unit: object) -> object:
    """Um per px, or what stands there instead."""
    numbers = [parse_number(scale) for scale in scales]
    if any(number is None for number in numbers):
        return " x ".join(str(scale) for scale in scales)
    value = math.prod(number for number in numbers if number is not None)
    if unit is None and value == 1.0:
        return None  # nothing was said
    micron = _UNIT_UM.get(str(unit))
    return (
        round(value * micron, 9) if micron is not None and math.isfinite(value) else f"{value} {unit or 'of no unit'}"
    )
