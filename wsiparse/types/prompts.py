"""What is looked for, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

__all__ = ["MAX_PROMPTS", "Prompt", "PromptKind", "PromptSet"]

PromptKind = Literal["cell", "region"]


#: A class id is one byte in the field and 0 is background.
MAX_PROMPTS: Final = 255


_COLOUR = re.compile(r"^#[0-9a-fA-F]{6}$")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One thing to look for, in words.

    Parameters
    ----------
    text : what the network is asked for, e.g. "inflammatory cells"
    class_name : what outputs call it; no newline, not blank
    colour : "#rrggbb"
    kind : "cell" (split into instances, exclusive per pixel) or "region" (own layer, holes kept, may overlap)
    threshold : probability above which a pixel counts, 0 < threshold < 1
    input_mpp : microns per pixel the network should see, or None for the engine's own scale

    Raises
    ------
    ValueError
        If `text` or `class_name` is blank, `class_name` has several lines, `colour` or `kind` is of another form,
        `threshold` is not between 0 and 1, or `input_mpp` is outside 0.01-20.

    Examples
    --------
    >>> import wsiparse
    >>> wsiparse.Prompt("glandular structure", "Gland", "#00a08a", kind="region").rgb
    (0, 160, 138)
    """

    text: str
    class_name: str
    colour: str = "#808080"
    kind: PromptKind = "cell"
    threshold: float = 0.5
    input_mpp: float | None = None

    def __post_init__(self) -> None:
        if not self.text.strip():
            raise ValueError("a prompt needs words")
        if not self.class_name.strip() or "\n" in self.class_name or "\r" in self.class_name:
            raise ValueError(f"class name {self.class_name!r} must be one line of text")
        if not _COLOUR.match(self.colour):
            raise ValueError(f"colour {self.colour!r} is not of the form #rrggbb")
        if self.kind not in ("cell", "region"):
            raise ValueError(f"kind {self.kind!r} is neither 'cell' nor 'region'")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold} is not between 0 and 1")
        if self.input_mpp is not None and not 0.01 <= self.input_mpp <= 20:
            raise ValueError(f"input_mpp {self.input_mpp} is not between 0.01 and 20")

    @property
    def rgb(self) -> tuple[int, int, int]:
        """The colour as three bytes."""
        return int(self.colour[1:3], 16), int(self.colour[3:5], 16), int(self.colour[5:7], 16)


@dataclass(frozen=True, slots=True, repr=False)
class PromptSet:
    """Prompts in the order that breaks ties; class id = position + 1, 0 is background. Class names are unique.

    Raises
    ------
    ValueError
        If there are none, more than `MAX_PROMPTS`, or two of the same text or class name.

    Examples
    --------
    >>> import wsiparse
    >>> gland = wsiparse.Prompt("glandular structure", "Gland", kind="region")
    >>> prompts = wsiparse.PromptSet((wsiparse.Prompt("nuclei", "Nucleus"), gland))
    >>> prompts
    PromptSet('nuclei' as 'Nucleus', 'glandular structure' as 'Gland')
    >>> prompts.of_kind("region")
    (1,)
    """

    prompts: tuple[Prompt, ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.prompts) <= MAX_PROMPTS:
            raise ValueError(f"between 1 and {MAX_PROMPTS} prompts are needed, got {len(self.prompts)}")
        for what in ("text", "class_name"):
            seen = [getattr(p, what) for p in self.prompts]
            twice = sorted({s for s in seen if seen.count(s) > 1})
            if twice:
                raise ValueError(f"prompt {what} given twice: {', '.join(twice)}")

    def __len__(self) -> int:
        return len(self.prompts)

    def __repr__(self) -> str:
        return f"PromptSet({', '.join(f'{p.text!r} as {p.class_name!r}' for p in self.prompts)})"

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    def __getitem__(self, index: int) -> Prompt:
        return self.prompts[index]

    def of_kind(self, kind: PromptKind) -> tuple[int, ...]:
        """Positions of the prompts of one kind, ascending."""
        return tuple(i for i, p in enumerate(self.prompts) if p.kind == kind)
