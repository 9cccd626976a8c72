"""Many slides, one results folder: one bad slide costs only itself, and what is done stays done."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from pathlib import Path

from wsiparse.atomic import output_error, output_errors, remove_dead
from wsiparse.parallel.dask import DaskExecutor
from wsiparse.parallel.threads import side_by_side
from wsiparse.report.cohort import kept_lines, write_cohort_report
from wsiparse.results.folder import done_record, file_name, slide_folder
from wsiparse.results.one_slide import guarded
from wsiparse.results.runlog import RunLog, check_folders
from wsiparse.run.slide import Job, Outcome, RunSetup, run_slide
from wsiparse.slides.slide_cache import SlideCache

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
    setup: RunSetup,
    *,
    fail_fast: bool = False,
    merge_later: bool = False,
    stage_dir: Path | None = None,
    say: Callable[[str], object] | None = None,
) -> Iterator[Outcome]:
    """Analyse slides, yielding each outcome as it comes; a failed slide is told and the rest goes on.

    When all are through, summary.csv and report.html are written anew from every finished slide of the
    folder.

    Parameters
    ----------
    jobs : slides of this process
    setup : setup of the run; with a shard, each slide's parts are shared out (``--shard-by tiles``)
    fail_fast : stop at the first slide that fails
    merge_later : leave summary.csv and report.html to `wsiparse merge`: a job of an array is not alone
    stage_dir : node-local folder that slides are copied to ahead of their turn
    say : told of the table of patients that summary.csv keeps

    Raises
    ------
    OutputError
        If the results folder itself cannot be written to: every further slide would fail alike. An error of any other
        kind costs its slide alone (see `wsiparse.results.one_slide.guarded`).
    SchedulerError
        If the workers went away.
    """
    results, executor = setup.results, setup.executor
    if len(jobs) > 1 or merge_later:  # a single slide that cannot be used leaves nothing behind
        with output_errors(results):
            results.mkdir(parents=True, exist_ok=True)
    remove_dead(results)
    facts = {"shard": str(setup.shard) if setup.shard is not None else None}
    taken = check_folders(results, [job.path for job in jobs])
    run_log = RunLog(results, [job.path for job in jobs], setup.config, facts)
    state = "stopped"
    with ExitStack() as stack:
        again = setup.overwrite
        waiting = [k for k, job in enumerate(jobs) if not job.fault and (again or not _looks_done(results, job))]
        place = {rank: k for k, rank in enumerate(waiting)}
        cache = stack.enter_context(
            SlideCache(stage_dir, [jobs[rank].path for rank in waiting], ahead=executor.slides_at_once)
        )

        def one(rank: int) -> Outcome:
            copy = cache.slide(place[rank]) if rank in place else nullcontext()
            return _outcome(jobs[rank], setup, run_log.run, rank, copy, taken.get(jobs[rank].path, ""))

        try:
            stop = executor.stop if isinstance(executor, DaskExecutor) else lambda: None
            for outcome in side_by_side(one, range(len(jobs)), executor.slides_at_once, on_error=stop):
                run_log.note(outcome.path, outcome.status, unreadable=outcome.unreadable, error=outcome.error)
                yield outcome
                if fail_fast and outcome.status == "failed":
                    break
            state = "finished"
        finally:
            run_log.close(state)
    if not merge_later and results.is_dir():
        cohort = write_cohort_report(results)
        if say is not None:
            for line in kept_lines(cohort):
                say(line)


def _outcome(
    job: Job, setup: RunSetup, run: str, rank: int, copy: AbstractContextManager[Path | None], taken: str
) -> Outcome:
    """What becomes of one slide, whatever happens to it.

    Parameters
    ----------
    run, rank : see `run_slide`
    copy : gives where it is read from
    taken : why its results folder is another slide's, or ""
    """
    folder = slide_folder(setup.results, job.path)

    def failed(reason: str, known: bool) -> Outcome:
        return Outcome(job.path, folder, "failed", error=reason, known=known)

    def work() -> Outcome:
        if job.fault or taken:
            return failed(job.fault or taken, True)
        with copy as source:
            return run_slide(job, setup, run=run, rank=rank, source=source)

    return guarded(file_name(job.path), folder, setup.results, work, failed)


def _looks_done(results: Path, job: Job) -> bool:
    """Whether a slide on disk has results, so that it need not be copied to be found done."""
    return isinstance(job.path, Path) and done_record(slide_folder(results, job.path)) is not None
