"""What a taught engine looks at: shape, stain, texture and surroundings of each nucleus, in pixels at 0.5 um/px.

Nothing here depends on a tile: numbers are sums of integers over the nucleus's own pixels and over pixels around its
middle, as far as `REACH_PX`. Optical densities are of the slide at the reference strength of its stain where the base
engine sees it so. Hematoxylin and eosin are told apart by Ruifrok's fixed vectors, in units of those vectors.

area_um2                        pixels times 0.25
diameter_um, major_um, minor_um of the circle of that area; axes of the ellipse with the same second moments
axis_ratio, ellipse_fill        minor over major axis; area over that of the ellipse
roughness                       squared number of edge sides over the area, 1 for a square
red_od, green_od, blue_od       mean optical density; *_sd its standard deviation
hematoxylin, eosin, red_share   mean stains; red OD over the sum of all
dark10, dark50, dark90          percentiles of summed OD inside, steps of 0.1
fine, coarse                    mean size of the difference in summed OD of pixels 1 and 3 px apart, over the mean OD
near_*, middle_*, far_*         rings of 0-5, 5-12 and 12-24 um around its middle, the nucleus left out: red_od,
                                green_od, blue_od, red_sd, dark (share of pixels with red OD above 0.3: nuclei),
                                empty (share of pixels with summed OD below 0.3: glass, lumen, fat)
contrast_red, contrast_green    OD of the nucleus less that of the near ring
share_<class>                   what the base engine's own classes have of it, 0-1, where they are used
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.stain import RUIFROK
from wsiparse.recognize.taught import kernels

__all__ = ["NAMES", "REACH_PX", "measure_features"]

#: (256,) int16: optical density of a byte, 1/1000.
_OD: Final[NDArray[np.int16]] = np.rint(-1000 * np.log10((np.arange(256) + 1) / 256)).astype(np.int16)

_RADII_PX: Final = (10, 24, 48)
_LIMITS: Final = (300, 300)
_UM: Final = 0.5

#: Pixels further from the middle of a nucleus than this do not count, px.
REACH_PX: Final = _RADII_PX[-1]

_RINGS: Final = ("near", "middle", "far")
_RING_NAMES: Final = ("red_od", "green_od", "blue_od", "red_sd", "dark", "empty")

#: Names of the columns, without those of the base engine's classes.
NAMES: Final = (
    "area_um2", "diameter_um", "major_um", "minor_um", "axis_ratio", "ellipse_fill", "roughness", "red_od", "green_od",
    "blue_od", "red_sd", "green_sd", "blue_sd", "hematoxylin", "eosin", "red_share", "dark10", "dark50", "dark90",
    "fine", "coarse", *(f"{ring}_{name}" for ring in _RINGS for name in _RING_NAMES), "contrast_red", "contrast_green",
)  # fmt: skip


def measure_features(labels: NDArray[np.int32], n: int, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Features of the instances 1..n of a label image.

    Parameters
    ----------
    labels : (H, W) int32, every number from 1 to n present, 0 is background
    n : number of instances
    rgb : (H, W, 3) uint8 at 0.5 um/px

    Returns
    -------
    (n, F) float64, columns `NAMES`

    Raises
    ------
    ValueError
        If shapes or dtypes differ from the above, or a label is outside 0..n or absent.
    """
    if labels.ndim != 2 or rgb.shape != (*labels.shape, 3) or labels.dtype != np.int32 or rgb.dtype != np.uint8:
        raise ValueError(f"labels {labels.shape} of {labels.dtype} and rgb {rgb.shape} of {rgb.dtype} do not match")
    if labels.size and not (int(labels.min()) >= 0 and int(labels.max()) <= n):
        raise ValueError(f"labels lie outside 0..{n}")
    od = _OD[rgb]
    box, moment = np.empty((n, 4), np.int64), np.empty((n, 6), np.int64)
    stain, texture, histogram = np.empty((n, 6), np.int64), np.empty((n, 5), np.int64), np.empty((n, 64), np.int32)
    kernels.nucleus_sums(labels, od, box, moment, stain, texture, histogram)
    if (moment[:, 0] == 0).any():
        raise ValueError("a label between 1 and n has no pixel")
    rings = np.empty((n, len(_RADII_PX), 7), np.int64)
    kernels.surround_sums(labels, od, box, moment, np.array(_RADII_PX), np.array(_LIMITS), rings)
    return np.concatenate([_shape(moment, texture), *_stain(moment[:, 0], stain, texture, histogram, rings)], axis=1)


def _shape(moment: NDArray[np.int64], texture: NDArray[np.int64]) -> NDArray[np.float64]:
    area, sy, sx, syy, sxx, syx = moment.T
    squared = (area * area).astype(np.float64)
    # a pixel counts as a unit square (1 / 12)
    yy, xx = (area * syy - sy * sy) / squared + 1 / 12, (area * sxx - sx * sx) / squared + 1 / 12
    yx = (area * syx - sy * sx) / squared
    half = np.sqrt((yy - xx) / 2 * ((yy - xx) / 2) + yx * yx)
    major, minor = 4 * np.sqrt((yy + xx) / 2 + half), 4 * np.sqrt((yy + xx) / 2 - half)
    # edges to the left and above are half of all
    rough = (2 * texture[:, 0]) ** 2 / (16 * area)
    fill = area / (np.pi / 4 * major * minor)
    columns = (area * _UM**2, np.sqrt(area * (4 / np.pi)) * _UM, major * _UM, minor * _UM, minor / major, fill, rough)
    return np.stack(columns, axis=1)


def _stain(
    area: NDArray[np.int64],
    stain: NDArray[np.int64],
    texture: NDArray[np.int64],
    histogram: NDArray[np.int32],
    rings: NDArray[np.int64],
) -> list[NDArray[np.float64]]:
    mean = stain[:, :3] / (1000 * area[:, None])
    spread = np.sqrt(np.maximum(stain[:, 3:] / (1e6 * area[:, None]) - mean * mean, 0))
    unit = RUIFROK / np.sqrt((RUIFROK * RUIFROK).sum(axis=1, keepdims=True))
    rest = np.cross(unit[0], unit[1])
    inverse = np.linalg.inv(np.vstack([unit, rest / np.sqrt((rest * rest).sum())]))
    # sums one by one: matrix products may differ in the last bit with the number of rows
    stains = [mean[:, 0] * inverse[0, k] + mean[:, 1] * inverse[1, k] + mean[:, 2] * inverse[2, k] for k in (0, 1)]
    whole = mean[:, 0] + mean[:, 1] + mean[:, 2]
    share = mean[:, 0] / np.maximum(whole, 0.001)
    below = np.cumsum(histogram, axis=1)
    dark = [(below * 100 < area[:, None] * p).sum(axis=1) / 10 for p in (10, 50, 90)]
    rough = [
        texture[:, k + 1] / np.maximum(texture[:, k], 1) / 1000 / np.maximum(whole, 0.001) for k in (1, 3)
    ]  # fmt: skip
    parts = [mean, spread, np.stack([*stains, share, *dark, *rough], axis=1)]
    for k in range(rings.shape[1]):
        ring = rings[:, k]
        count = np.maximum(ring[:, :1], 1)
        colour = ring[:, 1:4] / (1000 * count)
        red = np.sqrt(np.maximum(ring[:, 4:5] / (1e6 * count) - colour[:, :1] * colour[:, :1], 0))
        parts.append(np.concatenate([colour, red, ring[:, 5:7] / count], axis=1))
    near = rings[:, 0, 1:3] / (1000 * np.maximum(rings[:, 0, :1], 1))
    return [*parts, mean[:, :2] - near]
