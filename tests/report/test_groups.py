from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wsiparse.report.stats.groups import (
    Patient,
    SlideCount,
    cliffs_delta,
    compare_groups,
    holm,
    pool_patients,
    rate_ratio,
)


def cohort(seed: int, patients: int = 12, groups: int = 2) -> list[SlideCount]:
    random = np.random.default_rng(seed)
    out = []
    for k in range(patients):
        rate = 100 * (1 + k % groups) * random.gamma(4, 0.25)
        for _ in range(random.integers(1, 4)):
            area = float(random.uniform(1, 20))
            out.append(SlideCount(f"p{k}", f"g{k % groups}", int(random.poisson(rate * area)), area))
    return out


values = st.lists(st.integers(0, 9), min_size=1, max_size=15)


@given(values, values)
def test_cliffs_delta_equals_a_count_of_pairs_and_turns_its_sign(a: list[int], b: list[int]) -> None:
    got = cliffs_delta(np.array(a, float), np.array(b, float))
    assert got == sum((y > x) - (y < x) for x in a for y in b) / (len(a) * len(b))
    assert cliffs_delta(np.array(b, float), np.array(a, float)) == -got
    u = stats.mannwhitneyu(b, a).statistic
    assert got == pytest.approx(2 * u / (len(a) * len(b)) - 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_its_definition(p: list[float]) -> None:
    got = holm(p)
    ranked = sorted(p)
    m = len(p)
    for value, adjusted in zip(p, got, strict=True):
        want = max(min(1.0, (m - r) * q) for r, q in enumerate(ranked) if q <= value)
        # ties: Holm's largest over all not larger
        assert adjusted <= want + 1e-15
        assert adjusted >= value
    order = sorted(range(m), key=lambda k: p[k])
    assert [got[k] for k in order] == sorted(got)


def test_holm_agrees_with_a_worked_example() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


def test_slides_of_a_patient_are_pooled_by_area_and_mixed_patients_left_out() -> None:
    slides = [
        SlideCount("a", "x", 10, 1.0),
        SlideCount("a", "x", 20, 4.0),
        SlideCount("b", "x", 5, 1.0),
        SlideCount("b", "y", 5, 1.0),
        SlideCount("c", "y", 0, 0.0),
    ]
    patients, mixed, without = pool_patients(slides)
    assert patients == [Patient("a", "x", 2, 30, 5.0)]
    assert patients[0].per_mm2 == 6.0
    assert (mixed, without) == (["b"], ["c"])
    with pytest.raises(ValueError, match=">= 0"):
        SlideCount("a", "x", -1, 1.0)


@given(st.integers(0, 10**6), st.integers(2, 4))
def test_the_comparison_is_scipys_on_patients_and_order_changes_nothing(seed: int, groups: int) -> None:
    slides = cohort(seed, 12, groups)
    got = compare_groups(slides)
    order = np.random.default_rng(seed).permutation(len(slides))
    assert compare_groups([slides[k] for k in order]) == got
    density = {}
    for k in range(12):
        own = [s for s in slides if s.patient == f"p{k}"]
        density.setdefault(f"g{k % groups}", []).append(sum(s.n for s in own) / sum(s.area_mm2 for s in own))
    for pair in got.pairs:
        want = stats.mannwhitneyu(density[pair.first], density[pair.second]).pvalue
        assert pair.p == pytest.approx(want)
    want = stats.kruskal(*density.values()).pvalue if groups > 2 else got.pairs[0].p
    assert got.p == pytest.approx(want)
    assert got.test == ("Kruskal-Wallis" if groups > 2 else "Mann-Whitney")
    assert [g.median_per_mm2 for g in got.groups] == pytest.approx([np.median(density[g.group]) for g in got.groups])
    assert sum(g.n_patients for g in got.groups) == 12


@given(st.integers(0, 10**6))
def test_the_rate_ratio_is_the_maximum_likelihood_fit(seed: int) -> None:
    patients, _, _ = pool_patients(cohort(seed))
    first, second = ([p for p in patients if p.group == g] for g in ("g0", "g1"))
    got = rate_ratio(first, second)
    other = rate_ratio(second, first)
    assert got is not None
    assert other is not None
    assert other.ratio == pytest.approx(1 / got.ratio)
    assert other.low == pytest.approx(1 / got.high)
    assert other.p == pytest.approx(got.p)
    # Newton's method on the Poisson likelihood with an offset
    x = np.array([[1, p.group == "g1"] for p in patients], float)
    n, area = np.array([p.n for p in patients]), np.array([p.area_mm2 for p in patients])
    beta = np.array([math.log(n.sum() / area.sum()), 0.0])
    for _ in range(60):
        mean = area * np.exp(x @ beta)
        information = x.T @ (mean[:, None] * x)
        beta = beta + np.linalg.solve(information, x.T @ (n - mean))
    phi = max((((n - mean) ** 2 / mean).sum()) / 10, 1.0)
    error = math.sqrt(phi * np.linalg.inv(information)[1, 1])
    assert got.ratio == pytest.approx(math.exp(beta[1]), rel=1e-6)
    assert got.dispersion == pytest.approx(phi, rel=1e-6)
    assert math.log(got.high) == pytest.approx(beta[1] + stats.t.ppf(0.975, 10) * error, rel=1e-6, abs=1e-9)


def test_overdispersed_counts_get_intervals_that_hold_and_do_not_cry_wolf() -> None:
    random = np.random.default_rng(2)
    held = 0
    for _ in range(300):
        groups = []
        for rate in (100.0, 150.0):
            area = random.uniform(3, 10, 12)
            n = random.poisson(rate * area * random.gamma(9, 1 / 9, 12))
            groups.append([Patient(str(k), "g", 1, int(n[k]), float(area[k])) for k in range(12)])
        got = rate_ratio(*groups)
        assert got is not None
        held += got.low <= 1.5 <= got.high
    assert 0.90 < held / 300 < 0.985


def test_groups_that_cannot_be_compared_say_why() -> None:
    one = [SlideCount(f"p{k}", "x", k, 1.0) for k in range(4)]
    assert compare_groups(one).reason == "fewer than two groups"
    assert compare_groups([*one, SlideCount("q", "y", 1, 1.0)]).reason == "fewer than two patients in y"
    assert compare_groups([]).reason == "fewer than two groups"


def test_no_objects_at_all_are_no_difference_and_no_ratio() -> None:
    slides = [SlideCount(f"p{k}", "xyz"[k % 3], 0, 1.0) for k in range(9)]
    got = compare_groups(slides)
    assert got.p == 1.0
    assert all(pair.p == 1.0 and pair.rate_ratio is None and pair.cliffs_delta == 0 for pair in got.pairs)
