"""Groups of patients compared: counts pooled per patient, rank tests, effect sizes, rate ratios. Pure.

The patient is the unit: slides of one patient are no independent evidence. Their counts and areas are summed, so a
patient's density is weighted by area. Patients with slides in several groups are listed and left out.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

__all__ = [
    "GroupComparison",
    "GroupSummary",
    "PairComparison",
    "Patient",
    "RateRatio",
    "SlideCount",
    "cliffs_delta",
    "compare_groups",
    "holm",
    "pool_patients",
    "rate_ratio",
]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SlideCount:
    """Objects of one class (and compartment) on one slide: patient, group, count, tissue area in mm^2.

    Raises
    ------
    ValueError
        If `n` is negative, or the area negative or not finite.
    """

    patient: str
    group: str
    n: int
    area_mm2: float

    def __post_init__(self) -> None:
        if self.n < 0 or not (math.isfinite(self.area_mm2) and self.area_mm2 >= 0):
            raise ValueError(f"a count must be >= 0 over a finite area, got {self.n} on {self.area_mm2} mm2")


@dataclass(frozen=True, slots=True)
class Patient:
    """A patient's slides together: group, number of slides, summed count and tissue area in mm^2."""

    patient: str
    group: str
    slides: int
    n: int
    area_mm2: float

    @property
    def per_mm2(self) -> float:
        """Objects per mm^2."""
        return self.n / self.area_mm2


@dataclass(frozen=True, slots=True)
class GroupSummary:
    """Densities of a group's patients, per mm^2; quartiles by linear interpolation."""

    group: str
    n_patients: int
    median_per_mm2: float
    lower_quartile_per_mm2: float
    upper_quartile_per_mm2: float


@dataclass(frozen=True, slots=True)
class RateRatio:
    """Density of the second group over that of the first, with its interval; see `rate_ratio`."""

    ratio: float
    low: float
    high: float
    p: float
    dispersion: float


@dataclass(frozen=True, slots=True)
class PairComparison:
    """Two groups.

    Parameters
    ----------
    first, second : their names
    p : two-sided Mann-Whitney (exact for small groups without ties)
    p_holm : the same after Holm's correction over all pairs
    cliffs_delta : P(second > first) - P(second < first), -1 to 1
    rate_ratio : second over first; None when a group has no objects or there are fewer than three patients
    """

    first: str
    second: str
    p: float
    p_holm: float
    cliffs_delta: float
    rate_ratio: RateRatio | None


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """Groups of patients, compared by density.

    Parameters
    ----------
    test : "Mann-Whitney" (two groups) or "Kruskal-Wallis"; "" when nothing was compared
    p : p value of that test, two-sided; None when nothing was compared
    groups : one entry a group, by name
    pairs : every pair of groups, by name
    mixed : patients left out because their slides are in several groups
    without_tissue : patients left out because nothing was analysed
    reason : why nothing was compared, "" otherwise
    """

    test: str
    p: float | None
    groups: tuple[GroupSummary, ...]
    pairs: tuple[PairComparison, ...]
    mixed: tuple[str, ...]
    without_tissue: tuple[str, ...]
    reason: str = ""


