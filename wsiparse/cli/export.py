"""`wsiparse export`: finished results as files for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from wsiparse.choices import Coords, ExportFormat, ExportKind, Ngff, words
from wsiparse.cli.options import NameOf
from wsiparse.plugins import FORMATS

__all__ = ["command"]


@click.command("export")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "-f",
    "--format",
    "formats",
    type=NameOf(words(ExportFormat), FORMATS),
    multiple=True,
    required=True,
    help="What to write, see above (repeatable).",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="Put files into OUT/<name of the slide's folder>/ instead of exports/ in the slide's folder.",
)
@click.option("--kind", type=click.Choice(words(ExportKind)), help="Which objects (default: both).")
@click.option(
    "--coords",
    type=click.Choice(words(Coords)),
    help="Origin of coordinates: the slide's bounds, where QuPath has it (default of geojson and centroids), or that of"
    " level 0 (default of the others).",
)
@click.option(
    "--simplify",
    is_flag=True,
    default=None,
    help="Smaller files: leave out corners within half a pixel of a straighter outline.",
)
@click.option(
    "--slide",
    type=click.Path(path_type=Path),
    help="The slide, where it is DICOM (a file or folder of its series): what DICOM files refer to. For one slide.",
)
@click.option("--ngff", type=click.Choice(words(Ngff)), help="Version of OME-NGFF (default: 0.5).")
def command(results: Path, formats: tuple[str, ...], out: Path | None, **given: Any) -> int:
    """Write the objects of RESULTS (a results folder, one slide's folder in it, or objects.zarr) for other programs.

    \b
    geojson      polygons with measurements, for QuPath
    centroids    a point an object, for QuPath
    csv          a line an object
    parquet      the same table, full precision
    geoparquet   the table with polygons
    ome-zarr     label images (OME-NGFF)
    anndata      .h5ad for scanpy and squidpy
    spatialdata  shapes, points and tables, in pixels and microns
    coco         COCO instances
    dicom-ann    Microscopy Bulk Simple Annotations
    dicom-seg    Segmentation: class maps

    Other packages may add formats. The slides are not needed. Files go to a folder exports/ in each slide's folder,
    where no file of the run lies, so that none is replaced. One slide that fails does not stop the others. Exit code: 0
    done, 1 error, 2 wrong usage, 3 some slides failed.

    Example: wsiparse export results --format csv --format geojson
    """
    from wsiparse.export.formats import ExportOptions, check_installed, export, find_objects, format_of
    from wsiparse.results.one_slide import guarded
    from wsiparse.results.whole import fault_of

    options = {name: value for name, value in given.items() if value is not None}
    for name in options:
        if not any(name in format_of(form).options for form in formats):
            takers = ", ".join(form for form in words(ExportFormat) if name in format_of(form).options)
            raise click.UsageError(f"--{name} is for the formats {takers}.")
    for form in formats:
        check_installed(form)
    found = find_objects(results)
    for folder in found.unfinished:
        click.echo(f"notice: {folder}: not finished, left out", err=True)
    if "slide" in options and len(found.ready) > 1:
        raise click.UsageError("--slide is one slide's; name the folder of one slide in RESULTS.")
    failed = len(found.damaged)
    for folder in found.damaged:
        click.echo(f"error: {folder}: {fault_of(folder)}.", err=True)
    for source in found.ready:
        folder = source.absolute().parent

        def write(source: Path = source, slide: str = folder.name) -> str:
            for form in dict.fromkeys(formats):
                own = {name: value for name, value in options.items() if name in format_of(form).options}
                done = export(source, form, out, ExportOptions(**own))
                count = f"{done.objects} objects" if done.objects is not None else "labels"
                lost = f", {done.dropped} dropped (nothing valid left after rounding)" if done.dropped else ""
                for note in done.notes:
                    click.echo(f"{slide}: {form}: notice: {note}", err=True)
                places = " ".join(str(path) for path in done.paths)
                click.echo(f"{slide}: {form}: {count}{lost} -> {places}")
            return ""

        error = guarded(folder.name, folder, out or folder, write, lambda reason, _: reason)
        if error:
            failed += 1
            click.echo(f"error: {error}", err=True)
    if failed == len(found.ready) + len(found.damaged) == 1:
        return 1
    return 3 if failed else 0
