"""The tissue that was analysed, as exact areas; in microns from the slide's corner. Pure.

What was analysed is what tissue covers of the cells of its mask (of about 8 um) within the slide, cut to a region of
interest and without the tiles that could not be read. Objects count in every cell of the mask. A compartment (tumour,
stroma) is analysed tissue again, with fewer cells or a smaller region, so one noun serves the whole report.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling.cover import WHOLE
from wsiparse.tiling.overlay import Pieces, laid_out, parts_of
from wsiparse.tiling.polygons import coverage, united

__all__ = ["Tissue", "analysed_tissue", "cell_index"]

Floats = NDArray[np.float64]

#: A coordinate this close (in cells) below a grid line lies on it: microns are products of px, rounded.
_ON_LINE = 1e-9
#: Rows of cells measured at a time.
_ROWS = 256


def cell_index(values: Floats, origin: float, step: float, count: int) -> NDArray[np.int64]:
    """Which cell [origin + k step, origin + (k + 1) step) each value lies in, -1 outside [0, count).

    The far end of the last cell belongs to it.

    Parameters
    ----------
    values : (N,) float64, any unit
    origin, step : start and width of the cells, in the unit of `values`
    count : of cells

    Returns
    -------
    (N,) int64
    """
    place = (np.asarray(values, np.float64) - origin) / step
    index = np.floor(place + _ON_LINE)
    index = np.where((index == count) & (place <= count + _ON_LINE), count - 1, index)
    return np.where((index >= 0) & (index < count), index, -1).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Tissue:
    """Cells of the overview that hold analysed tissue, and the region they are cut to.

    Parameters
    ----------
    mask : (h, w) bool, row-major, overview cells in which objects count
    cell_um : (x, y) edge of a cell, um
    slide_um : (width, height) of the slide, um; the last cells may reach past it and count with their part on it
    region : polygonal region of interest, um, or None for no restriction
    cover : (h, w) uint8, how much of each cell of the mask is covered, of 255, at least 1; None for all of them whole

    Raises
    ------
    ValueError
        If `mask` is no (h, w) bool array or empty, `cover` no (h, w) uint8 array, a size is not finite and positive, or
        `region` is no valid polygon.
    """

    mask: NDArray[np.bool_]
    cell_um: tuple[float, float]
    slide_um: tuple[float, float]
    region: BaseGeometry | Pieces | None = None
    cover: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_ or not self.mask.size:
            raise ValueError(f"a tissue mask must be (h, w) bool, got {self.mask.dtype} {self.mask.shape}")
        if self.cover is not None and (self.cover.shape != self.mask.shape or self.cover.dtype != np.uint8):
            raise ValueError(f"cover must be uint8 {self.mask.shape}, got {self.cover.dtype} {self.cover.shape}")
        if not all(math.isfinite(v) and v > 0 for v in (*self.cell_um, *self.slide_um)):
            raise ValueError(f"cell and slide sizes must be > 0 um, got {self.cell_um} and {self.slide_um}")
        if isinstance(self.region, BaseGeometry) and not (
            self.region.is_valid and self.region.geom_type in ("Polygon", "MultiPolygon")
        ):
            raise ValueError(f"a region of interest must be a valid polygon, got {self.region.geom_type}")

    @cached_property
    def pieces(self) -> Pieces | None:
        """The region as polygons that share no area, None for no restriction."""
        if isinstance(self.region, BaseGeometry):
            return Pieces(parts_of([self.region]))
        return self.region

    def area_um2(self, rows: slice = slice(None)) -> Floats:
        """Exact analysed area of each cell, um^2: made anew at every call, 8 bytes a cell.

        Parameters
        ----------
        rows : of cells, without a step

        Returns
        -------
        (h, w) float64, h of `rows`
        """
        height, width = self.mask.shape
        first, last, _ = rows.indices(height)
        area = np.zeros((max(last - first, 0), width))
        xs, ys = (self._cell_lines(axis, count) for axis, count in ((0, width), (1, height)))
        ys = ys[first : last + 1]
        if len(xs) > 1:
            for a, b in self._bands(ys):
                area[a:b, : len(xs) - 1] = self._area_at_once(xs, ys[a : b + 1])
        return area

    @cached_property
    def rows(self) -> slice:
        """Rows of cells that the region can reach; all without one."""
        if self.pieces is None:
            return slice(0, len(self.mask))
        _, low, _, high = self.pieces.bounds
        if math.isnan(low):
            return slice(0, 0)
        first, last = (int(np.floor(y / self.cell_um[1])) for y in (low, high))
        return slice(min(max(first - 1, 0), len(self.mask)), min(max(last + 2, 0), len(self.mask)))

    @cached_property
    def cells(self) -> NDArray[np.bool_]:
        """(h, w) bool: cells with any analysed area."""
        cells = np.zeros(self.mask.shape, np.bool_)
        for top in range(0, len(cells), _ROWS):
            rows = slice(top, min(top + _ROWS, len(cells)))
            cells[rows] = self.area_um2(rows) > 0
        cells.setflags(write=False)
        return cells

    @cached_property
    def area_mm2(self) -> float:
        """Analysed area, mm^2."""
        height, width = self.mask.shape
        xs, ys = (self._cell_lines(axis, count) for axis, count in ((0, width), (1, height)))
        if len(xs) < 2:
            return 0.0
        # a plane of numbers for every piece of tissue that is only measured would be large
        return math.fsum(float(self._area_at_once(xs, ys[a : b + 1]).sum()) for a, b in self._bands(ys)) * 1e-6

    @cached_property
    def bounds_um(self) -> tuple[float, float, float, float] | None:
        """(x0, y0, x1, y1) of the whole cells that hold analysed area, None without any."""
        rows, columns = (np.flatnonzero(self.cells.any(axis=a)) for a in (1, 0))
        if not len(rows):
            return None
        cx, cy = self.cell_um
        return (columns[0] * cx, rows[0] * cy, (columns[-1] + 1) * cx, (rows[-1] + 1) * cy)

    def area_between(self, xs: Floats, ys: Floats) -> Floats:
        """Exact analysed area between lines, um^2.

        Parameters
        ----------
        xs : (nx + 1,) float64, strictly ascending x of vertical lines, um; may lie anywhere
        ys : (ny + 1,) float64, strictly ascending y of horizontal lines, um

        Returns
        -------
        (ny, nx) float64, um^2
        """
        xs, ys = np.asarray(xs, np.float64), np.asarray(ys, np.float64)
        out = np.empty((len(ys) - 1, len(xs) - 1))
        for a, b in self._bands(ys):
            out[a:b] = self._area_at_once(xs, ys[a : b + 1])
        return out

    def _bands(self, ys: Floats) -> Iterator[tuple[int, int]]:
        """Intervals [a, b) between lines, together all of them, each of about `_ROWS` rows of cells or one interval."""
        reach = _ROWS * self.cell_um[1]
        a = 0
        while a < len(ys) - 1:
            b = max(a + 1, min(int(np.searchsorted(ys, ys[a] + reach, "right")) - 1, a + _ROWS, len(ys) - 1))
            yield a, b
            a = b

    def _area_at_once(self, xs: Floats, ys: Floats) -> Floats:
        """`area_between`, with numbers for every cell between the lines in memory."""
        if self.pieces is not None:
            _, low, _, high = self.pieces.bounds
            if not (low < ys[-1] and high > ys[0]):  # nor any of an empty region
                return np.zeros((len(ys) - 1, len(xs) - 1))
        all_x, column = self._merged(xs, 0)
        all_y, row = self._merged(ys, 1)
        if self.pieces is None:
            pieces = np.diff(all_y)[:, None] * np.diff(all_x)
        else:
            pieces = coverage(self.pieces.edges, all_x, all_y)
        on_slide = (row >= 0)[:, None] & (column >= 0)
        cell = np.maximum(row, 0)[:, None], np.maximum(column, 0)
        pieces *= on_slide & self.mask[cell]
        if self.cover is not None:
            pieces *= self.cover[cell] / WHOLE
        pieces = np.add.reduceat(pieces, np.searchsorted(all_x, xs[:-1]), axis=1)
        return np.add.reduceat(pieces, np.searchsorted(all_y, ys[:-1]), axis=0)

    def contains(self, points_um: Floats) -> NDArray[np.bool_]:
        """(N,) bool: which points, (N, 2) float64, x then y, um, lie in a cell of the mask and in the region."""
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        row, column = self.cell_of(points)
        inside: NDArray[np.bool_] = (row >= 0) & (column >= 0)
        inside[inside] = self.mask[row[inside], column[inside]]
        if self.pieces is not None and inside.any():
            inside[inside] = self.pieces.contain(points[inside])
        return inside

    def cell_of(self, points_um: Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Row and column of the cell that each point lies in.

        Parameters
        ----------
        points_um : (N, 2) float64, x then y, um

        Returns
        -------
        row, column : (N,) int64, -1 outside the mask's frame
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        height, width = self.mask.shape
        return (
            cell_index(points[:, 1], 0.0, self.cell_um[1], height),
            cell_index(points[:, 0], 0.0, self.cell_um[0], width),
        )

    def centres_um(self) -> tuple[Floats, Floats]:
        """x (w,) and y (h,) of the cells' centres, float64, um."""
        height, width = self.mask.shape
        x = (np.arange(width, dtype=np.float64) + 0.5) * self.cell_um[0]
        y = (np.arange(height, dtype=np.float64) + 0.5) * self.cell_um[1]
        return x, y

    def only(self, cells: NDArray[np.bool_]) -> Tissue:
        """The part of this tissue in some cells, (h, w) bool."""
        return replace(self, region=self.pieces, mask=self.mask & cells)

    def without(self, shape_um: BaseGeometry) -> Tissue:
        """This tissue outside of a polygon, um."""
        return self.cut_to(laid_out([parts_of([shape_um])], self.ground)[1].rest)

    def cut_to(self, pieces: Pieces) -> Tissue:
        """This tissue in polygons that lie in its region, um."""
        return replace(self, region=pieces)

    @cached_property
    def ground(self) -> NDArray[Any]:
        """(n,) of dtype object: the polygons of the region, or that of the slide, um."""
        return np.array([shapely.box(0, 0, *self.slide_um)], object) if self.pieces is None else self.pieces.polygons

    @cached_property
    def mask_polygons(self) -> NDArray[Any]:
        """(n,) of dtype object: the cells of the mask, cut at the slide's end, as polygons, um."""
        x1, y1 = self.slide_um
        cx, cy = self.cell_um
        # runs of tissue cells, each a box: few, and their union is the tissue
        change = np.diff(np.pad(self.mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
        row, start = np.nonzero(change == 1)
        _, end = np.nonzero(change == -1)
        boxes = shapely.box(start * cx, row * cy, np.minimum(end * cx, x1), np.minimum((row + 1) * cy, y1))
        return parts_of([united(boxes.tolist())])

    def _cell_lines(self, axis: int, count: int) -> Floats:
        """Lines of the cells along an axis, cut at the slide's end."""
        lines = np.arange(count + 1) * self.cell_um[axis]
        return np.unique(np.minimum(lines, self.slide_um[axis]))

    def _merged(self, lines: Floats, axis: int) -> tuple[Floats, NDArray[np.int64]]:
        """Given lines and all cell lines between them, and the cell between each two of them, -1 off the slide."""
        count = self.mask.shape[1 - axis]
        cells = self._cell_lines(axis, count)
        merged = np.union1d(lines, cells[(cells > lines[0]) & (cells < lines[-1])])
        middle = (merged[:-1] + merged[1:]) / 2
        cell = np.floor(middle / self.cell_um[axis])
        return merged, np.where((middle > 0) & (middle < cells[-1]), cell, -1).astype(np.int64)


def analysed_tissue(
    slide_size: tuple[int, int],
    overview: Frame,
    mask: NDArray[np.bool_],
    *,
    roi: BaseGeometry | None = None,
    unreadable: Iterable[BaseGeometry] = (),
    cover: NDArray[np.uint8] | None = None,
) -> Tissue:
    """The analysed tissue of a slide in microns.

    Parameters
    ----------
    slide_size : (width, height), level-0 px
    overview : frame of the mask
    mask : (h, w) bool, tissue cells of the overview
    roi : valid Polygon or MultiPolygon, level-0 px, or None
    unreadable : polygons of tiles that could not be read, level-0 px; their area is taken out
    cover : (h, w) uint8, how much of each cell of the mask is covered, of 255; None for all of them whole
    """
    mpp = np.array(overview.mpp) / np.array(overview.downsample)
    lost, region = parts_of(list(unreadable)), None
    if roi is not None or len(lost):
        ground = parts_of([shapely.box(0, 0, *slide_size) if roi is None else roi])
        region = laid_out([lost], ground)[1].rest if len(lost) else Pieces(ground)
        region = region.transformed(mpp)
    return Tissue(mask, overview.mpp, (slide_size[0] * float(mpp[0]), slide_size[1] * float(mpp[1])), region, cover)
