"""Pen and ink of any colour, over tissue and beside it. Pure.

Light behind a stain and an ink passes both: optical densities add (Beer-Lambert). Nuclei are dark, but small; a stroke
is solid. So a hue that no stain of tissue has, or a density that no tissue has, is ink where it fills a disk of 20 um:
the solid density of a place is what four fifths of the px around it reach.

Hues are ratios of the densities of red, green and blue. Hematoxylin and eosin absorb green most and let the most of
red or blue through; black absorbs all alike, blue ink red most, green ink green least, red ink no red, brown ink blue
most. Violet ink has the hue of hematoxylin and eosin together and is known by its density alone.
Densities and hues of pens: as in `wsiparse.train.paint`, and three slides with surgical ink.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.tiling.masks import dilate

__all__ = ["INK_REACH_UM", "ink_mask"]

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Densities are averaged with this sigma, um: what is left of nuclei and of the grain of the scan.
_SMOOTH_UM: Final = 2.0
#: A stroke is solid over a disk of this radius, um, in this share of its px: streaks of a felt pen leave gaps.
_SOLID_UM: Final = 10.0
_SOLID_SHARE: Final = 0.8
#: From solid ink so far, um, px of its hue that are paler are ink as well.
_FRINGE_UM: Final = 16.0

#: A px depends on the picture within this distance, um.
INK_REACH_UM: Final = 4 * _SMOOTH_UM + 2 * _SOLID_UM + _FRINGE_UM


@dataclass(frozen=True, slots=True)
class _Ink:
    """Where an ink is sure, and where its hue is seen at all.

    Parameters
    ----------
    sure, faint : (h, w) bool
    """

    sure: Mask
    faint: Mask


def _inks(density: Floats) -> list[_Ink]:
    """Every ink, from (3, h, w) densities.

    Beside each threshold: the highest solid density of that hue on 900 tiles without ink (annotated sets, organs of
    NuInsSeg with spleen, muscle and brain; slides), at the same smoothing.
    """
    red, green, blue = density
    low, high = density.min(axis=0), density.max(axis=0)
    return [
        # black: .32
        _Ink(
            ((low > 0.45) & (low > 0.78 * high)) | ((low > 0.75) & (low > 0.66 * high)),
            (low > 0.25) & (low > 0.66 * high),
        ),
        # blue: .00 (pale nuclei of an odd scan .37 where blue is not asked for)
        _Ink((red > 0.3) & (red >= 0.95 * green) & (blue < 0.5 * red), (red > 0.12) & (red >= 0.9 * green)),
        # green and turquoise: .02
        _Ink((red > 0.15) & (green < 0.75 * red), (red > 0.08) & (green < 0.85 * red)),
        # red: .21, blood; clots are denser than any of these tiles
        _Ink((green > 0.85) & (blue > 0.72 * green) & (red < 0.36 * green), (green > 0.3) & (blue > 0.7 * green)),
        # brown: .35
        _Ink(
            ((blue > 0.7) & (blue > 1.08 * green)) | ((blue > 0.9) & (blue > 0.85 * green) & (red > 0.36 * green)),
            (blue > 0.4) & (blue > 0.85 * green),
        ),
        # violet: .59 (1.1 on a spleen without glass beside it)
        _Ink((green > 1.05) & (blue < 0.55 * green), (green > 0.6) & (blue < 0.55 * green)),
    ]


def ink_mask(density: Floats, mpp: float) -> Mask:
    """Pixels of ink.

    Parameters
    ----------
    density : (3, h, w) float32, log10(background / intensity) of red, green and blue, >= 0
    mpp : um per px, best about 2

    Returns
    -------
    (h, w) bool
    """
    from scipy import ndimage

    smooth = np.stack([ndimage.gaussian_filter(d, _SMOOTH_UM / mpp, mode="nearest", truncate=4.0) for d in density])
    out = np.zeros(density.shape[1:], np.bool_)
    for ink in _inks(smooth):
        solid = _solid(ink.sure, _SOLID_UM / mpp)
        if solid.any():
            out |= solid | (dilate(solid, _FRINGE_UM / mpp) & ink.faint)
    return out


def _solid(mask: Mask, radius_px: float) -> Mask:
    """What lies in a square of which most is set, and is set itself or beside such px."""
    from scipy import ndimage

    if not mask.any():
        return mask
    size = 2 * int(radius_px) + 1
    # whole numbers: the same for any window
    count = ndimage.uniform_filter(mask.astype(np.float32) * size * size, size, mode="nearest")
    core = np.rint(count) >= np.ceil(_SOLID_SHARE * size * size)
    return np.asarray(dilate(core, radius_px) & mask)
