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
from functools import partial
from threading import Lock, local
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.images import image_fingerprint
from wsiparse.slides.pyramid import PyramidSlide, SlideFacts
from wsiparse.slides.tilebox import TileBox
from wsiparse.slides.tilecache import TileCache, TileKey, Worth
from wsiparse.slides.tilecodecs import TileDataError, decode_tile
from wsiparse.slides.tilelevels import TileLevel, tile_levels
from wsiparse.types import Box

__all__ = ["DirectSlide"]

T = TypeVar("T")

#: Vendors, as the readers name them, whose directories are levels and whose tiles are pixels.
_PLAIN_VENDORS: Final = ("aperio", "generic-tiff", "ome-tiff")

#: Tiles of a box that are claimed, fetched and decoded together: all of a usual box, few enough to bound memory. Of
#: large tiles as many as have so many bytes.
_GROUP_TILES: Final = 64
_GROUP_BYTES: Final = 16 << 20

#: Coded tiles that lie this close in the file are read together, up to so much.
_GAP_BYTES: Final = 4096
_RUN_BYTES: Final = 1 << 20

#: Outer columns of boxes that are kept, of a box and of every box read beside it, up to so many bytes.
_RECENT_BYTES: Final = 32 << 20

#: Tiles that a thread decodes before it copies them to their places: few enough for the processor's caches.
_PIECE_BYTES: Final = 1 << 20


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
        reference = reference.complete()
        self._levels = dict(zip(reference.levels, _levels(reference), strict=True))
        self._lock = Lock()
        self._users, self._closed = 0, False
        self._pool: ThreadPoolExecutor | None = None
        try:
            self._fd = os.open(reference.path, os.O_RDONLY)
        except OSError as error:
            raise UnsupportedSlideError(f"cannot be opened ({error.strerror or error})") from error
        self._release = weakref.finalize(self, os.close, self._fd)
        self._cache: TileCache[TileDataError] = TileCache()
        self._scratch = _Scratch()
        super().__init__(replace(reference, reader="direct"))

    def __reduce__(self) -> tuple[object, tuple[SlideFacts, int]]:
        return _reopened, (replace(self.facts, reader=self._reference.reader), self._threads)

    def tile_bytes(self, stored: int) -> TileBytes | None:
        """Where a stored level has data."""
        level = self._levels.get(stored)
        return None if level is None else TileBytes(level.counts, level.stored.size)

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
        tiles = self._levels[level]
        stored = tiles.stored
        picture = TileBox(level, box, stored.size)
        boxes = 2 + self._users  # this one, the one before, and those that are read beside it
        recent = min(_RECENT_BYTES, boxes * picture.tiles_beside * stored.raw_bytes)
        worth = Worth(picture.rows.start, picture.seam_row, picture.inner_columns, recent)
        later: list[TileKey] = []
        with self._using() as pool:
            reading = _Reading(self._fd, tiles, picture, self._scratch, pool)
            for rows, outer, inner in picture.groups(min(_GROUP_TILES, _GROUP_BYTES // stored.raw_bytes)):
                if not tiles.counts[rows.start : rows.stop, picture.columns.start : picture.columns.stop].all():
                    picture.fill(rows, self.background)
                    outer, inner = ([k for k in keys if tiles.counts[k.row, k.column]] for keys in (outer, inner))
                kept, others = self._cache.fetch(outer, partial(reading.make, inner=inner), worth)
                picture.put(kept)
                reading.pass_through(inner)
                later += others
            for key in later:
                tile = self._cache.wait_for(key, reading.make, worth)
                picture.put([(key, tile)] if tile is not None else [])
        if reading.faults:
            error = reading.faults[min(reading.faults)]  # the same one whoever met it first
            raise TileReadError(
                f"{self.path.name}: cannot decode level {level}, x {box.x}-{box.x1}, y {box.y}-{box.y1} "
                f"({error}). Copy the slide again if the region matters."
            ) from error
        return picture.pixels


def _reopened(reference: SlideFacts, threads: int) -> DirectSlide:
    """The slide that was pickled, if it is still the same file.

    Raises
    ------
    UnsupportedSlideError
        If it is another one.
    """
    if image_fingerprint(file_fingerprint(reference.path), reference.image) != reference.fingerprint:
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
    sizes = tuple(reference.stored_sizes[k] for k in reference.levels)
    places = tuple(reference.directories[k] for k in reference.levels) if reference.directories else None
    levels = tile_levels(reference.path, sizes, openslide=openslide, directories=places)
    if openslide and reference.vendor == "aperio" and len(levels) > 1:
        for k, level in enumerate(levels):
            if not level.counts.all():
                raise UnsupportedSlideError(f"level {k} lacks tiles, which OpenSlide makes up for from other levels")
    return levels


class _Scratch(local):
    """Memory of every thread for tiles that are used and dropped: the processor has it at hand all the time."""

    pixels: NDArray[np.uint8] | None = None

    def of(self, shape: tuple[int, int, int, int]) -> NDArray[np.uint8]:
        """(tiles, height, width, 3) uint8, the same as long as the shape is."""
        if self.pixels is None or self.pixels.shape != shape:
            self.pixels = np.empty(shape, np.uint8)
        return self.pixels


class _Reading:
    """What one read makes of the tiles under its box: pixels in their places, or faults.

    Parameters
    ----------
    fd : descriptor of the file
    level : whose tiles they are
    picture : to be filled
    scratch : memory for tiles that are not kept
    pool : decodes several tiles at once; None decodes in the calling thread
    """

    def __init__(self, fd: int, level: TileLevel, picture: TileBox, scratch: _Scratch, pool: Executor | None) -> None:
        self._fd, self._level, self._picture, self._scratch, self._pool = fd, level, picture, scratch, pool
        self._shape = (*level.stored.size[::-1], 3)
        self._most = max(1, _PIECE_BYTES // level.stored.raw_bytes)
        self._coded: dict[TileKey, bytes | TileDataError] = {}
        self.faults: dict[TileKey, TileDataError] = {}

    def make(self, keys: Sequence[TileKey], inner: Sequence[TileKey] = ()) -> list[NDArray[np.uint8] | TileDataError]:
        """Decode some tiles into memory of their own, and fetch the bytes of inner ones beside them in the file."""
        self._coded |= _coded(self._fd, self._level, sorted([*keys, *inner]))
        return [tile for tiles in self._each(self._made, keys) for tile in tiles]

    def pass_through(self, inner: Sequence[TileKey]) -> None:
        """Decode tiles whose bytes are there, and keep none of them."""
        for _ in self._each(self._passed, inner):
            pass

    def _each(self, work: Callable[[Sequence[TileKey]], T], keys: Sequence[TileKey]) -> Iterator[T]:
        pieces = [keys[k : k + self._most] for k in range(0, len(keys), self._most)]
        return map(work, pieces) if self._pool is None else self._pool.map(work, pieces)

    def _made(self, keys: Sequence[TileKey]) -> list[NDArray[np.uint8] | TileDataError]:
        tiles = [self._decoded(key, np.empty(self._shape, np.uint8)) for key in keys]
        self._put(keys, tiles)
        return tiles

    def _passed(self, keys: Sequence[TileKey]) -> None:
        block = self._scratch.of((self._most, *self._shape))
        self._put(keys, [self._decoded(key, memory) for key, memory in zip(keys, block, strict=False)])

    def _put(self, keys: Sequence[TileKey], tiles: Sequence[NDArray[np.uint8] | TileDataError]) -> None:
        good = []
        for key, tile in zip(keys, tiles, strict=True):
            if isinstance(tile, TileDataError):
                self.faults[key] = tile
            else:
                good.append((key, tile))
        self._picture.put(good)

    def _decoded(self, key: TileKey, memory: NDArray[np.uint8]) -> NDArray[np.uint8] | TileDataError:
        coded = self._coded.pop(key)
        if isinstance(coded, TileDataError):
            return _of_tile(key, coded)
        try:
            decode_tile(coded, self._level.stored, memory)
        except TileDataError as error:
            return _of_tile(key, error)
        return memory


def _coded(fd: int, level: TileLevel, keys: Sequence[TileKey]) -> dict[TileKey, bytes | TileDataError]:
    """Fetch the bytes of some tiles, or tell what is wrong with each; neighbours in the file in one go."""
    offsets, counts, most = level.offsets, level.counts, level.stored.most_bytes
    places = [(offsets.item(row, column), counts.item(row, column)) for _, row, column in keys]
    start, data = 0, b""
    coded: dict[TileKey, bytes | TileDataError] = {}
    for i, (key, (offset, count)) in enumerate(zip(keys, places, strict=True)):
        try:
            if count > most or count < 0 or offset < 0:
                raise TileDataError(f"claims {count} bytes for {level.stored.raw_bytes} bytes of pixels")
            if not start <= offset <= offset + count <= start + len(data):
                start, data = offset, _read_run(fd, places[i:])
            coded[key] = found = data[offset - start : offset - start + count]
            if len(found) < count:
                raise TileDataError(f"the file ends after {len(found)} of {count} bytes")
        except TileDataError as error:
            coded[key] = error
    return coded


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
