"""How near the nearest cell of another kind is, with edge correction; and density by distance from the border. Pure.

Nearest neighbour function
    G(r) = P(a cell of the first kind has one of the second within r). A cell whose nearest one is further away than the
    edge of tissue may have a nearer one beyond the edge: its distance is known to be at least that to the edge, and is
    censored. The Kaplan-Meier estimate of Baddeley and Gill, Annals of Statistics 25, 263-292, 1997:

        1 - G(r) = prod over s <= r of (1 - seen(s) / at risk(s))

    seen(s): cells whose nearest is at s, not beyond their edge; at risk(s): cells with both distances >= s. Beside it
    G of points that take no notice of each other at even density, 1 - exp(-density pi r^2).

Density by distance
    Cells per mm^2 of tissue in bands of distance from the border of tumour, negative inside, measured on cells of the
    overview, with the interval of the block bootstrap.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsiparse.report.stats.bootstrap import density_interval, resample
from wsiparse.report.stats.borders import distance_to, mask_border, polygon_border
from wsiparse.report.stats.marked import Marks, marked_blocks
from wsiparse.report.stats.mixing import MOST_POINTS
from wsiparse.report.stats.rows import IntervalSettings, known
from wsiparse.report.stats.tissue import Tissue

__all__ = ["BANDS_UM", "REACH_UM", "NearestFunction", "by_distance", "nearest_function"]

Floats = NDArray[np.float64]

#: Distances that G is given for, um.
REACH_UM: Final = (5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 75.0, 100.0)
#: A band with less tissue than this has no density worth a bar.
_LEAST_MM2: Final = 0.01
#: Ends of the bands of distance, um.
BANDS_UM: Final = (-500.0, -400.0, -300.0, -200.0, -100.0, 0.0, 100.0, 200.0, 300.0, 400.0, 500.0)


@dataclass(frozen=True, eq=False)
class NearestFunction:
    """G between two kinds of cells.

    Parameters
    ----------
    radius_um : (R,) float64
    share : (R,) float64, G, 0-1; NaN without cells
    poisson : (R,) float64, of points that take no notice of each other
    n : cells of the first kind that were used
    censored : of these, cells nearer to the edge than to any of the second kind
    reason : why there is none, "" otherwise
    """

    radius_um: Floats
    share: Floats
    poisson: Floats
    n: int
    censored: int
    reason: str = ""


def nearest_function(
    first_um: Floats, second_um: Floats, tissue: Tissue, *, radii_um: Sequence[float] = REACH_UM, seed: int = 0
) -> NearestFunction:
    """G with the Kaplan-Meier correction for edges.

    Parameters
    ----------
    first_um, second_um : (N, 2) and (M, 2) float64, in the tissue, x then y, um; at most `MOST_POINTS` of the first are
        used, chosen at random
    tissue : what was analysed
    radii_um : ascending, > 0
    seed : of the choice
    """
    radii = np.asarray(radii_um, np.float64)
    first, second = (np.asarray(p, np.float64).reshape(-1, 2) for p in (first_um, second_um))
    nothing = np.full(len(radii), np.nan)
    if not len(first) or not len(second):
        reason = "at least one cell of each kind is needed"
        return NearestFunction(radii, nothing, nothing, len(first), 0, reason)
    first = first[np.lexsort((first[:, 0], first[:, 1]))]
    if len(first) > MOST_POINTS:
        first = first[np.sort(np.random.default_rng(seed).choice(len(first), MOST_POINTS, replace=False))]
    _, nearest = cKDTree(second).query(first)
    apart = np.hypot(*(first - second[nearest]).T)
    edge = _edge_distance(first, tissue)
    poisson = 1 - np.exp(-len(second) / tissue.area_mm2 * 1e-6 * math.pi * radii**2)
    return NearestFunction(radii, _kaplan_meier(apart, edge, radii), poisson, len(first), int((apart > edge).sum()))


def _edge_distance(points: Floats, tissue: Tissue) -> Floats:
    """To the edge of analysed tissue: of its mask cells, of the region of interest, of the slide."""
    out = distance_to(points, mask_border(tissue.mask, tissue.cell_um))
    if tissue.pieces is not None:
        out = np.minimum(out, distance_to(points, polygon_border(tissue.ground)))
    width, height = tissue.slide_um
    x, y = points.T
    nearest: Floats = np.minimum.reduce([out, x, y, np.maximum(width - x, 0), np.maximum(height - y, 0)])
    return nearest


def _kaplan_meier(apart: Floats, edge: Floats, radii: Floats) -> Floats:
    """1 - survival at each radius."""
    known_at = np.minimum(apart, edge)
    seen = apart <= edge
    steps, at = np.unique(known_at[seen], return_inverse=True)
    events = np.bincount(at, minlength=len(steps))
    risk = len(known_at) - np.searchsorted(np.sort(known_at), steps, side="left")
    survival = np.concatenate([[1.0], np.cumprod(1 - events / risk)])
    return 1 - survival[np.searchsorted(steps, radii, side="right")]


def by_distance(
    immune_um: Floats, where: NDArray[np.floating], tissue: Tissue, settings: IntervalSettings
) -> list[dict[str, Any]]:
    """Density of immune cells in bands of distance from the border.

    Parameters
    ----------
    immune_um : (N, 2) float64, in the tissue, x then y, um
    where : (h, w) float64, distance of each mask cell, um, negative inside; NaN for none
    tissue : what was analysed
    settings : of the intervals

    Returns
    -------
    from_um, to_um, n, mm2, per_mm2, low, high, note of each band with at least 0.01 mm^2 of mask cells
    """
    row, column = tissue.cell_of(immune_um)
    of_cell = where[row, column]
    bands: list[tuple[float, float, int]] = []
    columns: list[Marks] = []
    parts: list[Tissue] = []
    cell_mm2 = tissue.cell_um[0] * tissue.cell_um[1] * 1e-6
    for start, end in pairwise(BANDS_UM):
        # a distance is never 0: the border runs between cells
        zone = (where > start) & (where <= end)
        if zone.sum() * cell_mm2 >= _LEAST_MM2:
            chosen = (of_cell > start) & (of_cell <= end)
            columns.append(Marks(immune_um[chosen], None, len(parts)))
            parts.append(tissue.only(zone))
            bands.append((start, end, int(chosen.sum())))
    blocks = marked_blocks(tissue, parts, columns, settings.block_um) if parts else None
    if blocks is None:
        return []
    boot = resample(blocks, seed=settings.seed, replicates=settings.replicates, level=settings.level)
    out = []
    for k, (start, end, n) in enumerate(bands):
        found = density_interval(boot, k)
        out.append(
            {
                "from_um": start,
                "to_um": end,
                "n": n,
                "mm2": parts[k].area_mm2,
                "per_mm2": known(found.estimate),
                "low": found.low,
                "high": found.high,
                "note": found.reason,
            }
        )
    return out
