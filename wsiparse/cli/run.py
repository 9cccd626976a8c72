"""`wsiparse run`: slides in, results folders out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wsiparse.cli.options import analysis_options, config_from, slide_options

__all__ = ["command"]


@click.command("run")
@slide_options
@click.option(
    "-o", "--results-dir", type=click.Path(path_type=Path), required=True, help="Folder the results are written to."
)
@analysis_options
@click.option("--block-size", type=int, help="Edge of the stitcher's blocks, px; changes no result.")
@click.option("-b", "--batch-size", type=int, help="Tiles the network sees at once; changes no result on a CPU.")
@click.option("-n", "--num-workers", type=int, help="Threads (default: every core); changes no result.")
@click.option("--coords", type=click.Choice(["qupath", "level0"]), help="Origin of the overlays' coordinates.")
@click.option("--overwrite", is_flag=True, help="Analyse again what is done already.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first slide that fails.")
def command(
    slides: tuple[str, ...],
    results_dir: Path,
    recursive: bool,
    ext: tuple[str, ...],
    config_file: Path | None,
    prompts: tuple[str, ...],
    roi: Path | None,
    overwrite: bool,
    fail_fast: bool,
    **values: Any,
) -> int:
    """Analyse SLIDES (files, folders, globs): every object as a polygon, counts per mm2, an overlay.

    What is done already is skipped, what was interrupted goes on, and a slide that fails does not stop the others.
    Exit code: 0 done, 1 error, 2 wrong usage, 3 some slides or tiles failed.

    Example: wsiparse run slides/ -o results --prompt "inflammatory cells" --prompt nuclei
    """
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.engine import Engine
    from wsiparse.run import Job, check_results_folder, run_slides
    from wsiparse.schedule import available_cores
    from wsiparse.slides import find_slides

    config = config_from(config_file, prompts, values)
    engine = Engine(config)  # a wrong prompt is told before any slide is opened
    for notice in engine.notices:
        click.echo(f"notice: {notice}", err=True)
    paths = find_slides(slides, recursive=recursive, extensions=ext or None)
    check_results_folder(results_dir)
    progress = TerminalProgress()
    workers = config.num_workers or available_cores()
    failed = partial = 0
    jobs = [Job(path, roi=roi) for path in paths]
    for k, outcome in enumerate(
        run_slides(
            jobs,
            results_dir,
            config,
            engine,
            overwrite=overwrite,
            fail_fast=fail_fast,
            workers=workers,
            progress=progress,
        ),
        start=1,
    ):
        prefix = f"[{k}/{len(jobs)}] {outcome.path.name}: " if len(jobs) > 1 else f"{outcome.path.name}: "
        if outcome.status == "failed":
            failed += 1
            click.echo(f"{prefix if len(jobs) > 1 else ''}error: {outcome.error}", err=True)
            continue
        assert outcome.summary is not None
        partial += outcome.unreadable > 0
        counts = ", ".join(f"{c.n} {c.class_name}" for c in outcome.summary.counts)
        density = outcome.summary.density(outcome.summary.n_cells)
        per_mm2 = f", {density:.0f} cells/mm2" if density is not None else ", no tissue found"
        lost = f", {outcome.unreadable} UNREADABLE TILES" if outcome.unreadable else ""
        click.echo(
            f"{prefix}{outcome.status}: {counts} on {outcome.summary.analysed_mm2:.3f} mm2{per_mm2}{lost}"
            f" ({outcome.summary.engine}) -> {outcome.folder}"
        )
    if failed == len(jobs) == 1:
        return 1
    return 3 if failed or partial else 0
