"""Slides in, results folders out: one bad slide costs only itself, and what is done stays done.

A slide's results are written file by file under temporary names into ``slides/<stem>__<hash8>/`` and count only when
DONE.json, written last, names them. Field parts stay in a work folder until then, so that a run that was interrupted
goes on where it was.
"""

from __future__ import annotations

import errno
import json
import logging
import platform
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import shapely

from wsiparse.chunks import Chunk, chunks_of, fill_field
from wsiparse.config import RunConfig
from wsiparse.engine import Engine
from wsiparse.errors import FieldError, OutputError, WsiparseError
from wsiparse.exports import KINDS, write_exports
from wsiparse.field.store import PartReader, parts_field
from wsiparse.pipeline import judge, layers_of, objects_of
from wsiparse.prepare import prepare
from wsiparse.progress import Progress
from wsiparse.report.summary import LOW_SCORE, counts_csv, summarise
from wsiparse.schedule import peak_rss_bytes
from wsiparse.site import Site
from wsiparse.slides import Slide, open_slide
from wsiparse.tiling import TilePlan
from wsiparse.types import RecognitionGrid, SlideSummary, Unreadable
from wsiparse.write.manifest import done_record, drop_done, slide_folder, summary_of, write_done, write_text
from wsiparse.write.objects_zarr import ObjectsReader
from wsiparse.write.parts import output_error
from wsiparse.write.spool import ObjectSpool

__all__ = ["Job", "Outcome", "check_results_folder", "run_slide", "run_slides"]

log = logging.getLogger("wsiparse")

Status = Literal["done", "already done", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One slide to analyse.

    Parameters
    ----------
    path : slide file
    slide_mpp : microns per level-0 px that replaces the metadata, or None
    roi : GeoJSON file of the regions to analyse, or None
    """

    path: Path
    slide_mpp: float | None = None
    roi: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one slide: its folder and numbers when done, the one-line reason when failed."""

    path: Path
    folder: Path
    status: Status
    summary: SlideSummary | None = None
    unreadable: int = 0
    error: str = ""


def check_results_folder(results: Path) -> None:
    """See, before any work is done, that the results folder can be written to; leaves nothing behind.

    Raises
    ------
    OutputError
        If it cannot be made or written to.
    """
    existing = results
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        if not existing.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(existing))
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as err:
        raise output_error(results, err) from err


