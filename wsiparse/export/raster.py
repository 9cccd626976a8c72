"""Outlines become pixels again, band of rows by band of rows, in memory that does not depend on the canvas.

A crack outline is its vertical edges: row y crosses those whose rows hold y, and between the first and second crossing,
the third and fourth, and so on, lies the object (even-odd rule, so holes need no care). Objects come in raster order of
their first pixel; once the edges of all objects that begin above a row are known, everything above it can be finished,
and what is kept is the edges that reach below. Runs of pixels, not pixels, are what waits for the coarser levels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.export import raster_kernels as kernels
from wsiparse.types import ObjectTable

__all__ = ["OutlineSweep", "RunQueue", "level_size"]

Runs = NDArray[np.int32]


def level_size(size: tuple[int, int], level: int) -> tuple[int, int]:
    """(width, height) of a level of the pyramid: 2^level px of the canvas to a px, cut blocks at the end counted."""
    return (size[0] - 1 >> level) + 1, (size[1] - 1 >> level) + 1


class OutlineSweep:
    """Objects in, runs of pixels out, from the top of a canvas to its bottom.

    Parameters
    ----------
    size : (width, height) of the canvas, px
    scale : (x, y) canvas px per unit of the outlines, which then need follow no pixel edges: a pixel is an object's
        whose outline holds its centre; None for outlines in canvas px
    """

    def __init__(self, size: tuple[int, int], scale: tuple[float, float] | None = None) -> None:
        self.size, self._scale = size, scale
        self.row = 0
        self._edges: list[NDArray[np.int32]] = []

    def add(self, table: ObjectTable, ids: NDArray[np.int32]) -> None:
        """Take objects whose first pixel lies at or below the current row.

        Parameters
        ----------
        table : outlines in canvas px or as `scale` says, closed rings (see `wsiparse.store.tables.checked`)
        ids : (N,) int32, above those of every earlier call and ascending

        Raises
        ------
        ValueError
            If an outline does not follow pixel edges, leaves the canvas, or begins above the current row.
        """
        outlines = table.coords, table.ring_offsets, table.polygon_offsets, ids
        if self._scale is not None:
            edges, straight = kernels.centre_edges(*outlines, *self._scale, *self.size), True
        else:
            edges, straight = kernels.vertical_edges(*outlines)
        if not straight:
            raise ValueError("outlines must follow pixel edges: an edge is neither horizontal nor vertical")
        if not len(edges):
            return
        left, right = int(edges[:, 0].min()), int(edges[:, 0].max())
        top, bottom = int(edges[:, 1].min()), int(edges[:, 2].max())
        width, height = self.size
        if left < 0 or right > width or bottom > height:
            raise ValueError(f"an outline leaves the canvas of {width} x {height} px")
        if top < self.row:
            raise ValueError(f"objects are not in raster order: one begins in row {top}, above row {self.row}")
        self._edges.append(edges)

    def band(self, stop: int) -> Runs:
        """(R, 4) int32: runs of the rows from the current one up to `stop`, which becomes the current row.

        A run is row, first column, column after the last, id; they come by row, then id. Every object that begins above
        `stop` must have been added.
        """
        edges = np.concatenate(self._edges) if self._edges else np.empty((0, 4), np.int32)
        runs: Runs = kernels.band_runs(edges, self.row, stop)
        if self._scale is not None:
            runs = runs[runs[:, 2] > runs[:, 1]]  # thin parts hold no centre of a pixel
        below = edges[edges[:, 2] > stop]
        self._edges = [below] if len(below) else []
        self.row = stop
        return runs


class RunQueue:
    """Runs of one level of a pyramid that wait until a whole row of tiles is known.

    Parameters
    ----------
    size : (width, height) of level 0, px
    level : of the pyramid
    edge : of a square tile, px of the level
    """

    def __init__(self, size: tuple[int, int], level: int, edge: int) -> None:
        self._size, self._level, self._edge = size, level, edge
        self._columns = -(-level_size(size, level)[0] // edge)
        self._waiting: list[Runs] = []

    def add(self, runs: Runs) -> None:
        """Take the level-0 runs, (R, 4) int32, of rows below all earlier ones."""
        found = kernels.coarser_runs(runs, self._level, *self._size)
        if len(found):
            self._waiting.append(found)

    def take(self, stop: int) -> tuple[Runs, NDArray[np.int64]]:
        """Runs above row `stop` of the level, cut into tiles: (P, 4) int32, and (columns + 1,) int64 offsets.

        The runs of a tile count columns from the tile's own first; rows are those of the level.
        """
        if not self._waiting:
            return np.empty((0, 4), np.int32), np.zeros(self._columns + 1, np.int64)
        runs = np.concatenate(self._waiting)
        self._waiting.clear()  # at once: on a wide canvas this is what takes the memory
        above = int(np.searchsorted(runs[:, 0], stop))
        if above < len(runs):
            # a copy, so that what is taken can be freed
            self._waiting.append(runs[above:].copy())
        pieces, offsets = kernels.split_runs(runs[:above], self._edge, self._columns)
        return pieces, offsets
