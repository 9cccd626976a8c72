"""Touching cells told apart: the union foreground of all cell prompts becomes instances.

A landscape that is high inside each cell and low between neighbours (the recognizer's stored map, the distance to the
background, or their sum) is cut at saddles: a peak starts an instance when it rises at least `persistence` above the
saddle towards a higher peak, and the instances are flooded from their peaks in descending order. Every step moves
along 4-neighbour links inside one 4-connected component, outside the canvas is background, and ties break in raster
order: the instances of a component depend on its own pixels only.

A peak's rise above its saddle is its dynamics (Grimaud, SPIE 1769, 292-305, 1992), or persistence (Edelsbrunner,
Letscher & Zomorodian, Discrete & Computational Geometry 28, 511-533, 2002); the flood from seeds through a queue per
level is the watershed of Beucher & Meyer (in Dougherty, Mathematical Morphology in Image Processing, 1993, 433-481).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame, um2_per_px, um_to_px
from wsiparse.objects import kernels
from wsiparse.objects.runs import Runs, components
from wsiparse.types import SplitSettings

__all__ = ["MAX_COMPONENT_PX", "SplitPixels", "split_cells", "split_pixels", "split_runs"]

#: A connected area of more pixels is no cluster of cells: it is kept as one object (4 mm^2 at 0.5 um/px).
MAX_COMPONENT_PX: Final = 16_000_000

#: Largest step of the smoothing in 1/256 of the difference to a neighbour; above 1/4 the explicit scheme oscillates.
_STEP: Final = 48

#: Pixels split at a time, so that the scratch of a batch (some 30 bytes a pixel) stays in the second-level cache.
_BATCH_PX: Final = 1 << 15


#: Digitisation noise: outlines of drawn or segmented nuclei wobble by half a pixel at any scale, so a setting in
#: microns is raised to these, px.
MIN_SMOOTHING_PX: Final = 0.8
MIN_PERSISTENCE_PX: Final = 0.5


@dataclass(frozen=True, slots=True)
class SplitPixels:
    """`SplitSettings` in the pixels of one frame.

    Parameters
    ----------
    landscape : "stored" (the grey levels an engine gave) or "distance" (to the component's edge)
    smoothing_px : sigma of the component-local smoothing of the distance, px, 0-64
    persistence : least rise of a peak above its saddle; px for "distance", grey levels for "stored"
    relative_persistence : for "distance", least rise as a share of the peak's own height, 0-1: a saddle of .92 of the
        smaller radius is a neck at any size
    min_area_px : smaller instances are dropped
    min_confidence : instances of a lower mean confidence are dropped, 0-1
    max_component_px : larger components stay one object, 1 to 2^28

    Raises
    ------
    ValueError
        If `landscape` is another word, or a number is negative, not finite or outside the limits named here.
    """

    landscape: Literal["stored", "distance"] = "distance"
    smoothing_px: float = MIN_SMOOTHING_PX
    persistence: float = MIN_PERSISTENCE_PX
    relative_persistence: float = 0.08
    min_area_px: int = 0
    min_confidence: float = 0.0
    max_component_px: int = MAX_COMPONENT_PX

    def __post_init__(self) -> None:
        if self.landscape not in ("stored", "distance"):
            raise ValueError(f"landscape {self.landscape!r} is neither 'stored' nor 'distance'")
        numbers = (self.smoothing_px, self.persistence, self.min_area_px, self.min_confidence)
        shares = (self.min_confidence, self.relative_persistence)
        if not all(math.isfinite(v) and v >= 0 for v in (*numbers, *shares)) or max(shares) > 1:
            raise ValueError(f"split settings out of range: {self}")
        if self.smoothing_px > 64:
            raise ValueError(f"a smoothing of {self.smoothing_px} px would erase every cell; 64 px is the limit")
        if not 1 <= self.max_component_px <= 1 << 28:
            raise ValueError(f"max_component_px {self.max_component_px} is not between 1 and 2^28")

    @property
    def needs_landscape(self) -> bool:
        """Whether a stored landscape must be given."""
        return self.landscape != "distance"


def split_pixels(settings: SplitSettings, frame: Frame) -> SplitPixels:
    """Settings in microns as pixels of `frame` (anisotropic pixels: geometric mean of the axes).

    Smoothing and persistence of the distance are raised to `MIN_SMOOTHING_PX` and `MIN_PERSISTENCE_PX`; 0 stays 0.
    """
    smoothing, persistence = um_to_px(settings.smoothing_um, frame), settings.persistence
    if settings.landscape == "distance" and persistence > 0:
        persistence = max(um_to_px(persistence, frame), MIN_PERSISTENCE_PX)
    return SplitPixels(
        landscape=settings.landscape,
        smoothing_px=max(smoothing, MIN_SMOOTHING_PX) if smoothing > 0 else 0.0,
        persistence=persistence,
        relative_persistence=settings.relative_persistence,
        min_area_px=math.ceil(settings.min_area_um2 / um2_per_px(frame) - 1e-9),
        min_confidence=settings.min_confidence,
    )


def split_cells(
    foreground: NDArray[np.bool_] | NDArray[np.uint8], landscape: NDArray[np.uint8] | None, settings: SplitPixels
) -> tuple[NDArray[np.int32], int]:
    """Instances of a whole image.

    Parameters
    ----------
    foreground : (H, W) bool or uint8, non-zero where any cell prompt won
    landscape : (H, W) uint8, high inside each cell; None is allowed for the "distance" landscape only
    settings : `min_confidence` plays no part here (there is no confidence to compare)

    Returns
    -------
    labels : (H, W) int32, 0 background, instances 1..n in raster order of their first pixel, each 4-connected;
        instances below `min_area_px` are background
    n : number of instances

    Raises
    ------
    ValueError
        On other shapes or dtypes, or a missing landscape.
    """
    mask = _image(foreground, "foreground")
    if settings.needs_landscape and landscape is None:
        raise ValueError(f"the landscape {settings.landscape!r} needs the recognizer's map, got None")
    plane = None
    if landscape is not None:
        landscape = _image(landscape, "landscape")
        if landscape.shape != mask.shape:
            raise ValueError(f"landscape {landscape.shape} does not match foreground {mask.shape}")
        plane = landscape.ravel()
    instances = split_runs(components(mask), plane, settings)
    keep = np.flatnonzero(instances.pixels() >= settings.min_area_px)
    first = instances.start[keep]
    order = np.lexsort((instances.x0[first], instances.y[first]))
    number = np.zeros(len(instances), np.int32)
    number[keep[order]] = np.arange(1, len(keep) + 1, dtype=np.int32)
    labels = np.zeros(mask.shape, np.int32)
    kernels.paint_runs(instances.start, instances.y, instances.x0, instances.x1, number, labels)
    return labels, len(keep)


def _image(given: NDArray[np.bool_] | NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """A C-contiguous (H, W) uint8 view or copy."""
    image: NDArray[Any] = np.asarray(given)
    if image.ndim != 2 or image.dtype not in (np.bool_, np.uint8):
        raise ValueError(f"{name} must be (H, W) bool or uint8, got shape {image.shape} of {image.dtype}")
    if max(image.shape) >= 2**31:
        raise ValueError(f"{name} has an edge of 2^31 px or more: {image.shape}")
    return np.ascontiguousarray(image).view(np.uint8)


def split_runs(runs: Runs, landscape: NDArray[np.uint8] | None, settings: SplitPixels) -> Runs:
    """Instances of components; nothing is dropped.

    Parameters
    ----------
    runs : 4-connected components
    landscape : (n,) uint8, flat plane that `runs` points into, or None for "distance"

    Returns
    -------
    Instances as runs that point into the planes of `runs`, in the order of their components and, inside one, of
    first pixels; components above `max_component_px` come whole.
    """
    parts: list[Runs] = []
    giants = np.flatnonzero(runs.pixels() > settings.max_component_px)
    begin = 0
    for giant in [*giants.tolist(), len(runs)]:
        stretch = runs.slice(begin, giant)
        parts += [_split_batch(stretch.slice(a, b), landscape, settings) for a, b in stretch.batches(_BATCH_PX)]
        if giant < len(runs):
            parts.append(runs.slice(giant, giant + 1))
        begin = giant + 1
    return _joined(parts)


def _joined(parts: list[Runs]) -> Runs:
    """The groups of all parts, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        empty = np.zeros(0, np.int32)
        return Runs(np.zeros(1, np.int64), empty, empty, empty, np.zeros(0, np.int64))
    ends = np.cumsum([len(p.y) for p in parts], dtype=np.int64)
    starts = [p.start[:-1] + (end - len(p.y)) for p, end in zip(parts, ends, strict=True)]
    return Runs(
        np.concatenate([*starts, ends[-1:]]),
        np.concatenate([p.y for p in parts]),
        np.concatenate([p.x0 for p in parts]),
        np.concatenate([p.x1 for p in parts]),
        np.concatenate([p.src for p in parts]),
    )


def _split_batch(runs: Runs, landscape: NDArray[np.uint8] | None, settings: SplitPixels) -> Runs:
    slot = np.empty(len(runs.y), np.int64)
    slots = int(kernels.slot_starts(runs.x0, runs.x1, slot))
    up, down = np.zeros(slots, np.int32), np.zeros(slots, np.int32)
    upper, lower, length = (np.empty(2 * len(slot), np.int32) for _ in range(3))
    n = kernels.link_slots(runs.y, runs.x0, runs.x1, runs.start, slot, up, down, upper, lower, length)
    stretches = (upper[:n], lower[:n], length[:n])
    level, unit, relative = np.full(slots, -1, np.int32), 1, 0
    if settings.landscape == "stored":
        assert landscape is not None
        kernels.clear_levels(runs.x0, runs.x1, slot, level)
        kernels.add_levels(runs.x0, runs.x1, runs.src, slot, landscape, level)
    else:
        _distance_levels(runs, slot, stretches, settings.smoothing_px, level)
        unit, relative = kernels.LEVELS_PER_PX, round(settings.relative_persistence * 1024)
    persistence = max(1, math.ceil(settings.persistence * unit - 1e-9))
    label, number = np.zeros(slots, np.int32), np.empty(len(runs), np.int64)
    kernels.split_components(runs.start, runs.x0, runs.x1, slot, up, down, level, persistence, relative, label, number)
    count = int(kernels.count_instance_runs(runs.start, runs.x0, runs.x1, slot, label, number))
    start, src = np.empty(int(number.sum()) + 1, np.int64), np.empty(count, np.int64)
    y, x0, x1 = (np.empty(count, np.int32) for _ in range(3))
    kernels.instance_runs(runs.start, runs.y, runs.x0, runs.x1, slot, runs.src, label, number, start, y, x0, x1, src)
    return Runs(start, y, x0, x1, src)


def _distance_levels(
    runs: Runs,
    slot: NDArray[np.int64],
    stretches: tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]],
    smoothing_px: float,
    level: NDArray[np.int32],
) -> None:
    """Write the smoothed distance to the background into `level`, 1/LEVELS_PER_PX px."""
    values, spare = np.zeros(len(level), np.int32), np.zeros(len(level), np.int32)
    kernels.squared_distances(runs.x0, runs.x1, slot, *stretches, spare, values, kernels.SHORT_RUN)
    kernels.distance_levels(values, values)
    kernels.diffuse(runs.x0, runs.x1, slot, *stretches, values, spare, *smoothing_steps(smoothing_px))
    kernels.coarse_levels(runs.x0, runs.x1, slot, values, level)


def smoothing_steps(smoothing_px: float) -> tuple[int, int]:
    """Steps and step size (1/256) of `kernels.diffuse` whose variance is ``smoothing_px ** 2`` px^2."""
    variance = smoothing_px * smoothing_px
    steps = math.ceil(variance * 128 / _STEP)
    return (steps, round(variance * 128 / steps)) if steps else (0, 0)
