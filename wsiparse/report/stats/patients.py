"""What a table says of patients and groups, as it is used: nothing known stays nothing, one spelling for each. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from wsiparse.names import folded, missing, same_text, some_of
from wsiparse.report.stats.joining import Metadata

__all__ = ["Cleaned", "cleaned"]

#: Slides named in a notice.
_MOST = 5


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Values of each slide as they are used, and what was done to them, one line each."""

    values: tuple[Mapping[str, str], ...]
    notices: tuple[str, ...]


def cleaned(names: Sequence[str], values: Sequence[Mapping[str, str]], metadata: Metadata) -> Cleaned:
    """Patients and groups that differ only in case, blanks or Unicode form made one, and "NA" made nothing.

    Other columns stay as they are written. Text is never taken for a number: "007", "7" and "7.0" are three patients,
    which is told.

    Parameters
    ----------
    names : names of the slides
    values : values of each slide by column, {} for none
    """
    out = [dict(own) for own in values]
    notices: list[str] = []
    columns = dict.fromkeys(name for name in (metadata.patient, metadata.group) if name is not None)
    for column in columns:
        what = "patient" if column == metadata.patient else "group"
        notices += _forget_missing(names, out, column, what)
        notices += _one_spelling(out, column, what)
        if what == "patient":
            notices += _like_numbers(out, column)
    return Cleaned(tuple(out), tuple(f"{metadata.file}: {notice}" for notice in notices))


def _forget_missing(names: Sequence[str], values: list[dict[str, str]], column: str, what: str) -> list[str]:
    found: dict[str, list[str]] = defaultdict(list)
    for name, own in zip(names, values, strict=True):
        text = own.get(column, "")
        if text and (missing(text) or (what == "patient" and folded(text) == "none")):
            found[same_text(text)].append(name)
            own[column] = ""
    if not found:
        return []
    slides = [name for own in found.values() for name in own]
    words = ", ".join(repr(word) for word in found)
    return [f"{what} {words} is taken for not known, on {len(slides)} slide(s): {some_of(slides, _MOST)}"]


def _one_spelling(values: list[dict[str, str]], column: str, what: str) -> list[str]:
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for own in values:
        if own.get(column):
            spellings[folded(own[column])][own[column]] += 1
    notices = []
    chosen = {}
    for key, times in spellings.items():
        # the one that most slides have; among equals the first in order of text
        chosen[key] = same_text(min(times, key=lambda text: (-times[text], text)))
        if len({same_text(text) for text in times}) > 1 or len(times) > 1:
            shown = ", ".join(repr(text) for text in sorted(times))
            notices.append(f"{what}s {shown} differ only in case or blanks: one {what}, {chosen[key]!r}")
    for own in values:
        if own.get(column):
            own[column] = chosen[folded(own[column])]
    return sorted(notices)


def _like_numbers(values: Sequence[Mapping[str, str]], column: str) -> list[str]:
    found: dict[float, set[str]] = defaultdict(set)
    for own in values:
        try:
            found[float(own.get(column, ""))].add(own[column])
        except ValueError:
            continue
    alike = [sorted(texts) for texts in found.values() if len(texts) > 1]
    return [
        f"patients {', '.join(map(repr, texts))} are one number but not one text: kept apart" for texts in sorted(alike)
    ]
