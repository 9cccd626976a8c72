"""What a reader must know before the numbers: warnings about this slide, then what is true of every one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from wsiparse.report.pages.words import micro, sentence, significant, times
from wsiparse.types import EngineLimits

__all__ = ["EPITHELIUM_IS_TUMOUR", "TISSUE_BIAS", "TISSUE_RULE", "limits", "warned"]

#: Measured on painted pieces of tissue on glass whose area is known.
TISSUE_RULE: Final = (
    "The analysed area is what stained tissue covers, measured within cells of 8 µm. On pieces of known area it was "
    "right within 2 % from 0.2 mm and within 7 % from 0.06 mm wide, whatever lay beside them. Glass in tissue that is "
    "wider than about 10 µm (lumina, vacuoles of fat, tears) is not tissue; strands thinner than about 20 µm, as those "
    "of fat, were right within 25 %. Objects up to about 16 µm beside tissue are counted."
)

#: The same of results of earlier versions, which counted cells whole.
TISSUE_BIAS: Final = (
    "The analysed area is larger than the tissue: its edge is drawn on cells of 8 µm and grown a little. On squares of "
    "tissue it was 4 % too large at 0.8 mm, 7 % at 0.4 mm, 15 % at 0.2 mm, 35 % at 0.1 mm; glass in gaps of less than "
    "about 0.1 mm counts as tissue, which more than doubled the area of pieces of 0.1 mm. Densities on small or torn "
    "pieces are too low by as much."
)

#: The user's word, not the engine's.
EPITHELIUM_IS_TUMOUR: Final = (
    "Epithelium is called tumour because whoever made this report said so (--tumour-is-epithelium): normal epithelium "
    "on the slide, if there is any, is counted as tumour."
)


def limits(
    area: Mapping[str, Any],
    slide: Mapping[str, Any],
    engine: EngineLimits,
    nothing: str = "",
    *,
    tumour_is_epithelium: bool = False,
) -> dict[str, list[str]]:
    """Warnings about this slide, and sentences about the method, for the top of a report.

    Parameters
    ----------
    area : as in report.json: unreadable_tiles, unreadable_mm2, analysed_mm2, whole_slide, whole_cells,
        drawn_tissue
    slide : facts of the slide; `mpp_notices` tell what is doubtful about its pixel size
    engine : what is to be said of its answers
    nothing : a line where no cell at all was found, see `wsiparse.report.stats.summary.nothing_told`
    tumour_is_epithelium : the user said so

    Returns
    -------
    "warnings" and "sentences"
    """
    warnings = [
        f"Pixel size: {str(notice).rstrip('.')}. Every density and distance depends on it."
        for notice in slide.get("mpp_notices", ())
    ]
    warnings += [micro(sentence(nothing))] if nothing else []
    warnings += engine.warnings
    if area["unreadable_tiles"]:
        warnings.append(
            f"{times(area['unreadable_tiles'], 'tile', 'tiles')} of the slide could not be read: "
            f"{significant(area['unreadable_mm2'])} mm² of tissue are not in any number."
        )
    if area["analysed_mm2"] <= 0:
        warnings.append("No tissue was analysed.")
    told = [EPITHELIUM_IS_TUMOUR] if tumour_is_epithelium else []
    return {
        "warnings": warnings,
        "sentences": [
            *engine.sentences,
            *told,
            *(_of_tissue(area)),
        ],
    }


def _of_tissue(area: Mapping[str, Any]) -> list[str]:
    """What the analysed area is, where it is not all of the slide."""
    if area["whole_slide"]:
        return []
    if area["drawn_tissue"]:
        return [f"The analysed area is tissue as drawn in {area['drawn_tissue']}; glass within it counts."]
    return [TISSUE_BIAS if area["whole_cells"] else TISSUE_RULE]


def warned(numbers: Mapping[str, Any]) -> bool:
    """Whether a count of nothing may be the fault of the slide, its scale or its stain rather than a finding."""
    return bool(numbers.get("limits", {}).get("warnings"))
