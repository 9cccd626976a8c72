"""Which nucleus has which label: annotations laid over the nuclei that were found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import shapely
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from wsiparse.errors import RoiError
from wsiparse.measure.matching import MATCH_UM
from wsiparse.measure.results import Nuclei
from wsiparse.measure.truth import Truth
from wsiparse.objects.scores import match_points

__all__ = ["Labelled", "label_nuclei"]

#: Annotations as near as this are of one nucleus, um.
_SAME_UM: Final = 0.5


@dataclass(frozen=True, eq=False)
class Labelled:
    """Nuclei with a label.

    Parameters
    ----------
    rows : (n,) int64, of the slide's nuclei, ascending
    names : class of each
    unused : annotations that met no nucleus
    """

    rows: NDArray[np.int64]
    names: tuple[str, ...]
    unused: int


def label_nuclei(truth: Truth, nuclei: Nuclei, mpp: tuple[float, float]) -> Labelled:
    """The label of each nucleus that was annotated.

    A point, or the middle of an outline, labels the nucleus within 3 um that it is paired with, one to one; else the
    one that it lies in, if no other annotation labels that. A larger area with a class labels every nucleus whose
    centroid it holds, unless a point or an outline says otherwise.

    Parameters
    ----------
    truth : annotations; those without a class say nothing
    nuclei : found ones, with outlines, um
    mpp : um per level-0 px

    Raises
    ------
    RoiError
        If two annotations of one place, or two areas, give a nucleus two labels.
    """
    assert nuclei.shapes is not None
    named = np.flatnonzero([bool(name) for name in truth.names])
    points, names = truth.points[named] * np.array(mpp), [truth.names[k] for k in named]
    _check_places(points, names, truth)
    row_of = np.full(len(named), -1, np.int64)
    left, right = match_points(points, nuclei.points, MATCH_UM)
    row_of[left] = right
    loose = np.flatnonzero(row_of < 0)
    at, shape = shapely.STRtree(nuclei.shapes).query(shapely.points(points[loose]), predicate="intersects")
    free = ~np.isin(shape, right)
    # two of different classes in one nucleus: nobody knows which it is
    inside: dict[int, set[str]] = {}
    for k, row in zip(loose[at[free]].tolist(), shape[free].tolist(), strict=True):
        inside.setdefault(row, set()).add(names[k])
        row_of[k] = row
    found = {int(right[j]): names[int(k)] for j, k in enumerate(left)}
    found |= {row: next(iter(classes)) for row, classes in inside.items() if len(classes) == 1}
    spoken = set(found) | set(inside)
    for name, region in truth.regions:
        area = shapely.transform(region, lambda xy: xy * np.array(mpp))
        held = np.flatnonzero(shapely.contains_xy(area, nuclei.points[:, 0], nuclei.points[:, 1]))
        for row in held.tolist():
            if row not in spoken and found.setdefault(row, name) != name:
                x, y = nuclei.points[row]
                raise _clash(truth, x, y, found[row], name)
    rows = np.array(sorted(found), np.int64)
    return Labelled(rows, tuple(found[int(k)] for k in rows), int((row_of < 0).sum()))


def _check_places(points: NDArray[np.float64], names: Sequence[str], truth: Truth) -> None:
    if len(points):
        for one, other in cKDTree(points).query_pairs(_SAME_UM, output_type="ndarray").tolist():
            if names[one] != names[other]:
                x, y = points[one].tolist()
                raise _clash(truth, x, y, names[one], names[other])


def _clash(truth: Truth, x: float, y: float, one: str, other: str) -> RoiError:
    return RoiError(
        f"{truth.source}: one nucleus has two labels, {one} and {other}, at {x:.0f}, {y:.0f} um. Keep one label for it."
    )
