"""`wsiparse compare`: how well two results of the same slides agree."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["command"]


@click.command("compare")
@click.argument("first", type=click.Path(path_type=Path))
@click.argument("second", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for the files (default: comparison in the second results).",
)
@click.option(
    "--class",
    "pairs",
    multiple=True,
    metavar="FIRST=SECOND",
    help='A class of the first results is the second\'s class of another name, e.g. "Tumor=Epithelial" (repeatable).',
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the confidence intervals."
)
def command(first: Path, second: Path, out: Path | None, pairs: tuple[str, ...], seed: int) -> int:
    """Compare two results folders, of two engines or two runs, slide by slide: neither side is taken for the truth.

    Slides are the same when their files are. Writes comparison.html, comparison.json, figures.csv and fields.csv: F1,
    panoptic quality, AJI, counts and densities with limits of agreement, and which class of the first became which of
    the second. "Precision" is the share of the second's nuclei that the first has, "recall" the share of the first's
    that the second has. Exit code: 0 done, 1 error, 2 wrong usage.

    Example: wsiparse compare results other_results
    """
    from wsiparse.cli.measured import say_measured
    from wsiparse.measure.compare import compare

    folder = out or second / "comparison"
    say_measured(compare(first, second, folder, pairs=pairs, seed=seed), folder)
    return 0
