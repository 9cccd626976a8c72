"""The tables of summary.xlsx, made of the cohort's numbers. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsiparse.report.pages.cohort_parts import counts_table, panel_table, patients_table, quality_table
from wsiparse.report.pages.studies_parts import needed_table, variation_table
from wsiparse.report.pages.table import Column, Table

__all__ = ["book_notes", "book_tables"]

Numbers = Mapping[str, Any]


def book_tables(cohort: Numbers) -> dict[str, Table]:
    """The tables of the page over all slides by name of the sheet; those without rows are left out."""
    studies = cohort["studies"]
    every = {
        "Counts": counts_table(cohort, {}, {}),
        "Panel": panel_table(cohort, {}),
        "Slides": quality_table(cohort, {}),
        "Groups": _groups(cohort),
        "Patients": patients_table(cohort),
        "Variation": variation_table(studies["rows"]),
        "Patients needed": needed_table(studies["rows"]),
        "Scores": _scores(studies),
    }
    return {name: table for name, table in every.items() if table.rows}


def book_notes(cohort: Numbers) -> list[tuple[str, str]]:
    """What stands on the first sheet: of what, by what, and what to know before the numbers."""
    limits = cohort["limits"]
    return [
        ("Slides", cohort["results"]),
        ("Engine", "; ".join(cohort["engine"])),
        ("wsiparse", str(cohort["wsiparse"])),
        ("Report made on (UTC)", cohort["date"]),
        *(("Warning", f"{one['slide']}: {one['text']}") for one in limits["warnings"]),
        *(("To know", text) for text in limits["sentences"]),
        *((f"Method: {one['title']}", f"{one['text']} {one['source']}".strip()) for one in cohort["methods"]),
    ]


def _groups(cohort: Numbers) -> Table:
    """Pairs of groups, a row each."""
    fields = (
        "class", "compartment", "first", "second", "p", "p_holm", "cliffs_delta", "rate_ratio", "ratio_low",
        "ratio_high", "dispersion",
    )  # fmt: skip
    rows = []
    for one in cohort["groups"]:
        for pair in one["pairs"]:
            ratio = pair["rate_ratio"] or {"ratio": None, "low": None, "high": None, "dispersion": None}
            own = {name: pair[name] for name in ("first", "second", "p", "p_holm", "cliffs_delta")}
            ends = {"rate_ratio": ratio["ratio"], "ratio_low": ratio["low"], "ratio_high": ratio["high"]}
            place = {"class": one["class"], "compartment": one["compartment"]}
            rows.append({**place, **own, **ends, "dispersion": ratio["dispersion"]})
    caption = "Pairs of groups; the ratio is the second group's density over the first's, with its 95 % interval"
    return Table("pairs", caption, [Column("Class", "class")], fields, rows)


def _scores(studies: Numbers) -> Table:
    """Measured and scored percentages of every slide."""
    fields = ("slide", "measure", "measured", "scored")
    measures = studies["score"]["measures"] if studies["score"] is not None else ()
    rows = [{**pair, "measure": one["measure"]} for one in measures for pair in one["pairs"]]
    columns = [Column("Measured", "measured", "number", "%"), Column("Scored", "scored", "number", "%")]
    return Table("scores", "Measured and scored percentages", columns, fields, rows)
