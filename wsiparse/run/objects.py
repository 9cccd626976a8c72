"""Steps 4 to 6 of one slide: its published parts become objects, numbers and files, while parts still arrive."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import shapely

from wsiparse.field.store import PartCache, PartReader, parts_field
from wsiparse.machine import own_version
from wsiparse.recognize.registry import engine_of
from wsiparse.report.stats.summary import LOW_SCORE, summarise
from wsiparse.results.folder import write_done
from wsiparse.run.blocks import BlockWork, layers_of, objects_of
from wsiparse.run.chunk_status import ChunkStatus
from wsiparse.run.outputs import KINDS, write_exports
from wsiparse.run.plan import Pass
from wsiparse.run.settings import settings_of
from wsiparse.run.state import SlideRun
from wsiparse.run.tiles import recognition_scores
from wsiparse.store.read import ObjectsReader
from wsiparse.store.sort import ObjectSorter
from wsiparse.tiling import TilePlan
from wsiparse.types import ObjectTable, RecognitionGrid, SlideSummary, Unreadable

__all__ = ["assemble"]

log = logging.getLogger("wsiparse")


def assemble(slide_run: SlideRun, chunk_status: ChunkStatus) -> tuple[SlideSummary, int]:
    """Make all results of a slide in its staging folder, DONE.json last; its numbers, and how many tiles were lost.

    Raises
    ------
    FieldError, OutputError
        If a part is damaged, or results cannot be written. Whatever stops the parts from coming is raised too.
    """
    prepared, passes = slide_run.prepared, slide_run.prepared.passes
    judged: list[RecognitionGrid] = []
    began = time.monotonic()
    with ObjectSorter(
        slide_run.staging / "objects.unsorted", frames=prepared.frames(), prompts=prepared.prompts
    ) as sorter:
        for k, scale_pass in enumerate(passes):
            for table in _objects_of_pass(slide_run, k, scale_pass, chunk_status, judged):
                if len(table):
                    sorter.append(table)
        sorter.finish(
            slide_run.staging / "objects.zarr", engine=prepared.title, slide=slide_run.facts(), recognition=judged
        )
    made = time.monotonic()
    lost = [(scale_pass.plan, tile) for k, scale_pass in enumerate(passes) for tile in chunk_status.lost(k)]
    lost_mm2 = _lost_mm2(lost)
    reader = ObjectsReader(slide_run.staging / "objects.zarr")
    summary = summarise(
        ((batch, reader.frames[kind]) for kind in KINDS for batch in reader.batches(kind)),
        prepared.prompts,
        slide=slide_run.slide.name,
        engine=prepared.title,
        analysed_mm2=prepared.area_mm2 - lost_mm2,
        unreadable_mm2=lost_mm2,
        recognition=judged,
    )
    files = write_exports(slide_run.output(), reader, summary, _cores(lost))
    facts: dict[str, Any] = {
        "wsiparse": own_version(),
        "settings": settings_of(prepared, slide_run.slide, slide_run.config),
        "slide": slide_run.facts(),
        "engine": prepared.title,
        "licence": engine_of(passes[0].scale.spec.engine).licence,
        "weights_sha256": passes[0].scale.info.weights_sha256,
        "min_recognition": slide_run.config.min_recognition,
        "low_score": LOW_SCORE,
        "unreadable": [asdict(tile) | {"mpp": plan.frame.mean_mpp} for plan, tile in lost],
    }
    write_done(slide_run.staging, files, prepared.digest, summary, facts)
    log.info("objects took %.1f s, files and report %.1f s", made - began, time.monotonic() - made)
    return summary, len(lost)


def _objects_of_pass(
    slide_run: SlideRun, k: int, scale_pass: Pass, chunk_status: ChunkStatus, judged: list[RecognitionGrid]
) -> Iterator[ObjectTable]:
    """Objects of every layer of a pass; its recognition scores, if any, are added to `judged`."""
    grid, chunks = scale_pass.plan.grid, chunk_status.chunks[k]
    part_of = {i: chunk.part for chunk in chunks for i in chunk.indices}
    recognition = None
    if slide_run.config.min_recognition > 0:  # objects are judged as they come
        recognition = _judge(scale_pass, chunk_status, k)
    shelf = PartCache(grid)
    try:
        field = parts_field(grid, len(scale_pass.scale.spec.prompts.of_kind("region")), shelf, part_of.get)
        for layer in layers_of(scale_pass):
            yield from objects_of(
                field,
                scale_pass,
                slide_run.prepared.prompts,
                layer,
                BlockWork(
                    slide_run.config.block_size,
                    slide_run.workers,
                    slide_run.progress,
                    ready=lambda box: chunk_status.wait_for_box(k, grid, box),
                ),
                recognition=recognition,
                min_recognition=slide_run.config.min_recognition,
            )
    finally:
        shelf.close()
    recognition = recognition or _judge(scale_pass, chunk_status, k)
    if recognition is not None:
        judged.append(recognition)


def _judge(scale_pass: Pass, chunk_status: ChunkStatus, k: int) -> RecognitionGrid | None:
    """Recognition scores of a pass once all its parts are there; None for engines without any."""
    if recognition_scores(scale_pass, []) is None:
        return None
    chunk_status.wait(chunk_status.chunks[k])
    tiles = []
    for chunk in chunk_status.chunks[k]:
        part = PartReader(chunk.part, scale_pass.plan.grid)
        tiles += [(index, part.statistics[row]) for row, index in enumerate(part.tiles)]
        part.close()
    return recognition_scores(scale_pass, tiles)


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
