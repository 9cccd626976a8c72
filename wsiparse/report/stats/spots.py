"""The squares of a slide that a report shows at full resolution: its hottest, apart from each other. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from wsiparse.report.stats.density import DensityGrid
from wsiparse.report.stats.hotspots import HotSpots
from wsiparse.types import Box

__all__ = ["GRID_UM", "SPOTS", "Spot", "choose_spots", "square_about"]

#: Edge of the squares, um: a field of view of about a high-power objective's.
GRID_UM: Final = 200.0
SPOTS: Final = 8


@dataclass(frozen=True, slots=True)
class Spot:
    """A square of the density grid.

    Parameters
    ----------
    row, column : in the grid, -1 for a square on none
    corner_um : (x, y), um from the slide's corner
    size_um : edge
    box : the same on level 0, px, cut to the slide
    n : objects in it
    density_per_mm2 : over its tissue
    z, q : Gi* and its q value, None where it was not tested
    hot : whether it is a hot spot
    """

    row: int
    column: int
    corner_um: tuple[float, float]
    size_um: float
    box: Box
    n: int
    density_per_mm2: float
    z: float | None
    q: float | None
    hot: bool


def choose_spots(
    grid: DensityGrid,
    class_index: int,
    found: HotSpots,
    *,
    mpp: tuple[float, float],
    slide_size: tuple[int, int],
    most: int = SPOTS,
) -> list[Spot]:
    """At most `most` squares with objects, no two of them neighbours.

    Hot spots come first, hottest first; then other squares by Gi*, then by density where nothing was tested. Ties go
    to the square that comes first in raster order.

    Parameters
    ----------
    class_index : row of the grid's counts
    found : of the same class
    mpp : um per level-0 px
    slide_size : level-0 px
    """
    density = np.where(grid.filled, grid.per_mm2[class_index], -1.0)
    z = np.where(np.isfinite(found.z), found.z, -np.inf)
    order = np.lexsort((np.arange(density.size), -density.ravel(), -z.ravel(), ~found.hot.ravel()))
    taken = np.zeros(np.add(density.shape, 2), np.bool_)
    spots: list[Spot] = []
    for place in order:
        row, column = divmod(int(place), density.shape[1])
        if len(spots) == most:
            break
        if density[row, column] <= 0 or taken[row : row + 3, column : column + 3].any():
            continue
        taken[row + 1, column + 1] = True
        spots.append(_spot(grid, class_index, found, row, column, mpp, slide_size))
    return spots


def _spot(
    grid: DensityGrid,
    class_index: int,
    found: HotSpots,
    row: int,
    column: int,
    mpp: tuple[float, float],
    slide_size: tuple[int, int],
) -> Spot:
    xs, ys = grid.squares.lines_um
    x0, x1 = (_px(v / mpp[0], slide_size[0]) for v in xs[column : column + 2])
    y0, y1 = (_px(v / mpp[1], slide_size[1]) for v in ys[row : row + 2])
    x0, y0 = min(x0, slide_size[0] - 1), min(y0, slide_size[1] - 1)
    tested = bool(np.isfinite(found.z[row, column]))
    return Spot(
        row,
        column,
        (float(xs[column]), float(ys[row])),
        grid.squares.size_um,
        Box(x0, y0, max(x1 - x0, 1), max(y1 - y0, 1)),
        int(grid.counts[class_index, row, column]),
        float(grid.per_mm2[class_index, row, column]),
        float(found.z[row, column]) if tested else None,
        float(found.q[row, column]) if tested else None,
        bool(found.hot[row, column]),
    )


def square_about(
    centre_um: tuple[float, float],
    size_um: float,
    *,
    n: int,
    per_mm2: float,
    mpp: tuple[float, float],
    slide_size: tuple[int, int],
) -> Spot:
    """A square that lies on no grid, about a place.

    Parameters
    ----------
    centre_um : (x, y), um
    size_um : edge
    n, per_mm2 : of what the square is shown for
    mpp : um per level-0 px
    slide_size : level-0 px
    """
    corner = centre_um[0] - size_um / 2, centre_um[1] - size_um / 2
    x0, y0 = (min(_px(v / m, end), end - 1) for v, m, end in zip(corner, mpp, slide_size, strict=True))
    x1, y1 = (_px((v + size_um) / m, end) for v, m, end in zip(corner, mpp, slide_size, strict=True))
    box = Box(x0, y0, max(x1 - x0, 1), max(y1 - y0, 1))
    return Spot(-1, -1, corner, size_um, box, n, per_mm2, None, None, hot=False)


def _px(position: float, end: int) -> int:
    return min(max(round(position), 0), end)
