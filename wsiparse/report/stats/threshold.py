"""How counts depend on the probability threshold, and how many cells are of doubtful class. Pure.

What finished objects can tell
    An object was made from pixels with probability above its prompt's threshold t; kept of it are its area a and its
    mean probability s ("score"), not its pixels.

    Raised threshold t' = t + delta. Two rules, both reported:

    - *Score rule*: an object counts while s > t'. Exactly known, and monotone.
    - *Pixel rule*: what running again with t' would give, before the smallest-area filter. An object with s > t' has a
      pixel above t' and leaves at least one object, so ``n(s > t')`` is a lower bound (up to the rounding of stored
      probabilities, 1/510). The area that is left is bounded
      on both sides because every pixel lies in (t, 1] and their mean is s:
      ``a max(0, (s - t') / (1 - t'))  <=  area left  <=  a min(1, (s - t) / (t' - t))``
      (Markov's inequality for 1 - p and for p - t).

    Lowered threshold t - delta. Objects whose pixels all lie at or below t were never made, and existing ones would
    grow and might merge. Nothing in the results bounds how many would appear. Every object of today still counts under
    the score rule, so today's count is a **lower bound** of the score rule's count, and only that is given. A two-sided
    band needs a second run with the lower threshold.

Doubtful class
    `class_share` is each cell prompt's share of the object's summed confidence, over the pixels that prompt won. A cell
    is ambiguous when the largest share leads the second by less than 0.2 (with two classes in play: when neither
    reaches 60 %).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from wsiparse.types import PromptSet

__all__ = [
    "AMBIGUOUS_LEAD",
    "THRESHOLD_STEP",
    "AmbiguousClass",
    "Scored",
    "ThresholdBand",
    "ambiguous_counts",
    "is_ambiguous",
    "threshold_band",
]

THRESHOLD_STEP: Final = 0.1
AMBIGUOUS_LEAD: Final = 0.2

_NO_SHARES: Final = "no class shares were stored"
_BY_RULE: Final = "the engine gives each cell one class outright, so there is no second class to compare with"

#: Scores are means of probabilities rounded to 1/255, so they may be off by half a step.
_HALF_GREY: Final = 0.5 / 255
#: Scores are float32: a mean of exactly the threshold must not pass it by rounding.
_FLOAT32: Final = 1e-6


@dataclass(frozen=True, slots=True)
class ThresholdBand:
    """Counts of one class when its threshold moves.

    Parameters
    ----------
    class_name : as in the prompt set
    threshold : the one the objects were made with
    step : how far it moves, of a probability
    n : objects at `threshold`
    n_raised : objects with a score above threshold + step: the score rule's count, a lower bound of the pixel rule's
    n_lowered_at_least : a lower bound of the count at threshold - step: equal to `n`, see the module's text
    area_px : summed area at `threshold`, field px
    area_raised_least_px, area_raised_most_px : bounds of the area of pixels above threshold + step in these objects
    lowered_known : False: what lies below the threshold was never stored
    reason : why the objects do not tell what another threshold would count, "" where they do
    """

    class_name: str
    threshold: float
    step: float
    n: int
    n_raised: int
    n_lowered_at_least: int
    area_px: int
    area_raised_least_px: float
    area_raised_most_px: float
    lowered_known: bool = False
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AmbiguousClass:
    """Cells whose class is a close call.

    Parameters
    ----------
    class_name : as in the prompt set
    n : cells of the class
    n_ambiguous : those whose largest class share leads the second by less than `lead`
    lead : the rule's limit
    reason : why nothing can be said ("" when something can): fewer than two cell prompts
    """

    class_name: str
    n: int
    n_ambiguous: int | None
    lead: float
    reason: str = ""

    @property
    def share(self) -> float | None:
        """Ambiguous cells over cells, None without cells or without knowledge."""
        return self.n_ambiguous / self.n if self.n and self.n_ambiguous is not None else None


class Scored(Protocol):
    """Objects with what a band needs: an `ObjectTable`, or columns of one."""

    @property
    def class_id(self) -> NDArray[np.uint8]:
        """(N,) uint8: position in the prompt set + 1."""
        ...

    @property
    def score(self) -> NDArray[np.float32]:
        """(N,) float32: mean probability, 0-1."""
        ...

    @property
    def area_px(self) -> NDArray[np.int64]:
        """(N,) int64: field px."""
        ...


def threshold_band(
    tables: Iterable[Scored], prompts: PromptSet, *, step: float = THRESHOLD_STEP
) -> tuple[ThresholdBand, ...]:
    """How many objects of each class remain when the threshold moves; streaming, any order and batch size.

    Parameters
    ----------
    tables : objects; class ids are prompt position + 1
    prompts : their thresholds
    step : how far thresholds move, of a probability, 0-1; a raised threshold of 1 or more leaves nothing

    Returns
    -------
    one entry a prompt, prompt order

    Raises
    ------
    ValueError
        If `step` is not in (0, 1), or a class id is of no prompt.
    """
    if not 0 < step < 1:
        raise ValueError(f"the step must lie in (0, 1), got {step}")
    size = len(prompts) + 1
    low = np.array([0.0, *(p.threshold for p in prompts)])
    high = low + step
    n, raised, area = (np.zeros(size, np.int64) for _ in range(3))
    # whole numbers of 1/65025 px add up the same in any order; a float sum would not
    bounds = np.zeros((2, size), np.int64)
    for table in tables:
        k = table.class_id.astype(np.int64)
        if len(k) and (int(k.max()) >= size or int(k.min()) < 1):
            raise ValueError(f"class id {int(k.max())} of {size - 1} prompts")
        t, top, s = low[k], high[k], table.score.astype(np.float64)
        n += np.bincount(k, minlength=size)
        raised += np.bincount(k[s > top + _FLOAT32], minlength=size)
        np.add.at(area, k, table.area_px)
        with np.errstate(divide="ignore", invalid="ignore"):
            least = np.where(top < 1, np.clip((s - _HALF_GREY - top) / (1 - top), 0, 1), 0.0)
        most = np.where(top < 1, np.clip((s + _HALF_GREY - t) / (top - t), 0, 1), 0.0)
        for row, share, rounded in ((0, least, np.floor), (1, most, np.ceil)):
            np.add.at(bounds[row], k, rounded(share * table.area_px * 65025).astype(np.int64))
    return tuple(
        ThresholdBand(
            p.class_name,
            p.threshold,
            step,
            int(n[i]),
            int(raised[i]),
            int(n[i]),
            int(area[i]),
            float(bounds[0, i] / 65025),
            min(float(bounds[1, i] / 65025), float(area[i])),
            reason=_unmoved(int(n[i]), int(raised[i]), p.threshold + step),
        )
        for i, p in enumerate(prompts, 1)
    )


def _unmoved(n: int, raised: int, top: float) -> str:
    """Why a band of one and the same number is none."""
    if not n:
        return "none was found, and what lies below the threshold was not stored"
    if raised == n:
        return (
            f"all of them have a mean probability above {top:.3g}: no count changes up to there, and what lies below "
            "the threshold was not stored"
        )
    return ""


def is_ambiguous(class_share: NDArray[np.floating], lead: float = AMBIGUOUS_LEAD) -> NDArray[np.bool_]:
    """Rows whose largest class share leads the second by less than `lead`.

    Parameters
    ----------
    class_share : (N, P) of a float dtype, P >= 2, 0-1
    lead : 0-1

    Returns
    -------
    (N,) bool

    Raises
    ------
    ValueError
        If `class_share` has another shape.
    """
    if class_share.ndim != 2 or class_share.shape[1] < 2:
        raise ValueError(f"class shares of at least two classes are needed, got {class_share.shape}")
    top = np.partition(class_share.astype(np.float64), -2, axis=1)[:, -2:]
    # shares are float32: a lead of exactly the limit must not become ambiguous by rounding
    close: NDArray[np.bool_] = top[:, 1] - top[:, 0] < lead - 1e-6
    return close


def ambiguous_counts(
    class_id: NDArray[np.uint8],
    close: NDArray[np.bool_],
    prompts: PromptSet,
    *,
    lead: float,
    shares_known: bool,
    by_rule: bool = False,
) -> tuple[AmbiguousClass, ...]:
    """How many cells of each class are a close call.

    Parameters
    ----------
    lead : what `is_ambiguous` was asked with
    class_id : (N,) uint8, position in the prompt set + 1
    close : (N,) bool, what `is_ambiguous` says of each
    shares_known : False when some cells had no class shares
    by_rule : the engine gives each cell one class outright: its shares are 0 or 1 and tell nothing of doubt
    """
    cells = prompts.of_kind("cell")
    n = np.bincount(class_id, minlength=len(prompts) + 1)
    n_close = np.bincount(class_id[close], minlength=len(prompts) + 1)
    reason = _BY_RULE if by_rule else "" if shares_known else _NO_SHARES
    if len(cells) < 2:
        reason = "only one cell class was asked for"
    return tuple(
        AmbiguousClass(prompts[i].class_name, int(n[i + 1]), None if reason else int(n_close[i + 1]), lead, reason)
        for i in cells
    )