def pool_patients(slides: Sequence[SlideCount]) -> tuple[list[Patient], list[str], list[str]]:
    """Patients sorted by name; names of those in several groups; names of those without tissue."""
    of: dict[str, list[SlideCount]] = {}
    for slide in slides:
        of.setdefault(slide.patient, []).append(slide)
    patients, mixed, without = [], [], []
    for name in sorted(of):
        own = of[name]
        # fsum: the same bits for any order of slides
        area = math.fsum(s.area_mm2 for s in own)
        if len({s.group for s in own}) > 1:
            mixed.append(name)
        elif area <= 0:
            without.append(name)
        else:
            patients.append(Patient(name, own[0].group, len(own), sum(s.n for s in own), area))
    return patients, mixed, without


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p values, in the order given (Holm, Scandinavian J. Statistics 6, 65-70, 1979)."""
    m = len(p_values)
    order = sorted(range(m), key=lambda k: p_values[k])
    out = [0.0] * m
    largest = 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (m - rank) * p_values[k]))
        out[k] = largest
    return out


def cliffs_delta(first: Floats, second: Floats) -> float:
    """P(second > first) - P(second < first) over all pairs (Cliff, Psychological Bulletin 114, 494-509, 1993).

    Parameters
    ----------
    first, second : (n,) and (m,) float64, n and m >= 1, one unit

    Returns
    -------
    -1 to 1; 0 where neither tends to be larger

    Raises
    ------
    ValueError
        If a group has no values.
    """
    a, b = np.sort(np.asarray(first, np.float64)), np.asarray(second, np.float64)
    if not len(a) or not len(b):
        raise ValueError("both groups need values")
    below, at_most = np.searchsorted(a, b, side="left"), np.searchsorted(a, b, side="right")
    return int((below - (len(a) - at_most)).sum()) / (len(a) * len(b))


def rate_ratio(first: Sequence[Patient], second: Sequence[Patient], *, level: float = 0.95) -> RateRatio | None:
    """Ratio of two groups' densities from a quasi-Poisson model with log area as offset.

    log E[n] = log area + a + b [second group]; Var[n] = phi E[n] (McCullagh and Nelder, Generalized Linear Models,
    1989, ch. 6). With one factor the fit is in closed form: exp(b) = (N2 / A2) / (N1 / A1),
    Var(b) = phi (1 / N1 + 1 / N2), and phi is Pearson's chi^2 over the patients less two, but at least 1: counts
    steadier than Poisson are taken for luck. Interval and p value use Student's t with the same degrees of freedom.

    Returns
    -------
    None when a group has no objects or there are fewer than three patients
    """
    n1, n2 = sum(p.n for p in first), sum(p.n for p in second)
    free = len(first) + len(second) - 2
    if not n1 or not n2 or free < 1:
        return None
    chi2 = []
    rates = []
    for patients, n in ((first, n1), (second, n2)):
        rate = n / math.fsum(p.area_mm2 for p in patients)
        rates.append(rate)
        chi2 += [(p.n - rate * p.area_mm2) ** 2 / (rate * p.area_mm2) for p in patients]
    dispersion = max(math.fsum(chi2) / free, 1.0)
    b, error = math.log(rates[1] / rates[0]), math.sqrt(dispersion * (1 / n1 + 1 / n2))
    reach = float(stats.t.ppf((1 + level) / 2, free)) * error
    p = 2 * float(stats.t.sf(abs(b) / error, free))
    # far beyond any density, and within what a float holds
    low, high = (math.exp(max(min(v, 700.0), -700.0)) for v in (b - reach, b + reach))
    return RateRatio(math.exp(b), low, high, p, dispersion)


def compare_groups(slides: Sequence[SlideCount]) -> GroupComparison:
    """Compare the densities of groups of patients.

    Two groups: Mann-Whitney U (Annals of Mathematical Statistics 18, 50-60, 1947); more: Kruskal-Wallis H (J. American
    Statistical Association 47, 583-621, 1952), then every pair with Holm's correction. Each group needs two patients.
    The order of slides changes nothing.
    """
    patients, mixed, without = pool_patients(slides)
    members: dict[str, list[Patient]] = {}
    for patient in patients:
        members.setdefault(patient.group, []).append(patient)
    names = sorted(members)
    densities = {name: np.array([p.per_mm2 for p in members[name]]) for name in names}
    groups = []
    for name in names:
        lower, middle, upper = (float(v) for v in np.quantile(densities[name], (0.25, 0.5, 0.75)))
        groups.append(GroupSummary(name, len(members[name]), middle, lower, upper))
    small = [name for name in names if len(members[name]) < 2]
    reason = ""
    if len(names) < 2:
        reason = "fewer than two groups"
    elif small:
        reason = f"fewer than two patients in {', '.join(small)}"
    if reason:
        return GroupComparison("", None, tuple(groups), (), tuple(mixed), tuple(without), reason)
    couples = list(itertools.combinations(names, 2))
    raw = [_mann_whitney(densities[a], densities[b]) for a, b in couples]
    pairs = tuple(
        PairComparison(a, b, p, adjusted, cliffs_delta(densities[a], densities[b]), rate_ratio(members[a], members[b]))
        for (a, b), p, adjusted in zip(couples, raw, holm(raw), strict=True)
    )
    if len(names) == 2:
        test, overall = "Mann-Whitney", raw[0]
    else:
        test = "Kruskal-Wallis"
        values = [densities[name] for name in names]
        alike = len(np.unique(np.concatenate(values))) == 1
        overall = 1.0 if alike else float(stats.kruskal(*values).pvalue)
    return GroupComparison(test, overall, tuple(groups), pairs, tuple(mixed), tuple(without))


def _mann_whitney(first: Floats, second: Floats) -> float:
    # all values alike: no variance to divide by, and no difference
    if len(np.unique(np.concatenate([first, second]))) == 1:
        return 1.0
    return float(stats.mannwhitneyu(first, second, alternative="two-sided").pvalue)
