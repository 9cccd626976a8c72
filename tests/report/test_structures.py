"""Aggregates, nearest neighbours with edge correction, density by distance: painted truth and other ways there."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from tests.report.patterns import Pattern, irregular_tissue, surface
from wsiparse.report.stats.aggregates import CANDIDATE_MM2, LEAST_MM2, aggregates
from wsiparse.report.stats.compartments import region_compartments
from wsiparse.report.stats.nearest import by_distance, nearest_function
from wsiparse.report.stats.panel import border_distance
from wsiparse.report.stats.rows import IntervalSettings
from wsiparse.report.stats.tissue import Tissue

NOBODY = np.zeros((0, 2))


def square(mm: float) -> Tissue:
    n = round(mm * 125)
    return Tissue(np.ones((n, n), np.bool_), (8.0, 8.0), (mm * 1000, mm * 1000))


def strewn(random: np.random.Generator, per_mm2: float, mm: float) -> np.ndarray:
    return random.uniform(0, mm * 1000, (random.poisson(per_mm2 * mm * mm), 2))


#: Centre, radius and density of painted aggregates; the last two are none: too small, too thin.
PAINTED = (((800, 900), 200.0, 10000.0), ((2600, 700), 140.0, 10000.0), ((1500, 2500), 90.0, 11000.0),
           ((3300, 3300), 30.0, 12000.0), ((3200, 1900), 200.0, 2500.0))  # fmt: skip


def painted(random: np.random.Generator) -> np.ndarray:
    cells = [strewn(random, 300, 4.0)]
    for centre, radius, per_mm2 in PAINTED:
        n = random.poisson(per_mm2 * math.pi * radius**2 * 1e-6)
        angle, r = random.uniform(0, 2 * math.pi, n), radius * np.sqrt(random.uniform(0, 1, n))
        cells.append(np.array(centre) + np.stack([r * np.cos(angle), r * np.sin(angle)], 1))
    return np.concatenate(cells)


@pytest.mark.parametrize("seed", range(5))
def test_painted_aggregates_are_found_with_their_place_size_and_number(seed: int) -> None:
    tissue, um = square(4.0), painted(np.random.default_rng(seed))
    tumour = np.array([[800.0, 1400.0], [2600.0, 1200.0]])
    found = aggregates(um, tumour, tissue)
    assert len(found.found) == 3
    xs, ys = tissue.centres_um()
    for k, (one, (centre, radius, per_mm2)) in enumerate(zip(found.found, PAINTED, strict=False)):
        truth = np.hypot(xs[None] - centre[0], ys[:, None] - centre[1]) < radius
        own = found.labels == k + 1
        assert (truth & own).sum() / (truth | own).sum() > 0.8
        assert one.mm2 == pytest.approx(own.sum() * 64e-6)
        assert one.mm2 == pytest.approx(math.pi * radius**2 * 1e-6, rel=0.15)
        assert one.per_mm2 == pytest.approx(per_mm2, rel=0.12)
        assert np.hypot(one.centre_um[0] - centre[0], one.centre_um[1] - centre[1]) < 12
        (y,), (x,) = tissue.cell_of(np.array([one.deepest_um]))
        assert own[y, x]
        assert np.hypot(one.deepest_um[0] - centre[0], one.deepest_um[1] - centre[1]) < radius / 2
        row, column = tissue.cell_of(um)
        inside = um[own[row, column]]
        assert one.n == len(inside)
        assert one.apart_um == pytest.approx(cdist(inside, tumour).min())
        assert one.candidate == (one.mm2 >= CANDIDATE_MM2)
    assert [one.candidate for one in found.found] == [True, True, False]
    assert all(one.mm2 >= LEAST_MM2 for one in found.found)


def test_cells_strewn_at_random_are_no_aggregate_and_order_changes_nothing() -> None:
    random, tissue = np.random.default_rng(9), square(4.0)
    assert aggregates(strewn(random, 2500, 4.0), NOBODY, tissue).found == ()
    assert aggregates(NOBODY, NOBODY, tissue).found == ()
    um = painted(random)
    assert aggregates(um, NOBODY, tissue).found == aggregates(random.permutation(um), NOBODY, tissue).found
    assert aggregates(um, NOBODY, tissue).found[0].apart_um is None


def test_an_aggregate_at_the_edge_of_tissue_is_found_whole() -> None:
    random = np.random.default_rng(3)
    mask = np.ones((250, 250), np.bool_)
    mask[:, 125:] = False
    tissue = Tissue(mask, (8.0, 8.0), (2000.0, 2000.0))
    dense = random.uniform((800, 500), (1000, 900), (800, 2))
    found = aggregates(dense, NOBODY, tissue).found
    assert len(found) == 1
    assert found[0].mm2 == pytest.approx(0.08, rel=0.15)


def brute_force(first: np.ndarray, second: np.ndarray, tissue: Tissue, radius: float) -> float:
    """Kaplan-Meier from its definition, step by step, on a tissue that is a rectangle."""
    w, h = tissue.slide_um
    apart = cdist(first, second).min(axis=1)
    edge = np.minimum.reduce([first[:, 0], first[:, 1], w - first[:, 0], h - first[:, 1]])
    survival = 1.0
    for step in np.unique(apart[(apart <= edge) & (apart <= radius)]):
        at_risk = (np.minimum(apart, edge) >= step).sum()
        survival *= 1 - ((apart == step) & (apart <= edge)).sum() / at_risk
    return 1 - survival


def test_the_nearest_neighbour_function_is_kaplan_meiers() -> None:
    random, tissue = np.random.default_rng(2), square(0.4)
    first, second = random.uniform(0, 400, (60, 2)), random.uniform(0, 400, (25, 2))
    found = nearest_function(first, second, tissue)
    for r, share in zip(found.radius_um, found.share, strict=True):
        assert share == pytest.approx(brute_force(first, second, tissue, r), abs=1e-9), r
    apart = cdist(first, second).min(axis=1)
    edge = np.minimum.reduce([first[:, 0], first[:, 1], 400 - first[:, 0], 400 - first[:, 1]])
    assert found.censored == (apart > edge).sum()


def test_the_correction_takes_the_edges_bias_away() -> None:
    """Small ragged tissue cut out of cells that go on beyond it: the truth is that of cells without an edge."""
    tissue = irregular_tissue(0.9, 0.7, 4)
    random = np.random.default_rng(5)
    corrected, plain = [], []
    for _ in range(60):
        first, second = (strewn(random, n, 0.9) for n in (400, 250))
        first, second = first[tissue.contains(first)], second[tissue.contains(second)]
        found = nearest_function(first, second, tissue, radii_um=(20.0, 40.0))
        corrected.append(found.share)
        apart = cdist(first, second).min(axis=1)
        plain.append([(apart <= r).mean() for r in (20, 40)])
    truth = 1 - np.exp(-250e-6 * math.pi * np.array([20.0, 40.0]) ** 2)
    assert np.mean(corrected, axis=0) == pytest.approx(truth, abs=0.03)
    assert (truth - np.mean(plain, axis=0) > 0.02).any()
    assert nearest_function(NOBODY, second, tissue).reason


def test_density_by_distance_is_counted_by_hand_and_its_intervals_cover_the_truth() -> None:
    tissue = irregular_tissue(6.4, 5.6, 7)
    import shapely

    tumour = shapely.box(0, 0, 3200, 5600)
    parts = region_compartments([("Tumor", tumour)], tissue, tumour=["Tumor"])
    where = border_distance(parts, tissue)
    pattern = Pattern(tissue, surface(tissue, "flat", 500.0), 6, 20.0)
    truth, random = pattern.mean_intensity(), np.random.default_rng(4)
    settings = IntervalSettings(replicates=200)
    held, total = 0, 0
    for k in range(60):
        um = pattern.draw(random)
        bands = by_distance(um, where, tissue, settings)
        assert len(bands) == 10
        if not k:
            x = um[:, 0] - 3200
            for one in bands[2:8]:
                low, high = one["from_um"], one["to_um"]
                near = ((x > low + 8) & (x < high - 8)).sum(), ((x > low - 8) & (x < high + 8)).sum()
                assert near[0] <= one["n"] <= near[1]
                assert one["per_mm2"] == pytest.approx(one["n"] / one["mm2"])
        for one in bands:
            if one["low"] is not None:
                held += one["low"] <= truth <= one["high"]
                total += 1
    assert total > 200
    assert 0.92 <= held / total <= 0.98
