"""Ratios of sums over fields, with 95 % intervals from a bootstrap over fields; Bland-Altman limits. Pure.

A field is one annotated region. Every figure is a ratio of two sums over fields (pairs over found nuclei, say), taken
once over all fields, so that every nucleus weighs alike. Fields are drawn with replacement, as many as there are, each
with all of its sums. The interval is estimate +- t SE on the logit scale for shares and the log scale for other ratios;
SE is the standard deviation of the replicates, times sqrt(n / (n - 1)) because a bootstrap of n fields spreads too
little by that, and t is Student's quantile with n - 1 degrees of freedom (Davison and Hinkley, Bootstrap Methods,
1997, 5.2: normal-theory intervals on a transformed scale). Percentile intervals of so few fields cover too little.

What the interval says: how the figure would differ had other fields of these slides been annotated, picked as these
were. Fields picked because they are hard, or easy, say nothing of the slide as a whole.

Source of the limits of agreement: Bland and Altman, "Statistical methods for assessing agreement between two methods
of clinical measurement", The Lancet 327, 307-310, 1986.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = ["LEAST_FIELDS", "Estimate", "Limits", "bland_altman", "draw_weights", "ratio"]

Floats = NDArray[np.float64]

#: Fewer fields than this give no interval.
LEAST_FIELDS: Final = 5

REPLICATES: Final = 1999

#: Normal quantile of the limits of agreement, between which 95 % of the differences lie.
_NORMAL_95: Final = 1.959964


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its interval.

    Parameters
    ----------
    value : None where there is nothing to divide by
    low, high : 95 % interval; None with `reason`
    reason : why a part is absent, a few words; "" where nothing is
    fields : with anything of it
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    reason: str = ""
    fields: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """Bland-Altman: differences of two counts a field, as densities, per mm2.

    Parameters
    ----------
    mean : of the differences; None without fields
    low, high : limits of agreement, mean -+ 1.96 standard deviations; None with `reason`
    mean_low, mean_high : 95 % interval of the mean (Student's t); None with `reason`
    reason : why a part is absent; ""
    fields : how many
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    mean_low: float | None = None
    mean_high: float | None = None
    reason: str = ""
    fields: int = 0


def draw_weights(fields: int, seed: int = 0, replicates: int = REPLICATES) -> Floats:
    """How often each field is drawn in each replicate, (replicates, fields) float64; rows sum to `fields`."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(fields, np.full(fields, 1 / fields), size=replicates).astype(np.float64)


def ratio(above: Floats, below: Floats, weights: Floats, scale: Literal["logit", "log"] = "logit") -> Estimate:
    """Sum over sum, with its interval.

    Parameters
    ----------
    above, below : (F,) float64, of each field, not negative
    weights : (replicates, F) float64, of `draw_weights`
    scale : "logit" for shares, which lie between 0 and 1, "log" for ratios that may be larger
    """
    total = float(below.sum())
    fields = int((below > 0).sum())
    if total <= 0:
        return Estimate(None, reason="nothing to divide by")
    value = float(above.sum()) / total
    if fields < LEAST_FIELDS:
        return Estimate(value, reason=few(fields), fields=fields)
    drawn = weights @ below
    # a replicate without any of it has no ratio
    replicates = (weights @ above)[drawn > 0] / drawn[drawn > 0]
    error = float(replicates.std()) * math.sqrt(fields / (fields - 1))
    if error == 0:
        return Estimate(value, reason="the same in every field", fields=fields)
    if value <= 0 or (scale == "logit" and value >= 1):
        return Estimate(value, reason="at the end of its scale", fields=fields)
    t = float(stats.t.ppf(0.975, fields - 1))
    if scale == "log":
        step = t * error / value
        return Estimate(value, value * math.exp(-step), value * math.exp(step), fields=fields)
    middle, step = math.log(value / (1 - value)), t * error / (value * (1 - value))
    low, high = (1 / (1 + math.exp(-max(min(x, 700.0), -700.0))) for x in (middle - step, middle + step))
    return Estimate(value, low, high, fields=fields)


def bland_altman(first: Floats, second: Floats, mm2: Floats) -> Limits:
    """Differences of densities, second less first.

    Parameters
    ----------
    first, second : (F,) float64, counts of each field
    mm2 : (F,) float64, areas, > 0
    """
    n = len(mm2)
    if not n:
        return Limits(None, reason="no field")
    differences = (second - first) / mm2
    mean = float(differences.mean())
    if n < LEAST_FIELDS:
        return Limits(mean, reason=few(n), fields=n)
    spread = float(differences.std(ddof=1))
    half = float(stats.t.ppf(0.975, n - 1)) * spread / math.sqrt(n)
    return Limits(
        mean, mean - _NORMAL_95 * spread, mean + _NORMAL_95 * spread, mean - half, mean + half, fields=n
    )  # fmt: skip


def few(fields: int) -> str:
    """Why there is no interval."""
    return f"{fields} field{'' if fields == 1 else 's'}, at least {LEAST_FIELDS} wanted"
