"""One slide from file to results folder: plan, parts, objects, publishing. What is done stays done.

A slide's results are made in a staging folder of this process alone, and moved into ``slides/<stem>__<hash8>/`` at the
end; they count only when DONE.json, moved last, names them. Parts of the field lie in a work folder named after the
digest of everything that shapes the result: an interrupted run goes on where it was, other settings never mix, and two
runs at once on the same slide use each other's parts and publish the same bytes.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from wsiparse.atomic import output_error, remove_dead
from wsiparse.config import RunConfig
from wsiparse.errors import FieldError, OutputError, SlideError, SlideNotFoundError
from wsiparse.machine import own_version, peak_rss_bytes
from wsiparse.parallel.dask import Executor, LocalExecutor
from wsiparse.parallel.progress import OfSlide, Progress
from wsiparse.report.slide import redo_slide_report
from wsiparse.report.stats.summary import nothing_told
from wsiparse.results.folder import (
    JOB_FILE,
    done_record,
    file_name,
    full_name,
    own_record,
    report_record,
    slide_folder,
    summary_of,
    write_text,
)
from wsiparse.results.one_slide import LOG, slide_log
from wsiparse.results.publish import publish_staged, staging
from wsiparse.results.whole import another_version
from wsiparse.run.chunk_status import ChunkStatus
from wsiparse.run.chunks import Chunk, chunks_of
from wsiparse.run.engine import Engine
from wsiparse.run.filling import MissingChunks, SlideSource, fill, filling
from wsiparse.run.objects import assemble
from wsiparse.run.plan import Prepared, check_memory, prepare
from wsiparse.run.scale_check import require_mpp_or_guess, scale_notice
from wsiparse.run.settings import FOUND, chosen_here, differences, job_config, other_arithmetic, settings_of, told
from wsiparse.run.shards import Shard
from wsiparse.run.state import SlideRun
from wsiparse.slides import Slide, missing_mm2, open_slide
from wsiparse.types import SlideSummary

__all__ = ["Job", "Outcome", "RunSetup", "Status", "run_slide"]

log = logging.getLogger("wsiparse")

Status = Literal["done", "already done", "shard done", "failed"]


@dataclass(frozen=True, slots=True)
class Job:
    """One slide to analyse.

    Parameters
    ----------
    path : slide file, or its address as text; names the results
    slide_mpp : microns per level-0 px where the metadata have none, or None
    roi : GeoJSON file of the regions to analyse, or None
    override_mpp : microns per level-0 px instead of what the metadata say, or None
    image : name or number of the image in a file of several, or None
    notes : for its log, a line each
    fault : why it cannot be analysed, known before anything is opened; "" if nothing is known to be wrong
    tissue : GeoJSON file of the slide's tissue, or None for what is found
    """

    path: Path | str
    slide_mpp: float | None = None
    roi: Path | None = None
    override_mpp: float | None = None
    image: str | None = None
    notes: tuple[str, ...] = ()
    fault: str = ""
    tissue: Path | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one slide.

    Parameters
    ----------
    path, folder : the slide and its results
    status : "failed" with the one-line reason in `error`
    summary : its numbers when done
    unreadable : tiles that could not be read
    error : see `status`
    known : whether the error is of a known kind; else it is a fault in the program, and the log has it whole
    notices : lines that people should read
    """

    path: Path | str
    folder: Path
    status: Status
    summary: SlideSummary | None = None
    unreadable: int = 0
    error: str = ""
    known: bool = True
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RunSetup:
    """What all slides of a run have in common.

    Parameters
    ----------
    results : results folder
    config : what is looked for and how
    engine : its networks
    executor : who recognises tiles
    progress : is shown how far it is
    overwrite : do again what is done, and replace results of other settings
    shard : compute only this share of each slide's parts and leave the rest to others; None for all of them
    compute : False only finishes slides all of whose parts are there
    """

    results: Path
    config: RunConfig
    engine: Engine
    executor: Executor
    progress: Progress
    overwrite: bool = False
    shard: Shard | None = None
    compute: bool = True


