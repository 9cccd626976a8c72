"""Which class of one side is which of the other: by name, by the vocabulary's synonyms, or as the user says. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import ConfigError
from wsiparse.recognize.words import match, means_nuclei, plain
from wsiparse.types import Prompt

__all__ = ["codes_of", "joined_classes", "meaning", "parse_pairs", "prompt_classes"]


def meaning(name: str) -> str:
    """What a class name stands for: the words of the vocabulary, or its plain form.

    >>> meaning("Lymphocyte"), meaning("Inflammatory"), meaning("Purple cells")
    ('inflammatory cells', 'inflammatory cells', 'purple cells')
    """
    base = name.partition(":")[0]
    for text in (name, f"{name} cells", f"{name} tissue cells", base, f"{base} cells"):
        found = match(text)
        if found is not None:
            return found.target.text
    return plain(name)


def prompt_classes(prompts: Sequence[Prompt]) -> dict[int, str]:
    """Class id -> class name of the cell prompts; "" of the nuclei that are of no class."""
    return {
        k: "" if means_nuclei(prompt.text) else prompt.class_name
        for k, prompt in enumerate(prompts, 1)
        if prompt.kind == "cell"
    }


def parse_pairs(pairs: Iterable[str]) -> dict[str, str]:
    """Plain annotated name -> found name, of "ANNOTATED=FOUND" each; found "" is no class.

    Raises
    ------
    ConfigError
        If one has another form, or an annotated class is given twice.
    """
    out: dict[str, str] = {}
    for pair in pairs:
        theirs, between, ours = pair.partition("=")
        if not between or not theirs.strip():
            raise ConfigError(f'--class {pair!r}: write the annotated class, "=", and the class found: '
                              '--class "Tumor=Epithelial".')  # fmt: skip
        if out.get(plain(theirs), ours.strip()) != ours.strip():
            raise ConfigError(f"--class: the annotated class {theirs.strip()!r} is given twice. Keep one.")
        out[plain(theirs)] = ours.strip()
    return out


def joined_classes(
    found: Iterable[str], annotated: Iterable[str], asked: Mapping[str, str]
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Classes of both sides and the position of each name.

    Parameters
    ----------
    found : class names of the results, in order; "" for no class
    annotated : names of the annotations, "" for no class
    asked : of `parse_pairs`

    Returns
    -------
    names : those found, then those that only the annotations have, by name
    positions : name of either side -> position, -1 for no class

    Raises
    ------
    ConfigError
        If `asked` names a class that is on neither side.
    """
    ours = [name for name in dict.fromkeys(found) if name]
    drawn = sorted({name for name in annotated if name})
    theirs = [name for name in drawn if name not in ours]
    place = {plain(name): k for k, name in enumerate(ours)}
    by_meaning: dict[str, int] = {}
    for k, name in enumerate(ours):
        by_meaning.setdefault(meaning(name), k)
    for name, target in asked.items():
        if target and plain(target) not in place:
            raise ConfigError(f"--class: the results have no class {target!r}; they have {', '.join(ours) or 'none'}.")
        if name not in {plain(one) for one in theirs + ours}:
            raise ConfigError(f"--class: no annotation is of class {name!r}; there are {', '.join(drawn) or 'none'}.")
    names, positions = list(ours), {"": -1}
    for name in [*theirs, *ours]:
        if plain(name) in asked and name in theirs:
            target = asked[plain(name)]
            positions[name] = place[plain(target)] if target else -1
            continue
        own = place.get(plain(name), by_meaning.get(meaning(name)))
        positions[name] = len(names) if own is None else own
        if own is None:
            place[plain(name)] = by_meaning[meaning(name)] = len(names)
            names.append(name)
    return tuple(names), positions


def codes_of(names: Iterable[str], positions: Mapping[str, int]) -> NDArray[np.int64]:
    """(N,) int64, the position of each name."""
    return np.array([positions[name] for name in names], np.int64)
