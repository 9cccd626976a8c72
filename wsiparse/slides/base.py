"""Slides: one interface over every reader, and the way to get one.

Frames and boxes are those of `wsiparse.coords` and `wsiparse.types`: boxes are in px of the frame they come with.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame, frame_at
from wsiparse.errors import MissingMppError, TileReadError, UnsupportedSlideError
from wsiparse.slides.files import check_file, looks_like
from wsiparse.slides.metadata import MAX_MPP, MIN_MPP, Mpp, checked_mpp
from wsiparse.slides.pyramid import PyramidSlide
from wsiparse.slides.tiff import TiffSkeleton, tiff_skeleton
from wsiparse.types import Box

__all__ = ["READERS", "Slide", "open_slide", "overview", "overview_frame", "require_mpp"]

#: What `open_slide` takes as `reader`.
READERS: Final = ("auto", "direct", "tiffslide", "openslide")

#: Edge of the pieces an overview is read in, and of the smallest piece worth retrying after a decoding error, px.
_PIECE_PX: Final = 512
_SMALLEST_PX: Final = 16


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
        """The file's stem: what outputs are called."""
        ...

    @property
    def reader(self) -> str:
        """ "direct", "openslide", "tiffslide" or "memory"."""
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
        """Where `mpp` comes from ("metadata openslide.mpp-x", "--slide-mpp"), or what was looked for and found."""
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

    def read(self, box: Box, frame: Frame) -> NDArray[np.uint8]:
        """(box.height, box.width, 3) uint8 pixels of `frame`; past the slide they are background.

        Raises
        ------
        TileReadError
            If the region cannot be decoded; others remain readable.
        """
        ...

    def close(self) -> None:
        """Free file handles."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_slide(path: str | Path, *, slide_mpp: float | None = None, reader: str = "auto", threads: int = 1) -> Slide:
    """Open a slide with the fastest reader that gives its pixels as they are.

    Parameters
    ----------
    path : slide file
    slide_mpp : um per level-0 px, used instead of what the metadata say; 0.05-20
    reader : "openslide" or "tiffslide" for that library; "direct" for reading its tiles without one; "auto" for direct
        where its pixels are known to be those of the library that would serve the file, else that library (OpenSlide,
        then tiffslide; the other way round for OME-TIFF)
    threads : tiles that the direct reader decodes at once when nobody else reads; changes no pixel

    Raises
    ------
    SlideNotFoundError
        If there is no such file or it may not be read.
    UnsupportedSlideError
        If it is empty, truncated, or no reader understands it.
    MissingMppError
        If `slide_mpp` is not believable.
    ValueError
        If `reader` is unknown.
    """
    if reader not in READERS:
        raise ValueError(f"reader {reader!r} is none of {', '.join(READERS)}")
    path = Path(path).expanduser()
    override = None if slide_mpp is None else Mpp((_believable(slide_mpp),) * 2, "--slide-mpp")
    check_file(path)
    skeleton = tiff_skeleton(path)
    order: tuple[str, ...] = (reader,)
    if reader in ("auto", "direct"):
        # OpenSlide reads an OME-TIFF as a generic one: without its pixel size, and only its first channel
        order = ("tiffslide", "openslide") if skeleton is not None and skeleton.ome else ("openslide", "tiffslide")
    reasons = []
    for name in order:
        try:
            slide = _open_with(name, path, override, skeleton)
        except UnsupportedSlideError as error:
            reasons.append(f"{name}: {error}")
            continue
        if reader == name or (reader == "auto" and skeleton is None):
            return slide
        return _fastest(slide, threads, needed=reader == "direct")
    why = f" ({'; '.join(reasons)})" if skeleton is not None else ""
    raise UnsupportedSlideError(f"{path}: not readable as a slide{why}: {looks_like(path)}")


def _open_with(reader: str, path: Path, mpp: Mpp | None, skeleton: TiffSkeleton | None) -> PyramidSlide:
    if reader == "openslide":
        from wsiparse.slides.openslide import OpenSlideSlide

        return OpenSlideSlide(path, mpp, skeleton)
    from wsiparse.slides.tiffslide import TiffSlideSlide

    return TiffSlideSlide(path, mpp)


def _fastest(slide: PyramidSlide, threads: int, *, needed: bool) -> PyramidSlide:
    """The same slide read directly, or itself where that is not possible and not `needed`."""
    from wsiparse.slides.jpegtiff import DirectSlide

    try:
        direct = DirectSlide(slide.facts, threads)
    except UnsupportedSlideError as error:
        if not needed:
            return slide
        slide.close()
        raise UnsupportedSlideError(
            f"{slide.path}: cannot be read directly ({error}). Use --reader auto or {slide.reader}."
        ) from error
    slide.close()
    return direct


def _believable(slide_mpp: float) -> float:
    value = checked_mpp(slide_mpp)
    if value is None:
        raise MissingMppError(
            f"--slide-mpp {slide_mpp} is not between {MIN_MPP:g} and {MAX_MPP:g} um per pixel. "
            "Give the size of a full-resolution pixel, e.g. 0.25 for most 40x and 0.5 for most 20x scans."
        )
    return value


def require_mpp(slide: Slide) -> tuple[float, float]:
    """The slide's microns per pixel, (x, y).

    Raises
    ------
    MissingMppError
        If there are none; the text says what was looked for and found.
    """
    if slide.mpp is None:
        raise MissingMppError(
            f"{slide.path.name}: no usable microns-per-pixel in the metadata ({slide.mpp_source}). "
            "Pass --slide-mpp 0.25 (your scanner's value) if you know it."
        )
    return slide.mpp


def overview_frame(slide: Slide, target_mpp: float) -> Frame:
    """The frame of an overview: as `coords.frame_at`, but its last column and row may reach past the slide.

    Every level-0 px then lies in an overview px, which the tissue mask needs.

    Raises
    ------
    MissingMppError
        If the slide has no microns per pixel.
    PlanError
        If `target_mpp` is not usable.
    """
    frame = frame_at(slide.size, require_mpp(slide), target_mpp)
    width, height = (max(1, math.ceil(n / f - 1e-9)) for n, f in zip(slide.size, frame.downsample, strict=True))
    return Frame(size=(width, height), downsample=frame.downsample, mpp=frame.mpp)


def overview(slide: Slide, target_mpp: float) -> tuple[NDArray[np.uint8], Frame]:
    """The whole slide at low resolution.

    It is read piece by piece, so memory stays bounded for a gigapixel slide without a pyramid. A piece that cannot
    be decoded is read in quarters and what remains unreadable is background: one damaged tile does not cost the slide.

    Parameters
    ----------
    slide : any slide with microns per pixel
    target_mpp : wanted um per px

    Returns
    -------
    (h, w, 3) uint8 and its frame, which covers the slide completely

    Raises
    ------
    MissingMppError
        If the slide has no microns per pixel.
    """
    frame = overview_frame(slide, target_mpp)
    out = np.empty((frame.size[1], frame.size[0], 3), np.uint8)
    out[:] = np.array(slide.background, np.uint8)
    whole = Box(0, 0, *frame.size)
    for y in range(0, whole.height, _PIECE_PX):
        for x in range(0, whole.width, _PIECE_PX):
            _fill(out, slide, frame, Box(x, y, min(_PIECE_PX, whole.width - x), min(_PIECE_PX, whole.height - y)))
    return out, frame


def _fill(out: NDArray[np.uint8], slide: Slide, frame: Frame, box: Box) -> None:
    try:
        out[box.y : box.y1, box.x : box.x1] = slide.read(box, frame)
    except TileReadError:
        if max(box.width, box.height) <= _SMALLEST_PX:
            return
        left, top = max(1, box.width // 2), max(1, box.height // 2)
        for y, height in ((box.y, top), (box.y + top, box.height - top)):
            for x, width in ((box.x, left), (box.x + left, box.width - left)):
                if width and height:
                    _fill(out, slide, frame, Box(x, y, width, height))
