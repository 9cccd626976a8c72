"""95 % intervals of densities, shares and differences from a spatial block bootstrap over irregular tissue. Pure.

What is estimated
    The mean intensity of a class over *this* tissue: the density that the same tissue, with the same architecture,
    would show on average over repeated placements of its cells. Counts are one draw from it. How the density would
    differ in another part of the tumour, another section or another patient is not in the interval: only more tissue,
    sections and patients tell that (see `wsiparse.report.stats.groups`).

Method
    1. A grid of blocks of stated size is laid over the tissue. Block i has tissue area a_i and count n_i; the density
       is the ratio estimator R = sum n_i / sum a_i, so that blocks cut by the tissue's edge count with what they hold.
    2. The architecture is taken out, for it is no chance: each block's expected count m_i a_i comes from a quadratic
       surface fitted to its neighbours within two blocks (weights: tissue area times a Gaussian; the block itself is
       left out), m_i = sum_j l_ij n_j / a_j. What remains, e_i = (n_i - m_i a_i) / sqrt(1 + a_i sum_j l_ij^2 / a_j),
       has the variance of n_i when variances go with area. Plain blocks (no surface) take every gradient for noise;
       on tissue with hot and cold parts their "95 %" covers nearly always.
    3. Blocks are drawn with replacement, as many as there are, each with its area and its remainder:
       R* = R + f sum e_i* / sum a_i*.
    4. f corrects for clusters cut by block borders. The variance V(b) from blocks of edge b is too small by a term in
       1/b; V(b) and V(b/2) together cancel it: f^2 = 2 - V(b/2) / V(b), held within [1, 2] (the flat-top lag window of
       Politis and Romano, "Bias-corrected nonparametric spectral estimation", J. Time Series Analysis 16, 67-103, 1995,
       in its two-point form).
    5. The interval is estimate +- t SE on the log scale for densities, the logit scale for shares, as it is for
       differences; SE is the standard deviation of the replicates and t Student's quantile. Its degrees of freedom come
       from the effective number of blocks n = (sum a)^2 / sum a^2: n - 1 where f = 1, else 4 n / 13, for the two-point
       form is a noisier estimate (for normal remainders its variance is (8 - 2 + 1/2) V^2 / n against 2 V^2 / n).

Valid for
    Clusters with a standard deviation up to about an eighth of a block and gradients longer than about two blocks.
    Wider clusters make intervals too short, steeper gradients make them too long.

Sources: Lahiri, Resampling Methods for Dependent Data (Springer 2003), ch. 12 (spatial block bootstrap, irregular
regions); Cochran, Sampling Techniques (1977), 6.1 (ratio estimator); Davison and Hinkley, Bootstrap Methods (1997),
5.2 (normal-theory intervals on a transformed scale). Which variant is used was decided by simulation: see
``tests/benchmarks/run_coverage.py``, which also prints what percentile intervals and plain blocks would have covered.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wsiparse.report.stats.density import squares_over
from wsiparse.report.stats.tissue import Tissue

__all__ = [
    "BLOCK_UM",
    "LEAST_BLOCKS",
    "REPLICATES",
    "BlockBootstrap",
    "Blocks",
    "Interval",
    "block_counts",
    "density_interval",
    "difference_interval",
    "resample",
    "share_interval",
]

Floats = NDArray[np.float64]

#: Edge of a block, um: several times the size of a lymphoid cluster, a fraction of a tumour nest's gradient.
BLOCK_UM: Final = 250.0
#: Fewer effective blocks than this give no interval.
LEAST_BLOCKS: Final = 20.0
REPLICATES: Final = 1999

#: The surface reaches two blocks to each side; sd of its Gaussian weight, in blocks.
_REACH: Final = 2
_WEIGHT_SD: Final = 1.6
#: Weight of the prior that the surface is flat, and that it is the overall density, as shares of a full block.
_FLAT_PRIOR: Final = 0.1
_MEAN_PRIOR: Final = 1e-6
#: Degrees of freedom a block where the two-point form is used: 2 / (8 - 2 + 1/2).
_FREEDOM: Final = 4 / 13
#: Rows of replicates drawn at a time, to bound memory.
_DRAWS: Final = 64


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and what is known of its uncertainty.

    Parameters
    ----------
    estimate : the number, in `unit`; NaN when there is no tissue, or for a share of no cells
    low, high : ends of the interval, `unit`; None without an interval
    level : intended coverage, 0-1
    unit : "per mm2" or "share"
    block_um : edge of the blocks, um
    effective_blocks : (sum a)^2 / sum a^2 of the tissue in question; the smaller one of a difference
    cluster_factor : f of the module's text; 1.0 without an interval
    reason : why there is no interval, "" when there is one
    error : standard error of the estimate, `unit`; None without an interval
    """

    estimate: float
    low: float | None
    high: float | None
    level: float
    unit: Literal["per mm2", "share"]
    block_um: float
    effective_blocks: float
    cluster_factor: float = 1.0
    reason: str = ""
    error: float | None = None


