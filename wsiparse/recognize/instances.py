"""Size, shape and stain of nuclei: what the rules of the engines without a language model look at.

All figures are of pixels at 0.5 um/px. Hematoxylin is measured with Ruifrok's fixed vectors: a per-image estimate
would depend on what else the image shows, and on the annotated tiles it told inflammatory nuclei apart less well.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.objects.split import SplitPixels, split_pixels
from wsiparse.recognize import kernels
from wsiparse.recognize.stain import OD_OF_BYTE, RUIFROK, hematoxylin_lut
from wsiparse.types import EngineInfo

__all__ = ["RING_PX", "Nuclei", "in_tile_split", "measure_nuclei"]

#: The ring is the background inside the 13 x 13 window of any pixel of the nucleus.
RING_PX: Final = 6

_HEMATOXYLIN: Final = hematoxylin_lut(RUIFROK)


@dataclass(frozen=True, slots=True)
class Nuclei:
    """One value per instance, row k for label k + 1.

    Parameters
    ----------
    area_px : (n,) int64, px
    axis_ratio : (n,) float64, minor / major axis of the ellipse with the same second moments, 0-1
    ellipse_fill : (n,) float64, area over the area of that ellipse: 1 for an ellipse, lower for bent and ragged shapes
    red_od : (n,) float64, mean optical density of the red channel
    red_unevenness : (n,) float64, its standard deviation over its mean; 0 where the mean is 0
    hematoxylin : (n,) float64, mean, in units of Ruifrok's vector
    ring_hematoxylin : (n,) float64, mean over the ring; equal to `hematoxylin` where the ring is empty
    confidence : (n,) float64, mean probability, 0-1
    """

    area_px: NDArray[np.int64]
    axis_ratio: NDArray[np.float64]
    ellipse_fill: NDArray[np.float64]
    red_od: NDArray[np.float64]
    red_unevenness: NDArray[np.float64]
    hematoxylin: NDArray[np.float64]
    ring_hematoxylin: NDArray[np.float64]
    confidence: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.area_px)


def in_tile_split(info: EngineInfo) -> SplitPixels:
    """The engine's split settings at its own scale, keeping every instance.

    Nuclei are split in the tile, to be measured, exactly as the whole field is split later.
    """
    frame = Frame(size=(1, 1), downsample=(1.0, 1.0), mpp=(info.mpp, info.mpp))
    return replace(split_pixels(info.split, frame), min_area_px=0)


def measure_nuclei(
    labels: NDArray[np.int32],
    n: int,
    rgb: NDArray[np.uint8],
    probability: NDArray[np.float32],
    *,
    stain_factor: float = 1.0,
) -> Nuclei:
    """Measure the instances 1..n of a label image.

    Parameters
    ----------
    labels : (H, W) int32, every number from 1 to n present, 0 is background
    n : number of instances
    rgb : (H, W, 3) uint8
    probability : (H, W) float32
    stain_factor : optical densities are told times this, > 0

    Raises
    ------
    ValueError
        If shapes or dtypes differ from the above, or a label is outside 0..n or absent.
    """
    if labels.ndim != 2 or rgb.shape != (*labels.shape, 3) or probability.shape != labels.shape:
        raise ValueError(
            f"shapes do not match: labels {labels.shape}, rgb {rgb.shape}, probability {probability.shape}"
        )
    if labels.dtype != np.int32 or rgb.dtype != np.uint8 or probability.dtype != np.float32:
        raise ValueError(f"dtypes: labels {labels.dtype}, rgb {rgb.dtype}, probability {probability.dtype}")
    if labels.size and not (int(labels.min()) >= 0 and int(labels.max()) <= n):
        raise ValueError(f"labels lie outside 0..{n}")
    box, moment, total = np.empty((n, 4), np.int64), np.empty((n, 6), np.int64), np.empty((n, 4))
    ring_count, ring_total = np.empty(n, np.int64), np.empty(n)
    kernels.instance_sums(labels, rgb, OD_OF_BYTE, _HEMATOXYLIN, probability, box, moment, total)
    if (moment[:, 0] == 0).any():
        raise ValueError("a label between 1 and n has no pixel")
    kernels.ring_sums(labels, rgb, _HEMATOXYLIN, box, RING_PX, ring_count, ring_total)
    total[:, 0] *= stain_factor
    total[:, 1] *= stain_factor**2
    total[:, 2] *= stain_factor
    ring_total *= stain_factor

    area = moment[:, 0]
    major, minor = _ellipse_axes(moment)
    red, red_squared, hematoxylin, confidence = (total / area[:, None]).T
    deviation = np.sqrt(np.maximum(red_squared - red * red, 0))
    with np.errstate(invalid="ignore"):
        ring = np.where(ring_count > 0, ring_total / ring_count, hematoxylin)
    return Nuclei(
        area_px=area,
        axis_ratio=minor / major,
        ellipse_fill=area / (np.pi / 4 * major * minor),
        red_od=red,
        red_unevenness=np.divide(deviation, red, out=np.zeros_like(red), where=red > 0),
        hematoxylin=hematoxylin,
        ring_hematoxylin=ring,
        confidence=confidence,
    )


def _ellipse_axes(moment: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Full axes of the ellipses of equal second moments, px; a pixel counts as a unit square (1 / 12)."""
    area, sy, sx, syy, sxx, syx = moment.T
    squared = (area * area).astype(np.float64)
    yy = (area * syy - sy * sy) / squared + 1 / 12
    xx = (area * sxx - sx * sx) / squared + 1 / 12
    yx = (area * syx - sy * sx) / squared
    mean, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, yx)
    return 4 * np.sqrt(mean + half), 4 * np.sqrt(mean - half)
