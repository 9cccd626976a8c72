"""`wsiparse report`: counts, pages and the cohort's tables, made anew from results; no slide is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from wsiparse.choices import Division, words
from wsiparse.cli.options import class_options

if TYPE_CHECKING:
    from wsiparse.report.redo import RemadeReport

__all__ = ["command"]

#: States of slides that have results.
_DONE: Final = ("done", "partly done")
#: Rows, and slides, that are told one by one.
_MOST = 20
#: Compartments told in a line.
_MOST_NAMES: Final = 12


@dataclass(frozen=True, slots=True)
class _Asked:
    """The options of the command."""

    roi: Path | None
    compartments: Division | None
    metadata: Path | None
    tumour_classes: tuple[str, ...]
    stroma_classes: tuple[str, ...]
    tumour_is_epithelium: bool | None
    patient: str | None
    group: str | None
    score: str | None
    seed: int
    num_workers: int | None
    cohort_only: bool
    pdf: bool
    xlsx: bool


@click.command("report")
@click.argument("results", type=click.Path(path_type=Path))
@click.option(
    "--roi",
    type=click.Path(path_type=Path),
    help="Divide tissue by these regions: a folder with <slide>.geojson for each slide, as QuPath exports annotations, "
    "or one such file.",
)
@click.option(
    "--compartments",
    type=click.Choice(words(Division)),
    help="How tissue is divided: by epithelial (or tumour) and connective cells (auto), by the classes of regions "
    "(roi), "
    "or not at all (none). Default: as in the run; else roi where regions with classes are known, else auto.",
)
@click.option(
    "--metadata",
    type=click.Path(path_type=Path),
    help="Table (CSV) about the slides. Its column 'slide' has their file names, with folders before them where two "
    "slides are called alike. It is kept in RESULTS: later runs, merges and reports use it again.",
)
@class_options
@click.option("--patient", metavar="COLUMN", help="Column of --metadata with the patient (default: patient).")
@click.option("--group", metavar="COLUMN", help="Column of --metadata with the groups to compare (default: group).")
@click.option(
    "--score",
    metavar="COLUMN",
    help="Column of --metadata with a percentage of stroma that somebody scored, such as a pathologist's sTIL score "
    "(default: sTIL, TILs): the page over all slides holds it against what was measured.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seed of the random numbers behind the confidence intervals: the same seed gives the same intervals.",
)
@click.option(
    "-n", "--num-workers", type=click.IntRange(1, 4096), help="Slides at a time (default: as many as there are cores)."
)
@click.option("--cohort-only", is_flag=True, help="Make only summary.csv and the page over all slides.")
@click.option(
    "--xlsx",
    is_flag=True,
    help="Write summary.xlsx too, all tables over the slides in one workbook; needs wsiparse[xlsx].",
)
@click.option("--pdf", is_flag=True, help="Write every page as PDF too; needs Chromium.")
def command(results: Path, **given: Any) -> int:
    """Make the reports of RESULTS anew: per slide counts.csv, density.png, report.html and report.json; over all
    slides summary.csv and report.html.

    RESULTS is the folder that `wsiparse run -o` wrote, or the folder of one slide in it: then only that slide's report
    is made anew, and the tables over all slides. No slide is read: everything comes from objects.zarr and the small
    pictures kept beside it. Slides that failed or are missing are listed in the page over all. --metadata patients.csv
    --group response compares groups of patients; --roi annotations/ divides tissue by what was drawn in QuPath.
    Exit code: 0 done, 1 error, 2 wrong usage, 3 some slides' reports could not be made, or no slide is
    finished yet.

    Example: wsiparse report results
    """
    from wsiparse.cli.progress import TerminalProgress
    from wsiparse.machine import available_cores
    from wsiparse.report.cohort import (
        cohort_slides,
        joined_slides,
        lost_lines,
        read_metadata,
        write_cohort_report,
    )
    from wsiparse.report.pdf import find_browser, print_pdf
    from wsiparse.report.redo import redo_reports
    from wsiparse.report.xlsx import check_xlsx
    from wsiparse.results.find import find_results
    from wsiparse.results.folder import file_name
    from wsiparse.results.region_files import Matched, Named, match_regions
    from wsiparse.slides.urls import is_url
    from wsiparse.tiling import RegionClasses

    asked = _Asked(**given)
    metadata, roi, cohort_only = asked.metadata, asked.roi, asked.cohort_only
    if (asked.patient or asked.group or asked.score) and metadata is None:
        raise click.UsageError("--patient, --group and --score name columns of --metadata; give that too.")
    where = find_results(results)
    if where.root is None and (metadata is not None or cohort_only or asked.xlsx):
        raise click.UsageError(
            f"--metadata, --cohort-only and --xlsx are about a whole results folder; {results} lies in none."
        )
    columns = {"patient": asked.patient, "group": asked.group, "score": asked.score}
    table = read_metadata(metadata, **columns) if metadata is not None else None
    browser = find_browser() if asked.pdf else None
    if asked.xlsx:
        check_xlsx()
    everything = cohort_slides(where.root or results)
    if table is not None:
        # a table that cannot be joined is refused before anything is made anew
        joined_slides(everything, table)
    done = [s for s in everything if s.state in _DONE]
    found = [s for s in done if not where.one or s.folder == where.slides[0].name]
    if not found:
        told = (
            f"error: {results}: no slide is finished yet; `wsiparse status {results}` says why. Run the slides again."
        )
        click.echo(told, err=True)
        return 3
    slides = [where.folder(s.folder) for s in found]
    called = {where.folder(s.folder): s.name for s in found}
    named = done if roi is not None and roi.is_dir() else found  # a folder may have files of the other slides
    names = [Named(s.path, file_name(s.path if is_url(s.path) else Path(s.path)), s.folder, s.name) for s in named]
    regions = match_regions(roi, names) if roi is not None and not cohort_only else Matched((None,) * len(names))
    if len(named) > len(found):
        regions = regions.only(where.slides[0].name, names)
    named_now = asked.tumour_classes or asked.stroma_classes
    classes = RegionClasses(asked.tumour_classes, asked.stroma_classes) if named_now else None
    failed = 0
    said: set[str] = set()
    if not cohort_only:
        with TerminalProgress().stage("report", len(slides), "slides") as stage:
            files = regions.files if roi is not None else None
            workers = asked.num_workers or available_cores()
            for redone in redo_reports(
                slides, files, asked.compartments, asked.seed, workers, classes, asked.tumour_is_epithelium
            ):
                failed += redone.numbers is None
                said.add(called[redone.folder])
                _tell(redone, called[redone.folder] if len(slides) > 1 else "")
                stage.advance()
    for line in regions.told("the run's own count") if roi is not None else ():
        click.echo(f"notice: {line}", err=True)
    cohort = write_cohort_report(where.root, table, xlsx=asked.xlsx) if where.root is not None else None
    if cohort is not None:
        for line in lost_lines(cohort, said) if not where.one else ():
            click.echo(f"notice: {line}", err=True)
        _tell_cohort(where.root or results, cohort)
    if browser is not None:
        pages = [folder / "report.html" for folder in (where.root, *slides) if folder is not None]
        for page in pages:
            if page.is_file():
                click.echo(f"-> {print_pdf(browser, page)}")
    if failed == len(slides) == 1:
        return 1
    return 3 if failed or (cohort is not None and cohort["without_report"] and not where.one) else 0


def _tell(redone: RemadeReport, called: str) -> None:
    if redone.numbers is None:
        click.echo(f"error: {redone.error}", err=True)
        return
    parts = redone.numbers["compartments"]
    why = f" ({parts['reason']})" if parts["reason"] else ""
    name = f"{called}: " if called else ""
    taken = [f"classes of regions: {parts['classes_taken']}"] if parts["classes_taken"] else []
    for note in (*redone.numbers["region_notes"], *taken):
        click.echo(f"{name}notice: {note}", err=True)
    names = parts["names"]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    n = sum(band["n"] for band in redone.numbers["uncertainty"]["threshold"])
    click.echo(
        f"{name}{n} objects on {redone.numbers['area']['analysed_mm2']:.3f} mm2, compartments: "
        f"{', '.join(names[:_MOST_NAMES])}{more}{why} -> {redone.folder / 'report.html'}"
    )


def _tell_cohort(results: Path, cohort: dict[str, Any]) -> None:
    from wsiparse.report.xlsx import XLSX

    odd = sum(bool(s["flags"]) for s in cohort["slides"])
    without = sum(s["href"] is None for s in cohort["slides"])
    table = cohort["metadata"]
    joined = ""
    for notice in cohort["notices"]:
        click.echo(f"notice: {notice}", err=True)
    if table is not None:
        joined = f", {len(table['unmatched_slides'])} without metadata"
        for notice in table["notices"]:
            click.echo(f"notice: {notice}", err=True)
        _tell_some([f"{table['file']}: no slide {row!r} in these results" for row in table["unmatched_rows"]], "rows")
        _tell_some([f"{table['file']}: no row for slide {name}" for name in table["unmatched_slides"]], "slides")
    book = f" {results / XLSX}" if (results / XLSX).exists() else ""
    click.echo(
        f"{len(cohort['slides'])} slide(s), {without} without results, {odd} that stand out{joined} -> "
        f"{results / 'summary.csv'} {results / 'report.html'}{book}"
    )


def _tell_some(lines: list[str], what: str) -> None:
    """The first of many notices of one kind; report.html has all."""
    for line in lines[:_MOST]:
        click.echo(f"notice: {line}", err=True)
    if len(lines) > _MOST:
        click.echo(f"notice: and {len(lines) - _MOST} more such {what}; report.html lists them all", err=True)
