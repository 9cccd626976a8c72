"""Blocks of sums: what objects bring with them (areas, say) instead of how many there are. Pure.

Sums are of whole numbers, so that they are the same bits for any order of objects; areas come in thousandths of um^2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.report.stats.bootstrap import Blocks
from wsiparse.report.stats.density import Squares, squares_over
from wsiparse.report.stats.tissue import Tissue

__all__ = ["UNITS", "Marks", "area_blocks", "marked_blocks", "whole_units"]

Floats = NDArray[np.float64]

#: Whole units of an um^2.
UNITS: Final = 1000


def whole_units(area_um2: Floats) -> NDArray[np.int64]:
    """(N,) int64: areas (N,) float64, um^2, in thousandths, rounded."""
    return np.rint(np.asarray(area_um2, np.float64) * UNITS).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Marks:
    """What is summed in a column.

    Parameters
    ----------
    um : (N, 2) float64, where, x then y, um
    weight : (N,) int64, what each brings; None to count them
    part : position of the compartment that the sum is divided by
    """

    um: Floats
    weight: NDArray[np.int64] | None
    part: int


def marked_blocks(tissue: Tissue, parts: Sequence[Tissue], columns: Sequence[Marks], block_um: float) -> Blocks | None:
    """Blocks of sums of several columns over parts of the tissue.

    Parameters
    ----------
    tissue : all analysed tissue; the blocks start at its upper left corner
    parts : of it, that sums are divided by
    columns : what is summed, each over points in its part
    block_um : edge of a block, um

    Returns
    -------
    Blocks, or None when no tissue was analysed
    """
    full, half = squares_over(tissue, block_um), squares_over(tissue, block_um / 2)
    if full is None or half is None:
        return None
    areas, sums = [], []
    for squares in (full, half):
        lines = squares.lines_um
        areas.append(np.stack([part.area_between(*lines) for part in parts]) * 1e-6)
        sums.append(np.stack([_sums(squares, one) for one in columns]))
    return Blocks(block_um, areas[0], sums[0], tuple(one.part for one in columns), areas[1], sums[1])


def area_blocks(tissue: Tissue, parts: Sequence[Tissue], block_um: float) -> Blocks | None:
    """Blocks whose columns are the areas of the parts, thousandths of um^2, over the area of all parts together.

    Parameters
    ----------
    tissue : all analysed tissue
    parts : of it, without common area
    block_um : edge of a block, um
    """
    full, half = squares_over(tissue, block_um), squares_over(tissue, block_um / 2)
    if full is None or half is None:
        return None
    each = [np.stack([part.area_between(*squares.lines_um) for part in parts]) for squares in (full, half)]
    whole = [area.sum(axis=0, keepdims=True) * 1e-6 for area in each]
    units = [whole_units(area) for area in each]
    return Blocks(block_um, whole[0], units[0], (0,) * len(parts), whole[1], units[1])


def _sums(squares: Squares, marks: Marks) -> NDArray[np.int64]:
    sums = np.zeros(squares.shape[0] * squares.shape[1], np.int64)
    np.add.at(sums, squares.index(marks.um), 1 if marks.weight is None else marks.weight)
    return sums.reshape(squares.shape)