@contextmanager
def _slide_log(path: Path) -> Iterator[None]:
    """Append everything the package logs meanwhile to a file of this slide."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    level = log.level
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    try:
        yield
    finally:
        log.removeHandler(handler)
        log.setLevel(level)
        handler.close()


def _write_objects(site: Site, chunks: list[list[Chunk]]) -> list[RecognitionGrid]:
    """Hops 4 and 5: the parts of every pass become objects.zarr; returns the recognition scores, if any."""
    prepared, judged = site.prepared, []
    shutil.rmtree(site.work / "spool", ignore_errors=True)
    with ObjectSpool(site.work / "spool", frames=prepared.frames(), prompts=prepared.prompts) as spool:
        for work, own in zip(prepared.passes, chunks, strict=True):
            parts = [PartReader(chunk.part, work.plan.grid) for chunk in own]
            try:
                field = parts_field(work.plan.grid, len(work.scale.spec.prompts.of_kind("region")), parts)
                recognition = judge(work, [(i, part.statistics[k]) for part in parts for k, i in enumerate(part.tiles)])
                judged += [recognition] if recognition is not None else []
                for layer in layers_of(work):
                    for table in objects_of(
                        field,
                        work,
                        prepared.prompts,
                        layer,
                        recognition=recognition,
                        min_recognition=site.config.min_recognition,
                        block_px=site.config.block_size,
                        workers=site.workers,
                        progress=site.progress,
                    ):
                        if len(table):
                            spool.append(table)
            finally:
                for part in parts:
                    part.close()
        spool.finish(
            site.folder / "objects.zarr",
            engine=prepared.title,
            slide=_slide_facts(site.slide),
            recognition=judged,
        )
    return judged


def _slide_facts(slide: Slide) -> dict[str, object]:
    return {
        "name": slide.name,
        "fingerprint": slide.fingerprint,
        "size": list(slide.size),
        "mpp": list(slide.mpp or ()),
        "mpp_source": slide.mpp_source,
        "vendor": slide.vendor,
        "reader": slide.reader,
        "bounds": [slide.bounds.x, slide.bounds.y, slide.bounds.width, slide.bounds.height],
    }


def run_slide(
    job: Job,
    results: Path,
    config: RunConfig,
    engine: Engine,
    *,
    overwrite: bool = False,
    workers: int = 1,
    progress: Progress,
) -> Outcome:
    """Analyse one slide and publish its results.

    Raises
    ------
    WsiparseError
        If the slide, a setting or the results folder cannot be used. Nothing half-written is left: results of an
        earlier run stay, and finished parts of this one wait in the work folder for the next try.
    """
    began = time.monotonic()
    folder = slide_folder(results, job.path)
    with open_slide(job.path, slide_mpp=job.slide_mpp or config.slide_mpp, reader=config.reader) as slide:
        prepared = prepare(slide, config, engine, job.roi)
        record = done_record(folder, prepared.digest)
        if record is not None and not overwrite:
            return Outcome(job.path, folder, "already done", summary_of(record), len(record.get("unreadable", [])))
        work = folder / f"work-{prepared.digest[:12]}"
        if overwrite:
            shutil.rmtree(work, ignore_errors=True)
        try:
            for k in range(len(prepared.passes)):
                (work / f"scale-{k}").mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise output_error(work, err) from err
        with _slide_log(folder / "log.txt"):
            log.info("wsiparse %s: %s, %s", version("wsiparse"), job.path, prepared.title)
            log.info("mpp %s (%s)", slide.mpp, slide.mpp_source)
            for p in prepared.passes:
                log.info("%d tiles of %d px at %.4g um/px", len(p.plan), p.plan.grid.tile, p.plan.frame.mean_mpp)
            summary, lost = _compute(Site(slide, folder, work, prepared, engine, config, workers, progress))
            log.info(
                "done in %.1f s: %d cells on %.4f mm2; peak memory of the process %d MB",
                time.monotonic() - began,
                summary.n_cells,
                summary.analysed_mm2,
                (peak_rss_bytes() or 0) // 1_000_000,
            )
        shutil.rmtree(work, ignore_errors=True)
    return Outcome(job.path, folder, "done", summary, lost)


def _lost_mm2(lost: list[tuple[TilePlan, Unreadable]]) -> float:
    """Analysed area inside the cores of unreadable tiles, mm^2; each spot counts once."""
    if not lost:
        return 0.0
    cores = []
    for plan, tile in lost:
        (fx, fy), core = plan.frame.downsample, tile.core
        cores.append(shapely.box(core.x * fx, core.y * fy, core.x1 * fx, core.y1 * fy))
    plan = lost[0][0]
    everything = shapely.union_all(cores)
    roi = everything if plan.area.roi is None else shapely.intersection(plan.area.roi, everything)
    parts = [g for g in shapely.get_parts(roi) if g.geom_type == "Polygon"]
    if not parts:
        return 0.0
    return replace(plan.area, roi=shapely.MultiPolygon(parts)).area_mm2(plan.slide_mpp)


def _compute(site: Site) -> tuple[SlideSummary, int]:
    """Field, objects and exports of one slide; its numbers and the number of unreadable tiles."""
    folder, prepared = site.folder, site.prepared
    chunks = [chunks_of(site.work / f"scale-{k}", p.plan.kept.tolist()) for k, p in enumerate(prepared.passes)]
    lost: list[tuple[TilePlan, Unreadable]] = []
    try:
        for work, own in zip(prepared.passes, chunks, strict=True):
            lost += [(work.plan, tile) for tile in fill_field(site, work, own)]
        drop_done(folder)
        judged = _write_objects(site, chunks)
    except FieldError:
        shutil.rmtree(site.work, ignore_errors=True)  # a damaged part must not be met again
        raise
    lost_mm2 = _lost_mm2(lost)
    reader = ObjectsReader(folder / "objects.zarr")
    summary = summarise(
        ((batch, reader.frames[kind]) for kind in KINDS for batch in reader.batches(kind)),
        prepared.prompts,
        slide=site.slide.name,
        engine=prepared.title,
        analysed_mm2=prepared.area_mm2 - lost_mm2,
        unreadable_mm2=lost_mm2,
        recognition=judged,
    )
    files = write_exports(site, summary)
    facts: dict[str, Any] = {
        "slide": _slide_facts(site.slide),
        "engine": prepared.title,
        "weights_sha256": prepared.passes[0].scale.info.weights_sha256,
        "min_recognition": site.config.min_recognition,
        "low_score": LOW_SCORE,
        "unreadable": [asdict(tile) | {"mpp": plan.frame.mean_mpp} for plan, tile in lost],
    }
    write_done(folder, files, prepared.digest, summary, facts)
    return summary, len(lost)


def run_slides(
    jobs: Sequence[Job],
    results: Path,
    config: RunConfig,
    engine: Engine,
    *,
    overwrite: bool = False,
    fail_fast: bool = False,
    workers: int = 1,
    progress: Progress,
) -> Iterator[Outcome]:
    """Analyse slides one after the other, yielding each outcome; a failed slide is told and the rest goes on.

    When all are through (or the caller stops), summary.csv and run-<utc>-<id>.json are written, unless nothing
    could be written at all.

    Raises
    ------
    OutputError
        If the results folder itself cannot be written to: every further slide would fail alike.
    """
    outcomes: list[Outcome] = []
    try:
        for job in jobs:
            try:
                outcome = run_slide(
                    job, results, config, engine, overwrite=overwrite, workers=workers, progress=progress
                )
            except OutputError:
                raise
            except WsiparseError as err:
                outcome = Outcome(job.path, slide_folder(results, job.path), "failed", error=str(err))
            outcomes.append(outcome)
            yield outcome
            if fail_fast and outcome.status == "failed":
                break
    finally:
        if any(o.status != "failed" for o in outcomes):
            _write_run_files(results, config, outcomes)


def _write_run_files(results: Path, config: RunConfig, outcomes: list[Outcome]) -> None:
    """summary.csv over every finished slide of the folder, and the manifest of this run."""
    records = (done_record(folder) for folder in sorted((results / "slides").iterdir()))
    write_text(results / "summary.csv", counts_csv([summary_of(r) for r in records if r is not None]))
    now = datetime.now(UTC)
    manifest = {
        "wsiparse": version("wsiparse"),
        "python": platform.python_version(),
        "finished_utc": now.isoformat(timespec="seconds"),
        "config": config.model_dump(),
        "slides": [
            {
                "path": str(o.path),
                "folder": o.folder.name,
                "status": o.status,
                "unreadable_tiles": o.unreadable,
                "error": o.error,
            }
            for o in outcomes
        ],
    }
    name = f"run-{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}.json"
    write_text(results / name, json.dumps(manifest, indent=1, ensure_ascii=False) + "\n")
