"""The skeleton of a TIFF: its directories, read without any library.

Two questions need it before a slide library may answer: whether the file was cut while copying (its directories or
tiles reach past its end), and what its first image really is (OpenSlide turns 16 bit into 8 and shows the first
channel of a fluorescence stack as grey, without a word).

Layout after TIFF 6.0 (Adobe, 1992) sections 2 and 15, and BigTIFF (libtiff): 8-byte counts and offsets.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import UnsupportedSlideError

__all__ = ["TiffSkeleton", "tiff_skeleton"]

_LITTLE_OR_BIG: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_TYPE_SIZE: Final[Mapping[int, int]] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip
_INTEGER: Final[Mapping[int, str]] = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}

_WIDTH, _HEIGHT, _BITS, _DESCRIPTION, _SAMPLES, _PLANAR = 256, 257, 258, 270, 277, 284
_STRIP_OFFSETS, _STRIP_HEIGHT, _SUB_DIRECTORIES = 273, 278, 330
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _FORMAT, _ORIENTATION = 322, 323, 324, 339, 274
#: Tags that place image data: offsets and the byte counts that belong to them (strips, tiles).
_DATA: Final = ((273, 279), (324, 325))
#: Marks Hamamatsu NDPI, which stretches classic TIFF past 4 GiB in its own way: its offsets are not ours to judge.
_NDPI: Final = 65420
#: More directories than any slide has, and more entries than any directory has.
_MOST_DIRECTORIES: Final = 100_000
_MOST_ENTRIES: Final = 4096
#: More pixels than any tile has (8192 x 8192): libraries allocate a tile before they look at its data.
_MOST_TILE_PX: Final = 1 << 26
#: A picture may be one strip, so a strip may be as large as a picture that is read as a whole (2 GB decoded).
_MOST_STRIP_PX: Final = 666_666_666


@dataclass(frozen=True, slots=True)
class TiffSkeleton:
    """What the directories of a TIFF say.

    Parameters
    ----------
    end : one past the last byte they refer to; 0 where this cannot be told (NDPI)
    bits : bits per sample of the first image
    samples : samples per pixel of the first image
    integer : whether its samples are unsigned integers
    ome : whether it carries OME-XML
    tiled : whether the first image is made of tiles, not strips
    orientation : how a viewer should turn the first image (TIFF tag 274); 1 as it is stored
    first_largest : whether no other image of the main chain has more pixels than the first
    """

    end: int
    bits: int
    samples: int
    integer: bool
    ome: bool
    tiled: bool
    orientation: int = 1
    first_largest: bool = True


@dataclass(frozen=True, slots=True)
class _Entry:
    kind: int
    count: int
    at: int


def tiff_skeleton(path: Path) -> TiffSkeleton | None:
    """Follow a TIFF's directories to their end; None for a file that is not a TIFF.

    Parameters
    ----------
    path : a readable file

    Raises
    ------
    UnsupportedSlideError
        If the file is truncated, its directories form a loop, or their counts do not fit together.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        head = file.read(16)
        if head[:4] not in _LITTLE_OR_BIG:
            return None
        reader = _Reader(file, size, "<" if head[:1] == b"I" else ">", big=43 in (head[2], head[3]))
        try:
            skeleton = reader.walk(head)
        except _DamagedError as damage:
            raise UnsupportedSlideError(f"{path}: damaged TIFF, {damage}. Copy the slide again.") from None
    if skeleton.end > size:
        raise UnsupportedSlideError(
            f"{path}: truncated, its content reaches to byte {skeleton.end} but the file ends at {size}. "
            "Copy the slide again."
        )
    return skeleton


class _DamagedError(Exception):
    """A structure that no writer produces."""


