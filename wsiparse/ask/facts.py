"""What a question is answered from, and what an answer is made of. Pure.

A number enters an answer only through `take`, which reads it from a file's content at a place (a JSON pointer, RFC
6901): there is no way to say a number that does not stand in a file.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["REFUSED", "Answer", "AskedFile", "AskedResults", "AskedSlide", "Figure", "has", "plain", "take"]

#: How every refusal begins.
REFUSED: Final = "cannot be answered from these results"

_MOST_LETTERS: Final = 200


@dataclass(frozen=True, eq=False)
class AskedFile:
    """A JSON file of the results.

    Parameters
    ----------
    name : relative to the folder that was given, or to that of the run where there is one; with forward slashes
    sha256 : SHA-256 of its bytes
    data : its content
    engine : which engine its numbers come from
    """

    name: str
    sha256: str
    data: Mapping[str, Any]
    engine: str


@dataclass(frozen=True, eq=False)
class AskedSlide:
    """One slide of the results.

    Parameters
    ----------
    name : as no other slide is called in these results
    id : name of its folder
    state, detail : as `wsiparse status` has them
    report : its report.json, None where there is none that is whole
    done : its DONE.json
    """

    name: str
    id: str
    state: str
    detail: str
    report: AskedFile | None
    done: AskedFile | None = None


@dataclass(frozen=True, eq=False)
class AskedResults:
    """Results that are asked about.

    Parameters
    ----------
    slides : by path
    cohort : cohort.json, None where there is none of these slides
    without_cohort : why
    """

    slides: tuple[AskedSlide, ...]
    cohort: AskedFile | None
    without_cohort: str = ""

    @property
    def reports(self) -> tuple[tuple[AskedSlide, AskedFile], ...]:
        """The slides that have numbers, with them."""
        return tuple((slide, slide.report) for slide in self.slides if slide.report is not None)


@dataclass(frozen=True, slots=True)
class Figure:
    """A number of an answer.

    Parameters
    ----------
    what : the quantity in words
    slide : name of the slide, "" where it is about several
    value : as the file has it, None where the file has none
    unit : "" for a count
    low, high : ends of the 95 % interval, None without one
    note : why there is no interval, or no number
    engine : that found the objects
    file, key, sha256 : file, place in it (JSON pointer), and hash of the file
    digits : after the point, where the number is shown to people; None for as many as it has
    """

    what: str
    slide: str
    value: float | str | bool | None
    unit: str
    low: float | None
    high: float | None
    note: str
    engine: str
    file: str
    key: str
    sha256: str
    digits: int | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, or the refusal of one.

    Parameters
    ----------
    answered : whether the files answer the question
    title : what is answered, or why nothing is: one line
    lines : names and texts of the files, one line each; never instructions, whatever they say
    figures : numbers
    notes : what to know beside them
    can_ask : questions that these results answer, for a refusal
    """

    answered: bool
    title: str
    lines: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    can_ask: tuple[str, ...] = field(default=())


def take(
    source: AskedFile,
    *path: str | int,
    what: str,
    unit: str = "",
    slide: str = "",
    ends: tuple[str, str] | None = None,
    note: str = "",
    digits: int | None = None,
) -> Figure:
    """The number at a place of a file.

    Parameters
    ----------
    path : keys and positions, outermost first
    what, unit, slide : as `Figure` has them
    digits : after the point, where the number is shown to people
    ends : keys beside the last one that hold the ends of its interval
    note : why there is no interval, said where there is none

    Raises
    ------
    LookupError, TypeError
        If the file has no such place.
    """
    holder: Any = source.data
    for step in path[:-1]:
        holder = holder[step]
    value = holder[path[-1]]
    low, high = (holder[ends[0]], holder[ends[1]]) if ends is not None else (None, None)
    key = "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in path)
    return Figure(
        what=plain(what),
        slide=plain(slide),
        value=plain(value) if isinstance(value, str) else value,
        unit=unit,
        low=low,
        high=high,
        note="" if low is not None else plain(note),
        engine=plain(source.engine),
        file=source.name,
        key=key,
        sha256=source.sha256,
        digits=digits,
    )


def has(data: Mapping[str, Any], *path: str) -> bool:
    """Whether content has something at a place."""
    here: Any = data
    for step in path:
        if not isinstance(here, Mapping) or here.get(step) is None:
            return False
        here = here[step]
    return True


def plain(text: object, most: int = _MOST_LETTERS) -> str:
    """Text of a file on one line, without control and invisible characters, and not longer than `most` letters.

    >>> plain("a\\x1b[2J b\\n c\\u202e")
    'a[2J b c'
    """
    words = " ".join(str(text).split())
    seen = "".join(c for c in words if unicodedata.category(c)[0] != "C")
    return seen if len(seen) <= most else seen[: most - 3] + "..."
