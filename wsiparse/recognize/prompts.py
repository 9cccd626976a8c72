"""What the engines without a language model can be asked: two prompts, and how they share the nuclei."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import PromptError
from wsiparse.recognize.words import match, means_nuclei, nearest, plain
from wsiparse.types import Prompt, PromptSet

__all__ = ["INFLAMMATORY", "NUCLEI_ONLY", "Role", "answered", "check_nucleus_prompts", "role_of", "share_nuclei"]

Role = Literal["nuclei", "inflammatory cells"]

#: Spellings of the two prompts that need no word of explanation.
_SAME: Final = frozenset(
    {"nuclei", "nucleus", "cell nuclei", "cell nucleus", "all nuclei"}
    | {"inflammatory cells", "inflammatory cell", "inflammatory nuclei"}
)

INFLAMMATORY: Final = "inflammatory cells"

#: What a report says of an engine that answers only these two prompts.
NUCLEI_ONLY: Final = (
    "The engine finds nuclei. It tells no tumour from normal cells and no kinds of tissue. A probability it gives is "
    "that of a nucleus, not of the nucleus's class."
)


def role_of(text: str) -> Role | None:
    """Which of the two prompts a text asks for, in any words of the vocabulary; None for anything else."""
    if means_nuclei(text):
        return "nuclei"
    found = match(text)
    return "inflammatory cells" if found is not None and found.target.text == INFLAMMATORY else None


def answered(texts: Sequence[str], title: str, *, strict: bool = False) -> list[tuple[Role, str | None]]:
    """The prompt that answers each text, and a line for people where the words are others.

    Parameters
    ----------
    texts : as the user wrote them
    title : the engine's title, for messages
    strict : refuse words that mean only a part of what is counted

    Raises
    ------
    PromptError
        If a text asks for something else, two ask for the same, or `strict` and one means a part only.
    """
    out: list[tuple[Role, str | None]] = []
    for text in texts:
        role = role_of(text)
        if role is None:
            raise _unanswered(text, title)
        found = match(text)
        caution = found.caution if found is not None else ""
        if strict and caution:
            raise PromptError(
                f"prompt {text!r}: the nearest prompt is '{role}', but {caution}. Ask for '{role}', or leave "
                "--strict-prompts out."
            )
        told = f"prompt {text!r}: answered as '{role}'" + (f": {caution}" if caution else "")
        if found is not None and found.site:
            told += f"; the site '{found.site}' changes nothing"
        twin = next((other for other, (own, _) in zip(texts, out, strict=False) if own == role), None)
        if twin is not None:
            raise PromptError(
                f"prompts {twin!r} and {text!r}: '{role}' is already asked for under another name. Leave one out."
            )
        out.append((role, None if plain(text) in _SAME else f"{told}."))
    return out


def _unanswered(text: str, title: str) -> PromptError:
    found = match(text)
    if found is not None:
        near = f"BiomedParse answers it as '{found.target.text}'. "
    else:
        word = nearest(text)
        near = f"The nearest known prompt is '{word}'. " if word else ""
    return PromptError(
        f"prompt {text!r}: this engine ({title}) answers only 'nuclei' and 'inflammatory cells'. {near}For others "
        "fetch the BiomedParse weights (`wsiparse weights fetch`) and use --engine biomedparse; `wsiparse prompts` "
        "lists all."
    )


def check_nucleus_prompts(prompts: PromptSet, title: str, mpp: float) -> tuple[Role, ...]:
    """The role of each prompt, in prompt order.

    Parameters
    ----------
    prompts : what is asked for
    title : the engine's title, for the message
    mpp : the engine's scale, um per px

    Raises
    ------
    PromptError
        If a prompt is neither "nuclei" nor "inflammatory cells", two prompts mean the same, a prompt is a region, or
        one wants another scale.
    """
    roles: list[Role] = []
    for prompt in prompts:
        role = role_of(prompt.text)
        if role is None:
            raise _unanswered(prompt.text, title)
        _check_settings(prompt, title, mpp)
        if role in roles:
            raise PromptError(
                f"prompt {prompt.text!r}: '{role}' is already asked for under another name. Leave one out."
            )
        roles.append(role)
    return tuple(roles)


def _check_settings(prompt: Prompt, title: str, mpp: float) -> None:
    if prompt.kind != "cell":
        raise PromptError(
            f"prompt {prompt.text!r} is of kind 'region': this engine ({title}) finds single nuclei. Use kind: cell."
        )
    if prompt.input_mpp is not None and abs(prompt.input_mpp - mpp) > 1e-6:
        raise PromptError(
            f"prompt {prompt.text!r} asks for {prompt.input_mpp:g} um/px: this engine ({title}) works at {mpp:g} "
            "um/px. Leave input_mpp out."
        )


def share_nuclei(
    foreground: NDArray[np.float32], roles: tuple[Role, ...], inflammatory: NDArray[np.bool_] | None
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
