"""How the maps of a compact network become a landscape and classes; the numbers lie on plateaus of held-out figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.embedded import kernels

__all__ = ["CUT", "Cut", "calibrated", "class_of_each", "landscape_of"]


@dataclass(frozen=True, slots=True)
class Cut:
    """How maps become nuclei.

    Parameters
    ----------
    foreground : a pixel of a higher foreground belongs to a nucleus
    centre_share : share of the centre map in the landscape; the foreground has the rest
    boundary_share : how much of the boundary is taken off
    sigma_px : smoothing of the landscape
    persistence : least rise of a peak above its saddle, grey levels
    min_area_px : smaller nuclei are dropped
    min_foreground : nuclei of a lower mean foreground are dropped
    least_share : nuclei whose largest class has less of them are of no class
    """

    foreground: float = 0.5
    centre_share: float = 0.7
    boundary_share: float = 0.0
    sigma_px: float = 1.0
    persistence: float = 12.0
    min_area_px: int = 24
    min_foreground: float = 0.63
    least_share: float = 0.4

    @property
    def min_confidence(self) -> float:
        """`min_foreground` on the scale on which 0.5 is the cut: every pixel of a nucleus lies above the cut."""
        if self.min_foreground <= self.foreground:
            return 0.0
        return 1 - (1 - self.min_foreground) * 0.5 / (1 - self.foreground)


CUT: Final = Cut()


def landscape_of(maps: NDArray[np.float32], cut: Cut = CUT) -> NDArray[np.uint8]:
    """Landscape of one tile, high inside each nucleus and low between neighbours.

    Parameters
    ----------
    maps : (M, H, W) float32, 0-1: foreground, centre, boundary, and more
    cut : the settings

    Returns
    -------
    (H, W) uint8
    """
    out = np.empty(maps.shape[1:], np.uint8)
    shares = np.array([cut.centre_share, 1 - cut.centre_share, cut.boundary_share], np.float32)
    kernels.landscape_bytes(np.ascontiguousarray(maps[:3]), shares, _gaussian(cut.sigma_px), out)
    return out


def _gaussian(sigma: float) -> NDArray[np.float64]:
    """Weights of a Gaussian, the centre's and those to one side, as far as four sigma; all of them together are 1."""
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 / max(sigma, 1e-9) ** 2 * np.arange(-radius, radius + 1) ** 2)
    return np.asarray((weights / weights.sum())[radius:], np.float64)


def calibrated(foreground: NDArray[np.float32], cut: float) -> NDArray[np.float32]:
    """Probability of which 0.5 is the cut, from the foreground of a network; 0, `cut`, 1 -> 0, 0.5, 1, linear between.

    Parameters
    ----------
    foreground : (...) float32 in [0, 1]
    cut : 0 < cut < 1

    Returns
    -------
    (...) float32, the same shape; `foreground` itself for a cut of 0.5
    """
    if cut == 0.5:
        return foreground
    low, high = np.float32(0.5 / cut), np.float32(0.5 / (1 - cut))
    return np.where(foreground < cut, foreground * low, 1 - (1 - foreground) * high)


def class_of_each(class_maps: NDArray[np.float32], labels: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Class of each nucleus: the map with the largest sum over its pixels; the first of equals.

    Parameters
    ----------
    class_maps : (C, H, W) float32, C at least 1
    labels : (H, W) int32, 1..n, 0 is background
    n : number of nuclei

    Returns
    -------
    (n,) int64, 0 to C - 1
    """
    flat = labels.ravel()
    sums = [np.bincount(flat, one.ravel(), minlength=n + 1)[1:] for one in class_maps]
    return np.asarray(np.argmax(sums, axis=0), np.int64)