@dataclass(frozen=True, eq=False)
class Blocks:
    """Counts per block, for several columns (say, class x compartment).

    Parameters
    ----------
    block_um : edge of a block, um
    area_mm2 : (C, rows, columns) float64, analysed area of each of the C compartments in each block
    counts : (K, rows, columns) int64, objects of each of the K columns in each block
    compartment : for each of the K columns, the compartment it is counted in
    half_area_mm2 : (C, r, c) float64, the same for blocks of half the edge
    half_counts : (K, r, c) int64
    """

    block_um: float
    area_mm2: Floats
    counts: NDArray[np.int64]
    compartment: tuple[int, ...]
    half_area_mm2: Floats
    half_counts: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class BlockBootstrap:
    """Everything the intervals of a slide share: made once by `resample`.

    Parameters
    ----------
    block_um : edge of a block, um
    level : intended coverage
    compartment : for each column its compartment
    total_area_mm2 : (C,) float64, area of each compartment
    effective_blocks : (C,) float64, (sum a)^2 / sum a^2
    totals : (K,) int64, counts
    remainders : (K, n) float64, e_i of each column over the n blocks
    half_remainders : (K, m) float64, the same for the m half blocks
    deviations : (B, K) float64, sum e* / sum a* of each replicate, per mm2; NaN where a replicate drew none of the
        compartment
    seed : of the draws
    """

    block_um: float
    level: float
    compartment: tuple[int, ...]
    total_area_mm2: Floats
    effective_blocks: Floats
    totals: NDArray[np.int64]
    remainders: Floats
    half_remainders: Floats
    deviations: Floats
    seed: int

    @property
    def rates(self) -> Floats:
        """(K,) float64: densities, per mm2; NaN without area."""
        area = self.total_area_mm2[list(self.compartment)]
        return self.totals / np.where(area > 0, area, np.nan)


def block_counts(
    points_um: Floats,
    column: NDArray[np.integer],
    tissue: Tissue,
    compartments: Sequence[Tissue],
    compartment: Sequence[int],
    *,
    block_um: float = BLOCK_UM,
) -> Blocks | None:
    """Counts and areas of blocks.

    Parameters
    ----------
    points_um : (N, 2) float64, centroids, x then y, um
    column : (N,) of an integer dtype, column each object counts in, or negative for none
    tissue : all analysed tissue; the blocks start at its upper left corner
    compartments : parts of it that densities refer to; often ``[tissue]``
    compartment : for each column, which of `compartments` it is counted in
    block_um : edge of a block, um

    Returns
    -------
    Blocks, or None when no tissue was analysed

    Raises
    ------
    ValueError
        If a column names no compartment or a counted object lies outside the tissue's bounding box.
    """
    if not all(0 <= c < len(compartments) for c in compartment):
        raise ValueError(f"columns name compartments {sorted(set(compartment))} of {len(compartments)}")
    full, half = squares_over(tissue, block_um), squares_over(tissue, block_um / 2)
    if full is None or half is None:
        return None
    areas, counts = [], []
    for squares in (full, half):
        lines = squares.lines_um
        areas.append(np.stack([part.area_between(*lines) for part in compartments]) * 1e-6)
        counts.append(squares.count(points_um, column, len(compartment)))
    return Blocks(block_um, areas[0], counts[0], tuple(compartment), areas[1], counts[1])


def resample(blocks: Blocks, *, seed: int = 0, replicates: int = REPLICATES, level: float = 0.95) -> BlockBootstrap:
    """Draw blocks with replacement. The same blocks and seed give the same bytes.

    Raises
    ------
    ValueError
        If `level` is not in (0, 1) or there are fewer than 2 replicates.
    """
    if not 0 < level < 1 or replicates < 2:
        raise ValueError(f"level {level} or replicates {replicates} out of range")
    held = (blocks.area_mm2 > 0).any(axis=0).ravel()
    areas = blocks.area_mm2.reshape(len(blocks.area_mm2), -1)
    total = areas.sum(axis=1)
    squared = (areas**2).sum(axis=1)
    remainders = _remainders(blocks.area_mm2, blocks.counts, blocks.compartment)[:, held]
    half = _remainders(blocks.half_area_mm2, blocks.half_counts, blocks.compartment)
    return BlockBootstrap(
        blocks.block_um,
        level,
        blocks.compartment,
        total,
        np.divide(total**2, squared, out=np.zeros_like(total), where=squared > 0),
        blocks.counts.sum(axis=(1, 2)),
        remainders,
        half,
        _deviations(areas[:, held], remainders, blocks.compartment, seed, replicates),
        seed,
    )


