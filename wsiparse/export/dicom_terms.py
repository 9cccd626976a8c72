"""Coded terms for classes: SNOMED CT where a term is known for what was asked, else codes of this program's own. Pure.

A class is coded by what its prompt asks for, not by its name: a name is the user's. Terms are those of the Digital
Imaging and Communications in Medicine standard, PS3.16 (CID 7150, 7151, 7159, 8135), and "Epithelium" of SNOMED CT.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from wsiparse.recognize.vocabulary import trained_target
from wsiparse.recognize.words import means_nuclei
from wsiparse.types import Prompt

__all__ = ["PRIVATE", "Code", "Term", "term_of"]

#: Coding scheme of classes that no term is known for.
PRIVATE: Final = "99WSIPARSE"


@dataclass(frozen=True, slots=True)
class Code:
    """A coded concept: value, coding scheme, meaning."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Term:
    """What objects of a class are: category and type; `known` unless the type is a private code."""

    category: Code
    type: Code

    @property
    def known(self) -> bool:
        """Whether the type is a term of a public vocabulary."""
        return self.type.scheme != PRIVATE


_ABNORMAL: Final = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_TISSUE: Final = Code("85756007", "SCT", "Tissue")
_ANATOMY: Final = Code("91723000", "SCT", "Anatomical Structure")

#: Training text -> term.
_TERMS: Final = {
    "neoplastic cells": Term(_ABNORMAL, Code("108369006", "SCT", "Neoplasm")),
    "inflammatory cells": Term(_ABNORMAL, Code("409774005", "SCT", "Inflammation")),
    "dead cells": Term(_ABNORMAL, Code("6574001", "SCT", "Necrosis")),
    "connective tissue cells": Term(_TISSUE, Code("21793004", "SCT", "Connective tissue")),
    "epithelial cells": Term(_TISSUE, Code("31610004", "SCT", "Epithelium")),
}
_NUCLEUS: Final = Term(_ANATOMY, Code("84640000", "SCT", "Nucleus"))


def term_of(prompt: Prompt) -> Term:
    """The term of a prompt's objects.

    >>> term_of(Prompt("inflammatory cells", "Mine", "#000000", "cell", 0.5)).type.meaning
    'Inflammation'
    >>> term_of(Prompt("mitoses", "Mitoses", "#000000", "cell", 0.5)).type
    Code(value='MITOSES', scheme='99WSIPARSE', meaning='Mitoses')
    """
    target = trained_target(prompt.text)
    if target is not None and target.text in _TERMS:
        return _TERMS[target.text]
    if prompt.kind == "cell" and means_nuclei(prompt.text):
        return _NUCLEUS
    plain = re.sub(r"[^A-Z0-9]+", "_", prompt.class_name.upper()).strip("_")
    same = plain and len(plain) <= 16 and plain.replace("_", " ") == prompt.class_name.upper()
    digest = hashlib.sha256(prompt.class_name.encode("utf-8", "surrogateescape")).hexdigest()
    # a value has at most 16 characters, a meaning 64
    meaning = prompt.class_name.encode("utf-8", "replace").decode()[:64]
    return Term(_ANATOMY, Code(plain if same else f"C{digest[:15].upper()}", PRIVATE, meaning))
