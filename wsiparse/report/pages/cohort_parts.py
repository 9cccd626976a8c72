"""What the cohort's page shows, made of its numbers: failures first, rankings, tables, groups, quality. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from markupsafe import Markup

from wsiparse.report.pages.charts import Bar, bars
from wsiparse.report.pages.curves import Strip, ZRow, strips, z_scores
from wsiparse.report.pages.page_parts import (
    COUNT_FIELDS,
    count_columns,
    safe_colour,
    safe_href,
    setting_facts,
    shown,
)
from wsiparse.report.pages.picture import Picture
from wsiparse.report.pages.studies_parts import studies_parts
from wsiparse.report.pages.svg import shortened
from wsiparse.report.pages.table import Column, Table
from wsiparse.report.pages.words import count, p_value, significant, times
from wsiparse.report.stats.qc import OUTLIER_Z

__all__ = ["cohort_parts", "counts_table", "panel_table", "patients_table", "quality_table"]

Numbers = Mapping[str, Any]

DONE: Final = "done"
#: Bars of a ranking chart; more slides get further charts with the same scale.
BARS: Final = 40
#: Rows of a large table at a time.
PAGE: Final = 100
#: Slides named in a warning.
MOST_NAMES: Final = 5
#: Metadata columns that find room on the page; the download has all.
MOST_METADATA: Final = 5

_MEASURES: Final = {
    "laplacian_variance": "sharpness, Laplacian",
    "tenengrad": "sharpness, Tenengrad",
    "od_red": "optical density, red",
    "od_green": "optical density, green",
    "od_blue": "optical density, blue",
}


@dataclass(frozen=True, slots=True)
class Ranking:
    """Slides of a class by density: charts of `BARS` slides each, and the slides without a density."""

    title: str
    charts: Sequence[Markup]
    n: int
    unknown: Sequence[str]


def cohort_parts(cohort: Numbers, pictures: Mapping[str, Picture]) -> dict[str, Any]:
    """Everything the template asks for besides the numbers themselves."""
    colours = {c["name"]: safe_colour(c["colour"]) for c in cohort.get("classes", ())}
    links = {s["name"]: href for s in cohort["slides"] if (href := safe_href(s["href"]))}
    return {
        "keys_": _keys(cohort),
        "warnings": _warnings(cohort),
        "unfinished": [
            {**s, "href": safe_href(s["href"])} for s in cohort["slides"] if s["state"] != DONE or s["href"] is None
        ],
        "without_report": bool(cohort["without_report"]),
        "rankings": [_ranking(k, one, colours) for k, one in enumerate(cohort["ranking"])],
        "counts": counts_table(cohort, colours, links),
        "panel": panel_table(cohort, links),
        "groups": [_group(k, one) for k, one in enumerate(cohort["groups"])],
        "patients": patients_table(cohort),
        "scores": _scores(cohort["slides"]),
        "studies": studies_parts(cohort["studies"]),
        "quality": quality_table(cohort, links),
        "sheet": _sheet(cohort["slides"], pictures),
        "facts": _facts(cohort),
    }


def _warnings(cohort: Numbers) -> list[str]:
    """Warnings about slides: each once, with the slides it is about."""
    slides_of: dict[str, list[str]] = {}
    for warning in cohort["limits"]["warnings"]:
        slides_of.setdefault(warning["text"], []).append(warning["slide"])
    out = []
    for text, names in slides_of.items():
        more = f" and {times(len(names) - MOST_NAMES, 'other', 'others')}" if len(names) > MOST_NAMES else ""
        out.append(f"{', '.join(names[:MOST_NAMES])}{more}: {text}")
    return out


def _keys(cohort: Numbers) -> list[tuple[str, str, str, list[str]]]:
    """(label, number, unit, lines) of the figures on top."""
    slides = cohort["slides"]
    done = sum(s["state"] == DONE for s in slides)
    areas = [s["analysed_mm2"] for s in slides if s["analysed_mm2"] is not None]
    flagged = sum(bool(s["flags"]) for s in slides)
    rest = f"{count(len(slides) - done)} not done" if done < len(slides) else "all are done"
    keys = [
        ("Slides", count(done), f"of {count(len(slides))} done", [rest, f"{count(flagged)} with a quality flag"]),
        (
            "Analysed tissue",
            significant(sum(areas) if areas else None),
            "mm²",
            [f"on {times(len(areas), 'slide', 'slides')}"],
        ),
    ]
    for one in cohort["ranking"][:6]:
        values = [e["density"] for e in one["entries"] if e["density"] is not None]
        if values:
            lines = ["of 1 slide"]
            if len(values) > 1:
                lines = [
                    f"median of {times(len(values), 'slide', 'slides')}",
                    f"{significant(min(values))} to {significant(max(values))}",
                ]
            keys.append((one["class"], significant(median(values)), "per mm²", lines))
    return keys


def _ranking(k: int, one: Numbers, colours: Mapping[str, str]) -> Ranking:
    known = [e for e in one["entries"] if e["density"] is not None]
    top = max((v for e in known for v in (e["density"], e["high"]) if v is not None), default=0.0)
    colour = colours.get(one["class"], "#6f95bd")
    charts = []
    for start in range(0, len(known), BARS):
        part = known[start : start + BARS]
        entries = [
            Bar(e["slide"], e["density"], e["low"], e["high"], href=safe_href(e["href"]), colour=colour) for e in part
        ]
        title = f"{one['class']}: slides {start + 1} to {start + len(part)} of {len(known)} by density"
        charts.append(
            bars(entries, title=title, label=one["unit"].replace("mm2", "mm²"), key=f"rank-{k}-{start}", top=top)
        )
    unknown = [e["slide"] for e in one["entries"] if e["density"] is None]
    return Ranking(f"{one['class']}, {one['compartment']}", charts, len(known), unknown)


def counts_table(cohort: Numbers, colours: Mapping[str, str], links: Mapping[str, str]) -> Table:
    """Every row of every slide."""
    rows = cohort["rows"]
    return Table(
        key="counts-table",
        caption="Every class in every compartment of every slide",
        columns=count_columns(rows, slide=True),
        fields=("slide", *COUNT_FIELDS, "slide_id", "path"),
        rows=rows,
        filters=[("slide", "Slide", "search"), ("class", "Class", "choice"), ("compartment", "Compartment", "choice")],
        first=PAGE,
        file_name="summary.csv",
        colours=colours,
        links=links,
    )


def panel_table(cohort: Numbers, links: Mapping[str, str]) -> Table:
    """The panel of immune cells of every slide."""
    fields = ("slide", "name", "unit", "estimate", "low", "high", "note", "formula", "slide_id")
    columns = [
        Column("Slide", "slide", link=True),
        Column("Number", "name", signs=True),
        Column("Estimate", "estimate", "number", note="note"),
        Column("95 % interval", "low", "interval", upper="high"),
        Column("Unit", "unit", signs=True),
    ]
    filters = [("slide", "Slide", "search"), ("name", "Number", "choice")]
    caption = "Panel of immune cells; research use, not a pathologist's score"
    return Table("panel-table", caption, columns, fields, cohort["panel"], filters, PAGE, "panel.csv", links=links)


def _group(k: int, one: Numbers) -> dict[str, Any]:
    """One comparison: its chart, and its verdict in words."""
    svg = None
    if one["patients"]:
        strip = [
            Strip(
                g["group"],
                [(p["patient"], p["per_mm2"], p["n"]) for p in one["patients"] if p["group"] == g["group"]],
                g["lower_quartile_per_mm2"], g["median_per_mm2"], g["upper_quartile_per_mm2"],
            )
            for g in one["groups"]
        ]  # fmt: skip
        title = f"{one['class']} in {one['compartment']} by group"
        svg = strips(strip, title=title, label=f"{shortened(one['class'], 300)} per mm²", key=f"group-{k}")
    words = f"{one['test']}: p = {p_value(one['p'])}." if one["p"] is not None else ""
    return {**one, "title": f"{one['class']}, {one['compartment']}", "svg": svg, "words": words.replace("= <", "<")}


def patients_table(cohort: Numbers) -> Table:
    """Patients as groups were compared."""
    fields = ("class", "compartment", "patient", "group", "n", "area_mm2", "per_mm2", "slides")
    rows = [
        {"class": one["class"], "compartment": one["compartment"], **p, "slides": _number_of(p["slides"])}
        for one in cohort["groups"]
        for p in one["patients"]
    ]
    columns = [
        Column("Patient", "patient"),
        Column("Group", "group"),
        Column("Class", "class"),
        Column("Compartment", "compartment"),
        Column("Count", "n", "count"),
        Column("Tissue", "area_mm2", "number", "mm²"),
        Column("Density", "per_mm2", "number", "per mm²"),
        Column("Slides", "slides", "count"),
    ]
    filters = [("patient", "Patient", "search"), ("class", "Class", "choice"), ("compartment", "Compartment", "choice")]
    return Table("patients-table", "Patients as they were compared", columns, fields, rows, filters, 25, "patients.csv")


def _number_of(slides: int | Sequence[str]) -> int:
    return slides if isinstance(slides, int) else len(slides)


def _scores(slides: Sequence[Numbers]) -> Markup | None:
    rows = [ZRow(label, [(s["name"], s["z"].get(name)) for s in slides]) for name, label in _MEASURES.items()]
    if not any(z is not None for row in rows for _, z in row.points):
        return None
    return z_scores(rows, limit=OUTLIER_Z, title="Quality of slides", label="modified z score", key="quality-chart")


def quality_table(cohort: Numbers, links: Mapping[str, str]) -> Table:
    """Slides with their state, areas, quality and metadata."""
    known = cohort["metadata"]["columns"] if cohort["metadata"] else []
    kinds = list(dict.fromkeys(name for s in cohort["slides"] for name in s["artefacts_percent"]))
    rows = []
    for s in cohort["slides"]:
        q = s["quality"] or {}
        red, green, blue = q.get("mean_od") or (None, None, None)
        rows.append(
            {
                "slide": s["name"],
                "slide_id": s["folder"],
                "path": s["path"],
                "state": s["state"],
                "detail": s["detail"],
                "flags": ", ".join(s["flags"]),
                "tissue_mm2": s["tissue_mm2"],
                "analysed_mm2": s["analysed_mm2"],
                "unreadable_mm2": s["unreadable_mm2"],
                **{f"{name}_percent": s["artefacts_percent"].get(name) for name in kinds},
                "compartments": s["compartments_used"],
                "laplacian_variance": q.get("laplacian_variance"),
                "tenengrad": q.get("tenengrad"),
                "od_red": red,
                "od_green": green,
                "od_blue": blue,
                **{f"z_{name}": s["z"].get(name) for name in _MEASURES},
                **{f"metadata {name}": s["metadata"].get(name) for name in known},
            }
        )
    columns = [
        Column("Slide", "slide", link=True),
        Column("State", "state"),
        Column("Flags", "flags"),
        *(Column(name, f"metadata {name}") for name in known[:MOST_METADATA]),
        Column("Tissue", "tissue_mm2", "number", "mm²"),
        Column("Analysed", "analysed_mm2", "number", "mm²"),
        Column("Unreadable", "unreadable_mm2", "number", "mm²"),
        *(Column(name.capitalize(), f"{name}_percent", "number", "%") for name in kinds),
        Column("Laplacian", "laplacian_variance", "number", "px⁻⁴"),
        Column("Tenengrad", "tenengrad", "number", "px⁻²"),
        *(Column(f"OD {c}", f"od_{c}", "number") for c in ("red", "green", "blue")),
    ]
    fields = tuple(rows[0]) if rows else tuple(c.key for c in columns)
    filters = [("slide", "Slide", "search"), ("state", "State", "choice"), ("flags", "Flags", "choice")]
    return Table(
        "quality-table", "Slides and their quality", columns, fields, rows, filters, PAGE, "slides.csv", links=links
    )


def _sheet(slides: Sequence[Numbers], pictures: Mapping[str, Picture]) -> list[dict[str, Any]]:
    """Small pictures of the slides that have one."""
    out = []
    for s in slides:
        picture = shown(pictures, f"slide/{s['folder']}", f"overview of {s['name']}", missing="").picture
        if picture is not None:
            out.append({"name": s["name"], "href": safe_href(s["href"]), "picture": picture, "flags": s["flags"]})
    return out


def _facts(cohort: Numbers) -> list[tuple[str, str]]:
    engine = cohort["engine"]
    return [
        ("results", cohort["results"]),
        ("engine", ", ".join(engine) if isinstance(engine, list | tuple) else engine or "none"),
        ("wsiparse", str(cohort["wsiparse"])),
        ("report made on (UTC)", cohort["date"]),
        *setting_facts(cohort["settings"]),
    ]