def density_interval(boot: BlockBootstrap, column: int) -> Interval:
    """Interval of a column's density, per mm2 of its compartment."""
    rate = float(boot.rates[column])
    gradient = np.zeros(len(boot.totals))
    gradient[column] = 1.0
    none = ""
    if boot.totals[column] == 0 and rate == 0:
        most = -math.log((1 - boot.level) / 2) / float(boot.total_area_mm2[boot.compartment[column]])
        none = f"none found; were cells scattered at random, the density would be below {most:.3g} per mm2"
    return _interval(boot, rate, gradient, "per mm2", [column], none, scale="log")


def share_interval(boot: BlockBootstrap, column: int, among: Sequence[int]) -> Interval:
    """Interval of a column's share of the cells of several columns of the same compartment, 0-1.

    Parameters
    ----------
    column : one of `among`
    among : columns that make up the whole

    Raises
    ------
    ValueError
        If the columns are of several compartments, repeat, or lack `column`.
    """
    if column not in among or len(set(among)) != len(among):
        raise ValueError(f"column {column} is not among {list(among)}, or one repeats")
    if len({boot.compartment[k] for k in among}) > 1:
        raise ValueError("a share is of the cells of one compartment")
    whole = int(boot.totals[list(among)].sum())
    area = float(boot.total_area_mm2[boot.compartment[column]])
    share = int(boot.totals[column]) / whole if whole else math.nan
    gradient = np.zeros(len(boot.totals))
    none = ""
    if not whole:
        none = "no cells to take a share of"
    elif share in (0.0, 1.0):
        none = "none found" if share == 0 else "all cells are of this class"
    else:
        # d/dR_k of R_a / sum R, with sum R = whole / area
        gradient[list(among)] = -share * area / whole
        gradient[column] += area / whole
    return _interval(boot, share, gradient, "share", list(among), none, scale="logit")


def difference_interval(boot: BlockBootstrap, first: int, second: int) -> Interval:
    """Interval of the density of `first` minus that of `second`, per mm2; blocks that hold both are drawn with both."""
    rates = boot.rates
    gradient = np.zeros(len(boot.totals))
    gradient[first] += 1.0
    gradient[second] -= 1.0
    none = ""
    if first == second:
        none = "a column does not differ from itself"
    elif boot.totals[first] == 0 and boot.totals[second] == 0:
        none = "none found in either"
    return _interval(
        boot, float(rates[first] - rates[second]), gradient, "per mm2", [first, second], none, scale="linear"
    )


def _interval(
    boot: BlockBootstrap,
    estimate: float,
    gradient: Floats,
    unit: Literal["per mm2", "share"],
    columns: Sequence[int],
    none: str,
    *,
    scale: Literal["log", "logit", "linear"],
) -> Interval:
    """Ends of the interval of a statistic with known gradient in the columns' rates."""
    parts = sorted({boot.compartment[k] for k in columns})
    blocks = float(boot.effective_blocks[parts].min())
    if not (boot.total_area_mm2[parts] > 0).all():
        none = "no tissue was analysed"
    elif blocks < LEAST_BLOCKS and not none:
        none = f"too little tissue: {blocks:.1f} effective blocks of {boot.block_um:g} um, {LEAST_BLOCKS:g} are needed"
    factor = 1.0
    if not none:
        # scaled by area, remainders of different compartments add up to the statistic's
        slope = gradient / np.where(boot.total_area_mm2 > 0, boot.total_area_mm2, 1.0)[list(boot.compartment)]
        wide, narrow = (float((_combine(slope, e) ** 2).sum()) for e in (boot.remainders, boot.half_remainders))
        if wide > 0:
            factor = math.sqrt(min(max(2 - narrow / wide, 1.0), 2.0))
        replicates = _combine(gradient, boot.deviations.T)
        error = factor * float(np.nanstd(replicates, ddof=1))
        if not error > 0:
            none = "no variation between blocks"
    if none:
        return Interval(estimate, None, None, boot.level, unit, boot.block_um, blocks, reason=none)
    freedom = blocks - 1 if factor == 1 else _FREEDOM * blocks
    reach = float(stats.t.ppf((1 + boot.level) / 2, freedom)) * error
    if scale == "log":
        low, high = estimate * math.exp(-reach / estimate), estimate * math.exp(min(reach / estimate, 700.0))
    elif scale == "logit":
        logit, width = math.log(estimate / (1 - estimate)), reach / (estimate * (1 - estimate))
        low, high = (1 / (1 + math.exp(-max(min(v, 700.0), -700.0))) for v in (logit - width, logit + width))
    else:
        low, high = estimate - reach, estimate + reach
    return Interval(estimate, low, high, boot.level, unit, boot.block_um, blocks, factor, error=error)


