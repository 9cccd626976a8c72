"""The rules of OME-Zarr 0.4 and 0.5 that concern label images, one by one, read straight from the files of a folder.

Written down from the published specification (sections "axes", "multiscales", "labels", "coordinateTransformations",
"omero") and JSON schemas (image, label, strict_image, strict_label); no Zarr library takes part.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

INTEGERS = {"uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"}
SPACE_UNITS = {"angstrom", "centimeter", "meter", "micrometer", "millimeter", "nanometer"}
V2_TYPES = {"|u1": "uint8", "<i4": "int32", "<u4": "uint32"}


def attributes(folder: Path, version: str) -> dict[str, Any]:
    """What a group says about itself in the namespace of its version."""
    if version == "0.4":
        group = json.loads((folder / ".zgroup").read_text())
        assert group == {"zarr_format": 2}, f"{folder.name}: not a group of Zarr format 2"
        found: dict[str, Any] = json.loads((folder / ".zattrs").read_text())
        return found
    group = json.loads((folder / "zarr.json").read_text())
    assert (group["zarr_format"], group["node_type"]) == (3, "group"), f"{folder.name}: not a group of Zarr format 3"
    found = group["attributes"].get("ome", {})
    assert not found or found["version"] == "0.5", f"{folder.name}: ome.version must be 0.5"
    return found


def array(folder: Path, version: str) -> dict[str, Any]:
    """Shape, type, chunks and axis names of an array."""
    if version == "0.4":
        found = json.loads((folder / ".zarray").read_text())
        assert found["zarr_format"] == 2
        assert found["dimension_separator"] == "/", "0.4: the dimension separator must be a slash"
        return {"shape": found["shape"], "type": V2_TYPES[found["dtype"]], "chunks": found["chunks"], **found}
    found = json.loads((folder / "zarr.json").read_text())
    assert (found["zarr_format"], found["node_type"]) == (3, "array")
    chunks = found["chunk_grid"]["configuration"]["chunk_shape"]
    return {"type": found["data_type"], "chunks": chunks, **found}


def problems(folder: Path, version: str) -> list[str]:
    """Every rule that the image in `folder` and its label images break, in words."""
    try:
        return list(_image(folder, version)) + list(_labels(folder, version))
    except (AssertionError, KeyError, TypeError, ValueError, OSError) as error:
        return [f"{folder.name}: {error!r}"]


def _image(folder: Path, version: str) -> Iterator[str]:
    content = attributes(folder, version)
    if not isinstance(content.get("multiscales"), list) or not content["multiscales"]:
        yield f"{folder.name}: multiscales must be a list of at least one"
        return
    for entry in content["multiscales"]:
        yield from (f"{folder.name}: {found}" for found in _multiscale(folder, entry, version))
    for channel in content.get("omero", {}).get("channels", []):
        if not {"window", "color"} <= set(channel) or not {"start", "end", "min", "max"} <= set(channel["window"]):
            yield f"{folder.name}: an omero channel needs a color and a window with start, end, min and max"


def _multiscale(folder: Path, entry: dict[str, Any], version: str) -> Iterator[str]:
    if version == "0.4" and entry.get("version") != "0.4":
        yield "multiscales.version must be 0.4"
    for key in ("name", "type", "metadata"):  # the strict schema
        if key not in entry:
            yield f"multiscales lacks {key}"
    axes = entry["axes"]
    names = [axis["name"] for axis in axes]
    if not 2 <= len(axes) <= 5 or len(set(names)) != len(names):
        yield "2 to 5 axes with different names are needed"
    if [axis.get("type") for axis in axes].count("space") not in (2, 3) or names[-2:] != ["y", "x"]:
        yield "2 or 3 axes must be of type space, in the order zyx"
    if any(axis.get("unit") not in SPACE_UNITS for axis in axes if axis.get("type") == "space"):
        yield "an axis of type space should have a unit of UDUNITS-2"
    if not entry["datasets"]:
        yield "datasets must not be empty"
    sizes = []
    for dataset in entry["datasets"]:
        stored = array(folder / dataset["path"], version)
        sizes.append(stored["shape"])
        if len(stored["shape"]) != len(axes):
            yield f"array {dataset['path']} has not as many dimensions as there are axes"
        if version == "0.5" and stored.get("dimension_names") != names:
            yield f"dimension_names of array {dataset['path']} are not the names of the axes"
        yield from _transformations(dataset["coordinateTransformations"], len(axes))
    if sizes != sorted(sizes, reverse=True):
        yield "datasets must go from the largest to the smallest"


def _transformations(found: list[dict[str, Any]], axes: int) -> Iterator[str]:
    kinds = [transformation["type"] for transformation in found]
    if kinds not in (["scale"], ["scale", "translation"]):
        yield f"transformations must be one scale and at most one translation after it, found {kinds}"
    for transformation in found:
        numbers = transformation[transformation["type"]]
        if len(numbers) != axes or not all(isinstance(n, float | int) for n in numbers):
            yield "a transformation needs a number for each axis"


def _labels(folder: Path, version: str) -> Iterator[str]:
    levels = len(attributes(folder, version)["multiscales"][0]["datasets"])
    names = attributes(folder / "labels", version).get("labels")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        yield "labels must list the paths of the label images"
        return
    inside = {p.name for p in (folder / "labels").iterdir() if p.is_dir()}
    if inside != set(names):
        yield f"labels lists {names}, the group holds {sorted(inside)}"
    for name in names:
        path = folder / "labels" / name
        yield from _image(path, version)
        content = attributes(path, version)
        datasets = content["multiscales"][0]["datasets"]
        if len(datasets) != levels:
            yield f"{name}: a label image must have as many levels as its image"
        for dataset in datasets:
            if array(path / dataset["path"], version)["type"] not in INTEGERS:
                yield f"{name}: labels must be integers"
        yield from (f"{name}: {found}" for found in _image_label(path, content["image-label"], version))


def _image_label(path: Path, label: dict[str, Any], version: str) -> Iterator[str]:
    if label.get("version") != version:
        yield f"image-label.version must be {version}"
    for key in ("colors", "properties"):
        entries = label.get(key)
        if entries is None:
            continue
        values = [entry["label-value"] for entry in entries]
        if not entries or len(set(values)) != len(values) or not all(isinstance(v, int) for v in values):
            yield f"{key} must name at least one integer label-value, each once"
    for colour in label.get("colors", []):
        rgba = colour.get("rgba", [0] * 4)
        if len(rgba) != 4 or not all(isinstance(v, int) and 0 <= v <= 255 for v in rgba):
            yield "rgba must be four integers from 0 to 255"
    source = label.get("source", {}).get("image")
    if source is not None:
        image = (path / source).resolve()
        if "multiscales" not in attributes(image, version):
            yield f"source.image {source!r} is not an image"
