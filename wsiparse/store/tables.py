"""Object tables on their way into a file: checked once, sorted."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from wsiparse.types import COLUMNS, ObjectTable, PromptSet

__all__ = ["checked", "raster_sorted"]


def _plain(array: NDArray[Any], dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
    """The array in the one layout that the kernels are compiled for; a copy only where it differs."""
    array = np.asarray(array)
    if array.shape != shape:
        raise ValueError(f"a column of shape {array.shape} should be {shape}")
    if not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ValueError(f"a column of {array.dtype} should be {np.dtype(dtype)}")
    return np.require(array, dtype, ["C", "W"])


def checked(table: ObjectTable, prompts: PromptSet) -> ObjectTable:
    """The same objects in the types and layout of `ObjectTable`, safe to hand to compiled code.

    Raises
    ------
    ValueError
        If a column has another shape or kind of number, offsets do not ascend from 0, an object has no ring, a ring
        has fewer than four vertices or is not closed, coordinates spread over more than 2^31 px, or a class id is not
        in `prompts`.
    """
    n, rings, vertices = len(table), len(table.ring_offsets) - 1, len(table.coords)
    if table.class_share.ndim != 2:
        raise ValueError(f"class shares of shape {table.class_share.shape} should be ({n}, P)")
    sizes = (n, rings, vertices, table.class_share.shape[1])
    result = ObjectTable(
        **{
            c.name: _plain(getattr(table, c.name), np.dtype(c.dtype).newbyteorder("="), c.shape(*sizes))
            for c in COLUMNS
        }
    )
    if result.polygon_offsets[0] != 0 or result.ring_offsets[0] != 0:
        raise ValueError("offsets must start at 0")
    if not n:
        return result
    if np.diff(result.polygon_offsets).min() < 1 or np.diff(result.ring_offsets).min() < 4:
        raise ValueError("every object needs a ring and every ring four vertices")
    # axis by axis: reductions over rows of two are slow
    for values in (result.coords[:, 0], result.coords[:, 1]):
        if not np.array_equal(values[result.ring_offsets[:-1]], values[result.ring_offsets[1:] - 1]):
            raise ValueError("rings must be closed: last vertex equal to the first")
        if int(values.max()) - int(values.min()) >= 1 << 31:
            raise ValueError("coordinates spread over more than 2^31 px")
    if not 1 <= int(result.class_id.min()) <= int(result.class_id.max()) <= len(prompts):
        raise ValueError(f"class ids must be 1..{len(prompts)}")
    return result


def raster_sorted(table: ObjectTable) -> ObjectTable:
    """The rows by first pixel (y, then x), then class; rows equal in all three are ordered by their whole content.

    The result is therefore the same for any order of the rows of `table`.
    """
    y, x, kind = table.first_px[:, 0], table.first_px[:, 1], table.class_id
    if len(table) < 2:
        return table
    equal_y, equal_x = y[1:] == y[:-1], x[1:] == x[:-1]
    behind = (y[1:] > y[:-1]) | (equal_y & ((x[1:] > x[:-1]) | (equal_x & (kind[1:] > kind[:-1]))))
    if bool(behind.all()):
        return table
    order = table.raster_order()
    keys = np.stack([y[order].astype(np.int64), x[order].astype(np.int64), kind[order].astype(np.int64)], axis=1)
    twin = np.concatenate([[False], (keys[1:] == keys[:-1]).all(axis=1), [False]])
    if twin.any():
        # Runs of equal keys never come from one stitched field; they are put in order all the same.
        starts, stops = np.flatnonzero(~twin[:-1] & twin[1:]), np.flatnonzero(twin[:-1] & ~twin[1:]) + 1
        for a, b in zip(starts, stops, strict=True):
            order[a:b] = sorted(order[a:b], key=lambda row: _row_bytes(table, int(row)))
    return table.take(order)


def _row_bytes(table: ObjectTable, row: int) -> bytes:
    one = table.take(np.array([row], np.int64))
    return b"".join(getattr(one, column.name).tobytes() for column in COLUMNS)
