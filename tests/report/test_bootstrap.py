from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.report.patterns import Pattern, irregular_tissue, surface
from wsiparse.report.stats.bootstrap import (
    BlockBootstrap,
    Blocks,
    block_counts,
    density_interval,
    difference_interval,
    resample,
    share_interval,
)
from wsiparse.report.stats.bootstrap import _remainders as remainders_of
from wsiparse.report.stats.tissue import Tissue

TISSUE = irregular_tissue(3.0, 3.0, 1)


def cells(seed: int, *rates: float, kind: str = "trend") -> tuple[np.ndarray, np.ndarray]:
    """Points and their class, one class a rate."""
    random = np.random.default_rng(seed)
    drawn = [Pattern(TISSUE, surface(TISSUE, kind, rate)).draw(random) for rate in rates]
    return np.concatenate(drawn), np.repeat(np.arange(len(rates)), [len(d) for d in drawn])


def boot(points: np.ndarray, column: np.ndarray, columns: int, tissue: Tissue = TISSUE, **how: int) -> BlockBootstrap:
    blocks = block_counts(points, column, tissue, [tissue], [0] * columns)
    assert blocks is not None
    return resample(blocks, **({"replicates": 199} | how))


def slow_remainders(area: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """A weighted least-squares fit for each block, written out."""
    out = np.zeros(area.shape)
    rate = counts.sum() / area.sum()
    for i, j in np.argwhere(area > 0):
        # the prior: slopes near 0 and a height near the overall density
        rows, rates, weights, areas = [], [], [], []
        for k, m in np.argwhere(area > 0):
            dy, dx = k - i, m - j
            if (dy, dx) != (0, 0) and abs(dy) <= 2 and abs(dx) <= 2:
                rows.append([1, dx, dy, dx * dx, dx * dy, dy * dy])
                rates.append(counts[k, m] / area[k, m])
                weights.append(area[k, m] * math.exp(-(dx * dx + dy * dy) / (2 * 1.6**2)))
                areas.append(area[k, m])
        x, w = np.array(rows, float).reshape(-1, 6), np.array(weights)
        prior = np.diag([1e-6, 0.1, 0.1, 0.1, 0.1, 0.1]) * area.max()
        hat = np.linalg.inv(x.T @ (w[:, None] * x) + prior)
        influence = (hat @ (x.T * w))[0] if len(w) else np.zeros(0)
        fitted = influence @ np.array(rates) + (1 - influence.sum()) * rate
        spread = float((influence**2 / np.array(areas)).sum()) if len(w) else 0.0
        out[i, j] = (counts[i, j] - fitted * area[i, j]) / math.sqrt(1 + area[i, j] * spread)
    return out


@given(st.integers(0, 10**6), st.integers(1, 7), st.integers(1, 7))
@settings(max_examples=40)
def test_remainders_equal_a_fit_written_out_block_by_block(seed: int, h: int, w: int) -> None:
    random = np.random.default_rng(seed)
    area = random.uniform(0.01, 0.06, (h, w)) * (random.random((h, w)) < 0.8)
    counts = random.poisson(300 * area)
    if not area.any():
        return
    got = remainders_of(area[None], counts[None], (0,))[0].reshape(h, w)
    np.testing.assert_allclose(got, slow_remainders(area, counts), atol=1e-6)


def test_a_linear_gradient_leaves_nothing_behind() -> None:
    area = np.full((9, 9), 0.0625)
    y, x = np.indices(area.shape)
    counts = (100 + 40 * x + 20 * y).astype(np.int64)
    inner = remainders_of(area[None], counts[None], (0,))[0].reshape(9, 9)[2:-2, 2:-2]
    # the flat prior keeps a little
    assert np.abs(inner).max() < 0.02 * counts.mean()
    plain = counts - counts.mean()
    assert (inner**2).sum() < 1e-3 * (plain[2:-2, 2:-2] ** 2).sum()


def test_the_estimate_is_the_ratio_of_totals_and_lies_inside() -> None:
    points, column = cells(0, 300.0, 100.0)
    got = boot(points, column, 2)
    area = TISSUE.area_mm2
    n = np.bincount(column)
    density, share = density_interval(got, 0), share_interval(got, 0, [0, 1])
    gap = difference_interval(got, 0, 1)
    assert density.estimate == pytest.approx(n[0] / area, rel=1e-12)
    assert share.estimate == n[0] / n.sum()
    assert gap.estimate == pytest.approx((n[0] - n[1]) / area, rel=1e-9)
    for interval in (density, share, gap):
        assert interval.reason == ""
        assert interval.low is not None
        assert interval.high is not None
        assert interval.low < interval.estimate < interval.high


def test_poisson_cells_get_the_width_theory_gives_them() -> None:
    widths = []
    for seed in range(12):
        points, column = cells(seed, 400.0)
        got = density_interval(boot(points, column, 1, replicates=999), 0)
        assert got.low is not None
        assert got.high is not None
        widths.append(math.log(got.high / got.low) / 2 * math.sqrt(len(points)))
    # half width on the log scale x sqrt(n) = t quantile, here of about 60 blocks; the correction for clusters only adds
    assert 1.9 < float(np.mean(widths)) < 2.4


@given(st.integers(0, 10**6))
@settings(max_examples=15)
def test_the_order_of_cells_changes_no_bit_and_the_seed_decides_all(seed: int) -> None:
    points, column = cells(seed, 100.0, 50.0)
    order = np.random.default_rng(seed).permutation(len(points))
    one, other = boot(points, column, 2, seed=seed), boot(points[order], column[order], 2, seed=seed)
    assert one.deviations.tobytes() == other.deviations.tobytes()
    assert share_interval(one, 0, [0, 1]) == share_interval(other, 0, [1, 0])
    assert boot(points, column, 2, seed=seed + 1).deviations.tobytes() != one.deviations.tobytes()


def test_moving_the_slide_changes_no_interval() -> None:
    points, column = cells(3, 200.0)
    mask = np.pad(TISSUE.mask, ((5, 0), (11, 0)))
    moved = Tissue(mask, TISSUE.cell_um, (mask.shape[1] * 8.0, mask.shape[0] * 8.0))
    before = density_interval(boot(points, column, 1), 0)
    after = density_interval(boot(points + [88.0, 40.0], column, 1, moved), 0)
    assert after.low == pytest.approx(before.low, rel=1e-9)
    assert after.high == pytest.approx(before.high, rel=1e-9)


def test_twice_the_cells_of_every_place_keep_shares_and_double_densities() -> None:
    points, column = cells(4, 200.0, 100.0)
    one, two = boot(points, column, 2), boot(np.repeat(points, 2, 0), np.repeat(column, 2), 2)
    single, double = density_interval(one, 0), density_interval(two, 0)
    assert double.estimate == pytest.approx(2 * single.estimate)
    assert single.low is not None
    assert double.low == pytest.approx(2 * single.low, rel=1e-9)
    share, again = share_interval(one, 1, [0, 1]), share_interval(two, 1, [0, 1])
    assert again.low == pytest.approx(share.low, rel=1e-9)


def test_shares_of_two_classes_mirror_each_other() -> None:
    got = boot(*cells(5, 200.0, 100.0), 2)
    first, second = share_interval(got, 0, [0, 1]), share_interval(got, 1, [0, 1])
    assert first.low is not None
    assert second.high == pytest.approx(1 - first.low, rel=1e-9)


def test_a_difference_turned_round_changes_its_sign() -> None:
    points, _ = cells(6, 300.0)
    left = np.zeros(TISSUE.mask.shape, np.bool_)
    left[:, : TISSUE.mask.shape[1] // 2] = True
    parts = [TISSUE.only(left), TISSUE.only(~left)]
    blocks = block_counts(points, np.where(parts[0].contains(points), 0, 1), TISSUE, parts, [0, 1])
    assert blocks is not None
    got = resample(blocks, replicates=199)
    one, other = difference_interval(got, 0, 1), difference_interval(got, 1, 0)
    assert one.low is not None
    assert other.high == pytest.approx(-one.low, rel=1e-12)
    assert got.total_area_mm2.sum() == pytest.approx(TISSUE.area_mm2)


def test_small_tissue_gets_a_reason_and_no_interval() -> None:
    tissue = Tissue(np.ones((60, 60), np.bool_), (8.0, 8.0), (480.0, 480.0))
    points = np.random.default_rng(0).uniform(0, 480, (80, 2))
    got = density_interval(boot(points, np.zeros(80, int), 1, tissue), 0)
    assert (got.low, got.high) == (None, None)
    assert "too little tissue: 4.0 effective blocks" in got.reason
    assert got.estimate == pytest.approx(80 / 0.48**2)


def test_nothing_found_and_everything_found_have_no_interval_but_a_reason() -> None:
    points, column = cells(7, 100.0)
    got = boot(points, column, 2)
    none = density_interval(got, 1)
    assert none.low is None
    assert f"below {-math.log(0.025) / TISSUE.area_mm2:.3g} per mm2" in none.reason
    assert share_interval(got, 1, [0, 1]).reason == "none found"
    assert share_interval(got, 0, [0, 1]).reason == "all cells are of this class"
    empty = boot(np.zeros((0, 2)), np.zeros(0, int), 2)
    assert math.isnan(share_interval(empty, 0, [0, 1]).estimate)
    assert difference_interval(empty, 0, 1).reason == "none found in either"


def test_no_tissue_gives_no_blocks_and_an_empty_compartment_a_reason() -> None:
    nothing = Tissue(np.zeros((4, 4), np.bool_), (8.0, 8.0), (32.0, 32.0))
    assert block_counts(np.zeros((0, 2)), np.zeros(0, int), nothing, [nothing], [0]) is None
    points, column = cells(8, 100.0)
    empty = TISSUE.only(np.zeros(TISSUE.mask.shape, np.bool_))
    blocks = block_counts(points, column, TISSUE, [TISSUE, empty], [0, 1])
    assert blocks is not None
    got = resample(blocks, replicates=50)
    assert density_interval(got, 1).reason == "no tissue was analysed"
    assert math.isnan(density_interval(got, 1).estimate)
    assert difference_interval(got, 0, 1).low is None


def test_wrong_columns_are_refused() -> None:
    got = boot(*cells(9, 100.0, 100.0), 2)
    with pytest.raises(ValueError, match="not among"):
        share_interval(got, 0, [1])
    with pytest.raises(ValueError, match="one compartment"):
        share_interval(replace(got, compartment=(0, 1), total_area_mm2=np.ones(2)), 0, [0, 1])
    with pytest.raises(ValueError, match="compartments"):
        block_counts(np.zeros((0, 2)), np.zeros(0, int), TISSUE, [TISSUE], [1])
    blocks = block_counts(np.zeros((0, 2)), np.zeros(0, int), TISSUE, [TISSUE], [0])
    assert blocks is not None
    with pytest.raises(ValueError, match="level"):
        resample(blocks, level=1.0)


def coverage_of(pattern: Pattern, replicates: int, *, plain: bool = False) -> float:
    """Share of intervals that hold the truth; `plain` without the surface and the correction for clusters."""
    truth, random, held = pattern.mean_intensity(), np.random.default_rng(11), 0
    for k in range(replicates):
        points = pattern.draw(random)
        blocks = block_counts(points, np.zeros(len(points), int), pattern.tissue, [pattern.tissue], [0])
        assert blocks is not None
        made = resample(blocks, seed=k, replicates=199)
        if plain:
            made = without_surface(made, blocks)
        got = density_interval(made, 0)
        assert got.low is not None
        assert got.high is not None
        held += got.low <= truth <= got.high
    return held / replicates


def without_surface(made: BlockBootstrap, blocks: Blocks) -> BlockBootstrap:
    area, n = blocks.area_mm2[0].ravel(), blocks.counts[0].ravel()
    area, n = area[area > 0], n[area > 0]
    plain = n - n.sum() / area.sum() * area
    draws = np.random.default_rng(0).integers(0, len(n), (199, len(n)))
    deviations = plain[draws].sum(axis=1) / area[draws].sum(axis=1)
    return replace(made, remainders=plain[None], half_remainders=plain[None], deviations=deviations[:, None])


PIECE = irregular_tissue(3.6, 3.6, 2)


@pytest.mark.parametrize(
    ("kind", "rate", "per_cluster", "sigma"),
    [("trend", 300.0, 0.0, 0.0), ("flat", 600.0, 8.0, 25.0), ("trend", 600.0, 8.0, 25.0)],
    ids=["Poisson with a gradient", "Thomas", "Thomas with a gradient"],
)
def test_intervals_hold_the_truth_about_as_often_as_they_say(kind, rate, per_cluster, sigma) -> None:
    pattern = Pattern(PIECE, surface(PIECE, kind, rate), per_cluster, sigma)
    # 160 replicates of 95 %: sd 1.7 %; 90 % and 100 % lie outside
    assert 0.905 < coverage_of(pattern, 160) < 0.994


def test_plain_blocks_would_fail_where_density_changes_over_the_tissue() -> None:
    pattern = Pattern(PIECE, surface(PIECE, "trend", 300.0))
    assert coverage_of(pattern, 60, plain=True) == 1.0


def test_the_estimate_is_unbiased_on_clusters_and_gradients() -> None:
    pattern = Pattern(PIECE, surface(PIECE, "trend", 600.0), 8.0, 25.0)
    random = np.random.default_rng(5)
    counts = [len(pattern.draw(random)) for _ in range(400)]
    bias = np.mean(counts) / PIECE.area_mm2 / pattern.mean_intensity() - 1
    assert abs(bias) < 0.01
