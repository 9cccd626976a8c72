"""Tumour, its margin and stroma: from the cells themselves, or from annotated regions. Microns. Pure.

`auto`
    From the cells: see `wsiparse.report.stats.cell_compartments`.

`regions`
    Annotated polygons with classes; which are tumour and stroma the caller says, others are neither. Where classes
    overlap the one with less area wins (tumour drawn inside tissue); areas are exact.

Margin
    Bands of stated distance from the tumour border, outside the tumour. Distances are signed: negative inside. Outside,
    they are to the nearest point of tumour; inside, to the nearest point of analysed tissue that is not tumour, so that
    the edge of the glass, of tissue or of the region of interest is no border.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, Literal

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from wsiparse.report.stats.borders import distance_to, polygon_border
from wsiparse.report.stats.tissue import Tissue
from wsiparse.tiling.overlay import Pieces, laid_out, parts_of

__all__ = [
    "EPITHELIUM",
    "MARGIN_UM",
    "STROMA",
    "TUMOUR",
    "Compartments",
    "Inside",
    "inside_words",
    "outer_border",
    "region_compartments",
]

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: What the inside of a border is called. Cells of epithelium are no tumour until somebody says so.
Inside = Literal["tumour", "epithelium"]
TUMOUR: Final = "tumour"
EPITHELIUM: Final = "epithelium"
STROMA: Final = "stroma"
#: Outer ends of the margin bands, um.
MARGIN_UM: Final = (100.0, 500.0)


@dataclass(frozen=True, eq=False)
class Compartments:
    """A partition of the analysed tissue.

    Parameters
    ----------
    names : of the compartments
    parts : each compartment's tissue, same order; areas come from them
    labels : (h, w) uint8 (uint16 of more than 255) over the overview, position in `names` + 1, 0 where nothing was
        analysed; a cell shared by regions shows the one with most of its area
    tumour : positions in `names` that are tumour
    stroma : positions in `names` that are stroma: with `auto` everything outside the tumour, its margin included; of
        drawn regions those whose class is stroma
    method : how they were found, one sentence
    parameters : the numbers behind it, units in the keys
    reason : why there is only one compartment, "" otherwise
    """

    names: tuple[str, ...]
    parts: tuple[Tissue, ...]
    labels: NDArray[np.unsignedinteger]
    tumour: tuple[int, ...]
    stroma: tuple[int, ...]
    method: str
    parameters: Mapping[str, float]
    reason: str
    _tumour_border: Floats
    _other_border: Floats
    _edges_um: tuple[float, ...] = ()
    _by_region: bool = False

    @property
    def area_mm2(self) -> tuple[float, ...]:
        """Analysed area of each compartment, mm^2."""
        return tuple(part.area_mm2 for part in self.parts)

    def merged(self, positions: Sequence[int]) -> Tissue:
        """Several compartments (at least one) as one piece of tissue."""
        parts = [self.parts[k] for k in positions]
        if not self._by_region:
            return replace(parts[0], mask=np.logical_or.reduce([part.mask for part in parts]))
        pieces = [part.pieces.polygons for part in parts if part.pieces is not None]
        return parts[0].cut_to(Pieces(np.concatenate(pieces)))

    def of_points(self, points_um: Floats) -> NDArray[np.int64]:
        """The compartment of each point.

        Parameters
        ----------
        points_um : (N, 2) float64, x then y, um

        Returns
        -------
        (N,) int64, position in `names`; -1 for none
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        out = np.full(len(points), -1, np.int64)
        if self._by_region:
            for k, part in enumerate(self.parts):
                out[(out < 0) & part.contains(points)] = k
            return out
        row, column = self.parts[0].cell_of(points)
        inside = (row >= 0) & (column >= 0)
        out[inside] = self.labels[row[inside], column[inside]].astype(np.int64) - 1
        return out

    def distance_um(self, points_um: Floats) -> Floats:
        """Signed distance of points to the tumour border, negative in tumour.

        Parameters
        ----------
        points_um : (N, 2) float64, x then y, um

        Returns
        -------
        (N,) float64, um; NaN where there is no border
        """
        points = np.asarray(points_um, np.float64).reshape(-1, 2)
        inside = np.isin(self.of_points(points), self.tumour)
        out = np.empty(len(points))
        out[~inside] = distance_to(points[~inside], self._tumour_border)
        out[inside] = -distance_to(points[inside], self._other_border)
        out[~np.isfinite(out)] = np.nan
        return out


