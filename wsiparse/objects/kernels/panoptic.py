"""Which prompt a pixel belongs to, from the probabilities of all of them.

The rule is told in `wsiparse.objects.panoptic`.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from wsiparse.objects.kernels.types import Bytes

#: Pixels handled at a time, so that a stretch of every prompt's map stays in the first-level cache.
_STRETCH = 2048


@njit(cache=True, nogil=True)
def combine_cells(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32], winner: Bytes, confidence: Bytes
) -> int:
    """Highest probability among those above their threshold, first on ties.

    Parameters
    ----------
    probabilities : (P, N) float32
    thresholds : (P,) float32
    winner : (N,) uint8, written: position + 1, 0 for none
    confidence : (N,) uint8, written: round(255 p) of the winner, at least 1, 0 for none

    Returns
    -------
    How many values are no probabilities (NaN included)
    """
    prompts, n = probabilities.shape
    best = np.empty(_STRETCH, np.float32)
    who = np.empty(_STRETCH, np.int32)
    wrong = 0
    for begin in range(0, n, _STRETCH):
        m = min(_STRETCH, n - begin)
        best[:] = np.float32(-1.0)
        who[:] = 0
        for c in range(prompts):
            row = probabilities[c, begin : begin + m]
            threshold = thresholds[c]
            for i in range(m):
                p = row[i]
                wrong += not ((p >= np.float32(-0.001)) & (p <= np.float32(1.001)))
                take = (p > threshold) & (p > best[i]) & (p <= np.float32(1.001))
                best[i] = p if take else best[i]
                who[i] = c + 1 if take else who[i]
        for i in range(m):
            winner[begin + i] = who[i]
            confidence[begin + i] = min(255, max(1, int(255.0 * float(best[i]) + 0.5))) if who[i] > 0 else 0
    return wrong


@njit(cache=True, nogil=True)
def quantise(probabilities: NDArray[np.float32], out: Bytes) -> int:
    """round(255 p), halves up, clipped to 0-255.

    Parameters
    ----------
    probabilities : (N,) float32
    out : (N,) uint8, written

    Returns
    -------
    How many values are no probabilities (NaN included)
    """
    wrong = 0
    for i in range(len(probabilities)):
        p = probabilities[i]
        good = (p >= np.float32(-0.001)) & (p <= np.float32(1.001))
        wrong += not good
        out[i] = min(255, max(0, int(255.0 * float(p) + 0.5))) if good else 0
    return wrong
