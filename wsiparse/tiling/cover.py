"""How much of each overview cell tissue covers: the area that divides every density. Pure.

A mask of whole cells of 8 um is too large for small pieces: a cell that tissue touches counts whole, and the threshold
that finds pale tissue lies far down the blurred edge of dark tissue. So area is measured within the cells. What the
light loses, background - intensity, is summed linearly by optics and by every level of a pyramid: a cell half covered
loses half of what the tissue beside it loses. The edge of a piece is where that is half of the tissue just inside of
it (full width at half maximum), drawn between the centres of cells; strands too thin for an inside of their own count
with what they lose over what tissue loses. No threshold of the slide is in it.

The rule: what is stained is tissue. Glass inside of it (lumina, vacuoles of fat, tears) is not, where it is wider than
about a cell. Objects count in every cell that tissue covers, and in the cells around those, so that no nucleus at an
edge is lost; such a cell keeps the least share, 1 of 255, and no object is ever without area.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling.masks import dilate, erode, in_strips, strips
from wsiparse.tiling.polygons import Edges, coverage

__all__ = ["WHOLE", "covered_mm2", "shares_in", "tissue_cover"]

Mask = NDArray[np.bool_]
Shares = NDArray[np.uint8]

#: Share of a cell that is covered completely.
WHOLE: Final = 255

#: Stained cells deeper than this, um and cells, are covered whole: the blur of an edge does not reach them.
_DEEP_UM: Final = 24.0
_DEEP_CELLS: Final = 3.0
#: Sigma and reach, in cells, of the mean over deep tissue that an edge is compared with.
_NEAR_CELLS: Final = 2.0
_REACH_CELLS: Final = 6
#: Points along each side of a cell at which an edge is looked for.
_POINTS: Final = 8
#: Covered less than this, a cell is not surrounded by others in which objects count.
_LEAST_SHARE: Final = 0.05
#: Where less of the stained cells is deep, tissue is a net of strands, as fat is.
_LEAST_DEEP: Final = 0.1
#: Where all tissue is thin strands, this share of the stained cells loses less than a cell that one covers whole.
_THIN_SHARE: Final = 0.95
#: Cells looked into at a time.
_BATCH: Final = 1 << 15


def tissue_cover(
    overview: NDArray[np.uint8], mpp: float, background: NDArray[np.float32], stained: Mask, foreign: Mask
) -> Shares:
    """Share of each cell that tissue covers: 255 is all of it, 0 are the cells in which nothing is counted.

    Parameters
    ----------
    overview : (h, w, 3) uint8 RGB
    mpp : um per px of it
    background : (3,) float32, colour of glass
    stained : (h, w) bool, cells with stain that belong to tissue, the blurred edges included
    foreign : (h, w) bool, pen, ink and black: nothing counts there, and tissue does not end at it

    Returns
    -------
    (h, w) uint8
    """
    deep_px = max(_DEEP_CELLS, _DEEP_UM / mpp)
    deep = in_strips(lambda part: erode(part, deep_px), stained | foreign, int(deep_px) + 2) & stained
    if deep.sum() < _LEAST_DEEP * stained.sum():
        # crossings of strands: what they lose is not what tissue loses
        deep[:] = False
    usual = _usual_loss(overview, background, deep, stained)
    shares = np.zeros(stained.shape, np.uint8)
    for strip in strips(stained.shape, _REACH_CELLS + 4):
        window = strip.window
        if stained[window].any():
            found = _shares(_loss(overview[window], background), usual, stained[window], deep[window], foreign[window])
            shares[strip.rows] = found[strip.inner]
    return shares


def _loss(picture: NDArray[np.uint8], background: NDArray[np.float32]) -> NDArray[np.float32]:
    """Light that is lost, grey levels, (h, w) float32."""
    lost = np.float32(background.sum()) - picture.sum(axis=2, dtype=np.float32)
    return np.asarray(lost / 3, np.float32)


def _usual_loss(overview: NDArray[np.uint8], background: NDArray[np.float32], deep: Mask, stained: Mask) -> float:
    """Median loss of deep tissue; without any, nearly the largest of stained cells; at least a grey level."""
    where, share = (deep, 0.5) if deep.any() else (stained, _THIN_SHARE)
    counts = np.zeros(766, np.int64)
    for strip in strips(where.shape):
        counts += np.bincount(overview[strip.rows].sum(axis=2, dtype=np.int64)[where[strip.rows]], minlength=766)
    if not counts.any():
        return 1.0
    # of many dark pixels few are lost: the sum of the channels falls where the loss rises
    total = int(np.searchsorted(np.cumsum(counts), (1 - share) * counts.sum(), side="left"))
    return max((float(background.sum()) - total) / 3, 1.0)


def _shares(lost: NDArray[np.float32], usual: float, stained: Mask, deep: Mask, foreign: Mask) -> Shares:
    """`tissue_cover` at once: for strips."""
    from scipy import ndimage

    eight = np.ones((3, 3), np.bool_)
    weight = ndimage.gaussian_filter(deep.astype(np.float32), _NEAR_CELLS, radius=_REACH_CELLS, mode="constant")
    # a mean of logarithms: an edge lies where its own tissue is halved, and dark nuclei would pull a plain mean up
    logs = np.where(deep, np.log(np.maximum(lost, 1)), 0)
    logs = ndimage.gaussian_filter(logs, _NEAR_CELLS, radius=_REACH_CELLS, mode="constant")
    level = np.exp(np.where(weight > 1e-4, logs / np.maximum(weight, 1e-4), np.log(usual))).astype(np.float32)
    share = deep.astype(np.float32)
    asked = ndimage.binary_dilation(stained, eight) & ~deep & ~foreign
    beside = asked & dilate(deep, _DEEP_CELLS + 2)
    share[asked] = np.clip(lost[asked] / level[asked], 0, 1)
    rows, columns = np.nonzero(beside)
    # foreign cells are as their neighbours: tissue does not end there
    padded = np.pad(np.where(foreign, level, lost), 1, mode="edge")
    for start in range(0, len(rows), _BATCH):
        y, x = rows[start : start + _BATCH], columns[start : start + _BATCH]
        around = np.stack([[padded[y + dy, x + dx] for dx in range(3)] for dy in range(3)])
        share[y, x] = _inside(np.moveaxis(around, -1, 0) / level[y, x, None, None])
    share[foreign] = 0
    counted = ndimage.binary_dilation(share >= _LEAST_SHARE, eight) & ~foreign
    return np.asarray(np.where(counted, np.maximum(np.rint(share * WHOLE), 1), 0), np.uint8)


def _inside(around: NDArray[np.float32]) -> NDArray[np.float32]:
    """Share of cells in which a ratio exceeds one half.

    Parameters
    ----------
    around : (n, 3, 3) float32, the ratio in each cell, the middle one, and its neighbours; bilinear between centres

    Returns
    -------
    (n,) float32
    """
    place = (np.arange(_POINTS, dtype=np.float32) + 0.5) / _POINTS - 0.5
    between = np.stack([np.maximum(-place, 0), 1 - np.abs(place), np.maximum(place, 0)], axis=1)
    ratio = np.einsum("pi,nij,qj->npq", between, around, between, optimize=True)
    # a point stands for its square: it is cut where the edge runs through it
    slope = np.hypot(around[:, 1, 2] - around[:, 1, 0], around[:, 2, 1] - around[:, 0, 1]) / 2
    across = np.maximum(slope, 0.1)[:, None, None] / _POINTS
    share: NDArray[np.float32] = np.clip((ratio - 0.5) / across + 0.5, 0, 1).mean(axis=(1, 2))
    return share


def shares_in(mask: Mask, cover: Shares | None) -> Shares:
    """How much of each cell counts as area, of 255: what is covered of the cells of a mask, (h, w) bool; 0 elsewhere.

    Parameters
    ----------
    mask : (h, w) bool
    cover : (h, w) uint8, or None for whole cells
    """
    return np.where(mask, np.uint8(WHOLE) if cover is None else cover, np.uint8(0))


def covered_mm2(
    shares: Shares,
    overview: Frame,
    slide_size: tuple[int, int],
    slide_mpp: tuple[float, float],
    *,
    region: BaseGeometry | Edges | None = None,
    excluded: Iterable[Mask] = (),
) -> float:
    """Exact area that tissue covers on a slide, mm^2.

    Parameters
    ----------
    shares : (h, w) uint8, covered share of each overview cell, of 255
    overview : frame of the cells; the last ones may reach past the slide, and count with their part on it
    slide_size : (width, height), level-0 px
    slide_mpp : (x, y), um per level-0 px
    region : polygon it is cut to, level-0 px, or None
    excluded : (h, w) bool each, cells left out, such as those of artefacts; a cell of several is left out once

    Example
    -------
    >>> frame = Frame((2, 1), (10.0, 10.0), (8.0, 8.0))
    >>> round(covered_mm2(np.array([[255, 51]], np.uint8), frame, (20, 10), (0.8, 0.8)) * 1e6, 6)
    76.8
    """
    left_out = list(excluded)
    xs, ys = (
        np.minimum(np.arange(n + 1) * f, float(end))
        for n, f, end in zip(overview.size, overview.downsample, slide_size, strict=True)
    )
    # cells wholly past the slide have no width: their lines are one
    columns, rows = (int(np.searchsorted(lines, lines[-1])) for lines in (xs, ys))
    total = 0.0
    for strip in strips((rows, columns)):
        share, lines = shares[strip.rows, :columns], ys[strip.rows.start : strip.rows.stop + 1]
        for cells in left_out:
            share = np.where(cells[strip.rows, :columns], 0, share)
        if region is None:
            area = np.diff(lines)[:, None] * np.diff(xs[: columns + 1])
        else:
            area = coverage(region, xs[: columns + 1], lines)
        total += float((area * share).sum()) / WHOLE
    return total * slide_mpp[0] * slide_mpp[1] * 1e-6
