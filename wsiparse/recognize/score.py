"""Is it there at all? A recognition score for each tile and prompt.

A text-prompted network draws a mask for every prompt, present or not. BiomedParse (Zhao et al., Nature Methods 2024)
therefore compares four numbers of a mask - its mean probability and the mean red, green and blue under it - with
Beta distributions fitted to true masks of that target. Each comparison is a Kolmogorov-Smirnov test with one
observation s, whose exact p-value is 2 min(F(s), 1 - F(s)) for the distribution function F; the score is the
geometric mean of the four p-values. It is two-sided and the colours depend on stain and scanner: a low score on
another stain is weak evidence.

The parameters come from the file ``target_dist.json`` that is published with the weights.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, betaincc

from wsiparse.errors import WeightsError

__all__ = ["MODALITY", "load_distributions", "mask_statistics", "prompt_scores", "recognition_score", "target_of"]

#: The entry of ``target_dist.json`` that holds the microscopy targets.
MODALITY: Final = "Pathology"

#: Masks are judged on the 0-255 scale: a pixel belongs to the mask from 128 on, and means are divided by 256.
_MASK_FROM: Final = 128.0
_SCALE: Final = 256.0

_REMEDY: Final = "`wsiparse weights fetch` downloads target_dist.json with the weights."


def mask_statistics(probabilities: NDArray[np.floating], image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The four numbers of each mask: mean probability, red, green and blue inside it.

    Parameters
    ----------
    probabilities : (P, H, W) of a float dtype, 0-1
    image : (H, W, 3) uint8, RGB, the same pixels

    Returns
    -------
    (P, 4) float32, each 0-1: means of 255 * probability, R, G and B over the pixels where 255 * probability >= 128,
    divided by 256; all zero for an empty mask, which no distribution fits

    Raises
    ------
    ValueError
        If the planes differ in size.
    """
    if probabilities.ndim != 3 or image.shape != (*probabilities.shape[1:], 3):
        raise ValueError(f"probabilities {probabilities.shape} and image {image.shape} do not fit together")
    levels = probabilities.reshape(len(probabilities), -1) * np.float32(255)
    inside = (levels >= _MASK_FROM).astype(np.float64)
    count = inside.sum(axis=1)
    sums = np.column_stack(((levels * inside).sum(axis=1), inside @ image.reshape(-1, 3).astype(np.float64)))
    means: NDArray[np.float32] = (sums / (np.maximum(count, 1)[:, None] * _SCALE)).astype(np.float32)
    return means


def recognition_score(statistics: NDArray[np.floating], parameters: NDArray[np.floating]) -> NDArray[np.float64]:
    """Geometric mean of the four two-sided tail probabilities.

    Parameters
    ----------
    statistics : (..., 4) of a float dtype, see `mask_statistics`
    parameters : (..., 4, 2) of a float dtype, a and b of the four Beta distributions; leading axes broadcast

    Returns
    -------
    (...) float64 in [0, 1]; 0 for an empty mask
    """
    s = np.clip(np.asarray(statistics, np.float64), 0.0, 1.0)
    a, b = np.asarray(parameters, np.float64)[..., 0], np.asarray(parameters, np.float64)[..., 1]
    p = np.minimum(2.0 * np.minimum(betainc(a, b, s), betaincc(a, b, s)), 1.0)
    score: NDArray[np.float64] = np.prod(p, axis=-1) ** (1.0 / p.shape[-1])
    return score


def _parameters(value: object) -> NDArray[np.float64] | None:
    """A (4, 2) array of positive finite numbers, or None if `value` is not one."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    rows = [row for row in value if isinstance(row, list) and len(row) == 2]
    numbers = [x for row in rows for x in row if isinstance(x, int | float) and math.isfinite(x) and x > 0]
    return np.array(rows, np.float64) if len(numbers) == 8 else None


def load_distributions(path: Path, modality: str = MODALITY) -> dict[str, NDArray[np.float64]]:
    """Beta parameters of every target of one modality, (4, 2) float64 each: probability, R, G, B; a then b.

    Raises
    ------
    WeightsError
        If the file cannot be read, is not JSON, has no such modality, or an entry is not four pairs of positive
        numbers.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the score parameters ({error.strerror}). {_REMEDY}") from error
    except ValueError as error:  # not UTF-8, or not JSON
        raise WeightsError(f"{path}: truncated or damaged, not JSON ({error}). {_REMEDY}") from error
    targets = content.get(modality) if isinstance(content, dict) else None
    if not isinstance(targets, dict):
        found = ", ".join(sorted(content)) if isinstance(content, dict) else type(content).__name__
        raise WeightsError(f"{path}: no score parameters for {modality!r} (found {found or 'nothing'}). {_REMEDY}")
    distributions = {}
    for target, value in targets.items():
        parameters = _parameters(value)
        if parameters is None:
            raise WeightsError(f"{path}: {modality}, {target!r}: not four pairs of positive numbers. {_REMEDY}")
        distributions[target] = parameters
    return distributions


def target_of(text: str, distributions: Mapping[str, NDArray[np.float64]]) -> str | None:
    """The target that a prompt's words name, or None when it has no parameters.

    Both forms of the training texts are understood: "neoplastic cells" and "neoplastic cells in breast pathology".

    Parameters
    ----------
    text : the prompt
    distributions : target to (4, 2) float64, see `load_distributions`
    """
    words = " ".join(text.lower().split())
    return next((name for name in (words, words.partition(" in ")[0]) if name in distributions), None)


def prompt_scores(
    statistics: NDArray[np.floating], texts: Sequence[str], distributions: Mapping[str, NDArray[np.float64]]
) -> NDArray[np.float32]:
    """Scores of every tile and prompt.

    Parameters
    ----------
    statistics : (B, P, 4) of a float dtype, see `mask_statistics`
    texts : the P prompts
    distributions : target to (4, 2) float64, see `load_distributions`

    Returns
    -------
    (B, P) float32 in [0, 1]; NaN for a prompt without parameters

    Raises
    ------
    ValueError
        If `statistics` has another shape.
    """
    if statistics.ndim != 3 or statistics.shape[1:] != (len(texts), 4):
        raise ValueError(f"statistics of {len(texts)} prompts must be (B, {len(texts)}, 4), got {statistics.shape}")
    scores = np.full(statistics.shape[:2], np.nan, np.float32)
    for p, text in enumerate(texts):
        target = target_of(text, distributions)
        if target is not None:
            scores[:, p] = recognition_score(statistics[:, p], distributions[target])
    return scores
