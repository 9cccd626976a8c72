"""All numbers of one slide's report, as the JSON that report.json holds and the page is made of. Pure.

The same objects, tissue and settings give the same bytes. `None` stands for what is not known; the text beside it says
why.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.choices import Division
from wsiparse.report.stats.bootstrap import density_interval
from wsiparse.report.stats.compartments import (
    MARGIN_UM,
    TUMOUR,
    Compartments,
    Inside,
    auto_compartments,
    inside_words,
    region_compartments,
)
from wsiparse.report.stats.density import DensityGrid, density_grid
from wsiparse.report.stats.distributions import histograms
from wsiparse.report.stats.hotspots import HotSpots, hot_spots
from wsiparse.report.stats.immune_part import distances_to_tumour, infiltrate_of, mixing_with
from wsiparse.report.stats.jsonable import jsonable
from wsiparse.report.stats.objects import ReportObjects
from wsiparse.report.stats.qc import SlideQuality
from wsiparse.report.stats.rows import ALL_TISSUE, IntervalSettings, Resampled, count_rows, resampled
from wsiparse.report.stats.spots import GRID_UM, Spot, choose_spots
from wsiparse.report.stats.summary import ALL_CELLS
from wsiparse.report.stats.threshold import AMBIGUOUS_LEAD, THRESHOLD_STEP, ambiguous_counts, threshold_band
from wsiparse.report.stats.tissue import Tissue
from wsiparse.types import PromptSet

__all__ = ["REST", "ReportNumbers", "ReportSettings", "Role", "Source", "compute_report", "spots_of"]

Floats = NDArray[np.float64]
Role = Literal["immune", "tumour", "connective", "other"]

FORMAT: Final = 1

#: The tissue outside all regions.
REST: Final = "other tissue"
#: More classes of regions are no compartments: each has its rows, bars and a share of the map.
_MOST_CLASSES: Final = 1000
#: What a region without a class is called.
_NO_CLASS: Final = "unclassified"

#: Colours of compartments (Okabe and Ito 2008): tumour, margins, stroma; then further regions.
_COLOURS: Final = ("#cc79a7", "#e69f00", "#f0e442", "#56b4e9", "#009e73", "#0072b2", "#d55e00", "#999999")


@dataclass(frozen=True, slots=True)
class ReportSettings:
    """What shapes a report beside the results.

    Parameters
    ----------
    compartments : how tissue is divided
    intervals : of the block bootstrap
    grid_um : edge of the squares of density maps, hot spots and the Morisita-Horn index
    rate : false discovery rate of hot spots
    threshold_step, ambiguous_lead : 0-1, see `wsiparse.report.stats.threshold`
    margin_um : outer ends of the margin bands
    """

    compartments: Division = "auto"
    intervals: IntervalSettings = field(default_factory=IntervalSettings)
    grid_um: float = GRID_UM
    rate: float = 0.05
    threshold_step: float = THRESHOLD_STEP
    ambiguous_lead: float = AMBIGUOUS_LEAD
    margin_um: tuple[float, ...] = MARGIN_UM

    def as_json(self) -> dict[str, Any]:
        """As report.json tells them."""
        return {
            "compartments": self.compartments,
            **asdict(self.intervals),
            "grid_um": self.grid_um,
            "false_discovery_rate": self.rate,
            "threshold_step": self.threshold_step,
            "ambiguous_lead": self.ambiguous_lead,
            "margin_um": list(self.margin_um),
        }


@dataclass(frozen=True, eq=False)
class Source:
    """One slide's results, as a report sees them.

    Parameters
    ----------
    objects : that count
    prompts : what was asked for
    roles : of each prompt
    recognition : prompt position -> median recognition score
    tissue : analysed tissue
    regions : (class name, polygon in um) of a regions file, without those left out
    mpp : um per level-0 px
    slide_size : level-0 px
    classes_by_rule : each object has one class outright
    nucleus_probability : an object's probability is that of being a nucleus, whatever its class
    cells_of : what the cells of role "tumour" are cells of
    meanings : class name of regions -> "tumour", "stroma", "left out", "neither"; those absent are neither
    told : the same in one line, "" without regions
    """

    objects: ReportObjects
    prompts: PromptSet
    roles: tuple[Role, ...]
    recognition: Mapping[int, float | None]
    tissue: Tissue
    regions: tuple[tuple[str, BaseGeometry], ...]
    mpp: tuple[float, float]
    slide_size: tuple[int, int]
    classes_by_rule: bool = False
    nucleus_probability: bool = False
    cells_of: Inside = "tumour"
    meanings: Mapping[str, str] = field(default_factory=dict)
    told: str = ""

    def with_role(self, *roles: Role) -> list[int]:
        """Positions of the cell prompts with one of these roles."""
        return [k for k in self.prompts.of_kind("cell") if self.roles[k] in roles]

    def points(self, *roles: Role) -> Floats:
        """(N, 2) float64: centroids of the cells with one of these roles, x then y, um."""
        return self.objects.um[self.objects.of(self.with_role(*roles))]


@dataclass(frozen=True, eq=False)
class ReportNumbers:
    """What was found.

    Parameters
    ----------
    numbers : JSON
    compartments : the partition, None when nothing was analysed
    grid : densities of every class, None when nothing was analysed
    spots : squares to show
    """

    numbers: dict[str, Any]
    compartments: Compartments | None
    grid: DensityGrid | None
    spots: tuple[Spot, ...]


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
    compartments, used, reason = _compartments(source, settings)
    whole = np.zeros(len(objects), np.int64)
    everything = resampled(objects, len(prompts), source.tissue, [source.tissue], whole, settings.intervals)
    rows = count_rows(objects, prompts, everything, whole, [ALL_TISSUE], source.recognition)
    if compartments is not None and used != "none":
        part_of = compartments.of_points(objects.um)
        boot = resampled(objects, len(prompts), source.tissue, compartments.parts, part_of, settings.intervals)
        rows += count_rows(objects, prompts, boot, part_of, compartments.names, source.recognition)
    grid = density_grid(objects.um, objects.class_index, len(prompts), source.tissue, settings.grid_um)
    immune, spots = _immune(source, settings, compartments, _inside(used, source))
    numbers: dict[str, Any] = {
        "format": FORMAT,
        "classes": _classes(source),
        "area": {**area, "analysed_mm2": source.tissue.area_mm2, "objects_outside": objects.outside},
        "compartments": _described(compartments, used, reason, source)
        | {"classes_taken": source.told if used == "roi" else ""},
        "rows": rows,
        "uncertainty": _uncertainty(source, settings, everything),
        "histograms": histograms(objects, prompts),
        "classes_by_rule": source.classes_by_rule,
        "nucleus_probability": source.nucleus_probability,
        "immune": immune,
        "dense_squares": _dense_squares(source, settings),
        "quality": asdict(quality),
    }
    return ReportNumbers(jsonable(numbers), compartments, grid, spots)


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


def _classes(source: Source) -> list[dict[str, Any]]:
    return [
        {
            "name": p.class_name,
            "kind": p.kind,
            "colour": p.colour,
            "prompt": p.text,
            "threshold": p.threshold,
            "role": source.cells_of if role == "tumour" else role,
        }
        for p, role in zip(source.prompts, source.roles, strict=True)
    ]


def _compartments(source: Source, settings: ReportSettings) -> tuple[Compartments | None, Division, str]:
    """The partition, how it was made, and why not as asked."""
    whole = auto_compartments(np.zeros((0, 2)), np.zeros((0, 2)), source.tissue)
    if whole is None:
        return None, "none", "no tissue was analysed"
    whole = replace(whole, names=(ALL_TISSUE,), method="All analysed tissue together.", reason="", tumour=(), stroma=())
    if settings.compartments == "none":
        return whole, "none", ""
    if settings.compartments == "roi":
        if not source.regions:
            return whole, "none", "no regions were given for this slide"
        named = [(name or _NO_CLASS, shape) for name, shape in source.regions]
        n = len({name for name, _ in named})
        if n > _MOST_CLASSES:
            why = f"the regions have {n} classes and names, compartments are made of at most {_MOST_CLASSES}"
            return whole, "none", why
        tumour, stroma = ([name for name, m in source.meanings.items() if m == kind] for kind in ("tumour", "stroma"))
        return region_compartments(named, source.tissue, tumour=tumour, stroma=stroma, rest=REST), "roi", ""
    lacking = [
        word
        for word, role in (("neoplastic or epithelial", "tumour"), ("connective tissue", "connective"))
        if role not in {source.roles[k] for k in source.prompts.of_kind("cell")}
    ]
    if lacking:
        return whole, "none", f"no class of {' and of '.join(lacking)} cells was asked for"
    found = auto_compartments(
        source.points("tumour"),
        source.points("connective"),
        source.tissue,
        margin_um=settings.margin_um,
        inside=source.cells_of,
    )
    assert found is not None
    if found.reason:
        return whole, "none", f"no border between {source.cells_of} and stroma was found: {found.reason}"
    return found, "auto", ""


def _inside(used: Division, source: Source) -> Inside:
    """What the tumour compartments are: drawn ones are tumour, those of cells what the cells are of."""
    return source.cells_of if used == "auto" else TUMOUR


def _described(compartments: Compartments | None, used: Division, reason: str, source: Source) -> dict[str, Any]:
    if compartments is None:
        names, areas, tumour, stroma = [ALL_TISSUE], [source.tissue.area_mm2], [], []
    else:
        names, areas = list(compartments.names), list(compartments.area_mm2)
        tumour, stroma = list(compartments.tumour), list(compartments.stroma)
    return {
        "used": used,
        "method": compartments.method if compartments is not None else "",
        "reason": reason,
        "parameters": dict(compartments.parameters) if compartments is not None and used == "auto" else {},
        "names": names,
        "area_mm2": areas,
        "inside": _inside(used, source),
        "tumour": tumour,
        "stroma": stroma,
        "colours": _colours(names, tumour),
    }


def _colours(names: Sequence[str], tumour: Sequence[int]) -> list[str]:
    """Tumour is always the first colour, stroma always blue; the others follow in order."""
    own = dict.fromkeys(tumour[:1], _COLOURS[0]) | {k: _COLOURS[3] for k, name in enumerate(names) if name == "stroma"}
    rest = iter([c for c in _COLOURS if c not in own.values()] * (1 + len(names) // 6))
    return [own[k] if k in own else next(rest) for k in range(len(names))]


def _uncertainty(source: Source, settings: ReportSettings, everything: Resampled) -> dict[str, Any]:
    objects, prompts = source.objects, source.prompts
    bands = []
    for k, found in enumerate(threshold_band([objects], prompts, step=settings.threshold_step)):
        unit = objects.um2_per_px[prompts[k].kind]
        # a band of one and the same number would be read as certainty
        moved = None if found.reason else found
        bands.append(
            {
                "class": found.class_name,
                "threshold": found.threshold,
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
            f"{intervals.block_um:g} um, {intervals.replicates} replicates, seed {intervals.seed}. They tell how the "
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
    source: Source, settings: ReportSettings, compartments: Compartments | None, inside: Inside
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
        "mixing": [],
        "hot_spots": _hot_spots(name, settings, found, spots),
    }
    if classes and compartments is not None:
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


def _dense_squares(source: Source, settings: ReportSettings) -> list[dict[str, Any]]:
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
        out.append({"position": k, **_hot_spots(name, settings, found, spots)})
    return out


def _hot_spots(name: str, settings: ReportSettings, found: HotSpots | None, spots: Sequence[Spot]) -> dict[str, Any]:
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
