"""What a cohort says for the next study: how densities vary, patients needed, agreement with a scored column. Pure.

The patient is the unit, as in `wsiparse.report.stats.groups`; the arithmetic is in `wsiparse.report.stats.variance` and
`wsiparse.report.stats.agreement`.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from wsiparse.names import safe_cell, some_of
from wsiparse.report.stats.agreement import LEAST_PAIRS, bland_altman, concordance, score_of
from wsiparse.report.stats.rows import ALL_TISSUE
from wsiparse.report.stats.variance import (
    Components,
    SlideDensity,
    components,
    patients_needed,
    within_patients,
)

__all__ = ["PERCENT", "SLIDES_EACH", "STUDIES_COLUMNS", "CountedSlide", "scored", "studies_csv", "study_rows"]

#: Differences of densities that patients are counted for, per cent.
PERCENT: Final = (20, 30, 50, 100)
#: Slides of each patient that patients are counted for.
SLIDES_EACH: Final = (1, 2, 4)

#: Columns of studies.csv.
STUDIES_COLUMNS: Final = (
    "class", "compartment", "slides", "patients", "groups", "mean_per_mm2", "cv_patients_percent",
    "cv_slides_percent", "cv_within_percent", "icc", "icc_low", "icc_high", "agreement_factor", "agreement_note",
    "difference_percent", "slides_each", "patients_needed", "patients_needed_low", "patients_needed_high", "note",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountedSlide:
    """A slide as it counts in a comparison: whose it is, in which group ("" for none), and its rows of counts."""

    patient: str
    group: str
    rows: Sequence[Mapping[str, Any]]


def study_rows(slides: Sequence[CountedSlide], first: Sequence[str] = ()) -> list[dict[str, Any]]:
    """How the density of every class in every compartment varies, and patients that a group needs.

    Patients whose slides are in several groups are left out.

    Parameters
    ----------
    slides : each image of a patient once
    first : classes that people ask for first
    """
    groups: dict[str, set[str]] = {}
    for slide in slides:
        groups.setdefault(slide.patient, set()).add(slide.group)
    found: dict[tuple[str, str], list[SlideDensity]] = {}
    for slide in slides:
        if len(groups[slide.patient]) > 1:
            continue
        for row in slide.rows:
            own = found.setdefault((row["class"], row["compartment"]), [])
            if row["compartment_mm2"] > 0:
                error = row.get("density_error")
                relative = error / row["density_per_mm2"] if error is not None and row["density_per_mm2"] else None
                own.append(SlideDensity(slide.patient, slide.group, row["n"], row["compartment_mm2"], relative))
    order = sorted(found, key=lambda key: (key[0] not in first, key[1] != ALL_TISSUE))
    return [_row(*key, components(found[key])) for key in order]


def _row(name: str, compartment: str, found: Components) -> dict[str, Any]:
    agreement = within_patients(found)
    needed = []
    for percent in PERCENT if not found.reason else ():
        for slides in SLIDES_EACH if found.repeat is not None else (1,):
            needed.append(asdict(patients_needed(found, percent, slides=slides)))
    return {
        "class": name,
        "compartment": compartment,
        "slides": found.n_slides,
        "patients": found.n_patients,
        "groups": found.n_groups,
        "mean_per_mm2": found.mean_per_mm2,
        "cv_patients_percent": _cv(found.patient),
        "cv_slides_percent": _cv(found.slide),
        "cv_within_percent": _cv(found.within),
        "icc": agreement.icc,
        "icc_low": agreement.low,
        "icc_high": agreement.high,
        "agreement_factor": agreement.factor,
        "agreement_note": agreement.reason,
        "needed": needed,
        "note": found.reason,
    }


def _cv(variance: float | None) -> float | None:
    """Coefficient of variation of a log normal value, per cent, from the variance of its logarithm."""
    return 100 * math.sqrt(math.expm1(min(variance, 700.0))) if variance is not None else None


def studies_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """CSV text with \\n line ends: a row for each class, compartment, difference and number of slides each."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(STUDIES_COLUMNS)
    for row in rows:
        for need in row["needed"] or [{"percent": None, "slides": None, "n": None, "low": None, "high": None}]:
            values = {
                **row,
                "difference_percent": need["percent"],
                "slides_each": need["slides"],
                "patients_needed": need["n"],
                "patients_needed_low": need["low"],
                "patients_needed_high": need["high"],
            }
            writer.writerow([_cell(values[name]) for name in STUDIES_COLUMNS])
    return out.getvalue()


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return safe_cell(value) if isinstance(value, str) else f"{value:.6g}"


#: Percentages of a slide that are held against a scored one: keys of the panel, and what they are called.
_MEASURES: Final = (
    ("stil_nuclei", "stroma occupied by nuclei of immune cells"),
    ("stil_cells", "stroma occupied by immune cells with cytoplasm, an estimate"),
)


def scored(
    names: Sequence[str], panels: Sequence[Sequence[Mapping[str, Any]]], scores: Sequence[str], column: str
) -> dict[str, Any]:
    """Stromal percentages against those of a column of the metadata.

    Parameters
    ----------
    names : of the slides
    panels : of their reports, see `wsiparse.report.stats.panel`
    scores : as the table has them, "" for none
    column : what it is called
    """
    read = [score_of(text) if text else None for text in scores]
    wrong = [
        f"{name} ({text!r})" for name, text, value in zip(names, scores, read, strict=True) if text and value is None
    ]
    notices = [f"column {column}: no percentage, left out: {some_of(wrong, 5)}"] if wrong else []
    measured = [{row["key"]: row["estimate"] for row in panel} for panel in panels]
    measures = []
    for key, called in _MEASURES:
        pairs: list[dict[str, Any]] = [
            {"slide": name, "measured": float(own[key]), "scored": value}
            for name, own, value in zip(names, measured, read, strict=True)
            if value is not None and own.get(key) is not None
        ]
        one: dict[str, Any] = {
            "measure": called,
            "pairs": pairs,
            "bland_altman": None,
            "concordance": None,
            "reason": "",
        }
        if len(pairs) < LEAST_PAIRS:
            one["reason"] = f"{len(pairs)} slide(s) with both, {LEAST_PAIRS} are needed"
        else:
            first, second = ([pair[side] for pair in pairs] for side in ("measured", "scored"))
            one["bland_altman"] = asdict(bland_altman(first, second))
            one["concordance"] = asdict(concordance(first, second))
        measures.append(one)
    without = sum(value is None for value in read)
    if without - len(wrong):
        notices.append(f"column {column}: no score for {without - len(wrong)} slide(s)")
    return {"column": column, "measures": measures, "notices": notices}
