"""Slides read by tiffslide (tifffile underneath); the only module that imports it.

It reads TIFFs that OpenSlide does not know, OME-TIFF and plain tiled TIFF among them. RGB and grey with 8 bits are
taken, alpha is composited; everything else (16 bit, float, fluorescence channels, stacks) is refused with the reason,
because guessing a display range would change counts.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import tiffslide
from numpy.typing import NDArray
from tiffslide import tiffslide as names

from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides.codestream import claimed_size
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.handles import Handles
from wsiparse.slides.metadata import MppClaim, parse_colour, parse_number, tiff_claim
from wsiparse.slides.pyramid import WHITE, PyramidSlide, SlideFacts, composite, reopened
from wsiparse.slides.quiet import quietly
from wsiparse.slides.scale import GivenMpp, settle_mpp
from wsiparse.types import Box

__all__ = ["TiffSlideSlide"]

#: What tifffile, tiffslide, zarr and the image codecs raise on damaged or exotic files. Codec errors derive from
#: RuntimeError, TiffFileError from ValueError, a broken OME header shows as ParseError.
_LIBRARY_ERRORS: Final = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, struct.error, ElementTree.ParseError,
)  # fmt: skip

#: Microns per OME length unit; "pixel" and "reference frame" have none.
_OME_UNIT_UM: Final[Mapping[str, float]] = {
    "µm": 1.0, "μm": 1.0, "um": 1.0, "nm": 1e-3, "mm": 1e3, "cm": 1e4, "m": 1e6, "Å": 1e-4, "pm": 1e-6,
}  # fmt: skip


#: TIFF compressions whose data say a size of their own: JPEG, JPEG 2000 of several makers, WebP.
_CLAIMING: Final = frozenset({6, 7, 33003, 33004, 33005, 34712, 50001})

#: Of a tile, what is looked at before a codec sees it.
_HEAD_BYTES: Final = 1 << 14


class TiffSlideSlide(PyramidSlide):
    """A TIFF that tiffslide understands.

    Parameters
    ----------
    path : an existing file
    mpp : the pixel size people give, or None

    Raises
    ------
    UnsupportedSlideError
        If the file is not such a TIFF or its pixels are not 8-bit RGB or grey; the text is the bare reason.
    """

    def __init__(self, path: Path, mpp: GivenMpp | None = None) -> None:
        self._path, self._mpp = path, mpp
        self._handles = Handles(path.name, partial(_opened, path))
        try:
            handle = self._handles.get()
            properties = dict(handle.properties)
            self._axes = str(properties["tiffslide.series-axes"])
            self._downsamples = tuple(float(d) for d in handle.level_downsamples)
            sizes = tuple((int(w), int(h)) for w, h in handle.level_dimensions)
            self._conversion = _conversion(handle, self._axes)
            self._tiles = _tiles(handle, len(sizes))
            claims = _mpp_claims(handle, properties)
            vendor = str(properties.get(names.PROPERTY_NAME_VENDOR) or _kind(handle))
        except UnsupportedSlideError:
            self.close()
            raise
        except _LIBRARY_ERRORS as error:
            self.close()
            raise UnsupportedSlideError(_reason(error)) from error
        objective = _objective(properties)
        super().__init__(
            SlideFacts(
                path=path,
                reader="tiffslide",
                vendor=vendor,
                level_sizes=sizes,
                mpp=settle_mpp(claims, mpp, objective=objective, vendor=vendor, size=sizes[0]),
                objective=objective,
                bounds=Box(0, 0, *sizes[0]),
                background=parse_colour(properties.get(names.PROPERTY_NAME_BACKGROUND_COLOR)) or WHITE,
                fingerprint=file_fingerprint(path),
            )
        )

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return reopened, (type(self), (self._path, self._mpp), self.facts)

    def close(self) -> None:
        """Close the handles of all threads."""
        self._handles.close()

    def whole_level(self, level: int) -> NDArray[np.uint8]:
        """All pixels of a level, (h, w, 3) uint8.

        Raises
        ------
        TileReadError
            If some cannot be decoded.
        ValueError
            If the slide has been closed.
        """
        return self._read_level(level, Box(0, 0, *self.level_sizes[level]))

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        downsample = self._downsamples[level]
        origin = (_level0_origin(box.x, downsample), _level0_origin(box.y, downsample))
        tiles = list(self._tiles[level].inside(box))
        try:
            if self._tiles[level].claims:
                self._check_claims(tiles, self._tiles[level].tile)
            pixels: NDArray[Any] = np.asarray(
                self._handles.get().read_region(origin, level, (box.width, box.height), as_array=True)
            )
            if pixels.shape[:2] != (box.height, box.width):
                raise ValueError(f"got {pixels.shape[1]} x {pixels.shape[0]} px")
        except _LIBRARY_ERRORS as error:
            if self._handles.closed:
                raise
            raise TileReadError(
                f"{self._path.name}: cannot decode level {level}, x {box.x}-{box.x1}, y {box.y}-{box.y1} "
                f"({_reason(error)}). Copy the slide again if the region matters."
            ) from error
        rgb = _to_rgb(pixels, self._conversion, self.background)
        for tile, _, count in tiles:
            if not count:  # a sparse file leaves it out, and tifffile shows it black
                rgb[tile.y - box.y : tile.y1 - box.y, tile.x - box.x : tile.x1 - box.x] = self.background
        return rgb

    def _check_claims(self, tiles: list[tuple[Box, int, int]], size: tuple[int, int]) -> None:
        """`ValueError` for a tile whose data say that it is larger than a tile: codecs would allocate that first."""
        with self._path.open("rb", buffering=0) as file:
            for _, start, count in tiles:
                file.seek(start)
                claim = claimed_size(file.read(min(count, _HEAD_BYTES)))
                if claim is not None and (claim[0] > size[0] or claim[1] > size[1]):
                    raise ValueError(f"a tile of {size[0]} x {size[1]} px claims {claim[0]} x {claim[1]} px")


def _opened(path: Path) -> tiffslide.TiffSlide:
    with quietly():
        handle = tiffslide.TiffSlide(path)
        try:
            # both are parsed on first use, with warnings about vendors and metadata
            _ = handle.properties, handle.level_dimensions
        except _LIBRARY_ERRORS:
            handle.close()
            raise
    return handle


@dataclass(frozen=True, slots=True)
class _Tiles:
    """Where the tiles (or strips) of a level lie in the file.

    Parameters
    ----------
    starts, counts : (rows, columns) int64, first byte and number of bytes; (0, 0) where this cannot be told
    tile : (width, height), level px
    claims : whether the data of a tile say how large it is
    """

    starts: NDArray[np.int64]
    counts: NDArray[np.int64]
    tile: tuple[int, int]
    claims: bool

    def inside(self, box: Box) -> Iterator[tuple[Box, int, int]]:
        """The tiles a box touches: the common part, level px, and where the tile lies."""
        width, height = self.tile
        rows = range(box.y // height, min(len(self.starts), -(-box.y1 // height)))
        columns = range(box.x // width, min(self.starts.shape[1], -(-box.x1 // width)))
        for row in rows:
            for column in columns:
                x, y = column * width, row * height
                left, top = max(x, box.x), max(y, box.y)
                part = Box(left, top, min(x + width, box.x1) - left, min(y + height, box.y1) - top)
                yield part, int(self.starts[row, column]), int(self.counts[row, column])


def _tiles(handle: tiffslide.TiffSlide, levels: int) -> tuple[_Tiles, ...]:
    none = _Tiles(np.zeros((0, 0), np.int64), np.zeros((0, 0), np.int64), (1, 1), claims=False)
    if "tiffslide.series-composition" in handle.properties:
        return (none,) * levels
    out = []
    for level in handle.ts_tifffile.series[handle.properties["tiffslide.series-index"]].levels[:levels]:
        page = level.keyframe
        tile = (
            (page.tilewidth, page.tilelength)
            if page.is_tiled
            else (page.imagewidth, min(page.rowsperstrip, page.imagelength))
        )
        shape = (-(-page.imagelength // max(1, tile[1])), -(-page.imagewidth // max(1, tile[0])))
        starts, counts = (np.asarray(v, np.int64) for v in (page.dataoffsets, page.databytecounts))
        fits = len(starts) == len(counts) == shape[0] * shape[1] and min(tile) > 0
        claims = int(page.compression) in _CLAIMING
        out.append(_Tiles(starts.reshape(shape), counts.reshape(shape), tile, claims) if fits else none)
    return tuple(out)


def _level0_origin(x: int, downsample: float) -> int:
    """A level-0 coordinate that tiffslide's ``int(x0 / downsample)`` turns into `x`, at any downsample >= 1."""
    origin = int(np.ceil(x * downsample))
    while int(origin / downsample) < x:
        origin += 1
    return origin


