"""Hops 4 to 6 of one slide: its published parts become objects, numbers and files, while parts still arrive."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import shapely

from wsiparse.field.store import PartReader, PartShelf, parts_field
from wsiparse.report.stats.summary import LOW_SCORE, summarise
from wsiparse.results.folder import write_done
from wsiparse.run.arrivals import Arrivals
from wsiparse.run.outputs import KINDS, write_exports
from wsiparse.run.pipeline import judge, layers_of, objects_of
from wsiparse.run.plan import Pass
from wsiparse.run.settings import settings_of
from wsiparse.run.state import Site
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.tiling import TilePlan
from wsiparse.types import ObjectTable, RecognitionGrid, SlideSummary, Unreadable
from wsiparse.version import own_version

__all__ = ["assemble"]

log = logging.getLogger("wsiparse")


def assemble(site: Site, arrivals: Arrivals) -> tuple[SlideSummary, int]:
    """Make all results of a slide on its desk, DONE.json last; its numbers and the number of unreadable tiles.

    Raises
    ------
    FieldError, OutputError
        If a part is damaged, or results cannot be written. Whatever stops the parts from coming is raised too.
    """
    prepared, passes = site.prepared, site.prepared.passes
    judged: list[RecognitionGrid] = []
    began = time.monotonic()
    with ObjectSorter(site.desk / "objects.unsorted", frames=prepared.frames(), prompts=prepared.prompts) as sorter:
        for k, work in enumerate(passes):
            for table in _objects_of_pass(site, k, work, arrivals, judged):
                if len(table):
                    sorter.append(table)
        sorter.finish(site.desk / "objects.zarr", engine=prepared.title, slide=site.facts(), recognition=judged)
    made = time.monotonic()
    lost = [(work.plan, tile) for k, work in enumerate(passes) for tile in arrivals.lost(k)]
    lost_mm2 = _lost_mm2(lost)
    reader = ObjectsReader(site.desk / "objects.zarr")
    summary = summarise(
        ((batch, reader.frames[kind]) for kind in KINDS for batch in reader.batches(kind)),
        prepared.prompts,
        slide=site.slide.name,
        engine=prepared.title,
        analysed_mm2=prepared.area_mm2 - lost_mm2,
        unreadable_mm2=lost_mm2,
        recognition=judged,
    )
    files = write_exports(site, reader, summary, _cores(lost))
    facts: dict[str, Any] = {
        "wsiparse": own_version(),
        "settings": settings_of(prepared, site.slide, site.config),
        "slide": site.facts(),
        "engine": prepared.title,
        "weights_sha256": passes[0].scale.info.weights_sha256,
        "min_recognition": site.config.min_recognition,
        "low_score": LOW_SCORE,
        "unreadable": [asdict(tile) | {"mpp": plan.frame.mean_mpp} for plan, tile in lost],
    }
    write_done(site.desk, files, prepared.digest, summary, facts)
    log.info("objects took %.1f s, files and report %.1f s", made - began, time.monotonic() - made)
    return summary, len(lost)


def _objects_of_pass(
    site: Site, k: int, work: Pass, arrivals: Arrivals, judged: list[RecognitionGrid]
) -> Iterator[ObjectTable]:
    """Objects of every layer of a pass; its recognition scores, if any, are added to `judged`."""
    grid, chunks = work.plan.grid, arrivals.chunks[k]
    part_of = {i: chunk.part for chunk in chunks for i in chunk.indices}
    recognition = None
    if site.config.min_recognition > 0:  # objects are judged as they come
        recognition = _judge(work, arrivals, k)
    shelf = PartShelf(grid)
    try:
        field = parts_field(grid, len(work.scale.spec.prompts.of_kind("region")), shelf, part_of.get)
        for layer in layers_of(work):
            yield from objects_of(
                field,
                work,
                site.prepared.prompts,
                layer,
                recognition=recognition,
                min_recognition=site.config.min_recognition,
                block_px=site.config.block_size,
                workers=site.workers,
                progress=site.progress,
                ready=lambda box: arrivals.wait_for_box(k, grid, box),
            )
    finally:
        shelf.close()
    recognition = recognition or _judge(work, arrivals, k)
    if recognition is not None:
        judged.append(recognition)


def _judge(work: Pass, arrivals: Arrivals, k: int) -> RecognitionGrid | None:
    """Recognition scores of a pass once all its parts are there; None for engines without any."""
    if judge(work, []) is None:
        return None
    arrivals.wait(arrivals.chunks[k])
    tiles = []
    for chunk in arrivals.chunks[k]:
        part = PartReader(chunk.part, work.plan.grid)
        tiles += [(index, part.statistics[row]) for row, index in enumerate(part.tiles)]
        part.close()
    return judge(work, tiles)


def _cores(lost: list[tuple[TilePlan, Unreadable]]) -> list[tuple[float, float, float, float]]:
    """Cores of unreadable tiles, level-0 px, each (x0, y0, x1, y1)."""
    cores = []
    for plan, tile in lost:
        (fx, fy), core = plan.frame.downsample, tile.core
        cores.append((core.x * fx, core.y * fy, core.x1 * fx, core.y1 * fy))
    return cores


def _lost_mm2(lost: list[tuple[TilePlan, Unreadable]]) -> float:
    """Analysed area inside the cores of unreadable tiles, mm^2; each spot counts once."""
    if not lost:
        return 0.0
    plan = lost[0][0]
    everything = shapely.union_all([shapely.box(*core) for core in _cores(lost)])
    roi = everything if plan.area.roi is None else shapely.intersection(plan.area.roi, everything)
    parts = [g for g in shapely.get_parts(roi) if g.geom_type == "Polygon"]
    if not parts:
        return 0.0
    return replace(plan.area, roi=shapely.MultiPolygon(parts)).area_mm2(plan.slide_mpp)
