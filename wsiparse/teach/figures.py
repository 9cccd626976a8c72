"""Cross-validated figures of a taught model. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.measure.intervals import draw_weights, ratio

__all__ = ["taught_figures"]

_BINS: Final = 10


def taught_figures(
    shares: NDArray[np.float64],
    classes: NDArray[np.int64],
    groups: NDArray[np.int64],
    names: Sequence[str],
    doubt: float,
    seed: int,
) -> dict[str, Any]:
    """Figures of held-out nuclei, with intervals over groups.

    Parameters
    ----------
    shares : (n, C) float64, held-out probabilities
    classes : (n,) int64, labels
    groups : (n,) int64, slides or squares
    names : of the classes
    doubt : less of the most probable class is no class
    seed : of the intervals

    Returns
    -------
    "classes": a row each with "class", "examples", "precision", "recall", "f1"; "confusion": rows labelled, columns
    said, the last one doubtful; "doubtful": share of nuclei; "calibration": for each tenth of the probability its
    "mean", the share that was "right", and "n"; "groups": how many
    """
    said = shares.argmax(axis=1)
    top = shares.max(axis=1)
    said[top < doubt] = len(names)
    _, place = np.unique(groups, return_inverse=True)
    n_groups = int(place.max()) + 1
    weights = draw_weights(n_groups, seed)

    def sums(where: NDArray[np.bool_]) -> NDArray[np.float64]:
        return np.bincount(place.ravel()[where], minlength=n_groups).astype(np.float64)

    rows = []
    for k, name in enumerate(names):
        is_k, said_k = classes == k, said == k
        hit = sums(is_k & said_k)
        rows.append(
            {
                "class": name,
                "examples": int(is_k.sum()),
                "precision": asdict(ratio(hit, sums(said_k), weights)),
                "recall": asdict(ratio(hit, sums(is_k), weights)),
                "f1": asdict(ratio(2 * hit, sums(is_k) + sums(said_k), weights)),
            }
        )
    confusion = np.zeros((len(names), len(names) + 1), np.int64)
    np.add.at(confusion, (classes, said), 1)
    tenth = np.minimum((top * _BINS).astype(np.int64), _BINS - 1)
    right = shares.argmax(axis=1) == classes
    calibration = [
        {"mean": float(top[tenth == b].mean()), "right": float(right[tenth == b].mean()), "n": int((tenth == b).sum())}
        for b in range(_BINS)
        if (tenth == b).any()
    ]
    return {
        "classes": rows,
        "confusion": confusion.tolist(),
        "doubtful": float((said == len(names)).mean()),
        "calibration": calibration,
        "groups": n_groups,
    }
