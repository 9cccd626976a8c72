"""Slides read tile by tile from a TIFF: the fast path for what most scanners write.

OpenSlide and tiffslide spend most of a read on moving pixels about; here tiles are fetched with `os.pread`, those that
lie beside each other at once, decoded once, and copied to where they are wanted. What the file means as a slide
(levels, pixel size, bounds, background) is taken over from the reader that would serve it otherwise, and a file is only
read this way when its pixels are known to be the same (see `wsiparse.slides.tilelevels` for what is left to that
reader).

At a level whose size is not a whole part of level 0, OpenSlide shifts pixels by up to half a level-0 px and
interpolates; here they are the stored ones.
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from threading import Lock, local
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.pyramid import PyramidSlide, SlideFacts
from wsiparse.slides.tilecache import TileCache, TileKey, Worth
from wsiparse.slides.tilecodecs import TileDataError, decode_tile
from wsiparse.slides.tilelevels import TileLevel, tile_levels
from wsiparse.types import Box

__all__ = ["DirectSlide"]

#: Vendors, as the readers name them, whose directories are levels and whose tiles are pixels.
_PLAIN_VENDORS: Final = ("aperio", "generic-tiff", "ome-tiff")

#: Tiles decoded together by a pool: enough to keep threads busy, few enough to bound memory.
_GROUP_TILES: Final = 64

#: Coded tiles that lie this close in the file are read together, up to so much.
_GAP_BYTES: Final = 4096
_RUN_BYTES: Final = 1 << 20

#: Outer columns of boxes that are kept, of a box and of every box read beside it, up to so many bytes.
_RECENT_BYTES: Final = 32 << 20

#: The tiles of a box that are kept for those beside it and below: that reach into this part of its width or height from
#: its edge. Boxes overlap by a sixteenth as a rule.
_EDGE_PART: Final = 8


class DirectSlide(PyramidSlide):
    """A TIFF of 8-bit RGB tiles.

    Parameters
    ----------
    reference : what the reader that serves the file otherwise says about it
    threads : tiles that one read decodes at once

    Raises
    ------
    UnsupportedSlideError
        If the pixels are not known to be those of the reference; the text is the bare reason.
    """

    def __init__(self, reference: SlideFacts, threads: int = 1) -> None:
        self._reference, self._threads = reference, threads
        self._levels = _levels(reference)
        self._lock = Lock()
        self._users, self._closed = 0, False
        self._pool: ThreadPoolExecutor | None = None
        try:
            self._fd = os.open(reference.path, os.O_RDONLY)
        except OSError as error:
            raise UnsupportedSlideError(f"cannot be opened ({error.strerror or error})") from error
        self._release = weakref.finalize(self, os.close, self._fd)
        # tiles are decoded for whoever asks; a bound method would keep the slide, and its descriptor, alive in a loop
        fd, levels, scratch = self._fd, self._levels, _Scratch()
        self._cache = TileCache(lambda keys, passes: _decoded(fd, levels, keys, passes, scratch))
        super().__init__(replace(reference, reader="direct"))

    def __reduce__(self) -> tuple[object, tuple[SlideFacts, int]]:
        return _reopened, (self._reference, self._threads)

    def close(self) -> None:
        """Close the file once the reads under way are done; reading afterwards is an error."""
        with self._lock:
            self._closed = True
            idle = self._users == 0
        if idle:
            self._free()

    def _free(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True)
        self._release()
        self._cache.clear()

    @contextmanager
    def _using(self) -> Iterator[Executor | None]:
        """Keep the file open meanwhile; yields the pool for this read, if it should use one.

        A number that was closed may soon name another file, so it is closed by the last who uses it. Several reads at
        once keep the cores busy by themselves.
        """
        with self._lock:
            if self._closed:
                raise ValueError(f"{self.path.name} is closed")
            self._users += 1
            alone = self._users == 1
            if alone and self._threads > 1 and self._pool is None:
                self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="wsiparse-decode")
            pool = self._pool if alone else None
        try:
            yield pool
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._closed and self._users == 0
        if last:
            self._free()

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        out = np.empty((box.height, box.width, 3), np.uint8)
        tiles = self._levels[level]
        width, height = tiles.stored.size
        columns = range(box.x // width, -(-box.x1 // width))
        rows = range(box.y // height, -(-box.y1 // height))
        across, down = max(1, box.width // _EDGE_PART), max(1, box.height // _EDGE_PART)
        inner = range((box.x + across - 1) // width + 1, (box.x1 - across) // width)
        boxes = 2 + self._users  # this one, the one before, and those that are read beside it
        recent = boxes * len(rows) * (len(columns) - len(inner)) * tiles.stored.raw_bytes
        worth = Worth(rows.start, (box.y1 - down) // height, inner, min(_RECENT_BYTES, recent))
        faults: dict[TileKey, TileDataError] = {}
        later: list[TileKey] = []

        def put(key: TileKey, tile: NDArray[np.uint8] | TileDataError) -> None:
            """Fill the part of the box that lies in a tile."""
            if isinstance(tile, TileDataError):
                faults[key] = tile
                return
            x, y = key.column * width - box.x, key.row * height - box.y  # of the tile's corner in the box
            left, top = max(x, 0), max(y, 0)
            right, bottom = min(x + width, box.width), min(y + height, box.height)
            out[top:bottom, left:right] = tile[top - y : bottom - y, left - x : right - x]

        with self._using() as pool:
            at_once = max(1, _GROUP_TILES // len(columns)) if pool is not None else 1
            for first in range(rows.start, rows.stop, at_once):
                last = min(first + at_once, rows.stop)
                keys = [TileKey(level, row, column) for row in range(first, last) for column in columns]
                if not tiles.counts[first:last, columns.start : columns.stop].all():
                    top, bottom = max(first * height - box.y, 0), last * height - box.y
                    out[top:bottom] = self.background
                    keys = [key for key in keys if tiles.counts[key.row, key.column]]
                later += self._cache.fetch(keys, put, worth, pool)
            for key in later:
                self._cache.wait_for(key, put, worth)
        if faults:
            error = faults[min(faults)]  # the same one whoever met it first
            raise TileReadError(
                f"{self.path.name}: cannot decode level {level}, x {box.x}-{box.x1}, y {box.y}-{box.y1} "
                f"({error}). Copy the slide again if the region matters."
            ) from error
        return out


def _reopened(reference: SlideFacts, threads: int) -> DirectSlide:
    """The slide that was pickled, if it is still the same file.

    Raises
    ------
    UnsupportedSlideError
        If it is another one.
    """
    if file_fingerprint(reference.path) != reference.fingerprint:
        raise UnsupportedSlideError(f"{reference.path}: has changed since it was opened. Run the same command again.")
    return DirectSlide(reference, threads)


def _levels(reference: SlideFacts) -> tuple[TileLevel, ...]:
    if not hasattr(os, "pread"):
        raise UnsupportedSlideError("this system has no pread")
    openslide = reference.reader == "openslide"
    if reference.vendor not in _PLAIN_VENDORS:
        raise UnsupportedSlideError(
            f"its vendor is {reference.vendor or 'unknown'}, not one of {', '.join(_PLAIN_VENDORS)}"
        )
    levels = tile_levels(reference.path, reference.level_sizes, openslide=openslide)
    if openslide and reference.vendor == "aperio" and len(levels) > 1:
        for k, level in enumerate(levels):
            if not level.counts.all():
                raise UnsupportedSlideError(f"level {k} lacks tiles, which OpenSlide makes up for from other levels")
    return levels


class _Scratch(local):
    """Memory of every thread for tiles that are used and dropped: the processor has it at hand all the time."""

    pixels: NDArray[np.uint8] | None = None

    def of(self, size: tuple[int, int]) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 for a size (width, height), the same as long as the size is."""
        shape = (size[1], size[0], 3)
        if self.pixels is None or self.pixels.shape != shape:
            self.pixels = np.empty(shape, np.uint8)
        return self.pixels


