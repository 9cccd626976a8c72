"""Joining the shards of an array: slides whose parts are all there become results, and the tables are made anew."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from wsiparse.config import RunConfig
from wsiparse.errors import OutputError
from wsiparse.machine import available_cores
from wsiparse.parallel.dask import LocalExecutor
from wsiparse.parallel.progress import Progress
from wsiparse.report.cohort import kept_lines, write_cohort_report
from wsiparse.results.find import find_results
from wsiparse.results.folder import JOB_FILE, file_name
from wsiparse.results.one_slide import guarded
from wsiparse.results.status import UnfinishedSlide, unfinished_slide, write_status
from wsiparse.run.engine import Engine
from wsiparse.run.slide import Job, Outcome, RunSetup, run_slide
from wsiparse.slides.slide_cache import SlideCache

__all__ = ["merge"]


@dataclass
class _Engines:
    """Engines by their settings: slides of one run share theirs."""

    made: dict[str, Engine]

    def of(self, config: RunConfig) -> Engine:
        key = config.model_dump_json()
        if key not in self.made:
            # nothing is recognised here, so the device need not be there
            self.made[key] = Engine(config, resolve=lambda spec: spec)
        return self.made[key]


def merge(results: Path, *, progress: Progress, say: Callable[[str], object] | None = None) -> Iterator[Outcome]:
    """Finish every slide of a results folder whose parts are all there; then write its tables and its report.

    Parameters
    ----------
    results : results folder; or one slide's folder in it: that slide alone is finished
    say : told of the table of patients that summary.csv keeps, and of slides whose numbers it lacks

    Yields
    ------
    An outcome for each slide that was not finished: done, or failed with the reason (parts that are missing)

    Raises
    ------
    OutputError
        If this is no results folder, or it cannot be written to.
    """
    found = find_results(results)
    if found.root is None:
        raise OutputError(f"{results}: in the folder of no run, so there is nothing to join. Put it back into slides/.")
    engines = _Engines({})
    for folder in found.slides:
        slide = unfinished_slide(folder)
        if slide is not None:
            yield _finish(slide, found.root, engines, progress)
    cohort = write_cohort_report(found.root)
    if say is not None:
        for line in kept_lines(cohort):
            say(line)
    write_status(found.root)


def _finish(slide: UnfinishedSlide, results: Path, engines: _Engines, progress: Progress) -> Outcome:
    try:
        facts = json.loads((slide.work / JOB_FILE).read_text(encoding="utf-8"))
        path = facts["slide"] if facts["address"] else Path(facts["slide"])
        roi = Path(facts["roi"]) if facts["roi"] is not None else None
        tissue = Path(facts["tissue"]) if facts.get("tissue") is not None else None
        config = RunConfig.model_validate(facts["config"])
        job = Job(
            path, facts["slide_mpp"], roi, override_mpp=facts["override_mpp"], image=facts["image"], tissue=tissue
        )
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        told = f"{slide.work / JOB_FILE}: damaged. Run the slide again."
        return Outcome(slide.folder.name, slide.folder, "failed", error=told)

    def work() -> Outcome:
        with SlideCache(None, [path]) as cache, cache.slide(0) as source:
            executor = LocalExecutor(config.num_workers or available_cores(), overlap=False)
            setup = RunSetup(results, config, engines.of(config), executor, progress, compute=False)
            return run_slide(job, setup, source=source)

    def failed(reason: str, known: bool) -> Outcome:
        return Outcome(path, slide.folder, "failed", error=reason, known=known)

    return guarded(file_name(path), slide.folder, results, work, failed)
