"""Slides: one interface over every reader, and the way to get one.

Frames and boxes are those of `wsiparse.coords` and `wsiparse.types`: boxes are in px of the frame they come with.
"""

from __future__ import annotations

import os
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wsiparse.choices import Reader, words
from wsiparse.coords import Frame
from wsiparse.errors import MissingMppError, UnsupportedSlideError
from wsiparse.slides.declared import reader_names, reader_of, readers_for
from wsiparse.slides.discover import slide_of_folder
from wsiparse.slides.files import check_file, expanded, picture_kind
from wsiparse.slides.images import NoSuchImageError
from wsiparse.slides.magic import looks_like
from wsiparse.slides.multiscales import is_zarr_folder
from wsiparse.slides.pyramid import PyramidSlide
from wsiparse.slides.scale import GivenMpp, given_mpp
from wsiparse.slides.soundness import by_content, by_size
from wsiparse.slides.tiff import TiffSkeleton, tiff_skeleton
from wsiparse.types import Box

__all__ = ["READERS", "Slide", "open_slide", "require_mpp"]

#: What `open_slide` takes as `reader`; "auto" tries those that the kind of file asks for.
READERS: Final = words(Reader)

#: What the OpenSlide reader says of a file that is nothing to it.
UNKNOWN_FORMAT: Final = "unknown format"


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
    if image is not None:
        raise UnsupportedSlideError(
            f"{path}: its image {image!r} cannot be read{_why(reasons, skeleton)}. Leave --image out."
        )
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
