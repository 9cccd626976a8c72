"""Bland-Altman and ICC, against sums by hand, published figures and simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from wsiparse.report.stats.agreement import bland_altman, concordance, score_of


def test_limits_of_agreement_by_hand() -> None:
    first, second = [10.0, 20.0, 35.0, 5.0, 50.0, 44.0], [12.0, 15.0, 30.0, 5.0, 38.0, 40.0]
    d = [-2.0, 5.0, 5.0, 0.0, 12.0, 4.0]
    mean = sum(d) / 6
    sd = math.sqrt(sum((v - mean) ** 2 for v in d) / 5)
    found = bland_altman(first, second)
    t = 2.570581835636314  # Student, 5 degrees of freedom, 97.5 %
    assert found.bias == pytest.approx(mean)
    assert found.sd == pytest.approx(sd)
    assert (found.bias_low, found.bias_high) == pytest.approx((mean - t * sd / 6**0.5, mean + t * sd / 6**0.5))
    assert (found.lower, found.upper) == pytest.approx((mean - 1.959964 * sd, mean + 1.959964 * sd))
    reach = t * sd * math.sqrt(1 / 6 + 1.959964**2 / 10)
    assert (found.upper_low, found.upper_high) == pytest.approx((found.upper - reach, found.upper + reach))
    assert (found.lower_low, found.lower_high) == pytest.approx((found.lower - reach, found.lower + reach))
    x = np.array(first) / 2 + np.array(second) / 2
    slope = ((x - x.mean()) * (np.array(d) - mean)).sum() / ((x - x.mean()) ** 2).sum()
    assert found.slope == pytest.approx(slope)


def test_the_icc_is_that_of_shrout_and_fleiss() -> None:
    # the six targets and four judges of Shrout and Fleiss 1979, judges 1 and 3; sums of squares by hand below
    a, b = np.array([9, 6, 8, 7, 10, 6.0]), np.array([5, 3, 6, 2, 6, 4.0])
    found = concordance(a, b)
    table = np.stack([a, b], 1)
    whole, rows, columns = table.mean(), table.mean(1), table.mean(0)
    msr, msc = 2 * ((rows - whole) ** 2).sum() / 5, 6 * ((columns - whole) ** 2).sum()
    mse = (((table - whole) ** 2).sum() - 5 * msr - msc) / 5
    assert found.icc == pytest.approx((msr - mse) / (msr + mse + 2 * (msc - mse) / 6))
    assert found.spearman == pytest.approx(stats.spearmanr(a, b).statistic)
    assert found.low < found.icc < found.high


def two_readers(random: np.random.Generator, n: int, sd: float) -> tuple[np.ndarray, np.ndarray]:
    truth = random.normal(30, 10, n)
    return truth + random.normal(0, sd, n), truth + random.normal(0, sd, n)


@pytest.mark.parametrize("n", [8, 30])
def test_intervals_cover_the_truth(n: int) -> None:
    random = np.random.default_rng(n)
    icc, bias, limit = [], [], []
    for _ in range(600):
        a, b = two_readers(random, n, 6.0)
        found, apart = concordance(a, b), bland_altman(a, b)
        icc.append(found.low <= 100 / 136 <= found.high)
        bias.append(apart.bias_low <= 0 <= apart.bias_high)
        limit.append(apart.upper_low <= 1.959964 * 6 * 2**0.5 <= apart.upper_high)
    for held in (icc, bias):
        assert 0.92 <= np.mean(held) <= 0.98
    # the approximation of Bland and Altman, better with more slides
    assert 0.9 <= np.mean(limit) <= 0.98


def test_equal_measurements_agree_wholly_and_constant_ones_do_not_say() -> None:
    same = concordance([1.0, 2.0, 3.0, 9.0], [1.0, 2.0, 3.0, 9.0])
    assert same.icc == pytest.approx(1.0)
    assert same.low is None
    flat = concordance([4.0, 4.0, 4.0], [4.0, 4.0, 4.0])
    assert (flat.icc, flat.spearman) == (None, None)
    assert bland_altman([4.0, 4.0, 4.0], [4.0, 4.0, 4.0]).slope is None
    with pytest.raises(ValueError, match="at least two"):
        bland_altman([1.0], [1.0])
    with pytest.raises(ValueError, match="at least two"):
        concordance([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("text", "score"),
    [
        ("0", 0), ("100", 100), (" 7.5 ", 7.5), ("7,5 %", 7.5), ("<1%", 1), ("> 90", 90), ("10\N{EN DASH}20 %", 15),
        ("5-10", 7.5), ("", None), ("NA", None), ("-5", None), ("101", None), ("20-10", None), ("1e1", None),
        ("1.2.3", None), ("ten", None), ("1-2-3", None), ("\N{SUPERSCRIPT TWO}", None),
        ("\N{ARABIC-INDIC DIGIT TWO}", None),
    ],
)  # fmt: skip
def test_scores_are_read_as_people_write_them(text: str, score: float | None) -> None:
    assert score_of(text) == score
