"""A question, or a query that was put together otherwise, and its answer. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from wsiparse.ask import answers, groups, lists
from wsiparse.ask.facts import REFUSED, Answer, AskedResults, plain
from wsiparse.ask.forms import Kind
from wsiparse.ask.formulas import explain
from wsiparse.ask.grammar import Query, Refusal, parse
from wsiparse.ask.vocabulary import vocabulary
from wsiparse.report.stats.methods import COHORT_METHODS
from wsiparse.report.stats.rows import ALL_TISSUE
from wsiparse.report.stats.summary import ALL_CELLS

__all__ = ["answer", "answer_query", "examples"]

_ANSWERS: Final[Mapping[Kind, Callable[[Query, AskedResults], Answer]]] = {
    "classes": lists.names,
    "compartments": lists.names,
    "groups": groups.groups,
    "slides": lists.slides,
    "count": lambda query, results: answers.rows_answer(query, results, "count"),
    "density": lambda query, results: answers.rows_answer(query, results, "density"),
    "share": lambda query, results: answers.rows_answer(query, results, "share"),
    "size": lambda query, results: answers.rows_answer(query, results, "size"),
    "area": answers.areas,
    "top": answers.ordered,
    "hot spots": lists.hot_spots,
    "compare": groups.compare,
    "flags": lists.flags,
    "engine": lists.engine,
    "stromal percentage": lists.stromal,
    "distance": lists.distances,
    "formula": lambda query, results: explain(query.topic, results, COHORT_METHODS),
}


def answer(question: str, results: AskedResults) -> Answer:
    """The answer to a question in words, or its refusal with what can be asked.

    Parameters
    ----------
    question : one sentence of the grammar (`wsiparse.ask.forms`)
    results : see `wsiparse.ask.read`
    """
    query = parse(question, vocabulary(results))
    if isinstance(query, Refusal):
        return _refused(query.reason, results)
    return answer_query(query, results)


def answer_query(query: Query, results: AskedResults) -> Answer:
    """The answer to a query; a refusal begins with `REFUSED`."""
    found = _ANSWERS[query.kind](query, results)
    return found if found.answered else replace(_refused(found.title, results), notes=found.notes)


def _refused(reason: str, results: AskedResults) -> Answer:
    return Answer(False, f"{REFUSED}: {reason}", can_ask=examples(results))


def examples(results: AskedResults) -> tuple[str, ...]:
    """Questions that can be asked of these results, with their own names."""
    known = vocabulary(results)
    name = plain(next((own for own in known.classes if own != ALL_CELLS), ALL_CELLS))
    place = plain(known.compartments[-1] if known.compartments else ALL_TISSUE)
    slide = plain(known.slides[0]) if known.slides else "NAME"
    found = [
        "which classes, compartments, slides or groups are there?",
        f'how many "{name}" on slide "{slide}"?',
        f'density, share or mean area of "{name}" in "{place}"',
        f'area of "{place}"',
        f'top 3 slides by density of "{name}"',
        f'top 3 hot-spots of "{name}" on slide "{slide}"',
        "stromal percentage; distance of immune cells",
        "which slides stand out? any warnings?",
        "which engine and settings?",
        "explain density, interval, hot-spots, rate ratio, ...",
    ]
    if known.groups:
        both = " and ".join(f'"{plain(group)}"' for group in known.groups[:2])
        found.insert(5, f'compare {both} by "{name}" in "{place}"')
    return tuple(found)
