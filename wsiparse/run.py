"""Many slides, one results folder: one bad slide costs only itself, and what is done stays done."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from wsiparse.cohort_report import write_cohort_report
from wsiparse.config import RunConfig
from wsiparse.engine import Engine
from wsiparse.ledger import Ledger
from wsiparse.one_slide import guarded
from wsiparse.progress import Progress
from wsiparse.schedule import Cluster, Crew, side_by_side
from wsiparse.shards import Shard
from wsiparse.slide_job import Job, Outcome, run_slide
from wsiparse.slides.staging import Stager
from wsiparse.write.manifest import done_record, file_name, slide_folder
from wsiparse.write.parts import output_error, remove_dead

__all__ = ["check_results_folder", "run_slides"]


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


def run_slides(
    jobs: Sequence[Job],
    results: Path,
    config: RunConfig,
    engine: Engine,
    crew: Crew,
    *,
    overwrite: bool = False,
    fail_fast: bool = False,
    shard: Shard | None = None,
    merge_later: bool = False,
    stage_dir: Path | None = None,
    progress: Progress,
) -> Iterator[Outcome]:
    """Analyse slides, yielding each outcome as it comes; a failed slide is told and the rest goes on.

    When all are through, summary.csv and report.html are written anew from every finished slide of the
    folder.

    Parameters
    ----------
    crew : who recognises tiles
    overwrite : do again what is done
    fail_fast : stop at the first slide that fails
    jobs : slides of this process
    shard : the share of each slide's parts to compute (``--shard-by tiles``), None for whole slides
    merge_later : leave summary.csv and report.html to `wsiparse merge`: a job of an array is not alone
    stage_dir : node-local folder that slides are copied to ahead of their turn

    Raises
    ------
    OutputError
        If the results folder itself cannot be written to: every further slide would fail alike. An error of any other
        kind costs its slide alone (see `wsiparse.one_slide.guarded`).
    SchedulerError
        If the workers went away.
    """
    if len(jobs) > 1 or merge_later:  # a single slide that cannot be used leaves nothing behind
        try:
            results.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise output_error(results, err) from err
    remove_dead(results)
    facts = {"shard": str(shard) if shard is not None else None}
    ledger = Ledger(results, [job.path for job in jobs], config, facts)
    state = "stopped"
    with ExitStack() as stack:
        waiting = [
            rank for rank, job in enumerate(jobs) if not job.fault and (overwrite or not _looks_done(results, job))
        ]
        place = {rank: k for k, rank in enumerate(waiting)}
        stager = stack.enter_context(
            Stager(stage_dir, [jobs[rank].path for rank in waiting], ahead=crew.slides_at_once)
        )

        def one(rank: int) -> Outcome:
            job = jobs[rank]
            folder = slide_folder(results, job.path)

            def failed(reason: str, known: bool) -> Outcome:
                return Outcome(job.path, folder, "failed", error=reason, known=known)

            def work() -> Outcome:
                if job.fault:
                    return failed(job.fault, True)
                with ExitStack() as own:
                    source = own.enter_context(stager.slide(place[rank])) if rank in place else None
                    return run_slide(
                        job,
                        results,
                        config,
                        engine,
                        crew,
                        run=ledger.run,
                        rank=rank,
                        source=source,
                        overwrite=overwrite,
                        shard=shard,
                        progress=progress,
                    )

            return guarded(file_name(job.path), folder, results, work, failed)

        try:
            stop = crew.stop if isinstance(crew, Cluster) else lambda: None
            for outcome in side_by_side(one, range(len(jobs)), crew.slides_at_once, on_error=stop):
                ledger.note(outcome.path, outcome.status, unreadable=outcome.unreadable, error=outcome.error)
                yield outcome
                if fail_fast and outcome.status == "failed":
                    break
            state = "finished"
        finally:
            ledger.close(state)
    if not merge_later and results.is_dir():
        write_cohort_report(results)


def _looks_done(results: Path, job: Job) -> bool:
    """Whether a slide on disk has results, so that it need not be copied to be found done."""
    return isinstance(job.path, Path) and done_record(slide_folder(results, job.path)) is not None
