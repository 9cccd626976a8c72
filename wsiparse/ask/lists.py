"""Queries about what results hold: names, slides, engine and settings, quality, hot-spots. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wsiparse.ask.answers import asked_reports, row_figures, unfinished_notes
from wsiparse.ask.facts import Answer, AskedFile, AskedResults, Figure, has, plain, take
from wsiparse.ask.grammar import Query
from wsiparse.ask.vocabulary import vocabulary

__all__ = ["distances", "engine", "flags", "hot_spots", "names", "slides", "stromal"]

_NO_INTERVAL: Final = "no interval is computed for it"
#: Key of a square, what it is, unit, digits.
_SPOT: Final[tuple[tuple[str, str, str, int | None], ...]] = (
    ("density_per_mm2", "density", "per mm2", 2),
    ("n", "count", "", None),
    ("z", "z of Gi*", "", None),
    ("q", "false discovery rate", "", None),
    ("x_um", "upper left corner, x", "um", 1),
    ("y_um", "upper left corner, y", "um", 1),
)
_SETTING: Final = "a setting, not a measurement"


def names(query: Query, results: AskedResults) -> Answer:
    """The classes or the compartments of the results."""
    known = vocabulary(results)
    lines: list[str] = []
    if query.kind == "classes":
        for name in known.classes:
            own = next((c for _, report in results.reports for c in report.data["classes"] if c["name"] == name), None)
            asked = (
                f': {own["kind"]}s, asked for as "{own["prompt"]}"'
                if own is not None
                else ": all cell classes together"
            )
            lines.append(plain(name + asked))
    else:
        for slide, report in asked_reports(query, results):
            parts = report.data["compartments"]
            why = f" ({parts['reason']})" if parts["reason"] else ""
            lines.append(plain(f"{slide.name}: {', '.join(parts['names'])}{why}"))
    if not lines:
        return Answer(False, "no slide has numbers yet", notes=unfinished_notes(query, results))
    return Answer(True, query.kind, tuple(lines), notes=unfinished_notes(query, results))


def slides(query: Query, results: AskedResults) -> Answer:
    """The slides and their states; of one that is named what it is."""
    chosen = [s for s in results.slides if not query.slides or s.name in query.slides]
    lines = tuple(
        plain(f"{s.name}: {s.state} [{s.id}]" + (f": {s.detail}" if s.report is None else "")) for s in chosen
    )
    figures: list[Figure] = []
    if query.slides:
        for slide, report in asked_reports(query, results):
            facts = report.data["slide"]
            for k, axis in enumerate(("width", "height")):
                figures.append(take(report, "slide", "size", k, what=axis, unit="px", slide=slide.name, note=_SETTING))
            for k, axis in enumerate("xy"):
                figures.append(
                    take(
                        report, "slide", "mpp", k,
                        what=f"pixel size along {axis} (from {facts['mpp_source']})", unit="um/px", slide=slide.name,
                        note="as the slide's metadata or the user says",
                    )
                )  # fmt: skip
        figures += row_figures(query, results, "count")
        figures += row_figures(query, results, "density")
    return Answer(True, f"{len(lines)} slide(s)", lines, tuple(figures))


def engine(query: Query, results: AskedResults) -> Answer:
    """Which engine and settings made the numbers."""
    lines: list[str] = []
    figures: list[Figure] = []
    for slide, report in asked_reports(query, results):
        lines.append(plain(f"{slide.name}: {report.engine}; wsiparse {report.data['wsiparse']}"))
        for key, value in report.data["settings"].items():
            if isinstance(value, int | float | str | bool):
                figures.append(take(report, "settings", key, what=f"report: {key}", slide=slide.name, note=_SETTING))
        if slide.done is None:
            continue
        for key, value in slide.done.data.get("settings", {}).items():
            if isinstance(value, int | float | str | bool) and key != "regions":
                figures.append(take(slide.done, "settings", key, what=f"run: {key}", slide=slide.name, note=_SETTING))
            elif isinstance(value, list) and all(isinstance(v, int | float | str) for v in value):
                for k in range(len(value)):
                    figures.append(
                        take(slide.done, "settings", key, k, what=f"run: {key}", slide=slide.name, note=_SETTING)
                    )
    if not lines:
        return Answer(False, "no slide has numbers yet", notes=unfinished_notes(query, results))
    return Answer(True, "engine and settings", tuple(lines), tuple(figures), unfinished_notes(query, results))


def flags(query: Query, results: AskedResults) -> Answer:
    """What is to be known about slides before their numbers are used."""
    lines: list[str] = []
    figures: list[Figure] = []
    for slide, report in asked_reports(query, results):
        warnings = report.data["limits"]["warnings"] if has(report.data, "limits", "warnings") else []
        lines += [plain(f"{slide.name}: warning: {text}") for text in warnings]
        quality = report.data["quality"]
        for key, unit in (("laplacian_variance", ""), ("tenengrad", ""), ("tissue_mm2", "mm2")):
            if quality[key] is not None:
                figures.append(
                    take(report, "quality", key, what=f"quality: {key}", unit=unit, slide=slide.name, note=_NO_INTERVAL)
                )
        tiles = take(report, "area", "unreadable_tiles", what="unreadable tiles", slide=slide.name, note=_NO_INTERVAL)
        figures.append(tiles)
    notes = list(unfinished_notes(query, results))
    if results.cohort is not None:
        for k, own in enumerate(results.cohort.data["slides"]):
            if query.slides and own["name"] not in query.slides:
                continue
            lines += [plain(f"{own['name']}: stands out: {text}") for text in own["flags"]]
            for key, value in own["z"].items():
                if value is not None:
                    figures.append(
                        take(
                            results.cohort, "slides", k, "z", key,
                            what=f"modified z score of {key}", slide=own["name"],
                            note="beyond 3.5 a slide stands out; no interval",
                        )
                    )  # fmt: skip
    else:
        notes.append(f"whether a slide stands out among the others is not known: {results.without_cohort}")
    if not lines:
        lines.append("no slide of these has a warning or stands out")
    return Answer(True, "quality flags", tuple(lines), tuple(figures), tuple(notes))


def hot_spots(query: Query, results: AskedResults) -> Answer:
    """The hot-spots, or densest squares, of a class on each slide."""
    lines: list[str] = []
    figures: list[Figure] = []
    for slide, report in asked_reports(query, results):
        for path, part in _squares(report, query):
            name = plain(part["class"])
            head = f"{slide.name}, {name}: {part['n_hot']} hot squares of {part['n_tested']} tested"
            lines.append(plain(f"{head} ({part['reason']})" if part["reason"] else head))
            for key, what in (("n_hot", "hot squares"), ("n_tested", "tested squares")):
                figures.append(take(report, *path, key, what=f"{what} of {name}", slide=slide.name, note=_NO_INTERVAL))
            figures += _spot_figures(slide.name, report, path, part, query.n)
    notes = unfinished_notes(query, results)
    if not figures:
        return Answer(False, "no slide with numbers has squares of such a class", notes=notes)
    return Answer(True, "hot-spots, slide by slide", tuple(lines), tuple(figures), notes)


def _spot_figures(
    slide: str, report: AskedFile, path: tuple[str | int, ...], part: Mapping[str, Any], n: int | None
) -> Iterator[Figure]:
    why = f"one square of {part['grid_um']:g} um is too small for an interval"
    for k, spot in enumerate(part["spots"][:n]):
        kind = "hot-spot" if spot["hot"] else "densest square, no hot-spot"
        what = f"{kind} {spot['rank']} of {part['class']}"
        for key, label, unit, digits in _SPOT:
            note = why if spot[key] is not None else part["reason"] or why
            here = (*path, "spots", k, key)
            yield take(report, *here, what=f"{what}: {label}", unit=unit, slide=slide, note=note, digits=digits)


def _squares(report: AskedFile, query: Query) -> Iterator[tuple[tuple[str | int, ...], Mapping[str, Any]]]:
    if not query.classes:
        part = report.data["immune"]["hot_spots"]
        if part["class"]:
            yield ("immune", "hot_spots"), part
        return
    for k, part in enumerate(report.data.get("dense_squares", ())):
        if part["class"] in query.classes:
            yield ("dense_squares", k), part


def stromal(query: Query, results: AskedResults) -> Answer:
    """Stromal percentage of inflammatory nuclei, and the difference of densities."""
    figures: list[Figure] = []
    notes = list(unfinished_notes(query, results))
    for slide, report in asked_reports(query, results):
        part = report.data["immune"]["infiltrate"]
        if part is None:
            why = report.data["immune"]["reason"] or report.data["compartments"]["reason"] or "no tumour and stroma"
            notes.append(f"{slide.name}: none: {why}")
            continue
        path = ("immune", "infiltrate")
        for k, row in enumerate(report.data["immune"]["panel"]):
            if row["key"] == "stil_nuclei":
                figures.append(
                    take(
                        report, "immune", "panel", k, "estimate",
                        what=f"stromal percentage ({row['formula']})", unit=row["unit"], slide=slide.name,
                        ends=("low", "high"), note=row["note"], digits=2,
                    )
                )  # fmt: skip
        if part["difference"] is not None:
            figures.append(
                take(
                    report, *path, "difference", "estimate",
                    what=f"density of immune cells in {part['inside']} minus stroma", unit="per mm2", slide=slide.name,
                    ends=("low", "high"), note=part["difference"].get("note") or part["difference"].get("reason", ""),
                    digits=2,
                )
            )  # fmt: skip
    if not figures:
        return Answer(False, "no slide has a stromal percentage", notes=tuple(notes))
    return Answer(True, "stromal percentage, slide by slide", figures=tuple(figures), notes=tuple(notes))


def distances(query: Query, results: AskedResults) -> Answer:
    """Distances of immune cells to the tumour or epithelium."""
    figures: list[Figure] = []
    notes = list(unfinished_notes(query, results))
    for slide, report in asked_reports(query, results):
        part = report.data["immune"]["distances"]
        immune = report.data["immune"]["classes"]
        if any(name not in immune and name not in _tumour_classes(report) for name in query.classes):
            notes.append(f"{slide.name}: distances are kept of {', '.join(immune) or 'no class'} only")
            continue
        if part is None or part["mean_um"] is None:
            notes.append(f"{slide.name}: none: {(part or report.data['immune'])['reason']}")
            continue
        figures.append(
            take(
                report, "immune", "distances", "mean_um",
                what=f"mean distance of {', '.join(immune)} to {part['to']}", unit="um", slide=slide.name,
                note=_NO_INTERVAL, digits=1,
            )
        )  # fmt: skip
        figures.append(
            take(report, "immune", "distances", "n", what="cells measured", slide=slide.name, note=_NO_INTERVAL)
        )
    if not figures:
        return Answer(False, "no slide has such distances", notes=tuple(notes))
    return Answer(True, "distances, slide by slide", figures=tuple(figures), notes=tuple(notes))


def _tumour_classes(report: AskedFile) -> list[str]:
    return [own["name"] for own in report.data["classes"] if own["role"] in ("tumour", "epithelium")]
