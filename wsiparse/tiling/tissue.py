"""Where the tissue is, from a low-resolution picture of the slide. Pure.

Light that glass lets through is the yardstick: optical density relative to the estimated background,
OD = ln(background / intensity) per channel (Beer-Lambert), and the densest channel decides, so that pink, blue and
brown stains are judged alike. Made for about 8 um per px, where nuclei have merged into tissue colour and glass has
lost its noise; all lengths are in microns, so other scales work.

Pen, ink and black borders are told from tissue by colour *and* by being at least a stroke wide: hematoxylin and eosin
absorb green most, DAB absorbs blue most, none of the pens does the former without the latter.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["background_colour", "find_tissue", "foreign_mask", "otsu_threshold", "tissue_mask"]

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
_DROPPED_UM2: Final = (300.0, 5_000.0)

#: Glass that fills less of the picture than this share is not relied on.
_LEAST_GLASS: Final = 0.003
_GLASS_IF_NONE: Final = 243.0
#: Largest standard deviation of glass in a 3 x 3 neighbourhood, grey levels; tissue has more.
_GLASS_ROUGHNESS: Final = 3.0


def tissue_mask(overview: NDArray[np.uint8], mpp: float) -> NDArray[np.bool_]:
    """(h, w) bool: cells of an overview that hold tissue; see `find_tissue`."""
    return find_tissue(overview, mpp)[0]


def find_tissue(overview: NDArray[np.uint8], mpp: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Cells of an overview that hold tissue, and those of pen, ink and black that were kept out.

    Threshold: half of Otsu's on the OD of everything that is not pen, ink or black, limited to
    [max(0.025, 5 sigma of the glass), 0.10]: the upper limit keeps pale parts beside dark ones, the lower one finds
    nothing on an empty slide. Paler cells, down to half the threshold, join the tissue they touch. Then gaps narrower
    than 80 um are closed (fat), holes below 0.03 mm^2 filled and pieces below 0.005 mm^2 dropped.

    Parameters
    ----------
    overview : (h, w, 3) uint8 RGB
    mpp : um per px, best about 8

    Returns
    -------
    (h, w) bool tissue; (h, w) bool pen, ink and black borders, see `foreign_mask`
    """
    from scipy import ndimage

    if overview.ndim != 3 or overview.shape[2] != 3 or overview.dtype != np.uint8:
        raise ValueError(f"an overview must be (h, w, 3) uint8, got {overview.dtype} of shape {overview.shape}")
    if not mpp > 0:
        raise ValueError(f"mpp must be > 0, got {mpp}")
    # a tenth of the picture is a piece of tissue even on a slide of a few cells
    speck, piece = (min(area / mpp**2, 0.1 * overview.shape[0] * overview.shape[1]) for area in _DROPPED_UM2)
    background, glass = background_colour(overview)
    # channel by channel: the overview of a large slide has millions of cells
    density = np.empty((3, *overview.shape[:2]), np.float32)
    for k in range(3):
        channel = ndimage.gaussian_filter(overview[:, :, k].astype(np.float32), _SMOOTH_UM / mpp, mode="nearest")
        np.log(background[k] / np.maximum(channel, 1.0), out=density[k])
    foreign = foreign_mask(density, mpp)
    noise = _noise(density, glass & ~foreign)
    densest = density.max(axis=0)
    del density
    usable = densest[~foreign]
    if not usable.size:
        return np.zeros(foreign.shape, np.bool_), foreign
    least = max(_LEAST_OD, _NOISE_SIGMAS * noise)
    threshold = min(max(otsu_threshold(usable) / 2, least), max(_MOST_OD, least))
    sure = (densest > threshold) & ~foreign
    tissue = _connected((densest > max(threshold / 2, least)) & ~foreign, _drop_small(sure, speck))
    tissue = _closed(tissue, _CLOSE_UM / mpp)
    tissue = _fill_holes(tissue, _LARGEST_HOLE_UM2 / mpp**2) & ~foreign
    return _drop_small(tissue, piece), foreign


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
    from scipy import ndimage

    red, green, blue = (overview[:, :, k] for k in range(3))
    grey = (red.astype(np.float32) + green + blue) / 3
    mean = ndimage.uniform_filter(grey, 3, mode="nearest")
    variance = ndimage.uniform_filter(grey * grey, 3, mode="nearest") - mean * mean
    low, high = np.minimum(np.minimum(red, green), blue), np.maximum(np.maximum(red, green), blue)
    tint = high - low
    smooth = ((low >= 185) & (tint <= 35)) | ((low >= 140) & (tint <= 15))
    smooth &= variance <= _GLASS_ROUGHNESS**2
    for candidates in (smooth & (low < 253), smooth):
        if candidates.sum() >= max(9, _LEAST_GLASS * candidates.size):
            colours = overview[candidates]
            colour = _commonest(colours)
            near = (np.abs(colours - colour) <= 8).all(axis=1)
            glass = np.zeros(smooth.shape, np.bool_)
            glass[candidates] = near
            return np.median(colours[near], axis=0).astype(np.float32), glass
    brightest = np.percentile(overview.reshape(-1, 3), 99.5, axis=0)
    return np.maximum(brightest, _GLASS_IF_NONE).astype(np.float32), np.zeros(smooth.shape, np.bool_)


