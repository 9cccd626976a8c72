"""From the words a user writes to the words BiomedParse was trained on, and what the user should be told.

BiomedParse draws a mask for every text, but it was trained on few targets in pathology (`wsiparse.recognize.targets`).
Other words for a target are replaced by its own, and a notice says so, and says what else is counted when the words
mean only a part of it. Any other text is asked as it is, with a warning.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from wsiparse.errors import PromptError
from wsiparse.recognize.prompts import NUCLEI as ALL_NUCLEI
from wsiparse.recognize.prompts import answer_of
from wsiparse.recognize.registry import listed
from wsiparse.recognize.targets import TARGETS, Dice, Target
from wsiparse.recognize.words import NUCLEI, Match, match, nearest, plain
from wsiparse.types import PromptKind

__all__ = [
    "TARGETS",
    "PromptFacts",
    "Resolved",
    "Support",
    "describe",
    "resolve",
    "support",
    "trained_target",
]

Support = Literal["trained", "untested"]


class Resolved(NamedTuple):
    """What the network is asked, and what the user should be told about it (one line) or None."""

    text: str
    notice: str | None


class PromptFacts(NamedTuple):
    """One line of `wsiparse prompts`.

    Parameters
    ----------
    prompt : the words
    support : support of BiomedParse
    engines : engine -> "trained", "untested" or "answered" (has no language model, answers these words); those that do
        not answer it are left out
    notes : what engines of a closed list say when they are asked for it, each behind its engine's name
    """

    prompt: str
    support: Support
    class_name: str
    kind: PromptKind
    colour: str
    threshold: float
    input_mpp: float
    tile_px: int
    tile_um: float
    means: str
    source: str
    masks: int
    dice: Dice | None
    scored: bool
    synonyms: tuple[str, ...]
    mapped_with_caution: tuple[str, ...]
    engines: dict[str, str]
    notes: tuple[str, ...]


def trained_target(text: str) -> Target | None:
    """The target that a prompt asks for, in its own words or a synonym's, with or without a site; None for others.

    >>> trained_target("neoplastic cells in breast pathology").class_name
    'Neoplastic'
    >>> trained_target("mitoses") is None
    True
    """
    found = match(text)
    return found.target if found is not None else None


def support(text: str) -> Support:
    """Whether BiomedParse was trained on what a text asks for.

    "trained" are the targets, other spellings and words with the same meaning, and the long form with a site. Words
    for a part of a target are "untested": the network may find that part or not.

    >>> support("Inflammatory cells"), support("inflammatory cells in lung pathology"), support("plasma cells")
    ('trained', 'trained', 'untested')
    """
    found = match(text)
    return "trained" if found is not None and not found.caution else "untested"


def _quoted(texts: Sequence[str]) -> str:
    return ", ".join(f"'{text}'" for text in texts)


def _near(text: str) -> str | None:
    """The trained prompt nearest to a text; "nuclei" is none."""
    near = nearest(text)
    return near if near != "nuclei" else None


def _refused(text: str, found: Match | None) -> PromptError:
    if found is not None:
        why = f"the nearest trained prompt is '{found.target.text}', but {found.caution}"
    else:
        near = _near(text)
        why = f"BiomedParse was not trained on it{f'; the nearest trained prompt is {near!r}' if near else ''}"
    trained = _quoted([target.text for target in TARGETS])
    return PromptError(
        f"prompt {text!r}: {why}. With --strict-prompts only trained prompts are asked: {trained}. Use one of them, or "
        "leave --strict-prompts out."
    )


def _notice(text: str, found: Match | None) -> str | None:
    """What to tell about a prompt that is asked although, or otherwise than, it was given."""
    if found is None:
        near = _near(text)
        return (
            f"prompt {text!r}: BiomedParse was not trained on these words for pathology; whatever it marks is "
            f"untested. {f'The nearest trained prompt is {near!r}. ' if near else ''}`wsiparse prompts` lists all."
        )
    told = []
    if not found.own:
        told.append(f"asked as '{found.target.text}'" + (f": {found.caution}" if found.caution else ""))
    if found.site and plain(found.site) not in found.target.sites:
        sites = found.target.sites
        told.append(
            f"the training set has no site '{found.site}' for '{found.target.text}' (it has {', '.join(sites)})"
        )
    return f"prompt {text!r}: {'; '.join(told)}." if told else None


def resolve(prompt_texts: Sequence[str], strict: bool = False) -> list[Resolved]:
    """What BiomedParse is asked for each prompt, and what the user should be told.

    Parameters
    ----------
    prompt_texts : as the user wrote them
    strict : refuse what `support` calls "untested"

    Returns
    -------
    one entry a prompt, same order: the text for the network (a target's own words, with the site if one was given;
    free text with its white space joined) and a notice of one line, or None for a target in its own words

    Raises
    ------
    PromptError
        If a text is blank, two prompts ask for the same, or `strict` and a text is untested; the message names the
        trained prompts and the nearest of them.

    Examples
    --------
    >>> resolve(["Neoplastic cells", "glands"])[0]
    Resolved(text='neoplastic cells', notice=None)
    >>> resolve(["TILs"])[0].text
    'inflammatory cells'
    """
    resolved: list[Resolved] = []
    given: dict[str, str] = {}
    for text in prompt_texts:
        if not text.strip():
            raise PromptError("a prompt has no words: write what to look for, e.g. 'inflammatory cells'.")
        found = match(text)
        if strict and support(text) == "untested":
            raise _refused(text, found)
        if found is None:
            used = " ".join(text.split())
        else:
            used = found.target.text + (f" in {found.site} pathology" if found.site else "")
        twin = given.setdefault(used.casefold(), text)
        if len(given) == len(resolved):
            raise PromptError(f"prompts {twin!r} and {text!r} both ask for '{used}'. Leave one of them out.")
        resolved.append(Resolved(used, _notice(text, found)))
    return resolved


def _engines(text: str) -> dict[str, str]:
    known = {one.name: one.engine.answer(text) for one in listed() if one.engine is not None}
    return {name: how for name, how in known.items() if how}


def _notes(text: str) -> tuple[str, ...]:
    """What engines of a closed list say of a prompt beside answering it."""
    known = {one.name: answer_of(text, one.engine.answers) for one in listed() if one.engine is not None}
    told = {name: answer.caution or answer.note for name, answer in known.items() if answer is not None}
    return tuple(f"{name}: {words}" for name, words in told.items() if words)


def describe() -> list[PromptFacts]:
    """Every prompt that some engine is known to answer: BiomedParse's targets, then what only the others answer."""
    rows = [
        PromptFacts(
            prompt=target.text,
            support="trained",
            class_name=target.class_name,
            kind=target.kind,
            colour=target.colour,
            threshold=target.threshold,
            input_mpp=target.input_mpp,
            tile_px=target.tile_px,
            tile_um=round(target.tile_um, 2),
            means=target.means,
            source=target.source,
            masks=target.masks,
            dice=target.dice,
            scored=target.scored,
            synonyms=tuple(text for s in target.synonyms if not s.caution for text in s.texts),
            mapped_with_caution=tuple(text for s in target.synonyms if s.caution for text in s.texts),
            engines=_engines(target.text),
            notes=_notes(target.text),
        )
        for target in TARGETS
    ]
    engine = next(
        one.engine for one in listed() if one.engine is not None and one.engine.answer(ALL_NUCLEI) == "answered"
    )
    info, defaults = engine.info(engine.spec()), {p.text: p for p in engine.default_prompts()}
    rows.append(
        PromptFacts(
            prompt=ALL_NUCLEI,
            support=support(ALL_NUCLEI),
            class_name="Nuclei",
            kind="cell",
            colour=defaults[ALL_NUCLEI].colour or "#808080",
            threshold=0.5,
            input_mpp=info.mpp,
            tile_px=info.tile_px,
            tile_um=info.tile_px * info.mpp,
            means="every nucleus; those of no other class when classes are asked for too",
            source="",
            masks=0,
            dice=None,
            scored=False,
            synonyms=NUCLEI[1:],
            mapped_with_caution=(),
            engines=_engines(ALL_NUCLEI),
            notes=_notes(ALL_NUCLEI),
        )
    )
    return rows
