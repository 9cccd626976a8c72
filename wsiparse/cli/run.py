"""`wsiparse run`: slides in, results folders out."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import click

from wsiparse.choices import Coords, Division, Ngff, words
from wsiparse.cli.options import analysis_options, class_options, config_from, say_notice, shard_options, slide_options
from wsiparse.errors import ConfigError

if TYPE_CHECKING:
    from wsiparse.config import RunConfig
    from wsiparse.results.region_files import Matched
    from wsiparse.run.engine import Engine
    from wsiparse.run.shards import Shard
    from wsiparse.run.slide import Job, Outcome
    from wsiparse.slides import SheetSlide

__all__ = ["command"]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What is asked for beside the settings of `RunConfig`."""

    results_dir: Path
    recursive: bool
    ext: tuple[str, ...]
    config_file: Path | None
    prompts: tuple[str, ...]
    roi: Path | None
    tissue: Path | None
    shard: str | None
    shard_by: str
    stage_dir: Path | None
    overwrite: bool
    retry_failed: bool
    fail_fast: bool


@click.command("run")
@slide_options
@click.option("-o", "--results-dir", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@analysis_options
@click.option(
    "--block-size", type=int, help="Width and height of the blocks that objects are joined in, px: memory, not results."
)
@click.option(
    "-b",
    "--batch-size",
    type=int,
    help="Tiles given to the network at once: more is faster on a GPU and takes more memory.",
)
@click.option(
    "-n",
    "--num-workers",
    type=int,
    help="Threads, processes (--scheduler local) or jobs (slurm) at work (default: as many as the machine has cores or "
    "GPUs). Changes no result.",
)
@click.option(
    "--scheduler",
    metavar="NAME|ADDRESS",
    help="Where tiles are analysed: serial (one at a time), threads, local (a process for each GPU or group of cores), "
    "slurm (jobs), or the address of a running Dask scheduler (tcp://host:8786). Default: local with several GPUs, "
    "else threads.",
)
@shard_options
@click.option(
    "--stage-dir",
    type=click.Path(path_type=Path),
    help="Folder on a fast local disk: the next slides are copied there while one is analysed.",
)
@click.option(
    "--coords",
    type=click.Choice(words(Coords)),
    help="Origin of coordinates in the GeoJSON files: qupath (default) fits QuPath, level0 the whole file.",
)
@click.option(
    "--compartments",
    type=click.Choice(words(Division)),
    help="How the report divides tissue: by epithelial (or tumour) and connective cells (auto), by the classes of "
    "--roi's regions (roi), or not at all. Default: roi where its regions have classes, else auto.",
)
@class_options
@click.option("--labels/--no-labels", default=None, help="Write labels.ome.zarr, the objects as images (default: yes).")
@click.option(
    "--ngff", type=click.Choice(words(Ngff)), help="OME-Zarr version of the labels (default: 0.5); QuPath reads 0.4."
)
@click.option("--overwrite", is_flag=True, help="Analyse slides again that are done, and replace their results.")
@click.option(
    "--retry-failed",
    is_flag=True,
    help="Only slides that failed, or whose tiles could not all be read, in an earlier run.",
)
@click.option("--fail-fast", is_flag=True, help="Stop at the first slide that fails.")
def command(slides: tuple[str, ...], **given: Any) -> int:
    """Analyse SLIDES: every object as a polygon, counts per mm2, an overlay.

    SLIDES are files, folders, patterns, addresses such as https://... and s3://..., or a slides.csv that lists them
    (columns slide, mpp, roi, image). What is done already is skipped, what was interrupted goes on, and a slide that
    fails does not stop the others.
    Exit code: 0 done, 1 error, 2 wrong usage, 3 some slides or tiles failed or a shard without a slide,
    130 / 143 stopped by a signal.

    Example: wsiparse run slides/ -o results --prompt "inflammatory cells" --prompt nuclei
    """
    from wsiparse.recognize.registry import only_on_cpu
    from wsiparse.results.folder import slide_folder
    from wsiparse.run.batch import check_results_folder
    from wsiparse.run.slide import Outcome

    asked = _Asked(**{name: given.pop(name) for name in _Asked.__slots__})
    config = config_from(asked.config_file, asked.prompts, given)
    # an engine of the CPU has no use for a GPU, and PyTorch takes seconds to be asked
    scheduler, gpus = _scheduler(config.scheduler, "cpu" if only_on_cpu(config.engine) else config.device)
    engine = _engine(config, scheduler)
    share = _shard(asked.shard)
    if share is not None and asked.overwrite and asked.shard_by == "tiles":
        raise ConfigError(
            "--overwrite with --shard-by tiles: jobs would remove each other's parts. Remove the results."
        )
    jobs, notices = _jobs(slides, asked, whole=config.whole_slide)
    offered = len(jobs)
    if share is not None and asked.shard_by == "slides":
        jobs = _own_slides(jobs, share)
    check_results_folder(asked.results_dir)
    if not jobs:
        return _nothing_to_do(share, offered, retry=asked.retry_failed)
    tally = _Tally(_names(jobs))
    if all(job.fault for job in jobs):  # nothing to begin anything for
        for job in jobs:
            tally.tell(Outcome(job.path, slide_folder(asked.results_dir, job.path), "failed", error=job.fault))
        return tally.code
    _run(jobs, asked, config, engine, _Workers(scheduler, gpus, share), tally)
    if len(jobs) > 1:
        click.echo(tally.sum(asked.results_dir, merge_later=share is not None))
    for line in notices:
        click.echo(f"notice: {line}", err=True)
    return tally.code


@dataclass(frozen=True, slots=True)
class _Workers:
    """Who does the work: the scheduler, the GPUs it gives a process each, and the share of an array's job."""

    scheduler: str
    gpus: Sequence[str]
    share: Shard | None

    @property
    def elsewhere(self) -> bool:
        """Whether tiles are recognised on other machines, whose devices count."""
        return _elsewhere(self.scheduler)


def _elsewhere(scheduler: str) -> bool:
    return scheduler not in ("serial", "threads", "local")


def _engine(config: RunConfig, scheduler: str) -> Engine:
    """The engine, with its notices said: a wrong prompt is refused before any slide is opened or worker started."""
    from wsiparse.run.engine import Engine

    engine = Engine(config, resolve=lambda spec: spec) if _elsewhere(scheduler) else Engine(config)
    for notice in engine.notices:
        click.echo(f"notice: {notice}", err=True)
    return engine


def _jobs(slides: Sequence[str], asked: _Asked, *, whole: bool) -> tuple[list[Job], tuple[str, ...]]:
    """The slides to analyse, each with its files of regions and tissue, and what is said of those files at the end.

    Only the slides that failed, where it is asked for.
    """
    from wsiparse.run.slide import Job
    from wsiparse.slides import find_listed

    listed = find_listed(
        slides, recursive=asked.recursive, extensions=asked.ext or None, say=say_notice, keep_absent=True
    )
    regions = _regions(listed, asked.roi)
    tissues = _tissue(listed, asked.tissue, whole=whole)
    lacking = (f"no file of regions for it in {asked.roi}: all of it is analysed",) if asked.roi is not None else ()
    jobs = [
        Job(
            one.slide,
            one.mpp,
            file,
            override_mpp=one.override_mpp,
            image=one.image,
            notes=lacking if file is None else (),
            fault=one.fault,
            tissue=tissue,
        )
        for one, file, tissue in zip(listed, regions.files, tissues.files, strict=True)
    ]
    notices = (*regions.told("all of it was analysed"), *tissues.told("its tissue was found"))
    return (_failed(jobs, asked.results_dir) if asked.retry_failed else jobs), notices


def _nothing_to_do(share: Shard | None, offered: int, *, retry: bool) -> int:
    """Say why there is no slide to analyse; the exit code."""
    if not retry:
        click.echo(f"error: {_empty(share, offered)}", err=True)
        return 3
    none_left = f", or none is left for shard {share}" if offered else ""
    click.echo(f"nothing to do: no slide failed in an earlier run{none_left}")
    return 0


def _run(jobs: list[Job], asked: _Asked, config: RunConfig, engine: Engine, who: _Workers, tally: _Tally) -> None:
    """Analyse the slides, with a line for each as it ends."""
    from wsiparse.cli.compiled import telling_compilation
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.cli.signals import stopping
    from wsiparse.parallel.dask import DaskExecutor, open_executor
    from wsiparse.run.batch import run_slides
    from wsiparse.run.engine import Engine
    from wsiparse.run.slide import RunSetup
    from wsiparse.run.worker import Workplace

    progress = TerminalProgress()
    with (
        stopping(),
        telling_compilation(progress.say),
        open_executor(
            who.scheduler,
            config.num_workers,
            Workplace,
            gpus=who.gpus,
            slurm=config.slurm.model_dump(),
            say=lambda text: click.echo(text, err=True),
        ) as executor,
        ExitStack() as stack,
    ):
        if who.elsewhere and isinstance(executor, DaskExecutor):
            from wsiparse.recognize.base import on_this_machine

            engine = Engine(config, resolve=lambda spec: executor.ask(on_this_machine, spec))
        everything = stack.enter_context(progress.stage("slides", len(jobs), "slides")) if len(jobs) > 1 else None
        own = who.share if asked.shard_by == "tiles" else None
        setup = RunSetup(asked.results_dir, config, engine, executor, progress, overwrite=asked.overwrite, shard=own)
        for outcome in run_slides(
            jobs,
            setup,
            fail_fast=asked.fail_fast,
            merge_later=who.share is not None,
            stage_dir=asked.stage_dir,
            say=say_notice,
        ):
            tally.tell(outcome)
            if everything is not None:
                everything.advance()


def _regions(listed: Sequence[SheetSlide], roi: Path | None) -> Matched:
    """The region file of each slide: a sheet's own, or that of --roi."""
    from wsiparse.results.region_files import Matched, match_regions, named

    own = [one.roi for one in listed]
    if roi is None:
        return Matched(tuple(own))
    return match_regions(roi, [named(one.slide) for one in listed], own=own)


def _tissue(listed: Sequence[SheetSlide], tissue: Path | None, *, whole: bool) -> Matched:
    """The file of drawn tissue of each slide."""
    from wsiparse.results.region_files import match_tissue, named

    return match_tissue(tissue, [named(one.slide) for one in listed], whole=whole)


def _say(text: str, stream: TextIO) -> None:
    """A line beside live bars, which it must not break."""
    from tqdm import tqdm

    tqdm.write(text, file=stream)
    stream.flush()


def _names(jobs: Sequence[Job]) -> dict[Path | str, str]:
    """What each slide is called in lines: its file name, with folders before it where others are called so too."""
    from wsiparse.names import unique_names
    from wsiparse.results.folder import file_name, full_name
    from wsiparse.slides.urls import shown_url

    paths = [shown_url(job.path) if isinstance(job.path, str) else full_name(job.path) for job in jobs]
    names = unique_names(paths, [file_name(job.path) for job in jobs], [full_name(job.path) for job in jobs])
    return {job.path: name for job, name in zip(jobs, names, strict=True)}


class _Tally:
    """A line for each outcome, and the exit code they add up to."""

    def __init__(self, names: dict[Path | str, str]) -> None:
        self._names, self._n, self._seen, self._failed, self._partial = names, len(names), 0, 0, 0
        self._known = True
        self._states: Counter[str] = Counter()

    def tell(self, outcome: Outcome) -> None:
        self._seen += 1
        self._states[outcome.status] += 1
        several = self._n > 1
        prefix = f"[{self._seen}/{self._n}] " * several + f"{self._names[outcome.path]}: "
        for notice in outcome.notices:
            _say(f"{prefix}notice: {notice}", sys.stderr)
        if outcome.status == "failed":
            self._failed += 1
            self._known &= outcome.known
            _say(f"{prefix if several else ''}error: {outcome.error}", sys.stderr)
            return
        if outcome.summary is None:
            _say(f"{prefix}{outcome.status}; `wsiparse merge` makes the results -> {outcome.folder}", sys.stdout)
            return
        self._partial += outcome.unreadable > 0
        counts = ", ".join(f"{c.n} {c.class_name}" for c in outcome.summary.counts)
        density = outcome.summary.density(outcome.summary.n_cells)
        per_mm2 = f", {density:.0f} cells/mm2" if density is not None else ", no tissue found"
        lost = f", {outcome.unreadable} UNREADABLE TILES" if outcome.unreadable else ""
        _say(
            f"{prefix}{outcome.status}: {counts} on {outcome.summary.analysed_mm2:.3f} mm2{per_mm2}{lost}"
            f" ({outcome.summary.engine}) -> {outcome.folder}",
            sys.stdout,
        )

    def sum(self, results: Path, *, merge_later: bool) -> str:
        """The last line of a run of several slides: how many of each state, and what to open or do next."""
        counts = [f"{n} {state}" for state, n in self._states.items() if state != "failed"]
        counts += [f"{self._failed} failed"] if self._failed else []
        counts += [f"{self._partial} of them with unreadable tiles"] if self._partial else []
        counts += [f"{self._n - self._seen} not begun"] if self._seen < self._n else []
        next_step = f"next: wsiparse merge {results}" if merge_later else f"report: {results / 'report.html'}"
        return f"{', '.join(counts)}; {next_step}"

    @property
    def code(self) -> int:
        if self._failed == self._n == 1 and self._known:
            return 1
        return 3 if self._failed or self._partial else 0


def _scheduler(name: str, device: str) -> tuple[str, Sequence[str]]:
    """The scheduler that "auto" means here, and the GPUs that "local" gives a process each."""
    if name in ("serial", "threads", "slurm") or "://" in name:
        return name, ()
    from wsiparse.recognize.device import cuda_devices

    gpus = cuda_devices() if device in ("auto", "cuda") else ()
    if name == "auto":
        return ("local" if len(gpus) > 1 else "threads"), gpus
    return name, gpus


def _shard(text: str | None) -> Shard | None:
    """The share that was asked for, or None for everything; an array that nobody asked about is mentioned once."""
    from wsiparse.run.shards import array_job, shard_from_environment, shard_from_text

    if text == "none":
        return None
    if text is None:
        name = array_job(os.environ)
        if name is not None:
            click.echo(
                f"notice: {name}={os.environ[name]}: a job of an array, which does all it is given; --shard auto shares"
                " the slides out among the jobs",
                err=True,
            )
        return None
    if text != "auto":
        return shard_from_text(text)
    share = shard_from_environment(os.environ)
    if share is None:
        click.echo("notice: --shard auto: not a job of an array, so everything is done here", err=True)
    else:
        click.echo(f"shard {share} (from {share.source}); without --shard everything is done here", err=True)
    return share


def _empty(share: Shard | None, slides: int) -> str:
    """Why a job of an array has no slide, and what to do: its command may have meant a slide of its own."""
    assert share is not None, "without shares there are slides"
    return (
        f"shard {share} (from {share.source}) has no slide: {slides} slide(s) for {share.count} jobs, and others do "
        "them. Leave --shard out if this job should do what it was given; else nothing is missing, and an array of at "
        f"most {slides} jobs has no empty ones."
    )


def _own_slides(jobs: list[Job], share: Shard) -> list[Job]:
    from wsiparse.run.shards import longest_first
    from wsiparse.slides.size import slide_bytes

    sizes = [slide_bytes(job.path) if isinstance(job.path, Path) else 0 for job in jobs]
    return [jobs[i] for i in longest_first(sizes, share.count)[share.index - 1]]


def _failed(jobs: list[Job], results: Path) -> list[Job]:
    """Slides that are not done and failed when last tried, or are done but for some tiles."""
    from wsiparse.results.folder import done_record, slide_folder
    from wsiparse.results.runlog import read_entries

    told = {e.folder for e in read_entries(results) if e.status == "failed"}
    chosen = []
    for job in jobs:
        folder = slide_folder(results, job.path)
        record = done_record(folder)
        if (record is None and folder.name in told) or (record is not None and record["unreadable"]):
            chosen.append(job)
    return chosen
