"""What an evaluation or a comparison leaves in its folder: one JSON with everything, two tables, one page."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from wsiparse.atomic import output_errors
from wsiparse.measure.figures import FIGURES
from wsiparse.report.pages.measured_page import measured_page
from wsiparse.report.pages.picture import Picture
from wsiparse.results.folder import write_text

__all__ = ["write_measured"]

_COUNTS: Final = ("annotated", "found", "pairs")
_ENDS: Final = ("", "_low", "_high", "_why_absent")
_LIMITS: Final = ("mean", "low", "high", "mean_low", "mean_high", "reason")


def write_measured(
    out: Path, numbers: Mapping[str, Any], name: str, pictures: Sequence[tuple[str, Picture | None, str]]
) -> None:
    """Write NAME.json, figures.csv, fields.csv and NAME.html.

    Parameters
    ----------
    out : folder, made where it is not there
    numbers : everything
    name : of the JSON and the page
    pictures : caption, picture or None, and why there is none

    Raises
    ------
    OutputError
        If the folder cannot be written to.
    """
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
    write_text(out / f"{name}.json", json.dumps(numbers, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    write_text(out / "figures.csv", _figures(numbers["rows"]))
    write_text(out / "fields.csv", _rows(numbers["fields"]))
    write_text(out / f"{name}.html", measured_page(numbers, list(FIGURES.items()), pictures))


def _figures(rows: Sequence[Mapping[str, Any]]) -> str:
    flat = []
    for row in rows:
        values: dict[str, Any] = {"class": row["class"], **{key: row[key] for key in _COUNTS}}
        for figure in FIGURES:
            one = row[figure]
            values |= dict(
                zip((figure + e for e in _ENDS), (one["value"], one["low"], one["high"], one["reason"]), strict=True)
            )
        values |= {f"difference_per_mm2_{key}": row["limits"][key] for key in _LIMITS}
        flat.append(values)
    return _rows(flat)


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    out = io.StringIO()
    if rows:
        writer = csv.DictWriter(out, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()
