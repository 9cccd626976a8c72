"""One number for a whole set of objects, independent of the order they were found in."""

from __future__ import annotations

import hashlib

import numpy as np

from wsiparse.types import ObjectTable

__all__ = ["object_set_digest"]


def object_set_digest(table: ObjectTable, columns: bool = False) -> str:
    """SHA-256 over the objects in raster order of their first pixel: class and rings.

    Rings are canonical as they come: each starts at its smallest corner by (y, x), runs in a fixed direction, keeps
    corners only, and follows its predecessor in raster order.

    Parameters
    ----------
    table : objects in any order; no two of one class share a first pixel
    columns : take scores, areas, centroids, class shares and mean OD in as well
    """
    table = table.take(table.raster_order())
    ring_lengths, polygon_lengths = np.diff(table.ring_offsets), np.diff(table.polygon_offsets)
    arrays = [table.class_id, polygon_lengths, ring_lengths, table.coords]
    if columns:
        arrays += [table.score, table.area_px, table.centroid, table.first_px, table.class_share, table.mean_od]
    found = hashlib.sha256()
    for array in arrays:
        found.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()
