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

__all__ = ["Runs", "components", "gather", "label_runs", "lay_out"]


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
        """The given groups, in the given order, still pointing into the same planes."""
        lengths = self.start[groups + 1] - self.start[groups]
        start = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
        index = np.arange(int(start[-1])) + np.repeat(self.start[groups] - start[:-1], lengths)
        return Runs(start, self.y[index], self.x0[index], self.x1[index], self.src[index])

    def batches(self, most_slots: int) -> Iterator[tuple[int, int]]:
        """Consecutive ranges of groups that span about `most_slots` slots; only for runs made by `lay_out`.

        A group is never cut, however large.
        """
        heads = self.src[self.start[:-1]]
        first = 0
        while first < len(heads):
            last = max(first + 1, int(np.searchsorted(heads, heads[first] + most_slots)))
            yield first, last
            first = last


def lay_out(runs: Runs) -> tuple[Runs, int]:
    """The same runs with their pixels in slots, group after group: slot 0 and the slot after every run stay void.

    Returns the runs, `src` pointing to slots, and the number of slots.
    """
    slot = np.empty(len(runs.y), np.int64)
    slots = int(kernels.slot_starts(runs.x0, runs.x1, slot))
    return replace(runs, src=slot), slots


def gather(plane: NDArray[np.uint8], runs: Runs, laid_out: Runs, slots: int) -> NDArray[np.uint8]:
    """The plane (slots,) that belongs to `laid_out`, from the flat one that belongs to `runs`; voids are 0."""
    out = np.zeros(slots, np.uint8)
    kernels.gather(plane, runs.x0, runs.x1, runs.src, laid_out.src, out)
    return out


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
    y, x0, x1, _ = _runs_of((mask != 0).view(np.uint8))
    component = np.empty(len(y), np.int32)
    n = int(kernels.connect_runs(y, x0, x1, component))
    return _grouped(component, n, y, x0, x1, mask.shape[1], origin)


def label_runs(labels: NDArray[np.int32], n: int, origin: tuple[int, int] = (0, 0)) -> Runs:
    """The runs of labels 1..n of a label image (H, W) int32: group g is label g + 1. As `components` otherwise."""
    y, x0, x1, value = _runs_of(labels)
    return _grouped(value - np.int32(1), n, y, x0, x1, labels.shape[1], origin)


Ints = NDArray[np.int32]


def _runs_of(image: NDArray[np.integer]) -> tuple[Ints, Ints, Ints, Ints]:
    n = int(kernels.count_runs(image)) if image.size else 0
    y, x0, x1, value = (np.empty(n, np.int32) for _ in range(4))
    if n:
        kernels.fill_runs(image, y, x0, x1, value)
    return y, x0, x1, value


def _grouped(group: Ints, n: int, y: Ints, x0: Ints, x1: Ints, width: int, origin: tuple[int, int]) -> Runs:
    start = np.empty(n + 1, np.int64)
    order = np.empty(len(y), np.int64)
    kernels.group_runs(group, n, start, order)
    y, x0, x1 = y[order], x0[order], x1[order]
    src = y.astype(np.int64) * width + x0
    ox, oy = np.int32(origin[0]), np.int32(origin[1])
    return Runs(start, y + oy, x0 + ox, x1 + ox, src)
