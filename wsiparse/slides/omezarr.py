"""OME-Zarr images as slides: NGFF 0.4 and 0.5, three 8-bit channels; the only module here that imports zarr.

A chunk that is not there has the fill value, as the Zarr specification says: black, where a writer left out what it
did not scan.
"""

from __future__ import annotations

import hashlib
import math
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import LocalStore

from wsiparse.errors import SlideNotFoundError, TileReadError, UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.files import hash_sampled
from wsiparse.slides.images import choose_image, image_fingerprint, image_note
from wsiparse.slides.multiscales import Multiscales, NoImageError, read_images, read_multiscales, read_objective
from wsiparse.slides.pyramid import WHITE, PyramidSlide, SlideFacts, reopened
from wsiparse.slides.quiet import quietly
from wsiparse.slides.scale import GivenMpp, settle_mpp
from wsiparse.slides.zarrguard import GuardedStore, claim_of
from wsiparse.types import Box

__all__ = ["ZarrSlide"]

#: More bytes than any chunk has: reading one pixel decodes all of its chunk.
_MOST_CHUNK_BYTES: Final = 1 << 28

#: More chunks than are looked for one by one.
_MOST_CHUNKS: Final = 1 << 21

#: Files whose content is looked at for the fingerprint; of all others the name and the size.
_SAMPLED_FILES: Final = 64

#: What zarr, its codecs and the file system raise on damaged or exotic arrays.
_LIBRARY_ERRORS: Final = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError,
    RuntimeError, TypeError, ValueError, struct.error,
)  # fmt: skip

_Array = zarr.Array[Any]


