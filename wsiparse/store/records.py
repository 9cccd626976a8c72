"""A table as one record of bytes: its columns one after the other, raw and little-endian.

Recognition scores are no part of it: they are functions of the recognition grid, which is known after the objects.
"""

from __future__ import annotations

from typing import Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from wsiparse.types import COLUMNS, ObjectTable

__all__ = ["Sizes", "pack", "row_bytes", "unpack"]

# Columns of the widest values first, so that all of them lie at multiples of their width.
_COLUMNS: Final = tuple(
    sorted((c for c in COLUMNS if c.name != "recognition"), key=lambda c: np.dtype(c.dtype).itemsize, reverse=True)
)


class Sizes(NamedTuple):
    """What one has to know to take a record apart."""

    rows: int
    rings: int
    vertices: int
    shares: int  #: class shares per row

    @classmethod
    def of(cls, table: ObjectTable) -> Self:
        """The sizes of a table."""
        return cls(len(table), len(table.ring_offsets) - 1, len(table.coords), table.class_share.shape[1])

    @property
    def payload(self) -> int:
        """Bytes of the columns."""
        return sum(int(np.prod(shape)) * np.dtype(dtype).itemsize for _, dtype, shape in self.columns())

    def columns(self) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, type and shape of every column in order."""
        return [(c.name, c.dtype, c.shape(*self)) for c in _COLUMNS]


def pack(table: ObjectTable) -> list[memoryview]:
    """The bytes of a table's columns, in order."""
    columns = (np.ascontiguousarray(getattr(table, c.name), c.dtype) for c in _COLUMNS)
    return [column.data.cast("B") for column in columns if column.size]


def unpack(payload: bytes, sizes: Sizes) -> ObjectTable:
    """The table of a record; its columns are read-only views of `payload`."""
    columns: dict[str, NDArray[np.generic]] = {}
    position = 0
    for name, dtype, shape in sizes.columns():
        column = np.frombuffer(payload, dtype, int(np.prod(shape)), position).reshape(shape)
        position += column.nbytes
        columns[name] = column.astype(column.dtype.newbyteorder("="), copy=False)
    return ObjectTable(**columns)  # type: ignore[arg-type]


def row_bytes(table: ObjectTable) -> NDArray[np.int64]:
    """(N,) int64, bytes that each row takes in a record."""
    empty = Sizes(0, 0, 0, 0).payload
    per_row = Sizes(1, 0, 0, table.class_share.shape[1]).payload - empty
    per_ring, per_vertex = (Sizes(*size).payload - empty for size in ((0, 1, 0, 0), (0, 0, 1, 0)))
    rings, vertices = np.diff(table.polygon_offsets), np.diff(table.ring_offsets[table.polygon_offsets])
    total: NDArray[np.int64] = per_row + rings * per_ring + vertices * per_vertex
    return total
