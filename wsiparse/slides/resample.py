"""Pyramid level to frame: which level to read, and how its pixels become frame pixels.

One value per frame pixel, whoever asks. A frame pixel depends only on its own global index, the level chosen for the
frame and the level's pixels, all through integer arithmetic; the box of a request decides which pixels are returned
and nothing else. Tiles cut on different grids therefore agree to the byte where they overlap.

Per axis, with `step` the level px per frame px:

step >= 1    area average: frame pixel i is the mean of the level interval [i*step, (i+1)*step].
step < 1     interpolation at the frame pixel's centre with Keys' cubic kernel, a = -1/2
             (R. Keys, IEEE Trans. ASSP 29, 1153-1160, 1981, eq. 15).

Pixels beyond the level's edge repeat the edge, so that the last, partly covered frame pixel keeps its colour; frame
pixels that do not touch the slide at all are background.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.coords import Frame
from wsiparse.slides.levels import whole_step
from wsiparse.types import Box

__all__ = [
    "AxisWeights",
    "ReadLevel",
    "axis_weights",
    "block_mean",
    "choose_level",
    "level_steps",
    "read_frame",
    "resample",
]

#: ``read_level(level, box) -> (height, width, 3) uint8``; `box` is in px of that level and lies inside it.
ReadLevel = Callable[[int, Box], NDArray[np.uint8]]

#: Weights of a fractional axis sum to this. Two axes and a byte need 2 * 11 + 8 bits and the cubic's overshoot
#: (sum of |w| <= 1.25 per axis) stays below 2^31, so 32-bit sums are exact.
_UNIT: Final = 1 << 11

#: A level this little coarser (relative) than the frame still counts as "not coarser".
_LEVEL_TOLERANCE: Final = 1e-2

#: A step this little below 1 is averaged, not interpolated: it is the same scale up to the rounding of level sizes.
_AREA_FROM: Final = 1.0 - _LEVEL_TOLERANCE

#: Largest block that the compiled mean divides exactly (see `wsiparse.slides.kernels`); others are resampled.
_MOST_BLOCK_PX: Final = 1 << 16

#: Longest edge of the level region held at once, px; 4096 x 4096 x 4 bytes = 64 MiB.
_MAX_EDGE: Final = 4096


@lru_cache(maxsize=256)  # asked for with every box
def level_steps(level_sizes: tuple[tuple[int, int], ...]) -> tuple[tuple[float, float], ...]:
    """Level-0 px per level px, per axis, from the sizes.

    Scanners write whole steps and round the size down or up; where one whole number explains both sizes to within a
    pixel it is taken, so that 4443 -> 2221 is a step of 2 and not 2.00045, which would drift by a pixel over the slide.

    Parameters
    ----------
    level_sizes : (width, height) of each level, px, finest first

    Returns
    -------
    (x, y) for each level; (1.0, 1.0) for the first
    """
    return tuple(_steps(level_sizes[0], size) for size in level_sizes)


def _steps(full: tuple[int, int], reduced: tuple[int, int]) -> tuple[float, float]:
    whole = whole_step(full, reduced)
    if whole is not None:
        return float(whole), float(whole)
    return _axis_step(full[0], reduced[0]), _axis_step(full[1], reduced[1])


def _axis_step(full: int, reduced: int) -> float:
    whole = max(1, round(full / reduced))
    if reduced in (full // whole, -(-full // whole)):
        return float(whole)
    return full / reduced


def choose_level(level_sizes: tuple[tuple[int, int], ...], frame: Frame) -> int:
    """The coarsest level that is not coarser than the frame on either axis (within 1 %); 0 if every other is.

    Parameters
    ----------
    level_sizes : (width, height) of each level, px, finest first
    frame : what is to be computed from it
    """
    fx, fy = (f * (1 + _LEVEL_TOLERANCE) for f in frame.downsample)
    steps = level_steps(level_sizes)
    fitting = [i for i, (sx, sy) in enumerate(steps) if sx <= fx and sy <= fy]
    return max(fitting, key=lambda i: (steps[i][0] * steps[i][1], -i), default=0)


@dataclass(frozen=True, slots=True)
class AxisWeights:
    """How n consecutive frame pixels draw on level pixels along one axis.

    Parameters
    ----------
    first : (n,) int64, first level px of each frame px; may be negative or past the level
    weights : (n, taps) int32, weight of level px ``first + tap``
    total : sum of each row of `weights`
    """

    first: NDArray[np.int64]
    weights: NDArray[np.int32]
    total: int


def axis_weights(start: int, count: int, step: float) -> AxisWeights:
    """Integer weights of frame pixels start .. start + count - 1.

    A row of weights depends on its own frame pixel only, not on `start` or `count`. Whole steps get weights of 1,
    which makes the mean exact; other steps get 11-bit weights whose running sums are rounded, so that every row sums
    to the same total and a constant image stays constant.

    Parameters
    ----------
    start : first frame px, any sign
    count : how many, >= 1
    step : level px per frame px, > 0
    """
    index = np.arange(start, start + count, dtype=np.int64)
    if step >= 1 and step == round(step):
        whole = round(step)
        return AxisWeights(index * whole, np.ones((count, whole), np.int32), whole)
    if step >= _AREA_FROM:
        low, high = index * step, (index + 1) * step
        first = np.floor(low).astype(np.int64)
        taps = math.ceil(step) + 1
        edges = first[:, None] + np.arange(taps + 1)
        share = (np.clip(edges, low[:, None], high[:, None]) - low[:, None]) / (high - low)[:, None]
        return AxisWeights(first, np.diff(np.rint(share * _UNIT), axis=1).astype(np.int32), _UNIT)
    centre = (index + 0.5) * step - 0.5
    base = np.floor(centre)
    running = np.cumsum(_keys(centre[:, None] - base[:, None] - np.arange(-1, 3)), axis=1)
    running[:, -1] = 1.0
    weights = np.diff(np.rint(running * _UNIT), axis=1, prepend=0.0)
    return AxisWeights(base.astype(np.int64) - 1, weights.astype(np.int32), _UNIT)


def _keys(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    d = np.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def resample(source: NDArray[np.uint8], origin: tuple[int, int], x: AxisWeights, y: AxisWeights) -> NDArray[np.uint8]:
    """Apply the weights of both axes; level px outside `source` take its nearest edge px.

    Parameters
    ----------
    source : (h, w, 3) uint8, level px
    origin : (x, y) of its first pixel, level px
    x, y : weights along the two axes

    Returns
    -------
    (n, m, 3) uint8, n = len(y.first), m = len(x.first)
    """
    h, w = source.shape[:2]
    bound = 255 * int(np.abs(x.weights).sum(axis=1).max()) * int(np.abs(y.weights).sum(axis=1).max())
    kind: type[np.int32 | np.int64] = np.int32 if bound + x.total * y.total < 2**31 else np.int64
    rows = np.zeros((len(y.first), w, 3), kind)
    for tap in range(y.weights.shape[1]):
        at = np.clip(y.first - origin[1] + tap, 0, h - 1)
        rows += np.multiply(source[at], y.weights[:, tap, None, None], dtype=kind)
    out = np.zeros((len(y.first), len(x.first), 3), kind)
    for tap in range(x.weights.shape[1]):
        at = np.clip(x.first - origin[0] + tap, 0, w - 1)
        out += np.multiply(np.take(rows, at, axis=1), x.weights[:, tap, None], dtype=kind)
    total = x.total * y.total
    rounded: NDArray[np.uint8] = np.clip((out + total // 2) // total, 0, 255).astype(np.uint8)
    return rounded


def block_mean(source: NDArray[np.uint8], step: tuple[int, int]) -> NDArray[np.uint8]:
    """Mean of whole blocks, rounded half up: the fast twin of `resample` for whole steps inside the level.

    Parameters
    ----------
    source : (n * height, m * width, 3) uint8, level px
    step : (width, height) of a block, level px

    Returns
    -------
    (n, m, 3) uint8

    Raises
    ------
    ValueError
        If the source is no whole number of blocks, or a block has more than 2^16 px.
    """
    sx, sy = step
    if sx == sy == 1:
        return source
    # compiled code is loaded by those who average only
    from wsiparse.slides.kernels import block_means, halves

    if source.ndim != 3 or source.shape[2] != 3 or source.shape[0] % sy or source.shape[1] % sx:
        raise ValueError(f"{source.shape} is not whole blocks of {sx} x {sy} RGB px")
    if sx * sy > _MOST_BLOCK_PX:
        raise ValueError(f"blocks of {sx} x {sy} px have more than {_MOST_BLOCK_PX}")
    lines = np.ascontiguousarray(source).reshape(source.shape[0], source.shape[1] * 3)
    means = np.empty((source.shape[0] // sy, source.shape[1] // sx, 3), np.uint8)
    flat = means.reshape(means.shape[0], means.shape[1] * 3)
    if sx == sy == 2:
        halves(lines, flat)
    else:
        block_means(lines, sx, sy, flat)
    return means


def read_frame(
    box: Box,
    frame: Frame,
    level_sizes: tuple[tuple[int, int], ...],
    background: tuple[int, int, int],
    read_level: ReadLevel,
) -> NDArray[np.uint8]:
    """Pixels of a frame, computed from the coarsest level that is fine enough.

    Memory stays bounded however large the region is: it is worked off in pieces of at most 4096 x 4096 level px.

    Parameters
    ----------
    box : what is wanted, frame px; may reach past the slide
    frame : the pixel grid
    level_sizes : (width, height) of each level, px, finest first
    background : colour of frame pixels that do not touch the slide
    read_level : reads a box that lies inside a level, (box.height, box.width, 3) uint8

    Returns
    -------
    (box.height, box.width, 3) uint8
    """
    level = choose_level(level_sizes, frame)
    step_x, step_y = (f / s for f, s in zip(frame.downsample, level_steps(level_sizes)[level], strict=True))
    # 1e-9: a quotient that is whole up to rounding must not add a column that only just touches nothing
    touched = (
        math.ceil(level_sizes[0][0] / frame.downsample[0] - 1e-9),
        math.ceil(level_sizes[0][1] / frame.downsample[1] - 1e-9),
    )
    inside = box.clip((max(1, touched[0]), max(1, touched[1])))
    if inside == box and max(box.width * step_x, box.height * step_y) <= _MAX_EDGE:
        return _read_piece(box, (step_x, step_y), level, level_sizes[level], read_level)
    out = np.empty((box.height, box.width, 3), np.uint8)
    if inside != box:
        out[:] = np.tile(np.array(background, np.uint8), (box.width, 1))  # line by line: pixel by pixel takes longer
    if inside is not None:
        for piece in _pieces(inside, (step_x, step_y)):
            target = out[piece.y - box.y : piece.y1 - box.y, piece.x - box.x : piece.x1 - box.x]
            target[:] = _read_piece(piece, (step_x, step_y), level, level_sizes[level], read_level)
    return out


def _pieces(box: Box, steps: tuple[float, float]) -> Iterator[Box]:
    edge_x, edge_y = (max(1, math.floor(_MAX_EDGE / max(step, 1.0))) for step in steps)
    for y in range(box.y, box.y1, edge_y):
        for x in range(box.x, box.x1, edge_x):
            yield Box(x, y, min(edge_x, box.x1 - x), min(edge_y, box.y1 - y))


def _read_piece(
    box: Box, steps: tuple[float, float], level: int, size: tuple[int, int], read_level: ReadLevel
) -> NDArray[np.uint8]:
    whole = (round(steps[0]), round(steps[1]))
    if steps[0] == whole[0] and steps[1] == whole[1] and min(whole) >= 1 and whole[0] * whole[1] <= _MOST_BLOCK_PX:
        wanted = Box(box.x * whole[0], box.y * whole[1], box.width * whole[0], box.height * whole[1])
        if _clamped(wanted, size) == wanted:
            return block_mean(read_level(level, wanted), whole)
    x, y = axis_weights(box.x, box.width, steps[0]), axis_weights(box.y, box.height, steps[1])
    inside = _clamped(_hull(x, y), size)
    return resample(read_level(level, inside), (inside.x, inside.y), x, y)


def _hull(x: AxisWeights, y: AxisWeights) -> Box:
    left, top = int(x.first[0]), int(y.first[0])
    return Box(
        left, top, int(x.first[-1]) + x.weights.shape[1] - left, int(y.first[-1]) + y.weights.shape[1] - top
    )  # fmt: skip


def _clamped(box: Box, size: tuple[int, int]) -> Box:
    """The level px a box draws on once pixels outside the level are replaced by the nearest edge px."""
    x0, y0 = (min(max(v, 0), n - 1) for v, n in ((box.x, size[0]), (box.y, size[1])))
    x1, y1 = (min(max(v, 1), n) for v, n in ((box.x1, size[0]), (box.y1, size[1])))
    return Box(x0, y0, max(1, x1 - x0), max(1, y1 - y0))
