"""Shapes in masks of large pictures, in the memory of a strip of rows wherever that will do. Pure.

What a pixel becomes often depends on its neighbourhood only: done strip by strip, with as many rows of context as the
neighbourhood reaches, that is the same as done at once. Distances are taken this way because a distance transform
holds dozens of bytes for each pixel; connected pieces need one label (int32) for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Strip",
    "close_gaps",
    "connected",
    "dilate",
    "drop_small",
    "erode",
    "fill_holes",
    "in_strips",
    "strips",
    "within",
]

#: Pixels of a strip, without its context.
_STRIP_PX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Strip:
    """Some rows of a picture, with context above and below where the picture has any.

    Parameters
    ----------
    rows : rows of the picture
    window : window of the picture, context included
    inner : the rows, within the window
    """

    rows: slice
    window: slice
    inner: slice


def strips(shape: tuple[int, ...], context: int = 0) -> Iterator[Strip]:
    """Cut a picture into strips, from the top; `context` is in rows."""
    height = shape[0]
    step = max(1, _STRIP_PX // max(1, shape[1]))
    for top in range(0, height, step):
        bottom = min(top + step, height)
        first, last = max(0, top - context), min(height, bottom + context)
        yield Strip(slice(top, bottom), slice(first, last), slice(top - first, bottom - first))


def in_strips(
    function: Callable[[NDArray[Any]], NDArray[np.bool_]], picture: NDArray[Any], context: int
) -> NDArray[np.bool_]:
    """What a function makes of a picture, strip by strip.

    Parameters
    ----------
    function : (h, w, ...) of the picture's dtype -> (h, w) bool
    picture : (H, W, ...) of any dtype
    context : rows around a pixel that its answer depends on, at most

    Returns
    -------
    (H, W) bool
    """
    out = np.empty(picture.shape[:2], np.bool_)
    for strip in strips(picture.shape, context):
        out[strip.rows] = function(picture[strip.window])[strip.inner]
    return out


def within(mask: NDArray[np.bool_], radius: float, sampling: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.bool_]:
    """Pixels at most so far from a set one.

    Parameters
    ----------
    mask : (H, W) bool
    radius : between centres, in units of `sampling`
    sampling : (y, x) distance between neighbours, any unit

    Returns
    -------
    (H, W) bool
    """
    return in_strips(lambda part: dilate(part, radius, sampling), mask, int(radius / sampling[0]) + 1)


def dilate(mask: NDArray[np.bool_], radius: float, sampling: tuple[float, float] = (1.0, 1.0)) -> NDArray[np.bool_]:
    """As `within`, at once: for strips.

    Parameters
    ----------
    mask : (H, W) bool
    radius : in units of `sampling`
    sampling : size of a pixel, y then x

    Returns
    -------
    (H, W) bool, `mask` itself when it is empty
    """
    from scipy import ndimage

    if not mask.any():
        return mask
    grown: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask, sampling=sampling) <= radius
    return grown


def erode(mask: NDArray[np.bool_], radius_px: float, *, outside: bool = True) -> NDArray[np.bool_]:
    """Erosion by a disk. At once: for strips.

    Parameters
    ----------
    mask : (H, W) bool
    radius_px : radius of the disk
    outside : what lies beyond the picture

    Returns
    -------
    (H, W) bool, perhaps `mask` itself
    """
    from scipy import ndimage

    if not mask.any():
        return mask
    padded = np.pad(mask, 1, constant_values=outside)
    if padded.all():
        return mask
    shrunk: NDArray[np.bool_] = (ndimage.distance_transform_edt(padded) > radius_px)[1:-1, 1:-1]
    return shrunk


def close_gaps(mask: NDArray[np.bool_], radius_px: float) -> NDArray[np.bool_]:
    """Closing by a disk; the picture goes on empty beyond its border, so a gap towards the border stays open.

    Parameters
    ----------
    mask : (H, W) bool
    radius_px : radius of the disk

    Returns
    -------
    (H, W) bool
    """
    pad = int(radius_px) + 2

    def closed(part: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return erode(dilate(np.pad(part, pad), radius_px), radius_px)[pad:-pad, pad:-pad] | part

    return in_strips(closed, mask, 2 * pad)


def connected(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 8-connected pieces of a mask that hold a seed.

    Parameters
    ----------
    mask, seeds : (H, W) bool

    Returns
    -------
    (H, W) bool
    """
    from scipy import ndimage

    if not seeds.any():
        return np.zeros_like(mask)
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    hit = np.zeros(count + 1, np.bool_)
    for strip in strips(mask.shape):
        hit[labels[strip.rows][seeds[strip.rows]]] = True
    hit[0] = False
    return in_strips(lambda part: hit[part], labels, 0)


def drop_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """The 8-connected pieces of at least `least_px` pixels: (H, W) bool of the `mask`, (H, W) bool."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    large = _sizes(labels, count) >= least_px
    large[0] = False
    return in_strips(lambda part: large[part], labels, 0)


def fill_holes(mask: NDArray[np.bool_], most_px: float) -> NDArray[np.bool_]:
    """Fill 4-connected holes that do not reach the border of the picture.

    Parameters
    ----------
    mask : (H, W) bool
    most_px : largest hole that is filled, px

    Returns
    -------
    (H, W) bool
    """
    from scipy import ndimage

    labels, count = ndimage.label(~mask)
    small = _sizes(labels, count) <= most_px
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[border] = False
    small[0] = False
    filled = in_strips(lambda part: small[part], labels, 0)
    filled |= mask
    return filled


def _sizes(labels: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Pixels of every label, 0 included."""
    sizes = np.zeros(count + 1, np.int64)
    for strip in strips(labels.shape):
        sizes += np.bincount(labels[strip.rows].ravel(), minlength=count + 1)
    return sizes