def run_slide(job: Job, setup: RunSetup, *, run: str = "", rank: int = 0, source: Path | None = None) -> Outcome:
    """Analyse one slide and publish its results.

    Parameters
    ----------
    job : the slide
    setup : of the run
    run : identifies the run to its workers
    rank : of this slide in the run; earlier slides go first
    source : where the slide is read from, when that is a copy; needed for an address

    Raises
    ------
    OutputError
        If `setup.compute` is False and parts are missing; if finished results of other settings are there and
        `setup.overwrite` is not given.
    WsiparseError
        If the slide, a setting or the results folder cannot be used. Nothing half-written is left: results of an
        earlier run stay, and finished parts of this one wait in the work folder for the next try.
    """
    began = time.monotonic()
    config, executor = setup.config, setup.executor
    progress = OfSlide(setup.progress, file_name(job.path))
    folder = slide_folder(setup.results, job.path)
    call = SlideSource(
        source or Path(job.path),
        job.slide_mpp or config.slide_mpp,
        job.override_mpp or config.override_mpp,
        job.image or config.image,
        run,
        rank,
    )
    with open_slide(
        call.source,
        slide_mpp=call.slide_mpp,
        override_mpp=call.override_mpp,
        reader=config.reader,
        image=call.image,
        threads=executor.workers,
    ) as slide:
        local = isinstance(executor, LocalExecutor)
        if local:
            require_mpp_or_guess(slide, call.source, config.reader, call.image)
        _tell_scale(slide, file_name(job.path), progress)
        prepared = prepare(slide, config, setup.engine, job.roi, job.tissue)
        if local:
            check_memory(prepared, config)
        there = None if setup.overwrite else _there(folder, prepared, slide, setup)
        if there is not None and not (there["unreadable"] and setup.compute and there["digest"] == prepared.digest):
            return _already(job, folder, there, prepared)
        # a network of another machine is not at hand here
        recognizer = partial(setup.engine.recognizers.of, prepared.spec)
        doubt = scale_notice(slide, prepared, recognizer) if local else ""
        if doubt:
            progress.say(f"notice: {file_name(job.path)}: {doubt}")
        work = folder.absolute() / f"work-{prepared.digest[:12]}"
        if setup.overwrite:
            shutil.rmtree(work, ignore_errors=True)
        elif not work.exists():
            for line in other_arithmetic(folder, job_config(prepared, config)):
                progress.say(f"notice: {line}")
        chunk_status = ChunkStatus(_open_work(work, job, config, prepared))
        missing = _missing(chunk_status, setup.shard and setup.shard.of_slide(folder.name), again=setup.compute)
        with slide_log(folder / LOG), staging(folder) as own:
            slide_run = SlideRun(slide, folder, work, own, prepared, config, executor.workers, progress, doubt)
            _log_begin(slide_run, job, chunk_status, missing)
            chunks = MissingChunks(slide_run, setup.engine, executor, missing, chunk_status, call)
            try:
                outcome = _made(job, setup, chunks, there)
            except (FieldError, OutputError):
                faster = None if setup.overwrite else done_record(folder, prepared.digest)
                if faster is None:
                    raise
                return _already(job, folder, faster, prepared)  # another run was faster, and has cleaned up
            if outcome.status == "done":
                _log_end(outcome, time.monotonic() - began)
        if outcome.status == "done" and not outcome.unreadable:  # else the next run tries the unreadable tiles again
            shutil.rmtree(work, ignore_errors=True)
    return outcome


def _there(folder: Path, prepared: Prepared, slide: Slide, setup: RunSetup) -> dict[str, Any] | None:
    """The record of finished results that will do, their report made anew where it is gone; None where there are none.

    Raises
    ------
    OutputError
        If results of other settings are there.
    """
    record = done_record(folder, prepared.digest)
    if record is None:
        return _of_other_settings(folder, prepared, slide, setup.config, compute=setup.compute)
    if report_record(folder) is None:
        redo_slide_report(folder, None, None)
    return record