def _decoded(
    fd: int,
    levels: Sequence[TileLevel],
    keys: Sequence[TileKey],
    passes: Callable[[TileKey], bool],
    scratch: _Scratch,
) -> Iterator[NDArray[np.uint8] | TileDataError]:
    """Fetch and decode some tiles of one level, or tell what is wrong with each; neighbours in the file in one go."""
    level = levels[keys[0].level]
    offsets, counts = level.offsets, level.counts
    places = [(offsets.item(row, column), counts.item(row, column)) for _, row, column in keys]
    start, data = 0, b""
    for i, (key, (offset, count)) in enumerate(zip(keys, places, strict=True)):
        try:
            if count > level.stored.most_bytes or count < 0 or offset < 0:
                raise TileDataError(f"claims {count} bytes for {level.stored.raw_bytes} bytes of pixels")
            if not start <= offset <= offset + count <= start + len(data):
                start, data = offset, _read_run(fd, places[i:])
            coded = data[offset - start : offset - start + count]
            if len(coded) < count:
                raise TileDataError(f"the file ends after {len(coded)} of {count} bytes")
            out = scratch.of(level.stored.size) if passes(key) else None
            made: NDArray[np.uint8] | TileDataError = decode_tile(coded, level.stored, out)
        except TileDataError as error:
            made = _of_tile(key, error)
        yield made


def _read_run(fd: int, places: Sequence[tuple[int, int]]) -> bytes:
    """The first of some pieces of a file (offset and count, bytes) and those that follow it closely.

    Raises
    ------
    TileDataError
        If the first cannot be read.
    """
    offset, count = places[0]
    end = offset + count
    for following, more in places[1:]:
        if not (0 <= following - end <= _GAP_BYTES and more >= 0 and following + more - offset <= _RUN_BYTES):
            break
        end = following + more
    try:
        return os.pread(fd, end - offset, offset)
    except OSError as error:
        if end > offset + count:  # what cannot be read may be another one
            return _read_run(fd, places[:1])
        raise TileDataError(error.strerror or str(error)) from error


def _of_tile(key: TileKey, error: TileDataError) -> TileDataError:
    told = TileDataError(f"tile in column {key.column}, row {key.row}: {error}")
    told.__cause__ = error
    return told
