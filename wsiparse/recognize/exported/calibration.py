"""What of a slide a card needs to know, learned once from the slide's fixed sample, as numbers of the recognizer spec.

Percentiles and stain vectors of a tile would make results depend on the tiling. Here they are those of the slide: all
tiles, workers, parts of an array and later goes get the same numbers with the spec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.card import ModelCard, Stains
from wsiparse.recognize.exported.inputs import channel_tables, channel_values
from wsiparse.recognize.ruled import strength_of
from wsiparse.recognize.stain import RUIFROK, fit_stains
from wsiparse.recognize.strength import at_reference, byte_table

__all__ = ["SlideFacts", "learned", "needs_sample"]

#: Percentiles where a slide has no tissue to sample: black and white, no stain and much of it.
_FIXED_BYTES: Final = (0.0, 255.0)
_FIXED_OD: Final = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class SlideFacts:
    """What is known of one slide.

    Parameters
    ----------
    strength : of the stain (see `wsiparse.recognize.strength`), None where it is not known or not asked for
    stains : (2, 3) float64, hematoxylin and eosin, RGB
    own_stains : they are the slide's; False for Ruifrok's fixed ones
    low, high : of each channel, the values of the card's two percentiles
    sampled : the slide had tissue to learn from
    """

    strength: float | None
    stains: NDArray[np.float64]
    own_stains: bool
    low: tuple[float, ...]
    high: tuple[float, ...]
    sampled: bool = True

    def numbers(self) -> tuple[float, ...]:
        """As a spec holds them: strength (0 for none), six of the stains, whether they are own, low and high."""
        values = (self.strength or 0.0, *self.stains.ravel(), float(self.own_stains), *self.low, *self.high)
        return tuple(round(float(value), 6) for value in values)

    @staticmethod
    def of(card: ModelCard, numbers: tuple[float, ...]) -> SlideFacts:
        """What `numbers` gave; what holds for a slide that is not known where there are none.

        Raises
        ------
        ValueError
            If there are not as many numbers as the card wants.
        """
        n = card.input.count if card.input.normalise.kind == "percentile" else 0
        if not numbers:
            low, high = _FIXED_OD if isinstance(card.input.channels, Stains) else _FIXED_BYTES
            return SlideFacts(None, RUIFROK, False, (low,) * n, (high,) * n, sampled=False)
        if len(numbers) != 8 + 2 * n:
            raise ValueError(f"the calibration of {card.name} holds {8 + 2 * n} numbers, got {len(numbers)}")
        stains = np.array(numbers[1:7], np.float64).reshape(2, 3)
        return SlideFacts(numbers[0] or None, stains, bool(numbers[7]), numbers[8 : 8 + n], numbers[8 + n :])


def needs_sample(card: ModelCard) -> bool:
    """Whether anything of the slide as a whole is wanted."""
    given = card.input
    return given.stain == "reference" or isinstance(given.channels, Stains) or given.normalise.kind == "percentile"


def learned(card: ModelCard, sample: NDArray[np.uint8], tissue_mm2: float) -> SlideFacts:
    """What a slide's sample tells.

    Parameters
    ----------
    card : of the model
    sample : (N, H, W, 3) uint8 patches of tissue at the model's scale, N at least 1
    tissue_mm2 : tissue of the slide
    """
    given = card.input
    strength = strength_of(sample, tissue_mm2) if given.stain == "reference" else None
    sample = at_reference(sample, byte_table(strength))
    stains = fit_stains(sample) if isinstance(given.channels, Stains) else RUIFROK
    stains = np.round(stains, 6)
    own = isinstance(given.channels, Stains) and not np.array_equal(stains, RUIFROK)
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    if given.normalise.kind == "percentile":
        values = channel_values(sample.reshape(1, -1, 3), channel_tables(given.channels, stains))
        wanted = (given.normalise.low or 0.0, given.normalise.high or 0.0)
        pairs = np.percentile(values.reshape(given.count, -1).astype(np.float64), wanted, axis=1)
        low, high = tuple(pairs[0].tolist()), tuple(pairs[1].tolist())
    return SlideFacts(strength, stains, own, low, high)
