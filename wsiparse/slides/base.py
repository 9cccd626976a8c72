"""Slides: one interface over every reader, and the way to get one.

Frames and boxes are those of `wsiparse.coords` and `wsiparse.types`: boxes are in px of the frame they come with.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wsiparse.choices import Reader, words
from wsiparse.coords import Frame, frame_at
from wsiparse.errors import MissingMppError, PlanError, SlideError, TileReadError, UnsupportedSlideError
from wsiparse.slides.declared import reader_names, reader_of, readers_for
from wsiparse.slides.discover import slide_of_folder
from wsiparse.slides.files import check_file, expanded, picture_kind
from wsiparse.slides.images import NoSuchImageError
from wsiparse.slides.magic import looks_like
from wsiparse.slides.multiscales import is_zarr_folder
from wsiparse.slides.pyramid import PyramidSlide
from wsiparse.slides.scale import MAX_GLASS_MM, GivenMpp, given_mpp
from wsiparse.slides.soundness import by_content, by_size
from wsiparse.slides.tiff import TiffSkeleton, tiff_skeleton
from wsiparse.types import Box

__all__ = [
    "READERS",
    "Slide",
    "Survey",
    "missing_mm2",
    "open_slide",
    "overview",
    "overview_frame",
    "require_mpp",
    "survey",
]

#: What `open_slide` takes as `reader`; "auto" tries those that the kind of file asks for.
READERS: Final = words(Reader)

#: What the OpenSlide reader says of a file that is nothing to it.
UNKNOWN_FORMAT: Final = "unknown format"

#: Edge of the pieces an overview is read in, and of the smallest piece worth retrying after a decoding error, px.
_PIECE_PX: Final = 512
_SMALLEST_PX: Final = 16

#: After so many pieces that cannot be decoded, smaller ones are no longer tried.
_MOST_FAILURES: Final = 512

#: More pixels than an overview of glass has: at 8 um per px a square of 131 mm.
_MOST_OVERVIEW_PX: Final = 1 << 28


@runtime_checkable
class Slide(Protocol):
    """A whole-slide image, whatever it is stored in.

    Readers may be used from several threads at once and pickle by opening the file again.
    """

    @property
    def path(self) -> Path:
        """The slide file."""
        ...

    @property
    def name(self) -> str:
        """The file's stem: what outputs are called; always text."""
        ...

    @property
    def reader(self) -> str:
        """One of `READERS`, or "memory"."""
        ...

    @property
    def vendor(self) -> str:
        """Scanner family, "" if unknown."""
        ...

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of level 0, px."""
        ...

    @property
    def level_sizes(self) -> tuple[tuple[int, int], ...]:
        """(width, height) of each level, finest first, px."""
        ...

    @property
    def mpp(self) -> tuple[float, float] | None:
        """(x, y) um per level-0 px; None when neither the metadata nor the caller gives a believable one."""
        ...

    @property
    def mpp_source(self) -> str:
        """Where `mpp` comes from ("metadata openslide.mpp-x", "--slide-mpp, or column mpp"), or what was looked for."""
        ...

    @property
    def mpp_notices(self) -> tuple[str, ...]:
        """Sentences about `mpp` that people should read: what was said and is not used, what hardly fits."""
        ...

    @property
    def objective(self) -> float | None:
        """Nominal magnification, or None."""
        ...

    @property
    def bounds(self) -> Box:
        """The scanned part, level-0 px; the whole slide when the file does not say."""
        ...

    @property
    def background(self) -> tuple[int, int, int]:
        """(r, g, b) of what was not scanned."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 hex of the content, independent of path and modification time."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What users should know about how the file is read, a sentence each."""
        ...

    @property
    def image(self) -> int:
        """Number of the image in a file of several, from 0."""
        ...

    @property
    def missing_px(self) -> int:
        """Level-0 px of tiles that the file does not have: background, and nothing is known of them."""
        ...

    def read(self, box: Box, frame: Frame) -> NDArray[np.uint8]:
        """(box.height, box.width, 3) uint8 pixels of `frame`; past the slide they are background.

        Raises
        ------
        TileReadError
            If the region cannot be decoded; others remain readable.
        """
        ...

    def check_unchanged(self) -> None:
        """`SlideError` if the slide is no longer what it was when it was opened."""
        ...

    def close(self) -> None:
        """Free file handles."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_slide(
    path: str | Path,
    *,
    slide_mpp: float | None = None,
    override_mpp: float | None = None,
    reader: str = "auto",
    image: str | None = None,
    threads: int = 1,
) -> Slide:
    """Open a slide with the fastest reader that gives its pixels as they are.

    Parameters
    ----------
    path : slide file, or the folder of an OME-Zarr image, of a MIRAX slide or of one DICOM series
    slide_mpp : um per level-0 px, used where the metadata have none that can be used; 0.05-20
    override_mpp : um per level-0 px, used instead of what the metadata say; 0.05-20
    reader : "openslide" or "tiffslide" for that library; "direct" for reading its tiles without one; "image" for PNG,
        JPEG, BMP and TIFFs without tiles that OpenSlide does not know; "zarr" for folders; the name of another
        package's reader (`wsiparse.slides.declared`); "auto" for one of those whose ending it is, for direct where its
        pixels are known to be those of the library that would serve the file, else that library (OpenSlide, then
        tiffslide; the other way round for OME-TIFF), or image or zarr
    image : name or number (from 0) of the image to read in a file of several; None for the one that is the slide
    threads : tiles that the direct reader decodes at once when nobody else reads; changes no pixel

    Raises
    ------
    SlideNotFoundError
        If there is no such file or it may not be read.
    UnsupportedSlideError
        If it is empty, truncated, or no reader understands it.
    MissingMppError
        If `slide_mpp` or `override_mpp` is not believable.
    ConfigError
        If `reader` is of another package, which does not work.
    ValueError
        If `reader` is unknown.

    Examples
    --------
    >>> import wsiparse
    >>> with wsiparse.open_slide("slide.svs") as slide:
    ...     print(slide.size, slide.mpp)
    (320, 256) (0.5, 0.5)
    """
    if reader not in reader_names():
        raise ValueError(f"reader {reader!r} is none of {', '.join(reader_names())}")
    path = expanded(path)
    given = given_mpp(slide_mpp, override_mpp)
    if is_zarr_folder(path) and reader in ("auto", "zarr"):
        return _open_folder(path, given, image)
    path = _file_of(path)
    check_file(path)
    skeleton = tiff_skeleton(path)
    reasons = {}
    order = (*(readers_for(path) if reader == "auto" else ()), *_order(path, skeleton))
    for name in order if reader in ("auto", "direct") else (reader,):
        try:
            slide = _open_with(name, path, given, skeleton, image)
        except NoSuchImageError as error:
            raise _without_image(path, error) from error
        except UnsupportedSlideError as error:
            reasons[name] = str(error).rstrip(".")
            continue
        # a picture is in memory already
        if name in READERS and reader != name and (reader == "direct" or not (skeleton is None or name == "image")):
            slide = _fastest(slide, threads, needed=reader == "direct")
        return _settled(slide)
    raise UnsupportedSlideError(f"{path}: not readable as a slide{_why(reasons, skeleton)}: {looks_like(path)}")