#: "tumour" before these stands for its cells.
_OF_CELLS: Final = re.compile(r"(?i:tumour)(?=[ _]cells?(?![a-z])| and connective cell)")


def inside_words(text: str, inside: Inside) -> str:
    """A text about tumour as one about what the inside is.

    >>> inside_words("no tumour cells were found in the tumour", "epithelium")
    'no epithelial cells were found in the epithelium'
    """
    if inside == TUMOUR:
        return text
    cells = _OF_CELLS.sub(lambda found: "Epithelial" if found[0][0] == "T" else "epithelial", text)
    return cells.replace("tumour", "epithelium").replace("Tumour", "Epithelium")


def region_compartments(
    regions: Sequence[tuple[str, BaseGeometry]],
    tissue: Tissue,
    *,
    tumour: Sequence[str] = (),
    stroma: Sequence[str] = (),
    rest: str = "other tissue",
) -> Compartments:
    """Compartments from annotated regions.

    Parameters
    ----------
    regions : (class name, polygonal geometry in um), any order; regions of one class are joined
    tissue : what was analysed
    tumour, stroma : names of the classes that are; those in neither are neither
    rest : name of the tissue outside all regions; left out when there is none

    Raises
    ------
    ValueError
        If a geometry is not polygonal, or there are no regions.
    """
    classes: dict[str, list[BaseGeometry]] = {}
    for name, geometry in regions:
        if geometry.geom_type not in ("Polygon", "MultiPolygon"):
            raise ValueError(f"region {name!r} must be a polygon, got {geometry.geom_type}")
        classes.setdefault(name, []).append(geometry)
    if not classes:
        raise ValueError("at least one region is needed")
    names = sorted(classes)
    _, layout = laid_out([_in_order(classes[name]) for name in names], tissue.ground)
    parts = [tissue.cut_to(pieces) for pieces in layout.inside]
    left_over = tissue.cut_to(layout.rest)
    if left_over.area_mm2 > 1e-9:
        names.append(rest if rest not in classes else f"{rest} (outside all regions)")
        parts.append(left_over)
    labels = _labels(parts, tissue)
    inner, of_stroma = (tuple(k for k, name in enumerate(names) if name in set(kind)) for kind in (tumour, stroma))
    nothing = np.zeros((0, 2, 2))
    tumour_border = other_border = nothing
    if inner:
        # within analysed tissue: the edge of the slide or of tissue is no border of tumour
        others = [part for k, part in enumerate(parts) if k not in inner]
        if any(part.area_mm2 > 0 for part in others):
            tumour_border = polygon_border(np.concatenate([layout.alone[k].polygons for k in inner]))
            other_border = outer_border(others)
    return Compartments(
        tuple(names),
        tuple(parts),
        labels,
        inner,
        of_stroma,
        "Annotated regions; where classes overlap, the one with less area.",
        MappingProxyType({}),
        "",
        tumour_border,
        other_border,
        _by_region=True,
    )


def _labels(parts: Sequence[Tissue], tissue: Tissue) -> NDArray[np.unsignedinteger]:
    """(h, w): position + 1 of the part with most of each cell, 0 for cells without analysed area."""
    small = len(parts) <= np.iinfo(np.uint8).max
    labels: NDArray[np.unsignedinteger] = np.zeros(tissue.mask.shape, np.uint8 if small else np.uint16)
    largest = np.zeros(tissue.mask.shape)
    for k, part in enumerate(parts):
        rows = part.rows
        area = part.area_um2(rows)
        larger = area > largest[rows]
        labels[rows][larger] = k + 1
        np.copyto(largest[rows], area, where=larger)
    return labels


def _in_order(shapes: Sequence[BaseGeometry]) -> NDArray[Any]:
    """The polygons of one class in a fixed order: the order of annotations changes nothing."""
    parts = shapely.normalize(parts_of(shapes))
    keys = shapely.to_wkb(parts).tolist()
    return parts[sorted(range(len(keys)), key=keys.__getitem__)]


def outer_border(parts: Sequence[Tissue]) -> Floats:
    """The border of analysed tissue outside tumour: what a point inside is measured against.

    Returns
    -------
    (S, 2, 2) float64: start and end of every edge, x then y, level-0 px
    """
    polygons = np.concatenate([part.ground for part in parts])
    if not parts[0].mask.all():
        polygons = laid_out([polygons], parts[0].mask_polygons)[1].inside[0].polygons
    return polygon_border(polygons)
