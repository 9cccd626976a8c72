"""Optical density and stains of H&E.

Optical density of a channel is OD = -log10((v + 1) / 256): 0 for white, 2.41 for black, no infinity. Stains add in OD
(Ruifrok & Johnston, Anal. Quant. Cytol. Histol. 2001): OD = c @ S with one row of S per stain.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.types import OD_STEPS

__all__ = [
    "OD_OF_BYTE",
    "RUIFROK",
    "fit_stains",
    "hematoxylin_lut",
    "macenko",
    "od_bytes",
    "optical_density",
    "otsu",
    "plausible",
    "through_lut",
]

#: (256,) float32: optical density of a byte.
OD_OF_BYTE: Final[NDArray[np.float32]] = (-np.log10((np.arange(256) + 1) / 256)).astype(np.float32)

#: (256,) uint16: a third of a byte's OD in 1/256 of a step; those of three channels add up to their mean in 16 bits.
_THIRD_OD: Final[NDArray[np.uint16]] = np.rint(OD_OF_BYTE.astype(np.float64) * (256 * OD_STEPS / 3)).astype(np.uint16)

#: (2, 3) unit vectors of hematoxylin and eosin, RGB, as measured by Ruifrok & Johnston 2001.
RUIFROK: Final[NDArray[np.float64]] = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])

#: Pixels fainter than this in any channel are glass and tell nothing about stains (Macenko et al. 2009: beta).
_FAINT_OD: Final = 0.15

#: The extreme directions are taken at these percentiles of the angle (Macenko et al. 2009: alpha).
_PERCENTILES: Final = (1.0, 99.0)

#: Fewer stained pixels than this do not fix two directions.
_MIN_PIXELS: Final = 1000


def optical_density(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """OD of every byte: (...) uint8 -> (...) float32, the same shape."""
    return np.asarray(OD_OF_BYTE[rgb])


def od_bytes(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean optical density of the three channels, one byte a pixel: what an object's mean OD is the mean of.

    OD = (OD_r + OD_g + OD_b) / 3 with OD_c = -log10((v_c + 1) / 256) of each channel's byte v_c (Ruifrok & Johnston
    2001), so 0 on white and 2.41 on black; no stain vectors and no white point of the slide enter. Stored in steps of
    0.01, rounded to nearest: at most 0.0051 from the exact value. The table look-up is on integers, so a pixel's byte
    depends on its colour alone.

    QuPath's "OD sum" is the sum of the channels instead of their mean, with -log10(max(v, 1) / w) and the white w of
    its stain vectors (255 by default): over the same pixels its mean is three times this one and a little more, 0.6 %
    on gray of OD 0.3, 1.6 % on gray of OD 1.

    Parameters
    ----------
    rgb : (..., 3) uint8

    Returns
    -------
    (...) uint8, OD times `OD_STEPS`, 0-241
    """
    total = np.take(_THIRD_OD, rgb[..., 0])
    total += np.take(_THIRD_OD, rgb[..., 1])
    total += np.take(_THIRD_OD, rgb[..., 2])
    total += np.uint16(128)
    return np.asarray((total >> np.uint16(8)).astype(np.uint8))


def macenko(rgb: NDArray[np.uint8]) -> NDArray[np.float64] | None:
    """Hematoxylin and eosin vectors of an image.

    The two extreme directions of the stained pixels in the plane of their largest variance: Macenko et al., "A method
    for normalizing histology slides for quantitative analysis", ISBI 2009. The one that absorbs more red is
    hematoxylin.

    Parameters
    ----------
    rgb : (..., 3) uint8

    Returns
    -------
    (2, 3) float64, unit rows, hematoxylin first; None when fewer than 1000 pixels are stained
    """
    od = optical_density(rgb.reshape(-1, 3)).astype(np.float64)
    od = od[(od > _FAINT_OD).all(axis=1)]
    if len(od) < _MIN_PIXELS:
        return None
    plane = np.linalg.eigh(np.cov(od.T))[1][:, :0:-1]
    # both axes point to more stain, so that all angles lie around 0 and none wraps
    plane = plane * np.where(od.mean(axis=0) @ plane < 0, -1.0, 1.0)
    projected = od @ plane
    angles = np.percentile(np.arctan2(projected[:, 1], projected[:, 0]), _PERCENTILES)
    stains = np.stack([np.cos(angles), np.sin(angles)], axis=1) @ plane.T
    stains /= np.linalg.norm(stains, axis=1, keepdims=True)
    return np.asarray(stains[::-1] if stains[1, 0] > stains[0, 0] else stains)


