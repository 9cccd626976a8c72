"""Numbers of each object, computed from its outline.

An object whose area is 0 px is a point of another program: it has none of the numbers that need an outline. Outlines of
a free frame (`wsiparse.coords`), which follow no pixels, have their own length as perimeter.

For a crack polygon of city-block length L with C corners (both over all its rings, px):

Area um^2       pixel count times the area of a pixel: exact.
Perimeter um    pi/8 (1 + sqrt 2) L - pi/(8 sqrt 2) C = 0.948 L - 0.278 C, times the pixel edge. This is the
                Cauchy-Crofton formula with lines in four directions, perimeter = pi/2 mean_d (crossings x spacing):
                rows and columns of pixels cross the outline L times, spaced 1 px; the two families of diagonals,
                spaced 1/sqrt 2 px, cross it twice at every point of the lattice on it but once at a corner, 2 L - C
                times. Over all orientations of an edge the error has mean zero, for any one it lies between -5.2 %
                and +2.6 %; L itself is 27 % too long on average. (Proffitt and Rosen, Computer Graphics and Image
                Processing 10, 1979, come to corner counts for crack codes from the error of straight lines.)
Circularity     4 pi area / perimeter^2 of the shell with its holes filled, at most 1.
Solidity        area of the shell, holes filled, over the area of the convex hull of its corners.
Eccentricity    of the ellipse with the same second moments as the polygon (its pixels taken as squares), by Green's
                theorem; 0 circle, 1 line.
Mean OD         mean optical density of the object's pixels, in OD: see `wsiparse.recognize.stain.od_bytes`.
Detection probability   the object's score: how sure the engine is of its pixels. With engines that
                find nuclei that is the probability of a nucleus, whatever class it is called; with BiomedParse, of what
                was asked.
Recognition score   how sure the engine is that the object's class is there at all, in the tile that owns the object's
                first pixel, 0-1: see `wsiparse.recognize.score`. Only for engines and prompts that have such scores.
Share <class>   the part of each cell class in the object's summed confidence, if there is more than one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.store.kernels import measure_shapes
from wsiparse.store.tables import checked
from wsiparse.types import ObjectTable, PromptSet

__all__ = ["Measurements", "measure", "measure_checked"]

_NAMES: Final = (
    ("Area um^2", 2),
    ("Perimeter um", 2),
    ("Circularity", 3),
    ("Solidity", 3),
    ("Eccentricity", 3),
    ("Mean OD", 3),
    ("Detection probability", 4),
)
_RECOGNITION: Final = ("Recognition score", 4)
_SHARE_DECIMALS: Final = 4


@dataclass(frozen=True, slots=True)
class Measurements:
    """Numbers of each object, as QuPath lists them.

    Parameters
    ----------
    names : M names
    decimals : (M,) int64, decimals worth writing
    values : (N, M) float64; those that are not finite are not written
    """

    names: tuple[str, ...]
    decimals: NDArray[np.int64]
    values: NDArray[np.float64]


def measure(
    table: ObjectTable, prompts: PromptSet, um2_per_px: float, *, judged: bool | None = None, free: bool = False
) -> Measurements:
    """The measurements of the module's list.

    Parameters
    ----------
    table : objects, field px
    prompts : names of the class shares
    um2_per_px : area of a field px, um^2
    judged : whether recognition scores are among them; None: when any object has one
    free : the outlines follow no pixels

    Raises
    ------
    ValueError
        If `um2_per_px` is not finite and positive, or the table cannot be used (see `wsiparse.store.tables.checked`).
    """
    return measure_checked(checked(table, prompts), prompts, um2_per_px, judged=judged, free=free)


def measure_checked(
    table: ObjectTable, prompts: PromptSet, um2_per_px: float, *, judged: bool | None = None, free: bool = False
) -> Measurements:
    """`measure` of a table that `wsiparse.store.tables.checked` returned; the parameters are the same.

    Raises
    ------
    ValueError
        If `um2_per_px` is not finite and positive.
    """
    if not (math.isfinite(um2_per_px) and um2_per_px > 0):
        raise ValueError(f"um2_per_px must be finite and > 0, got {um2_per_px}")
    names, decimals = (list(column) for column in zip(*_NAMES, strict=True))
    shapes = measure_shapes(table.coords, table.ring_offsets, table.polygon_offsets, free)
    shapes[:, 0] *= math.sqrt(um2_per_px)
    area = table.area_px * um2_per_px
    points = table.area_px == 0
    area[points], shapes[points] = np.nan, np.nan
    columns = [area[:, None], shapes, table.mean_od[:, None], table.score[:, None]]
    if np.isfinite(table.recognition).any() if judged is None else judged:
        names.append(_RECOGNITION[0])
        decimals.append(_RECOGNITION[1])
        columns.append(table.recognition[:, None])
    cells = prompts.of_kind("cell")
    all_cells = bool(np.isin(table.class_id, np.array(cells) + 1).all())
    if len(cells) > 1 and all_cells and table.class_share.shape[1] == len(cells):
        names += [f"Share {prompts[i].class_name}" for i in cells]
        decimals += [_SHARE_DECIMALS] * len(cells)
        columns.append(table.class_share)
    return Measurements(tuple(names), np.array(decimals, np.int64), np.concatenate(columns, axis=1, dtype=np.float64))
