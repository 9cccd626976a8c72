"""Which cells are neighbours: the Delaunay triangulation of their centroids, without long edges. Pure."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay, QhullError

__all__ = ["LONGEST_UM", "cell_graph"]

#: Longest edge, um: cells further apart are no neighbours, whatever lies between them.
LONGEST_UM: Final = 50.0


def cell_graph(um: NDArray[np.float64], *, longest_um: float = LONGEST_UM) -> NDArray[np.int64]:
    """Edges between neighbours.

    Two cells are neighbours where a circle passes through both and holds no other cell (Delaunay, Bulletin de
    l'Académie des Sciences de l'URSS, 793-800, 1934), and they are no further apart than given.

    Parameters
    ----------
    um : (N, 2) float64, centroids, x then y, um
    longest_um : longest edge

    Returns
    -------
    (E, 2) int64, positions in `um`, the smaller first, in ascending order
    """
    edges = _triangulated(um)
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    apart = np.hypot(*(um[edges[:, 0]] - um[edges[:, 1]]).T)
    kept: NDArray[np.int64] = edges[apart <= longest_um]
    return kept


def _triangulated(um: NDArray[np.float64]) -> NDArray[np.int64]:
    """(E, 2) int64: edges of the triangulation, some of them twice."""
    if len(um) > 3:
        try:
            found = Delaunay(um - um.mean(axis=0))
        except QhullError:  # all on one line
            return _along(um)
        corners = found.simplices.astype(np.int64)
        # a cell on another one is in no triangle: its neighbour is the one that stands for both
        same = found.coplanar[:, [0, 2]].astype(np.int64)
        return np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]], same])
    pairs = [(i, j) for j in range(len(um)) for i in range(j)]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _along(um: NDArray[np.float64]) -> NDArray[np.int64]:
    order = np.lexsort((um[:, 1], um[:, 0])).astype(np.int64)
    return np.stack([order[:-1], order[1:]], axis=1)
