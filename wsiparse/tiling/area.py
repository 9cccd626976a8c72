"""Where objects are counted: tissue, restricted to a region of interest. Pure; level-0 px unless said otherwise.

The tissue mask lives on a coarse overview frame (about 8 um), and with it how much of each cell tissue covers; the
region of interest is exact geometry. The analysed area is what tissue covers within the region. An object counts when
its centroid lies in the region and in a cell of the mask, which are those that tissue touches and those around them
(`cover`). The field is computed a margin further out, so that counted objects are whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling.cover import covered_mm2, shares_in
from wsiparse.tiling.geometry import cells_within
from wsiparse.tiling.masks import within
from wsiparse.types import Box

__all__ = ["AnalysisArea", "whole_slide_area"]


@dataclass(frozen=True, eq=False)
class AnalysisArea:
    """Tissue cells of an overview, restricted to a region of interest.

    Parameters
    ----------
    slide_size : (width, height), level-0 px; the overview's last column and row may reach past it
    overview : frame of the tissue mask; must cover the slide
    tissue : (h, w) bool, row-major, overview px ("cells") in which objects count
    roi : polygonal region of interest, level-0 px, or None for no restriction
    margin_um : how far beyond the analysed area the field is computed, um
    cover : (h, w) uint8, how much of each cell of `tissue` is covered, of 255; None for all of them whole

    Raises
    ------
    ValueError
        If `tissue` is no bool array or `cover` no uint8 array of the overview's size, `margin_um` is negative or not
        finite, the overview does not cover the slide, or `roi` is no valid polygon.
    """

    slide_size: tuple[int, int]
    overview: Frame
    tissue: NDArray[np.bool_]
    roi: BaseGeometry | None = None
    margin_um: float = 50.0
    cover: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        width, height = self.overview.size
        if self.tissue.shape != (height, width) or self.tissue.dtype != np.bool_:
            raise ValueError(f"tissue must be bool {(height, width)}, got {self.tissue.dtype} {self.tissue.shape}")
        if self.cover is not None and (self.cover.shape != (height, width) or self.cover.dtype != np.uint8):
            raise ValueError(f"cover must be uint8 {(height, width)}, got {self.cover.dtype} {self.cover.shape}")
        if not (math.isfinite(self.margin_um) and self.margin_um >= 0):
            raise ValueError(f"the margin must be >= 0 um, got {self.margin_um}")
        covered = [n * f for n, f in zip(self.overview.size, self.overview.downsample, strict=True)]
        # 1e-6: a quotient of float sizes may miss the last pixel by rounding
        if any(c < (1 - 1e-6) * s for c, s in zip(covered, self.slide_size, strict=True)):
            raise ValueError(f"an overview of {covered} level-0 px does not cover a slide of {self.slide_size}")
        if self.roi is not None:
            if not self.roi.is_valid or self.roi.geom_type not in ("Polygon", "MultiPolygon"):
                raise ValueError(f"a region of interest must be a valid polygon, got {self.roi.geom_type}")
            shapely.prepare(self.roi)

    def area_mm2(self, slide_mpp: tuple[float, float]) -> float:
        """Exact area that tissue covers within the slide and the region of interest, mm^2.

        Parameters
        ----------
        slide_mpp : (x, y), um per level-0 px
        """
        return covered_mm2(self.shares, self.overview, self.slide_size, slide_mpp, region=self.roi)

    @property
    def shares(self) -> NDArray[np.uint8]:
        """(h, w) uint8, made anew: how much of each cell counts as area, of 255; 0 outside the mask."""
        return shares_in(self.tissue, self.cover)

    def keeps(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which points lie in a tissue cell and in the region of interest.

        Parameters
        ----------
        points : (N, 2) of a float dtype, x then y, level-0 px

        Returns
        -------
        (N,) bool; False outside the slide
        """
        points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
        inside = np.all((points >= 0) & (points < np.array(self.slide_size, np.float64)), axis=1)
        cells = np.floor(np.where(inside[:, None], points, 0.0) / self.overview.downsample).astype(np.int64)
        column = np.minimum(cells[:, 0], self.overview.size[0] - 1)
        row = np.minimum(cells[:, 1], self.overview.size[1] - 1)
        kept: NDArray[np.bool_] = inside & self.tissue[row, column]
        if self.roi is not None:
            kept[kept] = shapely.contains_xy(self.roi, points[kept, 0], points[kept, 1])
        return kept

    def field_mask(self, box: Box, frame: Frame) -> NDArray[np.bool_]:
        """Which pixels of a frame are computed: those whose centre lies in a `computed` cell.

        A pixel's answer depends on its position only, never on the box it is asked with.

        Parameters
        ----------
        box : px of `frame`; may reach past it, where the answer is False
        frame : the field's frame

        Returns
        -------
        (box.height, box.width) bool
        """
        rows, columns = self._cells_of(box, frame)
        out = np.zeros((box.height, box.width), np.bool_)
        valid_rows, valid_columns = np.flatnonzero(rows >= 0), np.flatnonzero(columns >= 0)
        if len(valid_rows) and len(valid_columns):
            picked = self.computed[np.ix_(rows[valid_rows], columns[valid_columns])]
            out[valid_rows[0] : valid_rows[-1] + 1, valid_columns[0] : valid_columns[-1] + 1] = picked
        return out

    def meets(self, box: Box, frame: Frame) -> bool:
        """Whether `field_mask` has any True in a box, without building it."""
        rows, columns = (np.unique(cells[cells >= 0]) for cells in self._cells_of(box, frame))
        return bool(self.computed[np.ix_(rows, columns)].any())

    @cached_property
    def computed(self) -> NDArray[np.bool_]:
        """(h, w) bool, overview px: cells within the margin of tissue and within the margin of the region."""
        mx, my = self.overview.mpp
        # distances run between cell centres: a cell's diagonal more reaches every point within the margin
        reach = self.margin_um + float(np.hypot(mx, my))
        if not self.tissue.any():
            return np.zeros_like(self.tissue)
        near = within(self.tissue, reach, sampling=(my, mx))
        if self.roi is not None:
            # distances are round in microns
            scale = np.array([mx, my]) / np.array(self.overview.downsample)
            in_um = shapely.transform(self.roi, lambda xy: xy * scale)
            near = cells_within(in_um, self.margin_um, (mx, my), near.shape, near)
        result: NDArray[np.bool_] = near
        result.setflags(write=False)
        return result

    def _cells_of(self, box: Box, frame: Frame) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Overview row of each pixel row and column of each pixel column of a box; -1 outside the frame."""
        axes = []
        for start, count, axis in ((box.y, box.height, 1), (box.x, box.width, 0)):
            index = np.arange(start, start + count, dtype=np.int64)
            cell = np.floor((index + 0.5) * frame.downsample[axis] / self.overview.downsample[axis]).astype(np.int64)
            cell = np.minimum(cell, self.overview.size[axis] - 1)
            axes.append(np.where((index >= 0) & (index < frame.size[axis]), cell, -1))
        return axes[0], axes[1]


def whole_slide_area(
    slide_size: tuple[int, int], overview: Frame, roi: BaseGeometry | None = None, margin_um: float = 50.0
) -> AnalysisArea:
    """An analysis area without a tissue mask: everything, or everything in the region of interest."""
    everything = np.ones((overview.size[1], overview.size[0]), np.bool_)
    return AnalysisArea(slide_size, overview, everything, roi, margin_um)
