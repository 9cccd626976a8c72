"""One slide's report: objects.zarr and report_inputs/ become counts.csv, density.png, report.html and report.json.

Nothing else is read, so a report can be redone without its slide. report.json is written last: it holds every number
of the page and names the other three files with size and sha256, as DONE.json does for the results themselves.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image
from shapely.geometry.base import BaseGeometry

from wsiparse.atomic import output_error, publish
from wsiparse.choices import Division
from wsiparse.coords import Frame, to_um
from wsiparse.errors import OutputError, TileReadError
from wsiparse.machine import own_version
from wsiparse.recognize.vocabulary import trained_target
from wsiparse.report.pages.limits import limits
from wsiparse.report.pages.maps import (
    RAMP,
    MapBackground,
    compartment_map,
    density_map,
    density_sheet,
    overview_map,
    spot_picture,
    top_of,
)
from wsiparse.report.pages.page import slide_page
from wsiparse.report.pages.picture import Picture
from wsiparse.report.stats.compartments import EPITHELIUM, TUMOUR, Inside
from wsiparse.report.stats.methods import METHODS
from wsiparse.report.stats.numbers import REST, ReportNumbers, ReportSettings, Role, Source, compute_report
from wsiparse.report.stats.objects import KINDS, objects_in
from wsiparse.report.stats.qc import SlideQuality, slide_quality
from wsiparse.report.stats.regions_drawn import DrawnRegion, drawn_regions
from wsiparse.report.stats.rows import CsvSlide, IntervalSettings, counts_csv
from wsiparse.report.stats.spots import Spot
from wsiparse.report.stats.summary import nothing_told
from wsiparse.report.stats.tissue import Tissue, analysed_tissue
from wsiparse.results.folder import (
    REPORT_INPUTS,
    made_of,
    report_inputs_in,
    report_record,
    write_report_record,
    write_text,
)
from wsiparse.results.publish import publish_report, staging
from wsiparse.results.report_inputs import ReportInputs, jpeg_bytes, read_report_inputs
from wsiparse.results.whole import check_whole
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
from wsiparse.types import Box, ObjectTable, PromptSet

__all__ = [
    "RegionsFile",
    "ReportData",
    "cells_of",
    "load",
    "read_regions_file",
    "redo_slide_report",
    "roles_of",
    "square_images",
    "write_slide_report",
]

log = logging.getLogger("wsiparse")

_ROLES: Final[Mapping[str, Role]] = {
    "inflammatory cells": "immune",
    "neoplastic cells": "tumour",
    "epithelial cells": "tumour",
    "connective tissue cells": "connective",
}
#: Objects that begin so far above a square may reach into it, um.
_REACH_UM: Final = 100.0


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
    settings = ReportSettings(asked, IntervalSettings(seed=seed))
    is_tumour = inputs.tumour_is_epithelium if tumour_is_epithelium is None else tumour_is_epithelium
    drawn_out = [shape for name, shape in given if name in out]
    spoilt = [shape for _, shape, left_out in inputs.found_artefacts if left_out and not shape.is_empty]
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
    area = {
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
        # results of an older version do not tell the latter, and its engines by rule gave no other probability
        nucleus_probability=inputs.limits.nucleus_probability or inputs.limits.classes_by_rule,
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
    marked = [(artefact_class(kind), s) for kind, s, left_out in inputs.found_artefacts if left_out and not s.is_empty]
    drawn = drawn_regions(_in_um([*given, *marked], mpp), is_left_out)
    file = (regions.name, regions.sha256) if regions is not None else inputs.region_file
    notes = regions.notes if regions is not None else inputs.region_notes
    if regions is not None:
        notes += _microns(inputs, [shape for _, shape in kept])
    return ReportData(reader, inputs, source, area, quality, settings, regions, drawn, file, notes, is_tumour)


def write_slide_report(
    folder: Path, slide_id: str, loaded: ReportData, squares: Mapping[str, bytes], *, analysed: str | None = None
) -> dict[str, Any]:
    """Write a slide's report, report.json last; its numbers.

    Parameters
    ----------
    folder : where the four files go
    slide_id : name of the slide's results folder
    squares : JPEG of every pictured square of the inputs that could be read, by file name
    analysed : day the slide was analysed, YYYY-MM-DD in UTC; None for today

    Raises
    ------
    OutputError
        If a file cannot be written.
    """
    analysis = compute_report(loaded.source, loaded.settings, loaded.area, loaded.quality)
    source = loaded.source
    nothing = nothing_told(source.prompts, source.objects.n_cells, source.tissue.area_mm2)
    today = _day(time.time())
    pictures, maps, tops = _maps(loaded, analysis)
    spots = _spot_pictures(loaded, analysis.spots, squares)
    numbers: dict[str, Any] = {
        "wsiparse": own_version(),
        "slide": dict(loaded.inputs.slide),
        "engine": loaded.reader.engine,
        "dates": {"analysed": analysed or today, "report": today},
        "settings": loaded.settings.as_json()
        | {
            "roi": loaded.file[0] if loaded.file is not None else None,
            "roi_sha256": loaded.file[1] if loaded.file is not None else None,
            "tissue": loaded.inputs.tissue_file[0] if loaded.inputs.tissue_file is not None else None,
            "tissue_sha256": loaded.inputs.tissue_file[1] if loaded.inputs.tissue_file is not None else None,
            "tumour_is_epithelium": loaded.tumour_is_epithelium,
        },
        "region_notes": list(loaded.notes),
        **analysis.numbers,
        "limits": limits(
            analysis.numbers["area"],
            loaded.inputs.slide,
            loaded.inputs.limits,
            nothing,
            tumour_is_epithelium=loaded.tumour_is_epithelium,
        ),
        "stain_strength": loaded.inputs.limits.stain_strength,
        "regions": _named(loaded.drawn),
        "maps": maps,
        "ramp": list(RAMP),
        "methods": [dict(method) for method in METHODS],
    }
    for spot in numbers["immune"]["hot_spots"]["spots"]:
        name = f"spot/{spot['rank']}"
        spot["picture"] = name if name in spots else None
    write_text(folder / "counts.csv", counts_csv(CsvSlide(numbers, str(numbers["slide"]["name"]), slide_id)))
    sheet = density_sheet(
        _ground(loaded),
        analysis.grid,
        [p.class_name for p in loaded.source.prompts],
        tops,
        f"{numbers['slide']['name']}   {numbers['engine']}   research use only",
    )
    with publish(folder / "density.png") as temporary:
        sheet.save(temporary, format="PNG", compress_level=4)
    write_text(folder / "report.html", slide_page(numbers, pictures | spots))
    numbers["made_of"] = made_of(loaded.reader.path.parent)
    write_report_record(folder, numbers)
    return numbers


def redo_slide_report(
    folder: Path,
    asked: Division | None,
    regions: RegionsFile | None,
    *,
    seed: int = 0,
    classes: RegionClasses | None = None,
    tumour_is_epithelium: bool | None = None,
) -> dict[str, Any]:
    """Make the report of a finished slide anew from its objects.zarr and report_inputs/; its numbers.

    Raises
    ------
    OutputError
        If the slide is not finished, its results are damaged, or the report cannot be written.
    """
    where = report_inputs_in(folder)
    check_whole(folder, "objects.zarr", where.name)
    inputs = read_report_inputs(where)
    squares = {}
    for square in inputs.squares:
        try:
            squares[square.file] = (where / square.file).read_bytes()
        except OSError as error:
            raise output_error(where / square.file, error, "read") from error
    loaded = load(
        ObjectsReader(folder / "objects.zarr"),
        inputs,
        asked,
        regions,
        seed=seed,
        classes=classes,
        tumour_is_epithelium=tumour_is_epithelium,
    )
    with staging(folder) as own:
        numbers = write_slide_report(own, folder.absolute().name, loaded, squares, analysed=_analysed(folder))
        publish_report(own, folder)
    return numbers


def _day(seconds: float) -> str:
    """Day of a time since 1970, YYYY-MM-DD in UTC."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()


