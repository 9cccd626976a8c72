"""How well found instances agree with annotated ones: detection, overlap and per-class figures.

Counts are kept apart from ratios so that images add up: ``Agreement`` values are summed over the tiles of a data set
and the ratios taken once, which weights every nucleus alike.

Detection matches centroids, one to one, within a radius: among all ways to pair points no further apart than the
radius, the one with the most pairs, and of those the one with the least total distance (an assignment problem, solved
exactly per connected group of candidates by SciPy: Crouse, IEEE Trans. Aerospace and Electronic Systems 52, 1679-1696,
2016). The result does not depend on the order of either list.

Overlap figures follow Kirillov et al., "Panoptic Segmentation" (CVPR 2019) for PQ, where IoU > 0.5 makes the match
unique, and Kumar et al. (IEEE TMI 2017) for AJI, where each annotated instance takes its best-overlapping one.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from wsiparse.types import ObjectTable

__all__ = [
    "MATCH_RADIUS_PX",
    "Agreement",
    "centroids_of",
    "class_agreement",
    "match_points",
    "overlap_agreement",
    "paint_objects",
    "point_agreement",
]

#: 3 um, about half a nucleus, at 0.5 um/px.
MATCH_RADIUS_PX: Final = 6.0

Points = NDArray[np.float64]
Index = NDArray[np.int64]


def _ratio(above: float, below: float) -> float:
    return above / below if below else float("nan")


@dataclass(frozen=True, slots=True)
class Agreement:
    """Sums from which the ratios of one or of many images are taken; values add with ``+``.

    Parameters
    ----------
    truth, found : number of instances
    pairs : centroids matched within the radius
    overlaps : instances matched with IoU > 0.5
    overlap_iou : sum of IoU over those matches
    aji_intersection, aji_union : the two sums of the aggregated Jaccard index, px
    """

    truth: int = 0
    found: int = 0
    pairs: int = 0
    overlaps: int = 0
    overlap_iou: float = 0.0
    aji_intersection: int = 0
    aji_union: int = 0

    def __add__(self, other: Agreement) -> Agreement:
        return Agreement(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def f1(self) -> float:
        """Centroid F1; nan when there is nothing to find and nothing was found."""
        return _ratio(2 * self.pairs, self.truth + self.found)

    @property
    def precision(self) -> float:
        """Share of found centroids that match an annotated one."""
        return _ratio(self.pairs, self.found)

    @property
    def recall(self) -> float:
        """Share of annotated centroids that were found."""
        return _ratio(self.pairs, self.truth)

    @property
    def overlap_f1(self) -> float:
        """F1 of instances matched with IoU > 0.5."""
        return _ratio(2 * self.overlaps, self.truth + self.found)

    @property
    def pq(self) -> float:
        """Panoptic quality of one class: sum of matched IoU over TP + FP / 2 + FN / 2."""
        return _ratio(2 * self.overlap_iou, self.truth + self.found)

    @property
    def aji(self) -> float:
        """Aggregated Jaccard index."""
        return _ratio(self.aji_intersection, self.aji_union)


def centroids_of(labels: NDArray[np.integer]) -> tuple[Index, Points]:
    """Ids and centroids of the labels of an image.

    Parameters
    ----------
    labels : (H, W) of an integer dtype, 0 background

    Returns
    -------
    ids : (N,) int64, ascending
    centroids : (N, 2) float64, x then y, px, means of pixel centres (pixel (0, 0) lies at 0.5, 0.5)

    Raises
    ------
    ValueError
        If a label is negative.
    """
    flat = np.asarray(labels).ravel().astype(np.int64)
    if flat.size and flat.min() < 0:
        raise ValueError("labels must not be negative")
    count = np.bincount(flat, minlength=1)
    count[0] = 0
    ids = np.flatnonzero(count)
    y, x = np.indices(labels.shape, dtype=np.float64)
    sums = [np.bincount(flat, weights=axis.ravel() + 0.5, minlength=count.size)[ids] for axis in (x, y)]
    return ids, np.stack(sums, axis=1) / count[ids, None]


def paint_objects(table: ObjectTable, size: tuple[int, int]) -> NDArray[np.int32]:
    """Label image of a table of objects that do not overlap.

    Rings follow pixel cracks, so along a row an object begins at an upward edge and ends at a downward one (shells
    wind clockwise on screen, holes the other way): one running sum over the edges paints everything.

    Parameters
    ----------
    table : polygons in field px
    size : (width, height) of the image, field px; every object must lie inside

    Returns
    -------
    (height, width) int32: row of the table + 1, 0 is background
    """
    edges = np.zeros((size[1], size[0] + 1), np.int32)
    ring_of_point = np.repeat(np.arange(len(table.ring_offsets) - 1), np.diff(table.ring_offsets))
    object_of_ring = np.repeat(np.arange(len(table)), np.diff(table.polygon_offsets))
    first, second = table.coords[:-1], table.coords[1:]
    upright = (ring_of_point[:-1] == ring_of_point[1:]) & (first[:, 0] == second[:, 0]) & (first[:, 1] != second[:, 1])
    x, y0, y1 = first[upright, 0], first[upright, 1], second[upright, 1]
    number = object_of_ring[ring_of_point[:-1][upright]] + 1
    length = np.abs(y1 - y0)
    start = np.repeat(np.cumsum(length) - length, length)
    y = np.repeat(np.minimum(y0, y1), length) + np.arange(len(start)) - start
    np.add.at(edges, (y, np.repeat(x, length)), np.repeat(np.where(y1 < y0, number, -number), length).astype(np.int32))
    labels: NDArray[np.int32] = np.cumsum(edges, axis=1, dtype=np.int32)[:, :-1]
    return labels


def match_points(first: Points, second: Points, radius: float) -> tuple[Index, Index]:
    """Pair points of two lists one to one, no pair further apart than `radius`.

    Parameters
    ----------
    first, second : (N, 2) and (M, 2) float64, x then y, the same frame
    radius : largest distance of a pair, the points' own unit

    Returns
    -------
    (K,) int64 rows of `first`, ascending, and (K,) int64 rows of `second`: the pairing with the most pairs, and of
    those the one with the least total distance
    """
    none = np.zeros(0, np.int64)
    n, m = len(first), len(second)
    if not n or not m:
        return none, none
    near = cKDTree(first).sparse_distance_matrix(cKDTree(second), radius, output_type="ndarray")
    if not len(near):
        return none, none
    order = np.lexsort((near["j"], near["i"]))
    i, j, distance = near["i"][order].astype(np.int64), near["j"][order].astype(np.int64), near["v"][order]
    edges = coo_array((np.ones(len(i), np.int8), (i, j + n)), shape=(n + m, n + m))
    group = connected_components(edges, directed=False)[1][i]
    # groups of one edge are decided; the rest are small assignment problems
    size = np.bincount(group)[group]
    rows, columns = [i[size == 1]], [j[size == 1]]
    rest = np.flatnonzero(size > 1)
    rest = rest[np.argsort(group[rest], kind="stable")]
    for part in np.split(rest, np.flatnonzero(np.diff(group[rest])) + 1) if len(rest) else []:
        a, pi = np.unique(i[part], return_inverse=True)
        b, pj = np.unique(j[part], return_inverse=True)
        # any pair beats any saving of distance
        forbidden = (radius + 1.0) * (min(len(a), len(b)) + 1)
        cost = np.full((len(a), len(b)), forbidden)
        cost[pi, pj] = distance[part]
        r, c = linear_sum_assignment(cost)
        real = cost[r, c] < forbidden
        rows.append(a[r[real]])
        columns.append(b[c[real]])
    left, right = np.concatenate(rows), np.concatenate(columns)
    order = np.argsort(left)
    return left[order], right[order]


def point_agreement(truth: Points, found: Points, radius: float = MATCH_RADIUS_PX) -> Agreement:
    """Detection only: for annotations that are points.

    Parameters
    ----------
    truth, found : (N, 2) and (M, 2) float64, x then y, the same frame
    radius : furthest apart that two points are paired, the points' own unit
    """
    pairs, _ = match_points(truth, found, radius)
    return Agreement(truth=len(truth), found=len(found), pairs=len(pairs))


def overlap_agreement(
    truth: NDArray[np.integer], found: NDArray[np.integer], radius: float = MATCH_RADIUS_PX
) -> Agreement:
    """Detection and overlap of two label images.

    Parameters
    ----------
    truth, found : (H, W) of an integer dtype, instance ids, 0 is background
    radius : radius of the centroid match, px

    Raises
    ------
    ValueError
        If the shapes differ or a label is negative.
    """
    if truth.shape != found.shape:
        raise ValueError(f"label images differ in shape: {truth.shape} and {found.shape}")
    truth_ids, truth_points = centroids_of(truth)
    found_ids, found_points = centroids_of(found)
    pairs, _ = match_points(truth_points, found_points, radius)
    area_truth = np.bincount(truth.ravel())[truth_ids]
    area_found = np.bincount(found.ravel())[found_ids]
    n, m = len(truth_ids), len(found_ids)

    both = (truth > 0) & (found > 0)
    row = np.searchsorted(truth_ids, truth[both])
    column = np.searchsorted(found_ids, found[both])
    key, shared = np.unique(row * max(m, 1) + column, return_counts=True)
    row, column = np.divmod(key, max(m, 1))
    iou = shared / (area_truth[row] + area_found[column] - shared)
    hit = iou > 0.5

    # the best-overlapping found instance of each annotated one; the first id on ties
    order = np.lexsort((column, -iou, row))
    best = order[np.unique(row[order], return_index=True)[1]]
    lone_truth = np.ones(n, bool)
    lone_truth[row[best]] = False
    lone_found = np.ones(m, bool)
    lone_found[column[best]] = False
    union = (area_truth[row[best]] + area_found[column[best]] - shared[best]).sum()
    return Agreement(
        truth=n,
        found=m,
        pairs=len(pairs),
        overlaps=int(hit.sum()),
        overlap_iou=float(iou[hit].sum()),
        aji_intersection=int(shared[best].sum()),
        aji_union=int(union + area_truth[lone_truth].sum() + area_found[lone_found].sum()),
    )


def class_agreement(
    truth: Points,
    truth_class: NDArray[np.integer],
    found: Points,
    found_class: NDArray[np.integer],
    wanted: int,
    radius: float = MATCH_RADIUS_PX,
    unlabelled: int | None = 0,
) -> Agreement:
    """End-to-end detection of one class: misses, false detections and wrong classes all count.

    All points are paired first, whatever their class; a pair is a hit when both sides are of class `wanted`. An
    annotated one paired with another class is a miss, a found one paired with another class a false detection.
    Found points paired with an annotation of class `unlabelled` are left out: nobody knows what they are.

    Parameters
    ----------
    truth, found : (N, 2) and (M, 2) float64, x then y, the same frame
    truth_class, found_class : (N,) and (M,) of an integer dtype, class codes of one coding
    wanted : the class that is scored
    radius : furthest apart that two points are paired, the points' own unit
    unlabelled : code of annotations without a class, or None
    """
    left, right = match_points(truth, found, radius)
    unknown = np.zeros(len(found), bool)
    if unlabelled is not None:
        unknown[right[truth_class[left] == unlabelled]] = True
    hits = (truth_class[left] == wanted) & (found_class[right] == wanted)
    return Agreement(
        truth=int((truth_class == wanted).sum()),
        found=int(((found_class == wanted) & ~unknown).sum()),
        pairs=int(hits.sum()),
    )
