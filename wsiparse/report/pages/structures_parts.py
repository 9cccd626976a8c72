"""What a slide's page shows of structures: aggregates with pictures, nearest neighbours, density by distance. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wsiparse.report.pages.charts import Bar, bars
from wsiparse.report.pages.curves import Curve, curves
from wsiparse.report.pages.page_parts import file_stem, shown
from wsiparse.report.pages.picture import Picture
from wsiparse.report.pages.table import Column, Table

__all__ = ["structures_parts"]

Numbers = Mapping[str, Any]


def structures_parts(numbers: Numbers, pictures: Mapping[str, Picture]) -> dict[str, Any] | None:
    """Everything the section of the template asks for; None where there are no structures."""
    # of a report that an older version made there are none
    found = numbers["immune"].get("structures")
    if found is None:
        return None
    inside = next((c["role"] for c in numbers["classes"] if c["role"] in ("tumour", "epithelium")), "tumour")
    neighbour = "an epithelial" if inside == "epithelium" else "a tumour"
    near = found["nearest"]
    listed = found["aggregates"]["listed"]
    return {
        "by_distance": _by_distance(found["by_distance"]),
        "nearest": None if near["reason"] else _nearest(near, neighbour.split()[1]),
        "neighbour": neighbour,
        "n": near["n"],
        "censored": near["censored"],
        "pictured": [
            {**one, "shown": shown(pictures, one["picture"], f"aggregate {one['rank']}, cells outlined", missing="")}
            for one in listed
            if one["picture"] is not None
        ],
        "table": _table(listed, neighbour.split()[1], numbers["slide"]["name"]),
    }


def _by_distance(bands: Any) -> Any:
    if not any(band["per_mm2"] for band in bands):
        return None
    entries = [
        Bar(
            f"{band['from_um']:g} to {band['to_um']:g} µm".replace("-", "\N{MINUS SIGN}"), band["per_mm2"],
            band["low"], band["high"], band["n"], colour="#cc79a7" if band["to_um"] <= 0 else "#56b4e9",
        )
        for band in bands
    ]  # fmt: skip
    title = "Immune cells by distance from the border"
    return bars(entries, title=title, label="immune cells per mm²", key="by-distance")


def _nearest(near: Numbers, kind: str) -> Any:
    percent = [[None if v is None else 100 * v for v in near[name]] for name in ("share", "poisson")]
    series = [Curve(f"immune cells with {kind} cell in r", percent[0]), Curve("at random", percent[1])]
    return curves(
        near["radius_um"], series, title=f"Nearest {kind} cell of immune cells", x_label="distance r, µm",
        y_label="immune cells, %", key="nearest",
    )  # fmt: skip


def _table(listed: Any, kind: str, name: str) -> Table:
    fields = ("rank", "x_um", "y_um", "mm2", "n", "per_mm2", "apart_um", "candidate")
    columns = [
        Column("Aggregate", "rank", "count"),
        Column("Area", "mm2", "number", "mm²"),
        Column("Immune cells", "n", "count"),
        Column("Density", "per_mm2", "number", "per mm²"),
        Column(f"To the nearest {kind} cell", "apart_um", "number", "µm"),
        Column("Candidate", "candidate"),
        Column("Middle, x", "x_um", "number", "µm"),
        Column("y", "y_um", "number", "µm"),
    ]
    caption = "Lymphoid aggregates, largest first"
    return Table("aggregates-table", caption, columns, fields, listed, (), 10, f"{file_stem(name)}-aggregates.csv")