def _kind(handle: tiffslide.TiffSlide) -> str:
    """What kind of TIFF a file without a known vendor is."""
    return "ome-tiff" if handle.ts_tifffile.is_ome else "generic-tiff"


def _reason(error: BaseException) -> str:
    """A library's error as the end of a sentence, on one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _conversion(handle: tiffslide.TiffSlide, axes: str) -> str:
    """How stored samples become RGB: "rgb", "rgba", "premultiplied", "grey" or "inverted grey".

    Raises
    ------
    UnsupportedSlideError
        If there is no way that is certain.
    """
    series = handle.ts_tifffile.series[handle.properties["tiffslide.series-index"]]
    page = series.keyframe
    if series.dtype != np.uint8:
        raise UnsupportedSlideError(f"{series.dtype} pixels, only 8-bit RGB is supported")
    photometric = page.photometric.name
    samples = 1 if axes == "YX" else int(series.shape[axes.index("C" if axes == "CYX" else "S")])
    if axes == "YX" and photometric in ("MINISBLACK", "MINISWHITE"):
        return "grey" if photometric == "MINISBLACK" else "inverted grey"
    if axes == "YXS" and photometric in ("RGB", "YCBCR") and samples in (3, 4):
        extra = [e.name for e in page.extrasamples]
        if samples == 3 or "UNSPECIFIED" in extra:
            return "rgb"
        return "premultiplied" if "ASSOCALPHA" in extra else "rgba"
    raise UnsupportedSlideError(
        f"{samples} sample{'s' * (samples > 1)} per pixel, axes {axes}, {photometric.lower()}, only RGB is supported"
    )


def _to_rgb(pixels: NDArray[np.uint8], conversion: str, background: tuple[int, int, int]) -> NDArray[np.uint8]:
    """(h, w, samples) uint8 to (h, w, 3)."""
    if conversion == "rgb":
        return np.ascontiguousarray(pixels[:, :, :3])
    if conversion == "rgba":
        return composite(pixels, background)
    if conversion == "premultiplied":
        # colour already times alpha: only the background's share is missing
        share = np.array(background, np.uint32) * (255 - pixels[:, :, 3:].astype(np.uint32))
        return np.minimum(pixels[:, :, :3] + (share + 127) // 255, 255).astype(np.uint8)
    grey = pixels if conversion == "grey" else 255 - pixels
    return np.repeat(grey, 3, axis=2)


def _mpp_claims(handle: tiffslide.TiffSlide, properties: Mapping[str, Any]) -> list[MppClaim]:
    get = properties.get
    claims = []
    if handle.ts_tifffile.is_ome:
        claims.append(_ome_claim(handle.ts_tifffile.ome_metadata or ""))
    claims.append(MppClaim("tiffslide.mpp-x", get(names.PROPERTY_NAME_MPP_X), get(names.PROPERTY_NAME_MPP_Y)))
    raw = get("aperio.MPP")
    if raw is not None:
        claims = [MppClaim("aperio.MPP", raw, raw)] if "," in str(raw) else [*claims, MppClaim("aperio.MPP", raw, raw)]
    return [*claims, tiff_claim(get("tiff.XResolution"), get("tiff.YResolution"), get("tiff.ResolutionUnit"))]


def _ome_claim(xml: str) -> MppClaim:
    """PhysicalSizeX and -Y of the first image (OME schema 2016-06: the unit is um unless it says otherwise)."""
    root = ElementTree.fromstring(xml)
    pixels = next((e for e in root.iter() if e.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return MppClaim("OME PhysicalSize", None, None)
    found: list[object] = []
    for axis in "XY":
        value, unit = pixels.get(f"PhysicalSize{axis}"), pixels.get(f"PhysicalSize{axis}Unit", "µm")
        micron, number = _OME_UNIT_UM.get(unit), parse_number(value)
        found.append(value if number is None else round(number * micron, 9) if micron else f"{value} {unit}")
    return MppClaim("OME PhysicalSize", *found)


def _objective(properties: Mapping[str, Any]) -> float | None:
    power = parse_number(properties.get(names.PROPERTY_NAME_OBJECTIVE_POWER))
    return power if power is not None and 0 < power < 1000 else None
