"""The densest squares of a slide: hot spots of the immune cells, and those of every class. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.report.stats.density import DensityGrid, density_grid
from wsiparse.report.stats.hotspots import HotSpots, hot_spots
from wsiparse.report.stats.source import ReportSettings, Source
from wsiparse.report.stats.spots import Spot, choose_spots
from wsiparse.report.stats.structures import aggregate_squares, aggregates_of
from wsiparse.report.stats.summary import ALL_CELLS
from wsiparse.types import Box

__all__ = ["dense_squares", "hot_spot_facts", "pictured_boxes", "spots_of"]


def spots_of(source: Source, settings: ReportSettings) -> tuple[str, DensityGrid | None, HotSpots | None, list[Spot]]:
    """Hot spots of the immune cells, or of the first class of cells where no immune class was asked for.

    Returns
    -------
    name of what was looked at ("" without cell classes), its density grid (one class), Gi*, squares to show
    """
    chosen = source.with_role("immune") or list(source.prompts.of_kind("cell"))[:1]
    name = " + ".join(source.prompts[k].class_name for k in chosen)
    column = np.where(source.objects.of(chosen), 0, -1)
    grid = density_grid(source.objects.um, column, 1, source.tissue, settings.grid_um)
    if grid is None or not chosen:
        return name, None, None, []
    found = hot_spots(grid, 0, rate=settings.rate)
    return name, grid, found, choose_spots(grid, 0, found, mpp=source.mpp, slide_size=source.slide_size)


def pictured_boxes(source: Source, settings: ReportSettings) -> list[Box]:
    """Squares that a report shows at full resolution, level-0 px: hot spots and aggregates, each once."""
    squares = [*spots_of(source, settings)[3], *aggregate_squares(source, aggregates_of(source))]
    return list(dict.fromkeys(spot.box for spot in squares))


def dense_squares(source: Source, settings: ReportSettings) -> list[dict[str, Any]]:
    """The squares of every class, and of all cells together, that a viewer leads to: hot ones first, else densest.

    On the same grid as everything else in the report.
    """
    objects, prompts = source.objects, source.prompts
    cells = prompts.of_kind("cell")
    columns: list[tuple[str, int | None, NDArray[np.bool_]]] = [
        (p.class_name, k, objects.of([k])) for k, p in enumerate(prompts)
    ]
    if len(cells) > 1:
        columns.append((ALL_CELLS, None, objects.is_cell))
    out = []
    for name, k, chosen in columns:
        grid = density_grid(objects.um, np.where(chosen, 0, -1), 1, source.tissue, settings.grid_um)
        if grid is None:
            continue
        found = hot_spots(grid, 0, rate=settings.rate)
        spots = choose_spots(grid, 0, found, mpp=source.mpp, slide_size=source.slide_size)
        out.append({"position": k, **hot_spot_facts(name, settings, found, spots)})
    return out


def hot_spot_facts(
    name: str, settings: ReportSettings, found: HotSpots | None, spots: Sequence[Spot]
) -> dict[str, Any]:
    """Squares of one class as report.json holds them, best first; `found` is None where there was nothing to test."""
    return {
        "class": name,
        "grid_um": settings.grid_um,
        "rate": settings.rate,
        "n_tested": found.n_tested if found is not None else 0,
        "n_hot": int(found.hot.sum()) if found is not None else 0,
        "n_islands": found.n_islands if found is not None else 0,
        "n_slivers": found.n_slivers if found is not None else 0,
        "reason": found.reason if found is not None else "nothing was analysed" if name else "no cells were asked for",
        "spots": [
            {
                "rank": rank,
                "x_um": spot.corner_um[0],
                "y_um": spot.corner_um[1],
                "size_um": spot.size_um,
                "box": [spot.box.x, spot.box.y, spot.box.width, spot.box.height],
                "n": spot.n,
                "density_per_mm2": spot.density_per_mm2,
                "z": spot.z,
                "q": spot.q,
                "hot": spot.hot,
                "picture": None,
            }
            for rank, spot in enumerate(spots, 1)
        ],
    }
