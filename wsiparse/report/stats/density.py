"""Counts on a regular grid of squares over analysed tissue, with the exact tissue area of every square. Pure.

The grid starts at the upper left corner of the tissue's bounding box (of whole mask cells), so moving slide and
objects together moves the grid with them. A square's density is its count over its own tissue area, never over its
full area: this is the edge handling. Where tissue fills less than a stated share of a square its density is not given
(a handful of um^2 with one nucleus is no density), but its count stays in every total.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.report.stats.tissue import Tissue, cell_index

__all__ = ["DensityGrid", "Squares", "density_grid", "squares_over"]

Floats = NDArray[np.float64]

#: Points counted at a time: a slide may have millions.
_BATCH: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Squares:
    """A regular grid of squares.

    Parameters
    ----------
    origin_um : (x, y) of the upper left corner, um from the slide's corner
    size_um : edge of a square, um
    shape : (rows, columns), each >= 1
    """

    origin_um: tuple[float, float]
    size_um: float
    shape: tuple[int, int]

    @property
    def lines_um(self) -> tuple[Floats, Floats]:
        """x (columns + 1,) and y (rows + 1,) of the grid's lines, float64, um."""
        x, y = (
            start + np.arange(count + 1, dtype=np.float64) * self.size_um
            for start, count in zip(self.origin_um, self.shape[::-1], strict=True)
        )
        return x, y

    def index(self, points_um: Floats) -> NDArray[np.int64]:
        """(N,) int64: row * columns + column of the square of each point, (N, 2) float64, x then y, um.

        Raises
        ------
        ValueError
            If a point lies outside the grid.
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        column = cell_index(points[:, 0], self.origin_um[0], self.size_um, self.shape[1])
        row = cell_index(points[:, 1], self.origin_um[1], self.size_um, self.shape[0])
        outside = (row < 0) | (column < 0)
        if outside.any():
            raise ValueError(f"{int(outside.sum())} points outside the grid, the first at {points[outside][0]} um")
        return row * self.shape[1] + column

    def count(self, points_um: Floats, column: NDArray[np.integer], columns: int) -> NDArray[np.int64]:
        """How many points of each column lie in each square.

        Parameters
        ----------
        points_um : (N, 2) float64, x then y, um
        column : (N,) of an integer dtype, in [0, columns), or negative for points that do not count
        columns : number of columns

        Returns
        -------
        (columns, *shape) int64

        Raises
        ------
        ValueError
            If a column is >= `columns`, or a point that counts lies outside the grid.
        """
        if len(column) and int(column.max()) >= columns:
            raise ValueError(f"column {int(column.max())} of {columns}")
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        counts = np.zeros((columns, self.shape[0] * self.shape[1]), np.int64)
        for start in range(0, len(column), _BATCH):
            some = np.asarray(column[start : start + _BATCH], np.int64)
            kept = some >= 0
            np.add.at(counts, (some[kept], self.index(points[start : start + _BATCH][kept])), 1)
        return counts.reshape(columns, *self.shape)


def squares_over(tissue: Tissue, size_um: float) -> Squares | None:
    """The grid of squares that covers the tissue's bounding box from its upper left corner; None without tissue.

    Parameters
    ----------
    size_um : edge of a square, um, > 0

    Raises
    ------
    ValueError
        If `size_um` is not finite and positive.
    """
    if not (math.isfinite(size_um) and size_um > 0):
        raise ValueError(f"the edge of a square must be > 0 um, got {size_um}")
    if tissue.bounds_um is None:
        return None
    x0, y0, x1, y1 = tissue.bounds_um
    # 1e-9: a box of exactly k squares needs k, not k + 1 because of rounding
    shape = (max(1, math.ceil((y1 - y0) / size_um - 1e-9)), max(1, math.ceil((x1 - x0) / size_um - 1e-9)))
    return Squares((x0, y0), size_um, shape)


@dataclass(frozen=True, eq=False)
class DensityGrid:
    """Counts and analysed tissue area of every square.

    Parameters
    ----------
    squares : the grid
    counts : (P, rows, columns) int64, objects of each class
    area_mm2 : (rows, columns) float64, exact analysed tissue area
    least_share : smallest share of tissue a square needs for a density
    """

    squares: Squares
    counts: NDArray[np.int64]
    area_mm2: Floats
    least_share: float

    @property
    def share(self) -> Floats:
        """(rows, columns) float64: tissue area over the square's area, 0-1."""
        return self.area_mm2 / (self.squares.size_um**2 * 1e-6)

    @property
    def filled(self) -> NDArray[np.bool_]:
        """(rows, columns) bool: squares with enough tissue for a density."""
        return (self.area_mm2 > 0) & (self.share >= self.least_share)

    @property
    def per_mm2(self) -> Floats:
        """(P, rows, columns) float64: objects per mm^2 of analysed tissue, NaN where `filled` is False."""
        area = np.where(self.filled, self.area_mm2, np.nan)
        return self.counts / area


def density_grid(
    points_um: Floats,
    class_index: NDArray[np.integer],
    n_classes: int,
    tissue: Tissue,
    size_um: float,
    *,
    least_share: float = 0.25,
) -> DensityGrid | None:
    """Count objects by class on a grid over the analysed tissue.

    density(square, class) = objects of the class with their centroid in the square / tissue area of the square

    Parameters
    ----------
    points_um : (N, 2) float64, centroids, x then y, um from the slide's corner
    class_index : (N,) of an integer dtype, 0 .. n_classes - 1 (a class id less one); negative entries are left out
    tissue : what was analysed
    size_um : edge of a square, um
    least_share : share of tissue a square needs for a density, 0-1

    Returns
    -------
    DensityGrid, or None when no tissue was analysed. Counts add up to the number of objects.

    Raises
    ------
    ValueError
        If an object lies outside the tissue's bounding box, or arguments are out of range.
    """
    if not 0 <= least_share <= 1:
        raise ValueError(f"least_share must lie in 0-1, got {least_share}")
    squares = squares_over(tissue, size_um)
    if squares is None:
        if len(points_um):
            raise ValueError(f"{len(points_um)} objects, but no tissue was analysed")
        return None
    return DensityGrid(
        squares,
        squares.count(points_um, class_index, n_classes),
        tissue.area_between(*squares.lines_um) * 1e-6,
        least_share,
    )
