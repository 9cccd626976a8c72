"""Slow twins of the kernels, by other algorithms: what the fast paths are tested and measured against.

Shapes are measured on pixels instead of outlines, features are made of dictionaries and the json module, ids with
the uuid module.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.store.ids import NAMESPACE
from wsiparse.types import ObjectTable, PromptSet

__all__ = [
    "canonical_ring",
    "coarser",
    "features",
    "ids",
    "label_image",
    "measure_shapes",
    "pixels_of",
    "rings_of",
]


def rings_of(table: ObjectTable, row: int) -> list[NDArray[np.int32]]:
    """The closed rings of one object, (n + 1, 2) int32 each, x then y, field px, its shell first."""
    first, last = int(table.polygon_offsets[row]), int(table.polygon_offsets[row + 1])
    return [table.coords[table.ring_offsets[r] : table.ring_offsets[r + 1]] for r in range(first, last)]


def canonical_ring(ring: NDArray[np.integer]) -> NDArray[np.int32]:
    """As `wsiparse.store.kernels.canonical_shells` of one ring, by trying every rotation in both directions.

    Parameters
    ----------
    ring : (n + 1, 2) of an integer dtype, x then y, px, closed

    Returns
    -------
    (n, 2) int32, open
    """
    points = [(int(y), int(x)) for x, y in ring[:-1]]
    walks = [walk[i:] + walk[:i] for walk in (points, points[::-1]) for i in range(len(points))]
    return np.array([(x, y) for y, x in min(walks)], np.int32).reshape(-1, 2)


def ids(table: ObjectTable, prompts: PromptSet, fingerprint: str) -> list[uuid.UUID]:
    """As `wsiparse.store.ids.object_ids`, one by one."""
    found = []
    for row in range(len(table)):
        ring = canonical_ring(rings_of(table, row)[0])
        name = f"{fingerprint}\n{prompts[int(table.class_id[row]) - 1].class_name}\n".encode()
        name += b"".join(int(v).to_bytes(4, "little", signed=True) for point in ring for v in point)
        found.append(uuid.UUID(bytes=hashlib.sha1(NAMESPACE.bytes + name).digest()[:16], version=5))
    return found


def pixels_of(rings: list[NDArray[np.int32]]) -> NDArray[np.bool_]:
    """The pixels inside crack rings (even-odd rule), over their bounding box with a border of one.

    Parameters
    ----------
    rings : (n + 1, 2) int32 each, x then y, px, closed

    Returns
    -------
    (H, W) bool
    """
    points = np.concatenate(rings)
    low, high = points.min(axis=0) - 1, points.max(axis=0) + 1
    crossings = np.zeros((high[1] - low[1], high[0] - low[0]), np.int64)
    for ring in rings:
        for (x, y), (u, v) in zip(ring[:-1].tolist(), ring[1:].tolist(), strict=True):
            if x == u:  # a vertical edge turns every pixel to its right inside out
                crossings[min(y, v) - low[1] : max(y, v) - low[1], x - low[0] :] += 1
    inside: NDArray[np.bool_] = crossings % 2 == 1
    return inside


def label_image(table: ObjectTable, numbers: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """Each object's number on its pixels, 0 elsewhere.

    Parameters
    ----------
    table : N objects
    numbers : (N,) int32
    size : (width, height) of the canvas, px

    Returns
    -------
    (height, width) int32
    """
    image = np.zeros(size[::-1], np.int32)
    for row, number in enumerate(numbers.tolist()):
        rings = rings_of(table, row)
        x, y = np.concatenate(rings).min(axis=0) - 1
        inside_y, inside_x = np.nonzero(pixels_of(rings))
        image[inside_y + y, inside_x + x] = number
    return image


def coarser(image: NDArray[Any], level: int) -> NDArray[Any]:
    """Level of a pyramid, by looking each pixel up (see `wsiparse.export.ngff`).

    Parameters
    ----------
    image : (H, W) of any dtype
    level : of the pyramid, >= 0

    Returns
    -------
    (rows, columns) of the same dtype
    """
    half = 2**level // 2
    rows, columns = (
        np.minimum(np.arange(0, extent, 2**level) + half, extent - 1) if level else np.arange(extent)
        for extent in image.shape
    )
    found: NDArray[Any] = image[np.ix_(rows, columns)]
    return found


def _crofton(mask: NDArray[np.bool_]) -> float:
    """Perimeter of the pixels, from changes along rows, columns and both diagonals (each 2 x 2 window once).

    Two pixels of the object that touch at a corner only count as two outlines there, as they do in a crack polygon.
    """
    m = mask.astype(np.int64)
    straight = int(np.abs(np.diff(m, axis=0)).sum() + np.abs(np.diff(m, axis=1)).sum())
    a, b, c, d = m[:-1, :-1], m[:-1, 1:], m[1:, :-1], m[1:, 1:]
    diagonal = int((np.abs(a - d) + np.abs(b - c)).sum())
    diagonal += 2 * int(((a == d) & (b == c) & (a != b)).sum())
    return math.pi / 2 * (straight + diagonal / math.sqrt(2)) / 4


def measure_shapes(table: ObjectTable) -> NDArray[np.float64]:
    """(N, 4) float64: as `wsiparse.store.kernels.measure_shapes`, from pixels and shapely's convex hull."""
    import shapely

    out = np.zeros((len(table), 4))
    for row in range(len(table)):
        rings = rings_of(table, row)
        mask, filled = pixels_of(rings), pixels_of(rings[:1])
        outline = _crofton(filled)
        hull = shapely.convex_hull(shapely.MultiPoint(rings[0].astype(np.float64))).area
        y, x = np.nonzero(mask)
        # a pixel is a unit square, whose own variance is 1/12
        low, high = np.linalg.eigvalsh(np.cov(np.stack([x, y]), bias=True) + np.eye(2) / 12)
        out[row] = (
            _crofton(mask),
            min(1.0, 4 * math.pi * filled.sum() / outline**2),
            min(1.0, filled.sum() / hull),
            math.sqrt(max(0.0, 1 - low / high)),
        )
    return out


