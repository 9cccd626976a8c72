"""A measured percentage against one that somebody scored: Bland-Altman and intraclass correlation. Pure.

- Bland and Altman, "Statistical methods for assessing agreement between two methods of clinical measurement", The
  Lancet 327, 307-310, 1986: differences d = measured - scored, mean difference +- t s / sqrt(n); limits of agreement
  mean +- 1.96 s with the standard error s sqrt(1 / n + 1.96^2 / (2 (n - 1))).
- Whether the difference grows with the size: slope of d over the mean of both, p value of the t test of the slope.
- Intraclass correlation for absolute agreement of single scores, two-way random: ICC(A,1) of McGraw and Wong,
  Psychological Methods 1, 30-46, 1996, with their interval.
- Spearman's rank correlation: whether the two order slides alike, whatever their scales.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["LEAST_PAIRS", "BlandAltman", "Concordance", "bland_altman", "concordance", "score_of"]

Floats = NDArray[np.float64]

#: With fewer slides limits of agreement say nothing.
LEAST_PAIRS: Final = 5


@dataclass(frozen=True, slots=True)
class BlandAltman:
    """Differences of two measurements of the same slides, in their unit.

    Parameters
    ----------
    n : slides
    bias, bias_low, bias_high : mean of first - second, with its interval
    sd : of the differences
    lower, lower_low, lower_high : lower limit of agreement with its interval
    upper, upper_low, upper_high : upper limit of agreement
    slope, slope_p : of the difference over the mean; None where all means are one
    """

    n: int
    bias: float
    bias_low: float
    bias_high: float
    sd: float
    lower: float
    lower_low: float
    lower_high: float
    upper: float
    upper_low: float
    upper_high: float
    slope: float | None
    slope_p: float | None


@dataclass(frozen=True, slots=True)
class Concordance:
    """Two measurements of the same slides: ICC(A,1) with its interval, Spearman's rho; None where unknown."""

    icc: float | None
    low: float | None
    high: float | None
    spearman: float | None


def bland_altman(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> BlandAltman:
    """Limits of agreement of two measurements.

    Parameters
    ----------
    first, second : of the same slides, finite, one unit, at least two
    level : of the intervals; limits of agreement hold this share of differences

    Raises
    ------
    ValueError
        If lengths differ or there are fewer than two.
    """
    a, b = _paired(first, second)
    n, d = len(a), a - b
    bias, sd = float(d.mean()), float(d.std(ddof=1))
    z, t = float(stats.norm.ppf((1 + level) / 2)), float(stats.t.ppf((1 + level) / 2, n - 1))
    of_mean, of_limit = t * sd / math.sqrt(n), t * sd * math.sqrt(1 / n + z * z / (2 * (n - 1)))
    lower, upper = bias - z * sd, bias + z * sd
    middle = (a + b) / 2
    slope = p = None
    if n > 2 and np.ptp(middle) > 0:
        fit = stats.linregress(middle, d)
        slope, p = float(fit.slope), float(fit.pvalue) if math.isfinite(fit.pvalue) else None
    return BlandAltman(
        n, bias, bias - of_mean, bias + of_mean, sd, lower, lower - of_limit, lower + of_limit,
        upper, upper - of_limit, upper + of_limit, slope, p,
    )  # fmt: skip


def concordance(first: Sequence[float], second: Sequence[float], *, level: float = 0.95) -> Concordance:
    """ICC(A,1) and Spearman's rho of two measurements.

    Parameters
    ----------
    first, second : of the same slides, finite, one unit, at least two
    level : of the interval

    Raises
    ------
    ValueError
        If lengths differ or there are fewer than two.
    """
    a, b = _paired(first, second)
    rho = None
    if np.ptp(a) > 0 and np.ptp(b) > 0:
        rho = float(stats.spearmanr(a, b).statistic)
    both = np.stack([a, b], axis=1)
    n, k = both.shape
    whole = both.mean()
    rows = k * float(((both.mean(axis=1) - whole) ** 2).sum()) / (n - 1)
    columns = n * float(((both.mean(axis=0) - whole) ** 2).sum()) / (k - 1)
    rest = both - both.mean(axis=1, keepdims=True) - both.mean(axis=0, keepdims=True) + whole
    error = float((rest**2).sum()) / ((n - 1) * (k - 1))
    below = rows + (k - 1) * error + k * (columns - error) / n
    if below <= 0:
        return Concordance(None, None, None, rho)
    icc = (rows - error) / below
    low = high = None
    if error > 0 and icc < 1:
        x, y = k * icc / (n * (1 - icc)), 1 + k * icc * (n - 1) / (n * (1 - icc))
        terms = x * columns, y * error
        freedom = sum(terms) ** 2 / (terms[0] ** 2 / (k - 1) + terms[1] ** 2 / ((n - 1) * (k - 1)))
        more = float(stats.f.ppf((1 + level) / 2, n - 1, freedom))
        less = float(stats.f.ppf((1 + level) / 2, freedom, n - 1))
        of_columns, of_error = k * columns, (k * n - k - n) * error
        low = n * (rows - more * error) / (more * (of_columns + of_error) + n * rows)
        high = n * (less * rows - error) / (of_columns + of_error + n * less * rows)
    return Concordance(icc, low, high, rho)


def score_of(text: str) -> float | None:
    """A scored percentage as people write it: "20", "20 %", "12,5", "<5" and ">90" (the limit), "10-20" (the middle).

    Returns
    -------
    0-100, or None where the text is none

    >>> [score_of(t) for t in ("20", "12,5 %", "<5", "10-20", "high", "140")]
    [20.0, 12.5, 5.0, 15.0, None, None]
    """
    plain = text.strip().replace("%", "").replace(",", ".").replace("\N{EN DASH}", "-").lstrip("<>~≤≥ ").strip()
    parts = [part.strip() for part in plain.split("-")]
    if not 1 <= len(parts) <= 2 or not all(part.replace(".", "", 1).isdecimal() and part.isascii() for part in parts):
        return None
    numbers = [float(part) for part in parts]
    return sum(numbers) / len(numbers) if numbers == sorted(numbers) and numbers[-1] <= 100 else None


def _paired(first: Sequence[float], second: Sequence[float]) -> tuple[Floats, Floats]:
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2:
        raise ValueError(f"two measurements of at least two slides are needed, got {a.shape} and {b.shape}")
    return a, b
