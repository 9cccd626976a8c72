"""How dense the densest tenth of the tissue is, without the choice of the densest raising it. Pure.

The squares that have the most cells would have fewer were the cells placed once more: part of what makes them the
densest is chance, and their own count is too high for their tissue. So the cells are split at random into two halves:
one says which squares are the densest, the other, times two, how dense they are. Of cells that take no notice of each
other the two halves are independent, and the second is an honest count (thinning of a Poisson process: Kingman, Poisson
Processes, 1993, ch. 5). Of cells that keep apart, as packed ones do, the halves are not: where one has more the other
has fewer, and the number is a little low, the more so the fewer cells a square has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.report.stats.bootstrap import Blocks, Interval, density_interval, resample
from wsiparse.report.stats.density import squares_over
from wsiparse.report.stats.rows import IntervalSettings
from wsiparse.report.stats.spots import GRID_UM
from wsiparse.report.stats.tissue import Tissue

__all__ = ["HOT_SHARE", "HotAverage", "hot_average"]

Floats = NDArray[np.float64]

#: Share of the tissue that is called hot.
HOT_SHARE: Final = 0.1
#: Share of tissue that a square needs.
_LEAST_SHARE: Final = 0.25


@dataclass(frozen=True, eq=False)
class HotAverage:
    """Density of the densest squares.

    Parameters
    ----------
    grid_um : edge of the squares
    hot : (rows, columns) bool, the densest squares; None without tissue
    interval : of their density, per mm^2
    times : their density over that of all tissue, None where unknown
    """

    grid_um: float
    hot: NDArray[np.bool_] | None
    interval: Interval
    times: float | None


def hot_average(points_um: Floats, tissue: Tissue, settings: IntervalSettings) -> HotAverage:
    """Density of a kind of cells over the densest tenth of the tissue, see the module's text.

    Parameters
    ----------
    points_um : (N, 2) float64, centroids in the tissue, x then y, um
    tissue : what was analysed
    settings : of the interval; its seed splits the cells
    """
    full, half = squares_over(tissue, GRID_UM), squares_over(tissue, GRID_UM / 2)
    if full is None or half is None:
        none = Interval(np.nan, None, None, settings.level, "per mm2", GRID_UM, 0.0, reason="no tissue was analysed")
        return HotAverage(GRID_UM, None, none, None)
    points = points_um[np.lexsort((points_um[:, 0], points_um[:, 1]))]
    first = np.random.default_rng(settings.seed).random(len(points)) < 0.5
    area = tissue.area_between(*full.lines_um) * 1e-6
    counts = full.count(points, first.astype(np.int64), 2)
    hot = _densest(counts[1], area, area >= _LEAST_SHARE * GRID_UM**2 * 1e-6)
    rows, columns = (np.minimum(np.arange(n) // 2, m - 1) for n, m in zip(half.shape, full.shape, strict=True))
    hot_half = hot[np.ix_(rows, columns)]
    blocks = Blocks(
        GRID_UM,
        np.where(hot, area, 0.0)[None],
        np.where(hot, counts[0], 0)[None],
        (0,),
        np.where(hot_half, tissue.area_between(*half.lines_um) * 1e-6, 0.0)[None],
        np.where(hot_half, half.count(points, np.where(first, -1, 0), 1)[0], 0)[None],
    )
    boot = resample(blocks, seed=settings.seed, replicates=settings.replicates, level=settings.level)
    found = density_interval(boot, 0)
    low, high = (None if end is None else 2 * end for end in (found.low, found.high))
    found = replace(found, estimate=2 * found.estimate, low=low, high=high)
    rate = len(points) / tissue.area_mm2
    return HotAverage(GRID_UM, hot, found, found.estimate / rate if rate and hot.any() else None)


def _densest(counts: NDArray[np.int64], area: Floats, filled: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The densest filled squares that together make up the share of the filled tissue; ties in raster order."""
    density = np.where(filled, counts / np.where(filled, area, 1.0), -1.0).ravel()
    order = np.argsort(-density, kind="stable")
    taken = np.cumsum(np.where(filled, area, 0.0).ravel()[order])
    wanted = HOT_SHARE * float(area[filled].sum())
    n = int(np.searchsorted(taken, wanted * (1 - 1e-12))) + 1 if filled.any() else 0
    hot = np.zeros(len(density), np.bool_)
    hot[order[:n]] = True
    return hot.reshape(filled.shape) & filled
