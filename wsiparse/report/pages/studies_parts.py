"""What the cohort's page shows for the next study: tables of variation and of patients needed, charts. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wsiparse.names import some_of
from wsiparse.report.pages.scatter import differences
from wsiparse.report.pages.table import Column, Table

__all__ = ["needed_table", "studies_parts", "variation_table"]

Numbers = Mapping[str, Any]

#: Rows of a table at a time.
_PAGE = 25


def studies_parts(studies: Numbers) -> dict[str, Any]:
    """Everything the section of the template asks for."""
    score = studies["score"]
    return {
        "unit": studies["unit"],
        "variation": variation_table([row for row in studies["rows"] if not row["note"]]),
        "unknown": _unknown(studies["rows"]),
        "needed": needed_table(studies["rows"]),
        "score": None
        if score is None
        else {**score, "measures": [_measure(k, one) for k, one in enumerate(score["measures"])]},
    }


def _unknown(rows: Sequence[Numbers]) -> list[str]:
    """Why nothing is known, and of what: each reason once."""
    of: dict[str, list[str]] = {}
    for row in rows:
        if row["note"]:
            of.setdefault(row["note"], []).append(f"{row['class']} in {row['compartment']}")
    whole = len(of) == 1 and all(row["note"] for row in rows)
    return [reason if whole else f"{some_of(names, 3)}: {reason}" for reason, names in of.items()]


def variation_table(rows: Sequence[Numbers]) -> Table:
    """How densities vary."""
    fields = (
        "class", "compartment", "slides", "patients", "groups", "mean_per_mm2", "cv_patients_percent",
        "cv_slides_percent", "cv_within_percent", "icc", "icc_low", "icc_high", "agreement_factor", "agreement_note",
        "note",
    )  # fmt: skip
    columns = [
        Column("Class", "class"),
        Column("Compartment", "compartment", signs=True),
        Column("Slides", "slides", "count"),
        Column("Patients", "patients", "count"),
        Column("Mean", "mean_per_mm2", "number", "per mm², geometric"),
        Column("Between patients", "cv_patients_percent", "number", "%", note="note"),
        Column("Between slides of a patient", "cv_slides_percent", "number", "%"),
        Column("Within a slide", "cv_within_percent", "number", "%"),
        Column("Agreement in patients", "icc", "number", "ICC", note="agreement_note"),
        Column("95 % interval", "icc_low", "interval", upper="icc_high"),
        Column("Slides differ by less than", "agreement_factor", "number", "factor"),
    ]
    shown = [{name: row[name] for name in fields} for row in rows]
    return Table(
        "variation-table", "How densities vary: coefficients of variation", columns, fields, shown,
        [("class", "Class", "choice"), ("compartment", "Compartment", "choice")], _PAGE, "variation.csv",
    )  # fmt: skip


def needed_table(rows: Sequence[Numbers]) -> Table:
    """Patients a group needs."""
    fields = ("class", "compartment", "percent", "slides", "n", "low", "high", "beyond")
    shown = [
        {
            "class": row["class"],
            "compartment": row["compartment"],
            **need,
            "beyond": "more than 10 000 patients, or no upper end of the range below that",
        }
        for row in rows
        for need in row["needed"]
    ]
    columns = [
        Column("Class", "class"),
        Column("Compartment", "compartment", signs=True),
        Column("One group denser by", "percent", "count", "%"),
        Column("Slides of each patient", "slides", "count"),
        Column("Patients a group", "n", "count", note="beyond"),
        Column("At least", "low", "count"),
        Column("At most", "high", "count", note="beyond"),
    ]
    filters = [
        ("class", "Class", "choice"), ("compartment", "Compartment", "choice"),
    ]  # fmt: skip
    return Table(
        "needed-table", "Patients a group needs", columns, fields, shown, filters, _PAGE, "patients_needed.csv"
    )


def _measure(k: int, one: Numbers) -> dict[str, Any]:
    found = one["bland_altman"]
    if found is None:
        return {**one, "svg": None}
    points = [(p["slide"], (p["measured"] + p["scored"]) / 2, p["measured"] - p["scored"]) for p in one["pairs"]]
    lines = [("upper limit", found["upper"]), ("mean", found["bias"]), ("lower limit", found["lower"])]
    svg = differences(
        points, lines, title=f"Measured less scored: {one['measure']}",
        labels=("mean of measured and scored, %", "measured less scored, points"), key=f"agreement-{k}",
    )  # fmt: skip
    return {**one, "svg": svg}
