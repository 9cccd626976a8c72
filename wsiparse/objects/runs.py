"""Pixels of objects as runs: the one representation that splitting, tracing and measuring share.

A run is a maximal stretch of pixels of one object along a row. Memory and time follow the pixels an object covers,
never its bounding box, and the same code serves a nucleus inside a block, one cut by four seams, and a ring round the
slide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects import kernels

__all__ = ["Runs", "components", "connected", "gather", "grouped", "label_parts", "label_runs", "packed", "runs_of"]

Ints = NDArray[np.int32]


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """Groups (components or instances) of runs, each group sorted by (y, x0).

    Parameters
    ----------
    start : (G + 1,) int64, group g owns runs ``start[g]:start[g + 1]``
    y, x0, x1 : (R,) int32, canvas px: the pixels (y, x0 <= x < x1)
    src : (R,) int64, where the run's first pixel lies in the planes (flat uint8 arrays) that belong to these runs
    """

    start: NDArray[np.int64]
    y: NDArray[np.int32]
    x0: NDArray[np.int32]
    x1: NDArray[np.int32]
    src: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.start) - 1

    def pixels(self) -> NDArray[np.int64]:
        """(G,) int64 pixel count of every group."""
        ends = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.x1.astype(np.int64) - self.x0)])
        return np.asarray(ends[self.start[1:]] - ends[self.start[:-1]])

    def slice(self, first: int, last: int) -> Runs:
        """Groups first..last-1, still pointing into the same planes."""
        a, b = int(self.start[first]), int(self.start[last])
        return Runs(self.start[first : last + 1] - a, self.y[a:b], self.x0[a:b], self.x1[a:b], self.src[a:b])

    def take(self, groups: NDArray[np.int64]) -> Runs:
        """The groups of the given numbers, (n,) int64, in the given order, still pointing into the same planes."""
        lengths = self.start[groups + 1] - self.start[groups]
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        index = np.arange(int(start[-1])) + np.repeat(self.start[groups] - start[:-1], lengths)
        return Runs(start, self.y[index], self.x0[index], self.x1[index], self.src[index])

    def batches(self, most_px: int) -> Iterator[tuple[int, int]]:
        """Consecutive ranges of groups of about `most_px` pixels; a group is never cut, however large."""
        ends = np.cumsum(self.pixels())
        first, done = 0, 0
        while first < len(ends):
            last = max(first + 1, int(np.searchsorted(ends, done + most_px)))
            yield first, last
            first, done = last, int(ends[last - 1])


def gather(plane: NDArray[np.uint8], runs: Runs) -> NDArray[np.uint8]:
    """The pixels of `runs`, (n,) uint8, out of their flat plane, (N,) uint8, run after run without gaps."""
    ends = np.cumsum(runs.x1 - runs.x0, dtype=np.int64)
    out = np.empty(int(ends[-1]) if len(ends) else 0, np.uint8)
    kernels.gather(plane, runs.x0, runs.x1, runs.src, ends - (runs.x1 - runs.x0), out)
    return out


def packed(runs: Runs) -> Runs:
    """The same runs pointing into planes made by `gather`."""
    lengths = (runs.x1 - runs.x0).astype(np.int64)
    return replace(runs, src=np.cumsum(lengths) - lengths)


def connected(mask: NDArray[np.uint8]) -> tuple[Ints, Ints, Ints, Ints, int]:
    """Runs of the non-zero pixels in raster order, and the 4-connected component each belongs to.

    Parameters
    ----------
    mask : (H, W) uint8, C-contiguous

    Returns
    -------
    y, x0, x1 : (R,) int32, px: the pixels (y, x0 <= x < x1)
    component : (R,) int32, numbered 0.. by the first pixel
    n : number of components
    """
    y, x0, x1, _ = runs_of((mask != 0).view(np.uint8))
    component = np.empty(len(y), np.int32)
    return y, x0, x1, component, int(kernels.connect_runs(y, x0, x1, component))


def label_parts(label: Ints, y: Ints, x0: Ints, x1: Ints) -> tuple[Ints, int]:
    """The 4-connected part of its label that each run belongs to.

    Parameters
    ----------
    label : (R,) int32, ascending
    y, x0, x1 : (R,) int32, in raster order within each label

    Returns
    -------
    part : (R,) int32, numbered 0.. by label, then by the first pixel
    n : number of parts

    Raises
    ------
    ValueError
        If the heights of all labels add up to 2^31 px.
    """
    # below each other, labels touch themselves only
    begins = np.flatnonzero(np.diff(label, prepend=label[0] - 1))
    heights = np.maximum.reduceat(y, begins).astype(np.int64) - y[begins] + 2
    if int(heights.sum()) >= 1 << 31:
        raise ValueError("the heights of all labels add up to 2^31 px: they are no objects")
    shift = np.cumsum(heights) - heights - y[begins]
    apart = (y + np.repeat(shift, np.diff(begins, append=len(y)))).astype(np.int32)
    part = np.empty(len(y), np.int32)
    return part, int(kernels.connect_runs(apart, x0, x1, part))


def components(mask: NDArray[np.uint8], origin: tuple[int, int] = (0, 0)) -> Runs:
    """4-connected components of the non-zero pixels, ordered by first pixel in raster order.

    Parameters
    ----------
    mask : (H, W) uint8, C-contiguous; 0 is background, all else foreground whatever its value
    origin : x, y of the mask's first pixel on the canvas, px

    Returns
    -------
    Runs in canvas px whose `src` points into ``mask.ravel()`` and any other flattened image of its shape.
    """
    y, x0, x1, component, n = connected(mask)
    return grouped(component, n, y, x0, x1, mask.shape[1], origin)


def label_runs(labels: NDArray[np.int32], n: int, origin: tuple[int, int] = (0, 0)) -> Runs:
    """The runs of labels 1..n of a label image (H, W) int32: group g is label g + 1. As `components` otherwise."""
    y, x0, x1, value = runs_of(labels)
    return grouped(value - np.int32(1), n, y, x0, x1, labels.shape[1], origin)


def runs_of(image: NDArray[np.integer]) -> tuple[Ints, Ints, Ints, Ints]:
    """Runs of equal values but 0, in raster order.

    Parameters
    ----------
    image : (H, W) of an integer dtype

    Returns
    -------
    row, first px, px after the last, value : (R,) int32 each
    """
    n = int(kernels.count_runs(image)) if image.size else 0
    y, x0, x1, value = (np.empty(n, np.int32) for _ in range(4))
    if n:
        kernels.fill_runs(image, y, x0, x1, value)
    return y, x0, x1, value


def grouped(group: Ints, n: int, y: Ints, x0: Ints, x1: Ints, width: int, origin: tuple[int, int]) -> Runs:
    """Runs of an image of `width` px, in raster order, sorted by `group` (0..n-1, negative ones left out).

    `src` points into the flattened image; coordinates are shifted by `origin` (x, y).

    Parameters
    ----------
    group : (R,) int32, of each run
    n : number of groups
    y, x0, x1 : (R,) int32, row, first px, px after the last
    width : of the image, px
    origin : (x, y) of the image on the canvas, px
    """
    start = np.empty(n + 1, np.int64)
    order = np.empty(len(y), np.int64)
    kernels.group_runs(group, n, start, order)
    order = order[: start[-1]]
    y, x0, x1 = y[order], x0[order], x1[order]
    src = y.astype(np.int64) * width + x0
    ox, oy = np.int32(origin[0]), np.int32(origin[1])
    return Runs(start, y + oy, x0 + ox, x1 + ox, src)
