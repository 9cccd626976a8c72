"""What a slide's report is made of: objects.zarr and report_inputs/, read and sorted out."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.choices import Division
from wsiparse.recognize.vocabulary import trained_target
from wsiparse.report.stats.compartments import EPITHELIUM, TUMOUR, Inside
from wsiparse.report.stats.objects import KINDS, objects_in
from wsiparse.report.stats.qc import SlideQuality, slide_quality
from wsiparse.report.stats.regions_drawn import DrawnRegion, drawn_regions
from wsiparse.report.stats.rows import IntervalSettings
from wsiparse.report.stats.source import REST, ReportSettings, Role, Source
from wsiparse.report.stats.tissue import Tissue, analysed_tissue
from wsiparse.results.report_inputs import ReportInputs
from wsiparse.store.read import ObjectsReader
from wsiparse.tiling import (
    RegionClasses,
    Regions,
    artefact_class,
    background_colour,
    cut_to_slide,
    find_tissue,
    is_left_out,
    microns_told,
    off_slide,
    polygonal,
    read_regions,
)
from wsiparse.tiling.polygons import united
from wsiparse.types import PromptSet

__all__ = ["RegionsFile", "ReportData", "cells_of", "load", "read_regions_file", "roles_of"]

_ROLES: Final[Mapping[str, Role]] = {
    "inflammatory cells": "immune",
    "neoplastic cells": "tumour",
    "epithelial cells": "tumour",
    "connective tissue cells": "connective",
}


class RegionsFile:
    """A file of annotated regions given to a report.

    Parameters
    ----------
    name : of the file
    sha256 : of its bytes
    regions : level-0 px
    notes : what was said when it was read, a line each
    """

    def __init__(self, name: str, sha256: str, regions: Regions, notes: Sequence[str] = ()) -> None:
        self.name = name
        self.sha256 = sha256
        self.regions = tuple((r.class_name, r.geometry) for r in regions.regions)
        self.notes = (*regions.notes, *notes)


def roles_of(prompts: PromptSet) -> tuple[Role, ...]:
    """What each prompt's objects are to the report: immune, tumour or connective cells, or anything else."""
    targets = (trained_target(p.text) for p in prompts)
    return tuple(_ROLES.get(t.text, "other") if t is not None else "other" for t in targets)


def cells_of(prompts: PromptSet, *, tumour_is_epithelium: bool) -> Inside:
    """What cells of role "tumour" are cells of: epithelium, unless neoplastic ones were asked for or somebody says so.

    Parameters
    ----------
    prompts : of the run
    tumour_is_epithelium : the user says that the epithelium of these slides is tumour
    """
    targets = {t.text for t in (trained_target(p.text) for p in prompts) if t is not None}
    told_apart = "neoplastic cells" in targets or "epithelial cells" not in targets
    return TUMOUR if tumour_is_epithelium or told_apart else EPITHELIUM


def called_in_report(prompts: PromptSet, *, by_run: bool, now: bool) -> PromptSet:
    """The prompts with the name that epithelial cells have when their epithelium is, or is not, said to be tumour.

    A run names the class by what it was told; a report may be told otherwise. Names that a user gave are kept.

    Parameters
    ----------
    prompts : of the run
    by_run, now : whether epithelium is called tumour, by the run and by the report
    """
    old, new = ("Epithelial", "Tumour") if now else ("Tumour", "Epithelial")
    if by_run == now or new in {prompt.class_name for prompt in prompts}:
        return prompts
    named = []
    for prompt in prompts:
        target = trained_target(prompt.text)
        mine = target is not None and target.text == "epithelial cells" and prompt.class_name == old
        named.append(replace(prompt, class_name=new) if mine else prompt)
    return PromptSet(tuple(named))


@dataclass(frozen=True, eq=False)
class ReportData:
    """Everything a report is made of, read and sorted out.

    Parameters
    ----------
    reader : objects.zarr
    inputs : report_inputs/
    source : objects, tissue and regions
    area : mm^2 and counts of what was left out
    quality : of the slide
    settings : of the report
    regions : the file given to the report, or None
    drawn : all regions that were drawn, those left out included, um
    file : name and sha256 of the file that the regions are of, or None
    notes : what was said when it was read
    tumour_is_epithelium : the user says that epithelium is tumour
    """

    reader: ObjectsReader
    inputs: ReportInputs
    source: Source
    area: Mapping[str, Any]
    quality: SlideQuality
    settings: ReportSettings
    regions: RegionsFile | None
    drawn: tuple[DrawnRegion, ...] = ()
    file: tuple[str, str] | None = None
    notes: tuple[str, ...] = ()
    tumour_is_epithelium: bool = False


