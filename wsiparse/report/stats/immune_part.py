"""The immune section of a report: infiltrate, distances, mixing. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.report.stats.bootstrap import block_counts, difference_interval, resample
from wsiparse.report.stats.compartments import Compartments
from wsiparse.report.stats.density import density_grid
from wsiparse.report.stats.distributions import binned
from wsiparse.report.stats.immune import NEAR_UM, NearestDistances, infiltrate, nearest_distances
from wsiparse.report.stats.mixing import cross_k, morisita_horn
from wsiparse.report.stats.objects import ReportObjects
from wsiparse.report.stats.rows import IntervalSettings, known
from wsiparse.report.stats.spots import GRID_UM
from wsiparse.report.stats.tissue import Tissue
from wsiparse.types import PromptSet

__all__ = ["distances_to_tumour", "infiltrate_of", "mixing_with"]

Floats = NDArray[np.float64]

_QUANTILES: Final = (0.1, 0.25, 0.5, 0.75, 0.9)
#: Kinds of cells that immune cells are compared with, at most.
_MOST_PAIRS: Final = 4


def infiltrate_of(
    objects: ReportObjects,
    immune: NDArray[np.bool_],
    compartments: Compartments,
    tissue: Tissue,
    settings: IntervalSettings,
) -> dict[str, Any] | None:
    """Densities in tumour and stroma, their difference; None without tumour.

    Parameters
    ----------
    objects : N objects
    immune : (N,) bool, which of them are immune cells
    compartments : the partition
    tissue : what was analysed
    settings : of the difference's interval
    """
    if not compartments.tumour:
        return None
    stroma = list(compartments.stroma)
    points = objects.um[immune]
    found = infiltrate(points, compartments, stroma=stroma)
    difference: dict[str, Any] = {"estimate": None, "low": None, "high": None, "note": "no region is stroma"}
    if stroma:
        where = compartments.of_points(points)
        column = np.full(len(points), -1)
        column[np.isin(where, compartments.tumour)] = 0
        column[np.isin(where, stroma)] = 1
        parts = [compartments.merged(positions) for positions in (compartments.tumour, stroma)]
        blocks = block_counts(points, column, tissue, parts, [0, 1], block_um=settings.block_um)
        if blocks is not None:
            boot = resample(blocks, seed=settings.seed, replicates=settings.replicates, level=settings.level)
            interval = difference_interval(boot, 0, 1)
            ends = known(interval.estimate), interval.low, interval.high
            difference = dict(zip(("estimate", "low", "high"), ends, strict=True)) | {"note": interval.reason}
    return {
        "n_tumour": found.n_tumour,
        "n_stroma": found.n_stroma,
        "tumour_mm2": found.tumour_mm2,
        "stroma_mm2": found.stroma_mm2,
        "tumour_per_mm2": found.tumour_per_mm2,
        "stroma_per_mm2": found.stroma_per_mm2,
        "stroma": [compartments.names[k] for k in stroma],
        "difference": difference,
    }


def distances_to_tumour(
    immune_um: Floats, tumour_um: Floats, compartments: Compartments, *, asked: bool
) -> dict[str, Any]:
    """How far immune cells are from tumour: from the nearest tumour cell, or from a drawn border without such cells.

    Parameters
    ----------
    immune_um, tumour_um : (N, 2) and (M, 2) float64, centroids, x then y, um
    compartments : the partition
    asked : whether tumour cells were asked for

    Returns
    -------
    `to` says what was measured: "nearest tumour cell" (>= 0) or "tumour border" (signed, negative inside the tumour);
    `within` is the share of cells at most so far away, of a border on either side of it; `inside` the share inside a
    drawn tumour, None for distances to cells
    """
    to, found, inside = "nearest tumour cell", nearest_distances(immune_um, tumour_um), None
    if not len(tumour_um) and len(immune_um) and compartments.tumour:
        signed = compartments.distance_um(immune_um)
        signed = signed[np.isfinite(signed)]
        reason = "" if len(signed) else "there is no border of tumour: all analysed tissue is tumour"
        to, found = "tumour border", NearestDistances(signed, reason)
        inside = int((signed < 0).sum()) / len(signed) if len(signed) else None
    elif not asked and len(immune_um):
        found = NearestDistances(np.zeros(0), "no tumour cells were asked for, and no tumour was drawn")
    values = found.distance_um
    apart = NearestDistances(np.abs(values))
    shape = binned(values, from_zero=bool(len(values) and values.min() >= 0))
    return {
        "to": to,
        "n": len(values),
        "reason": found.reason,
        "mean_um": found.mean_um,
        "quantiles": [{"share": q, "um": found.quantile_um(q)} for q in _QUANTILES] if len(values) else [],
        "within": [{"um": um, "share": apart.share_within(um)} for um in NEAR_UM] if len(values) else [],
        "inside": inside,
        "histogram": {"edges_um": shape["edges"], "counts": shape["counts"], "above": shape["above"]},
    }


def mixing_with(
    objects: ReportObjects,
    prompts: PromptSet,
    immune: Sequence[int],
    others: Sequence[int],
    tissue: Tissue,
    seed: int,
) -> list[dict[str, Any]]:
    """How immune cells mix with other kinds of cells.

    Parameters
    ----------
    seed : of the random numbers
    immune : their classes, positions in the prompt set
    others : classes to compare with, at most four are
    """
    first = objects.um[objects.of(immune)]
    name = " + ".join(prompts[k].class_name for k in immune)
    out = []
    every = cross_k(objects.um[: objects.n_cells], None, tissue, seed=seed) if others else None
    for k in list(others)[:_MOST_PAIRS]:
        second = objects.um[objects.of([k])]
        column = np.full(len(objects), -1)
        column[objects.of(immune)] = 0
        column[objects.of([k])] = 1
        grid = density_grid(objects.um, column, 2, tissue, GRID_UM)
        found = cross_k(first, second, tissue, seed=seed)
        assert every is not None
        out.append(
            {
                "first": name,
                "second": prompts[k].class_name,
                "morisita_horn": morisita_horn(grid.counts[0], grid.counts[1]) if grid is not None else None,
                "grid_um": GRID_UM,
                "cross_k": {
                    "radius_um": [float(r) for r in found.radius_um],
                    "k_um2": [known(v) for v in found.k_um2],
                    "poisson_um2": [float(v) for v in found.poisson_um2],
                    "l_um": [known(v) for v in found.l_um],
                    "all_l_um": [known(v) for v in every.l_um],
                    "n_first": found.n_first,
                    "n_second": found.n_second,
                    "thinned": found.thinned,
                    "reason": found.reason,
                },
            }
        )
    return out
