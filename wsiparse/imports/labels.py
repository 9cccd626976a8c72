"""Label images: a number an object, 0 background; TIFF, PNG, and OME-Zarr in files of any program or of ours.

An image is read band by band; what is kept of it are runs of equal pixels along rows: memory follows the objects and
not the image. Outlines follow the pixels, hence areas are numbers of pixels. A label in several pieces becomes
several objects: so does a mask of one value.

In a folder of ours instance ids and classes are images of their own (`wsiparse.export.labels`).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from wsiparse.errors import ImportFileError
from wsiparse.imports.found import Classes, Declared, Found, SourceFile
from wsiparse.objects.runs import grouped, label_parts, runs_of
from wsiparse.objects.trace import trace_runs
from wsiparse.slides.zarrguard import GuardedStore, claim_of
from wsiparse.types import PromptKind

__all__ = ["label_picture", "label_zarr"]

#: Pixels of an image read at a time.
_BAND_PX: Final = 1 << 24

#: Objects traced at a time.
_OBJECTS: Final = 1 << 13

_LARGEST: Final = (1 << 31) - 1


_Rows = Callable[[int, int], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Image:
    """Labels of an image, a band of rows at a time: once opened, `rows(a, b)` are (b - a, width), whole numbers."""

    size: tuple[int, int]
    open: Callable[[], AbstractContextManager[_Rows]]


@dataclass(frozen=True, slots=True)
class _Layer:
    """A label image with the number of the class of all its objects, or the image of their classes."""

    labels: _Image
    class_id: int = 0
    classes: _Image | None = None
    numbers: Mapping[int, int] | None = None


def label_picture(path: Path, classes: Classes) -> SourceFile:
    """The objects of a TIFF or PNG of labels.

    Raises
    ------
    ImportFileError
        If it is no label image.
    """
    source = SourceFile("label image", "level0", iter(()), pixels=True)
    with _reading(path):
        image = _png(path) if path.suffix.lower() == ".png" else _tiff(path)
    source.declared = Declared(image=image.size)
    source.batches = _found([_Layer(image, classes.number("", "cell"))], path, source)
    return source


def label_zarr(path: Path, classes: Classes) -> SourceFile:
    """The objects of an OME-Zarr folder: of its label images, or of the one that the path names.

    Raises
    ------
    ImportFileError
        If there is no label image, or several that are not ours.
    """
    source = SourceFile("label image", "level0", iter(()), pixels=True)
    with _reading(path):
        attributes = _attributes(path)
        if "wsiparse" in attributes and (path / "labels").is_dir():
            source.program = "wsiparse"
            slide = attributes["wsiparse"]["slide"]["fingerprint"]
            layers = _own_layers(path, classes)
        else:
            slide, layers = None, [_Layer(_array(_label_folder(path)), classes.number("", "cell"))]
    if len({layer.labels.size for layer in layers}) > 1:
        raise ImportFileError(
            f"{path}: its label images differ in size. Import them one by one, {path / 'labels' / 'NAME'}."
        )
    source.declared = Declared(image=layers[0].labels.size, slide=slide)
    source.batches = _found(layers, path, source)
    return source


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except ImportFileError:
        raise
    except FileNotFoundError:
        raise ImportFileError(f"{path}: no such file. Check the path.") from None
    # what tifffile, Pillow, zarr and their codecs raise on damaged files
    except (
        OSError,
        ValueError,
        TypeError,
        LookupError,
        AttributeError,
        RuntimeError,
        SyntaxError,
        struct.error,
    ) as error:
        why = " ".join(str(error).split())[:200] or type(error).__name__
        raise ImportFileError(f"{path}: cannot be read as a label image ({why}). Write it again.") from error


def _tiff(path: Path) -> _Image:
    import tifffile

    with tifffile.TiffFile(path) as file:
        if not file.series:
            raise ImportFileError(f"{path}: no image in it. Give a label image.")
        shape, dtype = file.series[0].shape, file.series[0].dtype
        planes = [n for n in shape if n != 1]
        if len(planes) != 2 or dtype is None or np.dtype(dtype).kind not in "bui":
            raise _no_labels(path, shape, dtype)
        keep = [k for k, n in enumerate(shape) if n != 1]

    @contextmanager
    def opened() -> Iterator[_Rows]:
        with tifffile.TiffFile(path) as file, file.aszarr(series=0, level=0) as store:
            yield _rows_of(zarr.open_array(store, mode="r"), keep)

    return _Image((planes[1], planes[0]), opened)


def _png(path: Path) -> _Image:
    from PIL.PngImagePlugin import PngImageFile

    with PngImageFile(path) as file:
        if file.size[0] * file.size[1] > _BAND_PX * 32:
            raise ImportFileError(
                f"{path}: of {file.size[0]} x {file.size[1]} px. Write so large a label image as TIFF."
            )
        pixels = np.asarray(file)
    if pixels.ndim != 2 or pixels.dtype.kind not in "bui":
        raise _no_labels(path, pixels.shape, pixels.dtype)
    return _Image((pixels.shape[1], pixels.shape[0]), lambda: nullcontext(lambda a, b: pixels[a:b]))


def _no_labels(path: Path, shape: Any, dtype: Any) -> ImportFileError:
    what = " x ".join(map(str, shape))
    return ImportFileError(
        f"{path}: no label image ({what} values of {dtype}). One plane of whole numbers is needed, a number an object."
    )


def _attributes(path: Path) -> dict[str, Any]:
    if not any((path / name).exists() for name in ("zarr.json", ".zarray", ".zgroup", ".zattrs")):
        raise ImportFileError(f"{path}: a folder that is no Zarr. Give files, or an OME-Zarr folder of labels.")
    found: dict[str, Any] = dict(zarr.open(GuardedStore(LocalStore(path, read_only=True)), mode="r").attrs)
    inner = found.get("ome")
    return found | inner if isinstance(inner, dict) else found


def _label_folder(path: Path) -> Path:
    """The array of the finest level of the one label image."""
    if (path / ".zarray").exists() or _is_array(path):
        return path
    attributes = _attributes(path)
    if "multiscales" in attributes and ("image-label" in attributes or not (path / "labels").is_dir()):
        return path / str(attributes["multiscales"][0]["datasets"][0]["path"])
    names = (
        _attributes(path / "labels").get("labels", []) if (path / "labels").is_dir() else attributes.get("labels", [])
    )
    top = path / "labels" if (path / "labels").is_dir() else path
    if not isinstance(names, list) or len(names) != 1:
        told = ", ".join(map(str, names)) if names else "none"
        raise ImportFileError(f"{path}: one label image is needed, it has {told}. Give its folder, {top / 'NAME'}.")
    return _label_folder(top / str(names[0]))


def _is_array(path: Path) -> bool:
    import json

    file = path / "zarr.json"
    return file.exists() and json.loads(file.read_text(encoding="utf-8")).get("node_type") == "array"


def _array(path: Path) -> _Image:
    array = zarr.open_array(GuardedStore(LocalStore(path, read_only=True)), mode="r")
    array.store.claim = claim_of(array)  # type: ignore[attr-defined]
    if array.dtype.kind not in "bui" or len([n for n in array.shape if n != 1]) != 2:
        raise _no_labels(path, array.shape, array.dtype)
    keep = [k for k, n in enumerate(array.shape) if n != 1]
    height, width = (int(array.shape[k]) for k in keep)
    return _Image((width, height), lambda: nullcontext(_rows_of(array, keep)))


def _rows_of(array: Any, keep: list[int]) -> _Rows:
    """Rows of a Zarr array of which two axes are kept."""

    def rows(a: int, b: int) -> NDArray[Any]:
        span: list[Any] = [0] * len(array.shape)
        span[keep[0]], span[keep[1]] = slice(a, b), slice(None)
        return np.asarray(array[tuple(span)])

    return rows


def _own_layers(path: Path, classes: Classes) -> list[_Layer]:
    """The label images of a folder that wsiparse wrote."""
    top = path / "labels"
    layers = []
    for name in _attributes(top)["labels"]:
        if not name.endswith("_classes"):
            kind: PromptKind = "cell" if name == "cells" else "region"
            numbers = {}
            told = _attributes(top / f"{kind}_classes")["image-label"]
            names = {int(p["label-value"]): str(p["class"]) for p in told["properties"]}
            for colour in told["colors"]:
                value = int(colour["label-value"])
                if value in names:
                    rgb = "#" + "".join(f"{int(v):02x}" for v in colour["rgba"][:3])
                    numbers[value] = classes.number(names[value], kind, rgb)
            if kind == "region":
                layers.append(_Layer(_array(top / name / "0"), numbers[int(name.partition("_")[2])]))
            else:
                layers.append(_Layer(_array(top / name / "0"), 0, _array(top / f"{kind}_classes" / "0"), numbers))
    return layers


def _found(layers: list[_Layer], path: Path, source: SourceFile) -> Iterator[Found]:
    with _reading(path):
        for layer in layers:
            yield from _of_layer(layer, path, source)


def _of_layer(layer: _Layer, path: Path, source: SourceFile) -> Iterator[Found]:
    y, x0, x1, value, kind = _runs(layer, path)
    if not len(y):
        return
    order = np.argsort(value, kind="stable")  # those of a label stay in raster order
    y, x0, x1, value, kind = (column[order] for column in (y, x0, x1, value, kind))
    part, n = label_parts(value, y, x0, x1)
    first = np.full(n, len(y), np.int64)
    np.minimum.at(first, part, np.arange(len(y)))
    several = int((np.unique(value[first], return_counts=True)[1] > 1).sum())
    if several:
        source.leave("labels of several pieces, each of which is an object now", several)
    runs = grouped(part, n, y, x0, x1, layer.labels.size[0], (0, 0))
    for start in range(0, n, _OBJECTS):
        stop = min(start + _OBJECTS, n)
        coords, rings, polygons = trace_runs(runs.slice(start, stop))
        unknown = np.full(stop - start, np.nan, np.float32)
        classes = kind[first[start:stop]].astype(np.uint8)
        yield Found(coords.astype(np.float64), rings, polygons, classes, unknown, start)


def _runs(layer: _Layer, path: Path) -> tuple[NDArray[np.int32], ...]:
    """Row, first px, px after the last, label and class of every run, in raster order."""
    (width, height), parts = layer.labels.size, []
    step = max(1, _BAND_PX // width)
    with ExitStack() as stack:
        rows = stack.enter_context(layer.labels.open())
        classes = stack.enter_context(layer.classes.open()) if layer.classes is not None else None
        for top in range(0, height, step):
            bottom = min(top + step, height)
            parts.append(_band(rows(top, bottom), top, layer, None if classes is None else classes(top, bottom), path))
    columns = zip(*parts, strict=True)
    return tuple(np.concatenate(column) for column in columns)


def _band(
    band: NDArray[Any], top: int, layer: _Layer, classes: NDArray[Any] | None, path: Path
) -> tuple[NDArray[np.int32], ...]:
    """The runs of some rows, which begin at row `top`."""
    if band.size and (int(band.max()) > _LARGEST or (band.dtype.kind == "i" and int(band.min()) < 0)):
        raise ImportFileError(f"{path}: labels beyond 0-{_LARGEST}. Number the objects from 1.")
    y, x0, x1, value = runs_of(np.ascontiguousarray(band, np.int32))
    kind = np.full(len(y), layer.class_id, np.int32)
    if classes is not None and layer.numbers is not None:
        known = np.array([layer.numbers.get(v, 0) for v in range(256)], np.int32)
        kind = known[classes[y, x0]]
        if len(kind) and not kind.min():
            raise ImportFileError(f"{path}: objects of no class. Export it again.")
    return y + np.int32(top), x0, x1, value, kind
