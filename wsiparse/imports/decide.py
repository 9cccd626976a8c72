"""What the objects of other programs are, once all are known: kinds, classes, frames; whether they fit. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.config import PALETTE
from wsiparse.coords import Frame, free_frame
from wsiparse.errors import ImportFileError
from wsiparse.imports.gather import Asked, Gathered, Target
from wsiparse.recognize.words import match, means_nuclei
from wsiparse.types import Prompt, PromptKind, PromptSet

__all__ = ["Decided", "better_scale", "decide"]

#: QuPath's annotations of a smaller median area are cells that a program wrote as annotations, um^2.
_CELL_UM2: Final = 1000.0

#: Where a smaller share of the objects than the first lies in tissue, and more by the second would in another frame,
#: it may be the other.
_FEW: Final = 0.5
_MORE: Final = 0.4


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What class numbers mean.

    Parameters
    ----------
    prompts : the classes
    class_of : (256,) uint8, class id of each class number
    frames : of each kind's coordinates
    notes : what people should know of it, a line each
    """

    prompts: PromptSet
    class_of: NDArray[np.uint8]
    frames: dict[PromptKind, Frame]
    notes: tuple[str, ...]


def decide(gathered: Gathered, asked: Asked, target: Target) -> Decided:
    """Kinds, class names, colours and frames.

    Parameters
    ----------
    gathered : what the files hold
    asked : by the user
    target : the slide

    Raises
    ------
    ImportFileError
        If a class that is to be renamed is in no file, or no object lies on the slide.
    """
    named = gathered.classes.named()
    numbers = [k for k in range(1, len(named) + 1) if k in gathered.grids]
    if not numbers:
        told = ", ".join(f"{n} {what}" for what, n in gathered.counts.items() if n)
        raise ImportFileError(f"no object with an area on the slide ({told}). Give the slide that the files are of.")
    absent = sorted(set(asked.renamed) - {named[k - 1].name for k in numbers})
    if absent:
        there = ", ".join(dict.fromkeys(named[k - 1].name for k in numbers))
        raise ImportFileError(f"--rename: no class {absent[0]!r} in the files, which have {there}.")
    kinds, notes = _kinds(gathered, asked, numbers)
    found: dict[tuple[str, PromptKind], list[int]] = {}
    for number in sorted(numbers, key=lambda k: kinds[k] == "region"):
        name = named[number - 1].name
        found.setdefault((asked.renamed.get(name, name), kinds[number]), []).append(number)
    prompts, class_of = [], np.zeros(256, np.uint8)
    taken: set[str] = set()
    for position, ((name, kind), own) in enumerate(found.items()):
        called = name if (name, "cell") == (name, kind) or (name, "cell") not in found else f"{name} (region)"
        colour = next((c for k in own if (c := gathered.classes.colours.get(named[k - 1].name))), None)
        text = _text(called, taken)
        taken.add(text)
        prompts.append(Prompt(text, called, colour or PALETTE[position % len(PALETTE)], kind))
        class_of[own] = position + 1
    return Decided(PromptSet(tuple(prompts)), class_of, _frames(gathered, kinds, numbers, target), notes)


def _kinds(gathered: Gathered, asked: Asked, numbers: Sequence[int]) -> tuple[dict[int, PromptKind], tuple[str, ...]]:
    """What the objects of each class number are, and what was decided about annotations."""
    if asked.kind != "auto":
        return dict.fromkeys(numbers, asked.kind), ()
    declared = {k: gathered.classes.keys[k - 1].kind for k in numbers}
    drawn = [k for k, kind in declared.items() if kind == "annotation"]
    kind: PromptKind = "region"
    notes: tuple[str, ...] = ()
    if drawn and "cell" not in declared.values():
        median = float(np.median(np.concatenate([area for k in drawn for area in gathered.areas[k]])))
        kind = "cell" if median <= _CELL_UM2 else "region"
        notes = (
            f"the files call all objects annotations; they are taken as {kind}s, for their median area is {median:.3g} "
            f"um2 (--kind {'region' if kind == 'cell' else 'cell'} for the other)",
        )
    return {k: kind if told == "annotation" else told for k, told in declared.items()}, notes


def _text(name: str, taken: set[str]) -> str:
    """Words whose meaning the report knows, where there are any: "Inflammatory" is short for inflammatory cells."""
    for text in (name, f"{name} cells"):
        if (match(text) is not None or means_nuclei(text)) and text not in taken:
            return text
    return name if name not in taken else f"{name} ({len(taken) + 1})"


def _frames(
    gathered: Gathered, kinds: Mapping[int, PromptKind], numbers: Sequence[int], target: Target
) -> dict[PromptKind, Frame]:
    """The grid that all outlines of a kind follow, else hundredths of a level-0 px."""
    free = free_frame(target.size, target.mpp)
    frames: dict[PromptKind, Frame] = {}
    for kind in ("cell", "region"):
        grids = set().union(*(gathered.grids[k] for k in numbers if kinds[k] == kind))
        grid = next(iter(grids)) if len(grids) == 1 else None
        frames[kind] = free if grid is None else _grid_frame(grid, target)
    used = [frames[kinds[k]] for k in numbers]
    some: tuple[PromptKind, ...] = ("cell", "region")
    return {kind: frames[kind] if kind in kinds.values() else used[0] for kind in some}


def _grid_frame(grid: tuple[float, float], target: Target) -> Frame:
    width, height = (max(1, math.ceil(n / f - 1e-9)) for n, f in zip(target.size, grid, strict=True))
    return Frame((width, height), grid, (target.mpp[0] * grid[0], target.mpp[1] * grid[1]))


def better_scale(
    sample: NDArray[np.float64],
    in_tissue: Callable[[NDArray[np.float64]], NDArray[np.bool_]],
    target: Target,
    levels: Sequence[float],
) -> str:
    """A line where few objects lie in tissue as they are, and most would in another frame; "" where they fit.

    Parameters
    ----------
    sample : (N, 2) float64, centres, level-0 px
    in_tissue : which points, (N, 2) float64, lie in tissue, (N,) bool
    target : the slide
    levels : level-0 px per px of the slide's levels
    """
    if not len(sample):
        return ""
    inside = float(in_tissue(sample).mean())
    if inside >= _FEW:
        return ""
    tried = [(f, f"--downsample {f:g}") for f in levels if f > 1.01]
    tried += [(1 / target.mpp[0], "--unit um")]
    shares = [(float(in_tissue(sample * f).mean()), option) for f, option in tried]
    best, option = max(shares)
    if best < inside + _MORE:
        return ""
    return (
        f"only {100 * inside:.0f} % of the objects lie in tissue, and {100 * best:.0f} % would with {option}: their "
        "coordinates may be of another frame"
    )
