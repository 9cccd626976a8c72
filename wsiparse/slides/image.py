"""Whole pictures as slides: PNG, JPEG and BMP by Pillow, TIFFs without tiles by tiffslide; decoded once, then kept.

A picture that would take more than `MOST_BYTES` is refused by its header, before anything is decoded; so is one that
claims more pixels than its file can hold. Pixels are taken as they are stored: the orientation in EXIF data is not
applied, so that coordinates are those of programs that do not apply it either; colour profiles are not applied. Alpha
is composited over white. Of a file with several pictures the first counts.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides.files import file_fingerprint, picture_kind
from wsiparse.slides.images import NoSuchImageError, image_fingerprint
from wsiparse.slides.metadata import MppClaim, tiff_claim
from wsiparse.slides.pyramid import WHITE, PyramidSlide, SlideFacts, composite
from wsiparse.slides.quiet import quietly
from wsiparse.slides.scale import GivenMpp, settle_mpp
from wsiparse.slides.soundness import by_content
from wsiparse.types import Box

__all__ = ["MOST_BYTES", "ImageSlide"]

#: Most memory the pixels may take, 3 bytes each. Decoding takes up to 2.4 times as much for a moment.
MOST_BYTES: Final = 2_000_000_000

#: No format here packs more pixels into a byte: deflate reaches 1032 bytes (zlib's technical notes), 8 px each.
_PX_PER_BYTE: Final = 8 * 1032

#: Pixels converted at a time.
_BAND_PX: Final = 1 << 24

#: Pillow's classes by hand: `Image.open` judges sizes by a limit of the whole process, and warns.
_FORMATS: Final[Mapping[str, Callable[[Path], ImageFile.ImageFile]]] = {
    "png": PngImageFile,
    "jpeg": JpegImageFile,
    "bmp": BmpImageFile,
}

#: What Pillow raises on damaged files.
_LIBRARY_ERRORS: Final = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
    SyntaxError, TypeError, ValueError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


class ImageSlide(PyramidSlide):
    """A picture that fits in memory; a pyramid of one level.

    Parameters
    ----------
    path : an existing file
    mpp : the pixel size people give, or None
    image : name or number of the picture in a TIFF of several; None for the one that is the slide

    Raises
    ------
    UnsupportedSlideError
        If it is no such picture, too large, damaged, or not 8-bit RGB or grey; the text is the bare reason.
    NoSuchImageError
        If `image` is named and the picture is the only one of its file.
    """

    def __init__(self, path: Path, mpp: GivenMpp | None = None, image: str | None = None) -> None:
        self._path, self._mpp, self._image = path, mpp, image
        kind = picture_kind(path)
        fingerprint = file_fingerprint(path)  # before the pixels: a file that changes meanwhile is found out later
        self._array: NDArray[np.uint8] | None
        notes: tuple[str, ...]
        if kind in _FORMATS:
            self._array, claim = _decoded(path, kind)
            height, width = self._array.shape[:2]
            found = settle_mpp([claim], mpp, objective=None, vendor=kind, size=(width, height))
            objective, background = None, WHITE
            notes, missing, number = (), 0, 0
            if image is not None and image.strip() != "0":
                raise NoSuchImageError(f"it has one image only, none called {image!r}")
        else:
            self._array, facts = _without_tiles(path, mpp, image)
            kind, found = facts.vendor, facts.mpp
            objective, background = facts.objective, facts.background
            notes, missing, number = facts.notes, facts.missing_px, facts.image
        height, width = self._array.shape[:2]
        super().__init__(
            SlideFacts(
                path=path,
                reader="image",
                vendor=kind,
                level_sizes=((width, height),),
                mpp=found,
                objective=objective,
                bounds=Box(0, 0, width, height),
                background=background,
                fingerprint=image_fingerprint(fingerprint, number),
                notes=notes,
                missing_px=missing,
                image=number,
            )
        )

    def __reduce__(self) -> tuple[type[ImageSlide], tuple[Path, GivenMpp | None, str | None]]:
        return type(self), (self._path, self._mpp, self._image)

    def close(self) -> None:
        """Let go of the pixels."""
        self._array = None

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        assert level == 0, "one level"
        array = self._array
        if array is None:
            raise ValueError(f"{self._path.name} is closed")
        return array[box.y : box.y1, box.x : box.x1]


def _check_size(width: int, height: int, path: Path) -> None:
    claim = f"claims {width} x {height} px"
    if 3 * width * height > MOST_BYTES:
        raise UnsupportedSlideError(
            f"{claim}, {3e-9 * width * height:.1f} GB decoded, and a picture read as a whole may have "
            f"{MOST_BYTES / 1e9:g} GB"
        )
    size = path.stat().st_size
    if width * height > _PX_PER_BYTE * size:
        raise UnsupportedSlideError(f"{claim}, more than its {size} bytes can hold")


def _decoded(path: Path, kind: str) -> tuple[NDArray[np.uint8], MppClaim]:
    """The pixels of a PNG, JPEG or BMP, (h, w, 3) uint8, and what it says about its resolution."""
    try:
        with quietly(), _FORMATS[kind](path) as image:
            _check_size(*image.size, path)
            depth = _png_depth(path) if kind == "png" else 8
            clear = "transparency" in image.info
            if depth > 8 or image.mode not in ("RGB", "L", "RGBA", "LA", "P"):
                mode = f"{depth}-bit" if depth > 8 else {"1": "1-bit"}.get(image.mode, image.mode)
                raise UnsupportedSlideError(f"{mode} pixels, only 8-bit RGB is supported")
            across, down = image.info.get("dpi", (None, None))
            image.load()
            return _rgb(image, clear=clear), replace(tiff_claim(across, down, "inch"), source="the image's resolution")
    except _LIBRARY_ERRORS as error:
        reason = " ".join(str(error).split()).rstrip(".")[:200] or type(error).__name__
        raise UnsupportedSlideError(f"cannot be decoded ({reason})") from error


def _png_depth(path: Path) -> int:
    """Bits per sample; Pillow shows 16 as 8."""
    with path.open("rb") as file:
        head = file.read(25)
    return head[24]


def _rgb(image: Image.Image, *, clear: bool) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of a decoded picture, band by band: a whole copy with alpha would double the memory."""
    out = np.empty((image.height, image.width, 3), np.uint8)
    rows = max(1, _BAND_PX // image.width)
    for y in range(0, image.height, rows):
        band = image.crop((0, y, image.width, min(y + rows, image.height)))
        if clear or image.mode in ("RGBA", "LA", "P"):
            out[y : y + rows] = composite(np.asarray(band.convert("RGBA")), WHITE)
        else:
            out[y : y + rows] = np.asarray(band.convert("RGB"))
    return out


def _without_tiles(path: Path, mpp: GivenMpp | None, image: str | None) -> tuple[NDArray[np.uint8], SlideFacts]:
    """The pixels of a TIFF of strips, (h, w, 3) uint8, and what its metadata say."""
    from wsiparse.slides.tiffslide import TiffSlideSlide

    with TiffSlideSlide(path, mpp, image) as slide:
        if len(slide.level_sizes) > 1:
            raise UnsupportedSlideError(f"a pyramid of {len(slide.level_sizes)} levels, not a single picture")
        width, height = slide.size
        _check_size(width, height, path)
        try:
            return slide.whole_level(0), by_content(slide)
        except TileReadError as error:
            raise UnsupportedSlideError(str(error)) from error
