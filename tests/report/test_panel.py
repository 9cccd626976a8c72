"""The panel of immune cells: painted slides with known numbers, other ways to them, coverage of intervals."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import shapely
from scipy.spatial import cKDTree

from tests.report.patterns import Pattern, irregular_tissue, surface
from wsiparse.report.stats.bootstrap import density_interval, resample, share_interval
from wsiparse.report.stats.compartments import Compartments, region_compartments
from wsiparse.report.stats.hot_average import hot_average
from wsiparse.report.stats.marked import Marks, area_blocks, marked_blocks
from wsiparse.report.stats.panel import Infiltrated, border_distance, covered_um2, panel_of
from wsiparse.report.stats.rows import IntervalSettings
from wsiparse.report.stats.tissue import Tissue

FEW = IntervalSettings(replicates=300)


def square(mm: float) -> Tissue:
    n = round(mm * 125)
    return Tissue(np.ones((n, n), np.bool_), (8.0, 8.0), (mm * 1000, mm * 1000))


def halves(tissue: Tissue, x: float = 2000.0) -> Compartments:
    """Tumour left of x, stroma right of it."""
    w, h = tissue.slide_um
    regions = [("Tumor", shapely.box(0, 0, x, h)), ("Stroma", shapely.box(x, 0, w, h))]
    return region_compartments(regions, tissue, tumour=["Tumor"], stroma=["Stroma"])


def panel(um: np.ndarray, area: np.ndarray, parts: Compartments, tissue: Tissue, **more: str) -> dict[str, dict]:
    found = Infiltrated(um, area, parts, tissue, **more)
    return {row["key"]: row for row in panel_of(found, FEW)}


def test_a_painted_slide_has_the_numbers_it_was_painted_with() -> None:
    tissue = square(4.0)
    random = np.random.default_rng(1)
    # cells on a grid of 40 um in stroma, of 80 um in tumour: none touches another
    right = np.stack(np.meshgrid(np.arange(2020, 4000, 40.0), np.arange(20, 4000, 40.0)), -1).reshape(-1, 2)
    left = np.stack(np.meshgrid(np.arange(40, 2000, 80.0), np.arange(40, 4000, 80.0)), -1).reshape(-1, 2)
    um = np.concatenate([left, right])
    area = random.uniform(20, 40, len(um))
    found = panel(um, area, halves(tissue), tissue)
    in_stroma = area[len(left) :]
    assert found["stil_nuclei"]["estimate"] == pytest.approx(100 * in_stroma.sum() / 8e6, rel=1e-6)
    discs = math.pi * (np.sqrt(in_stroma / math.pi) + 1) ** 2
    assert found["stil_cells"]["estimate"] == pytest.approx(100 * discs.sum() / 8e6, rel=1e-6)
    assert found["itil"]["estimate"] == pytest.approx(len(left) / 8)
    assert found["ratio"]["estimate"] == pytest.approx(50.0)
    # whole cells of the overview: 63 columns of 8 um on either side
    assert found["margin_inside"]["estimate"] == pytest.approx(len(left[left[:, 0] > 2000 - 504]) / (0.504 * 4))
    assert found["margin_outside"]["estimate"] == pytest.approx(len(right[right[:, 0] < 2000 + 504]) / (0.504 * 4))
    # the densest tenth is stroma, with 625 per mm2; the more of a grid is in one half the fewer in the other: too low
    assert 400 < found["hot_average"]["estimate"] < 630
    assert found["hot_times"]["estimate"] == pytest.approx(found["hot_average"]["estimate"] / (len(um) / 16))
    assert found["hot_times"]["low"] is None
    for key in ("stil_nuclei", "stil_cells", "itil"):
        assert found[key]["low"] < found[key]["estimate"] < found[key]["high"], key
    assert "20 are needed" in found["ratio"]["note"], "16 blocks of 1 mm"
    assert "Invasive margin" in found["margin_inside"]["name"]
    assert "iTIL" in found["itil"]["name"]


def test_words_are_those_of_epithelium_until_somebody_says_tumour() -> None:
    tissue = square(2.0)
    um = np.random.default_rng(2).uniform(0, 2000, (50, 2))
    rows = panel_of(Infiltrated(um, np.full(50, 30.0), halves(tissue, 1000.0), tissue, "epithelium"), FEW)
    text = " ".join(str(value) for row in rows for value in row.values())
    assert "umour" not in text
    assert "nvasive" not in text
    assert "iTIL" not in text


def test_what_cannot_be_known_is_absent_with_its_reason() -> None:
    tissue = square(2.0)
    everything = region_compartments([("Other", shapely.box(0, 0, 2000, 2000))], tissue)
    um = np.random.default_rng(2).uniform(0, 2000, (50, 2))
    found = panel(um, np.full(50, 30.0), everything, tissue)
    for key in ("stil_nuclei", "stil_cells", "itil", "margin_inside", "margin_outside", "ratio"):
        assert found[key]["estimate"] is None, key
        assert found[key]["note"], key
    assert found["hot_average"]["estimate"] is not None
    nobody = panel(np.zeros((0, 2)), np.zeros(0), halves(tissue, 1000.0), tissue)
    assert nobody["stil_nuclei"]["estimate"] == 0
    assert nobody["stil_nuclei"]["note"] == "none found"
    assert nobody["itil"]["estimate"] == 0
    assert "none found" in nobody["itil"]["note"]
    assert nobody["hot_times"]["estimate"] is None


def test_points_without_an_area_have_no_percentage() -> None:
    tissue = square(2.0)
    um = np.random.default_rng(2).uniform(0, 2000, (50, 2))
    found = panel(um, np.zeros(50), halves(tissue, 1000.0), tissue)
    assert found["stil_nuclei"]["estimate"] is None
    assert found["stil_cells"]["note"] == "cells are points without an area"
    assert found["itil"]["estimate"] is not None


def test_the_order_of_cells_changes_nothing() -> None:
    tissue = square(3.0)
    random = np.random.default_rng(4)
    um, area = random.uniform(0, 3000, (3000, 2)), random.uniform(15, 60, 3000)
    shuffled = random.permutation(3000)
    parts = halves(tissue, 1400.0)
    assert panel(um, area, parts, tissue) == panel(um[shuffled], area[shuffled], parts, tissue)


@pytest.mark.parametrize("per_mm2", [500, 4000])
def test_cytoplasm_is_the_union_of_discs(per_mm2: int) -> None:
    random = np.random.default_rng(per_mm2)
    um = random.uniform(0, 700, (per_mm2 // 2, 2))
    # nuclei do not overlap: take out those that would
    area = random.uniform(15, 45, len(um))
    radius = np.sqrt(area / math.pi)
    near = cKDTree(um).query_pairs(8.0)
    gone = {j for i, j in near if np.hypot(*(um[i] - um[j])) < radius[i] + radius[j]}
    kept = [k for k in range(len(um)) if k not in gone]
    um, area, radius = um[kept], area[kept], radius[kept]
    discs = shapely.buffer(shapely.points(um), radius + 1, quad_segs=64)
    union = shapely.union_all(discs).area
    assert covered_um2(um, area).sum() == pytest.approx(union, rel=2e-3)
    assert (covered_um2(um, area) >= area - 1e-9).all()


def test_two_discs_share_their_lens() -> None:
    um = np.array([[0.0, 0.0], [5.0, 0.0], [100.0, 0.0], [100.0, 0.0]])
    area = np.pi * np.array([3.0, 2.5, 4.0, 2.0]) ** 2
    found = covered_um2(um, area, rim_um=1.0)
    discs = [shapely.Point(p).buffer(r + 1, quad_segs=2048) for p, r in zip(um, (3.0, 2.5, 4.0, 2.0), strict=True)]
    assert found[0] + found[1] == pytest.approx(discs[0].union(discs[1]).area, rel=1e-5)
    # one disc in the other: half each of the small one, but no nucleus less than itself
    assert found[2] == pytest.approx(math.pi * 25 - math.pi * 9 / 2)
    assert found[3] == pytest.approx(math.pi * 9 / 2)


def test_the_distance_to_the_border_is_that_of_the_polygons() -> None:
    tissue = irregular_tissue(3.0, 2.4, 3)
    tumour = shapely.Point(1500, 1200).buffer(600)
    parts = region_compartments([("Tumor", tumour)], tissue, tumour=["Tumor"])
    found = border_distance(parts, tissue)
    xs, ys = tissue.centres_um()
    rows, columns = np.nonzero(tissue.mask)
    points = shapely.points(xs[columns], ys[rows])
    inside = tumour.intersection(shapely.union_all(tissue.mask_polygons))
    outside = shapely.union_all(tissue.mask_polygons).difference(tumour)
    truth = np.where(
        shapely.contains_xy(tumour, xs[columns], ys[rows]),
        -shapely.distance(points, outside),
        shapely.distance(points, inside),
    )
    assert np.abs(found[rows, columns] - truth).max() < 4.5, "half a cell"
    assert np.isnan(found[~tissue.mask]).all()


@cache
def wide() -> Tissue:
    return irregular_tissue(6.4, 5.6, 7)


@pytest.mark.parametrize("clusters", [0, 8])
def test_the_intervals_of_occupied_stroma_and_of_the_margin_cover_the_truth(clusters: int) -> None:
    """Areas of blocks once, sums of every replicate by NumPy's histogram."""
    tissue = wide()
    where = border_distance(halves(tissue, 3200.0), tissue)
    zones = [where > 0, (where < 0) & (where >= -500), (where > 0) & (where <= 500)]
    nobody = Marks(np.zeros((0, 2)), None, 0)
    base = marked_blocks(
        tissue, [tissue.only(z) for z in zones], [replace(nobody, part=k) for k in (0, 0, 1, 2)], 250.0
    )
    pattern = Pattern(tissue, surface(tissue, "flat", 400.0), clusters, 20.0)
    per_mm2, random = pattern.mean_intensity(), np.random.default_rng(clusters)
    found = []
    for _ in range(400):
        um = pattern.draw(random)
        area = random.lognormal(3.4, 0.3, len(um))
        in_zone = [zone[tissue.cell_of(um)] for zone in zones]
        stroma = in_zone[0]
        covered = np.zeros(len(um))
        covered[stroma] = covered_um2(um[stroma], area[stroma])
        weights = [np.rint(area * 1000) * stroma, np.rint(covered * 1000), *in_zone[1:]]
        sums = []
        for size, shape in ((250.0, base.counts.shape[1:]), (125.0, base.half_counts.shape[1:])):
            x0, y0, *_ = tissue.bounds_um
            lines = [start + size * np.arange(n + 1) for start, n in zip((y0, x0), shape, strict=True)]
            sums.append([np.histogram2d(um[:, 1], um[:, 0], lines, weights=w)[0].astype(np.int64) for w in weights])
        boot = resample(replace(base, counts=np.stack(sums[0]), half_counts=np.stack(sums[1])), replicates=200)
        found.append([density_interval(boot, k) for k in range(4)])
    nucleus = math.exp(3.4 + 0.3**2 / 2) * 1000
    truth = [per_mm2 * nucleus, float(np.mean([own[1].estimate for own in found])), per_mm2, per_mm2]
    held = np.array([[one.low <= mean <= one.high for one, mean in zip(own, truth, strict=True)] for own in found])
    assert np.mean([own[0].estimate for own in found]) == pytest.approx(truth[0], rel=0.02)
    for name, share in zip(("nuclei", "cells", "margin"), (held[:, 0], held[:, 1], held[:, 2:]), strict=True):
        assert 0.92 <= share.mean() <= 0.98, name