def _made(job: Job, setup: RunSetup, chunks: MissingChunks, there: dict[str, Any] | None) -> Outcome:
    """Compute what is missing, and publish the results unless they are left to others.

    Parameters
    ----------
    there : record of the same results, some of whose tiles could not be read, or None

    Raises
    ------
    FieldError, OutputError
        If parts are missing and nobody computes them, or something cannot be read or written.
    """
    slide_run, status = chunks.slide_run, chunks.status
    folder, prepared = slide_run.folder, slide_run.prepared
    if setup.shard is not None:
        fill(chunks)
        _check_unchanged(slide_run)
        return Outcome(job.path, folder, "shard done")
    if not setup.compute and chunks.chunks:
        n = sum(len(own) for own in status.chunks)
        others = "".join(f" {line}" for line in other_arithmetic(folder, job_config(prepared, setup.config)))
        raise OutputError(
            f"{folder}: {len(chunks.chunks)} of {n} parts are missing. Run the slide again (or the array tasks "
            f"that did not end) before merging.{others}"
        )
    with filling(chunks):
        if there is not None and _same_tiles(there, status):
            return _already(job, folder, there, prepared)
        summary, lost = assemble(slide_run, status)
    _check_unchanged(slide_run)
    stale = publish_staged(slide_run.staging, folder, prepared.digest, replace=setup.overwrite)
    nothing = nothing_told(prepared.prompts, summary.n_cells, summary.analysed_mm2)
    if nothing:
        log.warning("%s", nothing)
    notices = (*prepared.ground.told, *((_stale(folder, stale),) if stale else ()), *((nothing,) if nothing else ()))
    return Outcome(job.path, folder, "done", summary, lost, notices=notices)


def _log_end(outcome: Outcome, seconds: float) -> None:
    assert outcome.summary is not None
    log.info(
        "done in %.1f s: %d cells on %.4f mm2; peak memory of the process %d MB",
        seconds,
        outcome.summary.n_cells,
        outcome.summary.analysed_mm2,
        (peak_rss_bytes() or 0) // 1_000_000,
    )


def _tell_scale(slide: Slide, name: str, progress: Progress) -> None:
    """What people should know about the slide's pixel size, before any work is done at it."""
    for notice in (*slide.mpp_notices, *slide.notes):
        progress.say(f"notice: {name}: {notice}")


def _stale(folder: Path, names: list[str]) -> str:
    return (
        f"{folder}: removed what `wsiparse export` had made of the replaced objects: {', '.join(names)}. Export again "
        "if you need it."
    )


def _check_unchanged(slide_run: SlideRun) -> None:
    """Parts of a slide that was changed meanwhile must not be taken for those of the slide it was.

    One that is away, with the drive it lies on, may be back for the next run, which goes on from the parts.
    """
    try:
        slide_run.slide.check_unchanged()
    except SlideNotFoundError:
        raise
    except SlideError:
        shutil.rmtree(slide_run.work, ignore_errors=True)
        raise


def _of_other_settings(
    folder: Path, prepared: Prepared, slide: Slide, config: RunConfig, *, compute: bool
) -> dict[str, Any] | None:
    """Results that are there and have another digest: None to go on, or their record where they will do.

    They will do if only what "auto" stands for differs on this machine. If tiles of them could not be read, and what
    differs is the slide's file or what was seen of it then, they are made anew.

    Raises
    ------
    OutputError
        For all others: they are not replaced unasked.
    """
    there = own_record(folder)
    if there is None or there.get("digest") == prepared.digest:
        return None
    old, now = there.get("settings"), settings_of(prepared, slide, config)
    remedy = (
        "Write these to another folder with -o, or replace them with --overwrite."
        if compute
        else "Remove its folder to have it merged."
    )
    another = another_version(folder)
    if another:
        raise OutputError(f"{folder}: holds {another}. {remedy}")
    if not isinstance(old, dict):
        raise OutputError(f"{folder}: holds results whose settings are unknown: DONE.json is damaged. {remedy}")
    names = differences(old, now)
    whole = done_record(folder)
    if whole is not None and chosen_here(names, config):
        return whole
    if there.get("unreadable") and set(names) <= set(FOUND):
        return None
    found = ", ".join(str(text) for text in old.get("prompts") or ())
    raise OutputError(
        f"{folder}: holds results of other settings ({there.get('engine')}, for {found}), which differ: "
        f"{told(old, now, names)}. {remedy}"
    )


