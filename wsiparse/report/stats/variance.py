"""How densities vary: between patients, between slides of a patient, within a slide; and how many patients tell. Pure.

Model, on the log scale, for slide k of patient p in group g:

    log density = m_g + P_p + S_pk + W_pk,    variances  patient, slide, within

- The log density of a slide is log((n + 1/2) / area): the half keeps slides without any in, and takes the first-order
  bias out of the logarithm of a Poisson count, as it does in the empirical logit (Anscombe, Biometrika 43, 461-464,
  1956).
- *within* is the mean over slides of the squared relative standard error of the spatial block bootstrap
  (`wsiparse.report.stats.bootstrap`): the placement of cells in this tissue.
- *slide* and *patient* come from a nested analysis of variance with groups as fixed effects. With N slides, P patients,
  G groups, n_p slides of a patient, N_g of a group,

      MSP = sum_p n_p (mean_p - mean_g)^2 / (P - G),   MSS = sum (y - mean_p)^2 / (N - P),
      n0 = (N - sum_g sum_p n_p^2 / N_g) / (P - G),
      patient = (MSP - MSS) / n0,   slide = MSS - within,   negative ones are 0

  (Searle, Casella and McCulloch, Variance Components, 1992, ch. 3). With one slide a patient the two cannot be told
  apart: *patient* then is MSP - within and holds both.
- Agreement within patients is the one-way intraclass correlation patient / (patient + MSS) with the interval of Shrout
  and Fleiss (Psychological Bulletin 86, 420-428, 1979), n0 for the number of slides a patient.

How many patients a group needs
    A comparison of two groups by the Mann-Whitney test, each patient with m slides: the variance of a patient's mean is

        V = patient + (slide + within) / m = MSP / n0 + (1 / m - 1 / n0) MSS

    With the efficiency 3 / pi of the rank test on normal values (Hodges and Lehmann, Annals of Mathematical Statistics
    27, 324-335, 1956), n patients a group tell a ratio of densities r with the power of a t test of n' = 3 n / pi:
    P(|T| > t) for noncentral T with 2 n' - 2 degrees of freedom and noncentrality log r / sqrt(2 V / n'), the
    normal distribution from 100 patients on. t is the limit of the level that the rank test really has with n patients,
    for its p values come in steps (5 and 5: 3.2 %, not 5 %). In simulation the power is met within 3 points from 4
    patients a group on. The smallest such n is given, at least 4 (below that no two-sided p value is under 5 %). Its
    range comes from the chi-squared interval of V, degrees of freedom after Satterthwaite (Biometrics Bulletin 2,
    110-114, 1946).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from scipy import stats

__all__ = [
    "LEAST_FREEDOM",
    "MOST_PATIENTS",
    "Agreement",
    "Components",
    "PatientsNeeded",
    "SlideDensity",
    "components",
    "patients_needed",
    "power_of",
    "within_patients",
]

#: Fewer degrees of freedom between patients say nothing of a variance.
LEAST_FREEDOM: Final = 3
#: More slides than this share without any: the log scale is no longer one of the tissue.
_MOST_EMPTY: Final = 0.2
#: Below this no two-sided p value of the rank test is under 5 %.
_LEAST_PATIENTS: Final = 4
#: More than this is no study.
MOST_PATIENTS: Final = 10_000
_EFFICIENCY: Final = 3 / math.pi
#: Up to so many patients a group the steps of the rank test's p values are taken into account.
_STEPS_TO: Final = 40
#: From so many on the noncentral t is the normal distribution to a third of a point, and is not computed well.
_NORMAL_FROM: Final = 100


@dataclass(frozen=True, slots=True)
class SlideDensity:
    """Objects of one class (and compartment) on one slide.

    Parameters
    ----------
    patient, group : names; every slide its own patient where none is known, one group where there are none
    n : objects
    area_mm2 : analysed tissue, > 0
    relative_error : standard error of the density over the density, from the block bootstrap; None where unknown

    Raises
    ------
    ValueError
        If `n` is negative or the area is not positive and finite.
    """

    patient: str
    group: str
    n: int
    area_mm2: float
    relative_error: float | None = None

    def __post_init__(self) -> None:
        if self.n < 0 or not (math.isfinite(self.area_mm2) and self.area_mm2 > 0):
            raise ValueError(f"a density needs a count >= 0 over tissue, got {self.n} on {self.area_mm2} mm2")

    @property
    def log_density(self) -> float:
        """log((n + 1/2) / area), area in mm^2."""
        return math.log((self.n + 0.5) / self.area_mm2)


@dataclass(frozen=True, slots=True)
class Components:
    """Variances of log densities; see the module's text.

    Parameters
    ----------
    n_slides, n_patients, n_groups : that it was learned from
    mean_per_mm2 : geometric mean of the slides' densities
    patient, slide, within : variances; None where unknown: `slide` with one slide a patient, `within` without intervals
    between, between_freedom : MSP and its degrees of freedom
    repeat, repeat_freedom : MSS and its degrees of freedom, None and 0 with one slide a patient
    slides_a_patient : n0
    reason : why there are none, "" otherwise
    """

    n_slides: int
    n_patients: int
    n_groups: int
    mean_per_mm2: float | None
    patient: float | None = None
    slide: float | None = None
    within: float | None = None
    between: float | None = None
    between_freedom: int = 0
    repeat: float | None = None
    repeat_freedom: int = 0
    slides_a_patient: float = 1.0
    reason: str = ""

    def of_mean(self, slides: int) -> tuple[float, float]:
        """Variance of a patient's mean over so many slides, and its degrees of freedom.

        Raises
        ------
        ValueError
            If it is not known: no variance between patients, or of several slides without any patient that has some.
        """
        if self.between is None or (slides > 1 and self.repeat is None):
            raise ValueError(f"the variance over {slides} slides is not known: {self.reason or 'one slide a patient'}")
        if self.repeat is None:
            return self.between, float(self.between_freedom)
        a, b = 1 / self.slides_a_patient, 1 / slides - 1 / self.slides_a_patient
        parts = a * self.between, b * self.repeat
        # a sum below what slides alone vary by cannot be
        variance = max(sum(parts), self.repeat / slides)
        spread = parts[0] ** 2 / self.between_freedom + parts[1] ** 2 / self.repeat_freedom
        return variance, variance**2 / spread if spread > 0 else float(self.between_freedom)


def components(slides: Sequence[SlideDensity]) -> Components:
    """Variances of the log density; the order of slides changes nothing.

    Parameters
    ----------
    slides : one class in one compartment; a patient is in one group
    """
    by_patient: dict[tuple[str, str], list[float]] = {}
    for s in sorted(slides, key=lambda s: (s.group, s.patient, s.n, s.area_mm2)):
        by_patient.setdefault((s.group, s.patient), []).append(s.log_density)
    groups: dict[str, list[list[float]]] = {}
    for (group, _), own in by_patient.items():
        groups.setdefault(group, []).append(own)
    n, patients = len(slides), len(by_patient)
    errors = sorted(s.relative_error**2 for s in slides if s.relative_error is not None)
    within = math.fsum(errors) / len(errors) if errors else None
    mean = math.exp(math.fsum(v for own in by_patient.values() for v in own) / n) if n else None
    known = Components(n, patients, len(groups), mean, within=within)
    reason = ""
    if patients - len(groups) < LEAST_FREEDOM:
        reason = f"{_people(patients, n)} in {len(groups)} group(s), {len(groups) + LEAST_FREEDOM} patients are needed"
    elif sum(not s.n for s in slides) > _MOST_EMPTY * n:
        reason = f"none found on {sum(not s.n for s in slides)} of {n} slides"
    if reason:
        return replace(known, reason=reason)
    between, squares = [], []
    sizes = 0.0
    for members in groups.values():
        total = sum(map(len, members))
        middle = math.fsum(v for own in members for v in own) / total
        sizes += sum(len(own) ** 2 for own in members) / total
        for own in members:
            centre = math.fsum(own) / len(own)
            between.append(len(own) * (centre - middle) ** 2)
            squares += [(v - centre) ** 2 for v in own]
    freedom, repeats = patients - len(groups), n - patients
    size = (n - sizes) / freedom
    msp = math.fsum(between) / freedom
    if not repeats:
        return replace(known, patient=max(msp - (within or 0.0), 0.0), between=msp, between_freedom=freedom)
    mss = math.fsum(squares) / repeats
    return replace(
        known,
        patient=max((msp - mss) / size, 0.0),
        slide=max(mss - (within or 0.0), 0.0),
        between=msp,
        between_freedom=freedom,
        repeat=mss,
        repeat_freedom=repeats,
        slides_a_patient=size,
    )


def _people(patients: int, slides: int) -> str:
    return f"{slides} slide(s) of {patients} patient(s)" if patients != slides else f"{patients} slide(s)"


@dataclass(frozen=True, slots=True)
class Agreement:
    """How alike slides of one patient are.

    Parameters
    ----------
    icc, low, high : one-way intraclass correlation of log densities with its interval; None where unknown
    factor : two slides of a patient differ by at most this factor 95 times of 100; None where unknown
    reason : why nothing is known, "" otherwise
    """

    icc: float | None
    low: float | None
    high: float | None
    factor: float | None
    reason: str = ""


def within_patients(found: Components, *, level: float = 0.95) -> Agreement:
    """Agreement of slides of one patient, within groups."""
    if found.repeat is None or found.between is None or found.repeat_freedom < LEAST_FREEDOM:
        why = found.reason or f"fewer than {LEAST_FREEDOM} slides beside the first of their patient"
        return Agreement(None, None, None, None, why)
    factor = math.exp(float(stats.norm.ppf((1 + level) / 2)) * math.sqrt(2 * found.repeat))
    if found.repeat == 0:
        return Agreement(None, None, None, factor, "slides of a patient do not differ at all")
    a, b, size = found.between_freedom, found.repeat_freedom, found.slides_a_patient
    ratio = found.between / found.repeat
    ends = (ratio, ratio / stats.f.ppf((1 + level) / 2, a, b), ratio * stats.f.ppf((1 + level) / 2, b, a))
    icc, low, high = (float((f - 1) / (f + size - 1)) for f in ends)
    return Agreement(max(icc, 0.0), max(low, 0.0), max(high, 0.0), factor)


def power_of(patients: int, variance: float, ratio: float, *, level: float = 0.05) -> float:
    """Power of the two-sided Mann-Whitney test of two groups of log normal densities; see the module's text.

    Parameters
    ----------
    patients : in each group, >= 2
    variance : of a patient's log density, > 0
    ratio : of the groups' densities, > 0
    level : of the test
    """
    size = patients * _EFFICIENCY
    freedom = max(2 * size - 2, 1.0)
    shift = abs(math.log(ratio)) / math.sqrt(2 * variance / size)
    true_level = _true_level(patients, level) if patients <= _STEPS_TO else level
    if not true_level:
        return 0.0
    if patients >= _NORMAL_FROM:
        z = float(stats.norm.ppf(1 - true_level / 2))
        return float(stats.norm.sf(z - shift) + stats.norm.cdf(-z - shift))
    limit = float(stats.t.ppf(1 - true_level / 2, freedom))
    # far beyond any table the noncentral t is not computed, and the power is 1
    if shift > 30:
        return 1.0
    return float(stats.nct.sf(limit, freedom, shift) + stats.nct.cdf(-limit, freedom, shift))


@cache
def _true_level(patients: int, level: float) -> float:
    """Largest p value up to `level` that the exact rank test of two groups of equal size can give; 0 if none can.

    How many of the arrangements have each sum U is the Gaussian binomial coefficient, prod (1 - x^(n + i)) / (1 - x^i).
    """
    n = patients
    ways = [1] + [0] * (n * n)
    for i in range(1, n + 1):
        for k in range(n * n, n + i - 1, -1):
            ways[k] -= ways[k - n - i]
        for k in range(i, n * n + 1):
            ways[k] += ways[k - i]
    total, below, found = math.comb(2 * n, n), 0, 0.0
    for number in ways:
        below += number
        if 2 * below > level * total:
            break
        found = 2 * below / total
    return found


@dataclass(frozen=True, slots=True)
class PatientsNeeded:
    """Patients a group needs.

    Parameters
    ----------
    n, low, high : patients, and the range that the interval of the variance leaves; None where more than
        `MOST_PATIENTS`
    percent : by how much one group is denser than the other
    slides : of each patient
    """

    n: int | None
    low: int | None
    high: int | None
    percent: float
    slides: int


def patients_needed(
    found: Components, percent: float, *, slides: int = 1, power: float = 0.8, level: float = 0.05
) -> PatientsNeeded:
    """Patients a group needs to see that one group is denser by so many per cent.

    Parameters
    ----------
    found : variances, with a reason of ""
    percent : > 0
    slides : of each patient
    power : wanted, 0-1
    level : of the test; the interval of the variance has level 1 - `level`

    Raises
    ------
    ValueError
        If the variance is not known or `percent` is not positive.
    """
    if not percent > 0:
        raise ValueError(f"a difference must be > 0 %, got {percent}")
    variance, freedom = found.of_mean(slides)
    ratio = 1 + percent / 100
    ends = (float(freedom / stats.chi2.ppf(q, freedom)) for q in (1 - level / 2, level / 2))
    n, low, high = (_least(variance * factor, ratio, power, level) for factor in (1.0, *ends))
    return PatientsNeeded(n, low, high, percent, slides)


def _least(variance: float, ratio: float, power: float, level: float) -> int | None:
    """Smallest number of patients a group with the power."""
    for n in range(_LEAST_PATIENTS, _STEPS_TO + 1):
        if variance <= 0 or power_of(n, variance, ratio, level=level) >= power:
            return n
    if power_of(MOST_PATIENTS, variance, ratio, level=level) < power:
        return None
    few, enough = _STEPS_TO, MOST_PATIENTS
    while enough - few > 1:
        middle = (few + enough) // 2
        if power_of(middle, variance, ratio, level=level) >= power:
            enough = middle
        else:
            few = middle
    return enough
