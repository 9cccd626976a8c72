"""What kind of file it is, and its objects: the one way into this folder.

Told by the first bytes, else by what is in it: a list or collection of features is GeoJSON, ``annotations`` are COCO,
``cells`` CellViT, ``nuc`` HoVer-Net, ``coord`` StarDist. Files that run code when they are read, such as pickles, are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from wsiparse.choices import Outline
from wsiparse.errors import ImportFileError
from wsiparse.imports.cellmaps import call_types, cell_list, nucleus_map, star_lists
from wsiparse.imports.coco import CocoReader
from wsiparse.imports.found import Classes, Found, SourceFile
from wsiparse.imports.geojson import FeatureReader, feature_lines, feature_list, own_facts
from wsiparse.imports.jsonstream import JsonStream, open_json

__all__ = ["KNOWN", "open_source"]

KNOWN: Final = (
    "GeoJSON (QuPath, StarDist, CellViT, TIAToolbox, wsiparse), COCO, JSON of CellViT, HoVer-Net or StarDist, "
    "GeoParquet, or a label image (TIFF, PNG, OME-Zarr)"
)

#: Members of a Feature or a geometry that stands alone.
_OF_FEATURE: Final = ("type", "geometry", "properties", "id", "nucleusGeometry", "coordinates", "geometries")

#: First bytes of files that cannot be used -> what they are.
_REFUSED: Final = (
    (b"\x80", "a Python pickle, which runs code when it is read"),
    (b"SQLite format 3", "an SQLite database (TIAToolbox: store.to_geojson(FILE))"),
    (b"\x89HDF", "an HDF5 file"),
    (b"PK\x03\x04", "a ZIP archive; unpack it"),
    (b"MATLAB", "a MATLAB file"),
)


def open_source(path: Path, classes: Classes, *, outline: Outline, slide: str) -> SourceFile:
    """The objects of a file.

    Parameters
    ----------
    path : file, or Zarr folder
    classes : of all files; filled
    outline : which outline of a cell that has two
    slide : stem of the slide's file

    Raises
    ------
    ImportFileError
        If it is of no known kind; while its objects are taken, if it is damaged.
    """
    if path.is_dir():
        from wsiparse.imports.labels import label_zarr

        return label_zarr(path, classes)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise ImportFileError(f"{path}: no such file. Check the path.") from None
    except OSError as error:
        raise ImportFileError(f"{path}: cannot be read ({error.strerror or error}). Check the file.") from error
    if start[:4] in (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+") or start[:8] == b"\x89PNG\r\n\x1a\n":
        from wsiparse.imports.labels import label_picture

        return label_picture(path, classes)
    if start[:4] == b"PAR1":
        from wsiparse.imports.geoparquet import parquet_file

        return parquet_file(path, classes)
    if not start.strip():
        raise ImportFileError(f"{path}: an empty file. Export it again.")
    for mark, what in _REFUSED:
        if start.startswith(mark):
            raise ImportFileError(f"{path}: {what}. Give {KNOWN}.")
    source = SourceFile("GeoJSON", "qupath", iter(()))
    source.batches = _Json(source, path, classes, outline, slide).batches()
    return source


class _Json:
    """A JSON file of any of the programs."""

    def __init__(self, source: SourceFile, path: Path, classes: Classes, outline: Outline, slide: str) -> None:
        self._source, self._path, self._classes = source, path, classes
        self._features = FeatureReader(source, str(path), classes, outline)
        self._coco = CocoReader(source, str(path), classes, slide)
        self._names: list[str] = []
        self._lone: dict[str, Any] = {}
        self._stars: dict[str, list[Any]] = {}
        self._known = False

    def batches(self) -> Iterator[Found]:
        with open_json(self._path) as stream:
            if stream.peek() == "[":
                yield from feature_list(stream, self._features)
            elif stream.peek() == "{":
                for name in stream.members():
                    yield from self._member(name, stream)
                yield from self._rest(stream)
            else:
                start = stream.peek()
                what = "XML, as ASAP, ImageScope and HALO write" if start == "<" else "not JSON"
                raise ImportFileError(f"{self._path}: {what}. Give {KNOWN}.")
            yield self._features.collector.take()
            stream.end()

    def _member(self, name: str, stream: JsonStream) -> Iterator[Found]:
        source, listed = self._source, stream.peek() == "["
        if name == "features" and listed:
            self._known = True
            yield from feature_list(stream, self._features)
        elif name == "annotations" and listed:
            self._is("COCO")
            yield from self._coco.annotations(stream)
        elif name == "cells" and listed:
            self._is("CellViT")
            yield from cell_list(stream, source, self._classes)
        elif name == "nuc" and stream.peek() == "{":
            self._is("HoVer-Net")
            yield from nucleus_map(stream, source, self._classes)
        else:
            self._fact(name, stream.value())

    def _fact(self, name: str, value: Any) -> None:
        """What is said beside the objects."""
        if name == "info" and isinstance(value, dict):
            name, value = "wsiparse", value.get("wsiparse")
        if name == "wsiparse" and isinstance(value, dict):
            self._source.program = "wsiparse"
            own = own_facts(value)
            self._source.declared = replace(own, image=self._source.declared.image)
        elif name == "images":
            self._source.declared = replace(self._source.declared, image=self._coco.images(value).image)
        elif name == "categories":
            self._coco.categories(value)
        elif name == "type_map":
            call_types(self._classes, value)
        elif name in ("coord", "prob") and isinstance(value, list):
            self._stars[name] = value
        elif name in _OF_FEATURE:
            self._lone[name] = value
        if len(self._names) < 8:
            self._names.append(name)

    def _rest(self, stream: JsonStream) -> Iterator[Found]:
        """Objects that are told by several members together, and features behind each other."""
        if "coord" in self._stars:
            self._is("StarDist")
            yield from star_lists(stream, self._stars["coord"], self._stars.get("prob", []), self._classes)
        elif "geometry" in self._lone or "coordinates" in self._lone or "geometries" in self._lone:
            self._features.add(self._lone)
            yield from feature_lines(stream, self._features)
        elif not self._known:
            told = ", ".join(self._names) or "none"
            raise ImportFileError(f"{self._path}: JSON of no known kind (its members: {told}). Give {KNOWN}.")

    def _is(self, program: str) -> None:
        self._known = True
        if self._source.program != "wsiparse":
            self._source.program = program
        self._source.coords = "level0"
