from __future__ import annotations

import math

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.patterns import Pattern, irregular_tissue, surface
from wsiparse.report.stats import mixing
from wsiparse.report.stats.mixing import cross_k, morisita_horn
from wsiparse.report.stats.tissue import Tissue

counts = st.lists(st.integers(0, 50), min_size=1, max_size=20)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=1, max_size=20), st.integers(0, 99))
def test_morisita_horn_equals_its_formula_on_proportions_in_any_order(pairs, seed: int) -> None:
    x, y = (np.array([p[k] for p in pairs]) for k in (0, 1))
    got = morisita_horn(x, y)
    if not x.sum() or not y.sum():
        assert got is None
        return
    p, q = x / x.sum(), y / y.sum()
    assert got == pytest.approx(2 * (p * q).sum() / ((p * p).sum() + (q * q).sum()), abs=1e-12)
    order = np.random.default_rng(seed).permutation(len(x))
    assert morisita_horn(x[order], y[order]) == got == morisita_horn(y, x)
    assert 0 <= got <= 1


def test_morisita_horn_is_one_for_like_proportions_and_nought_apart() -> None:
    x = np.array([[1, 2], [0, 3]])
    assert morisita_horn(x, 7 * x) == 1
    assert morisita_horn(np.array([1, 0]), np.array([0, 5])) == 0
    with pytest.raises(ValueError, match="integer arrays"):
        morisita_horn(x, x.ravel())
    with pytest.raises(ValueError, match="negative"):
        morisita_horn(np.array([-1, 2]), np.array([1, 1]))


def slow_k(first: np.ndarray, second: np.ndarray | None, mask: np.ndarray, radii: list[float]) -> list[float]:
    """Every pair, the tissue shifted as a polygon and cut with itself."""
    i, j = np.nonzero(mask)
    tissue = shapely.union_all(shapely.box(j * 8, i * 8, j * 8 + 8, i * 8 + 8))
    other = first if second is None else second
    sums = [0.0] * len(radii)
    for a, p in enumerate(first):
        for b, q in enumerate(other):
            if second is None and a == b:
                continue
            moved = shapely.transform(tissue, lambda xy, p=p, q=q: xy + (q - p))
            share = tissue.intersection(moved).area
            for k, r in enumerate(radii):
                sums[k] += (math.hypot(*(q - p)) <= r) / share
    pairs = len(first) * (len(first) - 1 if second is None else len(other))
    return [s * tissue.area**2 / pairs for s in sums]


@given(st.integers(0, 10**6), st.booleans())
@settings(max_examples=20)
def test_cross_k_equals_shifting_the_tissue_for_every_pair(seed: int, same: bool) -> None:
    random = np.random.default_rng(seed)
    mask = random.random((6, 7)) < 0.6
    mask[2, 2:4] = True
    tissue = Tissue(mask, (8.0, 8.0), (56.0, 48.0))

    def points(n: int) -> np.ndarray:
        cells = np.argwhere(mask)[random.integers(0, mask.sum(), n)]
        return cells[:, ::-1] * 8 + random.uniform(0.01, 7.99, (n, 2))

    first, second = points(8), None if same else points(6)
    radii = [5.0, 12.0, 30.0, 70.0]
    got = cross_k(first, second, tissue, radii_um=radii)
    np.testing.assert_allclose(got.k_um2, slow_k(first, second, mask, radii), rtol=1e-6)


@given(st.integers(0, 10**6))
@settings(max_examples=10)
def test_order_and_place_change_nothing_and_the_two_kinds_change_sides(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.ones((20, 20), np.bool_)
    mask[:5, 12:] = False
    tissue = Tissue(mask, (8.0, 8.0), (160.0, 160.0))
    a, b = random.uniform(0, 96, (60, 2)), random.uniform(0, 96, (40, 2))
    got = cross_k(a, b, tissue)
    shuffled = cross_k(random.permutation(a), random.permutation(b), tissue)
    assert got.k_um2.tobytes() == shuffled.k_um2.tobytes()
    np.testing.assert_allclose(cross_k(b, a, tissue).k_um2, got.k_um2, rtol=1e-9)
    padded = Tissue(np.pad(mask, ((3, 0), (9, 0))), (8.0, 8.0), (29 * 8.0, 23 * 8.0))
    np.testing.assert_allclose(cross_k(a + [72, 24], b + [72, 24], padded).k_um2, got.k_um2, rtol=1e-9)


def test_poisson_cells_on_irregular_tissue_have_k_of_pi_r_squared() -> None:
    tissue = irregular_tissue(2.0, 2.0, 3)
    even = Pattern(tissue, surface(tissue, "flat", 400.0))
    ratios = []
    for seed in range(30):
        random = np.random.default_rng(seed)
        got = cross_k(even.draw(random), even.draw(random), tissue)
        ratios.append(got.k_um2 / got.poisson_um2)
    mean, error = np.mean(ratios, axis=0), np.std(ratios, axis=0) / np.sqrt(30)
    assert (np.abs(mean - 1) < 3.5 * error + 0.002).all()
    assert error[-1] < 0.02


def test_without_edge_correction_k_would_be_too_small() -> None:
    tissue = irregular_tissue(2.0, 2.0, 3)
    random = np.random.default_rng(0)
    even = Pattern(tissue, surface(tissue, "flat", 600.0))
    a, b = even.draw(random), even.draw(random)
    got = cross_k(a, b, tissue, radii_um=[100.0])
    near = (np.hypot(*(a[:, None] - b).transpose(2, 0, 1)) <= 100).sum()
    plain = near * tissue.area_mm2 * 1e6 / (len(a) * len(b))
    assert plain < 0.95 * got.k_um2[0]
    assert got.k_um2[0] == pytest.approx(got.poisson_um2[0], rel=0.05)


def test_clusters_of_both_kinds_show_and_thinning_keeps_k(monkeypatch: pytest.MonkeyPatch) -> None:
    tissue = irregular_tissue(2.0, 2.0, 3)
    even = surface(tissue, "flat", 1500.0)
    cells = Pattern(tissue, even, 10.0, 15.0).draw(np.random.default_rng(1))
    full = cross_k(cells, None, tissue)
    assert full.k_um2[1] > 2 * full.poisson_um2[1]
    assert not full.thinned
    monkeypatch.setattr(mixing, "MOST_POINTS", len(cells) // 2)
    half = cross_k(cells, None, tissue)
    assert half.thinned
    assert half.n_first == len(cells) // 2
    np.testing.assert_allclose(half.k_um2[1:], full.k_um2[1:], rtol=0.1)
    np.testing.assert_allclose(full.l_um**2 * math.pi, full.k_um2)


def test_too_few_points_have_no_k_but_a_reason() -> None:
    tissue = Tissue(np.ones((9, 9), np.bool_), (8.0, 8.0), (72.0, 72.0))
    one, none = np.array([[4.0, 4.0]]), np.zeros((0, 2))
    for got in (cross_k(one, none, tissue), cross_k(one, None, tissue), cross_k(one, one + 500, tissue)):
        assert np.isnan(got.k_um2).all()
        assert got.reason
    with pytest.raises(ValueError, match="ascend"):
        cross_k(one, one, tissue, radii_um=[5.0, 5.0])
