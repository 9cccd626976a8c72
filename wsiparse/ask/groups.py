"""Queries about groups of patients, answered from cohort.json; slides side by side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from wsiparse.ask.answers import row_figures, unfinished_notes
from wsiparse.ask.facts import Answer, AskedFile, AskedResults, Figure, plain, take
from wsiparse.ask.grammar import Query
from wsiparse.report.stats.rows import ALL_TISSUE

__all__ = ["compare", "groups"]

_NO_INTERVAL: Final = "no interval is computed for it"


def groups(query: Query, results: AskedResults) -> Answer:
    """The groups and how many patients each has."""
    cohort = results.cohort
    if cohort is None or not cohort.data["groups"]:
        return Answer(False, _no_groups(results))
    figures = []
    seen: set[str] = set()
    for k, one in enumerate(cohort.data["groups"]):
        for j, group in enumerate(one["groups"]):
            if group["group"] in seen or (query.groups and group["group"] not in query.groups):
                continue
            seen.add(group["group"])
            figures.append(
                take(
                    cohort, "groups", k, "groups", j, "n_patients",
                    what=f"patients in group {group['group']}", note="a count of patients",
                )
            )  # fmt: skip
    table = cohort.data["metadata"]
    lines = tuple(plain(text) for text in table["notices"])
    return Answer(True, f"groups of {plain(table['group_column'])}", lines, tuple(figures))


def _no_groups(results: AskedResults) -> str:
    if results.cohort is None:
        return f"there are no numbers over all slides: {results.without_cohort}"
    return "no groups are known. Give them: wsiparse report RESULTS --metadata TABLE --group COLUMN"


def compare(query: Query, results: AskedResults) -> Answer:
    """Groups of patients compared; or slides side by side, where slides are named."""
    if query.slides:
        if query.groups:
            return Answer(False, "slides and groups cannot be compared with each other")
        if len(query.slides) < 2:
            return Answer(False, "the question names one slide only")
        figures = tuple(row_figures(query, results, "density"))
        note = "no test between single slides stands in these results: compare groups of patients"
        return Answer(
            bool(figures),
            "densities side by side" if figures else "no slide with numbers has such a class in such a compartment",
            figures=figures,
            notes=(*unfinished_notes(query, results), note),
        )
    cohort = results.cohort
    if cohort is None or not cohort.data["groups"]:
        return Answer(False, _no_groups(results))
    figures_found: list[Figure] = []
    notes: list[str] = []
    for k, one in enumerate(cohort.data["groups"]):
        if query.classes and one["class"] not in query.classes:
            continue
        if one["compartment"] not in (query.compartments or (ALL_TISSUE,)):
            continue
        figures_found += _comparison(cohort, k, one, query)
        what = f"{one['class']} in {one['compartment']}"
        if any(pair["rate_ratio"] is None for pair in one["pairs"]):
            notes.append(plain(f"{what}: no rate ratio where a group has no objects or patients are fewer than three"))
        if one["reason"]:
            notes.append(plain(f"{what}: nothing was compared: {one['reason']}"))
        for key, why in (("mixed", "slides in several groups"), ("without_tissue", "nothing analysed")):
            notes += [plain(f"{what}: patient {name} is left out: {why}") for name in one[key]]
    if not query.compartments:
        notes.append(f"compartment: {ALL_TISSUE}, for none was named")
    if not figures_found:
        return Answer(False, "no such class, compartment or pair of groups was compared", notes=tuple(notes))
    return Answer(True, "groups of patients compared", figures=tuple(figures_found), notes=tuple(notes))


def _comparison(cohort: AskedFile, k: int, one: Mapping[str, Any], query: Query) -> Iterator[Figure]:
    where = f"{one['class']} in {one['compartment']}"
    for j, group in enumerate(one["groups"]):
        if query.groups and group["group"] not in query.groups:
            continue
        low, high = group["lower_quartile_per_mm2"], group["upper_quartile_per_mm2"]
        yield take(
            cohort, "groups", k, "groups", j, "median_per_mm2",
            what=f"{where}: median density of the patients of group {group['group']}", unit="per mm2",
            note=f"no interval of a median; quartiles of patients {low!r} and {high!r}", digits=2,
        )  # fmt: skip
    if one["p"] is not None and not query.groups:
        yield take(
            cohort, "groups", k, "p", what=f"{where}: p of the {one['test']} test", note="a p value has no interval"
        )
    for j, pair in enumerate(one["pairs"]):
        if query.groups and not {pair["first"], pair["second"]} <= set(query.groups):
            continue
        what = f"{where}: {pair['second']} against {pair['first']}"
        for key, text in (("p", "p"), ("p_holm", "p after Holm"), ("cliffs_delta", "Cliff's delta")):
            yield take(cohort, "groups", k, "pairs", j, key, what=f"{what}, {text}", note=_NO_INTERVAL)
        if pair["rate_ratio"] is not None:
            yield take(
                cohort, "groups", k, "pairs", j, "rate_ratio", "ratio",
                what=f"{what}, rate ratio", ends=("low", "high"),
            )  # fmt: skip
