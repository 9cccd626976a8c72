"""Annotated and found nuclei compared, field by field: sums that add up over fields. Pure.

Nuclei are paired once over the whole slide, so that a field's border cuts no pair: one to one, centroids at most 3 um
apart, as many pairs as can be and of those the least total distance (`wsiparse.objects.scores.match_points`). An
annotated nucleus belongs to the field that its centroid lies in. A found one belongs to the field of its partner; one
without partner to the field that its centroid lies in; one whose partner lies in no field to none. Outlines are
compared exactly, polygon against polygon.

Sources: Kirillov et al., "Panoptic Segmentation" (CVPR 2019) for PQ; Kumar et al. (IEEE TMI 2017) for AJI.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.objects.scores import match_points

__all__ = ["MATCH_UM", "SUMS", "Area", "FieldSums", "Side", "compare_sides"]

Index = NDArray[np.int64]
Floats = NDArray[np.float64]

#: Centroids further apart than this are no pair: about half a nucleus, um.
MATCH_UM: Final = 3.0

#: Columns of sums: nuclei of each side; pairs of centroids; pairs of IoU > .5 and the sum of their IoU; the two sums of
#: the aggregated Jaccard index, um2.
SUMS: Final = ("truth", "found", "pairs", "overlaps", "iou", "aji_above", "aji_below")


@dataclass(frozen=True, eq=False)
class Side:
    """Nuclei of one side.

    Parameters
    ----------
    points : (N, 2) float64, centroids, x then y, um
    class_of : (N,) int64, position in the classes of both sides; -1 for no class
    shapes : (N,) polygons, um, dtype object, or None where only points are known

    Raises
    ------
    ValueError
        If the columns differ in length.
    """

    points: Floats
    class_of: Index
    shapes: NDArray[Any] | None = None

    def __post_init__(self) -> None:
        if len(self.points) != len(self.class_of) or (self.shapes is not None and len(self.shapes) != len(self)):
            raise ValueError("points, classes and shapes differ in length")

    def __len__(self) -> int:
        return len(self.class_of)


@dataclass(frozen=True, eq=False)
class Area:
    """A field: what was annotated completely (or, in `partial` comparisons, looked at).

    Parameters
    ----------
    name : unique on its slide
    shape : polygon, um
    """

    name: str
    shape: BaseGeometry

    @property
    def mm2(self) -> float:
        """Its area."""
        return float(self.shape.area) / 1e6


@dataclass(frozen=True, eq=False)
class FieldSums:
    """What one field adds.

    Parameters
    ----------
    slide, field : names
    mm2 : area
    nuclei : (7,) float64, `SUMS` of all nuclei
    classes : (C, 7) float64, the same end to end for each class: misses, false detections and wrong classes count
    confusion : (C + 2, C + 2) int64; rows annotated, columns found; the last but one is "no class", the last
        "nothing there"
    outlined : whether both sides have outlines
    truth_rows, found_rows : (n,) and (m,) int64, nuclei of the field
    """

    slide: str
    field: str
    mm2: float
    nuclei: Floats
    classes: Floats
    confusion: NDArray[np.int64]
    outlined: bool
    truth_rows: Index
    found_rows: Index


@dataclass(frozen=True, eq=False)
class _Overlaps:
    """Pairs of outlines that share area, in order of rows; areas of all outlines of both sides, um2."""

    truth: Index
    found: Index
    shared: Floats
    iou: Floats
    truth_area: Floats
    found_area: Floats


def compare_sides(
    slide: str, truth: Side, found: Side, areas: Sequence[Area], n_classes: int, *, partial: bool = False
) -> list[FieldSums]:
    """Sums of every field of a slide, in the order of `areas`.

    Parameters
    ----------
    slide : its name
    truth, found : both sides, um of one frame
    areas : fields; no two share area
    n_classes : classes of both sides
    partial : not every nucleus of the fields is annotated: found nuclei without partner say nothing and are left out
    """
    left, right = match_points(truth.points, found.points, MATCH_UM)
    partner = np.full(len(found), -1, np.int64)
    partner[right] = left
    field_of = _field_of(truth.points, areas)
    own = _field_of(found.points, areas)
    found_field = np.where(partner >= 0, field_of[partner] if len(truth) else -1, -1 if partial else own)
    outlined = truth.shapes is not None and found.shapes is not None and not partial
    overlaps = _overlaps(truth, found) if outlined else None
    out = []
    for k, area in enumerate(areas):
        t, f = np.flatnonzero(field_of == k), np.flatnonzero(found_field == k)
        pairs = _Pairs(truth, found, t, f, partner)
        out.append(
            FieldSums(
                slide=slide,
                field=area.name,
                mm2=area.mm2,
                nuclei=_sums(pairs, overlaps, None),
                classes=np.array([_sums(pairs, overlaps, c) for c in range(n_classes)]).reshape(n_classes, len(SUMS)),
                confusion=_confusion(pairs, n_classes),
                outlined=outlined,
                truth_rows=t,
                found_rows=f,
            )
        )
    return out


@dataclass(frozen=True, eq=False)
class _Pairs:
    """The nuclei of a field and the partner of each found nucleus of the slide."""

    truth: Side
    found: Side
    t: Index
    f: Index
    partner: Index


def _field_of(points: Floats, areas: Sequence[Area]) -> Index:
    """Field of each point, -1 for none; a point on the border of two belongs to the first."""
    out = np.full(len(points), -1, np.int64)
    for k in range(len(areas) - 1, -1, -1):
        out[shapely.intersects_xy(areas[k].shape, points[:, 0], points[:, 1])] = k
    return out


def _overlaps(truth: Side, found: Side) -> _Overlaps:
    assert truth.shapes is not None
    assert found.shapes is not None
    one, other = shapely.STRtree(found.shapes).query(truth.shapes, predicate="intersects")
    order = np.lexsort((other, one))
    t, f = one[order].astype(np.int64), other[order].astype(np.int64)
    shared = shapely.area(shapely.intersection(truth.shapes[t], found.shapes[f]))
    t, f, shared = t[shared > 0], f[shared > 0], shared[shared > 0]
    truth_area, found_area = shapely.area(truth.shapes), shapely.area(found.shapes)
    return _Overlaps(t, f, shared, shared / (truth_area[t] + found_area[f] - shared), truth_area, found_area)


def _sums(pairs: _Pairs, overlaps: _Overlaps | None, wanted: int | None) -> Floats:
    """`SUMS` of a field, of all nuclei or of one class."""
    truth, found, t, f = pairs.truth, pairs.found, pairs.t, pairs.f
    mate = pairs.partner[f]
    hit = mate >= 0
    if wanted is not None:
        # nobody knows what a found nucleus is whose annotation has no class
        known = np.ones(len(f), np.bool_)
        known[hit] = truth.class_of[mate[hit]] >= 0
        f, mate = f[known], mate[known]
        mine = found.class_of[f] == wanted
        hit = mine & (mate >= 0)
        hit[hit] = truth.class_of[mate[hit]] == wanted
        f, t = f[mine], t[truth.class_of[t] == wanted]
        hit = hit[mine]
    out = np.zeros(len(SUMS))
    out[:3] = len(t), len(f), int(hit.sum())
    if overlaps is None:
        out[3:] = np.nan
        return out
    in_t, in_f = np.zeros(len(truth), np.bool_), np.zeros(len(found), np.bool_)
    in_t[t], in_f[f] = True, True
    here = in_t[overlaps.truth] & in_f[overlaps.found]
    a, b, shared, iou = overlaps.truth[here], overlaps.found[here], overlaps.shared[here], overlaps.iou[here]
    # each annotated nucleus takes the found one that overlaps it best, the first of equals
    order = np.lexsort((b, -iou, a))
    best = order[np.unique(a[order], return_index=True)[1]]
    in_t[a[best]], in_f[b[best]] = False, False
    union = (overlaps.truth_area[a[best]] + overlaps.found_area[b[best]] - shared[best]).sum()
    lone = overlaps.truth_area[in_t].sum() + overlaps.found_area[in_f].sum()
    out[3:] = (iou > 0.5).sum(), iou[iou > 0.5].sum(), shared[best].sum(), union + lone
    return out


def _confusion(pairs: _Pairs, n_classes: int) -> NDArray[np.int64]:
    size, nothing = n_classes + 2, n_classes + 1
    out = np.zeros((size, size), np.int64)
    row_of = np.where(pairs.truth.class_of < 0, n_classes, pairs.truth.class_of)
    column_of = np.where(pairs.found.class_of < 0, n_classes, pairs.found.class_of)
    mate = pairs.partner[pairs.f]
    paired = mate >= 0
    rows = np.full(len(pairs.f), nothing, np.int64)
    rows[paired] = row_of[mate[paired]]
    np.add.at(out, (rows, column_of[pairs.f]), 1)
    missed = np.setdiff1d(pairs.t, mate[paired])
    np.add.at(out, (row_of[missed], np.full(len(missed), nothing, np.int64)), 1)
    return out