def _analysed(folder: Path) -> str:
    """Day a finished slide was analysed: as its report says, else when DONE.json was written."""
    before = report_record(folder)
    if before is not None and "dates" in before:
        return str(before["dates"]["analysed"])
    try:
        return _day((folder / "DONE.json").stat().st_mtime)
    except OSError as error:
        raise output_error(folder / "DONE.json", error, "read") from error


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


def square_images(boxes: Sequence[Box], read: Callable[[Box], NDArray[np.uint8]]) -> dict[str, bytes]:
    """JPEG of squares of the slide, by file name in report_inputs/; those that cannot be read are left out.

    Parameters
    ----------
    boxes : px of the frame that `read` reads
    read : pixels of a box, (box.height, box.width, 3) uint8
    """
    out = {}
    for k, box in enumerate(boxes, 1):
        try:
            out[f"spots/{k}.jpg"] = jpeg_bytes(read(box))
        except TileReadError as error:
            log.warning("no picture of a hot spot: %s", error)
    return out


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


def _named(drawn: Sequence[DrawnRegion]) -> list[dict[str, Any]]:
    """Classes of drawn regions, how many there are of each, and whether they are left out; in order of their names."""
    counted = Counter((region.class_name, region.left_out) for region in drawn)
    return [{"class": name, "left_out": out, "n": n} for (name, out), n in sorted(counted.items())]


