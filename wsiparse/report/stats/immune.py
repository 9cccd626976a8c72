"""Immune infiltrate: densities in tumour and stroma, distances to tumour cells. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsiparse.report.stats.compartments import Compartments

__all__ = [
    "NEAR_UM",
    "Infiltrate",
    "NearestDistances",
    "infiltrate",
    "nearest_distances",
]

Floats = NDArray[np.float64]

#: Distances for which the share of immune cells at most that far from a tumour cell is given, um.
NEAR_UM: Final = (10.0, 20.0, 30.0, 50.0, 100.0)


@dataclass(frozen=True, slots=True)
class Infiltrate:
    """Immune cells in tumour and in stroma.

    Parameters
    ----------
    n_tumour, n_stroma : immune cells in each
    tumour_mm2, stroma_mm2 : their areas
    tumour_per_mm2, stroma_per_mm2 : densities, None without area
    """

    n_tumour: int
    n_stroma: int
    tumour_mm2: float
    stroma_mm2: float
    tumour_per_mm2: float | None
    stroma_per_mm2: float | None


def infiltrate(immune_um: Floats, compartments: Compartments, *, stroma: Sequence[int] | None = None) -> Infiltrate:
    """Immune cells of the tumour and stroma compartments.

    Parameters
    ----------
    immune_um : (N, 2) float64, centroids of immune cells, x then y, um
    compartments : the partition; its `tumour` says what is tumour
    stroma : positions of the compartments that are stroma; by default all that are not tumour

    Raises
    ------
    ValueError
        If a stroma compartment is tumour or does not exist.
    """
    count = len(compartments.names)
    outside = [k for k in range(count) if k not in compartments.tumour] if stroma is None else sorted(set(stroma))
    if any(k in compartments.tumour or not 0 <= k < count for k in outside):
        raise ValueError(f"stroma {outside} must be compartments that are not tumour {compartments.tumour}, of {count}")
    where = compartments.of_points(immune_um)
    n_tumour, n_stroma = (int(np.isin(where, part).sum()) for part in (compartments.tumour, outside))
    mm2 = compartments.area_mm2
    tumour_mm2, stroma_mm2 = (math.fsum(mm2[k] for k in part) for part in (compartments.tumour, outside))
    return Infiltrate(
        n_tumour,
        n_stroma,
        tumour_mm2,
        stroma_mm2,
        n_tumour / tumour_mm2 if tumour_mm2 > 0 else None,
        n_stroma / stroma_mm2 if stroma_mm2 > 0 else None,
    )


@dataclass(frozen=True, eq=False)
class NearestDistances:
    """How far immune cells are from the nearest tumour cell.

    Parameters
    ----------
    distance_um : (N,) float64, in the order given; empty without tumour or immune cells
    reason : why there are none, "" otherwise
    """

    distance_um: Floats
    reason: str = ""

    def quantile_um(self, share: float) -> float | None:
        """The distance that a share (0-1) of the cells does not exceed, None without cells."""
        return float(np.quantile(self.distance_um, share)) if len(self.distance_um) else None

    def share_within(self, distance_um: float) -> float | None:
        """Share of the cells at most so far from a tumour cell, None without cells."""
        n = len(self.distance_um)
        return int((self.distance_um <= distance_um).sum()) / n if n else None

    @property
    def mean_um(self) -> float | None:
        """Mean distance, the same bits for any order of cells."""
        return math.fsum(self.distance_um.tolist()) / len(self.distance_um) if len(self.distance_um) else None


def nearest_distances(immune_um: Floats, tumour_um: Floats) -> NearestDistances:
    """Distance of each immune cell to the nearest tumour cell, centroid to centroid.

    No correction for edges: a tumour cell outside the analysed tissue is not known, so near the edge distances are
    upper bounds.

    Parameters
    ----------
    immune_um : (N, 2) float64, x then y, um
    tumour_um : (M, 2) float64, x then y, um
    """
    immune, tumour = (np.asarray(p, np.float64).reshape(-1, 2) for p in (immune_um, tumour_um))
    if not len(immune) or not len(tumour):
        return NearestDistances(np.zeros(0), f"no {'immune' if not len(immune) else 'tumour'} cells were found")
    # from differences of coordinates: the tree's own distances depend on the order of its points in their last bits
    _, nearest = cKDTree(tumour).query(immune)
    return NearestDistances(np.hypot(*(immune - tumour[nearest]).T))
