"""How two kinds of cells mix: the Morisita-Horn index on grid squares and Ripley's cross-K over irregular tissue. Pure.

Both say how cells lie, not why. In tissue with dense and sparse parts every cell is near many cells, so K exceeds
pi r^2 without any attraction between the two kinds; compare with the K of all cells together to tell the two apart.

K is Ripley's, "The second-order analysis of stationary point processes", J. Applied Probability 13, 255-266, 1976;
between two kinds: Lotwick and Silverman, J. Royal Statistical Society B 44, 406-413, 1982.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.spatial import cKDTree

from wsiparse.report.stats.tissue import Tissue

__all__ = ["MOST_POINTS", "RADII_UM", "CrossK", "cross_k", "morisita_horn"]

Floats = NDArray[np.float64]

RADII_UM: Final = (10.0, 20.0, 30.0, 50.0, 75.0, 100.0)
#: More points of a kind are thinned at random, which leaves K as it is (Baddeley, Rubak and Turner, 2015, ch. 7).
MOST_POINTS: Final = 20_000
#: Points whose neighbours are looked up at a time.
_BATCH: Final = 1024
#: Rows of tissue cells correlated at a time.
_ROWS: Final = 128


def morisita_horn(first: NDArray[np.integer], second: NDArray[np.integer]) -> float | None:
    """Overlap of two kinds over grid squares, 0 (never together) to 1 (same proportions everywhere).

    C = 2 sum x_i y_i / ((sum x_i^2 / X^2 + sum y_i^2 / Y^2) X Y), with X = sum x_i and Y = sum y_i (Horn,
    "Measurement of 'overlap' in comparative ecological studies", The American Naturalist 100, 419-424, 1966; in
    pathology: Maley et al., Breast Cancer Research 17, 131, 2015). It depends on the size of the squares.

    Parameters
    ----------
    first, second : (...) of an integer dtype, same shape, counts of the two kinds in each square

    Returns
    -------
    0-1, or None when there is none of a kind

    Raises
    ------
    ValueError
        If the shapes differ, a dtype is not an integer's, or a count is negative.
    """
    x, y = np.asarray(first), np.asarray(second)
    if x.shape != y.shape or x.dtype.kind not in "iu" or y.dtype.kind not in "iu":
        raise ValueError(f"two integer arrays of one shape are needed, got {x.dtype} {x.shape}, {y.dtype} {y.shape}")
    # whole numbers of any size: exact, so the order of squares does not matter
    xs, ys = x.ravel().tolist(), y.ravel().tolist()
    if min(xs, default=0) < 0 or min(ys, default=0) < 0:
        raise ValueError("counts must not be negative")
    total_x, total_y = sum(xs), sum(ys)
    if not total_x or not total_y:
        return None
    both = sum(a * b for a, b in zip(xs, ys, strict=True))
    within = sum(a * a for a in xs) * total_y**2 + sum(b * b for b in ys) * total_x**2
    return float(2 * both * total_x * total_y / within)


@dataclass(frozen=True, eq=False)
class CrossK:
    """Ripley's K between two kinds of points.

    Parameters
    ----------
    radius_um : (R,) float64
    k_um2 : (R,) float64, mean number of second points within the radius of a first point over their density; NaN when
        there are too few points
    n_first, n_second : points used
    thinned : whether points were left out, because there were more than `MOST_POINTS`
    reason : why k is NaN, "" otherwise
    """

    radius_um: Floats
    k_um2: Floats
    n_first: int
    n_second: int
    thinned: bool
    reason: str = ""

    @property
    def poisson_um2(self) -> Floats:
        """(R,) float64, pi r^2: K of points that take no notice of each other, at even density."""
        return math.pi * self.radius_um**2

    @property
    def l_um(self) -> Floats:
        """(R,) float64, sqrt(K / pi): r where K is pi r^2 (Besag, J. Royal Statistical Society B 39, 193-195, 1977)."""
        return np.sqrt(self.k_um2 / math.pi)


def cross_k(
    first_um: Floats,
    second_um: Floats | None,
    tissue: Tissue,
    *,
    radii_um: Sequence[float] = RADII_UM,
    seed: int = 0,
) -> CrossK:
    """Cross-K with Ohser's translation correction over the analysed tissue.

    K12(r) = |W|^2 / (n1 n2) sum_i sum_j 1(|x_j - x_i| <= r) / |W n (W + x_j - x_i)|

    (Ohser, "On estimators for the reduced second moment measure of point processes", Math. Operationsforschung und
    Statistik 14, 63-71, 1983; Baddeley, Rubak and Turner, Spatial Point Patterns, 2015, ch. 7.) Each pair counts by
    how much of the tissue it could have lain in, shifted but not turned; n2 is n1 - 1 for one kind. The
    denominator, the set covariance of the tissue, is the autocorrelation of the mask by FFT, interpolated bilinearly,
    which is exact for a union of equal cells; cells that a region of interest or the slide's end cuts count with their
    share, which is close.

    Parameters
    ----------
    first_um : (N, 2) float64, x then y, um
    second_um : (M, 2) float64, x then y, um; None for the K of the first kind with itself
    tissue : what was analysed; points off it are left out
    radii_um : ascending radii > 0, um
    seed : seed of the thinning of very many points

    Raises
    ------
    ValueError
        If `radii_um` is empty or does not ascend from > 0.
    """
    radii = np.asarray(radii_um, np.float64)
    if radii.ndim != 1 or not len(radii) or radii[0] <= 0 or bool((np.diff(radii) <= 0).any()):
        raise ValueError(f"radii must ascend from > 0, got {radii_um}")
    random = np.random.default_rng(seed)
    first, n_first_all = _sorted_thinned(first_um, tissue, random)
    second, n_second_all = (first, n_first_all) if second_um is None else _sorted_thinned(second_um, tissue, random)
    n1, n2 = len(first), len(second)
    thinned = n1 < n_first_all or n2 < n_second_all
    pairs = n1 * (n1 - 1) if second_um is None else n1 * n2
    if not pairs:
        nothing = np.full(len(radii), np.nan)
        return CrossK(radii, nothing, n1, n2, thinned, "at least two points, or one of each kind, are needed")
    covariance = _SetCovariance.of(tissue, float(radii[-1]))
    sums = np.zeros(len(radii))
    tree = cKDTree(second)
    # a hair wider than the largest radius: which pairs count is decided below, once, from their own distance
    reach = float(radii[-1]) * (1 + 1e-9)
    for start in range(0, n1, _BATCH):
        some = first[start : start + _BATCH]
        near = tree.query_ball_point(some, reach, return_sorted=True)
        count = np.fromiter(map(len, near), np.int64, len(near))
        i = np.repeat(np.arange(len(some)), count)
        j = np.concatenate([np.asarray(n, np.int64) for n in near]) if count.any() else np.zeros(0, np.int64)
        if second_um is None:
            other = j != i + start
            i, j = i[other], j[other]
        step = second[j] - some[i]
        ring = np.searchsorted(radii, np.hypot(step[:, 0], step[:, 1]), side="left")
        inside = ring < len(radii)
        sums += np.bincount(ring[inside], weights=1 / covariance.at(step[inside]), minlength=len(radii))
    area = tissue.area_mm2 * 1e6
    return CrossK(radii, np.cumsum(sums) * area**2 / pairs, n1, n2, thinned)


def _sorted_thinned(points_um: Floats, tissue: Tissue, random: np.random.Generator) -> tuple[Floats, int]:
    """Points on the tissue in a fixed order (y, then x), at most `MOST_POINTS` of them, and how many there were."""
    points = np.asarray(points_um, np.float64).reshape(-1, 2)
    points = points[tissue.contains(points)]
    points = points[np.lexsort((points[:, 0], points[:, 1]))]
    n = len(points)
    if n > MOST_POINTS:
        points = points[np.sort(random.choice(n, MOST_POINTS, replace=False))]
    return points, n


@dataclass(frozen=True, eq=False)
class _SetCovariance:
    """|W n (W + v)| for shifts up to a reach; `table` holds shifts of whole cells, `middle` is no shift."""

    table: Floats
    middle: tuple[int, int]
    cell_um: tuple[float, float]

    @classmethod
    def of(cls, tissue: Tissue, reach_um: float) -> _SetCovariance:
        rows, columns = (np.flatnonzero(tissue.cells.any(axis=a)) for a in (1, 0))
        first, last, across = rows[0], rows[-1] + 1, slice(columns[0], columns[-1] + 1)
        width = across.stop - across.start
        cx, cy = tissue.cell_um
        ry, rx = (min(math.ceil(reach_um / c) + 1, n) for c, n in zip((cy, cx), (last - first, width), strict=True))
        dy, dx = np.arange(-ry, ry + 1), np.arange(-rx, rx + 1)
        table = np.zeros((len(dy), len(dx)))
        # some rows at a time, each with the rows they can meet: a transform of the whole would take much memory
        for top in range(first, last, _ROWS):
            start = max(first, top - ry)
            near = tissue.area_um2(slice(start, min(top + _ROWS + ry, last)))[:, across] / (cx * cy)
            own = near[top - start : top - start + _ROWS]
            shape = [
                fft.next_fast_len(len(own) + len(near), real=True),
                fft.next_fast_len(width + rx + 1, real=True),
            ]
            spectrum = np.conj(fft.rfft2(own, shape)) * fft.rfft2(near, shape)
            # shifts -r .. r along each axis; shifts beyond the tissue's own extent find nothing of it
            table += fft.irfft2(spectrum, shape)[np.ix_((top - start + dy) % shape[0], dx % shape[1])] * cx * cy
        return cls(np.pad(np.maximum(table, 0.0), 1), (ry + 1, rx + 1), tissue.cell_um)

    def at(self, shift_um: Floats) -> Floats:
        """(K,) um^2 for shifts (K, 2), x then y."""
        x = shift_um[:, 0] / self.cell_um[0] + self.middle[1]
        y = shift_um[:, 1] / self.cell_um[1] + self.middle[0]
        column, row = np.floor(x).astype(np.int64), np.floor(y).astype(np.int64)
        column, row = np.clip(column, 0, self.table.shape[1] - 2), np.clip(row, 0, self.table.shape[0] - 2)
        u, v = x - column, y - row
        t = self.table
        top = t[row, column] * (1 - u) + t[row, column + 1] * u
        low = t[row + 1, column] * (1 - u) + t[row + 1, column + 1] * u
        # two points of one small cell share at least some tissue; the limit guards against rounding of the FFT
        return np.maximum(top * (1 - v) + low * v, 1e-6 * self.cell_um[0] * self.cell_um[1])
