"""How strongly a slide is stained, once for the whole slide, and the slide as it would be at the usual strength.

Optical densities of a section grow with its thickness, the time in hematoxylin and the scanner's curve; what a nucleus
is does not. An engine whose limits are absolute therefore sees every slide at one strength: each byte's optical density
is multiplied by one factor of the slide, which is a table of 256 entries.

Strength is Macenko's pseudo-maximum (Macenko et al., ISBI 2009: 99th percentile of the concentration of hematoxylin) of
each patch of the slide's fixed sample, and of these the mean of the middle half, so that patches of blood, ink or lymph
follicle do not speak for the slide. Only the factor is estimated: with the slide's own stain vectors in the place of
Ruifrok's the inflammatory rule's F1 fell from .697 to .603 (CoNSeP) and from .599 to .577 (BRCA-M2C), and rose from
.587 to .594 (CRCHisto).

A single field of view cannot tell its stain from its content (a follicle is dark because of what it is): with less
tissue than `LEAST_TISSUE_MM2` nothing is estimated, and pixels are left as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wsiparse.recognize.stain import OD_OF_BYTE, RUIFROK, hematoxylin_lut, through_lut

__all__ = [
    "CHECKED",
    "DARKEST_OD",
    "LEAST_TISSUE_MM2",
    "REFERENCE",
    "StainFacts",
    "at_reference",
    "byte_table",
    "held",
    "stain_strength",
    "tissue_is_enough",
]

#: The strength that slides are brought to: the middle of what real slides showed (0.5 to 1.9).
REFERENCE: Final = 1.0

#: Strengths at which counts were checked against those of the same slide unfaded; further ones are held at the ends.
CHECKED: Final = (0.5, 3.0)

#: The darkest that any slide is shown, OD at the reference strength: what a byte can hold of a slide at the strong end
#: of `CHECKED`. Without it a strong slide's dark pixels are cut off by its scanner and a pale one's are not, and nuclei
#: of the strong one look more even.
DARKEST_OD: Final = float(OD_OF_BYTE[0]) * REFERENCE / CHECKED[1]

#: Less tissue than this tells nothing of a slide's stain.
LEAST_TISSUE_MM2: Final = 0.25

#: Tissue is what absorbs more than this share of the sample's 90th percentile; the least share of it in a patch.
_TISSUE_SHARE: Final = 0.25
_LEAST_SHARE: Final = 0.25
#: Fewer patches with tissue than this tell nothing.
_LEAST_PATCHES: Final = 6
#: Every second pixel of every second row is enough.
_STEP: Final = 2

_HEMATOXYLIN: Final = hematoxylin_lut(RUIFROK)


@dataclass(frozen=True, slots=True)
class StainFacts:
    """How strongly a slide is stained.

    Parameters
    ----------
    strength : see `stain_strength`; None where the slide has too little tissue to tell
    """

    strength: float | None

    @property
    def flag(self) -> str:
        """Why counts of inflammatory cells may not be trusted for the stain's sake, a sentence; "" for no reason."""
        if self.strength is None:
            return (
                "There is too little tissue to measure how strongly the slide is stained (at least "
                f"{LEAST_TISSUE_MM2:g} mm² is needed), so its pixels were taken as they are: a paler or darker stain "
                "changes the count of inflammatory cells."
            )
        if not CHECKED[0] <= self.strength <= CHECKED[1]:
            side = "weakly" if self.strength < CHECKED[0] else "strongly"
            return (
                f"The slide is stained more {side} than any that inflammatory cells were counted on to check them "
                f"(strength {self.strength:.2g}, checked from {CHECKED[0]:g} to {CHECKED[1]:g}): do not rely on their "
                "count."
            )
        return ""


def tissue_is_enough(tissue_mm2: float) -> bool:
    """Whether a slide of so much tissue tells how strongly it is stained."""
    return tissue_mm2 >= LEAST_TISSUE_MM2


def stain_strength(sample: NDArray[np.uint8]) -> float | None:
    """Strength of a slide's stain; it grows with optical density, pixel for pixel, as density does.

    Parameters
    ----------
    sample : (N, H, W, 3) uint8, patches of tissue

    Returns
    -------
    in units of Ruifrok's hematoxylin vector, six decimals; None when fewer than six patches show tissue
    """
    patches = sample[:, ::_STEP, ::_STEP]
    density = [OD_OF_BYTE[patch].sum(axis=2) for patch in patches]
    if not density:
        return None
    least = _TISSUE_SHARE * float(np.percentile(np.stack(density), 90))
    found = []
    for patch, od in zip(patches, density, strict=True):
        tissue = od > least
        if tissue.mean() >= _LEAST_SHARE:
            found.append(float(np.percentile(through_lut(patch, _HEMATOXYLIN)[tissue], 99)))
    strength = float(stats.trim_mean(found, 0.25)) if len(found) >= _LEAST_PATCHES else 0.0
    return round(strength, 6) if strength > 0 else None


def held(strength: float) -> float:
    """A strength within `CHECKED`: beyond it, as much is taken back as was checked and no more."""
    return min(max(strength, CHECKED[0]), CHECKED[1])


def byte_table(strength: float | None) -> NDArray[np.uint8] | None:
    """What every byte becomes at the reference strength, (256,) uint8; None when nothing changes.

    Parameters
    ----------
    strength : strength of the slide; None for one that is not known
    """
    if strength is None:
        return None
    od = np.minimum(OD_OF_BYTE.astype(np.float64) * (REFERENCE / held(strength)), DARKEST_OD)
    return np.clip(np.rint(256 * 10.0**-od - 1), 0, 255).astype(np.uint8)


def at_reference(rgb: NDArray[np.uint8], table: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """Pixels at the reference strength.

    Parameters
    ----------
    rgb : (..., 3) uint8
    table : (256,) uint8 of `byte_table`, or None

    Returns
    -------
    (..., 3) uint8; the very array where `table` is None
    """
    return rgb if table is None else np.take(table, rgb)
