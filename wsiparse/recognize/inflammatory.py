"""Inflammatory cells by rule: small, roundish, evenly dark nuclei on a paler surround.

The rule is no classifier that learned cells: it looks at size, shape and stain, and its errors are large on tissue it
was not chosen on (docs/accuracy.md: on 30 breast tiles of BRCA-M2C 3.9 times too many, F1 0.37). Reports say so.

Its limits on stain are absolute, chosen on slides of one strength (`STRENGTH`); nuclei are therefore measured on the
slide at a known strength (`wsiparse.recognize.strength`) and told at that of the rule. Where the slide's strength is
not known, its pixels are taken as they are.

Lymphocytes and plasma cells have condensed chromatin and, at 0.5 um/px, hardly any cytoplasm, so what lies right
beside the nucleus is stroma. Basal epithelium is as small and as dark, but its chromatin is less even and it sits in
cytoplasm that takes up hematoxylin: the limits on unevenness and on the ring keep it out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.recognize.instances import Nuclei

__all__ = ["RULE_LIMITS", "STRENGTH", "InflammatoryRule", "find_inflammatory"]

#: What a report says of inflammatory cells that this rule called.
RULE_LIMITS: Final = (
    "Inflammatory cells are called by a rule on size, shape and stain of nuclei; no network that learned cell types "
    "has looked at them. On 30 breast tiles of BRCA-M2C the rule called 3.9 times too many (F1 0.37), many of them "
    "tumour and stroma. Compare only slides of one organ, stain and scanner, and check the calls on the slide. "
    "Intervals do not contain these errors."
)

#: Strength of the stain of the tiles that the limits were chosen on (CoNSeP 0.63, CRCHistoPhenotypes 0.65).
STRENGTH: Final = 0.64


@dataclass(frozen=True, slots=True)
class InflammatoryRule:
    """Limits of the rule; a nucleus that keeps all of them is inflammatory.

    Chosen on the middle of plateaus of the end-to-end F1 on two annotated sets (CoNSeP and CRCHistoPhenotypes
    tiles), none fitted; hematoxylin is in units of Ruifrok's vector, areas in px at 0.5 um/px.

    Parameters
    ----------
    min_red_od : mean optical density of the red channel
    min_contrast : hematoxylin of the nucleus minus that of its ring
    max_ring : hematoxylin of the ring; above that it is cytoplasm (or a clot), below it stroma or other lymphocytes
    max_unevenness : standard deviation of the red optical density over its mean
    min_area_px, max_area_px : 7.5 and 45 um^2
    min_axis_ratio : minor / major axis
    min_confidence : mean probability; clear-cut nuclei only (0: the engine's probabilities do not tell)
    """

    min_red_od: float = 0.25
    min_contrast: float = 0.27
    max_ring: float = 0.4
    max_unevenness: float = 0.48
    min_area_px: int = 30
    max_area_px: int = 180
    min_axis_ratio: float = 0.4
    min_confidence: float = 0.0


def find_inflammatory(nuclei: Nuclei, rule: InflammatoryRule) -> NDArray[np.bool_]:
    """(n,) bool: which nuclei keep all limits of the rule."""
    contrast = nuclei.hematoxylin - nuclei.ring_hematoxylin
    found: NDArray[np.bool_] = (
        (nuclei.red_od > rule.min_red_od)
        & (contrast > rule.min_contrast)
        & (nuclei.ring_hematoxylin < rule.max_ring)
        & (nuclei.red_unevenness < rule.max_unevenness)
        & (nuclei.area_px >= rule.min_area_px)
        & (nuclei.area_px <= rule.max_area_px)
        & (nuclei.axis_ratio >= rule.min_axis_ratio)
        & (nuclei.confidence >= rule.min_confidence)
    )
    return found
