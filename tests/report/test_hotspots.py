from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from wsiparse.report.stats.density import DensityGrid, Squares
from wsiparse.report.stats.hotspots import hot_spots


def grid(counts: np.ndarray, share: np.ndarray, least_share: float = 0.25) -> DensityGrid:
    squares = Squares((0.0, 0.0), 100.0, counts.shape)
    return DensityGrid(squares, counts[None].astype(np.int64), share * 0.01, least_share)


def scene(seed: int, h: int = 8, w: int = 9) -> DensityGrid:
    random = np.random.default_rng(seed)
    share = random.choice([0.0, 0.1, 0.3, 0.7, 1.0], (h, w), p=[0.2, 0.1, 0.1, 0.1, 0.5])
    return grid(random.poisson(8 * share), share)


def slow(g: DensityGrid) -> np.ndarray:
    """The published formula, a loop over pairs of squares."""
    h, w = g.area_mm2.shape
    squares = [(i, j) for i in range(h) for j in range(w) if g.area_mm2[i, j] > 0 and g.share[i, j] >= 0.25]
    x = [g.counts[0, i, j] / g.area_mm2[i, j] for i, j in squares]
    n = len(x)
    z = np.full((h, w), math.nan)
    if n < 30 or not any(x):
        return z
    mean = sum(x) / n
    s = math.sqrt(sum(v * v for v in x) / n - mean**2)
    for i, j in squares:
        weight = [g.share[k, m] if max(abs(k - i), abs(m - j)) <= 1 else 0.0 for k, m in squares]
        if sum(v > 0 for v in weight) == 1:
            continue
        total = sum(weight)
        below = s * math.sqrt((n * sum(v * v for v in weight) - total**2) / (n - 1))
        z[i, j] = (sum(a * b for a, b in zip(weight, x, strict=True)) - mean * total) / below
    return z


@given(st.integers(0, 10**6))
@settings(max_examples=50)
def test_gi_star_equals_its_formula_written_out(seed: int) -> None:
    g = scene(seed)
    np.testing.assert_allclose(hot_spots(g, 0).z, slow(g), atol=1e-8)


def slow_q(p: list[float]) -> list[float]:
    m = len(p)
    order = sorted(range(m), key=lambda k: p[k])
    return [min(min(1.0, p[order[r]] * m / (r + 1)) for r in range(m) if p[order[r]] >= p[k]) for k in range(m)]


@given(st.integers(0, 10**6), st.sampled_from((0.05, 0.3)))
@settings(max_examples=50)
def test_q_values_are_benjamini_and_hochbergs(seed: int, rate: float) -> None:
    got = hot_spots(scene(seed), 0, rate=rate)
    tested = np.isfinite(got.z)
    assert got.n_tested == tested.sum()
    if tested.any():
        np.testing.assert_allclose(got.p[tested], stats.norm.sf(got.z[tested]))
        np.testing.assert_allclose(got.q[tested], slow_q(got.p[tested].tolist()))
        np.testing.assert_array_equal(got.hot[tested], got.q[tested] <= rate)
    assert not got.hot[~tested].any()


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_turned_and_mirrored_tissue_has_turned_and_mirrored_hot_spots(seed: int) -> None:
    g = scene(seed)
    for turn in (np.rot90, np.fliplr):
        turned = DensityGrid(g.squares, turn(g.counts[0])[None], turn(g.area_mm2), g.least_share)
        np.testing.assert_allclose(hot_spots(turned, 0).z, turn(hot_spots(g, 0).z), atol=1e-9)


def test_agrees_with_esda() -> None:
    pytest.importorskip("libpysal", reason="compares with esda and libpysal, which are not installed")
    esda = pytest.importorskip("esda.getisord", reason="compares with esda, which is not installed")
    from libpysal.weights import W

    random = np.random.default_rng(3)
    counts = random.poisson(6, (8, 9))
    counts[2:4, 3:6] += 12
    got = hot_spots(grid(counts, np.ones((8, 9))), 0)
    around = {
        i * 9 + j: [k * 9 + m for k in range(8) for m in range(9) if max(abs(k - i), abs(m - j)) == 1]
        for i in range(8)
        for j in range(9)
    }
    weights = W(around, silence_warnings=True)
    theirs = esda.G_Local(counts.ravel() / 0.01, weights, transform="B", permutations=0, star=True)
    np.testing.assert_allclose(got.z.ravel(), theirs.Zs, rtol=1e-9)
    assert got.hot[2:4, 3:6].any()


def test_a_planted_hot_spot_is_found_and_ranked_and_chance_is_not() -> None:
    random = np.random.default_rng(0)
    counts = random.poisson(20, (15, 15))
    assert hot_spots(grid(counts, np.ones((15, 15))), 0).hot.sum() == 0
    counts[6:9, 6:9] += 25
    got = hot_spots(grid(counts, np.ones((15, 15))), 0)
    assert got.hot[6:9, 6:9].all()
    assert not got.hot[:4].any()
    rows, columns = np.nonzero(got.hot)
    ranked = np.stack([rows, columns], axis=1)[np.argsort(-got.z[rows, columns], kind="stable")]
    assert len(ranked) == got.hot.sum()
    z = got.z[tuple(ranked.T)]
    assert (np.diff(z) <= 0).all()
    assert tuple(ranked[0]) == (7, 7)


def test_false_hot_spots_are_as_rare_as_the_rate_says() -> None:
    random = np.random.default_rng(1)
    share = np.ones((12, 12))
    share[:, 0] = 0.4
    hits = sum(bool(hot_spots(grid(random.poisson(15 * share), share), 0).hot.any()) for _ in range(300))
    # a family-wise rate of at most 5 %; 300 draws: sd 1.3 %
    assert hits / 300 < 0.09


def test_islands_and_slivers_are_counted_and_not_tested() -> None:
    share = np.ones((8, 8))
    share[:, 6] = 0
    share[:, 7] = 0
    share[0, 7] = 1.0
    share[4, 7] = 0.1
    counts = (5 * share).astype(int)
    counts[0, 7], counts[4, 7] = 500, 500
    got = hot_spots(grid(counts, share), 0)
    assert (got.n_islands, got.n_slivers, got.n_tested) == (1, 1, 48)
    assert np.isnan(got.z[0, 7])
    assert np.isnan(got.z[4, 7])
    assert not got.hot.any()


def test_reasons_are_given_when_nothing_can_be_tested() -> None:
    assert "30 are needed" in hot_spots(grid(np.ones((5, 5), int), np.ones((5, 5))), 0).reason
    assert hot_spots(grid(np.zeros((8, 8), int), np.ones((8, 8))), 0).reason == "none found"
    apart = np.zeros((15, 15))
    apart[::2, ::2] = 1
    assert hot_spots(grid(apart.astype(int), apart), 0).reason == "no square has a neighbour"
    alike = hot_spots(grid(np.full((8, 8), 3), np.ones((8, 8))), 0)
    assert (alike.reason, alike.hot.any(), np.abs(alike.z).max()) == ("", False, 0.0)
    with pytest.raises(ValueError, match="rate"):
        hot_spots(grid(np.ones((8, 8), int), np.ones((8, 8))), 0, rate=0.0)
