"""Regions in microns that happen to fit on the slide: told by where the tissue is. Pure.

A file in microns read as px lies in the upper left corner, smaller than it was drawn. Its coordinates alone cannot tell
it from regions that were drawn there; but people draw on tissue, and where the regions hold hardly any as px and mostly
tissue as microns, that is told. Where both readings fall on tissue, nothing can be known.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling.cover import covered_mm2, shares_in
from wsiparse.tiling.roi import cut_to_slide

__all__ = ["microns_told"]

#: Largest share of the regions' area that is tissue as px, and smallest as microns, for the file to be told.
_MOST_AS_PX: Final = 0.1
_LEAST_AS_MICRONS: Final = 0.5
#: Pixels of nearly a micron make both readings one.
_LARGEST_MPP: Final = 0.8
#: Regions drawn to the slide's very edge may reach past it a little (relative).
_SLACK: Final = 0.01


def microns_told(
    regions: BaseGeometry,
    tissue: NDArray[np.bool_],
    overview: Frame,
    *,
    slide_size: tuple[int, int],
    mpp: tuple[float, float],
    offset: tuple[float, float] = (0.0, 0.0),
) -> tuple[str, ...]:
    """A line where regions that were read as px seem to be in microns, or none.

    Parameters
    ----------
    regions : union of those that are to be analysed, (multi)polygon in level-0 px, on the slide
    tissue : (h, w) bool, cells of the overview
    overview : their frame
    slide_size : (width, height), level-0 px
    mpp : (x, y) um per level-0 px
    offset : what was added to the file's coordinates, level-0 px
    """
    scale, origin = np.asarray(mpp), np.asarray(offset, np.float64)
    if max(mpp) > _LARGEST_MPP or regions.is_empty:
        return ()
    most = (np.asarray(slide_size) - origin) * scale * (1 + _SLACK)
    if np.any(np.asarray(regions.bounds[2:]) - origin > most):
        return ()  # microns could not reach so far
    as_px = _share_of_tissue(regions, tissue, overview, slide_size)
    if as_px > _MOST_AS_PX:
        return ()
    moved = cut_to_slide(shapely.transform(regions, lambda xy: (xy - origin) / scale + origin), slide_size)
    as_microns = _share_of_tissue(moved, tissue, overview, slide_size)
    if as_microns < _LEAST_AS_MICRONS:
        return ()
    by = f"{mpp[0]:.5g}" if mpp[0] == mpp[1] else f"{mpp[0]:.5g} (x) and {mpp[1]:.5g} (y)"
    return (
        f"the regions may be in microns: read as px, {100 * as_px:.0f} % of their area is tissue; read as microns, "
        f"{100 * as_microns:.0f} % would be. They were read as px. If they are in microns, divide all coordinates by "
        f"{by}, or export them from QuPath, which writes px",
    )


def _share_of_tissue(
    shape: BaseGeometry, tissue: NDArray[np.bool_], overview: Frame, slide_size: tuple[int, int]
) -> float:
    """0-1; 0 for nothing."""
    if shape.is_empty:
        return 0.0
    px = covered_mm2(shares_in(tissue, None), overview, slide_size, (1e3, 1e3), region=shape)
    return px / float(shape.area)
