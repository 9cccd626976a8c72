from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from wsiparse.measure.intervals import LEAST_FIELDS, bland_altman, draw_weights, ratio


def _fields(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Annotated, pairs and found nuclei of fields that differ in density and in how well they are found."""
    truth = rng.negative_binomial(4, 4 / 64, n) + 5
    pairs = rng.binomial(truth, rng.beta(14, 5, n))
    found = pairs + rng.poisson(truth * rng.gamma(4, 0.05, n))
    return truth.astype(float), pairs.astype(float), found.astype(float)


@pytest.mark.parametrize("fields", [5, 8, 20])
def test_intervals_cover_the_expected_figure_in_92_to_98_of_100_samples(fields: int) -> None:
    truth, pairs, found = _fields(np.random.default_rng(0), 400_000)
    expected = (2 * pairs.sum() / (truth + found).sum(), pairs.sum() / truth.sum(), found.sum() / truth.sum())
    rng, hits, samples = np.random.default_rng(1), np.zeros(3), 1000
    for k in range(samples):
        truth, pairs, found = _fields(rng, fields)
        weights = draw_weights(fields, k, 399)
        for j, (above, below, scale) in enumerate(
            ((2 * pairs, truth + found, "logit"), (pairs, truth, "logit"), (found, truth, "log"))
        ):
            one = ratio(above, below, weights, scale)  # type: ignore[arg-type]
            assert one.low is not None
            assert one.high is not None
            hits[j] += one.low <= expected[j] <= one.high
    assert (hits / samples >= 0.92).all(), hits / samples
    assert (hits / samples <= 0.98).all(), hits / samples


def test_one_field_is_never_extrapolated() -> None:
    one = ratio(np.array([8.0]), np.array([10.0]), draw_weights(1))
    assert (one.value, one.low, one.high) == (0.8, None, None)
    assert one.reason == f"1 field, at least {LEAST_FIELDS} wanted"


def test_fields_without_any_of_a_class_do_not_count_as_fields() -> None:
    below = np.array([10.0, 10, 10, 10, 0, 0, 0])
    one = ratio(below / 2, below, draw_weights(7))
    assert one.fields == 4
    assert one.low is None


@pytest.mark.parametrize(("above", "reason"), [(10.0, "the same in every field"), (0.0, "the same in every field")])
def test_a_figure_without_spread_has_no_interval(above: float, reason: str) -> None:
    one = ratio(np.full(6, above), np.full(6, 10.0), draw_weights(6))
    assert (one.low, one.reason) == (None, reason)


def test_nothing_to_divide_by_is_absent() -> None:
    assert ratio(np.zeros(6), np.zeros(6), draw_weights(6)).value is None


def test_limits_of_agreement_are_mean_and_spread_of_the_differences() -> None:
    rng = np.random.default_rng(3)
    first, second, mm2 = rng.integers(10, 90, 12) * 1.0, rng.integers(10, 90, 12) * 1.0, rng.uniform(0.05, 0.2, 12)
    found = bland_altman(first, second, mm2)
    d = (second - first) / mm2
    interval = stats.t.interval(0.95, 11, loc=d.mean(), scale=stats.sem(d))
    assert found.mean == pytest.approx(d.mean())
    assert found.low == pytest.approx(d.mean() - 1.96 * d.std(ddof=1), rel=1e-4)
    assert found.high == pytest.approx(d.mean() + 1.96 * d.std(ddof=1), rel=1e-4)
    assert (found.mean_low, found.mean_high) == pytest.approx(interval)


@given(st.integers(5, 30), st.integers(0, 2**31))
def test_an_interval_holds_its_figure_and_stays_on_its_scale(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    below = rng.integers(1, 50, n).astype(float)
    one = ratio(rng.binomial(below.astype(int), 0.7).astype(float), below, draw_weights(n, seed, 199))
    if one.low is not None and one.high is not None and one.value is not None:
        assert 0 <= one.low <= one.value <= one.high <= 1
