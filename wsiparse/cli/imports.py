"""`wsiparse import`: what other programs found, as results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wsiparse.choices import CoordinateUnit, Coords, Division, Ngff, ObjectKind, Outline, Reader, words
from wsiparse.cli.options import NameOf, class_options, config_from
from wsiparse.plugins import READERS

__all__ = ["command"]


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES...")
@click.option(
    "--slide", type=click.Path(path_type=Path), required=True, help="The slide that the objects were found on."
)
@click.option("-o", "--results-dir", type=click.Path(path_type=Path), required=True, help="Folder for the results.")
@click.option("--name", default="", help="Program the objects are from, as every output says (default: by the files).")
@click.option(
    "--kind",
    type=click.Choice(words(ObjectKind)),
    default="auto",
    help="Take all objects as cells or as regions (default: auto, as the files say).",
)
@click.option(
    "--outline",
    type=click.Choice(words(Outline)),
    default="cell",
    help="Which outline of QuPath's cells, which have two: that of the cell (default) or of its nucleus.",
)
@click.option(
    "--rename",
    "renamed",
    multiple=True,
    metavar="OLD=NEW",
    help="Call a class otherwise; classes of one name become one (repeatable).",
)
@click.option(
    "--roi",
    type=click.Path(path_type=Path),
    help="GeoJSON file of the regions that the other program analysed: objects outside are left out, and densities are "
    "of the tissue in them. Default: all tissue that is found here.",
)
@click.option("--whole-slide", is_flag=True, default=None, help="Everything was analysed, not only tissue.")
@click.option(
    "--coords",
    type=click.Choice(words(Coords)),
    help="Origin of the files' coordinates: the scanned part of the slide, as QuPath has it (default of GeoJSON), or "
    "that of level 0 (default of the others).",
)
@click.option(
    "--unit",
    type=click.Choice(words(CoordinateUnit)),
    default="px",
    help="Unit of the files' coordinates (default: px).",
)
@click.option(
    "--downsample",
    type=click.FloatRange(min=0, min_open=True),
    help="Level-0 px per px of the files, where they are of a smaller copy of the slide.",
)
@click.option("--slide-mpp", type=float, help="Pixel size in um at full resolution, where the slide does not say it.")
@click.option("--override-mpp", type=float, help="Pixel size in um at full resolution, instead of what the slide says.")
@click.option("--reader", type=NameOf(words(Reader), READERS), help="Library that reads the slide (default: auto).")
@click.option("--image", metavar="NAME|NUMBER", help="Which image, for a slide file with several.")
@click.option(
    "--compartments",
    type=click.Choice(words(Division)),
    help="How the report divides tissue, as for `wsiparse run`.",
)
@class_options
@click.option("--labels/--no-labels", default=None, help="Write labels.ome.zarr, the objects as images (default: yes).")
@click.option("--ngff", type=click.Choice(words(Ngff)), help="OME-Zarr version of the labels (default: 0.5).")
@click.option("--overwrite", is_flag=True, help="Replace results of this slide that are there.")
def command(
    files: tuple[Path, ...],
    slide: Path,
    results_dir: Path,
    roi: Path | None,
    renamed: tuple[str, ...],
    overwrite: bool,
    **given: Any,
) -> int:
    """Make results of objects that another program found: reports, overlays, tables, the viewer.

    FILES hold polygons or points (GeoJSON of QuPath, StarDist, CellViT, TIAToolbox or wsiparse; COCO; JSON of CellViT,
    HoVer-Net or StarDist; GeoParquet), or are label images (TIFF, PNG, OME-Zarr), all of one slide. Outlines are kept
    as they are, to hundredths of a pixel; every output says that they were not made here.
    Exit code: 0 done, 1 error, 2 wrong usage.

    Example: wsiparse import cells.geojson --slide slide.svs -o results
    """
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.cli.signals import stopping
    from wsiparse.imports.gather import Asked
    from wsiparse.run.imported import import_objects
    from wsiparse.run.slide import Job

    pairs = [text.partition("=") for text in renamed]
    if wrong := next(
        (text for text, (old, _, new) in zip(renamed, pairs, strict=True) if not (old and new.strip())), None
    ):
        raise click.UsageError(f"--rename {wrong!r}: OLD=NEW is needed.")
    names = ("name", "kind", "outline", "coords", "unit", "downsample")
    asked = Asked(**{name: given.pop(name) for name in names}, renamed={old: new.strip() for old, _, new in pairs})
    if asked.unit == "um" and asked.downsample is not None:
        raise click.UsageError("--downsample is for coordinates in px, not with --unit um.")
    config = config_from(None, (), given)
    with stopping():
        outcome = import_objects(
            files, Job(slide, roi=roi), results_dir, config, asked, progress=TerminalProgress(), overwrite=overwrite
        )
    for notice in outcome.notices:
        click.echo(f"notice: {notice}", err=True)
    assert outcome.summary is not None
    counts = ", ".join(f"{c.n} {c.class_name}" for c in outcome.summary.counts)
    click.echo(
        f"{outcome.status}: {counts} on {outcome.summary.analysed_mm2:.3f} mm2 ({outcome.summary.engine}) -> "
        f"{outcome.folder}"
    )
    return 0
