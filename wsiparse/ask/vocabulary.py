"""The names that a question about some results may use, and how they are found in it. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from wsiparse.ask.facts import AskedResults
from wsiparse.names import folded
from wsiparse.report.stats.summary import ALL_CELLS

__all__ = ["Name", "Named", "Vocabulary", "Word", "vocabulary", "words_of"]

NameKind = Literal["class", "compartment", "group", "slide"]

_ENDS: Final = "?!,;:()[]\N{RIGHT SINGLE QUOTATION MARK}'."
_QUOTED: Final = re.compile('"([^"]*)"|\u201c([^\u201d]*)\u201d|(\\S+)')
_SPELT: Final = {
    "tumor": "tumour",
    "tumors": "tumour",
    "tumours": "tumour",
    "color": "colour",
    "µm": "um",
    "mm²": "mm2",
}
#: What the classes of a role are called together.
_ROLES: Final = {
    "immune": ("immune cells", "immune cell"),
    "tumour": ("tumour cells", "tumour cell"),
    "epithelium": ("epithelial cells", "epithelial cell"),
    "connective": ("connective cells", "connective tissue cells", "stromal cells"),
}


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a question, in the form that words are compared in; `quoted` names are names whatever they say."""

    text: str
    shown: str
    quoted: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """Something that these results have a name for: its kind, and how the files write it."""

    kind: NameKind
    value: str


@dataclass(frozen=True, slots=True)
class Named:
    """A span of a question that is a name: every reading of it, and the word before it."""

    readings: tuple[Name, ...]
    before: str


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Names by the words they are written with.

    Parameters
    ----------
    classes, compartments, groups, slides : as the files write them, in order
    phrases : words -> what they may mean
    """

    classes: tuple[str, ...]
    compartments: tuple[str, ...]
    groups: tuple[str, ...]
    slides: tuple[str, ...]
    phrases: dict[tuple[str, ...], tuple[Name, ...]]

    def find(self, words: Sequence[Word], reserved: frozenset[str]) -> tuple[list[Named], list[Word], str]:
        """Names in a question, longest first from the left; the words that are left; a quoted name that is none.

        Parameters
        ----------
        reserved : words of the grammar: a name made of them alone is a name only in quotes or after its kind
        """
        longest = max(map(len, self.phrases), default=0)
        found: list[Named] = []
        rest: list[Word] = []
        at = 0
        while at < len(words):
            before = words[at - 1].text if at else ""
            if words[at].quoted:
                readings = self.phrases.get(tuple(w.text for w in _split(words[at].shown)))
                if readings is None:
                    return found, rest, words[at].shown
                found.append(Named(readings, before))
                at += 1
                continue
            for length in range(min(longest, len(words) - at), 0, -1):
                span = words[at : at + length]
                readings = self.phrases.get(tuple(w.text for w in span))
                if readings is None or any(w.quoted for w in span):
                    continue
                if all(w.text in reserved or w.text.isdigit() for w in span):
                    readings = tuple(name for name in readings if name.kind == before)
                if readings:
                    found.append(Named(readings, before))
                    at += length
                    break
            else:
                rest.append(words[at])
                at += 1
        return found, rest, ""


def words_of(question: str) -> list[Word]:
    """The words of a question.

    >>> [w.text for w in words_of('Density in the "Tumor bed"?')]
    ['density', 'in', 'the', 'tumour bed']
    """
    out = []
    for match in _QUOTED.finditer(question):
        quoted = match[1] if match[1] is not None else match[2]
        if quoted is not None:
            shown = quoted.strip()
            out.append(Word(" ".join(w.text for w in _split(shown)), shown, quoted=True))
        else:
            out += _split(match[3])
    return [word for word in out if word.text or word.quoted]


def _split(text: str) -> list[Word]:
    out = []
    for part in text.split():
        bare = part.strip(_ENDS)
        own = folded(bare)
        if own:
            out.append(Word(_SPELT.get(own, own), bare))
    return out


def vocabulary(results: AskedResults) -> Vocabulary:
    """The names of some results."""
    rows = [(row["class"], row["compartment"]) for _, report in results.reports for row in report.data["rows"]]
    classes = tuple(dict.fromkeys(name for name, _ in rows))
    compartments = tuple(dict.fromkeys(name for _, name in rows))
    groups = tuple(dict.fromkeys(name for one in _comparisons(results) for name in _groups_of(one)))
    slides = tuple(slide.name for slide in results.slides)
    phrases: dict[tuple[str, ...], dict[Name, None]] = {}
    for kind, value, phrase in (
        *_class_phrases(results, classes),
        *(("compartment", name, name) for name in compartments),
        *(("group", name, name) for name in groups),
        *(("slide", slide.name, text) for slide in results.slides for text in (slide.name, slide.id)),
    ):
        key = tuple(word.text for word in _split(phrase))
        if key:
            phrases.setdefault(key, {})[Name(kind, value)] = None
    return Vocabulary(classes, compartments, groups, slides, {key: tuple(names) for key, names in phrases.items()})


def _comparisons(results: AskedResults) -> Sequence[dict[str, object]]:
    return results.cohort.data["groups"] if results.cohort is not None else ()


def _groups_of(one: dict[str, object]) -> Iterator[str]:
    groups = one["groups"]
    assert isinstance(groups, list)
    for group in groups:
        yield str(group["group"])


def _class_phrases(results: AskedResults, classes: Sequence[str]) -> Iterator[tuple[NameKind, str, str]]:
    """Names of classes, what they were asked for with, singular and plural, with and without "cells"."""
    texts: dict[str, dict[str, None]] = {name: {name: None} for name in classes}
    for _, report in results.reports:
        for own in report.data["classes"]:
            mine = texts.setdefault(own["name"], {own["name"]: None})
            mine[own["prompt"]] = None
            for phrase in _ROLES.get(own["role"], ()):
                yield "class", own["name"], phrase
    if ALL_CELLS in texts:
        yield "class", ALL_CELLS, "cells"
    for name, own_texts in texts.items():
        forms: dict[str, None] = {}
        for text in own_texts:
            words = [word.text for word in _split(text)]
            if not words:
                continue
            base = words[:-1] if len(words) > 1 and words[-1] in ("cell", "cells") else words
            last = base[-1]
            single, plural = (last[:-1], last) if last.endswith("s") else (last, last + "s")
            for end in (last, single, plural):
                forms[" ".join([*base[:-1], end])] = None
            if name != ALL_CELLS:
                forms[" ".join([*base, "cells"])] = forms[" ".join([*base, "cell"])] = None
        for form in forms:
            yield "class", name, form
