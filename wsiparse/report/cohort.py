"""The report of a whole results folder: summary.csv, cohort.json and report.html from the slides' report.json files."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from wsiparse.atomic import output_errors, remove_dead
from wsiparse.errors import ConfigError
from wsiparse.machine import own_version
from wsiparse.names import some_of
from wsiparse.report.metadata import keep_metadata, kept_metadata, read_metadata
from wsiparse.report.pages.book import book_notes, book_tables
from wsiparse.report.pages.page import cohort_page
from wsiparse.report.stats.cohort import CohortSlide, SlideMetadata, cohort_numbers, joined_metadata, without_report
from wsiparse.report.stats.joining import Metadata
from wsiparse.report.stats.jsonable import jsonable
from wsiparse.report.stats.rows import CsvSlide, rows_csv
from wsiparse.report.stats.studies import studies_csv
from wsiparse.report.xlsx import XLSX, write_workbook, xlsx_installed
from wsiparse.results.find import find_results
from wsiparse.results.folder import (
    COHORT,
    DONE,
    METADATA,
    done_record,
    file_name,
    hashed_record,
    report_record,
    write_cohort_record,
    write_tables_record,
    write_text,
)
from wsiparse.results.status import SlideStatus, slide_statuses
from wsiparse.slides import SLIDE_EXTENSIONS

__all__ = [
    "COHORT_PAGE",
    "SUMMARY",
    "cohort_made_of",
    "cohort_slides",
    "joined_slides",
    "kept_lines",
    "lost_lines",
    "read_metadata",
    "write_cohort_report",
]

#: What cohort.json has of the numbers of the cohort's page; the rows stand in summary.csv and the report.json files.
_KEPT: Final = (
    "format", "wsiparse", "engine", "settings", "slides", "metadata", "notices", "without_report", "groups",
)  # fmt: skip
#: What it has of each slide: nothing that changes while another one is analysed, or with the place of the folder.
_OF_SLIDE: Final = ("name", "folder", "tissue_mm2", "analysed_mm2", "unreadable_mm2", "flags", "z", "metadata")

SUMMARY: Final = "summary.csv"
COHORT_PAGE: Final = "report.html"
STUDIES: Final = "studies.csv"


def cohort_slides(results: Path) -> list[CohortSlide]:
    """Every slide of a results folder, with the numbers of its report where there is one; no two have one name.

    Parameters
    ----------
    results : results folder; or one slide's folder: only that slide

    Raises
    ------
    OutputError
        If this is neither.
    """
    found = find_results(results)
    return [_slide(found.folder(status.folder), status) for status in slide_statuses(results)]


def _slide(folder: Path, status: SlideStatus) -> CohortSlide:
    label = Path(file_name(status.slide if "://" in status.slide else Path(status.slide))).stem
    state, detail, numbers, href = str(status.state), status.detail, None, None
    if done_record(folder) is not None:
        numbers = report_record(folder)
        if numbers is None:
            detail = f"{detail}; its report is missing or damaged: `wsiparse report` makes it anew"
        else:
            label = str(numbers["slide"]["name"])
            href = f"slides/{quote(status.folder)}/report.html"
    places = set()
    if status.slide != status.folder:
        places = {status.slide} if "://" in status.slide else {status.slide, os.path.realpath(status.slide)}
    return CohortSlide(
        status.slide,
        status.name,
        status.folder,
        href,
        state,
        detail,
        numbers,
        label,
        frozenset(places),
        has_results=(folder / DONE).exists(),
    )


def joined_slides(slides: Sequence[CohortSlide], metadata: Metadata) -> SlideMetadata:
    """The metadata of each slide.

    Raises
    ------
    ConfigError
        If a row fits several slides, or two rows contradict each other.
    """
    joined = joined_metadata(slides, metadata, SLIDE_EXTENSIONS)
    if joined.refused:
        more = f" ({len(joined.refused) - 1} more like it)" if len(joined.refused) > 1 else ""
        raise ConfigError(joined.refused[0] + more)
    return joined


def write_cohort_report(
    results: Path, metadata: Metadata | None = None, *, xlsx: bool = False
) -> dict[str, Any] | None:
    """Write summary.csv, studies.csv, cohort.json and report.html over every slide of a folder; None if none is done.

    Parameters
    ----------
    results : results folder
    metadata : a table about the slides, kept in the results; None for the one that was kept, if any. Of a kept one,
        rows that fit several slides by now or contradict each other are told and left out
    xlsx : write summary.xlsx too; one that is there is always made anew, or goes where it cannot be

    Raises
    ------
    OutputError
        If this is no results folder or it cannot be written to.
    ConfigError
        If `metadata` cannot be joined: nothing is written.
    """
    remove_dead(results)
    slides = cohort_slides(results)
    if not any(slide.numbers is not None for slide in slides) and not without_report(slides):
        return None
    told = []
    if metadata is not None:
        joined = joined_slides(slides, metadata)
        keep_metadata(results, metadata)
    else:
        try:
            metadata = kept_metadata(results)
        except ConfigError as error:
            told.append(str(error))
        joined = joined_metadata(slides, metadata, SLIDE_EXTENSIONS)
    rows = [
        CsvSlide(slide.numbers, slide.name, slide.folder, slide.known_path, own)
        for slide, own in zip(slides, joined.values, strict=True)
        if slide.numbers is not None
    ]
    write_text(results / SUMMARY, rows_csv(rows, metadata.columns if metadata is not None else ()))
    cohort: dict[str, Any] = jsonable(cohort_numbers(slides, metadata, joined, version=own_version()))
    cohort["notices"] += told
    cohort["date"] = datetime.now(UTC).date().isoformat()
    write_text(results / STUDIES, studies_csv(cohort["studies"]["rows"]))
    write_text(results / COHORT_PAGE, cohort_page(cohort, {}))
    kept = {key: cohort[key] for key in _KEPT}
    kept["slides"] = [{key: own[key] for key in _OF_SLIDE} for own in cohort["slides"]]
    names = [SUMMARY, STUDIES, COHORT, COHORT_PAGE]
    if xlsx or (results / XLSX).exists():
        names += _workbook(results / XLSX, cohort)
    write_cohort_record(results, kept | {"made_of": cohort_made_of(results, slides)})
    write_tables_record(results, names)
    return cohort


def _workbook(path: Path, cohort: dict[str, Any]) -> list[str]:
    """Write summary.xlsx; its name, or nothing and a notice where it is there and can be made no more."""
    if xlsx_installed():
        write_workbook(path, book_tables(cohort), book_notes(cohort))
        return [XLSX]
    with output_errors(path):
        path.unlink()
    cohort["notices"].append("summary.xlsx is gone, for the package xlsxwriter is not installed here any more")
    return []


def cohort_made_of(results: Path, slides: Sequence[CohortSlide]) -> dict[str, str]:
    """What the numbers over all slides are made of: SHA-256 of metadata.json and of the content of each report.json."""
    table = hashed_record(results / METADATA)
    of_slides = {slide.folder: str(slide.numbers["sha256"]) for slide in slides if slide.numbers is not None}
    return of_slides | ({METADATA: table[1]} if table is not None else {})


def lost_lines(cohort: Mapping[str, Any], told: Collection[str] = ()) -> list[str]:
    """What is told of slides that have results and whose numbers no table has; nothing if there is none.

    Parameters
    ----------
    cohort : numbers of the cohort's page
    told : names of slides that something was said of already
    """
    lost = [name for name in cohort["without_report"] if name not in told]
    reason = "not in the tables, for their results or their report are damaged or of another version"
    return [f"{reason}: {some_of(lost, 5)}. `wsiparse verify` says what to do."] if lost else []


def kept_lines(cohort: Mapping[str, Any] | None) -> list[str]:
    """What is told at the end of a run or a merge about the table that was joined once more, and about the slides."""
    if cohort is None:
        return []
    lines, table = [*lost_lines(cohort), *cohort["notices"]], cohort["metadata"]
    if table is not None:
        without = table["unmatched_slides"]
        missing = f"; no row for {len(without)} slide(s): {some_of(without, 5)}" if without else ""
        lines.append(
            f"summary.csv has the columns of {table['file']} again, as `wsiparse report --metadata` gave it{missing}"
        )
        lines += table["notices"]
    return lines
