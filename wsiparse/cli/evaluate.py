"""`wsiparse evaluate`: how well results agree with annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command("evaluate")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--truth",
    type=click.Path(path_type=Path),
    required=True,
    help="Annotations: a folder of files named as slides, or one file for one slide.",
)
@click.option(
    "-o", "--out", type=click.Path(path_type=Path), help="Folder for the files (default: evaluation in RESULTS)."
)
@click.option(
    "--class",
    "pairs",
    multiple=True,
    metavar="ANNOTATED=FOUND",
    help='Annotations of one class are the results\' class of another name, e.g. "Tumor=Epithelial" (repeatable).',
)
@click.option(
    "--complete", is_flag=True, help="Every nucleus of the slide is annotated, although the file has no field."
)
@click.option(
    "--partial",
    is_flag=True,
    help="Not every nucleus is annotated: found ones without annotation are left out; recall and classes only.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the confidence intervals."
)
@click.option(
    "--worst", type=click.IntRange(min=0), default=6, show_default=True, help="How many of the worst fields are shown."
)
def command(results: Path, truth: Path, out: Path | None, **given: Any) -> int:
    """Compare RESULTS (a results folder, or one slide's folder in it) with annotations of the same slides.

    \b
    <slide>.geojson      QuPath: points, outlines or classified detections; areas of class
                         Region*, or large ones without a class, are the fields in which
                         every nucleus is annotated
    <slide>.label.png    ids of nuclei, of the whole slide; classes in <slide>.types.json
    <slide>.points.json  [[x, y, class], ...] in pixels of the slide
    <slide>.points.csv   columns x, y, class, or x_um, y_um, class

    Writes evaluation.html, evaluation.json, figures.csv and fields.csv: for all nuclei and every class precision,
    recall, F1, panoptic quality, AJI, counts with limits of agreement and a confusion matrix, with 95 % intervals over
    fields where there are five or more. Exit code: 0 done, 1 error, 2 wrong usage.

    Example: wsiparse evaluate results --truth truth
    """
    from wsiparse.cli.measured import say_measured
    from wsiparse.measure.evaluate import Asked, evaluate

    if given["complete"] and given["partial"]:
        raise click.UsageError("--complete and --partial exclude each other.")
    folder = out or results / "evaluation"
    say_measured(evaluate(results, truth, folder, Asked(**given)), folder)
    return 0