def _combine(weights: Floats, rows: Floats) -> Floats:
    """Weighted sum of rows (K, n), only over weights that are not 0, in a fixed order."""
    out = np.zeros(rows.shape[1])
    for k in np.flatnonzero(weights):
        out += weights[k] * rows[k]
    return out


def _deviations(areas: Floats, remainders: Floats, compartment: Sequence[int], seed: int, replicates: int) -> Floats:
    """(B, K): sum of drawn remainders over the drawn area of the column's compartment."""
    n = areas.shape[1]
    random = np.random.default_rng(seed)
    out = np.empty((replicates, len(remainders)))
    of = list(compartment)
    # remainders do not add up to 0 exactly; replicates are centred on the estimate
    total = areas.sum(axis=1)
    rate = np.divide(remainders.sum(axis=1), total[of], out=np.zeros(len(of)), where=total[of] > 0)
    centred = remainders - rate[:, None] * areas[of]
    for start in range(0, replicates, _DRAWS):
        rows = min(_DRAWS, replicates - start)
        drawn = random.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        times = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)
        # einsum without BLAS: the order of its sums does not depend on the number of threads
        area = np.einsum("bn,cn->bc", times, areas)[:, of]
        above = np.einsum("bn,kn->bk", times, centred)
        out[start : start + rows] = np.divide(above, area, out=np.full_like(above, np.nan), where=area > 0)
    return out


def _remainders(area: Floats, counts: NDArray[np.int64], compartment: Sequence[int]) -> Floats:
    """(K, rows * columns): e_i of every column, 0 in blocks without its compartment."""
    out = np.zeros((len(counts), area[0].size))
    for c in sorted(set(compartment)):
        if not area[c].any():
            continue
        of_counts, of_mean, spread, held = _surface(area[c])
        a = area[c][held]
        for k in (k for k, other in enumerate(compartment) if other == c):
            n = counts[k].astype(np.float64)
            expected = (of_counts * _neighbours(n, held)).sum(axis=1) + of_mean * (n[held].sum() / a.sum())
            out[k, np.flatnonzero(held)] = (n[held] - expected * a) / np.sqrt(1 + a * spread)
    return out


def _offsets() -> tuple[Floats, Floats]:
    """dx and dy (24,) of the neighbours within reach, blocks."""
    dy, dx = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1].reshape(2, -1).astype(np.float64)
    others = (dx != 0) | (dy != 0)
    return dx[others], dy[others]


def _neighbours(values: Floats, held: NDArray[np.bool_]) -> Floats:
    """(n, 24): values around each held block, 0 outside the grid."""
    padded = np.pad(values, _REACH)
    rows, columns = np.nonzero(held)
    dx, dy = (d.astype(np.int64) for d in _offsets())
    picked: Floats = padded[rows[:, None] + _REACH + dy, columns[:, None] + _REACH + dx]
    return picked


def _surface(area: Floats) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
    """The quadratic surface as a linear smoother.

    Returns
    -------
    (n, 24) weights of the neighbours' counts, (n,) weight of the overall density, (n,) sum of l^2 / a, (h, w) bool
    blocks that hold the compartment: those the rows are of
    """
    held = area > 0
    dx, dy = _offsets()
    terms = np.stack([np.ones_like(dx), dx, dy, dx * dx, dx * dy, dy * dy], axis=1)
    around = _neighbours(area, held)
    weight = around * np.exp(-(dx**2 + dy**2) / (2 * _WEIGHT_SD**2))
    normal = np.einsum("nm,mp,mq->npq", weight, terms, terms)
    prior = np.diag([_MEAN_PRIOR] + [_FLAT_PRIOR] * 5) * area.max()
    # the surface's height at the block itself is its constant term
    level = np.zeros((1, 6, 1))
    level[0, 0] = 1.0
    height = np.linalg.solve(normal + prior, np.broadcast_to(level, (len(weight), 6, 1)))[..., 0]
    rates = weight * np.einsum("np,mp->nm", height, terms)
    some = around > 0
    of_counts = np.divide(rates, around, out=np.zeros_like(rates), where=some)
    spread = np.divide(rates**2, around, out=np.zeros_like(rates), where=some).sum(axis=1)
    return of_counts, 1 - rates.sum(axis=1), spread, held
