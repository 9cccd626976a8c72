"""`wsiparse run`: slides in, results folders out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wsiparse.cli.options import analysis_options, config_from, shard_options, slide_options
from wsiparse.errors import ConfigError

if TYPE_CHECKING:
    from wsiparse.shards import Shard
    from wsiparse.slide_job import Job, Outcome

__all__ = ["command"]


@click.command("run")
@slide_options
@click.option(
    "-o", "--results-dir", type=click.Path(path_type=Path), required=True, help="Folder the results are written to."
)
@analysis_options
@click.option("--block-size", type=int, help="Edge of the stitcher's blocks, px; changes no result.")
@click.option("-b", "--batch-size", type=int, help="Tiles the network sees at once; changes no result on a CPU.")
@click.option(
    "-n",
    "--num-workers",
    type=int,
    help="Threads, processes (--scheduler local) or jobs (slurm); default: what the machine has. Changes no result.",
)
@click.option(
    "--scheduler",
    metavar="NAME|ADDRESS",
    help="Who recognises tiles: serial, threads, local (a process for each GPU or group of cores), slurm, or the "
    "address of a running Dask scheduler (tcp://host:8786). Default: local with several GPUs, else threads.",
)
@shard_options
@click.option(
    "--stage-dir",
    type=click.Path(path_type=Path),
    help="Node-local folder that the next slides are copied to while the current one runs.",
)
@click.option("--coords", type=click.Choice(["qupath", "level0"]), help="Origin of the overlays' coordinates.")
@click.option(
    "--compartments",
    type=click.Choice(["auto", "roi", "none"]),
    help="How the report divides tissue: by tumour and connective cells (auto), by the classes of --roi's regions "
    "(roi), or not at all. Default: roi where its regions have classes, else auto.",
)
@click.option("--labels/--no-labels", default=None, help="Write labels.ome.zarr, the objects as images (default: yes).")
@click.option("--ngff", type=click.Choice(["0.5", "0.4"]), help="OME-Zarr version of the labels; QuPath reads 0.4.")
@click.option("--overwrite", is_flag=True, help="Analyse again what is done already.")
@click.option("--retry-failed", is_flag=True, help="Only slides that failed or lost tiles in an earlier run.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first slide that fails.")
def command(
    slides: tuple[str, ...],
    results_dir: Path,
    recursive: bool,
    ext: tuple[str, ...],
    config_file: Path | None,
    prompts: tuple[str, ...],
    roi: Path | None,
    shard: str,
    shard_by: str,
    stage_dir: Path | None,
    overwrite: bool,
    retry_failed: bool,
    fail_fast: bool,
    **values: Any,
) -> int:
    """Analyse SLIDES: every object as a polygon, counts per mm2, an overlay.

    SLIDES are files, folders, patterns, addresses such as https://... and s3://..., or a slides.csv that lists them
    (columns slide, mpp, roi). What is done already is skipped, what was interrupted goes on, and a slide that fails
    does not stop the others.
    Exit code: 0 done, 1 error, 2 wrong usage, 3 some slides or tiles failed, 130 / 143 stopped by a signal.

    Example: wsiparse run slides/ -o results --prompt "inflammatory cells" --prompt nuclei
    """
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.cli.signals import stopping
    from wsiparse.engine import Engine
    from wsiparse.remote import Workplace
    from wsiparse.run import check_results_folder, run_slides
    from wsiparse.schedule import Cluster, open_crew
    from wsiparse.slide_job import Job, Outcome
    from wsiparse.slides import find_listed
    from wsiparse.write.manifest import slide_folder

    config = config_from(config_file, prompts, values)
    # the classical engine has no use for a GPU, and PyTorch takes seconds to be asked
    scheduler, gpus = _scheduler(config.scheduler, "cpu" if config.engine == "classical" else config.device)
    elsewhere = scheduler not in ("serial", "threads", "local")  # another machine's devices count
    engine = Engine(config, resolve=lambda spec: spec) if elsewhere else Engine(config)
    for notice in engine.notices:  # and a wrong prompt is told before any slide is opened or worker started
        click.echo(f"notice: {notice}", err=True)
    share = _shard(shard)
    if share is not None and overwrite and shard_by == "tiles":
        raise ConfigError(
            "--overwrite with --shard-by tiles: jobs would remove each other's parts. Remove the results."
        )
    listed = find_listed(slides, recursive=recursive, extensions=ext or None, keep_absent=True)
    jobs = [Job(one.slide, one.mpp, one.roi or roi, one.fault) for one in listed]
    if retry_failed:
        jobs = _failed(jobs, results_dir)
    if share is not None and shard_by == "slides":
        jobs = _own_slides(jobs, share)
    check_results_folder(results_dir)
    if not jobs:
        click.echo("nothing to do: no slide " + ("failed in an earlier run" if retry_failed else "in this shard"))
        return 0
    tally = _Tally(len(jobs))
    if all(job.fault for job in jobs):  # nothing to begin anything for
        for job in jobs:
            tally.tell(Outcome(job.path, slide_folder(results_dir, job.path), "failed", error=job.fault))
        return tally.code
    with (
        stopping(),
        open_crew(
            scheduler,
            config.num_workers,
            Workplace,
            gpus=gpus,
            slurm=config.slurm.model_dump(),
            say=lambda text: click.echo(text, err=True),
        ) as crew,
    ):
        if elsewhere and isinstance(crew, Cluster):
            from wsiparse.recognize.base import on_this_machine

            worker = crew
            engine = Engine(config, resolve=lambda spec: worker.ask(on_this_machine, spec))
        for outcome in run_slides(
            jobs,
            results_dir,
            config,
            engine,
            crew,
            overwrite=overwrite,
            fail_fast=fail_fast,
            shard=share if shard_by == "tiles" else None,
            merge_later=share is not None,
            stage_dir=stage_dir,
            progress=TerminalProgress(),
        ):
            tally.tell(outcome)
    return tally.code


class _Tally:
    """A line for each outcome, and the exit code they add up to."""

    def __init__(self, n: int) -> None:
        self._n, self._seen, self._failed, self._partial, self._known = n, 0, 0, 0, True

    def tell(self, outcome: Outcome) -> None:
        from wsiparse.write.manifest import file_name

        self._seen += 1
        several = self._n > 1
        prefix = f"[{self._seen}/{self._n}] {file_name(outcome.path)}: " if several else f"{file_name(outcome.path)}: "
        for notice in outcome.notices:
            click.echo(f"notice: {notice}", err=True)
        if outcome.status == "failed":
            self._failed += 1
            self._known &= outcome.known
            click.echo(f"{prefix if several else ''}error: {outcome.error}", err=True)
            return
        if outcome.summary is None:
            click.echo(f"{prefix}{outcome.status}; `wsiparse merge` makes the results -> {outcome.folder}")
            return
        self._partial += outcome.unreadable > 0
        counts = ", ".join(f"{c.n} {c.class_name}" for c in outcome.summary.counts)
        density = outcome.summary.density(outcome.summary.n_cells)
        per_mm2 = f", {density:.0f} cells/mm2" if density is not None else ", no tissue found"
        lost = f", {outcome.unreadable} UNREADABLE TILES" if outcome.unreadable else ""
        click.echo(
            f"{prefix}{outcome.status}: {counts} on {outcome.summary.analysed_mm2:.3f} mm2{per_mm2}{lost}"
            f" ({outcome.summary.engine}) -> {outcome.folder}"
        )

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


def _shard(text: str) -> Shard | None:
    from wsiparse.shards import shard_from_environment, shard_from_text

    if text == "none":
        return None
    if text != "auto":
        return shard_from_text(text)
    share = shard_from_environment(os.environ)
    if share is not None:
        click.echo(f"shard {share} (from {share.source}); --shard none does everything here", err=True)
    return share


def _own_slides(jobs: list[Job], share: Shard) -> list[Job]:
    from wsiparse.shards import longest_first
    from wsiparse.slides.size import slide_bytes

    sizes = [slide_bytes(job.path) if isinstance(job.path, Path) else 0 for job in jobs]
    return [jobs[i] for i in longest_first(sizes, share.count)[share.index - 1]]


def _failed(jobs: list[Job], results: Path) -> list[Job]:
    """Slides that are not done and failed when last tried, or are done but for some tiles."""
    from wsiparse.ledger import read_entries
    from wsiparse.write.manifest import done_record, slide_folder

    told = {e.folder for e in read_entries(results) if e.status == "failed"}
    chosen = []
    for job in jobs:
        folder = slide_folder(results, job.path)
        record = done_record(folder)
        if (record is None and folder.name in told) or (record is not None and record["unreadable"]):
            chosen.append(job)
    return chosen
