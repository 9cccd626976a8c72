"""Objects as flat columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame, to_level0

__all__ = ["COLUMNS", "OBJECT_COLUMNS", "OD_STEPS", "Column", "ObjectTable"]

#: Steps of a pixel's byte of optical density in the field per OD.
OD_STEPS: Final = 100


class Column(NamedTuple):
    """A column of `ObjectTable`.

    Parameters
    ----------
    name : of the field
    dtype : of its values
    per : what it has a row for: an object, a vertex, or (offsets, one row more) a ring or an object
    width : values a row; 0 for a plain number, -1 for as many as there are class shares
    """

    name: str
    dtype: str
    per: Literal["object", "vertex", "ring offset", "object offset"] = "object"
    width: int = 0

    def shape(self, rows: int, rings: int, vertices: int, shares: int) -> tuple[int, ...]:
        """Shape of the column in a table.

        Parameters
        ----------
        rows, rings, vertices : of the table
        shares : class shares of an object
        """
        length = {"object": rows, "vertex": vertices, "ring offset": rings + 1, "object offset": rows + 1}[self.per]
        return (length,) if self.width == 0 else (length, shares if self.width < 0 else self.width)


#: Every column, once: whatever reads, writes, cuts or joins tables goes by this list.
COLUMNS: Final = (
    Column("coords", "<i4", "vertex", 2),
    Column("ring_offsets", "<i8", "ring offset"),
    Column("polygon_offsets", "<i8", "object offset"),
    Column("class_id", "u1"),
    Column("score", "<f4"),
    Column("area_px", "<i8"),
    Column("centroid", "<f8", width=2),
    Column("first_px", "<i4", width=2),
    Column("class_share", "<f4", width=-1),
    Column("mean_od", "<f4"),
    Column("recognition", "<f4"),
)


#: Those with a row an object.
OBJECT_COLUMNS: Final = tuple(column.name for column in COLUMNS if column.per == "object")


@dataclass(frozen=True, slots=True, repr=False)
class ObjectTable:
    """Objects as flat columns, one row an object, polygons as a ragged array (GeoArrow layout).

    Object k owns rings ``polygon_offsets[k]:polygon_offsets[k + 1]``, the first of them its shell, the rest its
    holes; ring r owns ``coords[ring_offsets[r]:ring_offsets[r + 1]]``, closed (last point == first).

    Parameters
    ----------
    coords : (V, 2) int32, x then y, corner coordinates in field px
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64
    class_id : (N,) uint8, position in the prompt set + 1
    score : (N,) float32, mean probability over the object's pixels, 0-1
    area_px : (N,) int64, pixel count == polygon area in field px^2
    centroid : (N, 2) float64, x then y, field px, mean of pixel centres
    first_px : (N, 2) int32, y then x of the first pixel in raster order: the sort key
    class_share : (N, P) float32, summed confidence per cell prompt as a share of the object's total; (N, 0) if unused
    mean_od : (N,) float32, mean optical density of the object's pixels (see `wsiparse.recognize.stain.od_bytes`)
    recognition : (N,) float32, recognition score of the object's class in the tile that owns its first pixel, 0-1

    `mean_od` and `recognition` are NaN where they are not known, and may be left out to say so for all objects.

    Raises
    ------
    ValueError
        If columns disagree on N, or offsets do not end at the length of what they index.

    Examples
    --------
    >>> import wsiparse
    >>> from wsiparse.slides.synthetic import paint_he
    >>> found = wsiparse.recognise(paint_he(256, 256, seed=1).image, 0.5, ["nuclei"], engine="classical")
    >>> large = found.cells.take(np.flatnonzero(found.cells.area_px > 250))
    >>> 0 < len(large) < len(found.cells)
    True
    """

    coords: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    ring_offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    polygon_offsets: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, np.int64))
    class_id: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))
    score: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    area_px: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    centroid: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2), np.float64))
    first_px: NDArray[np.int32] = field(default_factory=lambda: np.zeros((0, 2), np.int32))
    class_share: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    mean_od: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    recognition: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))

    def __post_init__(self) -> None:
        n = len(self.class_id)
        for name in ("mean_od", "recognition"):
            if len(getattr(self, name)) == 0 < n:
                object.__setattr__(self, name, np.full(n, np.nan, np.float32))
        rows = {name: len(getattr(self, name)) for name in OBJECT_COLUMNS}
        rows["polygon_offsets"] = len(self.polygon_offsets) - 1
        if any(r != n for r in rows.values()):
            raise ValueError(f"columns disagree on the number of objects: {rows}")
        if int(self.polygon_offsets[-1]) != len(self.ring_offsets) - 1 or int(self.ring_offsets[-1]) != len(
            self.coords
        ):
            raise ValueError("offsets do not end at the length of what they index")

    def __len__(self) -> int:
        return len(self.class_id)

    def __repr__(self) -> str:
        return f"ObjectTable({len(self)} objects, {len(self.coords)} vertices)"

    def ragged(self, frame: Frame) -> tuple[NDArray[np.float64], tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Coordinates and offsets as ``shapely.from_ragged_array(POLYGON, *table.ragged(frame))`` reads them.

        Returns
        -------
        coordinates : (V, 2) float64, x then y, level-0 px
        offsets : of rings (R + 1,) and polygons (N + 1,), int64
        """
        return to_level0(self.coords, frame), (self.ring_offsets, self.polygon_offsets)

    def take(self, rows: NDArray[np.int64]) -> ObjectTable:
        """The rows of the given numbers, (n,) int64, in the given order, as a new table."""
        rows = np.asarray(rows, dtype=np.int64)
        ring_index, polygon_offsets = _ragged_take(self.polygon_offsets, rows)
        coord_index, ring_offsets = _ragged_take(self.ring_offsets, ring_index)
        return ObjectTable(
            coords=self.coords[coord_index],
            ring_offsets=ring_offsets,
            polygon_offsets=polygon_offsets,
            **{name: getattr(self, name)[rows] for name in OBJECT_COLUMNS},
        )

    def rows(self, start: int, stop: int) -> ObjectTable:
        """Rows [start, stop) as a table; every column but the offsets is a view."""
        if (start, stop) == (0, len(self)):
            return self
        rings = self.polygon_offsets[start : stop + 1]
        vertices = self.ring_offsets[rings[0] : rings[-1] + 1]
        return ObjectTable(
            coords=self.coords[vertices[0] : vertices[-1]],
            ring_offsets=vertices - vertices[0],
            polygon_offsets=rings - rings[0],
            **{name: getattr(self, name)[start:stop] for name in OBJECT_COLUMNS},
        )

    @staticmethod
    def concat(tables: list[ObjectTable]) -> ObjectTable:
        """The rows of all tables, one after the other."""
        tables = [t for t in tables if len(t)] or tables[:1]
        if not tables:
            return ObjectTable()
        if len(tables) == 1:
            return tables[0]
        return ObjectTable(
            coords=np.concatenate([t.coords for t in tables]),
            ring_offsets=_join_offsets([t.ring_offsets for t in tables]),
            polygon_offsets=_join_offsets([t.polygon_offsets for t in tables]),
            **{name: np.concatenate([getattr(t, name) for t in tables]) for name in OBJECT_COLUMNS},
        )

    def raster_order(self) -> NDArray[np.int64]:
        """(N,) int64: row numbers sorted by first pixel (y, then x), ties by class id."""
        return np.lexsort((self.class_id, self.first_px[:, 1], self.first_px[:, 0])).astype(np.int64)


def _join_offsets(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = [np.diff(p) for p in parts]
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(np.concatenate(lengths), dtype=np.int64)])


def _ragged_take(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Element indices of the chosen ragged rows, and the offsets of the result."""
    lengths = offsets[rows + 1] - offsets[rows]
    new = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths, dtype=np.int64)])
    index = np.arange(int(new[-1]), dtype=np.int64) + np.repeat(offsets[rows] - new[:-1], lengths)
    return index, new
