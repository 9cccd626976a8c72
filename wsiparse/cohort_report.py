"""The report of a whole results folder: summary.csv and report.html from the slides' report.json files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from wsiparse.errors import ConfigError
from wsiparse.report.cohort import CohortSlide, Metadata, cohort_numbers, joined_metadata
from wsiparse.report.jsonable import jsonable
from wsiparse.report.page import cohort_page
from wsiparse.report.rows import rows_csv
from wsiparse.slides import SLIDE_EXTENSIONS
from wsiparse.slides.sheet import table_lines
from wsiparse.status import SlideStatus, slide_statuses
from wsiparse.version import own_version
from wsiparse.write.manifest import done_record, file_name, report_record, write_tables_record, write_text
from wsiparse.write.parts import remove_dead

__all__ = ["COHORT_PAGE", "SUMMARY", "cohort_slides", "read_metadata", "write_cohort_report"]

SUMMARY: Final = "summary.csv"
COHORT_PAGE: Final = "report.html"

#: Columns that a table of slides may call the slide, the patient and the group by, in any case.
_SLIDE: Final = ("slide", "slide_name", "image", "filename", "file", "path")
_PATIENT: Final = ("patient", "patient_id", "case", "case_id", "subject", "subject_id")
_GROUP: Final = ("group", "cohort", "arm")


def read_metadata(path: Path, *, patient: str | None = None, group: str | None = None) -> Metadata:
    """A table about slides, such as the one that `wsiparse run` was given.

    Parameters
    ----------
    path : see `wsiparse.slides.sheet.table_lines`; the first line names the columns, one of them "slide"
    patient, group : names of columns; by default those called so (patient, case, subject; group, cohort, arm)

    Raises
    ------
    SlideNotFoundError, ConfigError
        If the file cannot be read, has no column for the slide, or lacks a column that was named.
    """
    lines = table_lines(path)
    _, head = next(lines, (1, []))
    by_plain = {name.casefold(): k for k, name in reversed(list(enumerate(head)))}
    at = next((by_plain[word] for word in _SLIDE if word in by_plain), None)
    if at is None:
        raise ConfigError(
            f"{path}: no column 'slide' (found {', '.join(head) or 'nothing'}). Call the column of slides 'slide'."
        )
    # what a run is told of a slide says nothing about the patient
    others = {k: name for k, name in enumerate(head) if name and k != at and name.casefold() not in ("mpp", "roi")}
    rows = []
    for _, cells in lines:
        if at < len(cells) and cells[at]:
            rows.append((cells[at], {name: cells[k] if k < len(cells) else "" for k, name in others.items()}))
    columns = tuple(dict.fromkeys(others.values()))
    return Metadata(
        path.name,
        columns,
        tuple(rows),
        _column(path, columns, patient, _PATIENT),
        _column(path, columns, group, _GROUP),
    )


def _column(path: Path, columns: Sequence[str], asked: str | None, usual: Sequence[str]) -> str | None:
    by_plain = {name.casefold(): name for name in columns}
    if asked is None:
        return next((by_plain[word] for word in usual if word in by_plain), None)
    if asked.casefold() not in by_plain:
        raise ConfigError(f"{path}: no column {asked!r}. Its columns are {', '.join(columns) or 'none'}.")
    return by_plain[asked.casefold()]


def cohort_slides(results: Path) -> list[CohortSlide]:
    """Every slide of a results folder, with the numbers of its report where there is one.

    Raises
    ------
    OutputError
        If this is no results folder.
    """
    return [_slide(results, status) for status in slide_statuses(results)]


def _slide(results: Path, status: SlideStatus) -> CohortSlide:
    folder = results / "slides" / status.folder
    name = Path(file_name(status.slide if "://" in status.slide else Path(status.slide))).stem
    state, detail, numbers, href = str(status.state), status.detail, None, None
    if done_record(folder) is not None:
        numbers = report_record(folder)
        if numbers is None:
            detail = f"{detail}; its report is missing or damaged: `wsiparse report` makes it anew"
        else:
            name = str(numbers["slide"]["name"])
            href = f"slides/{quote(status.folder)}/report.html"
    return CohortSlide(status.slide, name, status.folder, href, state, detail, numbers)


def write_cohort_report(results: Path, metadata: Metadata | None = None) -> dict[str, Any] | None:
    """Write summary.csv and report.html over every slide of a results folder; the numbers, or None without a slide.

    Raises
    ------
    OutputError
        If this is no results folder or it cannot be written to.
    """
    remove_dead(results)
    slides = cohort_slides(results)
    if not any(slide.numbers is not None for slide in slides):
        return None
    values, unmatched = joined_metadata(slides, metadata, SLIDE_EXTENSIONS)
    numbered = [(s.numbers, own) for s, own in zip(slides, values, strict=True) if s.numbers is not None]
    write_text(results / SUMMARY, rows_csv(numbered, metadata.columns if metadata is not None else ()))
    cohort: dict[str, Any] = jsonable(cohort_numbers(slides, metadata, values, unmatched, version=own_version()))
    write_text(results / COHORT_PAGE, cohort_page(cohort, {}))
    write_tables_record(results, (SUMMARY, COHORT_PAGE))
    return cohort