def load(
    reader: ObjectsReader,
    inputs: ReportInputs,
    asked: Division | None = None,
    regions: RegionsFile | None = None,
    *,
    seed: int = 0,
    classes: RegionClasses | None = None,
    tumour_is_epithelium: bool | None = None,
) -> ReportData:
    """Sort out what counts and where.

    Parameters
    ----------
    seed : of the bootstrap
    asked : how tissue is divided; None for what the run was told, or what fits: by named regions where there are any,
        else by the cells
    classes : of regions that are tumour and stroma; None for what the run was told
    tumour_is_epithelium : whether epithelium is called tumour; None for what the run was told
    regions : annotated regions for this report; None for those the slide was analysed with, if any

    Raises
    ------
    OutputError
        If objects.zarr is damaged.
    """
    given = regions.regions if regions is not None else inputs.regions
    classes = classes or RegionClasses(inputs.tumour_classes, inputs.stroma_classes)
    out = {name for name in {name for name, _ in given} if is_left_out(name)}
    kept = [(name, shape) for name, shape in given if name not in out]
    asked = asked or inputs.compartments
    if asked is None:
        asked = "roi" if any(name for name, _ in kept) else "auto"
    is_tumour = inputs.tumour_is_epithelium if tumour_is_epithelium is None else tumour_is_epithelium
    marked = [(kind, shape) for kind, shape, left_out in inputs.found_artefacts if left_out and not shape.is_empty]
    tissue, area = _analysed(inputs, [shape for name, shape in given if name in out], [shape for _, shape in marked])
    mpp = np.asarray(inputs.mpp)
    source = Source(
        objects=objects_in(tissue, {kind: reader.batches(kind) for kind in KINDS}, reader.frames),
        prompts=called_in_report(reader.prompts, by_run=inputs.tumour_is_epithelium, now=is_tumour),
        roles=roles_of(reader.prompts),
        recognition={p: grid.median(p) for grid in reader.recognition for p in grid.positions},
        tissue=tissue,
        regions=_in_um(kept, mpp),
        mpp=inputs.mpp,
        slide_size=inputs.size,
        classes_by_rule=inputs.limits.classes_by_rule,
        # results of an older version do not have the latter, and its engines by rule gave no other probability
        nucleus_probability=inputs.limits.nucleus_probability or inputs.limits.classes_by_rule,
        scored=inputs.limits.scored,
        cells_of=cells_of(reader.prompts, tumour_is_epithelium=is_tumour),
        meanings={name: classes.meaning(name) for name in {REST, *(name for name, _ in given)}},
        told=classes.told([name for name, _ in given]) if given else "",
    )
    quality = slide_quality(
        inputs.picture,
        tissue.cells,
        mpp=inputs.overview.mean_mpp,
        tissue_mm2=tissue.area_mm2,
        background=[float(v) for v in background_colour(inputs.picture)[0]],
    )
    settings = ReportSettings(asked, IntervalSettings(seed=seed))
    named = [(artefact_class(kind), shape) for kind, shape in marked]
    drawn = drawn_regions(_in_um([*given, *named], mpp), is_left_out)
    file, notes = inputs.region_file, inputs.region_notes
    if regions is not None:
        file = (regions.name, regions.sha256)
        notes = regions.notes + _microns(inputs, [shape for _, shape in kept])
    return ReportData(reader, inputs, source, area, quality, settings, regions, drawn, file, notes, is_tumour)


