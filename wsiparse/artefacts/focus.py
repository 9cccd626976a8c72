"""Out of focus: where fine detail is weak beside the detail twice as coarse. Pure.

A defocused lens passes coarse detail and stops fine detail. The picture of optical density is halved three times, and
of each of the four pictures what a Gaussian takes away is its detail: of 1, 2, 4 and 8 um (a Laplacian pyramid: Burt &
Adelson, IEEE Trans. Communications 31, 532-540, 1983). The energy of one band over that of the next is a measure of
focus that neither the strength of the stain nor the number of nuclei changes much (energies of filtered images as
measures of focus: Subbarao, Choi & Nikzad, Optical Engineering 32, 2824-2836, 1993).

Energies are whole numbers, summed over cells of 16 px: any order of blocks gives the same sums.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["BANDS", "CELL_PX", "FOCUS_REACH_PX", "focus_sums", "out_of_focus"]

#: A cell's edge of 1 px, doubled so often: 16 px of about 1 um.
_HALVINGS: Final = 4
CELL_PX: Final = 1 << _HALVINGS
#: Bands, finest first; of 1, 2, 4 and 8 px.
BANDS: Final = 4
#: Sigma of the Gaussian of each band, px of its picture, and where it is cut off, sigmas.
_SIGMA: Final = 1.0
_TRUNCATE: Final = 3.0
#: A cell's sums depend on the picture so far around it, px; a multiple of the coarsest band's px.
FOCUS_REACH_PX: Final = int(_TRUNCATE * _SIGMA) * 2 ** (BANDS - 1)
#: Energies are counted in this part of a squared density: a change of one grey level is 3e-6.
_UNIT: Final = 1e-8

#: Sums are taken over so many cells a side.
_WINDOW: Final = 5
#: A window is judged where at least this share of it is tissue.
_LEAST_TISSUE: Final = 0.4
#: Out of focus: log2 of the energy of a band over the next below these, finest first. The lowest hundredth of windows
#: in focus is at -1.5, -1.0 and -.8 on three slides and five annotated sets, and at -2.6, -2.0 and -1.6 on DSB 2018,
#: whose scale is unknown and finer than assumed. The highest hundredth under a Gaussian of 1 um is at -1.7 in the
#: first, of 2 um at -2.4, of 3 um at -2.15 in the second, of 6 um at -1.9 in the third.
_LEAST_LOG2: Final = (-2.8, -2.25, -2.0)
#: Or the first so far below the upper quartile of the slide, where that slide has so many windows, and at most this:
#: a slide's own sharp parts say more than all slides together.
_BELOW_SLIDE: Final = 1.2
_LEAST_WINDOWS: Final = 200
_MOST_LOG2: Final = -1.6
#: Soft windows with fewer soft ones among the eight around them and themselves are chance.
_LEAST_TOGETHER: Final = 4


def focus_sums(density: NDArray[np.float32]) -> NDArray[np.int64]:
    """Energy of every band in every cell.

    Parameters
    ----------
    density : (h, w) float32, mean density of the three channels at about 1 um per px; h and w multiples of `CELL_PX`

    Returns
    -------
    (BANDS, h / 16, w / 16) int64, in units of 1e-8 px; a coarse px counts as the fine ones it holds
    """
    from scipy import ndimage

    sums = []
    picture = density
    for k in range(BANDS):
        band = picture - ndimage.gaussian_filter(picture, _SIGMA, mode="nearest", truncate=_TRUNCATE)
        energy = np.rint(band * band / np.float32(_UNIT)).astype(np.int64)
        for _ in range(_HALVINGS - k):  # much faster than a sum over two axes of four
            energy = energy[::2] + energy[1::2]
            energy = energy[:, ::2] + energy[:, 1::2]
        sums.append(energy << 2 * k)
        # two sums of two: the same for any window
        halved = picture[::2] + picture[1::2]
        picture = np.asarray((halved[:, ::2] + halved[:, 1::2]) / 4, np.float32)
    return np.stack(sums)


def out_of_focus(sums: NDArray[np.float32], tissue: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells that are out of focus.

    Parameters
    ----------
    sums : (BANDS, h, w) float32, of `focus_sums`
    tissue : (h, w) bool, cells of tissue; glass has no focus

    Returns
    -------
    (h, w) bool
    """
    from scipy import ndimage

    ones = np.ones((_WINDOW, _WINDOW), np.int64)
    share = ndimage.correlate(tissue.astype(np.int64), ones, mode="constant") / ones.size
    judged = tissue & (share >= _LEAST_TISSUE)
    if not judged.any():
        return np.zeros(tissue.shape, np.bool_)
    energy = [ndimage.correlate((band * tissue).astype(np.float64), ones, mode="constant") + 1.0 for band in sums]
    finest, *coarser = (np.log2(a / b) for a, b in pairwise(energy))
    least = _LEAST_LOG2[0]
    if int(judged.sum()) >= _LEAST_WINDOWS:
        least = max(least, min(float(np.quantile(finest[judged], 0.75)) - _BELOW_SLIDE, _MOST_LOG2))
    soft = finest < least
    for ratio, bound in zip(coarser, _LEAST_LOG2[1:], strict=True):
        soft |= ratio < bound
    soft &= judged
    # one sharp cell outweighs a window of soft ones: where a window is soft, all of it is
    alone = ndimage.correlate(soft.astype(np.int64), np.ones((3, 3), np.int64), mode="nearest") < _LEAST_TOGETHER
    soft &= ~alone
    return np.asarray(ndimage.binary_dilation(soft, ones) & tissue)
