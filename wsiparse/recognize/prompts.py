"""What engines of a closed list can be asked: their answers, and how two prompts share the nuclei."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import PromptError
from wsiparse.recognize.words import match, means_nuclei, nearest, plain
from wsiparse.types import Prompt, PromptKind, PromptSet

__all__ = [
    "INFLAMMATORY",
    "NUCLEI",
    "NUCLEI_ONLY",
    "TWO_PROMPTS",
    "Answer",
    "answer_of",
    "answered",
    "check_nucleus_prompts",
    "check_region_prompts",
    "share_nuclei",
]

NUCLEI: Final = "nuclei"
INFLAMMATORY: Final = "inflammatory cells"

#: Other spellings that need no word of explanation.
_SAME: Final = frozenset({"nucleus", "cell nuclei", "cell nucleus", "all nuclei"})


class Answer(NamedTuple):
    """How an engine answers words.

    Parameters
    ----------
    text : the prompt in the engine's own words
    caution : how what is counted differs from the words; "" when it does not, or in what is said of the words anyway
    note : what is said whenever it is asked for, a part of a sentence; "" for nothing
    """

    text: str
    caution: str = ""
    note: str = ""


#: Answers of an engine that finds nuclei and calls some of them inflammatory. The keys are "nuclei", words of the
#: vocabulary's targets, or plain words of the engine's own.
TWO_PROMPTS: Final[Mapping[str, Answer]] = MappingProxyType({t: Answer(t) for t in (NUCLEI, INFLAMMATORY)})

#: What a report says of an engine that answers only these two prompts.
NUCLEI_ONLY: Final = (
    "The engine finds nuclei. It does not distinguish tumour from normal cells, nor kinds of tissue. "
    "A probability it gives is that of a nucleus, not of the nucleus's class."
)


def answer_of(text: str, answers: Mapping[str, Answer] = TWO_PROMPTS) -> Answer | None:
    """How a text is answered, in any words of the vocabulary or the engine's own; None for anything else.

    >>> answer_of("TILs").text, answer_of("mitoses")
    ('inflammatory cells', None)
    """
    if means_nuclei(text):
        return answers.get(NUCLEI)
    found = match(text)
    if found is not None:
        return answers.get(found.target.text)
    return answers.get(plain(text))


def _caution(text: str, answer: Answer) -> str:
    """How what is counted differs from what the words mean, in all."""
    found = match(text)
    told = [answer.caution, found.caution if found is not None else ""]
    return "; ".join(part for part in told if part)


def _is_own(text: str, own: str) -> bool:
    """Whether a text is the engine's own words, or a spelling of them."""
    one = own.removesuffix("cells")
    return plain(text) in (own, f"{one}cell", f"{one}nuclei") or (own == NUCLEI and plain(text) in _SAME)


def answered(
    texts: Sequence[str], title: str, *, strict: bool = False, answers: Mapping[str, Answer] = TWO_PROMPTS
) -> list[tuple[str, str | None]]:
    """The prompt that answers each text, and a line for people where the words are others.

    Parameters
    ----------
    texts : as the user wrote them
    title : the engine's title, for messages
    strict : refuse words that mean only a part of what is counted
    answers : of the engine

    Raises
    ------
    PromptError
        If a text asks for something else, two ask for the same, or `strict` and one means a part only.
    """
    out: list[tuple[str, str | None]] = []
    for text in texts:
        answer = answer_of(text, answers)
        if answer is None:
            raise _unanswered(text, title, answers)
        own, caution = answer.text, _caution(text, answer)
        if strict and caution:
            raise PromptError(
                f"prompt {text!r}: the nearest prompt is '{own}', but {caution}. Ask for '{own}', or leave "
                "--strict-prompts out."
            )
        found = match(text)
        told = [] if _is_own(text, own) else [f"answered as '{own}'" + (f": {caution}" if caution else "")]
        told += [answer.note] if answer.note and answer.note not in caution else []
        if found is not None and found.site:
            told.append(f"the site '{found.site}' changes nothing")
        twin = next((other for other, (used, _) in zip(texts, out, strict=False) if used == own), None)
        if twin is not None:
            raise _asked_twice(twin, text, own)
        out.append((own, f"prompt {text!r}: {'; '.join(told)}." if told else None))
    return out


