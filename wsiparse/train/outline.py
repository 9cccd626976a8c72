"""Points that get outlines from a network as far as it has come.

A region that the network takes for one nucleus and that holds one point is that nucleus. A region with several points
is divided between them. A point without a region stays a point. A region without a point is doubtful background where
every nucleus has its point; elsewhere nobody knows.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from wsiparse.recognize.embedded.cut import Cut
from wsiparse.train.answers import nuclei_of

__all__ = ["outlines_of_points"]

#: How maps become the regions that points are looked for in: many, since a point decides which of them are nuclei.
_CUT = Cut(persistence=7.0, min_foreground=0.6)

#: A point this near to a region that holds none belongs to it, px.
_NEAR_PX = 4

#: Areas of nuclei that are believed, px.
_AREA_PX = (16, 1600)

#: A point without a region gets a disc of this radius, px.
_DISC_PX = 4.5


def outlines_of_points(
    maps: NDArray[np.float32], points: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Outlines of the nuclei of a tile of which the points are known.

    Parameters
    ----------
    maps : (M, H, W) float32, M at least 3, the network's answer
    points : (N, 2) float64, x then y, px

    Returns
    -------
    labels : (H, W) int32, k + 1 on the nucleus of point k
    drawn : (N,) bool, whether the nucleus has an outline; the others are discs
    pointless : (H, W) bool, regions without a point
    unknown : (H, W) bool, the surroundings of discs
    """
    regions, n = nuclei_of(maps, _CUT)
    height, width = regions.shape
    x, y = (np.clip(points[:, k].astype(np.int64), 0, size - 1) for k, size in ((0, width), (1, height)))
    region = regions[y, x]
    far, (ny, nx) = ndimage.distance_transform_edt(regions == 0, return_indices=True)
    held = np.bincount(region, minlength=n + 1)
    near = regions[ny[y, x], nx[y, x]]
    region = np.where((region == 0) & (far[y, x] <= _NEAR_PX) & (held[near] == 0), near, region)
    held = np.bincount(region, minlength=n + 1)

    labels = np.zeros(regions.shape, np.int32)
    single = np.zeros(n + 1, np.int32)
    alone = (region > 0) & (held[region] == 1)
    single[region[alone]] = np.flatnonzero(alone) + 1
    labels[:] = single[regions]
    crowd = np.flatnonzero((region > 0) & (held[region] > 1))
    if len(crowd):
        seeds = np.zeros(regions.shape, np.int32)
        seeds[y[crowd], x[crowd]] = crowd + 1
        mask = (held > 1)[regions] & (regions > 0)
        # regions may touch: what a flood took of another region than its seed's is given back
        flooded = watershed(-maps[1], seeds, mask=mask)  # type: ignore[no-untyped-call]
        home = np.zeros(len(points) + 1, np.int64)
        home[1:] = region
        labels = np.where(mask & (home[flooded] == regions), flooded, labels).astype(np.int32)

    area = np.bincount(labels.ravel(), minlength=len(points) + 1)[1:]
    drawn = (area >= _AREA_PX[0]) & (area <= _AREA_PX[1])
    labels[np.concatenate([[False], ~drawn])[labels]] = 0
    pointless = (regions > 0) & (labels == 0)
    unknown = np.zeros(regions.shape, bool)
    lone = np.flatnonzero(~drawn)
    if len(lone):
        seed = np.zeros(regions.shape, np.int32)
        seed[y[lone], x[lone]] = lone + 1
        away, (sy, sx) = ndimage.distance_transform_edt(seed == 0, return_indices=True)
        disc = (away <= _DISC_PX) & (labels == 0)
        labels[disc] = seed[sy, sx][disc]
        unknown = (away <= 3 * _DISC_PX) & (labels == 0)
    return labels, drawn, pointless, unknown
