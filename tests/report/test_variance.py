"""Variance components and power, against sums by hand and against simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from wsiparse.report.stats.variance import (
    LEAST_FREEDOM,
    Components,
    SlideDensity,
    components,
    patients_needed,
    power_of,
    within_patients,
)


def densities(random: np.random.Generator, patients: int, slides: int, sds: tuple[float, float, float]) -> list:
    """Slides of one group, mean 500 per mm2 on 200 mm2 (so that counting adds next to nothing)."""
    out = []
    for p in range(patients):
        of_patient = random.normal(0, sds[0])
        for _ in range(slides):
            rate = 500 * math.exp(of_patient + random.normal(0, sds[1]) + random.normal(0, sds[2]))
            out.append(SlideDensity(f"p{p}", "g", int(random.poisson(rate * 200)), 200.0, sds[2]))
    return out


def test_a_nested_analysis_of_variance_by_hand() -> None:
    # two groups, unequal numbers of slides; counts chosen so that log((n + 1/2) / area) are known
    table = {("a", "p1"): [3, 5], ("a", "p2"): [9], ("a", "p3"): [4, 4, 6], ("b", "p4"): [20, 31], ("b", "p5"): [12]}
    table |= {("b", "p6"): [7, 8]}
    slides = [SlideDensity(p, g, n, 1.0, 0.1) for (g, p), own in table.items() for n in own]
    y = {key: np.log(np.array(own) + 0.5) for key, own in table.items()}
    means = {g: np.concatenate([v for (group, _), v in y.items() if group == g]).mean() for g in "ab"}
    msp = sum(len(v) * (v.mean() - means[g]) ** 2 for (g, _), v in y.items()) / (6 - 2)
    mss = sum(((v - v.mean()) ** 2).sum() for v in y.values()) / (11 - 6)
    n0 = (11 - (4 + 1 + 9) / 6 - (4 + 1 + 4) / 5) / (6 - 2)
    found = components(slides)
    assert found.between == pytest.approx(msp)
    assert found.repeat == pytest.approx(mss)
    assert found.slides_a_patient == pytest.approx(n0)
    assert found.patient == pytest.approx((msp - mss) / n0)
    assert found.slide == pytest.approx(mss - 0.01)
    assert found.within == pytest.approx(0.01)
    assert found.mean_per_mm2 == pytest.approx(math.exp(np.concatenate(list(y.values())).mean()))
    assert (found.n_slides, found.n_patients, found.n_groups) == (11, 6, 2)
    assert found.between_freedom, found.repeat_freedom == (4, 5)


def test_the_order_of_slides_changes_nothing() -> None:
    slides = densities(np.random.default_rng(2), 5, 2, (0.5, 0.2, 0.1))
    assert {components(order) for order in (slides, slides[::-1], slides[3:] + slides[:3])} == {components(slides)}


def test_components_are_recovered_over_many_cohorts() -> None:
    random = np.random.default_rng(3)
    found = [components(densities(random, 20, 3, (0.5, 0.3, 0.15))) for _ in range(150)]
    for name, truth in (("patient", 0.25), ("slide", 0.09), ("within", 0.0225)):
        assert np.mean([getattr(one, name) for one in found]) == pytest.approx(truth, rel=0.12), name


def test_with_one_slide_a_patient_patient_and_slide_are_one() -> None:
    slides = densities(np.random.default_rng(4), 8, 1, (0.5, 0.3, 0.1))
    found = components(slides)
    assert found.between == pytest.approx(np.var([s.log_density for s in slides], ddof=1))
    assert found.patient == pytest.approx(found.between - 0.01)
    assert found.slide is None
    assert found.repeat is None
    assert "slides" in within_patients(found).reason
    with pytest.raises(ValueError, match="over 2 slides is not known"):
        patients_needed(found, 50, slides=2)


def test_too_few_patients_and_empty_slides_are_said() -> None:
    few = components([SlideDensity(f"p{k}", "g", 5, 1.0) for k in range(LEAST_FREEDOM)])
    assert few.between is None
    assert f"{LEAST_FREEDOM + 1} patients are needed" in few.reason
    assert few.within is None
    empty = components([SlideDensity(f"p{k}", "g", 5 * (k % 2), 1.0) for k in range(10)])
    assert empty.reason == "none found on 5 of 10 slides"
    assert components([]).mean_per_mm2 is None


@pytest.mark.parametrize("area", [0.0, -1.0, math.nan, math.inf])
def test_a_density_needs_tissue(area: float) -> None:
    with pytest.raises(ValueError, match="needs a count"):
        SlideDensity("p", "g", 1, area)


@pytest.mark.parametrize("patients", [4, 5, 6, 8, 12, 20, 41, 100])
@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.9])
def test_the_power_formula_is_met_by_simulation_within_three_points(patients: int, wanted: float) -> None:
    variance = 0.4
    low, high = 1.0, 1000.0
    for _ in range(50):
        ratio = math.sqrt(low * high)
        low, high = (ratio, high) if power_of(patients, variance, ratio) < wanted else (low, ratio)
    random = np.random.default_rng(patients)
    first = random.normal(0, math.sqrt(variance), (3000, patients))
    second = random.normal(math.log(ratio), math.sqrt(variance), (3000, patients))
    method = "exact" if patients <= 40 else "asymptotic"
    p = stats.mannwhitneyu(first, second, axis=1, method=method).pvalue
    assert np.mean(p <= 0.05) == pytest.approx(wanted, abs=0.03)


@pytest.mark.parametrize("patients", [4, 5, 7])
def test_the_steps_of_the_rank_tests_p_values_are_those_of_all_arrangements(patients: int) -> None:
    # with no difference at all the power is the level that the test really has
    values = np.arange(2 * patients)
    sums = [sum(chosen) for chosen in itertools.combinations(values, patients)]
    middle = patients * (2 * patients - 1) / 2
    apart = np.abs(np.array(sums) - middle)
    p = np.array([np.mean(apart >= one - 1e-9) for one in apart])
    assert power_of(patients, 1.0, 1.0) == pytest.approx(np.mean(p <= 0.05), abs=1e-9)


def test_the_number_of_patients_is_the_smallest_with_the_power() -> None:
    found = components(densities(np.random.default_rng(6), 12, 2, (0.5, 0.3, 0.1)))
    for percent, slides in itertools.product((20, 30, 50, 100), (1, 3)):
        variance, _ = found.of_mean(slides)
        need = patients_needed(found, percent, slides=slides)
        assert need.n is not None
        assert power_of(need.n, variance, 1 + percent / 100) >= 0.8
        assert need.n == 4 or power_of(need.n - 1, variance, 1 + percent / 100) < 0.8
        assert need.low is not None
        assert need.low <= need.n
        assert need.high is None or need.high >= need.n
    assert patients_needed(found, 0.1).n is None
    with pytest.raises(ValueError, match="> 0 %"):
        patients_needed(found, 0)


def test_more_slides_a_patient_need_fewer_patients() -> None:
    found = components(densities(np.random.default_rng(7), 20, 3, (0.3, 0.5, 0.1)))
    need = [patients_needed(found, 50, slides=m).n for m in (1, 2, 4)]
    assert need == sorted(need, reverse=True)
    assert need[0] > need[-1]
    # never below what the slides alone vary by
    alone = Components(40, 20, 1, 1.0, 0.0, 0.3, None, 0.1, 19, 0.3, 20, 2.0)
    assert alone.of_mean(4)[0] == pytest.approx(0.3 / 4)


def test_the_range_of_the_number_covers_the_true_one() -> None:
    random = np.random.default_rng(8)
    truth = Components(1, 1, 1, None, None, None, None, 0.34 + 0.0225, 10**9)
    true_n = patients_needed(truth, 60).n
    inside = 0
    for _ in range(400):
        need = patients_needed(components(densities(random, 12, 1, (0.5, 0.3, 0.15))), 60)
        inside += need.low <= true_n <= (need.high or 10**9)
    assert 0.92 <= inside / 400 <= 0.98


def test_a_study_of_that_size_sees_the_difference() -> None:
    """The whole way: densities of patients, slides and cells, the number of patients from their variances, the test."""
    random = np.random.default_rng(9)
    sds = (0.4, 0.3, 0.1)
    truth = sum(v * v for v in sds)
    need = patients_needed(Components(1, 1, 1, None, None, None, None, truth, 10**9), 75)
    seen = 0
    for _ in range(1200):
        both = [densities(random, need.n, 1, sds) for _ in range(2)]
        first, second = ([s.n * (1.75 if k else 1) for s in own] for k, own in enumerate(both))
        seen += stats.mannwhitneyu(first, second).pvalue <= 0.05
    assert seen / 1200 == pytest.approx(power_of(need.n, truth, 1.75), abs=0.03)


def test_agreement_within_patients_covers_the_truth() -> None:
    random = np.random.default_rng(10)
    truth = 0.25 / (0.25 + 0.09 + 0.01)
    inside = factors = 0.0
    for _ in range(400):
        found = components(densities(random, 15, 2, (0.5, 0.3, 0.1)))
        agreement = within_patients(found)
        inside += agreement.low <= truth <= agreement.high
        factors += math.log(agreement.factor) / 400
    assert 0.92 <= inside / 400 <= 0.98
    assert math.exp(factors) == pytest.approx(math.exp(1.96 * math.sqrt(2 * 0.1)), rel=0.03)


def test_slides_that_are_all_alike_have_no_correlation() -> None:
    found = components([SlideDensity(f"p{k // 2}", "g", 10 + k // 2, 1.0) for k in range(10)])
    assert within_patients(found).icc is None
    assert "do not differ" in within_patients(found).reason


def test_the_two_forms_of_the_power_meet() -> None:
    for ratio in (1.1, 1.3, 1.6):
        assert power_of(99, 0.4, ratio) == pytest.approx(power_of(100, 0.4, ratio), abs=0.01)
