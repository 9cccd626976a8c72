"""Queries about numbers of slides and compartments, answered from the rows of report.json files. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from wsiparse.ask.facts import Answer, AskedFile, AskedResults, AskedSlide, Figure, take
from wsiparse.ask.forms import Measure
from wsiparse.ask.grammar import Query
from wsiparse.report.stats.rows import ALL_TISSUE
from wsiparse.report.stats.summary import ALL_CELLS

__all__ = ["areas", "asked_reports", "ordered", "row_figures", "rows_answer", "unfinished_notes"]

_COUNT_NOTE: Final = "a count of objects found has no interval of its own: its density has"
_AREA_NOTE: Final = "the area of the tissue mask is exact, its outline has no interval"
_SIZE_NOTE: Final = "no interval is computed for a mean area"
#: Measure -> key in a row, unit, keys of the ends, key of the reason or the reason itself, digits.
_ROW: Final[dict[Measure, tuple[str, str, tuple[str, str] | None, str, int | None]]] = {
    "count": ("n", "", None, _COUNT_NOTE, None),
    "density": ("density_per_mm2", "per mm2", ("density_low", "density_high"), "density_note", 2),
    "share": ("share_percent", "% of the cells of all classes", ("share_low", "share_high"), "share_note", 2),
    "area": ("compartment_mm2", "mm2", None, _AREA_NOTE, 6),
    "size": ("mean_area_um2", "um2", None, _SIZE_NOTE, 1),
}
_WORDS: Final[dict[Measure, str]] = {
    "count": "count", "density": "density", "share": "share", "area": "analysed area", "size": "mean area",
}  # fmt: skip


def asked_reports(query: Query, results: AskedResults) -> tuple[tuple[AskedSlide, AskedFile], ...]:
    """The slides of a query that have numbers."""
    return tuple((s, report) for s, report in results.reports if not query.slides or s.name in query.slides)


def unfinished_notes(query: Query, results: AskedResults) -> tuple[str, ...]:
    """A line for each slide of a query that has no numbers."""
    return tuple(
        f"{s.name}: no numbers: {s.state}: {s.detail}"
        for s in results.slides
        if s.report is None and (not query.slides or s.name in query.slides)
    )


def row_figures(query: Query, results: AskedResults, measure: Measure) -> Iterator[Figure]:
    """One measure of every asked slide, class and compartment, in the order of the files."""
    key, unit, ends, why, digits = _ROW[measure]
    places = query.compartments or (ALL_TISSUE,)
    for slide, report in asked_reports(query, results):
        for k, row in enumerate(report.data["rows"]):
            if row["compartment"] not in places or (query.classes and row["class"] not in query.classes):
                continue
            if measure == "share" and (row["kind"] != "cell" or row["class"] == ALL_CELLS):
                continue
            yield take(
                report,
                "rows",
                k,
                key,
                what=f"{_WORDS[measure]} of {row['class']} in {row['compartment']}",
                unit=unit,
                slide=slide.name,
                ends=ends,
                note=row.get(why, why),
                digits=digits,
            )


def rows_answer(query: Query, results: AskedResults, measure: Measure) -> Answer:
    """One measure of classes in compartments."""
    figures = tuple(row_figures(query, results, measure))
    notes = list(unfinished_notes(query, results))
    if not query.compartments:
        notes.append(f"compartment: {ALL_TISSUE}, for none was named")
    for slide, report in asked_reports(query, results):
        there = {row["compartment"] for row in report.data["rows"]}
        lost = [name for name in query.compartments if name not in there]
        if lost:
            notes.append(f"{slide.name} has no compartment {', '.join(lost)}")
    if not figures:
        return Answer(False, "no slide with numbers has such a class in such a compartment", notes=tuple(notes))
    return Answer(True, f"{_WORDS[measure]}, slide by slide", figures=figures, notes=tuple(notes))


def areas(query: Query, results: AskedResults) -> Answer:
    """Analysed area of compartments, and where none is named what of the tissue was analysed."""
    figures: list[Figure] = []
    for slide, report in asked_reports(query, results):
        names = report.data["compartments"]["names"]
        for k, name in enumerate(names):
            if name in query.compartments:
                figures.append(
                    take(
                        report, "compartments", "area_mm2", k,
                        what=f"analysed area of {name}", unit="mm2", slide=slide.name, note=_AREA_NOTE, digits=6,
                    )
                )  # fmt: skip
        wanted: tuple[str, ...] = (
            "tissue_mm2",
            "analysed_mm2",
            "outside_roi_mm2",
            "drawn_out_mm2",
            "unreadable_mm2",
            "artefact_mm2",
        )
        if query.compartments:
            wanted = ("analysed_mm2",) if ALL_TISSUE in query.compartments and ALL_TISSUE not in names else ()
        for key in wanted:
            what = key.removesuffix("_mm2").replace("_", " ").replace("roi", "the region of interest")
            figures.append(
                take(
                    report, "area", key,
                    what=f"area: {what}", unit="mm2", slide=slide.name, note=_AREA_NOTE, digits=6,
                )
            )  # fmt: skip
    if not figures:
        return Answer(False, "no slide with numbers has such a compartment", notes=unfinished_notes(query, results))
    return Answer(True, "areas, slide by slide", figures=tuple(figures), notes=unfinished_notes(query, results))


def ordered(query: Query, results: AskedResults) -> Answer:
    """Slides in the order of a measure, the first n of them."""
    wanted = query
    if not query.classes and query.measure != "area":
        only = {row["class"] for _, report in results.reports for row in report.data["rows"]}
        if ALL_CELLS not in only and len(only) > 1:
            return Answer(False, "the question names no class to order slides by")
        wanted = Query(query.kind, (ALL_CELLS,) if ALL_CELLS in only else tuple(only), query.compartments)
    if query.measure == "area":
        found = list(areas(Query("area", (), query.compartments or (ALL_TISSUE,), (), query.slides), results).figures)
    else:
        wanted = Query(query.kind, wanted.classes, query.compartments, (), query.slides)
        found = list(row_figures(wanted, results, query.measure))
    sort: dict[str, list[tuple[float, Figure]]] = {}
    without = 0
    for figure in found:
        if isinstance(figure.value, int | float) and not isinstance(figure.value, bool):
            sort.setdefault(figure.what, []).append((figure.value, figure))
        else:
            without += 1
    sign = 1 if query.lowest else -1
    figures = [
        figure
        for own in sort.values()
        for _, figure in sorted(own, key=lambda pair: (sign * pair[0], pair[1].slide, pair[1].file))[: query.n]
    ]
    notes = list(unfinished_notes(query, results))
    if without:
        notes.append(f"{without} slide(s) have no such number and are not in the order")
    if not query.compartments and query.measure != "area":
        notes.append(f"compartment: {ALL_TISSUE}, for none was named")
    notes.append(
        "slides are ordered by their numbers; where intervals overlap, the order may be one of chance"
        if query.measure in ("density", "share")
        else "slides are ordered by their numbers"
    )
    if not figures:
        return Answer(False, "no slide with numbers has such a class in such a compartment", notes=tuple(notes))
    which = "lowest" if query.lowest else "highest"
    return Answer(True, f"{which} {_WORDS[query.measure]} first", figures=tuple(figures), notes=tuple(notes))
