"""Slides read by tifffile; what their metadata mean is tiffslide's word, except for OME-TIFF. Only here is it imported.

It reads TIFFs that OpenSlide does not know, OME-TIFF and plain tiled TIFF among them, and those that OpenSlide would
misread. Tiles are fetched and decoded one by one, so that a damaged one costs only itself; slides that tiffslide puts
together from several images are read through it.

The Orientation tag is not applied: pixels and coordinates are as stored, which is what Bio-Formats and so QuPath show
(`BaseTiffReader` of Bio-Formats 8 puts the tag among the metadata and reads the picture as it is).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree

import numpy as np
import tiffslide
from numpy.typing import NDArray
from tiffslide import tiffslide as names

from wsiparse.errors import TileReadError, UnsupportedSlideError
from wsiparse.slides.agreement import TileBytes
from wsiparse.slides.files import file_fingerprint
from wsiparse.slides.handles import Handles
from wsiparse.slides.images import ImageFact, choose_image, image_fingerprint, image_note
from wsiparse.slides.metadata import MppClaim, imagej_claims, parse_colour, parse_number, tiff_claim
from wsiparse.slides.omexml import OmeImage, ome_images
from wsiparse.slides.pyramid import WHITE, PyramidSlide, SlideFacts, reopened
from wsiparse.slides.quiet import quietly
from wsiparse.slides.samples import FULL_16_BIT, Meaning, meaning_of, to_rgb
from wsiparse.slides.scale import GivenMpp, settle_mpp
from wsiparse.slides.tiffpages import PageLevel
from wsiparse.types import Box

__all__ = ["TiffSlideSlide"]

#: What tifffile, tiffslide, zarr and the image codecs raise on damaged or exotic files. Codec errors derive from
#: RuntimeError, TiffFileError from ValueError, a broken OME header shows as ParseError.
_LIBRARY_ERRORS: Final = (
    ArithmeticError, AttributeError, EOFError, LookupError, MemoryError, NotImplementedError, OSError, RuntimeError,
    TypeError, ValueError, struct.error, ElementTree.ParseError,
)  # fmt: skip

_INDEX, _COMPOSITION = "tiffslide.series-index", "tiffslide.series-composition"

#: Pixels converted at a time where a whole level is read.
_BAND_PX: Final = 1 << 24

#: Tiles of a 16-bit slide that are looked at for its range.
_RANGE_TILES: Final = 64
#: Glass in a bright-field scan is brighter than this; without a brighter pixel the range is not the one declared.
_LEAST_BRIGHTEST: Final = 1 << 15


class TiffSlideSlide(PyramidSlide):
    """A TIFF that tifffile understands.

    Parameters
    ----------
    path : an existing file
    mpp : the pixel size people give, or None
    image : name or number of the image to read in a file of several; None for the one that is the slide

    Raises
    ------
    UnsupportedSlideError
        If the file is not such a TIFF or its pixels have no certain meaning as RGB; the text is the bare reason.
    """

    def __init__(self, path: Path, mpp: GivenMpp | None = None, image: str | None = None) -> None:
        self._path, self._mpp, self._image = path, mpp, image
        self._handles = Handles(path.name, partial(_Handle, path, image))
        try:
            handle = self._handles.get()
            self._meaning = handle.meaning()
            if self._meaning.top == FULL_16_BIT:
                _check_range(handle)
            claims = _mpp_claims(handle)
            vendor = str(handle.properties.get(names.PROPERTY_NAME_VENDOR) or _kind(handle))
        except UnsupportedSlideError:
            self.close()
            raise
        except _LIBRARY_ERRORS as error:
            self.close()
            raise UnsupportedSlideError(_reason(error)) from error
        told = handle.ome_image()
        objective, sizes = told.objective if told else _objective(handle.properties), handle.sizes
        super().__init__(
            SlideFacts(
                path=path,
                reader="tiffslide",
                vendor=vendor,
                level_sizes=sizes,
                mpp=settle_mpp(claims, mpp, objective=objective, vendor=vendor, size=sizes[0]),
                objective=objective,
                bounds=Box(0, 0, *sizes[0]),
                background=parse_colour(handle.properties.get(names.PROPERTY_NAME_BACKGROUND_COLOR)) or WHITE,
                fingerprint=image_fingerprint(file_fingerprint(path), handle.image),
                tile_sizes=tuple(level.tiles.tile for level in handle.levels),
                directories=tuple(level.directory for level in handle.levels),
                notes=handle.notes(),
                image=handle.image,
            )
        )

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return reopened, (type(self), (self._path, self._mpp, self._image), self.facts)

    def close(self) -> None:
        """Close the handles of all threads."""
        self._handles.close()

    def tile_bytes(self, stored: int) -> TileBytes | None:
        """Where a stored level has data."""
        levels = self._handles.get().levels
        return levels[stored].tiles if levels else None

    def whole_level(self, level: int) -> NDArray[np.uint8]:
        """All pixels of a level, (h, w, 3) uint8.

        Raises
        ------
        TileReadError
            If some cannot be decoded.
        ValueError
            If the slide has been closed.
        """
        (width, height), tile = self.facts.stored_sizes[level], self.facts.tile_sizes[level]
        step = tile[1] if tile is not None else 1
        rows = max(1, _BAND_PX // (width * step)) * step  # whole tiles: none is decoded twice
        out = np.empty((height, width, 3), np.uint8)
        for y in range(0, height, rows):
            out[y : y + rows] = self._read_level(level, Box(0, y, width, min(rows, height - y)))
        return out

    def _read_level(self, level: int, box: Box) -> NDArray[np.uint8]:
        try:
            pixels, holes = self._handles.get().read(level, box)
        except _LIBRARY_ERRORS as error:
            if self._handles.closed:
                raise
            raise TileReadError(
                f"{self._path.name}: cannot decode level {level}, x {box.x}-{box.x1}, y {box.y}-{box.y1} "
                f"({_reason(error)}). Copy the slide again if the region matters."
            ) from error
        rgb = to_rgb(pixels, self._meaning, self.background)
        for part in holes:
            rgb[part.y - box.y : part.y1 - box.y, part.x - box.x : part.x1 - box.x] = self.background
        return rgb


class _Handle:
    """An open file of one thread, and the image in it that is read.

    Attributes
    ----------
    properties : tiffslide's, empty where it does not understand the file, and for OME-TIFF
    image : number of the image
    levels : levels of the image; empty where tiffslide puts it together from several
    """

    def __init__(self, path: Path, image: str | None) -> None:
        with quietly():
            self._slide = tiffslide.TiffSlide(path)
            try:
                self.tiff = self._slide.ts_tifffile
                self.properties = _properties(self._slide)
                self.ome = ome_images(self.tiff.ome_metadata or "") if self.tiff.is_ome else ()
                self.facts = _images(self.tiff, self.ome)
                self.image = self._chosen(image)
                self.levels = self._levels()
            except (UnsupportedSlideError, *_LIBRARY_ERRORS):
                self.close()
                raise

    def _chosen(self, image: str | None) -> int:
        vendor = str(self.properties.get(names.PROPERTY_NAME_VENDOR) or "")
        if image is not None or self.tiff.is_ome or not vendor or vendor == "generic-tiff":
            return choose_image(self.facts, image)
        return int(self.properties.get(_INDEX, 0))

    def _levels(self) -> tuple[PageLevel, ...]:
        if _COMPOSITION in self.properties and self.image == self.properties.get(_INDEX):
            return ()
        levels = [PageLevel(level, repeated=not self.tiff.is_ome) for level in self.tiff.series[self.image].levels]
        like = (levels[0].samples, levels[0].frame.dtype)
        return tuple(level for level in levels if (level.samples, level.frame.dtype) == like)

    @property
    def sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level, px."""
        if self.levels:
            return tuple(level.size for level in self.levels)
        return tuple((int(w), int(h)) for w, h in self._slide.level_dimensions)

    def ome_image(self) -> OmeImage | None:
        """What the OME-XML says about the image; None where it is no OME-TIFF or does not tell which it is."""
        fitting = [one for one in self.ome if one.size == self.facts[self.image].size]
        if len(self.ome) == len(self.facts):
            return self.ome[self.image]
        return fitting[0] if len(fitting) == 1 else None

    def meaning(self) -> Meaning:
        """How stored samples become RGB."""
        if not self.levels:
            page = self.tiff.series[self.image].keyframe
            return meaning_of(page, int(page.samplesperpixel), None)
        told = self.ome_image()
        return meaning_of(self.levels[0].frame, self.levels[0].samples, told.significant_bits if told else None)

    def notes(self) -> tuple[str, ...]:
        """What users should know."""
        notes = []
        vendor = str(self.properties.get(names.PROPERTY_NAME_VENDOR) or "")
        if self.tiff.is_ome or vendor in ("", "generic-tiff"):
            notes.append(image_note(self.facts, self.image))
        if self.levels and self.levels[0].pictures > 1:
            notes.append(f"Of {self.levels[0].pictures} pictures of this size the first is read.")
        turned = self.levels[0].frame.tags.valueof(274, 1) if self.levels else 1
        if turned != 1:
            notes.append(
                f"Its Orientation tag ({turned}) is not applied: pixels and coordinates are as stored, as in QuPath."
            )  # fmt: skip
        return tuple(note for note in notes if note)

    def read(self, level: int, box: Box) -> tuple[NDArray[Any], list[Box]]:
        """Samples (h, w, samples) of a box inside a level, and the parts of it that the file does not have."""
        if self.levels:
            return self.levels[level].read(box)
        downsample = float(self._slide.level_downsamples[level])
        origin = (_level0_origin(box.x, downsample), _level0_origin(box.y, downsample))
        pixels = np.asarray(self._slide.read_region(origin, level, (box.width, box.height), as_array=True))
        if pixels.shape[:2] != (box.height, box.width):
            raise ValueError(f"got {pixels.shape[1]} x {pixels.shape[0]} px")
        return pixels, []

    def close(self) -> None:
        """Close the file."""
        self._slide.close()