def foreign_mask(density: NDArray[np.floating], mpp: float) -> NDArray[np.bool_]:
    """Pen in black, blue, green and red, ink and black borders, with their fringes.

    Parameters
    ----------
    density : (3, h, w) OD of red, green and blue light
    mpp : um per px

    Returns
    -------
    (h, w) bool
    """
    from scipy import ndimage

    # a stroke is wide and even: averaged over the nuclei under it, it keeps its colour, and nuclei lose theirs
    sigma = _STROKE_UM / 3 / mpp
    density = np.stack([ndimage.gaussian_filter(channel, sigma, mode="nearest") for channel in density])
    out = np.zeros(density.shape[1:], np.bool_)
    for sure, faint, is_black in _inks(density):
        core = _dilate(_erode(sure, _STROKE_UM / mpp, outside=False), _STROKE_UM / mpp)
        if is_black:
            # the border of a scan may be a line only
            core |= _connected(sure, sure & _rim(sure.shape))
        if core.any():
            out |= _dilate(core, _FRINGE_UM / mpp)
            out |= _connected(faint | core, core)
    return out


def _inks(density: NDArray[np.floating]) -> Iterator[tuple[NDArray[np.bool_], NDArray[np.bool_], bool]]:
    """For each ink: where it is certain, where its hue is seen at all, and whether it is black."""
    red, green, blue = density
    low, high = density.min(axis=0), density.max(axis=0)
    yield (low > 1.1) & (low > 0.72 * high), (low > 0.15) & (low > 0.75 * high), True
    # blue pen absorbs red most, and hardly any blue; hematoxylin absorbs green most
    sure = (red > 1.2) & (red >= 0.97 * green) & (blue < 0.5 * red)
    yield sure, (red > 0.12) & (red > 1.1 * green) & (blue < 0.6 * red), False
    # green pen lets green through, no stain of tissue does
    sure = (red > 0.8) & (green < 0.7 * red) & (blue > 0.35 * red)
    yield sure, (red > 0.1) & (green < 0.75 * red) & (blue > 0.3 * red), False
    # red pen absorbs blue nearly as much as green, and no red; eosin absorbs half as much blue
    sure = (green > 1.1) & (blue > 0.75 * green) & (red < 0.22 * green)
    yield sure, (green > 0.15) & (blue > 0.75 * green) & (red < 0.3 * green), False


def _rim(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    rim = np.ones(shape, np.bool_)
    rim[1:-1, 1:-1] = False
    return rim


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Threshold that best separates values into two groups (N. Otsu, IEEE Trans. SMC 9, 62-66, 1979); 512 bins."""
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


def _commonest(colours: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Centre of the fullest cell of 6 levels a side, over two interleaved partitions so that no mode is halved."""
    best: NDArray[np.float32] = colours[0].astype(np.float32)
    count = 0
    for shift in (0, 3):
        cells = ((np.arange(256) + shift) // 6).astype(np.int32)
        keys = (cells[colours[:, 0]] * 64 + cells[colours[:, 1]]) * 64 + cells[colours[:, 2]]
        counts = np.bincount(keys)
        top = int(np.argmax(counts))
        if counts[top] > count:
            count = int(counts[top])
            best = np.median(colours[keys == top], axis=0).astype(np.float32)
    return best


def _noise(density: NDArray[np.floating], glass: NDArray[np.bool_]) -> float:
    """Standard deviation of the glass's OD in its noisiest channel, from the median absolute deviation."""
    if not glass.any():
        return 0.0
    deviations = (np.abs(values - np.median(values)) for values in (channel[glass] for channel in density))
    return max(1.4826 * float(np.median(d)) for d in deviations)


def _dilate(mask: NDArray[np.bool_], radius_px: float) -> NDArray[np.bool_]:
    from scipy import ndimage

    if not mask.any():
        return mask
    grown: NDArray[np.bool_] = ndimage.distance_transform_edt(~mask) <= radius_px
    return grown


def _closed(mask: NDArray[np.bool_], radius_px: float) -> NDArray[np.bool_]:
    """Closing by a disk; the picture goes on empty beyond its border, so a gap towards the border stays open."""
    pad = int(radius_px) + 2
    return _erode(_dilate(np.pad(mask, pad), radius_px), radius_px)[pad:-pad, pad:-pad] | mask


def _erode(mask: NDArray[np.bool_], radius_px: float, *, outside: bool = True) -> NDArray[np.bool_]:
    """Erosion by a disk; `outside` says what lies beyond the picture."""
    from scipy import ndimage

    padded = np.pad(mask, 1, constant_values=outside)
    if padded.all():
        return mask
    shrunk: NDArray[np.bool_] = (ndimage.distance_transform_edt(padded) > radius_px)[1:-1, 1:-1]
    return shrunk


def _connected(mask: NDArray[np.bool_], seeds: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The 8-connected pieces of a mask that hold a seed."""
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)))
    hit = np.zeros(count + 1, np.bool_)
    hit[labels[seeds]] = True
    hit[0] = False
    connected: NDArray[np.bool_] = hit[labels]
    return connected


def _drop_small(mask: NDArray[np.bool_], least_px: float) -> NDArray[np.bool_]:
    """The 8-connected pieces of at least this many pixels."""
    from scipy import ndimage

    labels, _ = ndimage.label(mask, np.ones((3, 3)))
    large = np.bincount(labels.ravel()) >= least_px
    large[0] = False
    kept: NDArray[np.bool_] = large[labels]
    return kept


def _fill_holes(mask: NDArray[np.bool_], most_px: float) -> NDArray[np.bool_]:
    """Fill 4-connected holes of at most this many pixels that do not reach the border of the picture."""
    from scipy import ndimage

    labels, count = ndimage.label(~mask)
    small = np.bincount(labels.ravel(), minlength=count + 1) <= most_px
    border = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    small[border] = False
    small[0] = False
    filled: NDArray[np.bool_] = mask | small[labels]
    return filled
