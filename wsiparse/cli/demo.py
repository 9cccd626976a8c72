"""`wsiparse demo`: a painted slide from file to report, found counts beside the true ones."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wsiparse.cli import run

if TYPE_CHECKING:
    from wsiparse.objects.scores import Agreement

__all__ = ["command"]


@click.command("demo")
@click.option(
    "-o",
    "--results-dir",
    type=click.Path(path_type=Path),
    default=Path("wsiparse_demo"),
    show_default=True,
    help="Folder for the slide and the results.",
)
@click.option(
    "--size",
    type=click.IntRange(256, 8192),
    default=2048,
    show_default=True,
    metavar="PX",
    help="Edge of the slide, px of 0.5 um, 256-8192 (8192 wants 10 GB).",
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Another number, another slide.")
@click.pass_context
def command(context: click.Context, results_dir: Path, size: int, seed: int) -> int:
    """Paint a small H&E-like slide whose nuclei are known, analyse it, and compare found with true counts.

    The slide is synthetic: this shows what comes out and that everything works here, not how well tissue is read. The
    embedded network does it, as `wsiparse run --engine embedded` would; what is done already is kept. The true nuclei
    lie beside the slide (truth.geojson, for QuPath). Exit codes as of `wsiparse run`.

    Example: wsiparse demo -o demo --size 1024
    """
    from wsiparse.doctor.demo import DEMO_ENGINE, MATCH_RADIUS_UM, PAINTED, compare, paint_slide
    from wsiparse.export.reading import read_objects
    from wsiparse.results.folder import slide_folder
    from wsiparse.run.batch import check_results_folder

    check_results_folder(results_dir)
    name = f"synthetic-{size}px-seed{seed}"
    painted = paint_slide(results_dir / name / f"{name}.svs", size_px=size, seed=seed)
    click.echo(f"painted {len(painted.truth)} nuclei on a SYNTHETIC slide (no tissue): {painted.slide}")
    code: int = context.invoke(
        run.command,
        slides=(str(painted.slide),),
        results_dir=results_dir,
        engine=DEMO_ENGINE,
        prompts=PAINTED,
        shard="none",
    )
    if code:
        return code
    folder = slide_folder(results_dir, painted.slide)
    rows = compare(painted, read_objects(folder, "cell", outlines=False))
    click.echo("\n" + _table(rows))
    click.echo(
        f"Centroids are matched one to one within {MATCH_RADIUS_UM:g} um. The nuclei are painted, well apart in\n"
        "size and colour and without overlap, so this is no figure of accuracy on tissue: docs/accuracy.md has\n"
        "those.\n"
        f"\ntruth    {painted.truth_file}\nreport   {folder / 'report.html'}"
    )
    return 0


def _table(rows: list[tuple[str, Agreement]]) -> str:
    lines = [f"{'class':<20}{'true':>8}{'found':>8}{'difference':>18}{'precision':>11}{'recall':>8}"]
    for name, score in rows:
        difference = f"{score.found - score.truth:+d}"
        if score.truth:
            difference += f" ({100 * (score.found / score.truth - 1):+.1f} %)"
        ratios = (f"{value:.3f}" if value == value else "-" for value in (score.precision, score.recall))  # noqa: PLR0124
        lines.append("{:<20}{:>8}{:>8}{:>18}{:>11}{:>8}".format(name, score.truth, score.found, difference, *ratios))
    return "\n".join(lines)
