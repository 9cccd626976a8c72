"""How much of each px of the screen a class covers, from the label images, whatever their scale is to the screen's."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from wsiparse.coords import raster_frame
from wsiparse.errors import OutputError
from wsiparse.results.whole import check_noted
from wsiparse.store.read import ObjectsReader
from wsiparse.types import Box, PromptKind
from wsiparse.viewer.cache import BoundedCache

__all__ = ["SAMPLES", "LabelMaps", "find_labels"]

#: Points looked at along each side of a px of the screen.
SAMPLES: Final = 4

#: Pixels kept, bytes: the classes of a tile are asked for one after the other.
_PIXEL_BYTES: Final = 64 << 20

_Pixels = NDArray[np.uint8]


def find_labels(folder: Path) -> Path:
    """The label images of a slide's folder: of its run, or exported later.

    Raises
    ------
    OutputError
        If there are none, or those that were exported are damaged or of other objects.
    """
    own, exported = (folder / "labels.ome.zarr"), folder / "exports" / "labels.ome.zarr"
    make = f"Make it from the objects: wsiparse export {folder} --format ome-zarr"
    if own.is_dir():
        return own  # of the results, whose hashes were compared
    if not exported.is_dir():
        raise OutputError(f"{folder}: no labels.ome.zarr, which the view from afar is made of. {make}")
    check_noted(exported, folder, f"{make}, after removing this folder.")
    return exported


class LabelMaps:
    """Label images of a slide, sampled.

    Parameters
    ----------
    path : the OME-Zarr folder
    reader : the objects it was made of

    Raises
    ------
    OutputError
        If it is damaged or of other objects.
    """

    def __init__(self, path: Path, reader: ObjectsReader) -> None:
        self._path, self._reader = path, reader
        self._levels: dict[str, list[zarr.Array[Any]]] = {}
        for k, prompt in enumerate(reader.prompts):
            self._levels.setdefault(_name(prompt.kind, k + 1), self._open(prompt.kind, k + 1))
        self._pixels: BoundedCache[_Pixels] = BoundedCache(_PIXEL_BYTES, lambda pixels: pixels.nbytes)

    def _open(self, kind: PromptKind, class_id: int) -> list[zarr.Array[Any]]:
        name, (width, height) = _name(kind, class_id), raster_frame(self._reader.frames[kind]).size
        try:
            group = zarr.open_group(self._path / "labels" / name, mode="r")
            levels = [array for _, array in sorted(group.arrays(), key=lambda item: int(item[0]))]
        except (OSError, KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise self._damaged(f"label image {name} cannot be opened ({error})") from error
        if not levels or levels[0].shape != (height, width):
            raise self._damaged(f"label image {name} is not {width} x {height} px, as the objects are")
        return levels

    def _damaged(self, what: str) -> OutputError:
        return OutputError(
            f"{self._path}: damaged, or of another run: {what}. Make it from the objects: "
            f"wsiparse export {self._reader.path.parent} --format ome-zarr, after removing this folder."
        )

    def covered(self, class_id: int, exponent: int, box: Box) -> NDArray[np.uint8]:
        """How many of the `SAMPLES` x `SAMPLES` points of each px a class covers.

        Parameters
        ----------
        class_id : position in the prompt set + 1
        exponent : a px of the screen is 2^exponent level-0 px
        box : px of the screen at that scale

        Returns
        -------
        (box.height, box.width) uint8

        Raises
        ------
        OutputError
            If the label images are damaged.
        """
        kind = self._reader.prompts[class_id - 1].kind
        name = _name(kind, class_id)
        pixels = self._pixels.get((name, exponent, box), lambda: self._sample(name, kind, exponent, box))
        hit = pixels == class_id if kind == "cell" else pixels > 0
        # sums with a stride: a reduction over short inner axes is slow
        points = hit.view(np.uint8)
        out: _Pixels = np.zeros((box.height, box.width), np.uint8)
        for i in range(SAMPLES):
            for j in range(SAMPLES):
                out += points[i::SAMPLES, j::SAMPLES]
        return out

    def _sample(self, name: str, kind: PromptKind, exponent: int, box: Box) -> _Pixels:
        """The label px below each point, (SAMPLES * height, SAMPLES * width); 0 past the frame; regions as 0 and 1."""
        images, frame = self._levels[name], raster_frame(self._reader.frames[kind])
        point = 2.0**exponent / SAMPLES / np.asarray(frame.downsample)  # frame px between two points
        level = int(np.clip(np.floor(np.log2(max(point.min(), 1.0))), 0, len(images) - 1))
        x, y = (
            np.floor((np.arange(start * SAMPLES, stop * SAMPLES) + 0.5) * step).astype(np.int64)
            for start, stop, step in ((box.x, box.x1, point[0]), (box.y, box.y1, point[1]))
        )
        width, height = frame.size
        inside = np.ix_(y < height, x < width)
        out: _Pixels = np.zeros((len(y), len(x)), np.uint8)
        x, y = x[x < width] >> level, y[y < height] >> level
        if len(x) and len(y):
            try:
                part = np.asarray(images[level][y[0] : y[-1] + 1, x[0] : x[-1] + 1])
            # what a codec raises on damaged bytes is its own affair
            except (RuntimeError, ValueError, OSError) as error:
                raise self._damaged(f"level {level} of {name} cannot be decoded ({error})") from error
            if kind == "region":
                part = (part > 0).view(np.uint8)
            out[inside] = part[np.ix_(y - y[0], x - x[0])]
        return out


def _name(kind: PromptKind, class_id: int) -> str:
    """The label image a class is read from: cells never overlap, regions of several prompts may."""
    return "cell_classes" if kind == "cell" else f"regions_{class_id}"