def test_the_interval_of_the_hot_spot_average_covers_the_truth_and_choosing_does_not_raise_it() -> None:
    tissue = wide()
    field = surface(tissue, "hot", 300.0)
    pattern = Pattern(tissue, field)
    random = np.random.default_rng(11)
    held, ratio, naive = [], [], []
    for _ in range(200):
        um = pattern.draw(random)
        found = hot_average(um, tissue, IntervalSettings(seed=int(random.integers(1 << 30)), replicates=300))
        big = np.kron(found.hot, np.ones((25, 25), np.bool_))
        y0, x0 = (int(v // 8) for v in tissue.bounds_um[1::-1])
        hot = np.zeros_like(tissue.mask)
        h, w = hot.shape
        hot[y0:, x0:] = big[: h - y0, : w - x0]
        truth = field[hot & tissue.mask].mean()
        held.append(found.interval.low <= truth <= found.interval.high)
        ratio.append(found.interval.estimate / truth)
        row, column = tissue.cell_of(um)
        naive.append(hot[row, column].sum() / (hot & tissue.mask).sum() / 64e-6 / truth)
    assert 0.92 <= np.mean(held) <= 0.985
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.01)
    assert np.mean(naive) > 1.01, "the densest squares' own count is too high"


def test_the_interval_of_the_tumour_stroma_ratio_covers_the_truth() -> None:
    """Nests of 0.1 mm strewn at random: the share of stroma is exp(-density of nests x area of a nest)."""
    tissue = Tissue(np.ones((360, 360), np.bool_), (25.0, 25.0), (9000.0, 9000.0))
    radius, per_mm2 = 100.0, 22.0
    truth = math.exp(-per_mm2 * math.pi * 0.1**2)
    random = np.random.default_rng(5)
    xs, ys = tissue.centres_um()
    grid = np.stack(np.meshgrid(xs, ys), -1).reshape(-1, 2)
    held, estimates = [], []
    for _ in range(200):
        centres = random.uniform(-radius, 9000 + radius, (random.poisson(per_mm2 * (9 + 0.2) ** 2), 2))
        nests = (cKDTree(centres).query(grid, distance_upper_bound=radius)[0] < radius).reshape(tissue.mask.shape)
        blocks = area_blocks(tissue, [tissue.only(nests), tissue.only(~nests)], 1000.0)
        found = share_interval(resample(blocks, replicates=300), 1, [0, 1])
        held.append(found.low <= truth <= found.high)
        estimates.append(found.estimate)
    assert 0.92 <= np.mean(held) <= 0.985
    assert np.mean(estimates) == pytest.approx(truth, rel=0.01)
