"""How often the report's intervals hold the truth, and how well compartments are recovered, by simulation.

    python -m tests.benchmarks.run_coverage                    everything, 1000 replicates, minutes
    python -m tests.benchmarks.run_coverage --replicates 500 --only density

density        cells of known intensity on irregular tissue. Printed per pattern: coverage of the 95 % interval, its
               mean width, bias of the estimate and its Monte Carlo error, and what other ways would have covered:
               percentiles of the same replicates, and blocks without the surface and the cluster correction ("plain").
statistics     shares of classes and differences of compartments.
size           smaller and smaller tissue, below the fewest blocks included.
compartments   area IoU of tumour, and the areas of margin bands, against the known border.
hotspots       how often a slide without hot spots is given one (false discovery rate 5 %).
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from scipy import stats

from tests.report.patterns import Floats, Pattern, irregular_tissue, surface, tumour_truth, two_densities
from wsiparse.report.stats.bootstrap import (
    LEAST_BLOCKS,
    BlockBootstrap,
    Blocks,
    block_counts,
    density_interval,
    difference_interval,
    resample,
    share_interval,
)
from wsiparse.report.stats.borders import distance_to, mask_border
from wsiparse.report.stats.cell_compartments import auto_compartments
from wsiparse.report.stats.density import density_grid
from wsiparse.report.stats.hotspots import hot_spots
from wsiparse.report.stats.tissue import Tissue

#: name: surface, cells per mm2, cells per cluster, sd of a cluster in um
PATTERNS = {
    "Poisson, even": ("flat", 300.0, 0.0, 0.0),
    "Poisson, gradient": ("trend", 300.0, 0.0, 0.0),
    "Poisson, foci": ("hot", 300.0, 0.0, 0.0),
    "Poisson, rare": ("flat", 10.0, 0.0, 0.0),
    "Thomas 8 x 25 um, even": ("flat", 600.0, 8.0, 25.0),
    "Thomas 8 x 25 um, gradient": ("trend", 600.0, 8.0, 25.0),
    "Thomas 8 x 25 um, foci": ("hot", 600.0, 8.0, 25.0),
    "Thomas 20 x 30 um, even": ("flat", 600.0, 20.0, 30.0),
}
#: name: size in mm, seed
TISSUES = {"6 mm2": (4.0, 4.0, 2), "30 mm2": (8.0, 8.0, 3)}


def one(points: Floats, tissue: Tissue, block_um: float) -> Blocks:
    blocks = block_counts(points, np.zeros(len(points), np.int64), tissue, [tissue], [0], block_um=block_um)
    assert blocks is not None
    return blocks


def plain_interval(blocks: Blocks) -> tuple[float, float]:
    """Blocks as they are: normal theory on the log scale, no surface, no cluster correction."""
    a, n = blocks.area_mm2[0].ravel(), blocks.counts[0].ravel()
    a, n = a[a > 0], n[a > 0]
    rate = n.sum() / a.sum()
    error = math.sqrt(((n - rate * a) ** 2).sum()) / a.sum() / rate
    reach = float(stats.t.ppf(0.975, a.sum() ** 2 / (a**2).sum() - 1)) * error
    return rate * math.exp(-reach), rate * math.exp(reach)


def percentile_interval(boot: BlockBootstrap, estimate: float, factor: float) -> tuple[float, float]:
    low, high = estimate + factor * np.quantile(boot.deviations[:, 0], (0.025, 0.975))
    return float(low), float(high)


def density(replicates: int, block_um: float) -> None:
    for extent in TISSUES.values():
        tissue = irregular_tissue(*extent)
        for name, (kind, rate, per_cluster, sigma) in PATTERNS.items():
            pattern = Pattern(tissue, surface(tissue, kind, rate), per_cluster, sigma)
            truth = pattern.mean_intensity()
            random = np.random.default_rng(1)
            held: dict[str, list[bool]] = {"interval": [], "percentile": [], "plain": []}
            estimates, widths, none = [], [], 0
            for k in range(replicates):
                blocks = one(pattern.draw(random), tissue, block_um)
                boot = resample(blocks, seed=k, replicates=999)
                got = density_interval(boot, 0)
                estimates.append(got.estimate)
                if got.low is None or got.high is None:
                    none += 1
                    continue
                widths.append((got.high - got.low) / truth)
                others = percentile_interval(boot, got.estimate, got.cluster_factor), plain_interval(blocks)
                for way, (low, high) in zip(held, ((got.low, got.high), *others), strict=True):
                    held[way].append(low <= truth <= high)
            bias = np.mean(estimates) / truth - 1
            error = np.std(estimates) / truth / math.sqrt(replicates)
            cover = "  ".join(f"{way} {100 * np.mean(v):5.1f} %" for way, v in held.items())
            print(
                f"{tissue.area_mm2:5.1f} mm2, {got.effective_blocks:4.0f} blocks  {name:27s} {cover}  "
                f"width {np.mean(widths):.2f}  bias {100 * bias:+.2f} +- {100 * error:.2f} %  none {none}",
                flush=True,
            )


def statistics(replicates: int, block_um: float) -> None:
    """Shares of two clustered classes, and the difference of one class between two compartments, with gradients."""
    tissue = irregular_tissue(*TISSUES["6 mm2"])
    xs, ys = tissue.centres_um()
    left = np.broadcast_to(xs < 0.55 * tissue.slide_um[0] + 200 * np.sin(ys[:, None] / 300), tissue.mask.shape)
    parts = [tissue.only(left), tissue.only(~left)]
    for name, sigma, clusters in (("Poisson", 0.0, 0.0), ("Thomas 8 x 25 um", 25.0, 8.0)):
        for kind in ("flat", "trend"):
            first = Pattern(tissue, surface(tissue, kind, 500.0), clusters, sigma)
            second = Pattern(tissue, surface(tissue, "flat", 300.0), clusters, sigma)
            means = [p.mean_intensity() for p in (first, second)]
            share = means[0] / sum(means)
            inner = [Pattern(part, first.intensity, clusters, sigma).mean_intensity() for part in parts]
            random = np.random.default_rng(2)
            held: dict[str, list[bool]] = {"share": [], "difference": []}
            shares, gaps = [], []
            for k in range(replicates):
                a, b = first.draw(random), second.draw(random)
                points = np.concatenate([a, b])
                columns = np.repeat([0, 1], [len(a), len(b)])
                blocks = block_counts(points, columns, tissue, [tissue], [0, 0], block_um=block_um)
                assert blocks is not None
                got = share_interval(resample(blocks, seed=k, replicates=999), 0, [0, 1])
                assert got.low is not None
                assert got.high is not None
                held["share"].append(got.low <= share <= got.high)
                shares.append(got.estimate)
                blocks = block_counts(a, (~parts[0].contains(a)).astype(int), tissue, parts, [0, 1], block_um=block_um)
                assert blocks is not None
                got = difference_interval(resample(blocks, seed=k, replicates=999), 0, 1)
                assert got.low is not None
                assert got.high is not None
                held["difference"].append(got.low <= inner[0] - inner[1] <= got.high)
                gaps.append(got.estimate)
            cover = "  ".join(f"{way} {100 * np.mean(v):5.1f} %" for way, v in held.items())
            bias = np.mean(shares) / share - 1
            off = (np.mean(gaps) - inner[0] + inner[1]) / means[0]
            print(
                f"{name:17s} {kind:6s} {cover}  bias of share {100 * bias:+.2f} %, "
                f"of difference {100 * off:+.2f} % of the density",
                flush=True,
            )


def size(replicates: int, block_um: float) -> None:
    for edge in (1.6, 2.0, 2.4, 2.8, 3.2):
        tissue = irregular_tissue(edge, edge, 5)
        for name in ("Poisson, even", "Poisson, gradient", "Thomas 8 x 25 um, even"):
            kind, rate, per_cluster, sigma = PATTERNS[name]
            pattern = Pattern(tissue, surface(tissue, kind, rate), per_cluster, sigma)
            truth = pattern.mean_intensity()
            random, held = np.random.default_rng(3), []
            reason = ""
            for k in range(replicates):
                got = density_interval(resample(one(pattern.draw(random), tissue, block_um), seed=k, replicates=999), 0)
                reason = got.reason
                if got.low is not None and got.high is not None:
                    held.append(got.low <= truth <= got.high)
            said = f"{100 * np.mean(held):5.1f} %" if held else f"no interval ({reason})"
            print(f"{tissue.area_mm2:5.2f} mm2, {got.effective_blocks:4.1f} blocks  {name:27s} {said}", flush=True)


#: name: tumour cells inside and outside, connective cells inside and outside, per mm2
DENSITIES = {
    "dense": ((3000.0, 100.0), (300.0, 1500.0)),
    "loose": ((2000.0, 200.0), (400.0, 800.0)),
    "sparse stroma": ((3000.0, 100.0), (100.0, 100.0)),
    "pale": ((1200.0, 50.0), (200.0, 300.0)),
}


def compartments(replicates: int, _: float) -> None:
    tissue = irregular_tissue(3.6, 3.6, 7)
    for shape in ("lobed", "round", "nests"):
        truth = tumour_truth(tissue, shape)
        xs, ys = tissue.centres_um()
        rows, columns = np.nonzero(tissue.mask & ~truth)
        border = mask_border(truth, tissue.cell_um)
        away = distance_to(np.stack([xs[columns], ys[rows]], 1), border)
        cell = tissue.cell_um[0] * tissue.cell_um[1] * 1e-6
        bands = [cell * int(((away > a) & (away <= b)).sum()) for a, b in ((0, 100), (100, 500))]
        for name, (of_tumour, of_connective) in DENSITIES.items():
            iou, widths, offs, failed = [], set(), [], 0
            for k in range(min(replicates, 50)):
                t = two_densities(tissue, truth, of_tumour, 2 * k)
                c = two_densities(tissue, truth, of_connective, 2 * k + 1)
                got = auto_compartments(t, c, tissue)
                assert got is not None
                if len(got.names) == 1:
                    failed += 1
                    continue
                found = got.labels == 1
                iou.append((found & truth).sum() / (found | truth).sum())
                widths.add(got.parameters["bandwidth_um"])
                offs.append([got.area_mm2[i + 1] / bands[i] - 1 for i in range(2)])
            said = "none found"
            if iou:
                off = np.mean(offs, axis=0) * 100
                said = (
                    f"IoU mean {np.mean(iou):.3f} least {np.min(iou):.3f}  bandwidth {sorted(widths)} um  "
                    f"margin areas {off[0]:+.1f} %, {off[1]:+.1f} %"
                )
            print(f"{shape:6s} {name:14s} {said}  not found {failed}", flush=True)
    mixed, outside = 0, np.zeros(tissue.mask.shape, np.bool_)
    for k in range(min(replicates, 50)):
        t, c = (two_densities(tissue, outside, (0.0, rate), 1000 + 2 * k + i) for i, rate in enumerate((1500.0, 800.0)))
        got = auto_compartments(t, c, tissue)
        assert got is not None
        mixed += len(got.names) > 1
    print(f"no border at all (1500 tumour, 800 connective cells per mm2, mixed): found in {mixed}", flush=True)


def hotspots(replicates: int, _: float) -> None:
    tissue = irregular_tissue(*TISSUES["6 mm2"])
    for rate in (50.0, 300.0, 2000.0):
        pattern = Pattern(tissue, surface(tissue, "flat", rate))
        random, hits, squares = np.random.default_rng(4), 0, 0
        for _k in range(replicates):
            points = pattern.draw(random)
            grid = density_grid(points, np.zeros(len(points), np.int64), 1, tissue, 200.0)
            assert grid is not None
            found = hot_spots(grid, 0)
            hits += bool(found.hot.any())
            squares += int(found.hot.sum())
        print(
            f"{rate:6.0f} per mm2: {100 * hits / replicates:.1f} % of slides with a false hot spot "
            f"({squares / replicates:.3f} squares a slide)",
            flush=True,
        )


PARTS = {
    "density": density,
    "statistics": statistics,
    "size": size,
    "compartments": compartments,
    "hotspots": hotspots,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Coverage of intervals and recovery of compartments, by simulation.")
    parser.add_argument("--replicates", type=int, default=1000)
    parser.add_argument("--block-um", type=float, default=250.0)
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args()
    print(f"{given.replicates} replicates, blocks of {given.block_um:g} um, at least {LEAST_BLOCKS:g} of them")
    for name, part in PARTS.items():
        if given.only in (None, name):
            print(f"\n{name}")
            start = time.perf_counter()
            part(given.replicates, given.block_um)
            print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