def _file_of(path: Path) -> Path:
    """The file that a folder stands for; the path itself where there is none."""
    # unlike Path.is_dir, it is False, not an error, where nobody may look
    return (os.path.isdir(path) and slide_of_folder(path)) or path  # noqa: PTH112


def _why(reasons: dict[str, str], skeleton: TiffSkeleton | None) -> str:
    """What the readers said, in brackets, without what says nothing."""
    told = {
        name: why
        for name, why in reasons.items()
        if why != UNKNOWN_FORMAT and (skeleton is not None or name != "tiffslide")
    }
    return f" ({'; '.join(f'{name}: {why}' for name, why in told.items())})" if told else ""


def _without_image(path: Path, error: NoSuchImageError) -> UnsupportedSlideError:
    return UnsupportedSlideError(f"{path}: {error}. Choose one that it has with --image, or leave that out.")


def _order(path: Path, skeleton: TiffSkeleton | None) -> tuple[str, ...]:
    """The readers to try for a file, first things first."""
    if skeleton is None:
        return ("openslide", "image") if picture_kind(path) else ("openslide", "tiffslide")
    if skeleton.ome:
        # OpenSlide reads an OME-TIFF as a generic one: without its pixel size, its first image, its first channel
        return ("tiffslide",)
    # a strip may be as large as the picture, and tiffslide decodes it anew for every tile
    return ("openslide", "tiffslide") if skeleton.tiled else ("openslide", "image", "tiffslide")


