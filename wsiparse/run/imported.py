"""Objects of other programs as results: everything that a run writes, but for the finding of objects.

The analysed area is the tissue as it is found here, or the regions that are given. All objects on the slide are kept
(with regions: those in them); as of a run, the report counts those in the analysed area. Where they come from stands in
every output.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray

from wsiparse.config import RunConfig
from wsiparse.coords import Frame, free_frame, is_free, to_level0
from wsiparse.errors import OutputError
from wsiparse.imports.clean import CUT, DROPPED, MADE_VALID, OFF, POINTS
from wsiparse.imports.decide import Decided, better_scale, decide
from wsiparse.imports.gather import Asked, Gathered, Target, Waiting, gather
from wsiparse.machine import own_version
from wsiparse.parallel.progress import Progress
from wsiparse.report.cohort import write_cohort_report
from wsiparse.report.stats.summary import summarise
from wsiparse.results.folder import done_record, own_record, report_record, slide_folder, summary_of, write_done
from wsiparse.results.one_slide import LOG, slide_log
from wsiparse.results.publish import publish_staged, staging
from wsiparse.results.runlog import RunLog, check_folders
from wsiparse.run.batch import check_results_folder
from wsiparse.run.outputs import KINDS, write_exports
from wsiparse.run.plan import SlideOverview, analysis_area, overlay_offset
from wsiparse.run.slide import Job, Outcome
from wsiparse.run.state import SlideOutput, slide_facts
from wsiparse.slides import Slide, open_slide, require_mpp
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.tiling import AnalysisArea, RegionClasses
from wsiparse.types import EngineLimits, ObjectTable, PromptKind, SlideSummary

__all__ = ["import_objects", "import_title"]

log = logging.getLogger("wsiparse")

#: What is done to objects -> how it is told.
_TOLD: Final = (
    (POINTS, "points: they have no size, and are drawn as spots of 4 um"),
    (MADE_VALID, "outlines that cross themselves, made valid"),
    (DROPPED, "outlines without an area, left out"),
    (CUT, "objects cut at the edge of the slide"),
    (OFF, "objects off the slide, left out"),
)


def import_title(name: str) -> str:
    """What every output says of where its objects come from."""
    return f"objects: imported from {name}, not made here"


@dataclass(frozen=True, slots=True)
class _Import:
    """What is imported, and where to."""

    files: tuple[Path, ...]
    job: Job
    config: RunConfig
    asked: Asked
    folder: Path
    progress: Progress


def import_objects(
    files: Sequence[Path],
    job: Job,
    results: Path,
    config: RunConfig,
    asked: Asked,
    *,
    progress: Progress,
    overwrite: bool = False,
) -> Outcome:
    """Make results of the objects of other programs on one slide, and the tables over all slides anew.

    Parameters
    ----------
    files : of other programs, all of this slide
    job : the slide, and the regions to analyse
    results : results folder
    config : settings of reading the slide and of the outputs
    asked : what the user says of the files
    progress : is told what people should know
    overwrite : replace results that are there

    Raises
    ------
    ImportFileError
        If a file cannot be used (see `wsiparse.imports.gather.gather`).
    OutputError
        If other results of this slide are there and `overwrite` is not given, or results cannot be written.
    WsiparseError
        If the slide or the regions cannot be used.
    """
    check_results_folder(results)
    taken = check_folders(results, [job.path])
    if job.path in taken:
        raise OutputError(taken[job.path])
    own = _Import(tuple(files), job, config, asked, slide_folder(results, job.path), progress)
    slide_mpp, override_mpp = job.slide_mpp or config.slide_mpp, job.override_mpp or config.override_mpp
    existed = [path for path in (results, own.folder.parent, own.folder) if path.exists()]
    try:
        with open_slide(
            job.path,
            slide_mpp=slide_mpp,
            override_mpp=override_mpp,
            reader=config.reader,
            image=job.image or config.image,
        ) as slide:
            for notice in (*slide.mpp_notices, *slide.notes):
                progress.say(f"notice: {slide.path.name}: {notice}")
            outcome = _imported(own, slide, overwrite=overwrite)
    finally:
        for path in (own.folder, own.folder.parent, results):  # what could not be made leaves nothing behind
            if path not in existed:
                with suppress(OSError):
                    path.rmdir()
    runs = RunLog(results, [job.path], config, {"shard": None, "imported": [str(file) for file in files]})
    runs.note(job.path, outcome.status)
    runs.close("finished")
    write_cohort_report(results)
    return outcome


@dataclass(frozen=True, slots=True, eq=False)
class _Ready:
    """Everything that is known before results are written."""

    slide: Slide
    area: AnalysisArea
    ground: SlideOverview
    target: Target
    gathered: Gathered
    decided: Decided
    title: str
    notes: tuple[str, ...]
    digest: str


def _imported(own: _Import, slide: Slide, *, overwrite: bool) -> Outcome:
    folder = own.folder
    with staging(folder) as made:
        with Waiting(made / "waiting") as waiting:
            ready = _read(own, slide, waiting)
            there = _there(folder, ready, overwrite=overwrite)
            if there is not None:
                return Outcome(own.job.path, folder, "already done", there)
            outside = _write_objects(made, waiting, ready)
        if outside:
            ready = replace(ready, notes=(*ready.notes, f"{outside:,} objects outside the analysed regions, left out"))
        with slide_log(folder / LOG):
            log.info("wsiparse %s: %s, %s", own_version(), own.job.path, ready.title)
            for note in ready.notes:
                log.warning("%s", note)
            summary, notices = _write_outputs(own, made, ready)
        slide.check_unchanged()
        publish_staged(made, folder, ready.digest, replace=overwrite)
    return Outcome(own.job.path, folder, "done", summary, notices=notices)


def _read(own: _Import, slide: Slide, waiting: Waiting) -> _Ready:
    """Read the files and decide everything about their objects, which then wait in `waiting`."""
    config = own.config
    target = Target(slide.name, slide.fingerprint, slide.size, require_mpp(slide), slide.bounds)
    classes = RegionClasses(config.tumour_classes, config.stroma_classes)
    # another program decided which objects there are: artefacts are reported, and nothing is left out
    area, ground = analysis_area(slide, config.updated({"keep_artefacts": True}), own.job.roi, None, classes)
    gathered = gather(own.files, target, own.asked, waiting)
    decided = decide(gathered, own.asked, target)
    programs = dict.fromkeys(file.program for file in gathered.files)
    title = import_title(own.asked.name or " and ".join(programs))
    notes = [*ground.told, *decided.notes]
    notes += [f"{gathered.counts[what]:,} {told}" for what, told in _TOLD if gathered.counts[what]]
    notes += [f"{n:,} {what}" for what, n in gathered.left.items()]
    if not config.whole_slide:
        levels = [slide.size[0] / width for width, _ in slide.level_sizes]
        tissue = replace(area, roi=None)
        notes += filter(None, [better_scale(gathered.sample, tissue.keeps, target, levels)])
    digest = _digest(own, gathered, slide, area, ground)
    return _Ready(slide, area, ground, target, gathered, decided, title, tuple(notes), digest)


def _digest(own: _Import, gathered: Gathered, slide: Slide, area: AnalysisArea, ground: SlideOverview) -> str:
    """Of everything that shapes the results."""
    config = own.config
    shaping = {
        "imported": [[file.sha256, file.program] for file in gathered.files],
        "asked": asdict(own.asked),
        "slide": [slide.fingerprint, slide.size, slide.mpp, slide.reader],
        "tissue": hashlib.sha256(np.packbits(area.tissue).tobytes()).hexdigest(),
        "regions": [(region.class_name, region.geometry.wkb_hex) for region in ground.regions],
        "whole slide": config.whole_slide,
        "offset": overlay_offset(slide, config),
        "labels": config.ngff if config.labels else None,
        "compartments": config.compartments,
        "classes": [config.tumour_classes, config.stroma_classes, config.tumour_is_epithelium],
    }
    return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()


def _there(folder: Path, ready: _Ready, *, overwrite: bool) -> SlideSummary | None:
    """The numbers of results that are there and are just these.

    Raises
    ------
    OutputError
        If others are there: they are not replaced unasked.
    """
    there = own_record(folder)
    if there is None or overwrite:
        return None
    if done_record(folder, ready.digest) is not None and report_record(folder) is not None:
        return summary_of(there)
    if there.get("digest") == ready.digest:
        return None
    raise OutputError(
        f"{folder}: holds other results of this slide ({there.get('engine')}). Write these to another folder with -o, "
        "or replace those with --overwrite."
    )


def _write_objects(made: Path, waiting: Waiting, ready: _Ready) -> int:
    """objects.zarr; how many objects lie outside the regions that are analysed."""
    decided, roi = ready.decided, ready.area.roi
    free = free_frame(ready.target.size, ready.target.mpp)
    is_region = np.array([False] + [prompt.kind == "region" for prompt in decided.prompts])
    outside = 0
    with ObjectSorter(made / "unsorted", frames=decided.frames, prompts=decided.prompts) as sorter:
        for waiting_table in waiting:
            table = replace(waiting_table, class_id=decided.class_of[waiting_table.class_id])
            if roi is not None:
                x, y = to_level0(table.centroid, free).T
                kept = shapely.contains_xy(roi, x, y)
                outside += int((~kept).sum())
                table = table.take(np.flatnonzero(kept))
            regions = is_region[table.class_id]
            kinds: tuple[tuple[PromptKind, NDArray[np.bool_]], ...] = (("cell", ~regions), ("region", regions))
            for kind, chosen in kinds:
                if chosen.any():
                    sorter.append(_in_frame(table.take(np.flatnonzero(chosen)), free, decided.frames[kind]))
        sorter.finish(made / "objects.zarr", engine=ready.title, slide=_facts(ready))
    return outside


def _in_frame(table: ObjectTable, free: Frame, frame: Frame) -> ObjectTable:
    """A table of the free frame in the frame of its kind: outlines that follow a grid have whole coordinates in it."""
    if is_free(frame):
        return table
    factor = np.asarray(free.downsample) / np.asarray(frame.downsample)
    coords = np.rint(table.coords * factor).astype(np.int32)
    parts = (table.ring_offsets, table.polygon_offsets)
    shapes = shapely.from_ragged_array(shapely.GeometryType.POLYGON, coords.astype(np.float64), parts)
    area = np.where(table.area_px > 0, np.rint(shapely.area(shapes)), 0).astype(np.int64)
    first = np.rint(table.first_px * factor[::-1]).astype(np.int32)
    return replace(table, coords=coords, area_px=area, centroid=table.centroid * factor, first_px=first)


def _facts(ready: _Ready) -> dict[str, object]:
    """What objects.zarr says about the slide, and about where its objects are from."""
    files = [asdict(file) for file in ready.gathered.files]
    return slide_facts(ready.slide) | {"imported": {"title": ready.title, "files": files}}


def _write_outputs(own: _Import, made: Path, ready: _Ready) -> tuple[SlideSummary, tuple[str, ...]]:
    """Everything that is a function of objects.zarr, and DONE.json; the numbers, and what people should know."""
    reader = ObjectsReader(made / "objects.zarr")
    prompts = ready.decided.prompts
    overlapping = overlapping_cells(reader)
    told = (f"{overlapping:,} of {reader.count('cell'):,} cells overlap another one; all are counted",)
    notes = (*ready.notes, *(told if overlapping else ()))
    summary = summarise(
        ((batch, reader.frames[kind]) for kind in KINDS for batch in reader.batches(kind)),
        prompts,
        slide=ready.slide.name,
        engine=ready.title,
        analysed_mm2=ready.area.area_mm2(ready.target.mpp),
    )
    slide = slide_facts(ready.slide) | {"notes": [*ready.slide.notes, *notes]}
    out = SlideOutput(
        slide=ready.slide,
        folder=own.folder,
        staging=made,
        config=own.config,
        prompts=prompts,
        title=ready.title,
        area=ready.area,
        ground=ready.ground,
        limits=EngineLimits(sentences=(_provenance(ready),), scored=False),
        facts=slide,
    )
    files = write_exports(out, reader, summary, ())
    counts = {told: ready.gathered.counts[what] for what, told in _TOLD if ready.gathered.counts[what]}
    facts: dict[str, Any] = {
        "wsiparse": own_version(),
        "settings": {
            "engine": ready.title,
            "prompts": [prompt.text for prompt in prompts],
            "slide content": ready.slide.fingerprint,
        },
        "slide": slide,
        "engine": ready.title,
        "licence": "",
        "weights_sha256": "",
        "imported": {"files": [asdict(file) for file in ready.gathered.files], "counts": counts, "notes": list(notes)},
        "unreadable": [],
    }
    write_done(made, files, ready.digest, summary, facts)
    return summary, notes


def _provenance(ready: _Ready) -> str:
    """What a report must say of objects that were not made here."""
    files = ", ".join(f"{file.name} (sha256 {file.sha256[:12]})" for file in ready.gathered.files)
    where = "the regions given, on tissue as found here" if ready.area.roi is not None else "tissue as found here"
    return (
        f"{ready.title[0].upper()}{ready.title[1:]}: the files are {files}. The analysed area is {where}: whether the "
        "other program looked at all of it is not known, and densities are too low where it did not."
    )


def overlapping_cells(reader: ObjectsReader) -> int:
    """How many cells share area with another one, streaming.

    Cells come in raster order of their tops: those that reach below the top of the next batch are kept for it.
    """
    above: NDArray[np.object_] = np.zeros(0, object)
    above_row = np.zeros(0, np.int64)
    found = np.zeros(reader.count("cell"), np.bool_)
    row = 0
    for table in reader.batches("cell", 1 << 13):
        coords, offsets = table.coords.astype(np.float64), (table.ring_offsets, table.polygon_offsets)
        shapes = np.concatenate([above, shapely.from_ragged_array(shapely.GeometryType.POLYGON, coords, offsets)])
        rows = np.concatenate([above_row, np.arange(row, row + len(table))])
        row += len(table)
        tree = shapely.STRtree(shapes)
        first, second = tree.query(shapes, predicate="intersects")
        pair = first < second
        first, second = first[pair], second[pair]
        shared = shapely.relate_pattern(shapes[first], shapes[second], "T********")
        found[rows[first[shared]]] = found[rows[second[shared]]] = True
        below = shapely.bounds(shapes)[:, 3] > int(table.first_px[-1, 0])
        above, above_row = shapes[below], rows[below]
    return int(found.sum())