def _number(value: float, decimals: int) -> float:
    scale, size = 10**decimals, abs(value)
    return math.copysign(math.floor(size * scale + 0.5) / scale if size < 2**53 / scale else float(int(size)), value)


def features(
    table: ObjectTable,
    *,
    frame: Frame,
    prompts: PromptSet,
    names: list[uuid.UUID],
    measurements: list[dict[str, float]],
    decimals: dict[str, int],
    metadata: dict[str, str],
    object_type: str,
    locked: bool,
    offset: tuple[int, int],
    points: bool,
) -> list[dict[str, Any]]:
    """Features as `wsiparse.export.geojson` writes them, as the json module reads them back.

    The arguments are those of its parts: `FeatureStyle`, `object_ids` and `measure`, a name or a number each.
    """

    def place(point: NDArray[Any]) -> list[float]:
        scaled = (math.floor(float(c) * (s * 100.0) + 0.5) for c, s in zip(point, frame.downsample, strict=True))
        return [(c - 100 * o) / 100 for c, o in zip(scaled, offset, strict=True)]

    found = []
    for row, class_id in enumerate(table.class_id.tolist()):
        prompt = prompts[class_id - 1]
        properties: dict[str, Any] = {
            "objectType": object_type,
            "classification": {"name": prompt.class_name, "color": list(prompt.rgb)},
        }
        if metadata:
            properties["metadata"] = metadata
        if locked:
            properties["isLocked"] = True
        if decimals:
            finite = {name: value for name, value in measurements[row].items() if math.isfinite(value)}
            properties["measurements"] = {name: _number(value, decimals[name]) for name, value in finite.items()}
        geometry: dict[str, Any] = {"type": "Point", "coordinates": place(table.centroid[row])}
        if not points:
            rings = [[place(point) for point in ring] for ring in rings_of(table, row)]
            geometry = {"type": "Polygon", "coordinates": rings}
        feature = {"type": "Feature", "id": str(names[row]), "geometry": geometry, "properties": properties}
        found.append(json.loads(json.dumps(feature)))
    return found
