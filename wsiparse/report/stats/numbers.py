"""All numbers of one slide's report, as the JSON that report.json holds and the page is made of. Pure.

The same objects, tissue and settings give the same bytes. `None` stands for what is not known; the text beside it says
why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np

from wsiparse.report.stats.aggregates import Aggregates
from wsiparse.report.stats.bootstrap import density_interval
from wsiparse.report.stats.compartments import Compartments, Inside, inside_words
from wsiparse.report.stats.density import DensityGrid, density_grid
from wsiparse.report.stats.distributions import histograms
from wsiparse.report.stats.division import described, divided, inside_of
from wsiparse.report.stats.immune_part import distances_to_tumour, infiltrate_of, mixing_with
from wsiparse.report.stats.jsonable import jsonable
from wsiparse.report.stats.panel import Infiltrated, panel_of
from wsiparse.report.stats.qc import SlideQuality
from wsiparse.report.stats.rows import ALL_TISSUE, Resampled, count_rows, resampled
from wsiparse.report.stats.source import ReportSettings, Source
from wsiparse.report.stats.spots import Spot
from wsiparse.report.stats.squares import dense_squares, hot_spot_facts, spots_of
from wsiparse.report.stats.structures import aggregate_squares, aggregates_of, structures_of
from wsiparse.report.stats.threshold import ambiguous_counts, threshold_band

__all__ = ["ReportNumbers", "compute_report"]

FORMAT: Final = 1
#: Why nothing is said of other thresholds for objects of other programs.
_NO_THRESHOLD: Final = "the objects were imported, and how they were made is not known here"


@dataclass(frozen=True, eq=False)
class ReportNumbers:
    """What was found.

    Parameters
    ----------
    numbers : JSON
    compartments : the partition, None when nothing was analysed
    grid : densities of every class, None when nothing was analysed
    spots : squares to show
    aggregates : squares that show the largest aggregates, largest first
    """

    numbers: dict[str, Any]
    compartments: Compartments | None
    grid: DensityGrid | None
    spots: tuple[Spot, ...]
    aggregates: tuple[Spot, ...] = ()


def compute_report(
    source: Source, settings: ReportSettings, area: Mapping[str, Any], quality: SlideQuality
) -> ReportNumbers:
    """All numbers of a report.

    Parameters
    ----------
    area : tissue_mm2, outside_roi_mm2, drawn_out_mm2, unreadable_mm2, spoilt_mm2, artefact_mm2, artefacts,
        whole_slide, whole_cells, drawn_tissue, unreadable_tiles; what is analysed and how many objects lie outside is
        added
    quality : of the slide
    """
    objects, prompts = source.objects, source.prompts
    compartments, used, reason = divided(source, settings)
    whole = np.zeros(len(objects), np.int64)
    everything = resampled(objects, len(prompts), source.tissue, [source.tissue], whole, settings.intervals)
    rows = count_rows(objects, prompts, everything, whole, [ALL_TISSUE], source.recognition)
    if compartments is not None and used != "none":
        part_of = compartments.of_points(objects.um)
        boot = resampled(objects, len(prompts), source.tissue, compartments.parts, part_of, settings.intervals)
        rows += count_rows(objects, prompts, boot, part_of, compartments.names, source.recognition)
    grid = density_grid(objects.um, objects.class_index, len(prompts), source.tissue, settings.grid_um)
    lumps = aggregates_of(source)
    immune, spots = _immune(source, settings, compartments, inside_of(used, source), lumps)
    numbers: dict[str, Any] = {
        "format": FORMAT,
        "classes": _classes(source),
        "area": {**area, "analysed_mm2": source.tissue.area_mm2, "objects_outside": objects.outside},
        "compartments": described(compartments, used, reason, source)
        | {"classes_taken": source.told if used == "roi" else ""},
        "rows": rows,
        "uncertainty": _uncertainty(source, settings, everything),
        "histograms": histograms(objects, prompts),
        "classes_by_rule": source.classes_by_rule,
        "nucleus_probability": source.nucleus_probability,
        "immune": immune,
        "dense_squares": dense_squares(source, settings),
        "quality": asdict(quality),
    }
    return ReportNumbers(jsonable(numbers), compartments, grid, spots, tuple(aggregate_squares(source, lumps)))


def _classes(source: Source) -> list[dict[str, Any]]:
    return [
        {
            "name": p.class_name,
            "kind": p.kind,
            "colour": p.colour,
            "prompt": p.text,
            "threshold": p.threshold if source.scored else None,
            "role": source.cells_of if role == "tumour" else role,
        }
        for p, role in zip(source.prompts, source.roles, strict=True)
    ]


def _uncertainty(source: Source, settings: ReportSettings, everything: Resampled) -> dict[str, Any]:
    objects, prompts = source.objects, source.prompts
    bands = []
    found_bands = threshold_band([objects] if source.scored else [], prompts, step=settings.threshold_step)
    for k, found in enumerate(found_bands):
        if not source.scored:
            n = int(objects.of([k]).sum())
            found = replace(found, n=n, area_px=int(objects.area_px[objects.of([k])].sum()), reason=_NO_THRESHOLD)
        unit = objects.um2_per_px[prompts[k].kind]
        # a band of one and the same number would be read as certainty
        moved = None if found.reason else found
        bands.append(
            {
                "class": found.class_name,
                "threshold": found.threshold if source.scored else None,
                "step": found.step,
                "n": found.n,
                "n_raised": moved.n_raised if moved else None,
                "n_lowered_at_least": moved.n_lowered_at_least if moved else None,
                "reason": found.reason,
                "area_um2": found.area_px * unit,
                "area_raised_least_um2": moved.area_raised_least_px * unit if moved else None,
                "area_raised_most_um2": moved.area_raised_most_px * unit if moved else None,
            }
        )
    cells = slice(0, objects.n_cells)
    ambiguous = ambiguous_counts(
        objects.class_id[cells],
        objects.ambiguous[cells],
        prompts,
        lead=settings.ambiguous_lead,
        shares_known=objects.shares_known,
        by_rule=source.classes_by_rule,
    )
    boot = everything.classes
    widths = [density_interval(boot, k) if boot is not None else None for k in range(len(prompts))]
    intervals = settings.intervals
    return {
        "intervals": (
            f"{100 * intervals.level:g} % intervals from a spatial block bootstrap: blocks of "
            f"{intervals.block_um:g} um, {intervals.replicates} replicates, seed {intervals.seed}. They show how the "
            "density of this tissue would vary with the placement of its cells, not how other tissue of the patient "
            "differs. Errors of the engine and of the tissue's outline are not in them."
        ),
        "effective_blocks": float(boot.effective_blocks[0]) if boot is not None else 0.0,
        # the factor of an interval: where there is none, there is no factor either
        "cluster_factor": {
            p.class_name: width.cluster_factor if width is not None and width.low is not None else None
            for p, width in zip(prompts, widths, strict=True)
        },
        "threshold": bands,
        "ambiguous": [
            {
                "class": a.class_name,
                "n": a.n,
                "n_ambiguous": a.n_ambiguous,
                "percent": 100 * a.share if a.share is not None else None,
                "reason": a.reason,
            }
            for a in ambiguous
        ],
    }


def _immune(
    source: Source,
    settings: ReportSettings,
    compartments: Compartments | None,
    inside: Inside,
    lumps: Aggregates | None,
) -> tuple[dict[str, Any], tuple[Spot, ...]]:
    classes = source.with_role("immune")
    chosen = source.objects.of(classes)
    points = source.objects.um[chosen]
    reason = ""
    if not classes:
        reason = "no class of immune cells was asked for"
    elif not len(points):
        reason = "no immune cells were found"
    name, _, found, spots = spots_of(source, settings)
    out: dict[str, Any] = {
        "classes": [source.prompts[k].class_name for k in classes],
        "reason": reason,
        "infiltrate": None,
        "distances": None,
        "panel": [],
        "structures": None,
        "mixing": [],
        "hot_spots": hot_spot_facts(name, settings, found, spots),
    }
    if classes and compartments is not None:
        infiltrated = Infiltrated(points, source.objects.area_um2(chosen), compartments, source.tissue, inside)
        out["panel"] = panel_of(infiltrated, settings.intervals)
        out["structures"] = structures_of(source, settings, compartments, lumps)
        found_in = infiltrate_of(source.objects, chosen, compartments, source.tissue, settings.intervals)
        out["infiltrate"] = None if found_in is None else {"inside": inside, **found_in}
        asked = bool(source.with_role("tumour"))
        apart = distances_to_tumour(points, source.points("tumour"), compartments, asked=asked)
        if asked and apart["to"].startswith("nearest"):
            apart |= {key: inside_words(apart[key], source.cells_of) for key in ("to", "reason")}
        out["distances"] = apart
        others = source.with_role("tumour") or [k for k in source.prompts.of_kind("cell") if k not in classes]
        out["mixing"] = mixing_with(
            source.objects, source.prompts, classes, others, source.tissue, settings.intervals.seed
        )
    return out, tuple(spots)
