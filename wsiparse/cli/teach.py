"""`wsiparse teach`: a user's own classes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["command"]


@click.command("teach")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--annotations",
    type=click.Path(path_type=Path),
    required=True,
    help="Labelled nuclei: a folder of files named as slides, or one file for one slide; see `wsiparse evaluate`.",
)
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, help="New folder for the model.")
@click.option(
    "--doubt",
    type=click.FloatRange(0, 1),
    default=0.5,
    show_default=True,
    help="Nuclei whose most probable class has less than this are called Doubtful.",
)
@click.option(
    "--own-classes/--no-own-classes",
    default=True,
    help="Whether the classes that the results have already are looked at too.",
)
@click.option(
    "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the confidence intervals."
)
def command(results: Path, annotations: Path, out: Path, **given: Any) -> int:
    """Teach the nuclei of RESULTS (a results folder, or one slide's folder in it) your own classes.

    QuPath points, outlines and classified detections label the nucleus that they lie on, areas with a class all nuclei
    in them. The model folder runs wherever --engine does: the nuclei are those of the same engine, the classes yours.
    teach.html in it has cross-validated figures. Exit code: 0 done, 1 error, 2 wrong usage.

    Example: wsiparse teach results --annotations labels -o my-classes
    """
    from wsiparse.cli.options import say_notice
    from wsiparse.teach.teach import TeachSettings, teach

    facts = teach(results, annotations, out, TeachSettings(**given))
    for note in facts["notes"]:
        say_notice(note)
    width = max(len(row["class"]) for row in facts["figures"]["classes"])
    for row in facts["figures"]["classes"]:
        f1, interval = row["f1"]["value"], row["f1"]
        shown = f"{f1:.3f}" if f1 is not None else "-"
        if interval["low"] is not None:
            shown += f" ({interval['low']:.3f}-{interval['high']:.3f})"
        click.echo(f"{row['class']:<{width}}  F1 {shown}  [{row['examples']} examples]")
    click.echo(
        f"held out by {facts['figures']['by']}, {100 * facts['figures']['doubtful']:.1f} % doubtful -> "
        f"{out} (wsiparse run ... --engine {out}), {out / 'teach.html'}"
    )
    return 0
