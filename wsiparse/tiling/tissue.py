"""Where the tissue is, from a low-resolution picture of the slide. Pure.

Light that glass lets through is the yardstick: optical density relative to the estimated background,
OD = ln(background / intensity) per channel (Beer-Lambert), and the densest channel decides, so that pink, blue and
brown stains are judged alike. Made for about 8 um per px, where nuclei have merged into tissue colour and glass has
lost its noise; all lengths are in microns, so other scales work.

Pen, ink and black borders are told from tissue by colour *and* by being at least a stroke wide: hematoxylin and eosin
absorb green most, DAB absorbs blue most, none of the pens does the former without the latter.

The overview of a large slide has tens of millions of cells: densities are made strip by strip, and made again where
they are needed again, inks are kept as bits, and medians of grey levels are read off histograms. Nothing of it changes
the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.tiling.cover import tissue_cover
from wsiparse.tiling.masks import (
    close_gaps,
    connected,
    dilate,
    drop_small,
    erode,
    fill_holes,
    in_strips,
    strips,
    within,
)

__all__ = ["FoundTissue", "background_colour", "find_tissue", "otsu_threshold"]

#: Threshold on OD: half of Otsu's, but at least this (and five times the noise of glass) and at most that.
_LEAST_OD: Final = 0.025
_MOST_OD: Final = 0.10
_NOISE_SIGMAS: Final = 5.0

#: Lengths in um, areas in um^2.
_SMOOTH_UM: Final = 6.0
_CLOSE_UM: Final = 40.0
_STROKE_UM: Final = 45.0
_FRINGE_UM: Final = 40.0
_LARGEST_HOLE_UM2: Final = 30_000.0
#: Dropped before gaps are closed, so that scattered dust does not join up; and dropped at the end.
_DROPPED_UM2: Final = (300.0, 4_000.0)

#: Glass that fills less of the picture than this share is not relied on.
_LEAST_GLASS: Final = 0.003
_GLASS_IF_NONE: Final = 243.0
#: Largest standard deviation of glass in a 3 x 3 neighbourhood, grey levels; tissue has more.
_GLASS_ROUGHNESS: Final = 3.0
#: Grey levels between the colour of glass and what counts as glass.
_GLASS_SPREAD: Final = 8

#: SciPy cuts a Gaussian off at this many sigmas.
_GAUSSIAN_REACH: Final = 4.0

#: Kinds of ink; the first is the black one. Where a kind is certain is bit k of a byte, where it is faint bit k + 4.
_INKS: Final = 4
_BLACK: Final = 0


@dataclass(frozen=True, eq=False)
class FoundTissue:
    """Where tissue is on an overview.

    Parameters
    ----------
    shares : (h, w) uint8, how much of each cell tissue covers, of 255; 0 where nothing is counted. See `cover`.
    artefacts : (h, w) bool, pen in black, blue, green and red, ink and black borders, with their fringes
    """

    shares: NDArray[np.uint8]
    artefacts: NDArray[np.bool_]

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(h, w) bool: cells in which objects are counted."""
        return self.shares > 0


def find_tissue(overview: NDArray[np.uint8], mpp: float) -> FoundTissue:
    """How much tissue the cells of an overview hold, and which are pen, ink and black and were kept out.

    Threshold: half of Otsu's on the OD of everything that is not pen, ink or black, limited to
    [max(0.025, 5 sigma of the glass), 0.10]: the upper limit keeps pale parts beside dark ones, the lower one finds
    nothing on an empty slide. Paler cells, down to half the threshold, join the tissue they touch. What lies less than
    80 um apart (strands of fat) is one piece, and pieces below 0.004 mm^2 are dropped. How much tissue covers of each
    cell is then measured by `tissue_cover`.

    Parameters
    ----------
    overview : (h, w, 3) uint8 RGB
    mpp : um per px, best about 8

    Raises
    ------
    ValueError
        If `overview` has another shape or dtype, or `mpp` is not positive.
    """
    if overview.ndim != 3 or overview.shape[2] != 3 or overview.dtype != np.uint8:
        raise ValueError(f"an overview must be (h, w, 3) uint8, got {overview.dtype} of shape {overview.shape}")
    if not mpp > 0:
        raise ValueError(f"mpp must be > 0, got {mpp}")
    # a tenth of the picture is a piece of tissue even on a slide of a few cells
    speck, piece = (min(area / mpp**2, 0.1 * overview.shape[0] * overview.shape[1]) for area in _DROPPED_UM2)
    background, glass = background_colour(overview)
    densest, inks = _densest_and_inks(overview, background, mpp)
    foreign = _foreign(inks, mpp)
    del inks
    if foreign.all():
        return FoundTissue(np.zeros(foreign.shape, np.uint8), foreign)
    glass &= ~foreign
    least = max(_LEAST_OD, _NOISE_SIGMAS * _noise(overview, background, mpp, glass))
    del glass
    threshold = min(max(otsu_threshold(densest[~foreign]) / 2, least), max(_MOST_OD, least))
    sure = (densest > threshold) & ~foreign
    pale = (densest > max(threshold / 2, least)) & ~foreign
    del densest
    stained = connected(pale, drop_small(sure, speck))
    del sure, pale
    pieces = close_gaps(stained, _CLOSE_UM / mpp)
    pieces = fill_holes(pieces, _LARGEST_HOLE_UM2 / mpp**2) & ~foreign
    stained &= drop_small(pieces, piece)
    del pieces
    return FoundTissue(tissue_cover(overview, mpp, background, stained, foreign), foreign)