def _already(job: Job, folder: Path, record: dict[str, Any], prepared: Prepared) -> Outcome:
    summary = summary_of(record)
    nothing = nothing_told(prepared.prompts, summary.n_cells, summary.analysed_mm2)
    told = (nothing,) if nothing else ()
    return Outcome(job.path, folder, "already done", summary, len(record["unreadable"]), notices=told)


def _open_work(work: Path, job: Job, config: RunConfig, prepared: Prepared) -> list[list[Chunk]]:
    """The chunks of every pass, with folders for their parts, plans for workers, and what a merge needs."""
    chunks = []
    try:
        for k, p in enumerate(prepared.passes):
            (work / f"scale-{k}").mkdir(parents=True, exist_ok=True)
            remove_dead(work / f"scale-{k}")
            _keep_text(work / f"scale-{k}" / "plan.json", p.plan.to_json(), same=lambda old, new: old == new)
            chunks.append(chunks_of(work / f"scale-{k}", p.plan.kept.tolist()))
    except OSError as err:
        raise output_error(work, err) from err
    facts = {
        "wsiparse": own_version(),
        "slide": full_name(job.path),
        "address": isinstance(job.path, str),
        "slide_mpp": job.slide_mpp,
        "override_mpp": job.override_mpp,
        "image": job.image,
        "roi": str(job.roi.absolute()) if job.roi is not None else None,
        "tissue": str(job.tissue.absolute()) if job.tissue is not None else None,
        "digest": prepared.digest,
        "parts": [len(own) for own in chunks],
        "tiles": [len(p.plan) for p in prepared.passes],
        "config": job_config(prepared, config),
    }
    text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    _keep_text(work / JOB_FILE, text, same=lambda old, _: json.loads(old)["digest"] == prepared.digest)
    return chunks


def _keep_text(path: Path, text: str, same: Callable[[str, str], bool]) -> None:
    """Write a file of the work folder unless it is there and good; a damaged one is made anew."""
    try:
        if same(path.read_text(encoding="utf-8"), text):
            return
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not there, or not what was written
    write_text(path, text)


def _missing(chunk_status: ChunkStatus, shard: Shard | None, *, again: bool) -> list[tuple[int, Chunk]]:
    """Chunks to compute, with their pass: absent or torn ones and, when `again`, those with unreadable tiles."""
    everything = [(k, chunk) for k, own in enumerate(chunk_status.chunks) for chunk in own]
    mine = everything if shard is None else everything[shard.of(len(everything))]
    missing = []
    for k, chunk in mine:
        lost = chunk.unreadable()
        if lost is None or (lost and again):
            missing.append((k, chunk))
        else:
            chunk_status.announce(chunk, lost)
    return missing


def _log_begin(slide_run: SlideRun, job: Job, chunk_status: ChunkStatus, missing: list[tuple[int, Chunk]]) -> None:
    log.info("wsiparse %s: %s, %s", own_version(), job.path, slide_run.prepared.title)
    log.info("mpp %s (%s)", slide_run.slide.mpp, slide_run.slide.mpp_source)
    absent = missing_mm2(slide_run.slide)
    if absent:
        log.warning("%.3f mm2 of the slide are not in the file; they are background here", absent)
    for notice in slide_run.mpp_notices:
        log.warning("scale: %s", notice)
    for note in slide_run.slide.notes:
        log.warning("file: %s", note)
    ground = slide_run.prepared.ground
    for note in (*job.notes, *(note for note in ground.told if note != ground.taken)):
        log.warning("%s", note)
    if ground.taken:
        log.info("%s", ground.taken)
    for p in slide_run.prepared.passes:
        log.info("%d tiles of %d px at %.4g um/px", len(p.plan), p.plan.grid.tile, p.plan.frame.mean_mpp)
    n = sum(len(own) for own in chunk_status.chunks)
    if len(missing) < n:
        log.info("%d of %d parts to compute, the rest is there", len(missing), n)


def _same_tiles(record: dict[str, Any], chunk_status: ChunkStatus) -> bool:
    """Whether just the tiles that could not be read before cannot be read now."""
    now = [(u.index, u.core.x, u.core.y) for k in range(len(chunk_status.chunks)) for u in chunk_status.lost(k)]
    return now == [(u["index"], u["core"]["x"], u["core"]["y"]) for u in record["unreadable"]]
