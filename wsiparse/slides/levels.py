"""Which stored pictures are levels of a pyramid: judged by their sizes, without reading a pixel.

Files call more a level than is one: a label or macro page, an overwritten page of a de-identified slide, a thumbnail
of another aspect. A level is level 0 made smaller by one whole number on both axes, to within a pixel. Writers that
store whole tiles only (Philips) make the picture of a level longer than that; where its size is whole tiles, the part
that shows the slide is known once the number is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["Doubt", "LevelChoice", "choose_levels", "whole_step"]

Size = tuple[int, int]

#: More candidates are no longer tried: the level is of few px.
_MOST_CANDIDATES: Final = 8


@dataclass(frozen=True, slots=True)
class LevelChoice:
    """A stored picture that may be a level.

    Parameters
    ----------
    stored : its number among the stored pictures
    steps : how many level-0 px one of its px may have on both axes; more than one where padding hides which
    """

    stored: int
    steps: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Doubt:
    """A stored picture that is not used.

    Parameters
    ----------
    stored : its number
    reason : the end of a sentence that begins with the picture
    """

    stored: int
    reason: str


def whole_step(full: Size, reduced: Size) -> int | None:
    """The whole number that both axes were divided by, to within a pixel; None where there is none.

    Of several that fit (a level of few px) a power of two is taken, else the nearest to the longer axis.

    Parameters
    ----------
    full, reduced : (width, height) of level 0 and of the level, px

    >>> whole_step((4443, 3567), (2221, 1783)), whole_step((2400, 1600), (256, 256)), whole_step((1, 40000), (1, 2500))
    (2, None, 16)
    """
    spans = [_exact(n, m) for n, m in zip(full, reduced, strict=True)]
    low, high = max(span[0] for span in spans), min(span[1] for span in spans)
    if low > high:
        return None
    long = 0 if reduced[0] >= reduced[1] else 1
    nearest = min(max(round(full[long] / reduced[long]), low), high)
    power = 1 << max(0, round(math.log2(nearest)))
    return power if low <= power <= high else nearest


def _exact(full: int, reduced: int) -> tuple[int, int]:
    """First and last whole step that makes `full` px these `reduced` ones, give or take one."""
    high = full // (reduced - 1) if reduced > 1 else max(full, 1 << 30)
    return max(1, -(-full // (reduced + 1))), max(1, high)


def _padded(full: int, reduced: int, tile: int) -> tuple[int, int]:
    """The same where `reduced` is whole tiles and the last one may be padding; (1, 0) where it is not whole tiles."""
    if reduced % tile:
        return 1, 0
    low = max(1, -(-full // reduced))  # full / step <= reduced
    rest = reduced - tile  # full / step > rest
    return low, (-(-full // rest) - 1 if rest > 0 else max(full, 1))


def choose_levels(
    sizes: Sequence[Size], tiles: Sequence[Size | None]
) -> tuple[tuple[LevelChoice, ...], tuple[Doubt, ...]]:
    """Judge stored pictures by their sizes; the first is level 0.

    Parameters
    ----------
    sizes : (width, height) of each, px
    tiles : (width, height) of the tiles of each, px; None where unknown

    Returns
    -------
    choices : in the order of their steps, level 0 first
    doubts : the others
    """
    full = sizes[0]
    choices, doubts = [LevelChoice(0, (1,))], []
    for k, (size, tile) in enumerate(zip(sizes[1:], tiles[1:], strict=True), 1):
        if size[0] > full[0] + 1 or size[1] > full[1] + 1:
            doubts.append(Doubt(k, "is larger than level 0"))
            continue
        step = whole_step(full, size)
        steps = (step,) if step is not None else _padded_steps(full, size, tile)
        if 1 <= len(steps) <= _MOST_CANDIDATES:
            choices.append(LevelChoice(k, steps))
        else:
            doubts.append(Doubt(k, _odd(full, size)))
    choices.sort(key=lambda choice: (choice.steps[0], choice.stored))
    kept: list[LevelChoice] = []
    for choice in choices:
        if kept and len(choice.steps) == 1 and choice.steps == kept[-1].steps:
            doubts.append(Doubt(choice.stored, f"repeats the scale of level {kept[-1].stored}"))
        else:
            kept.append(choice)
    return tuple(kept), tuple(sorted(doubts, key=lambda doubt: doubt.stored))


def _padded_steps(full: Size, size: Size, tile: Size | None) -> tuple[int, ...]:
    if tile is None:
        return ()
    spans = [_joined(_exact(n, m), _padded(n, m, t)) for n, m, t in zip(full, size, tile, strict=True)]
    low, high = max(2, *(span[0] for span in spans)), min(span[1] for span in spans)
    return tuple(range(low, min(high, low + _MOST_CANDIDATES) + 1))


def _joined(exact: tuple[int, int], padded: tuple[int, int]) -> tuple[int, int]:
    """The steps of either; the two touch, for padding of no px is exact."""
    if padded[0] > padded[1]:
        return exact
    return min(exact[0], padded[0]), max(exact[1], padded[1])


def _odd(full: Size, size: Size) -> str:
    x, y = (n / m for n, m in zip(full, size, strict=True))
    if abs(x - y) <= 0.01 * max(x, y):
        return f"is {x:.4g} times smaller than level 0, and levels are smaller by whole numbers"
    return f"is {x:.4g} times smaller than level 0 in x and {y:.4g} times in y"