def _properties(slide: tiffslide.TiffSlide) -> Mapping[str, Any]:
    if slide.ts_tifffile.is_ome:
        return {}  # of the first image, whatever that is
    try:
        return dict(slide.properties)
    except _LIBRARY_ERRORS:
        return {}


def _images(tiff: Any, ome: tuple[OmeImage, ...]) -> tuple[ImageFact, ...]:
    """What the file says about each of its images."""
    facts = []
    for k, series in enumerate(tiff.series):
        frame = series.keyframe
        size = (int(frame.imagewidth), int(frame.imagelength)) if frame is not None else (0, 0)
        name = ome[k].name if len(ome) == len(tiff.series) else str(series.name) if tiff.is_ome else ""
        facts.append(ImageFact(name, size, len(series.levels)))
    if not facts:
        raise UnsupportedSlideError("it holds no image")
    return tuple(facts)


def _check_range(handle: _Handle) -> None:
    """Refuse 16-bit colour that nowhere reaches half of the range that it declares.

    Raises
    ------
    UnsupportedSlideError
        If no pixel of some tiles spread over the coarsest level does; the text is the bare reason.
    """
    level = len(handle.levels) - 1
    width, height = handle.sizes[level]
    brightest = 0
    edge = handle.levels[level].tiles.tile if handle.levels else (512, 512)
    places = [(x, y) for y in range(0, height, edge[1]) for x in range(0, width, edge[0])]
    for k in range(min(_RANGE_TILES, len(places))):
        x, y = places[k * len(places) // min(_RANGE_TILES, len(places))]
        try:
            pixels, _ = handle.read(level, Box(x, y, min(edge[0], width - x), min(edge[1], height - y)))
        except _LIBRARY_ERRORS:  # told when it is wanted
            continue
        brightest = max(brightest, int(pixels.max(initial=0)))
        if brightest >= _LEAST_BRIGHTEST:
            return
    raise UnsupportedSlideError(
        f"16-bit pixels without a declared range: none is brighter than {brightest} of {FULL_16_BIT}, so which value "
        "is white is not certain. Convert it to 8 bits, or write SignificantBits into its OME-XML"
    )


def _level0_origin(x: int, downsample: float) -> int:
    """A level-0 coordinate that tiffslide's ``int(x0 / downsample)`` turns into `x`, at any downsample >= 1."""
    origin = int(np.ceil(x * downsample))
    while int(origin / downsample) < x:
        origin += 1
    return origin


def _kind(handle: _Handle) -> str:
    """What kind of TIFF a file without a known vendor is."""
    return "ome-tiff" if handle.tiff.is_ome else "generic-tiff"


def _reason(error: BaseException) -> str:
    """A library's error as the end of a sentence, on one line."""
    text = " ".join(str(error).split()).rstrip(".")
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def _mpp_claims(handle: _Handle) -> list[MppClaim]:
    get = handle.properties.get
    if handle.tiff.is_ome:
        told = handle.ome_image()
        return [told.claim if told else MppClaim("OME PhysicalSize", None, None), _page_claim(handle)]
    if handle.image != get(_INDEX, handle.image) or not handle.properties:
        return [_page_claim(handle)]
    claims = [MppClaim("tiffslide.mpp-x", get(names.PROPERTY_NAME_MPP_X), get(names.PROPERTY_NAME_MPP_Y))]
    raw = get("aperio.MPP")
    if raw is not None:
        claims = [MppClaim("aperio.MPP", raw, raw)] if "," in str(raw) else [*claims, MppClaim("aperio.MPP", raw, raw)]
    across, down = get("tiff.XResolution"), get("tiff.YResolution")
    claims += imagej_claims(get("tiff.ImageDescription"), across, down)
    return [*claims, tiff_claim(across, down, get("tiff.ResolutionUnit"))]


def _page_claim(handle: _Handle) -> MppClaim:
    """The resolution of the image's own directory."""
    tags = handle.tiff.series[handle.image].keyframe.tags
    x, y, unit = (tags.valueof(name) for name in ("XResolution", "YResolution", "ResolutionUnit"))
    found = [value if isinstance(value, tuple) else (value, 1) for value in (x, y) if value is not None]
    numbers = [n / d if d else 0.0 for n, d in found]
    if len(numbers) != 2:
        return tiff_claim(None, None, None)
    return tiff_claim(numbers[0], numbers[1], getattr(unit, "name", unit))


def _objective(properties: Mapping[str, Any]) -> float | None:
    power = parse_number(properties.get(names.PROPERTY_NAME_OBJECTIVE_POWER))
    return power if power is not None and 0 < power < 1000 else None
