"""Engines that find nuclei and call some of them inflammatory by the rule of `wsiparse.recognize.inflammatory`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.declared import DeclaredEngine
from wsiparse.recognize.inflammatory import RULE_LIMITS
from wsiparse.recognize.prompts import INFLAMMATORY, NUCLEI_ONLY, answer_of
from wsiparse.recognize.strength import StainFacts, stain_strength, tissue_is_enough
from wsiparse.types import EngineLimits, RecognizerSpec

__all__ = ["RuledEngine", "strength_of"]


class RuledEngine(DeclaredEngine):
    """What engines share that see every slide at the reference strength of its stain and use the rule."""

    idle_settings = ("precision", "runtime", "weights")

    def wants_sample(self) -> bool:
        """The strength of the stain belongs to the slide as a whole."""
        return True

    def strength_in(self, calibration: tuple[float, ...]) -> float | None:
        """The strength of the slide's stain in the engine's own calibration; None where it is not known."""
        return calibration[0] if calibration else None

    def stain_of(self, spec: RecognizerSpec) -> StainFacts | None:
        """Strength of the stain, where the slide told it."""
        return StainFacts(self.strength_in(spec.calibration))

    def limits(self, spec: RecognizerSpec) -> EngineLimits:
        """That classes are by rule, and what the stain means for them."""
        stain = StainFacts(self.strength_in(spec.calibration))
        used = (answer_of(prompt.text, self.answers) for prompt in spec.prompts)
        rule = INFLAMMATORY in {answer.text for answer in used if answer is not None}
        return EngineLimits(
            classes_by_rule=True,
            nucleus_probability=True,
            stain_strength=stain.strength,
            warnings=(stain.flag,) if rule and stain.flag else (),
            sentences=(NUCLEI_ONLY, *((RULE_LIMITS,) if rule else ())),
        )


def strength_of(sample: NDArray[np.uint8], tissue_mm2: float) -> float | None:
    """Strength of a slide's stain; None where the slide has too little tissue to tell.

    Parameters
    ----------
    sample : (N, H, W, 3) uint8 patches of tissue
    tissue_mm2 : tissue of the slide
    """
    return stain_strength(sample) if tissue_is_enough(tissue_mm2) else None
