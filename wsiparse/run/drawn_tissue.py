"""Tissue that the user hands in (`--tissue`): polygons instead of the mask that is found."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.errors import RoiError
from wsiparse.tiling import cells_met, off_slide, polygonal, read_regions, union_on_slide

__all__ = ["DrawnTissue", "read_tissue"]


@dataclass(frozen=True, eq=False)
class DrawnTissue:
    """The tissue of a slide as its user drew it.

    Parameters
    ----------
    shape : valid Polygon or MultiPolygon, level-0 px, on the slide; without what is drawn as Ignore* and the like
    file : name and sha256 of the file
    notes : what was left aside of it, a line each
    """

    shape: BaseGeometry
    file: tuple[str, str]
    notes: tuple[str, ...]

    def within(self, region: BaseGeometry | None) -> BaseGeometry:
        """This tissue in a region of interest, level-0 px, or all of it.

        Raises
        ------
        RoiError
            If they share nothing.
        """
        if region is None:
            return self.shape
        both = polygonal(shapely.intersection(self.shape, region))
        if both.is_empty:
            raise RoiError(
                f"{self.file[0]}: its tissue lies outside all regions of --roi. Draw both on the same slide, or leave "
                "one out."
            )
        return both

    def cells(self, overview: Frame) -> NDArray[np.bool_]:
        """(h, w) bool: cells of the overview that it reaches into."""
        return cells_met(self.shape, overview)


def read_tissue(path: Path, slide_size: tuple[int, int], offset: tuple[int, int]) -> DrawnTissue:
    """Read tissue as `--roi` reads regions: all polygons together, without those of a class that is left out.

    Parameters
    ----------
    path : GeoJSON
    slide_size : (width, height), level-0 px
    offset : added to every point, level-0 px

    Raises
    ------
    RoiError
        If the file cannot be used, or most of it lies off the slide.
    """
    found = read_regions(path, offset=offset)
    off = off_slide(found, slide_size, str(path))
    shape = union_on_slide(found, slide_size, str(path))
    with path.expanduser().open("rb") as data:
        digest = hashlib.file_digest(data, "sha256").hexdigest()
    return DrawnTissue(shape, (path.name, digest), (*found.notes, *off))
