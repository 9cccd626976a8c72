"""Slides read by OpenSlide; the only module that imports it.

OpenSlide's errors stick: after one, every later call on the handle fails. A failed read therefore closes the handle,
opens the file again and is retried once; what still fails becomes a `TileReadError` and the next read starts afresh.
Each thread has its own handle, because an error in one would otherwise fail the others.

At a level whose downsample is not a whole number (OpenSlide averages the ratios of both axes, e.g. 4.00005) the
level-0 origin of a region is rounded, which makes OpenSlide shift pixels by less than half a level-0 px and
interpolate. Such levels are read in blocks of a fixed grid, so that the shift belongs to the pixel and not to the
request.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import openslide
from numpy.typing import NDArray

from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.handles import Handles
from wsiparse.slides.metadata import MppClaim, imagej_claims, parse_colour, parse_number, tiff_claim
from wsiparse.slides.pyramid import WHITE, PyramidSlide, SlideFacts, composite, reopened
from wsiparse.slides.scale import GivenMpp, settle_mpp
from wsiparse.slides.tiff import TiffSkeleton
from wsiparse.slides.tilelevels import tile_counts
from wsiparse.types import Box

__all__ = ["OpenSlideSlide"]

#: Edge of the fixed blocks of a level with a fractional downsample, level px.
_BLOCK_PX: Final = 1024


_BOUNDS: Final = (
    openslide.PROPERTY_NAME_BOUNDS_X,
    openslide.PROPERTY_NAME_BOUNDS_Y,
    openslide.PROPERTY_NAME_BOUNDS_WIDTH,
    openslide.PROPERTY_NAME_BOUNDS_HEIGHT,
)
_PROPERTIES: Final = (
    *_BOUNDS,
    openslide.PROPERTY_NAME_VENDOR,
    openslide.PROPERTY_NAME_MPP_X,
    openslide.PROPERTY_NAME_MPP_Y,
    openslide.PROPERTY_NAME_OBJECTIVE_POWER,
    openslide.PROPERTY_NAME_BACKGROUND_COLOR,
    "aperio.MPP",
    "tiff.ImageDescription",
    "tiff.XResolution",
    "tiff.YResolution",
    "tiff.ResolutionUnit",
)


class OpenSlideSlide(PyramidSlide):
    """A slide file OpenSlide understands.

    Parameters
    ----------
    path : an existing file
    mpp : the pixel size people give, or None
    skeleton : skeleton of the file if it is a TIFF, to refuse what OpenSlide would misread

    Raises
    ------
    UnsupportedSlideError
        If OpenSlide does not know the format, cannot open the file, or would misread it; the text is the bare reason.
    """

    def __init__(self, path: Path, mpp: GivenMpp | None = None, skeleton: TiffSkeleton | None = None) -> None:
        self._path, self._mpp = path, mpp
        self._handles = Handles(path.name, partial(_opened, path))
        handle = self._handles.get()
        try:
            # asked for one by one: a damaged name among the others must not matter
            properties = {name: value for name in _PROPERTIES if (value := handle.properties.get(name)) is not None}
            sizes = tuple((int(w), int(h)) for w, h in handle.level_dimensions)
            self._downsamples = tuple(float(d) for d in handle.level_downsamples)
        except openslide.OpenSlideError as error:
            self.close()
            raise UnsupportedSlideError(str(error)) from error
        vendor = properties.get(openslide.PROPERTY_NAME_VENDOR, "")
        misread = _misread(skeleton, vendor) if skeleton is not None else ""
        if misread:
            self.close()
            raise UnsupportedSlideError(misread)
        objective = _objective(properties)
        super().__init__(
            SlideFacts(
                path=path,
                reader="openslide",
                vendor=vendor,
                level_sizes=sizes,
                mpp=settle_mpp(_mpp_claims(properties), mpp, objective=objective, vendor=vendor, size=sizes[0]),
                objective=objective,
                bounds=_bounds(properties, sizes[0]),
                background=parse_colour(properties.get(openslide.PROPERTY_NAME_BACKGROUND_COLOR)) or WHITE,
                fingerprint=file_fingerprint(path),
                tile_sizes=_tile_sizes(handle, len(sizes)),
            )
        )
        self._counts = tile_counts(path, sizes) if skeleton is not None and skeleton.end else ()

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return reopened, (type(self), (self._path, self._mpp), self.facts)

    def tile_bytes(self, stored: int) -> TileBytes | None:
        """Where a stored level has data; None for all but TIFFs."""
        return self._counts[stored] if self._counts else None

    def close(self) -> None:
        """Close the handles of all threads."""
        self._handles.close()

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        if self._downsamples[level].is_integer():
            return self._read_region(level, box)
        out = np.empty((box.height, box.width, 3), np.uint8)
        for block in _blocks(box, self.facts.stored_sizes[level]):
            part = Box(
                max(block.x, box.x),
                max(block.y, box.y),
                min(block.x1, box.x1) - max(block.x, box.x),
                min(block.y1, box.y1) - max(block.y, box.y),
            )
            # from the block's own origin, so that the rounding of the origin is the block's, whatever is asked for
            pixels = self._read_region(level, Box(block.x, block.y, part.x1 - block.x, part.y1 - block.y))
            out[part.y - box.y : part.y1 - box.y, part.x - box.x : part.x1 - box.x] = pixels[
                part.y - block.y :, part.x - block.x :
            ]
        return out

    def _read_region(self, level: int, box: Box) -> NDArray[np.uint8]:
        downsample = self._downsamples[level]
        origin = (round(box.x * downsample), round(box.y * downsample))
        for attempt in (1, 2):
            try:
                rgba = np.asarray(self._handles.get().read_region(origin, level, (box.width, box.height)))
                break
            except openslide.OpenSlideError as error:
                self._handles.drop()
                reason = str(error)
            except UnsupportedSlideError as error:
                reason = f"the file no longer opens: {error}"
            if attempt == 2:
                raise TileReadError(
                    f"{self._path.name}: cannot decode level {level}, x {box.x}-{box.x1}, y {box.y}-{box.y1} "
                    f"({reason}). Copy the slide again if the region matters."
                )
        return composite(rgba, self.background)


def _opened(path: Path) -> openslide.OpenSlide:
    try:
        return openslide.OpenSlide(path)
    except openslide.OpenSlideUnsupportedFormatError:
        raise UnsupportedSlideError("unknown format") from None
    except openslide.OpenSlideError as error:
        raise UnsupportedSlideError(str(error)) from error


def _tile_sizes(handle: openslide.OpenSlide, levels: int) -> tuple[tuple[int, int] | None, ...]:
    sizes: list[tuple[int, int] | None] = []
    for k in range(levels):
        told = [
            parse_number(handle.properties.get(f"openslide.level[{k}].tile-{side}")) for side in ("width", "height")
        ]
        width, height = (int(n) if n is not None and 1 <= n < 1 << 31 else 0 for n in told)
        sizes.append((width, height) if width and height else None)
    return tuple(sizes)


def _blocks(box: Box, size: tuple[int, int]) -> Iterator[Box]:
    for y in range(box.y // _BLOCK_PX * _BLOCK_PX, box.y1, _BLOCK_PX):
        for x in range(box.x // _BLOCK_PX * _BLOCK_PX, box.x1, _BLOCK_PX):
            yield Box(x, y, min(_BLOCK_PX, size[0] - x), min(_BLOCK_PX, size[1] - y))


def _misread(skeleton: TiffSkeleton, vendor: str) -> str:
    """Why OpenSlide's pixels of a TIFF would not be the file's, or ""."""
    if skeleton.orientation != 1 and vendor in ("generic-tiff", "aperio"):
        return f"an Orientation tag of {skeleton.orientation}, by which OpenSlide turns every tile in its place"
    if vendor != "generic-tiff":
        return ""
    if not skeleton.first_largest:
        return "its first image is not its largest, and OpenSlide takes the first"
    if skeleton.bits != 8 or not skeleton.integer:
        return f"{skeleton.bits}-bit {'integer' if skeleton.integer else 'float'} pixels, only 8-bit RGB is supported"
    if skeleton.ome and skeleton.samples < 3:
        return "an OME-TIFF with separate channels, only RGB is supported"
    return ""


def _mpp_claims(properties: Mapping[str, str]) -> list[MppClaim]:
    get = properties.get
    claims = [MppClaim("openslide.mpp-x", get(openslide.PROPERTY_NAME_MPP_X), get(openslide.PROPERTY_NAME_MPP_Y))]
    raw = get("aperio.MPP")
    if raw is not None:
        # OpenSlide turns the comma of "0,25" into a point without a word, and skips what it cannot parse
        claims = [MppClaim("aperio.MPP", raw, raw)] if "," in raw else [*claims, MppClaim("aperio.MPP", raw, raw)]
    across, down = get("tiff.XResolution"), get("tiff.YResolution")
    claims += imagej_claims(get("tiff.ImageDescription"), across, down)
    return [*claims, tiff_claim(across, down, get("tiff.ResolutionUnit"))]


def _objective(properties: Mapping[str, str]) -> float | None:
    power = parse_number(properties.get(openslide.PROPERTY_NAME_OBJECTIVE_POWER))
    return power if power is not None and 0 < power < 1000 else None


def _bounds(properties: Mapping[str, str], size: tuple[int, int]) -> Box:
    """QuPath's rule: the bounds count when all four parse; what reaches past the slide is cut."""
    try:
        x, y, width, height = (int(properties[name]) for name in _BOUNDS)
    except (KeyError, ValueError):
        return Box(0, 0, *size)
    return (Box(x, y, width, height).clip(size) if width > 0 and height > 0 else None) or Box(0, 0, *size)