class ZarrSlide(PyramidSlide):
    """A multiscale image in a folder.

    Parameters
    ----------
    path : an existing folder
    mpp : the pixel size people give, or None
    image : name or number of the image to read in a folder of several; None for the one that is the slide

    Raises
    ------
    SlideNotFoundError
        If one of its files cannot be read.
    UnsupportedSlideError
        If it holds no such image, or pixels that are not 8-bit RGB; the text is the bare reason.
    """

    def __init__(self, path: Path, mpp: GivenMpp | None = None, image: str | None = None) -> None:
        self._path, self._mpp, self._wanted = path, mpp, image
        self._closed = False
        try:
            images = read_images(path)
            number = choose_image([fact for fact, _ in images], image)
            image_found = read_multiscales(path, images[number][1])
            objective = read_objective(path, number, len(images))
            with quietly():
                levels = [_opened(path / image_found.group / level) for level in image_found.levels]
            sizes = _sizes(levels, image_found.axes)
            for array in levels:
                array.store.claim = claim_of(array)  # type: ignore[attr-defined]
        except NoImageError as error:
            raise UnsupportedSlideError(str(error)) from error
        except _LIBRARY_ERRORS as error:
            raise UnsupportedSlideError(f"its arrays cannot be opened ({_reason(error)})") from error
        self._image, self._levels = image_found, levels
        fingerprint, self._files = _fingerprint(path, image_found)
        super().__init__(
            SlideFacts(
                path=path,
                reader="zarr",
                vendor="ome-zarr",
                level_sizes=sizes,
                mpp=settle_mpp([image_found.claim], mpp, objective=objective, vendor="ome-zarr", size=sizes[0]),
                objective=objective,
                bounds=Box(0, 0, *sizes[0]),
                background=WHITE,
                fingerprint=image_fingerprint(fingerprint, number),
                tile_sizes=tuple(_across(array, image_found.axes) for array in levels),
                notes=tuple(filter(None, [image_note([fact for fact, _ in images], number)])),
                image=number,
            )
        )

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return reopened, (type(self), (self._path, self._mpp, self._wanted), self.facts)

    def close(self) -> None:
        """Nothing to free; reading afterwards is an error all the same."""
        self._closed = True

    def _may_have_changed(self) -> bool:
        return True  # a folder's own state says nothing about the files in it

    def _print_anew(self) -> str:
        return image_fingerprint(_fingerprint(self._path, self._image)[0], self.facts.image)

    def tile_bytes(self, stored: int) -> TileBytes | None:
        """Where a stored level has chunks (of an array in shards: shards), by the files that are there."""
        array, axes = self._levels[stored], self._image.axes
        chunks = tuple(array.shards or array.chunks)
        grid = {axis: -(-n // m) for axis, n, m in zip(axes, array.shape, chunks, strict=True)}
        if math.prod(grid.values()) > _MOST_CHUNKS:
            return None
        size = dict(zip(axes, chunks, strict=True))
        top = f"{self._image.levels[stored]}/"
        counts = np.zeros((grid["y"], grid["x"]), np.int64)
        for y, x in np.ndindex(*counts.shape):
            place = {"y": y, "x": x}
            keys = [
                array.metadata.encode_chunk_key(tuple(place.get(axis, c if axis == "c" else 0) for axis in axes))
                for c in range(grid.get("c", 1))
            ]
            counts[y, x] = min(self._files.get(top + key, 0) for key in keys)
        return TileBytes(counts, (size["x"], size["y"]))

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        if self._closed:
            raise ValueError(f"{self._path.name} is closed")
        axes = self._image.axes
        span = {"y": slice(box.y, box.y1), "x": slice(box.x, box.x1), "c": slice(None)}
        try:
            pixels = np.asarray(self._levels[level][tuple(span.get(axis, 0) for axis in axes)])
        except _LIBRARY_ERRORS as error:
            raise TileReadError(
                f"{self._path.name}: cannot decode level {level}, x {box.x}-{box.x1}, y {box.y}-{box.y1} "
                f"({_reason(error)}). Copy the slide again if the region matters."
            ) from error
        kept = [axis for axis in axes if axis in span]
        return np.ascontiguousarray(pixels.transpose([kept.index(axis) for axis in "yxc"]), dtype=np.uint8)


def _opened(path: Path) -> _Array:
    return zarr.open_array(GuardedStore(LocalStore(path, read_only=True)), mode="r")


def _across(array: _Array, axes: str) -> tuple[int, int]:
    """(width, height) of a chunk, px."""
    return int(array.chunks[axes.index("x")]), int(array.chunks[axes.index("y")])


def _reason(error: BaseException) -> str:
    """A library's error as the end of a sentence, on one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _sizes(levels: list[_Array], axes: str) -> tuple[tuple[int, int], ...]:
    """(width, height) of each level.

    Raises
    ------
    UnsupportedSlideError
        If the arrays are not a pyramid of 8-bit RGB pictures.
    """
    sizes: list[tuple[int, int]] = []
    for k, array in enumerate(levels):
        if array.dtype != np.uint8:
            raise UnsupportedSlideError(f"{array.dtype} pixels, only 8-bit RGB is supported")
        if len(array.shape) != len(axes):
            raise UnsupportedSlideError(f"level {k} has {len(array.shape)} dimensions and the image has axes {axes}")
        shape = dict(zip(axes, array.shape, strict=True))
        if shape.get("c") != 3:
            raise UnsupportedSlideError(f"{shape.get('c', 'no')} channels, only RGB is supported")
        for axis in "tz":
            if shape.get(axis, 1) != 1:
                raise UnsupportedSlideError(f"{shape[axis]} planes along {axis}, only single pictures are supported")
        if math.prod(array.chunks) > _MOST_CHUNK_BYTES:
            raise UnsupportedSlideError(f"level {k} claims chunks of {' x '.join(map(str, array.chunks))} bytes")
        size = (shape["x"], shape["y"])
        if min(size) < 1 or (sizes and (size[0] > sizes[-1][0] or size[1] > sizes[-1][1])):
            raise UnsupportedSlideError(f"level {k} is {size[0]} x {size[1]} px, and levels must get smaller")
        sizes.append(size)
    return tuple(sizes)


def _fingerprint(folder: Path, image: Multiscales) -> tuple[str, dict[str, int]]:
    """Identity by content: sha256 hex of the names and sizes of all files, and of samples of the content of some.

    The files of the arrays, with their sizes, come with it.

    Raises
    ------
    SlideNotFoundError
        If a file cannot be read.
    UnsupportedSlideError
        If something in the folder is neither file nor folder: zarr would wait for a pipe for ever.
    """
    top = folder / image.group
    digest = hashlib.sha256(b"wsiparse zarr slide 1")
    try:
        metadata = [(name, (top / name).stat().st_size) for name in ("zarr.json", ".zattrs") if (top / name).is_file()]
        files = metadata + sorted(entry for level in image.levels for entry in _files(top, level))
        for name, size in files:
            digest.update(f"{name}\0{size}\0".encode("utf-8", "surrogateescape"))
        step = max(1, len(files) // _SAMPLED_FILES)
        for name in dict.fromkeys([name for name, _ in [*metadata, *files[::step]]]):
            hash_sampled(digest, top / name)
    except OSError as error:
        raise SlideNotFoundError(f"{folder}: cannot be read ({error}). Check the drive and permissions.") from error
    return digest.hexdigest(), dict(files)


def _files(top: Path, level: str) -> Iterator[tuple[str, int]]:
    """Name below `top`, POSIX, and bytes of every file of an array."""
    for where, _, names in os.walk(top / level):
        for name in names:
            path = Path(where, name)
            status = path.stat()
            if not stat.S_ISREG(status.st_mode):
                raise UnsupportedSlideError(f"{name} in it is not a regular file")
            yield path.relative_to(top).as_posix(), status.st_size