def _ground(loaded: ReportData) -> MapBackground:
    inputs = loaded.inputs
    if inputs.view is None:
        return MapBackground.of(inputs.picture, loaded.source.tissue.cells, inputs.overview)
    size, mpp = inputs.size, inputs.mpp
    return MapBackground.of(
        _jpeg_pixels(inputs.view),
        loaded.source.tissue.cells,
        inputs.overview,
        slide_um=(size[0] * mpp[0], size[1] * mpp[1]),
    )


def _maps(loaded: ReportData, analysis: ReportNumbers) -> tuple[dict[str, Picture], list[dict[str, Any]], list[float]]:
    """Maps by key, what the page says of density maps, and the tops of their ramps."""
    ground, inputs = _ground(loaded), loaded.inputs
    described = analysis.numbers["compartments"]
    # a class has one colour in both pictures
    colours = dict(zip(described["names"], described["colours"], strict=True)) if described["used"] == "roi" else {}
    drawn = [replace(r, colour=colours.get(r.class_name or "unclassified", r.colour)) for r in loaded.drawn]
    pictures = {"overview": overview_map(ground, drawn)}
    if analysis.compartments is not None and described["used"] != "none":
        pictures["compartments"] = compartment_map(
            ground, analysis.compartments.labels, inputs.overview, described["colours"]
        )
    maps, tops = [], []
    for k, prompt in enumerate(loaded.source.prompts):
        top, highest = top_of(analysis.grid, k)
        tops.append(top)
        name = f"density/{k}"
        pictures[name] = density_map(ground, analysis.grid, k, top)
        maps.append(
            {
                "class": prompt.class_name,
                "picture": name,
                "top_per_mm2": top,
                "highest_per_mm2": highest,
                "grid_um": loaded.settings.grid_um,
            }
        )
    return pictures, maps, tops


def _spot_pictures(loaded: ReportData, spots: Sequence[Spot], squares: Mapping[str, bytes]) -> dict[str, Picture]:
    """Pictured squares among the spots, with outlines, by key."""
    file_of = {square.box: square.file for square in loaded.inputs.squares}
    out = {}
    for rank, spot in enumerate(spots, 1):
        data = squares.get(file_of.get(spot.box, ""))
        if data is None:
            continue
        pixels = _jpeg_pixels(data)
        near = [_cells_near(loaded.reader, spot)]
        out[f"spot/{rank}"] = spot_picture(
            pixels, spot.box, near, loaded.source.prompts, float(np.mean(loaded.inputs.mpp))
        )
    return out


def _jpeg_pixels(data: bytes) -> NDArray[np.uint8]:
    """(h, w, 3) uint8 of a JPEG of report_inputs/.

    Raises
    ------
    OutputError
        If it is damaged.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.asarray(image.convert("RGB"))
    except OSError as error:
        raise OutputError(
            f"a picture of {REPORT_INPUTS}/ is damaged ({error}). Run the slide again with --overwrite."
        ) from error


def _cells_near(reader: ObjectsReader, spot: Spot) -> tuple[ObjectTable, Frame]:
    """Cells that may reach into a square: rows are in raster order of the first pixel."""
    frame = reader.frames["cell"]
    y0, y1 = spot.corner_um[1] - _REACH_UM, spot.corner_um[1] + spot.size_um
    first, last = reader.rows_between("cell", y0 / frame.mpp[1], y1 / frame.mpp[1])
    table = reader.table("cell", first, last)
    x = to_um(table.centroid, frame)[:, 0]
    reach = spot.size_um + _REACH_UM
    return table.take(np.flatnonzero(np.abs(x - spot.corner_um[0] - spot.size_um / 2) <= reach)), frame