def _asked_twice(first: str, second: str, own: str) -> PromptError:
    if plain(first) == plain(second):
        return PromptError(f"prompt {second!r} is given twice. Leave one out.")
    return PromptError(f"prompts {first!r} and {second!r} ask for the same, '{own}'. Leave one out.")


def _unanswered(text: str, title: str, answers: Mapping[str, Answer]) -> PromptError:
    found = match(text)
    if found is not None:
        near = f"BiomedParse answers it as '{found.target.text}'. "
    else:
        word = nearest(text)
        near = f"The nearest known prompt is '{word}'. " if word else ""
    *some, last = dict.fromkeys(f"'{answer.text}'" for answer in answers.values())
    known = f"{', '.join(some)} and {last}" if some else last
    return PromptError(
        f"prompt {text!r}: this engine ({title}) answers only {known}. {near}For others "
        "fetch the BiomedParse weights (`wsiparse weights fetch`) and use --engine biomedparse; `wsiparse prompts` "
        "lists all."
    )


def check_nucleus_prompts(
    prompts: PromptSet, title: str, mpp: float, answers: Mapping[str, Answer] = TWO_PROMPTS
) -> tuple[str, ...]:
    """What answers each prompt, in the engine's own words and prompt order.

    Parameters
    ----------
    prompts : what is asked for
    title : the engine's title, for the message
    mpp : the engine's scale, um per px
    answers : of the engine

    Raises
    ------
    PromptError
        If a prompt is not answered, two prompts mean the same, a prompt is a region, or one wants another scale.
    """
    roles: list[str] = []
    for prompt in prompts:
        answer = answer_of(prompt.text, answers)
        if answer is None:
            raise _unanswered(prompt.text, title, answers)
        _check_settings(prompt, title, mpp)
        if answer.text in roles:
            raise _asked_twice(prompts[roles.index(answer.text)].text, prompt.text, answer.text)
        roles.append(answer.text)
    return tuple(roles)


def check_region_prompts(prompts: PromptSet, title: str, mpp: float, answers: Mapping[str, Answer]) -> None:
    """Refuse what an engine of regions does not answer.

    Parameters
    ----------
    prompts : what is asked for
    title, mpp, answers : as for `check_nucleus_prompts`

    Raises
    ------
    PromptError
        If a prompt is not answered, two mean the same, one is of single cells, or one wants another scale.
    """
    answered([prompt.text for prompt in prompts], title, answers=answers)
    for prompt in prompts:
        _check_settings(prompt, title, mpp, kind="region")


def _check_settings(prompt: Prompt, title: str, mpp: float, kind: PromptKind = "cell") -> None:
    if prompt.kind != kind:
        finds = "single nuclei" if kind == "cell" else "regions"
        raise PromptError(
            f"prompt {prompt.text!r} is of kind '{prompt.kind}': this engine ({title}) finds {finds}. Use kind: {kind}."
        )
    if prompt.input_mpp is not None and abs(prompt.input_mpp - mpp) > 1e-6:
        raise PromptError(
            f"prompt {prompt.text!r} asks for {prompt.input_mpp:g} um/px: this engine ({title}) works at {mpp:g} "
            "um/px. Leave input_mpp out."
        )


def share_nuclei(
    foreground: NDArray[np.float32], roles: tuple[str, ...], inflammatory: NDArray[np.bool_] | None
) -> NDArray[np.float32]:
    """One probability map per prompt, such that every nucleus belongs to one of them.

    Inflammatory nuclei go to the prompt "inflammatory cells" when it is asked and all others to "nuclei"; the
    probability of the other prompt is 0 there. Asked alone, "nuclei" gets every nucleus and "inflammatory cells" only
    those.

    Parameters
    ----------
    foreground : (H, W) float32, probability of being nucleus
    roles : of the prompts
    inflammatory : (H, W) bool, True on inflammatory nuclei; may be None when nobody asks

    Returns
    -------
    (P, H, W) float32
    """
    maps = np.empty((len(roles), *foreground.shape), np.float32)
    for target, role in zip(maps, roles, strict=True):
        if inflammatory is None or "inflammatory cells" not in roles:
            target[:] = foreground
        else:
            np.multiply(foreground, inflammatory if role == "inflammatory cells" else ~inflammatory, out=target)
    return maps
