"""The page of a taught model: what it learned from, how well it predicts what was held out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wsiparse.report.pages.page import render_page
from wsiparse.report.pages.table import Column, Table

__all__ = ["taught_page"]

_SECTIONS: Final = (
    ("answer", "Key figures"),
    ("figures", "Figures"),
    ("confusion", "Confusion"),
    ("calibration", "Calibration"),
    ("data", "Labels"),
    ("methods", "Methods"),
)


def taught_page(facts: Mapping[str, Any]) -> str:
    """A complete HTML document.

    Parameters
    ----------
    facts : of taught.json, with "notes" and "wsiparse"
    """
    rows = []
    for row in facts["figures"]["classes"]:
        for figure in ("precision", "recall", "f1"):
            one = row[figure]
            rows.append({"class": row["class"], "examples": row["examples"], "figure": figure, "value": one["value"],
                         "low": one["low"], "high": one["high"], "why": one["reason"]})  # fmt: skip
    columns = [
        Column("Class", "class"),
        Column("Examples", "examples", "count"),
        Column("Figure", "figure"),
        Column("Held out", "value", "number", note="why"),
        Column("95 % interval", "low", "interval", upper="high", note="why"),
    ]
    fields = ["class", "examples", "figure", "value", "low", "high", "why"]
    table = Table("figures-table", "Nuclei that were held out", columns, fields, rows, file_name="taught.csv")
    return render_page(
        "taught.html", f"{facts['name']} \N{EN DASH} wsiparse teach", _SECTIONS, facts=facts, table=table
    )
