"""Where a TIFF keeps the tiles of each level, and whether they can be read without a slide library.

tifffile reads the directories; what they mean as a slide (which directory is which level) is the reference reader's
word. A level belongs to the one tiled directory of its size, and every property that could make a reader show other
pixels than the stored ones is a reason to leave the file to that reader.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from numpy.typing import NDArray

from wsiparse.errors import UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.quiet import quietly
from wsiparse.slides.tilecodecs import CODINGS, TileFormat

__all__ = ["TileLevel", "page_counts", "tile_counts", "tile_levels"]

#: More directories than a slide has levels and pictures.
_MOST_DIRECTORIES: Final = 200
#: Larger tiles are as well read by a library: keeping them would cost the memory that tiles are there to save.
_MOST_TILE_PX: Final = 1 << 22
_MOST_TABLES_BYTES: Final = 1 << 16

#: What tifffile raises on damaged or exotic directories.
_LIBRARY_ERRORS: Final = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, struct.error,
)  # fmt: skip

_ORIENTATION, _IMAGE_DEPTH, _TILE_DEPTH, _FILL_ORDER = 274, 32997, 32998, 266
_RGB, _YCBCR = 2, 6


@dataclass(frozen=True, slots=True)
class TileLevel:
    """The tiles of one level.

    Parameters
    ----------
    size : (width, height) of the level, px
    stored : how a tile is coded
    offsets, counts : (rows, columns) int64, place of each tile in the file, bytes; a count of 0 is a missing tile
    """

    size: tuple[int, int]
    stored: TileFormat
    offsets: NDArray[np.int64]
    counts: NDArray[np.int64]


def tile_levels(
    path: Path,
    level_sizes: tuple[tuple[int, int], ...],
    *,
    openslide: bool,
    directories: tuple[int, ...] | None = None,
) -> tuple[TileLevel, ...]:
    """Find the tiles of every level of a slide.

    Parameters
    ----------
    path : a TIFF whose skeleton is sound (see `wsiparse.slides.tiff`)
    level_sizes : (width, height) of each level, px, as the reference reader names them
    openslide : the reference is OpenSlide, else tiffslide; they differ in what they make of some files
    directories : first byte of each level's directory, where the reference tells it

    Raises
    ------
    UnsupportedSlideError
        If a level is not stored as plain 8-bit RGB tiles of a known coding; the text is the bare reason.
    """
    try:
        with quietly(), tifffile.TiffFile(path) as tiff:
            pages = list(_tiled_pages(tiff, sub_directories=not openslide))
            if directories is not None:
                by_place = {page.offset: page for page in pages}
                own = [[by_place[place]] if place in by_place else [] for place in directories]
            else:
                own = [pages] * len(level_sizes)
            return tuple(_level(its, size, openslide=openslide) for its, size in zip(own, level_sizes, strict=True))
    except _LIBRARY_ERRORS as error:
        text = " ".join(str(error).split()).rstrip(".")
        raise UnsupportedSlideError(f"{type(error).__name__}: {text[:200]}") from error


def _tiled_pages(tiff: Any, *, sub_directories: bool) -> Iterator[Any]:
    pages = list(islice(tiff.pages, _MOST_DIRECTORIES + 1))
    if len(pages) > _MOST_DIRECTORIES:
        raise UnsupportedSlideError(f"it has more than {_MOST_DIRECTORIES} directories")
    for page in pages:
        below = list(islice(page.pages, _MOST_DIRECTORIES)) if sub_directories and page.subifds else []
        yield from (p for p in (page, *below) if p.is_tiled)


def _level(pages: list[Any], size: tuple[int, int], *, openslide: bool) -> TileLevel:
    name = f"{size[0]} x {size[1]} px"
    fitting = [page for page in pages if (page.imagewidth, page.imagelength) == size]
    if len(fitting) != 1:
        raise UnsupportedSlideError(f"{len(fitting)} tiled images of {name}, expected one")
    page = fitting[0]
    reason = _unlike_rgb_tiles(page, turned=not openslide)
    if reason:
        raise UnsupportedSlideError(f"the image of {name} {reason}")
    tile = (int(page.tilewidth), int(page.tilelength))
    if tile[0] * tile[1] > _MOST_TILE_PX:
        raise UnsupportedSlideError(f"the image of {name} has tiles of {tile[0]} x {tile[1]} px")
    stored = _format(page, tile, name, openslide=openslide)
    rows, columns = -(-size[1] // tile[1]), -(-size[0] // tile[0])
    offsets, counts = (np.asarray(v, np.int64).ravel() for v in (page.dataoffsets, page.databytecounts))
    if len(offsets) != rows * columns or len(counts) != rows * columns:
        raise UnsupportedSlideError(
            f"the image of {name} is {rows * columns} tiles, with {len(offsets)} offsets and {len(counts)} sizes"
        )
    return TileLevel(size, stored, offsets.reshape(rows, columns), counts.reshape(rows, columns))


def tile_counts(path: Path, sizes: tuple[tuple[int, int], ...]) -> tuple[TileBytes | None, ...]:
    """Coded bytes of the tiles of each level; None where not exactly one tiled image of its size tells them."""
    try:
        with quietly(), tifffile.TiffFile(path) as tiff:
            pages = list(_tiled_pages(tiff, sub_directories=False))
            fitting = [[p for p in pages if (p.imagewidth, p.imagelength) == size] for size in sizes]
            return tuple(page_counts(found[0]) if len(found) == 1 else None for found in fitting)
    except (*_LIBRARY_ERRORS, UnsupportedSlideError):  # whoever reads the pixels says what is wrong
        return (None,) * len(sizes)


def page_counts(page: Any) -> TileBytes | None:
    """Coded bytes of the tiles (or strips) of a tifffile page, 0 where one of its planes lacks it."""
    tile = (
        (int(page.tilewidth), int(page.tilelength))
        if page.is_tiled
        else (int(page.imagewidth), int(min(page.rowsperstrip, page.imagelength)))
    )
    if min(tile) < 1:
        return None
    rows, columns = -(-int(page.imagelength) // tile[1]), -(-int(page.imagewidth) // tile[0])
    counts = np.asarray(page.databytecounts, np.int64)
    planes = int(page.samplesperpixel) if page.planarconfig == 2 else 1
    if len(counts) != planes * rows * columns:
        return None
    return TileBytes(counts.reshape(planes, rows, columns).min(axis=0), tile)


def _unlike_rgb_tiles(page: Any, *, turned: bool) -> str:
    """What keeps the stored samples from being the pixels, or ""; `turned`: an orientation tag means nothing."""
    if page.dtype != np.uint8 or page.bitspersample != 8:
        return "is not of 8 bits"
    if page.samplesperpixel != 3 or page.extrasamples:
        return f"has {page.samplesperpixel} samples per pixel"
    if page.planarconfig != 1:
        return "keeps colours in separate planes"
    if not turned and page.tags.valueof(_ORIENTATION, 1) != 1:
        return "is stored turned or mirrored"
    if page.tags.valueof(_FILL_ORDER, 1) != 1:
        return "has bytes stored last bit first"
    if page.tags.valueof(_IMAGE_DEPTH, 1) != 1 or page.tags.valueof(_TILE_DEPTH, 1) != 1:
        return "has depth"
    return ""


def _format(page: Any, tile: tuple[int, int], name: str, *, openslide: bool) -> TileFormat:
    coding = CODINGS.get(int(page.compression))
    photometric, predictor = int(page.photometric), int(page.predictor)
    if coding is None:
        raise UnsupportedSlideError(f"the image of {name} has compression {int(page.compression)}")
    if photometric != _RGB and not (coding == "jpeg" and photometric == _YCBCR):
        raise UnsupportedSlideError(f"the image of {name} has {coding} tiles of photometric {photometric}")
    if coding != "jpeg":
        if predictor not in (1, 2) or (predictor == 2 and coding in ("webp", "jpeg2000")):
            raise UnsupportedSlideError(f"the image of {name} has predictor {predictor}")
        return TileFormat(coding, tile, differences=predictor == 2)
    tables = page.jpegtables or b""
    if len(tables) > _MOST_TABLES_BYTES:
        raise UnsupportedSlideError(f"the image of {name} has JPEG tables of {len(tables)} bytes")
    if openslide:  # which goes by the directory alone
        return TileFormat(coding, tile, "RGB" if photometric == _RGB else "YCBCR", bytes(tables))
    # tifffile goes by the markers of the JPEG unless the directory says RGB and no JFIF marker contradicts
    return TileFormat(coding, tile, "RGB" if photometric == _RGB and not page.is_jfif else None, bytes(tables))
