"""Hot spots of a class: Getis-Ord Gi* over the squares of a density grid, with a false discovery rate. Pure.

For square i with the density x and weights w_ij over itself and its eight neighbours,

    Gi* = (sum_j w_ij x_j - X W_i) / (S sqrt((n sum_j w_ij^2 - W_i^2) / (n - 1)))

with W_i = sum_j w_ij, X and S mean and standard deviation (divisor n) of x over all n squares (Ord and Getis, "Local
spatial autocorrelation statistics: distributional issues and an application", Geographical Analysis 27, 286-306,
1995). Under no clustering it is close to standard normal; p values are one-sided, for high values.

- Squares on the tissue's edge: w_ij is the tissue share of square j, so that sum w x is the *count* over the tissue
  around i, and a sliver with one cell weighs what its tissue does. Squares below the grid's `least_share` have no
  density and take no part.
- Islands: a square without a neighbour that has a density is not tested (there is nothing around it to be hot with); it
  still counts in X and S.
- Several squares are tested at once: q values after Benjamini and Hochberg (J. Royal Statistical Society B 57, 289-300,
  1995), over the tested squares only. They overlap and so depend positively on each other, under which the procedure
  keeps its rate (Benjamini and Yekutieli, Annals of Statistics 29, 1165-1188, 2001).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wsiparse.report.stats.density import DensityGrid

__all__ = ["LEAST_SQUARES", "HotSpots", "hot_spots"]

Floats = NDArray[np.float64]

#: With fewer squares the normal approximation says nothing.
LEAST_SQUARES: Final = 30


@dataclass(frozen=True, eq=False)
class HotSpots:
    """Gi* of every square.

    Parameters
    ----------
    z : (rows, columns) float64, NaN where not tested
    p : (rows, columns) float64, one-sided, NaN where not tested
    q : (rows, columns) float64, Benjamini-Hochberg, NaN where not tested
    hot : (rows, columns) bool, q <= rate
    rate : false discovery rate
    n_tested, n_islands, n_slivers : squares tested, without neighbours, and with tissue but too little for a density
    reason : why nothing was tested, "" otherwise
    """

    z: Floats
    p: Floats
    q: Floats
    hot: NDArray[np.bool_]
    rate: float
    n_tested: int
    n_islands: int
    n_slivers: int
    reason: str = ""


def hot_spots(grid: DensityGrid, class_index: int, *, rate: float = 0.05) -> HotSpots:
    """Squares around which a class is denser than over the tissue as a whole.

    Parameters
    ----------
    grid : counts and tissue areas
    class_index : row of its counts
    rate : false discovery rate, 0-1

    Raises
    ------
    ValueError
        If `rate` is not in (0, 1).
    """
    if not 0 < rate < 1:
        raise ValueError(f"the false discovery rate must lie in (0, 1), got {rate}")
    filled = grid.filled
    n = int(filled.sum())
    n_slivers = int(((grid.area_mm2 > 0) & ~filled).sum())
    nothing = np.full(filled.shape, np.nan)
    x = np.where(filled, grid.per_mm2[class_index], 0.0)
    weight = np.where(filled, grid.share, 0.0)
    beside = _around(filled.astype(np.float64)) - filled
    tested = filled & (beside > 0)
    n_islands = int((filled & ~tested).sum())
    reason = ""
    if n < LEAST_SQUARES:
        reason = f"{n} squares with enough tissue, {LEAST_SQUARES} are needed"
    elif not grid.counts[class_index].any():
        reason = "none found"
    elif not tested.any():
        reason = "no square has a neighbour"
    if reason:
        return HotSpots(
            nothing, nothing, nothing, np.zeros(filled.shape, np.bool_), rate, 0, n_islands, n_slivers, reason
        )
    mean = x[filled].sum() / n
    spread = np.sqrt(((x[filled] - mean) ** 2).sum() / n)
    total = _around(weight)
    above = _around(weight * x) - mean * total
    inner = np.maximum(n * _around(weight**2) - total**2, 0.0) / (n - 1)
    below = spread * np.sqrt(inner)
    # squares that are all alike, or one neighbourhood that is everything: nothing stands out
    z = np.divide(above, below, out=np.zeros_like(above), where=below > 1e-12 * max(mean, 1e-300))
    z = np.where(tested, z, np.nan)
    p, q = nothing.copy(), nothing.copy()
    p[tested] = stats.norm.sf(z[tested])
    q[tested] = stats.false_discovery_control(p[tested], method="bh")
    hot = np.zeros(filled.shape, np.bool_)
    hot[tested] = q[tested] <= rate
    return HotSpots(z, p, q, hot, rate, int(tested.sum()), n_islands, n_slivers)


def _around(values: Floats) -> Floats:
    """(h, w): sum over each square and its eight neighbours, in one order everywhere."""
    padded = np.pad(values, 1)
    h, w = values.shape
    out = np.zeros_like(values)
    for i in range(3):
        for j in range(3):
            out += padded[i : i + h, j : j + w]
    return out
