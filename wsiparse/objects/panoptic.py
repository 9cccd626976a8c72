"""Several prompts, one answer per pixel: each has its threshold, and the most probable one above it gets the pixel."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.objects import kernels
from wsiparse.types import MAX_PROMPTS

__all__ = ["combine_cells", "quantise"]


def combine_cells(
    probabilities: NDArray[np.float32], thresholds: NDArray[np.float32]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Give every pixel to the most probable prompt among those strictly above their threshold, the first on ties.

    Parameters
    ----------
    probabilities : (P, H, W) float32 in [0, 1], P <= 255
    thresholds : (P,) float32

    Returns
    -------
    winner : (H, W) uint8, position + 1 of the prompt, 0 for none
    confidence : (H, W) uint8, round(255 p) of the winner, at least 1, and 0 where there is none

    Raises
    ------
    ValueError
        On other shapes or dtypes, NaN, or values outside [0, 1] by more than 0.001.
    """
    flat, shape = _stack(probabilities)
    thresholds = np.ascontiguousarray(thresholds, dtype=np.float32)
    if thresholds.shape != (len(flat),) or not np.isfinite(thresholds).all():
        raise ValueError(f"{len(flat)} prompts need as many finite thresholds, got {thresholds!r}")
    winner, confidence = np.empty(flat.shape[1], np.uint8), np.empty(flat.shape[1], np.uint8)
    if kernels.combine_cells(flat, thresholds, winner, confidence):
        raise ValueError(_NOT_PROBABILITIES)
    return winner.reshape(shape), confidence.reshape(shape)


def quantise(probabilities: NDArray[np.float32]) -> NDArray[np.uint8]:
    """round(255 p), halves up, of an array of any shape.

    Parameters
    ----------
    probabilities : (...) float32 in [0, 1]

    Returns
    -------
    (...) uint8, the same shape

    Raises
    ------
    ValueError
        On another dtype, NaN, or values outside [0, 1] by more than 0.001.
    """
    given = np.asarray(probabilities)
    if given.dtype != np.float32:
        raise ValueError(f"probabilities must be float32, got {given.dtype}")
    out = np.empty(given.shape, np.uint8)
    if kernels.quantise(np.ascontiguousarray(given).ravel(), out.ravel()):
        raise ValueError(_NOT_PROBABILITIES)
    return out


_NOT_PROBABILITIES: Final = "probabilities must lie in [0, 1]; found NaN or a value outside"


def _stack(probabilities: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[int, ...]]:
    """(P, H * W) C-contiguous float32 and (H, W)."""
    given = np.asarray(probabilities)
    if given.ndim != 3 or given.dtype != np.float32 or not 1 <= len(given) <= MAX_PROMPTS:
        raise ValueError(
            f"probabilities must be (1-{MAX_PROMPTS}, H, W) float32, got shape {given.shape} of {given.dtype}"
        )
    return np.ascontiguousarray(given).reshape(len(given), -1), given.shape[1:]