def background_colour(overview: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Colour of empty glass, and where it was seen.

    Glass is bright, nearly grey and smooth; its colour is the commonest among such pixels. Pure white is passed over
    when other glass is there: it fills what the scanner left out.

    Parameters
    ----------
    overview : (h, w, 3) uint8 RGB

    Returns
    -------
    (3,) float32 colour; (h, w) bool pixels of that colour, all False if no glass was found
    """
    low = _smooth_and_bright(overview)
    for white in (253, 256):
        glass = (low > 0) & (low < white)
        if glass.sum() >= max(9, _LEAST_GLASS * glass.size):
            colour = _commonest(overview, glass)
            alike = np.abs(np.arange(256)[:, None] - colour) <= _GLASS_SPREAD
            glass &= in_strips(lambda part, alike=alike: _in_ranges(part, alike), overview, 0)  # type: ignore[misc]
            return _median_colour(overview, glass), glass
    brightest = [np.percentile(overview[:, :, k], 99.5) for k in range(3)]
    return np.maximum(brightest, _GLASS_IF_NONE).astype(np.float32), np.zeros(low.shape, np.bool_)


def _smooth_and_bright(overview: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Darkest channel of what may be glass: bright, nearly grey, even in a 3 x 3 neighbourhood; 0 elsewhere.

    Even: the variance of grey, the mean of the channels, is at most `_GLASS_ROUGHNESS`^2. In whole numbers: with sum s
    and sum of squares q of red + green + blue (three times grey) over n = 9 pixels, n q - s^2 is 9 n^2 times it.
    """
    out = np.empty(overview.shape[:2], np.uint8)
    roughest = int(9 * 81 * _GLASS_ROUGHNESS**2)
    for strip in strips(overview.shape, 1):
        red, green, blue = (overview[strip.window, :, k] for k in range(3))
        low, high = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
        tint = high - low
        smooth = ((low >= 185) & (tint <= 35)) | ((low >= 140) & (tint <= 15))
        level = red.astype(np.int32) + green + blue
        total, squares = _sum_3x3(level), _sum_3x3(level * level)
        # at most 9 * 9 * 765^2 and 6885^2: both fit into 31 bits
        smooth &= 9 * squares - total * total <= roughest
        out[strip.rows] = (low * smooth)[strip.inner]
    return out


def _sum_3x3(values: NDArray[np.int32]) -> NDArray[np.int32]:
    """Sum over each 3 x 3 neighbourhood; past the picture's edge its outermost pixels are repeated."""
    padded = np.pad(values, 1, mode="edge")
    rows: NDArray[np.int32] = padded[:-2] + padded[1:-1] + padded[2:]
    sums: NDArray[np.int32] = rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]
    return sums


