"""What the engines without a language model can be asked: two prompts, and how they share the nuclei."""

from __future__ import annotations

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import PromptError
from wsiparse.types import Prompt, PromptSet

__all__ = ["ANSWERED", "NUCLEI_ONLY", "Role", "check_nucleus_prompts", "role_of", "share_nuclei"]

Role = Literal["nuclei", "inflammatory cells"]

#: What a report says of an engine that answers only these two prompts.
NUCLEI_ONLY: Final = (
    "The engine finds nuclei. It tells no tumour from normal cells and no kinds of tissue. A probability it gives is "
    "that of a nucleus, not of the nucleus's class."
)

#: The two prompts, and other spellings of exactly the same thing.
ANSWERED: Final[dict[Role, tuple[str, ...]]] = {
    "nuclei": ("nuclei", "nucleus", "cell nuclei", "cell nucleus", "all nuclei"),
    "inflammatory cells": ("inflammatory cells", "inflammatory cell", "inflammatory nuclei"),
}


def role_of(text: str) -> Role | None:
    """Which of the two prompts a text is, whatever its case and spacing; None for anything else."""
    plain = " ".join(text.casefold().replace("-", " ").replace("_", " ").split()).rstrip(".")
    return next((role for role, spellings in ANSWERED.items() if plain in spellings), None)


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
            raise PromptError(
                f"prompt {prompt.text!r}: this engine ({title}) answers only 'nuclei' and 'inflammatory cells'. For "
                "other prompts fetch the BiomedParse weights (`wsiparse weights fetch`) and use --engine biomedparse."
            )
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