def _open_folder(path: Path, mpp: GivenMpp, image: str | None) -> Slide:
    from wsiparse.slides.omezarr import ZarrSlide

    try:
        return _settled(ZarrSlide(path, mpp, image))
    except NoSuchImageError as error:
        raise _without_image(path, error) from error
    except UnsupportedSlideError as error:
        raise UnsupportedSlideError(
            f"{path}: not readable as a slide (zarr: {error}). Give the folder of an OME-Zarr 0.4 or 0.5 image with "
            "three 8-bit channels."
        ) from error


def _open_with(
    reader: str, path: Path, mpp: GivenMpp, skeleton: TiffSkeleton | None, image: str | None
) -> PyramidSlide:
    if reader == "openslide" and image is not None and image.strip() != "0":
        raise UnsupportedSlideError("it reads one image of a file only")
    if reader == "openslide":
        from wsiparse.slides.openslide import OpenSlideSlide

        return OpenSlideSlide(path, mpp, skeleton)
    if reader == "image":
        from wsiparse.slides.image import ImageSlide

        return ImageSlide(path, mpp, image)
    if reader == "zarr":
        raise UnsupportedSlideError("not a folder")
    if reader not in READERS:
        return reader_of(reader).open(path, mpp)
    from wsiparse.slides.tiffslide import TiffSlideSlide

    return TiffSlideSlide(path, mpp, image)


def _settled(slide: PyramidSlide) -> PyramidSlide:
    """The same slide with the levels that can be relied on."""
    slide.facts = by_content(slide)
    return slide


def _fastest(slide: PyramidSlide, threads: int, *, needed: bool) -> PyramidSlide:
    """The same slide read directly, or itself where that is not possible and not `needed`."""
    from wsiparse.slides.direct import DirectSlide

    try:
        direct = DirectSlide(by_size(slide.facts), threads)
    except UnsupportedSlideError as error:
        if not needed:
            return slide
        slide.close()
        raise UnsupportedSlideError(
            f"{slide.path}: cannot be read directly ({error}). Use --reader auto or {slide.reader}."
        ) from error
    slide.close()
    return direct


def require_mpp(slide: Slide) -> tuple[float, float]:
    """The slide's microns per pixel, (x, y).

    Raises
    ------
    MissingMppError
        If there are none; the text says what was looked for and found.
    """
    if slide.mpp is None:
        guess = ""
        if slide.objective is not None:
            guess = f" Its objective is {slide.objective:g}x, for which {10 / slide.objective:.2g} is a guess."
        raise MissingMppError(
            f"{slide.path.name}: no usable microns-per-pixel in the metadata ({slide.mpp_source}). Pass your scanner's "
            f"value with --slide-mpp, in um per full-resolution pixel, or list the slide with its mpp in slides.csv."
            f"{guess}"
        )
    return slide.mpp


def missing_mm2(slide: Slide) -> float:
    """Mm2 of a slide that its file does not have: missing tiles or chunks; 0 without microns per pixel."""
    return 0.0 if slide.mpp is None else slide.missing_px * slide.mpp[0] * slide.mpp[1] * 1e-6


