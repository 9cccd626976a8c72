"""Drawn regions over a picture of the slide: outlines in a colour for each class, what is left out dashed and hatched.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import shapely
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from shapely.geometry.base import BaseGeometry

from wsiparse.tiling.polygons import united

__all__ = ["LEFT_OUT_COLOUR", "DrawnRegion", "draw_regions", "drawn_regions"]

Floats = NDArray[np.float64]

#: Of classes in the order of their names (Okabe and Ito 2008, without the blue of the analysed area's outline).
_COLOURS: Final = ("#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#f0e442")
LEFT_OUT_COLOUR: Final = "#000000"
_DASH_PX: Final = (9.0, 6.0)
_HATCH_PX: Final = 14


@dataclass(frozen=True, slots=True)
class DrawnRegion:
    """A region of a file of annotations.

    Parameters
    ----------
    class_name : "" for none
    geometry : polygonal, any unit
    left_out : whether it is kept out of the analysis
    colour : "#rrggbb"
    """

    class_name: str
    geometry: BaseGeometry
    left_out: bool
    colour: str


def drawn_regions(
    regions: Iterable[tuple[str, BaseGeometry]], is_left_out: Callable[[str], bool]
) -> tuple[DrawnRegion, ...]:
    """Regions with their colours, in the order given.

    Parameters
    ----------
    regions : (class name, polygonal geometry), those left out included
    is_left_out : whether a class is kept out of the analysis
    """
    given = list(regions)
    kept = sorted(name for name in {name for name, _ in given} if not is_left_out(name))
    colour = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(kept)}
    return tuple(DrawnRegion(n, g, n not in colour, colour.get(n, LEFT_OUT_COLOUR)) for n, g in given)


def draw_regions(image: Image.Image, regions: Sequence[DrawnRegion], scale: Sequence[float], width: int = 2) -> None:
    """Draw regions over a picture, in place.

    Parameters
    ----------
    image : RGB
    regions : see `drawn_regions`
    scale : px of the picture per unit of the geometries, x then y
    width : width of the lines, px
    """
    draw = ImageDraw.Draw(image)
    order = sorted(regions, key=lambda r: r.left_out)
    scaled = shapely.transform(np.array([*(r.geometry for r in order), None], object)[:-1], lambda xy: xy * scale)
    # half a px is not seen, and a drawn outline may have as many corners as the slide has pixels
    shapes = shapely.simplify(scaled, 0.5)
    left_out = [shape for shape, region in zip(shapes, order, strict=True) if region.left_out]
    if left_out:
        _hatch(image, united(left_out))
    parts, region_of = shapely.get_parts(shapes, return_index=True)
    rings, part_of = shapely.get_rings(parts, return_index=True)
    if not len(rings):
        return
    points = np.split(*_points_of(rings))
    for xy, k in zip(points, region_of[part_of].tolist(), strict=True):
        region = order[k]
        pieces = _dashes(xy) if region.left_out else [xy]
        for colour, wide in (("#ffffff", width + 2), (region.colour, width)):
            for piece in pieces:
                draw.line(piece.ravel().tolist(), fill=colour, width=wide, joint="curve")


def _points_of(rings: NDArray[Any]) -> tuple[Floats, NDArray[np.int64]]:
    """Corners of all rings, and where each but the first begins."""
    return shapely.get_coordinates(rings), np.cumsum(shapely.get_num_coordinates(rings), dtype=np.int64)[:-1]


def _dashes(points: Floats) -> list[Floats]:
    """Pieces of a line, each as long as a dash, with gaps between them."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    starts = np.arange(0.0, along[-1], sum(_DASH_PX))
    ends = np.minimum(starts + _DASH_PX[0], along[-1])
    first, last = (np.stack([np.interp(at, along, axis) for axis in points.T], axis=1) for at in (starts, ends))
    between = zip(np.searchsorted(along, starts, "right"), np.searchsorted(along, ends, "left"), strict=True)
    return [np.concatenate([[a], points[i:j], [b]]) for a, b, (i, j) in zip(first, last, between, strict=True)]


def _hatch(image: Image.Image, shape: BaseGeometry) -> None:
    """Slanted lines over the inside of a polygon."""
    mask = Image.new("1", image.size)
    inside = ImageDraw.Draw(mask)
    for part in shapely.get_parts(shape):
        for k, ring in enumerate([part.exterior, *part.interiors]):
            inside.polygon([tuple(p) for p in shapely.get_coordinates(ring).tolist()], fill=int(k == 0))
    y, x = np.mgrid[: image.height, : image.width]
    lines = Image.fromarray(((x + y) % _HATCH_PX < 1).astype(np.uint8) * 255)
    where = Image.composite(lines, Image.new("L", image.size), mask)
    image.paste(LEFT_OUT_COLOUR, (0, 0), where)