def _commonest(overview: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Centre of the fullest cell of 6 levels a side, over two interleaved partitions so that no mode is halved."""
    cells = [((np.arange(256) + shift) // 6).astype(np.int32) for shift in (0, 3)]
    counts = np.zeros((2, 64**3), np.int64)
    for strip in strips(overview.shape):
        colours = overview[strip.rows][where[strip.rows]]
        for own, cell in zip(counts, cells, strict=True):
            keys = (cell[colours[:, 0]] * 64 + cell[colours[:, 1]]) * 64 + cell[colours[:, 2]]
            own += np.bincount(keys, minlength=64**3)
    better = int(counts[1].max() > counts[0].max())
    key = int(np.argmax(counts[better]))
    ranges = cells[better][:, None] == [key // 4096, key // 64 % 64, key % 64]
    return _median_colour(overview, in_strips(lambda part: _in_ranges(part, ranges), overview, 0) & where)


def _in_ranges(picture: NDArray[np.uint8], ranges: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels all of whose levels are set in (256, 3) `ranges`."""
    red, green, blue = (ranges[:, k][picture[:, :, k]] for k in range(3))
    return red & green & blue


def _median_colour(overview: NDArray[np.uint8], where: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Median of each channel among some pixels, of which there must be one; (3,) float32."""
    counts = np.zeros((3, 256), np.int64)
    for strip in strips(overview.shape):
        colours = overview[strip.rows][where[strip.rows]]
        for k in range(3):
            counts[k] += np.bincount(colours[:, k], minlength=256)
    n = int(counts[0].sum())
    below = counts.cumsum(axis=1)
    middle = [[np.searchsorted(row, i, side="right") for i in ((n - 1) // 2, n // 2)] for row in below]
    return np.asarray(np.mean(middle, axis=1), np.float32)


def _density(picture: NDArray[np.uint8], background: np.float32, mpp: float) -> NDArray[np.float32]:
    """OD of one channel (h, w) of a picture, smoothed."""
    from scipy import ndimage

    channel = ndimage.gaussian_filter(picture.astype(np.float32), _SMOOTH_UM / mpp, mode="nearest")
    return np.asarray(np.log(background / np.maximum(channel, 1.0)))


def _reach_px(sigma: float) -> int:
    """Rows a Gaussian looks at on each side."""
    return int(_GAUSSIAN_REACH * sigma + 0.5)


def _densest_and_inks(
    overview: NDArray[np.uint8], background: NDArray[np.float32], mpp: float
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """OD in the densest channel, (h, w) float32; and for each ink, as bits, where its hue is certain or faint."""
    from scipy import ndimage

    # a stroke is wide and even: averaged over the nuclei under it, it keeps its colour, and nuclei lose theirs
    sigma = _STROKE_UM / 3 / mpp
    densest, inks = np.empty(overview.shape[:2], np.float32), np.zeros(overview.shape[:2], np.uint8)
    for strip in strips(overview.shape, _reach_px(_SMOOTH_UM / mpp) + _reach_px(sigma)):
        window = overview[strip.window]
        density = np.stack([_density(window[:, :, k], background[k], mpp) for k in range(3)])
        densest[strip.rows] = density[:, strip.inner].max(axis=0)
        density = np.stack([ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in density])
        for k, (sure, faint) in enumerate(_hues(density[:, strip.inner])):
            inks[strip.rows] |= sure.astype(np.uint8) << k
            inks[strip.rows] |= faint.astype(np.uint8) << k + _INKS
    return densest, inks


def _foreign(inks: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """Strokes and black borders, with their fringes, where hues are certain or faint as `_densest_and_inks` says."""
    radius = _STROKE_UM / mpp
    out = np.zeros(inks.shape, np.bool_)
    for k in range(_INKS):
        sure = (inks & 1 << k) != 0
        core = in_strips(lambda part: dilate(erode(part, radius, outside=False), radius), sure, 2 * int(radius) + 2)
        if k == _BLACK:
            # the border of a scan may be a line only
            core |= connected(sure, sure & _rim(sure.shape))
        del sure
        if core.any():
            out |= within(core, _FRINGE_UM / mpp)
            out |= connected(((inks & 1 << k + _INKS) != 0) | core, core)
    return out


def _hues(density: NDArray[np.floating]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_]]]:
    """For each ink, black first: where it is certain, and where its hue is seen at all."""
    red, green, blue = density
    low, high = density.min(axis=0), density.max(axis=0)
    yield (low > 1.1) & (low > 0.72 * high), (low > 0.15) & (low > 0.75 * high)
    # blue pen absorbs red most, and hardly any blue; hematoxylin absorbs green most
    sure = (red > 1.2) & (red >= 0.97 * green) & (blue < 0.5 * red)
    yield sure, (red > 0.12) & (red > 1.1 * green) & (blue < 0.6 * red)
    # green pen lets green through, no stain of tissue does
    sure = (red > 0.8) & (green < 0.7 * red) & (blue > 0.35 * red)
    yield sure, (red > 0.1) & (green < 0.75 * red) & (blue > 0.3 * red)
    # red pen absorbs blue nearly as much as green, and no red; eosin absorbs half as much blue
    sure = (green > 1.1) & (blue > 0.75 * green) & (red < 0.22 * green)
    yield sure, (green > 0.15) & (blue > 0.75 * green) & (red < 0.3 * green)


def _rim(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rim = np.ones(shape, np.bool_)
    rim[1:-1, 1:-1] = False
    return rim


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Threshold that best separates values into two groups (N. Otsu, IEEE Trans. SMC 9, 62-66, 1979); 512 bins.

    Parameters
    ----------
    values : (N,) of a float dtype, N >= 1, finite

    Returns
    -------
    Lower end of the first bin of the upper group; the value itself when all are equal
    """
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return high
    counts, edges = np.histogram(values, bins=512, range=(low, high))
    weight = np.cumsum(counts, dtype=np.float64)
    moment = np.cumsum(counts * (edges[:-1] + edges[1:]) / 2)
    below, above = weight[:-1], weight[-1] - weight[:-1]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (moment[:-1] / below - (moment[-1] - moment[:-1]) / above) ** 2
    return float(edges[1 + int(np.nanargmax(between))])


def _noise(overview: NDArray[np.uint8], background: NDArray[np.float32], mpp: float, glass: NDArray[np.bool_]) -> float:
    """Standard deviation of the glass's OD in its noisiest channel, from the median absolute deviation."""
    count = int(glass.sum())
    if not count:
        return 0.0
    deviations = []
    for k in range(3):
        values, filled = np.empty(count, np.float32), 0
        for strip in strips(overview.shape, _reach_px(_SMOOTH_UM / mpp)):
            own = _density(overview[strip.window, :, k], background[k], mpp)[strip.inner][glass[strip.rows]]
            values[filled : filled + len(own)] = own
            filled += len(own)
        values -= np.median(values, overwrite_input=True)
        np.abs(values, out=values)
        deviations.append(float(np.median(values, overwrite_input=True)))
    return max(1.4826 * d for d in deviations)
