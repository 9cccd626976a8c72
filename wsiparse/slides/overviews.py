"""A whole slide at low resolution, and which parts of it cannot be decoded."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame, frame_at
from wsiparse.errors import PlanError, SlideError, TileReadError
from wsiparse.slides.base import Slide, require_mpp
from wsiparse.slides.scale import MAX_GLASS_MM
from wsiparse.types import Box

__all__ = ["Survey", "missing_mm2", "overview", "overview_frame", "survey"]

#: Edge of the pieces an overview is read in, and of the smallest piece worth retrying after a decoding error, px.
_PIECE_PX: Final = 512
_SMALLEST_PX: Final = 16
#: After so many pieces that cannot be decoded, smaller ones are no longer tried.
_MOST_FAILURES: Final = 512
#: More pixels than an overview of glass has: at 8 um per px a square of 131 mm.
_MOST_OVERVIEW_PX: Final = 1 << 28


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
