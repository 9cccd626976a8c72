"""One level of an image in a TIFF, tile by tile (or strip by strip), decoded by tifffile.

What a tile says about its own size is compared with the directory before a codec sees it: codecs allocate what they
are told.
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.codestream import claimed_size
from wsiparse.slides.tilelevels import page_counts
from wsiparse.types import Box

__all__ = ["PageLevel"]

#: TIFF compressions whose data say a size of their own: JPEG, JPEG 2000 of several makers, WebP.
_CLAIMING: Final = frozenset({6, 7, 33003, 33004, 33005, 34712, 50001})
_JPEG: Final = frozenset({6, 7, 34892, 33007})

#: Of a tile, what is looked at before a codec sees it.
_HEAD_BYTES: Final = 1 << 14

#: Axes of series that are one picture after axes of length 1 and repeated pictures are taken away.
_PICTURES: Final = ("YX", "YXS", "SYX")


class PageLevel:
    """The picture of one level.

    Parameters
    ----------
    level : tifffile's series of a level
    repeated : whether the first of several like pictures (pages of a plain TIFF) counts

    A handle's levels belong to one thread: they share its position in the file.

    Raises
    ------
    UnsupportedSlideError
        If it is no single picture; the text is the bare reason.
    """

    def __init__(self, level: Any, *, repeated: bool) -> None:
        axes = str(level.axes)
        kept = "".join(a for a, n in zip(axes, level.shape, strict=True) if n != 1 or a in "YXS")
        if repeated:
            kept = kept.lstrip("QI")
        if kept not in _PICTURES:
            shape = " x ".join(map(str, level.shape))
            raise UnsupportedSlideError(
                f"a stack of {shape} with axes {axes}, only RGB and grey pictures are supported"
            )
        self.page = level.pages[0]
        self.frame = level.keyframe
        if self.page is None or self.frame is None:
            raise UnsupportedSlideError("its pixels are in another file, which is not there")
        self.pictures = math.prod(n for a, n in zip(axes, level.shape, strict=True) if a in "QI")
        self.size = (int(self.frame.imagewidth), int(self.frame.imagelength))
        self.samples = int(self.frame.samplesperpixel)
        # counts are those of the page, everything else that of its key frame
        tiles = page_counts(self.frame) if self.page is self.frame else _frame_counts(self.page, self.frame)
        if tiles is None:
            raise UnsupportedSlideError("its directory does not place as many tiles as its size needs")
        self.tiles = tiles
        self._planes = self.samples if self.frame.planarconfig == 2 else 1

    @property
    def directory(self) -> int:
        """First byte of its TIFF directory."""
        return int(self.page.offset)

    def read(self, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """Samples of a box inside the level.

        Returns
        -------
        pixels : (h, w, samples) uint8 or uint16, as stored; 0 where there is no data
        holes : parts of the level, px, that the file does not have

        Raises
        ------
        ValueError and what tifffile and its codecs raise
            If a tile cannot be decoded.
        """
        out = np.zeros((box.height, box.width, self.samples), self.frame.dtype)
        (rows, columns), (width, height) = self.tiles.counts.shape, self.tiles.tile
        holes = []
        for row in range(box.y // height, min(rows, -(-box.y1 // height))):
            for column in range(box.x // width, min(columns, -(-box.x1 // width))):
                x, y = column * width, row * height
                left, top = max(x, box.x), max(y, box.y)
                part = Box(left, top, min(x + width, box.x1) - left, min(y + height, box.y1) - top)
                if not self.tiles.counts[row, column]:
                    holes.append(part)
                    continue
                target = out[part.y - box.y : part.y1 - box.y, part.x - box.x : part.x1 - box.x]
                for plane in range(self._planes):
                    tile = self._decoded((plane * rows + row) * columns + column)
                    own = tile[part.y - y : part.y1 - y, part.x - x : part.x1 - x]
                    if own.shape[:2] != target.shape[:2]:
                        raise ValueError(f"got a tile of {tile.shape[1]} x {tile.shape[0]} px")
                    target[:, :, plane : plane + own.shape[2]] = own
        return out, holes

    def _decoded(self, index: int) -> NDArray[Any]:
        """A tile of one plane, (h, w, samples)."""
        file = self.page.parent.filehandle
        file.seek(int(self.page.dataoffsets[index]))
        data = file.read(int(self.page.databytecounts[index]))
        if int(self.frame.compression) in _CLAIMING:
            claim, (width, height) = claimed_size(data[:_HEAD_BYTES]), self.tiles.tile
            if claim is not None and (claim[0] > width or claim[1] > height):
                raise ValueError(f"a tile of {width} x {height} px claims {claim[0]} x {claim[1]} px")
        options = {}
        if int(self.frame.compression) in _JPEG:
            options = {"jpegtables": self.page.jpegtables, "jpegheader": self.frame.jpegheader}
        tile, _, _ = self.frame.decode(data, index, **options)
        if tile is None:
            raise ValueError("a tile of no pixels")
        pixels: NDArray[Any] = tile[0]
        return pixels


def _frame_counts(page: Any, frame: Any) -> TileBytes | None:
    """As `page_counts`, of a page that shares everything else with its key frame."""
    own = page_counts(frame)
    counts = np.asarray(page.databytecounts, np.int64)
    if own is None or len(counts) != len(frame.databytecounts):
        return None
    return TileBytes(counts.reshape(-1, *own.counts.shape).min(axis=0), own.tile)