def _analysed(
    inputs: ReportInputs, drawn_out: Sequence[BaseGeometry], spoilt: Sequence[BaseGeometry]
) -> tuple[Tissue, dict[str, Any]]:
    """The analysed tissue without what is drawn out of it or spoilt, and what was left out for which reason, mm2."""
    everywhere = _tissue(inputs, inputs.tissue, inputs.drawn_tissue, [])
    # what the run's own file leaves out lies outside `inputs.roi` already; it is not what the file does not reach
    reach = _reach(inputs)
    in_roi = _tissue(inputs, inputs.tissue, reach, [])
    unreadable = [shapely.box(*box) for box in inputs.unreadable]
    readable = _tissue(inputs, inputs.tissue, reach, unreadable) if unreadable else in_roi
    same = reach is inputs.roi and not drawn_out
    asked_for = readable if same else _tissue(inputs, inputs.tissue, inputs.roi, [*unreadable, *drawn_out])
    lost = [*unreadable, *drawn_out, *spoilt]
    tissue = _tissue(inputs, inputs.tissue, inputs.roi, lost) if spoilt else asked_for
    return tissue, {
        "tissue_mm2": everywhere.area_mm2,
        "outside_roi_mm2": max(everywhere.area_mm2 - in_roi.area_mm2, 0.0),
        "unreadable_mm2": max(in_roi.area_mm2 - readable.area_mm2, 0.0),
        "drawn_out_mm2": max(readable.area_mm2 - asked_for.area_mm2, 0.0),
        "spoilt_mm2": max(asked_for.area_mm2 - tissue.area_mm2, 0.0),
        "artefacts": _artefacts(inputs, asked_for),
        "artefact_mm2": _tissue(inputs, inputs.artefacts, None, []).area_mm2,
        "whole_slide": inputs.whole_slide,
        "whole_cells": inputs.cover is None,
        "drawn_tissue": inputs.tissue_file[0] if inputs.tissue_file is not None else None,
        "unreadable_tiles": len(inputs.unreadable),
    }


def read_regions_file(path: Path, offset: tuple[int, int], slide_size: tuple[int, int]) -> RegionsFile:
    """Annotated regions as QuPath exports them.

    Parameters
    ----------
    path : GeoJSON
    offset : added to every point: what the slide's overlays were reduced by, level-0 px
    slide_size : (width, height), level-0 px

    Raises
    ------
    RoiError
        If the file cannot be used, or most of it lies off the slide.
    """
    found = read_regions(path, offset=offset)
    off = off_slide(found, slide_size, str(path))
    with path.open("rb") as file:
        return RegionsFile(path.name, hashlib.file_digest(file, "sha256").hexdigest(), found, off)


def _tissue(
    inputs: ReportInputs, mask: NDArray[np.bool_], roi: BaseGeometry | None, without: Sequence[BaseGeometry]
) -> Tissue:
    cover = inputs.cover if mask is inputs.tissue else None
    return analysed_tissue(inputs.size, inputs.overview, mask, roi=roi, unreadable=without, cover=cover)


def _artefacts(inputs: ReportInputs, tissue: Tissue) -> list[dict[str, Any]]:
    """Every kind that was looked for, with its mm2 of the tissue that was to be analysed, and whether it was left out.

    A place may be of several kinds, and counts for each.
    """
    mpp = np.asarray(inputs.mpp)
    found = []
    for kind, shape, left_out in inputs.found_artefacts:
        rest = tissue.without(shapely.transform(shape, lambda xy: xy * mpp)).area_mm2 if not shape.is_empty else None
        mm2 = 0.0 if rest is None else max(tissue.area_mm2 - rest, 0.0)
        found.append({"kind": kind, "name": kind.replace("_", " "), "mm2": mm2, "left_out": left_out})
    return found


def _microns(inputs: ReportInputs, kept: Sequence[BaseGeometry]) -> tuple[str, ...]:
    """A line where regions given to the report seem to be in microns; the run told it of its own."""
    drawn = cut_to_slide(united(kept), inputs.size) if kept else shapely.Polygon()
    # of a slide that was analysed whole everything counts as tissue, and tells nothing
    seen = find_tissue(inputs.picture, inputs.overview.mean_mpp).mask if inputs.whole_slide else inputs.tissue
    return microns_told(drawn, seen, inputs.overview, slide_size=inputs.size, mpp=inputs.mpp, offset=inputs.offset)


def _reach(inputs: ReportInputs) -> BaseGeometry | None:
    """The region of interest with what is drawn out of it, in drawn tissue, level-0 px; None for the whole slide."""
    out = {name for name in {name for name, _ in inputs.regions} if is_left_out(name)}
    if inputs.roi is None or not out:
        return inputs.roi
    kept = [shape for name, shape in inputs.regions if name not in out]
    if not kept:
        return inputs.drawn_tissue
    reach = cut_to_slide(united(kept), inputs.size)
    return reach if inputs.drawn_tissue is None else polygonal(shapely.intersection(reach, inputs.drawn_tissue))


def _in_um(
    regions: Sequence[tuple[str, BaseGeometry]], mpp: NDArray[np.float64]
) -> tuple[tuple[str, BaseGeometry], ...]:
    """Classes and polygons, level-0 px to um."""
    shapes = np.array([*(shape for _, shape in regions), None], object)[:-1]
    scaled = shapely.transform(shapes, lambda xy: xy * mpp)
    return tuple(zip((name for name, _ in regions), scaled.tolist(), strict=True))
