"""Lymphoid aggregates: places where immune cells lie close together over more than a handful of cells. Pure.

Own definition, for the literature has none that is agreed on. Density of immune cells per mask cell, smoothed with a
Gaussian of 25 um over tissue (normalised by the smoothed tissue, which corrects for the edge). An aggregate is a
connected place (over edges and corners) where

- the smoothed density is at least 5,000 per mm^2: half of that of packed lymphocytes in a section of a few um, about
  10,000 per mm^2, so that smoothing leaves the border of such a place where it is;
- the area is at least 0.01 mm^2 (a disc of 0.11 mm) and holds at least 50 immune cells.

Those of at least 0.05 mm^2 (a disc of 0.25 mm) are candidates for tertiary lymphoid structures. What makes a structure
of an aggregate (germinal centre, high endothelial venules, B and T zones) is not looked for: candidates are places to
look at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from wsiparse.report.stats.tissue import Tissue

__all__ = [
    "CANDIDATE_MM2",
    "LEAST_CELLS",
    "LEAST_MM2",
    "LEAST_PER_MM2",
    "SMOOTH_UM",
    "Aggregate",
    "Aggregates",
    "aggregates",
]

Floats = NDArray[np.float64]

SMOOTH_UM: Final = 25.0
LEAST_PER_MM2: Final = 5000.0
LEAST_MM2: Final = 0.01
LEAST_CELLS: Final = 50
CANDIDATE_MM2: Final = 0.05


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One aggregate.

    Parameters
    ----------
    centre_um : (x, y) mean of its mask cells, um
    deepest_um : (x, y) of its mask cell furthest from its border: of a bent one the mean may lie outside
    mm2 : its area, exact tissue of its mask cells
    n : immune cells in it
    apart_um : from its nearest immune cell to the nearest tumour cell, um; None without tumour cells
    candidate : large enough for a tertiary lymphoid structure
    """

    centre_um: tuple[float, float]
    deepest_um: tuple[float, float]
    mm2: float
    n: int
    apart_um: float | None
    candidate: bool

    @property
    def per_mm2(self) -> float:
        """Immune cells per mm^2 of it."""
        return self.n / self.mm2


@dataclass(frozen=True, eq=False)
class Aggregates:
    """All aggregates of a slide.

    Parameters
    ----------
    found : largest first, ties in raster order
    labels : (h, w) int32 over the mask, position in `found` + 1, 0 elsewhere
    """

    found: tuple[Aggregate, ...]
    labels: NDArray[np.int32]


def aggregates(immune_um: Floats, tumour_um: Floats, tissue: Tissue) -> Aggregates:
    """Find the aggregates; see the module's text.

    Parameters
    ----------
    immune_um : (N, 2) float64, centroids in the tissue, x then y, um
    tumour_um : (M, 2) float64, centroids of tumour or epithelial cells, um
    tissue : what was analysed
    """
    row, column = tissue.cell_of(immune_um)
    dense = _dense(row, column, tissue)
    labels, n = ndimage.label(dense, structure=np.ones((3, 3)))
    nothing = np.zeros(tissue.mask.shape, np.int32)
    if not n:
        return Aggregates((), nothing)
    rows, columns = np.nonzero(labels)
    which = labels[rows, columns]
    xs, ys = tissue.centres_um()
    cell_mm2 = tissue.area_um2()[rows, columns] * 1e-6
    mm2 = np.bincount(which, cell_mm2, n + 1)
    size = np.bincount(which, minlength=n + 1)
    centre = np.stack([np.bincount(which, v, n + 1) for v in (xs[columns], ys[rows])], 1) / np.maximum(size, 1)[:, None]
    depth = ndimage.distance_transform_edt(np.pad(labels > 0, 1), sampling=tissue.cell_um[::-1])[1:-1, 1:-1]
    # of each place the deepest cell, the first in raster order: the last of these to be written
    order = np.lexsort((-np.arange(len(which)), depth[rows, columns]))
    deepest = np.zeros(n + 1, np.int64)
    deepest[which[order]] = order
    of_cell = labels[row, column]
    cells = np.bincount(of_cell, minlength=n + 1)
    cells[0] = 0
    apart = _apart(immune_um, of_cell, n, tumour_um)
    # a hair below: areas are sums of many cells
    kept = [k for k in range(1, n + 1) if cells[k] >= LEAST_CELLS and mm2[k] >= LEAST_MM2 * (1 - 1e-9)]
    kept.sort(key=lambda k: (-round(float(mm2[k]), 9), k))
    place = np.zeros(n + 1, np.int32)
    place[kept] = np.arange(1, len(kept) + 1)
    nothing[rows, columns] = place[which]
    return Aggregates(
        tuple(
            Aggregate(
                (float(centre[k, 0]), float(centre[k, 1])),
                (float(xs[columns[deepest[k]]]), float(ys[rows[deepest[k]]])),
                float(mm2[k]),
                int(cells[k]),
                float(apart[k]) if np.isfinite(apart[k]) else None,
                bool(mm2[k] >= CANDIDATE_MM2 * (1 - 1e-9)),
            )
            for k in kept
        ),
        nothing,
    )


def _dense(row: NDArray[np.int64], column: NDArray[np.int64], tissue: Tissue) -> NDArray[np.bool_]:
    """(h, w) bool: mask cells where the smoothed density is high."""
    h, w = tissue.mask.shape
    counts = np.bincount(row * w + column, minlength=h * w).reshape(h, w).astype(np.float32)
    area = tissue.area_um2().astype(np.float32) * np.float32(1e-6)
    sigma = (SMOOTH_UM / tissue.cell_um[1], SMOOTH_UM / tissue.cell_um[0])
    over = ndimage.gaussian_filter(counts, sigma, mode="constant")
    below = ndimage.gaussian_filter(area, sigma, mode="constant")
    dense: NDArray[np.bool_] = (over >= LEAST_PER_MM2 * below) & tissue.cells
    return dense


def _apart(immune_um: Floats, which: NDArray[np.integer], n: int, tumour_um: Floats) -> Floats:
    """(n + 1,) smallest distance of each place's immune cells to a tumour cell, um; inf for none."""
    out = np.full(n + 1, np.inf)
    chosen = which > 0
    if len(tumour_um) and chosen.any():
        _, nearest = cKDTree(tumour_um).query(immune_um[chosen])
        # from differences of coordinates: the tree's own distances depend on the order of its points in the last bits
        np.minimum.at(out, which[chosen], np.hypot(*(immune_um[chosen] - tumour_um[nearest]).T))
    return out
