"""A question in words becomes a `Query`, or a reason why it is none. Pure, and the same for every results folder.

The grammar is fixed: names of these results, the words of one kind of question, and words that mean nothing by
themselves. A word that is none of these is not passed over, for it may be what matters ("mitotic", "without"): such a
question is refused and the word is named.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wsiparse.ask.facts import plain
from wsiparse.ask.forms import (
    FILLERS,
    FORMS,
    LOWEST,
    MEASURES,
    NUMBERS,
    RESERVED,
    TOPICS,
    Form,
    Kind,
    Measure,
    word_set,
)
from wsiparse.ask.vocabulary import Name, Named, NameKind, Vocabulary, Word, words_of

__all__ = ["Query", "Refusal", "parse"]


@dataclass(frozen=True, slots=True)
class Query:
    """A question that was understood.

    Parameters
    ----------
    kind : what is asked
    classes, compartments, groups, slides : names in it, as the files write them; none for all
    n : how many, of those that are ordered
    measure : what is ordered or explained by
    lowest : the lowest first
    topic : what is to be explained
    """

    kind: Kind
    classes: tuple[str, ...] = ()
    compartments: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    slides: tuple[str, ...] = ()
    n: int | None = None
    measure: Measure = "density"
    lowest: bool = False
    topic: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a question cannot be answered, one line."""

    reason: str


def parse(question: str, names: Vocabulary) -> Query | Refusal:
    """What a question asks.

    Parameters
    ----------
    question : one sentence
    names : names of the results that are asked about
    """
    words = words_of(question)
    if not words:
        return Refusal("nothing is asked")
    found, rest, unknown = names.find(words, RESERVED)
    if unknown:
        return Refusal(f'"{plain(unknown)}" is no class, compartment, group or slide of these results')
    said = frozenset(word.text for word in rest)
    form = next((form for form in FORMS if any(trigger <= said for trigger in form.triggers)), None)
    if form is None:
        form = _only_names(found, rest)
    elif form.kind == "count" and "slides" in said and not (found or said & word_set("cells cell nuclei objects")):
        form = next(own for own in FORMS if own.kind == "slides")
    if form is None:
        return Refusal(_unknown(rest) or "the question has no word that says what is asked")
    if form.kind == "formula":
        return _topic(found, rest, form)
    left = [w for w in rest if w.text not in form.words | FILLERS | frozenset(NUMBERS) and not w.text.isdigit()]
    if left:
        return Refusal(_unknown(left))
    if "where" in said and form.kind != "hot spots":
        return Refusal("where single objects lie is in the exported files, not in these numbers")
    slots = _slots(found, form)
    if isinstance(slots, Refusal):
        return slots
    return _query(form, slots, rest)


def _only_names(found: Sequence[Named], rest: Sequence[Word]) -> Form | None:
    """Names and nothing else that matters, such as "neoplastic cells in stroma": their densities."""
    named = {reading.kind for name in found for reading in name.readings}
    plain_words = all(word.text in FILLERS for word in rest)
    return next(f for f in FORMS if f.kind == "density") if plain_words and "class" in named else None


def _unknown(words: Sequence[Word]) -> str:
    shown = ", ".join(dict.fromkeys(f'"{plain(word.shown)}"' for word in words if word.text not in FILLERS))
    many = "," in shown
    return (
        f"{shown} {'are' if many else 'is'} no class, compartment, group or slide of these results and no word of the "
        "questions that they answer"
        if shown
        else ""
    )


def _slots(found: Sequence[Named], form: Form) -> dict[NameKind, tuple[str, ...]] | Refusal:
    """The names by kind, each read as the kind that fits where it stands."""
    slots: dict[NameKind, dict[str, None]] = {"class": {}, "compartment": {}, "group": {}, "slide": {}}
    for name in found:
        kinds = dict.fromkeys(reading.kind for reading in name.readings)
        fitting = [kind for kind in kinds if kind in form.takes]
        if not fitting:
            what = plain(name.readings[0].value)
            return Refusal(f'"{what}" is a {next(iter(kinds))}, which a question about {form.kind} cannot take')
        kind = _kind_there(fitting, name.before)
        for reading in name.readings:
            if reading.kind == kind:
                slots[kind][reading.value] = None
    return {kind: tuple(values) for kind, values in slots.items()}


def _kind_there(kinds: Sequence[NameKind], before: str) -> NameKind:
    if before in kinds:
        return next(kind for kind in kinds if kind == before)
    places: dict[str, NameKind] = {"in": "compartment", "inside": "compartment", "within": "compartment", "on": "slide"}
    wanted = places.get(before)
    if wanted in kinds:
        return next(kind for kind in kinds if kind == wanted)
    return kinds[0]


def _query(form: Form, slots: dict[NameKind, tuple[str, ...]], rest: Sequence[Word]) -> Query | Refusal:
    said = [word.text for word in rest]
    numbers = [int(w) if w.isdigit() else NUMBERS[w] for w in said if (w.isdigit() and w != "95") or w in NUMBERS]
    if len(numbers) > 1:
        return Refusal("two numbers are in the question, and it is not known which says how many to list")
    n = numbers[0] if numbers else None
    if n is not None and (form.kind not in ("top", "hot spots") or not 1 <= n <= 1000):
        return Refusal(f"the number {n} means nothing in a question about {form.kind}")
    if form.kind == "top" and n is None:
        n = 1 if "slide" in said or "slides" not in said else 5
    measure: Measure = "density"
    if form.kind == "top":
        measure = next((m for m, own in MEASURES.items() if own & frozenset(said)), "density")
    return Query(
        form.kind,
        classes=slots["class"],
        compartments=slots["compartment"],
        groups=slots["group"],
        slides=slots["slide"],
        n=n,
        measure=measure,
        lowest=bool(LOWEST & frozenset(said)),
    )


def _topic(found: Sequence[Named], rest: Sequence[Word], form: Form) -> Query | Refusal:
    """What is to be explained; names of classes and compartments beside it change no formula."""
    named = [_compartment_word(name.readings[0]) for name in found]
    said = [word for word in rest if word.text not in form.words - word_set("mean number") and word.text not in FILLERS]
    bare = frozenset(word.text for word in said) | frozenset(w for w in named if w)
    scores = {topic: len(bare & own) for topic, own in TOPICS.items()}
    best = max(scores, key=lambda topic: (scores[topic], -list(TOPICS).index(topic)))
    left = [w for w in said if w.text not in TOPICS[best] | word_set("cells number mean")]
    if not scores[best] or left:
        return Refusal(_unknown(left or said) or "the question does not say which number is to be explained")
    return Query("formula", topic=best)


def _compartment_word(name: Name) -> str:
    return "compartments" if name.kind == "compartment" else ""
