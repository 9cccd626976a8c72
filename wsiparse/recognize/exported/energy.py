"""Landscapes that nuclei are split by: from maps of horizontal and vertical places in a nucleus, and from labels."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.recognize.exported import kernels

__all__ = ["LABEL_PERSISTENCE", "hover_landscape", "label_landscape"]

#: Least rise of a peak of `label_landscape` above its saddle: each label has one of 255, all others are at most 127.
LABEL_PERSISTENCE: Final = 128

#: Smoothing of the gradients is at least this, px: a derivative needs neighbours.
_LEAST_SIGMA_PX: Final = 0.8


def hover_landscape(
    foreground: NDArray[np.float32],
    horizontal: NDArray[np.float32],
    vertical: NDArray[np.float32],
    sigma_px: float,
) -> NDArray[np.uint8]:
    """Landscape from where each pixel lies in its nucleus.

    The maps go from -1 at the left (top) of a nucleus to 1 at its right (bottom) and fall back where the next one
    begins. The energy landscape of Graham et al., Medical Image Analysis 58, 2019, is the foreground where neither map
    falls: (1 - max(falls)) x foreground. Their gradients are stretched between the extremes of the tile; here they are
    divided by the fall of a step from 1 to -1 under the same Gaussian, 2 / (sigma sqrt(2 pi)), so that a pixel's value
    does not depend on what else the tile shows.

    Parameters
    ----------
    foreground : (H, W) float32, 0-1
    horizontal, vertical : (H, W) float32, about -1 to 1
    sigma_px : of the derivative of the Gaussian; at least 0.8 is taken

    Returns
    -------
    (H, W) uint8
    """
    sigma = max(sigma_px, _LEAST_SIGMA_PX)
    steepest = 2 / (sigma * math.sqrt(2 * math.pi))
    falls = np.zeros_like(foreground)
    for maps, order in ((horizontal, (0, 1)), (vertical, (1, 0))):
        slope = ndimage.gaussian_filter(maps, sigma, order=order, mode="nearest", truncate=4.0, output=np.float32)
        np.maximum(falls, slope * np.float32(-1 / steepest), out=falls)
    level = foreground * (1 - np.minimum(falls, 1))
    return np.asarray(np.rint(np.clip(level, 0, 1) * 255), np.uint8)


def label_landscape(labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Landscape by which the splitter finds the same labels again.

    Each 4-connected piece of a label has one pixel of 255, the deepest of it (the first in raster order), and falls
    from 127 to 4 with the way from there inside the piece. Pixels that touch another piece are lower: when the flood
    comes to them, each has been reached by its own piece. Single pixels in the corner of three pieces, and arms one
    pixel wide beside each other, may go to a neighbour.

    Parameters
    ----------
    labels : (H, W) int32, 0 is background

    Returns
    -------
    (H, W) uint8, 0 on the background; split with a persistence of `LABEL_PERSISTENCE`
    """
    out = np.zeros(labels.shape, np.uint8)
    kernels.label_levels(np.ascontiguousarray(labels, np.int32), out)
    return out
