"""What a network shall answer, from annotated outlines or points: planes of bytes, one set for each tile.

Planes of a tile, (PLANES, H, W) uint8, 255 = 1:

0-2 red, green, blue
3   foreground: inside a nucleus
4   centre: 1 at the centre of each nucleus, falling to 0 at its outline (`centre_map`)
5   boundary: the outermost pixels of each nucleus and the background pixels beside them
6   weight of the foreground: 0 where nobody knows
7   weight of centre and boundary
8-  one for each class: weight of the class, 0 outside nuclei of the class
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["FIRST_CLASS_PLANE", "Annotation", "planes_of_labels", "planes_of_points"]

FIRST_CLASS_PLANE: Final = 8

_CROSS: Final = ndimage.generate_binary_structure(2, 1)

#: A nucleus of this area has the class weight 1; smaller ones weigh more for each pixel, larger ones less.
_USUAL_AREA_PX: Final = 80.0

#: Around a point of which nothing but the point is known, px: sure nucleus, class known, background begins.
_SURE_PX, _CLASS_PX, _FAR_PX = 3.0, 4.0, 13.0

#: Weight of background between points, where a nucleus may have been overlooked.
_POINT_BACKGROUND: Final = 0.5


@dataclass(frozen=True, slots=True)
class Annotation:
    """Outlines of a tile.

    Parameters
    ----------
    labels : (H, W) int32, 0 is background
    classes : (n + 1,) int64, class (0 unknown, 1.. the class planes) of each label
    partial : whether nuclei without outline may lie anywhere
    rough : (n + 1,) bool, labels that are there, but whose outline is not known, or None
    trust : (H, W) float64, 0-1, how far background is believed to be background, or None for 1
    shape_weight : how far outlines are trusted, 0-1
    """

    labels: NDArray[np.int32]
    classes: NDArray[np.int64]
    partial: bool = False
    rough: NDArray[np.bool_] | None = None
    trust: NDArray[np.float64] | None = None
    shape_weight: float = 1.0


def _edges(labels: NDArray[np.int32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Outermost pixels of each label, and background pixels beside a label; the image's border is no edge."""
    wide = np.pad(labels, 1, mode="edge")
    differs = np.zeros(labels.shape, bool)
    for rows, columns in ((slice(0, -2), slice(1, -1)), (slice(2, None), slice(1, -1))):
        differs |= wide[rows, columns] != labels
        differs |= wide[columns, rows] != labels
    inside = labels > 0
    return differs & inside, differs & ~inside


def centre_map(labels: NDArray[np.int32], inner: NDArray[np.bool_]) -> NDArray[np.float32]:
    """sqrt(b / (b + c)), c the distance to the nucleus's centre and b to its outline: one peak for each nucleus."""
    out = np.zeros(labels.shape, np.float32)
    inside = labels > 0
    if not inside.any():
        return out
    border = ndimage.distance_transform_edt(~inner) + 0.5 if inner.any() else np.full(labels.shape, 1e6)
    ids = np.unique(labels[inside])
    index = np.zeros(int(labels.max()) + 1, np.int64)
    index[ids] = np.arange(len(ids))
    centres = np.asarray(ndimage.center_of_mass(inside, labels, ids), np.float64).reshape(-1, 2)
    nearest = np.rint(centres).astype(np.int64)
    outside = labels[nearest[:, 0], nearest[:, 1]] != ids
    if outside.any():
        centres[outside] = np.asarray(ndimage.maximum_position(border, labels, ids[outside]), np.float64)
    y, x = np.nonzero(inside)
    row = index[labels[y, x]]
    b = border[y, x]
    c = np.hypot(y - centres[row, 0], x - centres[row, 1])
    out[y, x] = np.sqrt(b / (b + c))
    return out


def planes_of_labels(rgb: NDArray[np.uint8], annotation: Annotation, classes: int) -> NDArray[np.uint8]:
    """Planes of a tile with outlines.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    annotation : its outlines
    classes : class planes

    Returns
    -------
    (FIRST_CLASS_PLANE + classes, H, W) uint8
    """
    labels = annotation.labels
    planes = np.zeros((FIRST_CLASS_PLANE + classes, *labels.shape), np.uint8)
    planes[:3] = np.moveaxis(rgb, -1, 0)
    inner, outer = _edges(labels)
    inside = labels > 0
    planes[3][inside] = 255
    planes[4] = np.rint(centre_map(labels, inner) * 255)
    planes[5][inner | outer] = 255
    known = np.ones(labels.shape, np.float64)
    if annotation.partial:
        known = np.where(inside, 1.0, 0.5 * ndimage.binary_dilation(inside, _CROSS, iterations=2))
    if annotation.trust is not None:
        known = np.where(inside, known, known * annotation.trust)
    planes[6] = np.rint(known * 255)
    if annotation.rough is not None:
        known[annotation.rough[labels]] = 0
    planes[7] = np.rint(known * annotation.shape_weight * 255)
    area = np.bincount(labels.ravel(), minlength=len(annotation.classes))
    weight = np.clip(np.sqrt(_USUAL_AREA_PX / np.maximum(area, 1)), 0.4, 1.6) / 1.6
    for k in range(classes):
        planes[FIRST_CLASS_PLANE + k] = np.rint(np.where(annotation.classes == k + 1, weight, 0) * 255)[labels]
    return planes


def planes_of_points(
    rgb: NDArray[np.uint8], points: NDArray[np.float64], point_class: NDArray[np.int64], classes: int, *, partial: bool
) -> NDArray[np.uint8]:
    """Planes of a tile with points: nucleus and class at the points, background far from all of them.

    Parameters
    ----------
    rgb : (H, W, 3) uint8
    points : (N, 2) float64, x then y, px; pixel (0, 0) covers 0 to 1
    point_class : (N,) int64, 0 unknown, 1.. the class planes
    classes : class planes
    partial : whether nuclei without a point may lie anywhere

    Returns
    -------
    (FIRST_CLASS_PLANE + classes, H, W) uint8
    """
    shape = rgb.shape[:2]
    planes = np.zeros((FIRST_CLASS_PLANE + classes, *shape), np.uint8)
    planes[:3] = np.moveaxis(rgb, -1, 0)
    if not len(points):
        planes[6:8] = 0 if partial else round(_POINT_BACKGROUND * 255)
        return planes
    column, row = (np.clip(points[:, k].astype(np.int64), 0, shape[1 - k] - 1) for k in (0, 1))
    seed = np.zeros(shape, np.int64)
    seed[row, column] = np.arange(1, len(points) + 1)
    away, (y, x) = ndimage.distance_transform_edt(seed == 0, return_indices=True)
    nearest = seed[y, x] - 1
    sure = away <= _SURE_PX
    planes[3][sure] = 255
    planes[6][sure] = 255
    if not partial:
        planes[6:8, away > _FAR_PX] = round(_POINT_BACKGROUND * 255)
    for k in range(classes):
        planes[FIRST_CLASS_PLANE + k][(away <= _CLASS_PX) & (point_class[nearest] == k + 1)] = 160
    return planes