class _Reader:
    """Position-keeping reads of one open file; `end` grows with everything the structure refers to."""

    def __init__(self, file: BinaryIO, size: int, order: str, *, big: bool) -> None:
        self.file, self.size, self.order, self.end = file, size, order, 0
        self.offset_format, self.count_format = ("Q", "Q") if big else ("I", "H")
        self.entry_size, self.inline = (20, 8) if big else (12, 4)
        self.head_size = 16 if big else 8

    def walk(self, head: bytes) -> TiffSkeleton:
        self.end = self.head_size
        if len(head) < self.head_size:
            return self._skeleton({})
        # first byte of a directory, and whether it hangs below another one
        waiting = [(self._number(head, self.head_size - self.inline, self.offset_format), False)]
        seen: dict[int, bool] = {}
        first: dict[int, _Entry] | None = None
        pixels: list[int] = []
        while waiting and self.end <= self.size:
            offset, below = waiting.pop()
            # tifffile lists the directories below an image and chains them as well
            if not offset or (below and seen.get(offset, False)):
                continue
            if offset in seen or len(seen) > _MOST_DIRECTORIES:
                raise _DamagedError("its directories form a loop")
            seen[offset] = below
            entries, following = self._directory(offset)
            if _NDPI in entries:
                return TiffSkeleton(end=0, bits=8, samples=3, integer=True, ome=False, tiled=True)
            first = entries if first is None else first
            if not below:
                pixels.append(
                    math.prod(int(self._integers(entries.get(tag)).max(initial=0)) for tag in (_WIDTH, _HEIGHT))
                )
            self._check_image(entries, strips=_TILE_OFFSETS not in first)
            # levels of an OME-TIFF hang below its image; each may begin a chain of its own
            lower = self._integers(entries.get(_SUB_DIRECTORIES))
            waiting += [(following, below), *((int(place), True) for place in lower[:_MOST_ENTRIES])]
        if first is None and self.end <= self.size:
            raise _DamagedError("it has no directory")
        return replace(self._skeleton(first or {}), first_largest=max(pixels, default=0) == (pixels or [0])[0])

    def _check_image(self, entries: dict[int, _Entry], *, strips: bool) -> None:
        """What one directory says of its image must fit together; `end` grows with its data.

        Strips are judged where they are read: the label of a tiled slide may be as odd as it likes.
        """
        width, height, samples, planar = (
            int(self._integers(entries.get(tag)).max(initial=0)) for tag in (_WIDTH, _HEIGHT, _SAMPLES, _PLANAR)
        )
        planes = max(1, samples) if planar == 2 else 1
        if _TILE_OFFSETS in entries:
            across, down = (int(self._integers(entries.get(t)).max(initial=0)) for t in (_TILE_WIDTH, _TILE_HEIGHT))
            if across < 1 or down < 1 or across * down > _MOST_TILE_PX:
                raise _DamagedError(f"it claims tiles of {across} x {down} px")
            needed = -(-width // across) * -(-height // down) * planes
            self._check_count(width, height, needed, entries, 1, "tiles")
        elif strips and _STRIP_OFFSETS in entries:
            down = min(int(self._integers(entries.get(_STRIP_HEIGHT)).min(initial=height)), height)
            if down < 1 or width * down > _MOST_STRIP_PX:
                raise _DamagedError(f"it claims strips of {width} x {down} px")
            self._check_count(width, height, -(-height // down) * planes, entries, 0, "strips")
        for starts_tag, lengths_tag in _DATA:
            starts, lengths = (self._integers(entries.get(tag)) for tag in (starts_tag, lengths_tag))
            n = min(len(starts), len(lengths))
            # a missing tile of a sparse file has length 0 and any offset
            self.end = max(self.end, int((starts[:n] + lengths[:n])[lengths[:n] > 0].max(initial=0)))

    @staticmethod
    def _check_count(width: int, height: int, needed: int, entries: dict[int, _Entry], where: int, what: str) -> None:
        """`where` : place in `_DATA` of the tags that must name `needed` pieces."""
        for tag in _DATA[where]:
            entry = entries.get(tag)
            if entry is None:  # lengths of strips may be left out
                continue
            if needed < 1 or entry.count < needed:
                raise _DamagedError(f"it claims {width} x {height} px, which is {needed} {what}, and has {entry.count}")
            if entry.kind not in _INTEGER:
                raise _DamagedError(f"it places {what} by values of type {entry.kind}, which are no whole numbers")

    def _skeleton(self, entries: dict[int, _Entry]) -> TiffSkeleton:
        bits, samples, formats = (self._integers(entries.get(tag)) for tag in (_BITS, _SAMPLES, _FORMAT))
        description = entries.get(_DESCRIPTION)
        text = self._bytes(description.at, min(description.count, 4096)) if description else b""
        return TiffSkeleton(
            end=self.end,
            bits=int(bits.max(initial=1)),
            samples=int(samples.max(initial=1)),
            integer=bool((formats == 1).all()),
            ome=b"<OME" in text,
            tiled=_TILE_OFFSETS in entries,
            orientation=int(self._integers(entries.get(_ORIENTATION)).max(initial=1)),
        )

    def _directory(self, offset: int) -> tuple[dict[int, _Entry], int]:
        """Entries by tag, and where the next directory is."""
        count_size = struct.calcsize("<" + self.count_format)
        raw = self._bytes(offset, count_size)
        if len(raw) < count_size:
            self.end = max(self.end, offset + count_size)
            return {}, 0
        number = self._number(raw, 0, self.count_format)
        if number > _MOST_ENTRIES:
            raise _DamagedError(f"a directory claims {number} entries")
        at = offset + count_size
        body = number * self.entry_size + self.inline
        self.end = max(self.end, at + body)
        table = self._bytes(at, body)
        if len(table) < body:
            return {}, 0
        entries: dict[int, _Entry] = {}
        for k in range(number):
            tag, kind = struct.unpack_from(self.order + "HH", table, k * self.entry_size)
            count = self._number(table, k * self.entry_size + 4, self.offset_format)
            value = (k + 1) * self.entry_size - self.inline
            length = count * _TYPE_SIZE.get(kind, 1)
            where = at + value
            if length > self.inline:
                where = self._number(table, value, self.offset_format)
                self.end = max(self.end, where + length)
            entries[tag] = _Entry(kind, count, where)
        return entries, self._number(table, number * self.entry_size, self.offset_format)

    def _integers(self, entry: _Entry | None) -> NDArray[np.int64]:
        if entry is None or entry.kind not in _INTEGER:
            return np.zeros(0, np.int64)
        kind = np.dtype(self.order + _INTEGER[entry.kind])
        raw = self._bytes(entry.at, entry.count * kind.itemsize)
        values = np.frombuffer(raw[: len(raw) // kind.itemsize * kind.itemsize], kind)
        if len(values) and int(values.max()) >= 2**62:
            raise _DamagedError("it places data past 2^62 bytes")
        return values.astype(np.int64)

    def _bytes(self, offset: int, count: int) -> bytes:
        if offset >= self.size:
            return b""
        self.file.seek(offset)
        return self.file.read(min(count, self.size - offset))

    def _number(self, raw: bytes, at: int, kind: str) -> int:
        return int(struct.unpack_from(self.order + kind, raw, at)[0])
