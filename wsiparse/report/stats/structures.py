"""The structures part of a report: aggregates, nearest neighbours, density by distance, and fields needed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

from wsiparse.report.stats.aggregates import (
    CANDIDATE_MM2,
    LEAST_CELLS,
    LEAST_MM2,
    LEAST_PER_MM2,
    SMOOTH_UM,
    Aggregates,
    aggregates,
)
from wsiparse.report.stats.compartments import Compartments
from wsiparse.report.stats.fields import FIELDS_UM, fields_needed
from wsiparse.report.stats.nearest import by_distance, nearest_function
from wsiparse.report.stats.panel import border_distance
from wsiparse.report.stats.rows import known
from wsiparse.report.stats.source import ReportSettings, Source
from wsiparse.report.stats.spots import GRID_UM, Spot, square_about

__all__ = ["aggregate_squares", "aggregates_of", "structures_of"]

#: Aggregates that are pictured, and that are listed one by one.
_PICTURED: Final = 4
_LISTED: Final = 200


def aggregates_of(source: Source) -> Aggregates | None:
    """Aggregates of the immune cells; None where no class of them was asked for."""
    if not source.with_role("immune"):
        return None
    return aggregates(source.points("immune"), source.points("tumour"), source.tissue)


def aggregate_squares(source: Source, found: Aggregates | None) -> list[Spot]:
    """A square to picture in each of the largest aggregates, where it is deepest."""
    if found is None:
        return []
    squares = [one.deepest_um for one in found.found[:_PICTURED]]
    return [
        square_about(centre, GRID_UM, n=one.n, per_mm2=one.per_mm2, mpp=source.mpp, slide_size=source.slide_size)
        for centre, one in zip(squares, found.found, strict=False)
    ]


def structures_of(
    source: Source, settings: ReportSettings, compartments: Compartments, found: Aggregates | None
) -> dict[str, Any]:
    """Aggregates, G to the nearest tumour or epithelial cell, density by distance from the border, fields needed.

    Parameters
    ----------
    source : one slide's results, with classes of immune cells
    settings : of the report
    compartments : the partition of the tissue
    found : aggregates of the immune cells
    """
    immune, tumour = source.points("immune"), source.points("tumour")
    distances = border_distance(compartments, source.tissue)
    near = nearest_function(immune, tumour, source.tissue, seed=settings.intervals.seed)
    return {
        "aggregates": _aggregates(found.found if found is not None else (), source),
        "nearest": {
            "radius_um": near.radius_um.tolist(),
            "share": [known(v) for v in near.share.tolist()],
            "poisson": [known(v) for v in near.poisson.tolist()],
            "n": near.n,
            "censored": near.censored,
            "reason": near.reason,
        },
        "by_distance": by_distance(immune, distances, source.tissue, settings.intervals),
        "fields": [asdict(fields_needed(immune, source.tissue, field_um=edge)) for edge in FIELDS_UM],
    }


def _aggregates(found: Sequence[Any], source: Source) -> dict[str, Any]:
    area = source.tissue.area_mm2
    return {
        "n": len(found),
        "n_candidates": sum(one.candidate for one in found),
        "per_mm2": len(found) / area if area > 0 else None,
        "area_mm2": sum(one.mm2 for one in found),
        "rule": {
            "smooth_um": SMOOTH_UM,
            "least_per_mm2": LEAST_PER_MM2,
            "least_mm2": LEAST_MM2,
            "least_cells": LEAST_CELLS,
            "candidate_mm2": CANDIDATE_MM2,
        },
        "listed": [
            {
                "rank": rank,
                "x_um": one.centre_um[0],
                "y_um": one.centre_um[1],
                "mm2": one.mm2,
                "n": one.n,
                "per_mm2": one.per_mm2,
                "apart_um": one.apart_um,
                "candidate": "yes" if one.candidate else "no",
                "picture": None,
            }
            for rank, one in enumerate(found[:_LISTED], 1)
        ],
    }
