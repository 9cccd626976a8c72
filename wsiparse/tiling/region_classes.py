"""Names of region classes: how they are written, which are one class, and which are tumour, stroma or left out. Pure.

A derived class of QuPath, such as Positive below Tumor, is named "Tumor: Positive" here however its file writes it. Its
base, the part before the first colon, says what it is, unless the whole name is known or was named on the command line.
What is in no list is neither tumour nor stroma: a compartment of its own, as drawn.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from wsiparse.errors import ConfigError

__all__ = [
    "STROMA_NAMES",
    "TUMOUR_NAMES",
    "Meaning",
    "RegionClasses",
    "artefact_class",
    "is_left_out",
    "one_spelling",
    "stated_class",
    "tidy_name",
]

#: Classes of one meaning told in a line.
_MOST_TOLD: Final = 12

Meaning = Literal["tumour", "stroma", "left out", "neither"]

#: Classes that mark what must not be analysed; QuPath's own is "Ignore*".
_LEFT_OUT: Final = frozenset(
    {"ignore", "ignored", "exclude", "excluded", "artefact", "artefacts", "artifact", "artifacts"}
)

#: Names that are tumour, as `_plain` writes them: small letters, "tumor", blanks for - and _.
TUMOUR_NAMES: Final = frozenset(
    {
        "tumor",
        "tumors",
        "tumor area",
        "tumor region",
        "tumor tissue",
        "tumor nest",
        "tumor nests",
        "tumor cells",
        "tumor epithelium",
        "tumor epithelial",
        "epithelial tumor",
        "invasive tumor",
        "invasive cancer",
        "invasive carcinoma",
        "primary tumor",
        "viable tumor",
        "malignant tumor",
        "cancer",
        "cancer cells",
        "cancer epithelium",
        "carcinoma",
        "adenocarcinoma",
        "squamous cell carcinoma",
        "neoplasm",
        "neoplasia",
        "neoplastic",
        "neoplastic cells",
        "neoplastic tissue",
        "neoplastic epithelium",
        "melanoma",
        "\u80bf\u7624",  # Chinese: tumour
        "\u816b\u7624",
        "\u80bf\u7624\u533a",  # tumour area
        "\u764c",  # cancer
    }
)
#: Names that are stroma, written likewise.
STROMA_NAMES: Final = frozenset(
    {
        "stroma",
        "stromal",
        "stroma area",
        "stroma region",
        "stroma tissue",
        "stromal tissue",
        "tumor stroma",
        "tumor associated stroma",
        "intratumoral stroma",
        "peritumoral stroma",
        "inflamed stroma",
        "desmoplastic stroma",
        "fibrous stroma",
        "reactive stroma",
        "connective tissue",
        "\u95f4\u8d28",  # Chinese: stroma
        "\u9593\u8cea",
    }
)

#: Members of a feature's properties that name its class, the first that does counts; `name` is of the object itself.
_CLASS_MEMBERS: Final = ("classification", "class", "class_name", "label", "name")


def tidy_name(name: str) -> str:
    """A class name without what cannot be seen: composed letters (NFC), single blanks, ": " between the parts."""
    seen = "".join(c for c in unicodedata.normalize("NFC", name) if unicodedata.category(c) != "Cf")
    parts = (" ".join(part.split()) for part in seen.split(":"))
    return ": ".join(part for part in parts if part)


def stated_class(properties: Any) -> str:
    """The class that a feature's properties tell, as written; "" for none.

    QuPath writes ``{"name": "Tumor"}``, ``{"names": ["Tumor", "Positive"]}``, once ``{"name": "Positive",
    "parentClass": {"name": "Tumor"}}``, or a text; ``name`` beside the classification is the object's own and counts
    where there is no class. Other programs call the member ``class``, ``class_name`` or ``label``, in any case.
    """
    if not isinstance(properties, Mapping):
        return ""
    told = {str(key).casefold(): value for key, value in reversed(list(properties.items()))}
    for member in _CLASS_MEMBERS:
        # another program's numbers (labels of objects) are no names
        value = told.get(member)
        if member == "classification" or isinstance(value, str):
            name = _written(value)
            if tidy_name(name):
                return name
    return ""


def _written(value: Any, depth: int = 0) -> str:
    if isinstance(value, Mapping) and depth < 20:
        names = value.get("names")
        if isinstance(names, list) and names:
            return _written(names)
        parts = [_written(value.get("parentClass"), depth + 1), _written(value.get("name"))]
        return ": ".join(part for part in parts if part)
    if isinstance(value, list):
        return ": ".join(str(part) for part in value if isinstance(part, str | int | float))
    return "" if value is None or isinstance(value, Mapping) else str(value)


def _key(name: str) -> str:
    """Equal for names that are one class."""
    return unicodedata.normalize("NFC", tidy_name(name).casefold())


def _plain(name: str) -> str:
    """As the lists of known names are written."""
    return " ".join(_key(name).rstrip("* ").replace("-", " ").replace("_", " ").replace("tumour", "tumor").split())


def artefact_class(kind: str) -> str:
    """What regions of a kind of artefact are called: a derived class of QuPath, which `is_left_out`."""
    return f"Artefact: {kind.replace('_', ' ')}"


def is_left_out(class_name: str) -> bool:
    """Whether a region's class says that it must not be analysed: Ignore*, Exclude, Artefact, in any case.

    So does a part of a derived class, such as "Ignore*: Fold" or "Tissue: Artefact".
    """
    return any(_plain(part) in _LEFT_OUT for part in class_name.split(":"))


def one_spelling(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names that differ only in case, blanks or Unicode form, written as most of them are.

    Parameters
    ----------
    names : of regions, as files have them

    Returns
    -------
    the same names, each as its class is called; a line for each class that was written in several ways
    """
    # a file may have a hundred thousand regions of two classes
    tidied = {name: tidy_name(name) for name in set(names)}
    key_of = {name: _key(name) for name in set(tidied.values())}
    tidy = [tidied[name] for name in names]
    ways: dict[str, Counter[str]] = {}
    raw: dict[str, set[str]] = {}
    keys = [key_of[name] for name in tidy]
    for key, name, written in zip(keys, tidy, names, strict=True):
        ways.setdefault(key, Counter())[name] += 1
        raw.setdefault(key, set()).add(written)
    # the order of annotations chooses nothing
    chosen = {key: min(found, key=lambda name: (-found[name], name)) for key, found in ways.items()}
    told = [
        f"the classes {', '.join(ascii_where_hidden(w) for w in sorted(raw[key]))} are one: {chosen[key]!r}"
        for key in sorted(raw)
        if len(raw[key]) > 1 and key
    ]
    return [chosen[key] for key in keys], told


