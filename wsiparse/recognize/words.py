"""The words people use for what can be looked for: one vocabulary for every engine.

Compared are plain forms: width, case, accents, hyphens, full stops and spaces count for nothing (Unicode NFKD, then
without combining marks), and in Chinese no space does.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Final, NamedTuple

from wsiparse.errors import PromptError
from wsiparse.recognize.targets import TARGETS, Target

__all__ = ["NUCLEI", "Match", "check_one_each", "match", "means_nuclei", "nearest", "plain", "site_free"]

#: Other words for "nuclei", which is no target of BiomedParse's and every nucleus to the other engines.
NUCLEI: Final = (
    "nuclei", "nucleus", "cell nuclei", "cell nucleus", "all nuclei", "细胞核", "細胞核", "所有细胞核", "zellkerne",
    "kerne", "noyaux", "noyaux cellulaires", "núcleos", "núcleos celulares",
)  # fmt: skip

#: Words that tell no target from another.
_COMMON: Final = frozenset({"cell", "cells", "nucleus", "nuclei", "tissue", "structure", "structures"})

#: What people write between the prompts of a list.
_MARKS: Final = re.compile(
    r"\s*[,;|&+/\n\uff0c\uff1b\u3001]\s*(?:and\b|und\b|et\b|y\b)?\s*|\s+(?:and|und|et|y)\s+", re.IGNORECASE
)

_BETWEEN_HAN: Final = re.compile(r"(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")


class Match(NamedTuple):
    """A target that words stand for, whether they are its own, how they differ, and the site or ""."""

    target: Target
    own: bool
    caution: str
    site: str


def plain(text: str) -> str:
    """A text as it is compared.

    >>> plain(" Inflammatory_Cells. "), plain("Entzündungszellen"), plain("炎症 细胞")
    ('inflammatory cells', 'entzundungszellen', '炎症细胞')
    """
    parts = unicodedata.normalize("NFKD", text).casefold()
    bare = unicodedata.normalize("NFC", "".join(c for c in parts if not unicodedata.combining(c)))
    words = " ".join(re.sub(r"[-_\u2010-\u2015]", " ", bare).split()).rstrip(".。").rstrip()
    return _BETWEEN_HAN.sub("", words)


@cache
def _known() -> Mapping[str, tuple[Target, bool, str]]:
    """Plain form -> target, whether it is the target's own words, caution."""
    known = {plain(words): (t, False, s.caution) for t in TARGETS for s in t.synonyms for words in s.texts}
    return known | {plain(t.text): (t, True, "") for t in TARGETS}


@cache
def _nuclei() -> frozenset[str]:
    return frozenset(plain(words) for words in NUCLEI)


def site_free(text: str) -> tuple[str, str] | None:
    """Words and site of "WORDS in SITE pathology", or words and "" of a text without " in "; None for other forms."""
    words = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).rstrip(".").rstrip()
    head, between, tail = words.partition(" in ")
    if not between:
        return head, ""
    site, pathology, rest = tail.rpartition(" pathology")
    return (head, site) if pathology and not rest and site.strip() else None


def match(text: str) -> Match | None:
    """The target of a text in the short or the long form, or None."""
    parts = site_free(text)
    found = _known().get(plain(parts[0])) if parts is not None else None
    return Match(*found, parts[1]) if parts is not None and found is not None else None


def means_nuclei(text: str) -> bool:
    """Whether a text means every nucleus."""
    return plain(text) in _nuclei()


def check_one_each(texts: Sequence[str]) -> None:
    """See that no text is a list of several prompts.

    Raises
    ------
    PromptError
        If one is: its parts are known prompts, and it is none as a whole.
    """
    for text in texts:
        if match(text) is not None or means_nuclei(text):
            continue
        parts = [part.strip() for part in _MARKS.split(text) if part.strip()]
        if len(parts) > 1 and all(match(part) is not None or means_nuclei(part) for part in parts):
            each = " ".join(f'--prompt "{part}"' for part in parts)
            raise PromptError(
                f"prompt {text!r}: {len(parts)} prompts in one. Give each its own: {each} (in a config file, an entry "
                "of `prompts` each)."
            )


def nearest(text: str) -> str | None:
    """The target, or "nuclei", whose words look most like a text or one of its words; None when none does."""
    known = {_telling(words): target.text for words, (target, _, _) in _known().items() if _telling(words)}
    known |= dict.fromkeys(_nuclei(), "nuclei")
    telling = _telling(text)
    for words, cutoff in ((plain(text), 0.8), (telling, 0.65), *((word, 0.8) for word in telling.split())):
        found = difflib.get_close_matches(words, known, n=1, cutoff=cutoff)
        if found:
            return known[found[0]]
    return None


def _telling(text: str) -> str:
    """A text without the words that many targets share."""
    return " ".join(word for word in plain(text).split() if word not in _COMMON)
