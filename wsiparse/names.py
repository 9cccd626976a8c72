"""What slides are called, so that no two are called alike. Pure.

Slides of one name are common: one file ``HE.tif`` in a folder for each patient. What identifies a slide in every table
is its `slide_id`, the name of its results folder, which is made of its full path; what people read is its name, and
where several slides share that, as many folders before it as tell them apart.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import Final

__all__ = ["folded", "missing", "path_parts", "safe_cell", "same_text", "some_of", "unique_names"]

#: What spreadsheets take for the begin of a formula.
_BEGIN_FORMULAS = tuple("=+-@\t\r\n") + tuple(
    "\N{FULLWIDTH EQUALS SIGN}\N{FULLWIDTH PLUS SIGN}\N{FULLWIDTH HYPHEN-MINUS}\N{FULLWIDTH COMMERCIAL AT}"
)

#: Characters without width that tables carry along unseen.
_UNSEEN: Final = dict.fromkeys(map(ord, "\ufeff\u200b\u200e\u200f\u2060"))

#: What tables say where they know nothing; R, pandas and spreadsheets write the first ones by themselves.
_MISSING: Final = frozenset((
    "", "na", "n/a", "#n/a", "n.a.", "n.a", "<na>", "nan", "null", "nil", "unknown", "unk", "missing", "not available",
    "not applicable", "not known", "not reported", "?", "??", ".", "..", "-", "--", "---", "\N{EN DASH}", "\N{EM DASH}",
    "\N{HORIZONTAL ELLIPSIS}", "#value!", "#ref!", "tbd",
))  # fmt: skip


def same_text(text: str) -> str:
    """Text without what nobody sees: one Unicode form (NFC), single blanks, none at the ends.

    >>> same_text(" Mu\\u0308ller\\u00a0 a ")
    'Müller a'
    """
    return " ".join(unicodedata.normalize("NFC", text.translate(_UNSEEN)).split())


def folded(text: str) -> str:
    """`same_text` in lower case, to compare by.

    >>> folded("Straße A") == folded("STRASSE a")
    True
    """
    return unicodedata.normalize("NFC", same_text(text).casefold())


def missing(text: str) -> bool:
    """Whether a cell of a table says that nothing is known.

    >>> [missing(text) for text in ("NA", " n/a", "Unknown", "-", "", "0", "none", "naive")]
    [True, True, True, True, True, False, False, False]
    """
    return folded(text) in _MISSING


def some_of(texts: Sequence[str], most: int) -> str:
    """The first of many texts, and how many more there are.

    >>> some_of(["a", "b", "c"], 2), some_of(["a"], 2)
    ('a, b and 1 more', 'a')
    """
    rest = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {rest} more" if rest > 0 else "")


def path_parts(text: str) -> tuple[str, ...]:
    """Folders and file name of a path of any system, or of an address, without its scheme.

    >>> path_parts("D:\\\\scans\\\\p1\\\\HE.tif "), path_parts("./p1//HE.tif"), path_parts("s3://bucket/a.svs")
    (('D:', 'scans', 'p1', 'HE.tif'), ('p1', 'HE.tif'), ('bucket', 'a.svs'))
    """
    rest = text.rpartition("://")[2]
    parts = (same_text(part) for part in re.split(r"[\\/]+", rest))
    return tuple(part for part in parts if part not in ("", "."))


def unique_names(paths: Sequence[str], labels: Sequence[str], ids: Sequence[str]) -> list[str]:
    """A name for each slide, no two alike even when case and Unicode form do not count.

    A label that no other slide has is the name. Slides that share one get their file name; where that is shared too,
    as many folders as tell them apart, with the ending only where it is needed; and where nothing in the path tells
    them apart, their id.

    Parameters
    ----------
    paths : paths of the slides, or addresses without secrets; "" where it is not known
    labels : what they are called where nobody else is, such as the file's stem
    ids : unique, used where paths do not tell slides apart

    Raises
    ------
    ValueError
        If two ids are the same.

    >>> unique_names(["/s/p1/HE.tif", "/s/p2/HE.tif", "/s/b.tif"], ["HE", "HE", "b"], ["1", "2", "3"])
    ['p1/HE', 'p2/HE', 'b']
    >>> unique_names(["/s/a.tif", "/s/a.svs"], ["a", "a"], ["1", "2"])
    ['a.tif', 'a.svs']
    """
    if len(set(ids)) < len(ids):
        raise ValueError("ids must be unique")
    rank = {own: k + 1 for k, own in enumerate(sorted(ids))}
    offers = [_offers(path, label, own, rank[own]) for path, label, own in zip(paths, labels, ids, strict=True)]
    names = [next(offer) for offer in offers]
    while True:
        keys = [folded(name) for name in names]
        times = Counter(keys)
        shared = [k for k, key in enumerate(keys) if times[key] > 1]
        if not shared:
            return names
        for k in shared:
            names[k] = next(offers[k])


def _offers(path: str, label: str, own: str, rank: int) -> Iterator[str]:
    """Ever longer names of one slide, its id, and at last its id with a number that no other slide has."""
    yield label
    parts = [part for part in path.rpartition("://")[2].split("/") if part not in ("", ".")]
    if parts:
        file, stem = parts[-1], PurePosixPath(parts[-1]).stem
        with_ending = folded(label) == folded(file)
        if not with_ending:
            yield file
        for depth in range(1, len(parts)):
            before = "/".join(parts[-1 - depth : -1])
            if not with_ending:
                yield f"{before}/{stem}"
            yield f"{before}/{file}"
    yield own
    while True:  # ids that differ only in case; and another slide may be called as this one with its number
        own = f"{own} ({rank})"
        yield own


def safe_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula: a leading = + - @ (of any width), tab or line end gets a '."""
    return "'" + text if text[:1] in _BEGIN_FORMULAS else text
