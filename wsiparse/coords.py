"""Pixel frames and the only place that scales coordinates.

Frames
------
level-0     pixels of the slide's finest level, corner origin: pixel (x, y) covers [x, x+1] x [y, y+1].
frame       a regular pixel grid laid over level-0 from the same corner; pixel (i, j) covers
            [i*fx, (i+1)*fx] x [j*fy, (j+1)*fy] level-0 px. The network's field and the tissue overview are frames.
free        hundredths of a level-0 px, as fine as QuPath rounds: the frame of outlines that follow no pixels, such as
            those of other programs. No network sees such a frame (`is_free`).
micron      level-0 times the slide's mpp.
QuPath      level-0 minus the slide's bounds origin (QuPath crops to ``openslide.bounds-*`` by default).

All coordinates are x then y; all arrays are row-major (y, x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import PlanError

__all__ = [
    "SNAP",
    "Frame",
    "frame_at",
    "free_frame",
    "is_free",
    "raster_frame",
    "to_level0",
    "to_qupath",
    "to_um",
    "um2_per_px",
    "um_to_px",
]

#: A downsample this close (relative) to a whole number, or to one over a whole number, is taken as it: 40x scanners
#: differ by a few per cent (0.2425-0.2527 um/px), and whole factors keep pixels and polygons exact.
SNAP: Final = 0.05

#: Level-0 px per px of a free frame.
_FREE: Final = 0.01

#: Scale at which outlines of a free frame are drawn as pixels, um per px: that of the engines.
_RASTER_MPP: Final = 0.5


@dataclass(frozen=True, slots=True)
class Frame:
    """A regular pixel grid over a slide.

    Parameters
    ----------
    size : (width, height) of the grid, px, each >= 1
    downsample : (fx, fy), level-0 px per grid px, > 0
    mpp : (mx, my), microns per grid px, > 0

    Raises
    ------
    ValueError
        If a side is below 1 px, or a downsample or mpp is not finite and positive.
    """

    size: tuple[int, int]
    downsample: tuple[float, float]
    mpp: tuple[float, float]

    def __post_init__(self) -> None:
        if min(self.size) < 1:
            raise ValueError(f"frame size must be >= 1 px, got {self.size}")
        for name, pair in (("downsample", self.downsample), ("mpp", self.mpp)):
            if not all(math.isfinite(v) and v > 0 for v in pair):
                raise ValueError(f"frame {name} must be finite and > 0, got {pair}")

    @property
    def mean_mpp(self) -> float:
        """Geometric mean of the two axes, um per px."""
        return math.sqrt(self.mpp[0] * self.mpp[1])


def _axis_downsample(slide_mpp: float, target_mpp: float) -> float:
    factor = target_mpp / slide_mpp
    whole = round(factor)
    if whole >= 1 and abs(factor - whole) <= SNAP * whole:
        return float(whole)
    part = round(1 / factor)
    if part >= 2 and abs(factor * part - 1) <= SNAP:
        return 1.0 / part
    return factor


def frame_at(slide_size: tuple[int, int], slide_mpp: tuple[float, float], target_mpp: float) -> Frame:
    """The frame closest to `target_mpp` over a slide.

    Downsamples within 5 % of a whole number, or of one over a whole number, become it (see `SNAP`). The grid holds
    whole pixels only: a last fraction of a pixel at the right or bottom edge is left out, so no object reaches past
    the slide.

    Parameters
    ----------
    slide_size : (width, height), level-0 px
    slide_mpp : (x, y), um per level-0 px
    target_mpp : wanted um per px of the frame

    Raises
    ------
    PlanError
        If `target_mpp` is not finite and positive.
    """
    if not (math.isfinite(target_mpp) and target_mpp > 0):
        raise PlanError(
            f"target mpp {target_mpp!r} is not usable: give a positive number of microns per pixel, e.g. --mpp 0.5."
        )
    fx, fy = (_axis_downsample(mpp, target_mpp) for mpp in slide_mpp)
    # 1e-9: 2220 / (0.5 / 0.25) must not lose a column to rounding of the quotient
    size = (max(1, math.floor(slide_size[0] / fx + 1e-9)), max(1, math.floor(slide_size[1] / fy + 1e-9)))
    return Frame(size=size, downsample=(fx, fy), mpp=(slide_mpp[0] * fx, slide_mpp[1] * fy))


def free_frame(slide_size: tuple[int, int], slide_mpp: tuple[float, float]) -> Frame:
    """The frame of outlines that follow no pixels: hundredths of a level-0 px.

    Parameters
    ----------
    slide_size : (width, height), level-0 px
    slide_mpp : (x, y), um per level-0 px
    """
    size, mpp = (
        (round(slide_size[0] / _FREE), round(slide_size[1] / _FREE)),
        (slide_mpp[0] * _FREE, slide_mpp[1] * _FREE),
    )
    return Frame(size, (_FREE, _FREE), mpp)


def is_free(frame: Frame) -> bool:
    """Whether outlines of a frame follow no pixels; slides are never enlarged so far for a network."""
    return max(frame.downsample) <= _FREE


def raster_frame(frame: Frame) -> Frame:
    """The frame in which objects are drawn as pixels: their own, or for a free one that of 0.5 um per px.

    A slide of coarser pixels keeps those.
    """
    if not is_free(frame):
        return frame
    (width, height), (fx, fy), (mx, my) = frame.size, frame.downsample, frame.mpp
    mpp = (mx / fx, my / fy)
    return frame_at((round(width * fx), round(height * fy)), mpp, max(_RASTER_MPP, *mpp))


def to_level0(points: NDArray[np.generic], frame: Frame) -> NDArray[np.float64]:
    """Corner coordinates, (N, 2) of any dtype, x then y, frame px, as level-0 px: (N, 2) float64."""
    return np.asarray(points, dtype=np.float64) * np.asarray(frame.downsample, dtype=np.float64)


def to_qupath(points: NDArray[np.float64], bounds_origin: tuple[int, int]) -> NDArray[np.float64]:
    """Level-0 points, (N, 2) float64, x then y, px, in QuPath's frame: from the slide's bounds origin (x, y).

    Returns
    -------
    (N, 2) float64, x then y, level-0 px from `bounds_origin`
    """
    return points - np.asarray(bounds_origin, dtype=np.float64)


def to_um(points: NDArray[np.generic], frame: Frame) -> NDArray[np.float64]:
    """Corner coordinates, (N, 2) of any dtype, x then y, frame px, as um from the slide's corner: (N, 2) float64."""
    return np.asarray(points, dtype=np.float64) * np.asarray(frame.mpp, dtype=np.float64)


def um_to_px(length_um: float, frame: Frame) -> float:
    """A length in microns as (isotropic) frame px."""
    return length_um / frame.mean_mpp


def um2_per_px(frame: Frame) -> float:
    """Area of one frame px, um^2."""
    return frame.mpp[0] * frame.mpp[1]
