"""Where the objects lie: bounding boxes in memory, outlines fetched from objects.zarr as they are looked at.

Rows of objects.zarr are in raster order of the first pixel, which is the top of an object, so the objects of a band of
rows are one run of rows: two binary searches find it, and the run is compared box by box. 17 bytes an object stay in
memory; outlines come in blocks of rows through a cache of bounded size.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.errors import OutputError
from wsiparse.export.reading import sound_batches
from wsiparse.store.read import ObjectsReader
from wsiparse.types import ObjectTable, PromptKind
from wsiparse.viewer.cache import BoundedCache

__all__ = ["ObjectIndex"]

#: Rows read at a time: a region may have as many vertices as thousands of cells.
_BLOCK_ROWS: Final[dict[PromptKind, int]] = {"cell": 1 << 14, "region": 1 << 7}

#: Outlines kept, bytes of coordinates.
_OUTLINE_BYTES: Final = 96 << 20


class ObjectIndex:
    """The objects of one kind, found by place.

    Parameters
    ----------
    reader : the objects
    kind : which of them

    Attributes
    ----------
    boxes : (N, 4) int32, x0, y0, x1, y1 (half-open), px of the kind's frame
    class_id : (N,) uint8

    Raises
    ------
    OutputError
        If objects.zarr is damaged.
    """

    def __init__(self, reader: ObjectsReader, kind: PromptKind) -> None:
        self.kind, self.frame = kind, reader.frames[kind]
        self._reader = reader
        self._rows = _BLOCK_ROWS[kind]
        count = reader.count(kind)
        self.boxes = np.empty((count, 4), np.int32)
        self.class_id = np.empty(count, np.uint8)
        done = 0
        for table in sound_batches(reader, kind):
            rows = slice(done, done + len(table))
            self.boxes[rows] = _boxes(table)
            self.class_id[rows] = table.class_id
            done += len(table)
        if np.any(np.diff(self.boxes[:, 1]) < 0):
            raise OutputError(f"{reader.path}: damaged: {kind}s are not in raster order. Run the slide again.")
        self._tallest = int((self.boxes[:, 3] - self.boxes[:, 1]).max(initial=0))
        self._blocks: BoundedCache[ObjectTable] = BoundedCache(_OUTLINE_BYTES, lambda table: table.coords.nbytes)

    def __len__(self) -> int:
        return len(self.class_id)

    def rows_in(self, x0: float, y0: float, x1: float, y1: float) -> NDArray[np.int64]:
        """(n,) int64: rows whose bounding box meets [x0, x1) x [y0, y1), px of the frame, ascending."""
        top = self.boxes[:, 1]
        first = int(np.searchsorted(top, y0 - self._tallest))
        boxes = self.boxes[first : int(np.searchsorted(top, y1))]
        met = (boxes[:, 3] > y0) & (boxes[:, 2] > x0) & (boxes[:, 0] < x1)
        return np.flatnonzero(met) + first

    def outlines(self, rows: NDArray[np.int64]) -> ObjectTable:
        """The rows of the given numbers, (n,) int64, ascending.

        Raises
        ------
        OutputError
            If objects.zarr is damaged or gone.
        """
        taken = []
        for block in np.unique(rows // self._rows).tolist():
            start = block * self._rows
            table = self._blocks.get(block, partial(self._read, start))
            taken.append(table.take(rows[(rows >= start) & (rows < start + self._rows)] - start))
        return ObjectTable.concat(taken)

    def _read(self, start: int) -> ObjectTable:
        return self._reader.table(self.kind, start, min(start + self._rows, len(self)))


def _boxes(table: ObjectTable) -> NDArray[np.int32]:
    if not len(table):
        return np.empty((0, 4), np.int32)
    starts = table.ring_offsets[table.polygon_offsets[:-1]]
    x, y = np.ascontiguousarray(table.coords.T)
    ends = (np.minimum, x), (np.minimum, y), (np.maximum, x), (np.maximum, y)
    return np.stack([take.reduceat(values, starts) for take, values in ends], axis=1)