def overview_frame(slide: Slide, target_mpp: float) -> Frame:
    """The frame of an overview: as `coords.frame_at`, but its last column and row may reach past the slide.

    Every level-0 px then lies in an overview px, which the tissue mask needs.

    Raises
    ------
    MissingMppError
        If the slide has no microns per pixel.
    PlanError
        If `target_mpp` is not usable, or the overview would be larger than that of any glass slide.
    """
    mpp = require_mpp(slide)
    frame = frame_at(slide.size, mpp, target_mpp)
    width, height = (max(1, math.ceil(n / f - 1e-9)) for n, f in zip(slide.size, frame.downsample, strict=True))
    if (
        width * height > _MOST_OVERVIEW_PX
        or max(n * m for n, m in zip(slide.size, mpp, strict=True)) > 1000 * MAX_GLASS_MM
    ):
        mm = " x ".join(f"{n * m / 1000:.0f}" for n, m in zip(slide.size, mpp, strict=True))
        raise PlanError(
            f"{slide.path.name}: {slide.size[0]} x {slide.size[1]} px of {mpp[0]:g} um ({slide.mpp_source}) are {mm} "
            "mm, larger than any slide. Correct the pixel size with --override-mpp, or copy the slide again."
        )
    return Frame(size=(width, height), downsample=frame.downsample, mpp=frame.mpp)


def overview(slide: Slide, target_mpp: float) -> tuple[NDArray[np.uint8], Frame]:
    """Picture and frame of a `survey`; nothing but background where nothing can be decoded.

    Parameters
    ----------
    slide : any slide with microns per pixel
    target_mpp : wanted um per px

    Returns
    -------
    picture : (h, w, 3) uint8 RGB
    frame : of the picture; it covers the slide completely

    Raises
    ------
    MissingMppError, PlanError
        As `overview_frame`.
    """
    seen = _seen(slide, target_mpp)
    return seen.picture, seen.frame


@dataclass(frozen=True, eq=False, slots=True)
class Survey:
    """A slide at low resolution.

    Parameters
    ----------
    picture : (h, w, 3) uint8
    frame : of the picture; it covers the slide completely
    lost : (h, w) bool, what could not be decoded and is background in the picture
    """

    picture: NDArray[np.uint8]
    frame: Frame
    lost: NDArray[np.bool_]


def survey(slide: Slide, target_mpp: float) -> Survey:
    """The whole slide at low resolution, and which parts of it cannot be decoded.

    It is read piece by piece, so memory stays bounded for a gigapixel slide without a pyramid. A piece that cannot
    be decoded is read in quarters and what remains unreadable is lost: one damaged tile does not cost the slide. Where
    very much is damaged, larger pieces are lost as a whole: nobody should wait for hours to learn that.

    Parameters
    ----------
    slide : any slide with microns per pixel
    target_mpp : wanted um per px

    Raises
    ------
    MissingMppError, PlanError
        As `overview_frame`.
    SlideError
        If nothing of the slide can be decoded.
    """
    seen = _seen(slide, target_mpp)
    if seen.lost.all():
        raise SlideError(f"{slide.path}: damaged, nothing of it can be decoded. Copy the slide again.")
    return seen


def _seen(slide: Slide, target_mpp: float) -> Survey:
    frame = overview_frame(slide, target_mpp)
    picture = np.empty((frame.size[1], frame.size[0], 3), np.uint8)
    picture[:] = np.array(slide.background, np.uint8)
    seen = Survey(picture, frame, np.zeros(picture.shape[:2], np.bool_))
    whole = Box(0, 0, *frame.size)
    patience = iter(range(_MOST_FAILURES))
    for y in range(0, whole.height, _PIECE_PX):
        for x in range(0, whole.width, _PIECE_PX):
            piece = Box(x, y, min(_PIECE_PX, whole.width - x), min(_PIECE_PX, whole.height - y))
            _fill(seen, slide, piece, patience)
    return seen


def _fill(seen: Survey, slide: Slide, box: Box, patience: Iterator[int]) -> None:
    rows, columns = slice(box.y, box.y1), slice(box.x, box.x1)
    try:
        seen.picture[rows, columns] = slide.read(box, seen.frame)
    except TileReadError:
        if max(box.width, box.height) <= _SMALLEST_PX or next(patience, None) is None:
            seen.lost[rows, columns] = True
            return
        left, top = max(1, box.width // 2), max(1, box.height // 2)
        for y, height in ((box.y, top), (box.y + top, box.height - top)):
            for x, width in ((box.x, left), (box.x + left, box.width - left)):
                if width and height:
                    _fill(seen, slide, Box(x, y, width, height), patience)
