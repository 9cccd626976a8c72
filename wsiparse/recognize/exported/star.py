"""Star-convex candidates to labels: the likeliest are kept, those that overlap them too much are not.

Of each pixel the network says how likely it lies in a nucleus and how far the nucleus's edge is in each of n directions
(Schmidt et al., "Cell Detection with Star-Convex Polygons", MICCAI 2018). Direction k points at the angle 2 pi k / n
from x towards y. Candidates are suppressed inside the tile with its halo.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.exported import kernels

__all__ = ["star_labels"]


def star_labels(
    probability: NDArray[np.float32], rays: NDArray[np.float32], *, cut: float, overlap: float, stride: int = 1
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Labels of one tile.

    Parameters
    ----------
    probability : (h, w) float32, 0-1
    rays : (R, h, w) float32, px of the tile
    cut : candidates have more probability
    overlap : see `wsiparse.recognize.exported.kernels.paint_stars`
    stride : px of the tile for one of the maps

    Returns
    -------
    labels : (h * stride, w * stride) int32, 0 is background
    likely : (n,) float32, probability of label k + 1
    """
    height, width = probability.shape
    centres = np.argwhere(probability > cut)  # in raster order
    values = probability[centres[:, 0], centres[:, 1]]
    order = np.argsort(-values, kind="stable")
    labels = np.zeros((height * stride, width * stride), np.int32)
    winner = np.empty(len(order), np.int64)
    n = kernels.paint_stars(
        np.ascontiguousarray(centres[order]), np.ascontiguousarray(rays), stride, overlap, labels, winner
    )
    return labels, values[order[winner[:n]]]
