"""The text of GeoJSON features, made as bytes a slice of objects at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.export.text_kernels import centi_texts, format_points, format_polygons
from wsiparse.store.measure import Measurements
from wsiparse.types import ObjectTable, PromptSet

__all__ = ["FeatureStyle", "FeatureText", "ObjectType", "slices", "to_json"]

ObjectType = Literal["annotation", "detection"]

# What is formatted at a time: bounds the memory of the text.
_SLICE_ROWS: Final = 8192
_SLICE_VERTICES: Final = 1 << 18

#: Up to this many coordinates along an axis are kept as text for a whole file (~20 bytes each).
_TABLE_ROWS: Final = 1 << 20


def to_json(value: object) -> str:
    """Compact JSON text, Unicode as it is."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class FeatureStyle:
    """What all features of a file share: everything but id, geometry and numbers.

    Parameters
    ----------
    geometry : geometry of every feature
    object_type, locked : how QuPath takes the objects
    prompts : class names and colours
    metadata : of every feature; empty for cells, which are too many to carry it (440 bytes each in QuPath 0.6 and
        later, a logged exception each in 0.5)
    """

    geometry: Literal["Point", "Polygon"]
    object_type: ObjectType
    locked: bool
    prompts: PromptSet
    metadata: dict[str, str]

    def pieces(self, names: tuple[str, ...]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The constant text between the numbers, in the order that `format_polygons` asks for.

        Parameters
        ----------
        names : names of the measurements

        Returns
        -------
        pieces : (bytes,) uint8, one after the other
        offsets : (n + 1,) int64, where each begins
        """
        texts = [
            '{"type":"Feature","id":"',
            f'","geometry":{{"type":"{self.geometry}","coordinates":',
            ',"measurements":{' if names else "",
            "}}}" if names else "}}",
            *(f"{to_json(name)}:" for name in names),
            "",
            *(self._properties(class_id) for class_id in range(1, len(self.prompts) + 1)),
        ]
        encoded = [text.encode() for text in texts]
        offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int64)
        return np.frombuffer(b"".join(encoded), np.uint8), offsets

    def _properties(self, class_id: int) -> str:
        prompt = self.prompts[class_id - 1]
        properties: dict[str, object] = {
            "objectType": self.object_type,
            "classification": {"name": prompt.class_name, "color": list(prompt.rgb)},
        }
        if self.locked:
            properties["isLocked"] = True
        if self.metadata:
            properties["metadata"] = self.metadata
        return f'}},"properties":{to_json(properties)[:-1]}'


class _Axis:
    """Coordinates of one axis as text: level-0 px with at most two decimals.

    Parameters
    ----------
    size : field px along the axis; coordinates 0..size are made into text once, others when they come
    downsample : level-0 px per field px
    origin : level-0 px to subtract
    """

    def __init__(self, size: int, downsample: float, origin: int) -> None:
        self._scale = downsample * 100.0
        self._origin = int(origin) * 100
        self._table: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None
        self._size = size

    def centi(self, values: NDArray[Any]) -> NDArray[np.int64]:
        """Hundredths of a level-0 px, halves upwards.

        Raises
        ------
        ValueError
            If they are not finite or do not fit in 62 bits.
        """
        scaled = np.floor(values * self._scale + 0.5)
        if len(scaled) and not np.abs(scaled).max() < 2.0**62:
            raise ValueError("coordinates are not finite or too large to write")
        return scaled.astype(np.int64) - self._origin

    def texts(self, values: NDArray[np.int32]) -> tuple[NDArray[np.int32], tuple[NDArray[np.uint8], NDArray[np.int64]]]:
        """Rows of a table of texts for `values`, and the table."""
        if self._size < _TABLE_ROWS and values.min() >= 0 and values.max() <= self._size:
            if self._table is None:
                self._table = _texts(self.centi(np.arange(self._size + 1)))
            return values, self._table
        different, rows = np.unique(values, return_inverse=True)
        return rows.astype(np.int32), _texts(self.centi(different))


def _texts(centi: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return centi_texts(centi, _centi_width(centi))


def _centi_width(centi: NDArray[np.int64]) -> int:
    """Characters that hold any of these hundredths: sign, digits, point."""
    return len(str(int(np.abs(centi).max()))) + 4


class FeatureText:
    """Turns slices of tables into text, in a buffer that is kept between calls."""

    def __init__(self, style: FeatureStyle, frame: Frame, offset: tuple[int, int]) -> None:
        self._style = style
        self._axes = [_Axis(frame.size[i], frame.downsample[i], offset[i]) for i in (0, 1)]
        self._pieces: dict[tuple[str, ...], tuple[NDArray[np.uint8], NDArray[np.int64]]] = {}
        self._buffer = np.empty(1 << 16, np.uint8)

    def polygons(self, table: ObjectTable, ids: NDArray[np.uint8], numbers: Measurements) -> memoryview:
        """The features of a table with at least one row.

        Parameters
        ----------
        table : N objects, field px
        ids : (N, 16) uint8, the bytes of each id
        numbers : numbers of the same objects

        Returns
        -------
        JSON text, valid until the next call
        """
        columns = (table.coords[:, 0], table.coords[:, 1])
        (x, x_table), (y, y_table) = (axis.texts(c) for axis, c in zip(self._axes, columns, strict=True))
        index = table.coords if x is columns[0] and y is columns[1] else np.stack([x, y], axis=1)
        width = x_table[0].shape[1] + y_table[0].shape[1] + 4
        fixed, common = self._common(table, ids, numbers)
        self._reserve(fixed + len(index) * width + len(table.ring_offsets) * 3)
        offsets = (table.ring_offsets, table.polygon_offsets)
        size = format_polygons(self._buffer, index, *offsets, *x_table, *y_table, *common)
        return self._buffer.data[:size]

    def points(self, table: ObjectTable, ids: NDArray[np.uint8], numbers: Measurements) -> memoryview:
        """As `polygons`, each at its centroid.

        Parameters
        ----------
        table : N objects, field px
        ids : (N, 16) uint8, the bytes of each id
        numbers : numbers of the same objects
        """
        centi = np.stack([axis.centi(table.centroid[:, i]) for i, axis in enumerate(self._axes)], axis=1)
        fixed, common = self._common(table, ids, numbers)
        self._reserve(fixed + len(table) * (2 * _centi_width(centi) + 4))
        return self._buffer.data[: format_points(self._buffer, centi, *common)]

    def _common(self, table: ObjectTable, ids: NDArray[np.uint8], numbers: Measurements) -> tuple[int, tuple[Any, ...]]:
        """An upper bound of the bytes of everything but coordinates, and what both kernels take."""
        names = numbers.names
        if names not in self._pieces:
            self._pieces[names] = self._style.pieces(names)
        pieces, offsets = self._pieces[names]
        lengths = np.diff(offsets)
        # 64: the id, brackets, line feed; 24: the longest number and a comma
        fixed = int(lengths[: 4 + len(names)].sum() + lengths[4 + len(names) :].max()) + 64 + 24 * len(names)
        return len(table) * fixed, (table.class_id, ids, numbers.values, numbers.decimals, pieces, offsets)

    def _reserve(self, size: int) -> None:
        if size > len(self._buffer):
            self._buffer = np.empty(size + size // 4, np.uint8)


def slices(table: ObjectTable, room: Callable[[], int]) -> Iterator[slice]:
    """Consecutive runs of rows that fit the text buffer and the current file."""
    vertices = table.ring_offsets[table.polygon_offsets]
    start = 0
    while start < len(table):
        by_size = int(np.searchsorted(vertices, vertices[start] + _SLICE_VERTICES, side="right")) - 1
        stop = min(max(by_size, start + 1), start + _SLICE_ROWS, start + room(), len(table))
        yield slice(start, stop)
        start = stop