def ascii_where_hidden(name: str) -> str:
    """A name in quotes, in which letters that look alike in two Unicode forms can be told apart."""
    return repr(name) if unicodedata.normalize("NFC", name) == name else ascii(name)


@dataclass(frozen=True, slots=True)
class RegionClasses:
    """Which classes of regions are tumour and which stroma.

    Parameters
    ----------
    tumour, stroma : names to be taken so beside the known ones, whatever those say; in any case

    Raises
    ------
    ConfigError
        If a name is in both, or has no letter.
    """

    tumour: tuple[str, ...] = ()
    stroma: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for option, names in (("--tumour-class", self.tumour), ("--stroma-class", self.stroma)):
            if any(not _plain(name) for name in names):
                raise ConfigError(f"{option}: an empty name. Give the name of a region class, such as Tumor.")
        both = {_plain(name) for name in self.tumour} & {_plain(name) for name in self.stroma}
        if both:
            raise ConfigError(
                f"--tumour-class and --stroma-class both name {sorted(both)[0]!r}. A class is one or the other."
            )

    def meaning(self, class_name: str) -> Meaning:
        """What a class is; see the module's text."""
        if is_left_out(class_name):
            return "left out"
        base = class_name.split(":", 1)[0]
        asked = [({_plain(n) for n in self.tumour}, "tumour"), ({_plain(n) for n in self.stroma}, "stroma")]
        known: list[tuple[Iterable[str], str]] = [(TUMOUR_NAMES, "tumour"), (STROMA_NAMES, "stroma")]
        for name in (_plain(class_name), _plain(base)):
            for names, meaning in (*asked, *known):
                if name in names:
                    return "tumour" if meaning == "tumour" else "stroma"
        return "neither"

    def told(self, class_names: Iterable[str]) -> str:
        """How classes are taken, in one line: "tumour: Tumor; stroma: Stroma; neither: Immune cells"."""
        by_meaning: dict[Meaning, list[str]] = {"tumour": [], "stroma": [], "neither": [], "left out": []}
        for name in sorted(set(class_names)):
            by_meaning[self.meaning(name)].append(name or "(no class)")
        line = "; ".join(
            f"{meaning}: {', '.join(names[:_MOST_TOLD])}"
            + (f" and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else "")
            for meaning, names in by_meaning.items()
            if names
        )
        absent = self.unused(class_names)
        return line + (f"; no region is called {', '.join(absent)}" if absent else "")

    def unused(self, class_names: Iterable[str]) -> tuple[str, ...]:
        """Names given on the command line that none of some classes has, neither whole nor as its base."""
        there = {_plain(part) for name in class_names for part in (name, name.split(":", 1)[0])}
        return tuple(name for name in (*self.tumour, *self.stroma) if _plain(name) not in there)