def plausible(stains: NDArray[np.float64]) -> bool:
    """Whether two vectors can be hematoxylin and eosin.

    Both must absorb in every channel, lie near Ruifrok's vectors (14 and 32 degrees) and differ by 16 degrees; on a
    tile with one stain, pen or pigment the extreme directions of `macenko` mean something else.

    Parameters
    ----------
    stains : (2, 3) float64, unit rows, hematoxylin first
    """
    reference = RUIFROK / np.linalg.norm(RUIFROK, axis=1, keepdims=True)
    near = np.einsum("ij,ij->i", stains, reference)
    return bool((stains >= 0).all() and near[0] > 0.97 and near[1] > 0.85 and stains[0] @ stains[1] < 0.96)


def fit_stains(rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Stain vectors of a sample: Macenko's when `plausible`, Ruifrok's otherwise.

    Parameters
    ----------
    rgb : (..., 3) uint8

    Returns
    -------
    (2, 3) float64, RGB, hematoxylin first
    """
    stains = macenko(rgb)
    return stains if stains is not None and plausible(stains) else RUIFROK


def hematoxylin_lut(stains: NDArray[np.float64]) -> NDArray[np.float32]:
    """Table from bytes to hematoxylin.

    The third direction is what neither stain explains (their cross product); hematoxylin is the first coefficient of
    OD in that basis, a weighted sum of the channels' OD, so one table look-up per channel gives it.

    Parameters
    ----------
    stains : (2, 3) float64, hematoxylin and eosin, RGB, of any length

    Returns
    -------
    (3, 256) float32, in units of the hematoxylin vector: contribution of each byte of each channel; see `through_lut`
    """
    unit = stains / np.linalg.norm(stains, axis=1, keepdims=True)
    rest = np.cross(unit[0], unit[1])
    weights = np.linalg.inv(np.vstack([unit, rest / np.linalg.norm(rest)]))[:, 0]
    return (weights[:, None] * OD_OF_BYTE.astype(np.float64)).astype(np.float32)


def through_lut(rgb: NDArray[np.uint8], lut: NDArray[np.float32]) -> NDArray[np.float32]:
    """Sum of a table's entries over the channels.

    Parameters
    ----------
    rgb : (..., 3) uint8
    lut : (3, 256) float32

    Returns
    -------
    (...) float32, the table's unit
    """
    out = np.take(lut[0], rgb[..., 0])
    out += np.take(lut[1], rgb[..., 1])
    out += np.take(lut[2], rgb[..., 2])
    return out


def otsu(values: NDArray[np.floating], bins: int = 256) -> float:
    """The threshold that separates two classes of values best (Otsu, IEEE Trans. SMC 1979).

    Parameters
    ----------
    values : (N,) of a float dtype, N >= 1, finite
    bins : bins of the histogram between the extremes

    Returns
    -------
    Centre of the last bin of the lower class; the value itself when all are equal
    """
    counts, edges = np.histogram(values, bins)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1].astype(np.float64)
    above = len(values) - below
    first = np.cumsum(counts * centres)[:-1]
    total = float((counts * centres).sum())
    valid = (below > 0) & (above > 0)
    if not valid.any():
        return float(values[0])
    spread = np.zeros_like(below)
    spread[valid] = (total * below[valid] / len(values) - first[valid]) ** 2 / (below[valid] * above[valid])
    return float(centres[:-1][np.argmax(spread)])
