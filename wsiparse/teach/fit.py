"""A linear head on features of nuclei: fitted, cross-validated, calibrated. Pure.

Multinomial logistic regression on standardised features, classes weighted by the fourth root of their rarity, ridge
penalty. Folds are groups of nuclei that lie together (slides, or squares of one slide), so that no nucleus is predicted
by its neighbours. The logits are divided by one temperature that makes the held-out probabilities fit (Guo et al., "On
calibration of modern neural networks", ICML 2017).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize, minimize_scalar

__all__ = ["Head", "calibrated_head", "cross_validate", "folds_of"]

Floats = NDArray[np.float64]
Index = NDArray[np.int64]

#: Chosen on CoNSeP tiles on a plateau of few-shot figures (scripts/teach_curve.py): penalty, power of rarity.
_RIDGE: Final = 30.0
_RARITY: Final = 0.25
_FOLDS: Final = 5


@dataclass(frozen=True, eq=False)
class Head:
    """What a taught model keeps; see `wsiparse.recognize.taught.kernels.scores`.

    Parameters
    ----------
    mean, scale : (F,) float64
    weights : (F + 1, C) float64
    """

    mean: Floats
    scale: Floats
    weights: Floats

    def logits(self, features: Floats) -> Floats:
        """(n, C) float64 of (n, F) float64."""
        rows = np.clip((features - self.mean) * self.scale, -4, 4)
        return np.asarray(rows @ self.weights[:-1] + self.weights[-1])


def fit_head(features: Floats, classes: Index, n_classes: int) -> Head:
    """The head of some examples; a class without any is never the answer.

    Parameters
    ----------
    features : (n, F) float64
    classes : (n,) int64, 0 to n_classes - 1
    n_classes : how many
    """
    mean, spread = features.mean(axis=0), features.std(axis=0)
    scale = np.where(spread > 0, 1 / np.where(spread > 0, spread, 1), 0.0)
    rows = np.c_[np.clip((features - mean) * scale, -4, 4), np.ones(len(features))]
    counts = np.bincount(classes, minlength=n_classes)
    weight = (len(classes) / np.maximum(counts, 1)) ** _RARITY
    weight = weight[classes] / weight[classes].mean()
    hot = np.eye(n_classes)[classes]
    ridge = np.full((rows.shape[1], 1), _RIDGE)
    ridge[-1] = 1e-6

    def loss(flat: Floats) -> tuple[float, Floats]:
        weights = flat.reshape(-1, n_classes)
        share = _softmax(rows @ weights)
        likelihood = -(weight * np.log(np.maximum(share[np.arange(len(rows)), classes], 1e-12))).sum()
        gradient = rows.T @ (weight[:, None] * (share - hot)) + ridge * weights
        return float(likelihood + 0.5 * (ridge * weights * weights).sum()), gradient.ravel()

    start = np.zeros(rows.shape[1] * n_classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    weights = found.x.reshape(-1, n_classes)
    weights[-1, counts == 0] = -50.0
    return Head(mean, scale, weights)


def folds_of(groups: Index) -> Index:
    """(n,) int64, fold of each nucleus: whole groups, the largest first into the smallest fold; at most five folds.

    Parameters
    ----------
    groups : (n,) int64, equal for nuclei that belong together
    """
    ids, place, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    load, fold = np.zeros(min(_FOLDS, len(ids)), np.int64), np.zeros(len(ids), np.int64)
    for k in np.lexsort((ids, -sizes)):
        fold[k] = load.argmin()
        load[fold[k]] += sizes[k]
    return np.asarray(fold[place])


def cross_validate(features: Floats, classes: Index, n_classes: int, folds: Index) -> tuple[Floats, float]:
    """Held-out probabilities, calibrated, and the temperature.

    Parameters
    ----------
    features : (n, F) float64
    classes, folds : (n,) int64
    n_classes : how many

    Returns
    -------
    (n, C) float64 and the temperature, > 0
    """
    logits = np.zeros((len(classes), n_classes))
    for fold in np.unique(folds):
        out = folds == fold
        logits[out] = fit_head(features[~out], classes[~out], n_classes).logits(features[out])

    def loss(log_t: float) -> float:
        share = _softmax(logits / np.exp(log_t))
        return float(-np.log(np.maximum(share[np.arange(len(classes)), classes], 1e-9)).mean())

    temperature = float(np.exp(minimize_scalar(loss, bounds=(-2.0, 2.0), method="bounded").x))
    return _softmax(logits / temperature), temperature


def calibrated_head(features: Floats, classes: Index, n_classes: int, temperature: float) -> Head:
    """The head of all examples with the temperature of their cross-validation in its weights.

    Parameters
    ----------
    features : (n, F) float64
    classes : (n,) int64
    n_classes : how many
    temperature : of `cross_validate`
    """
    head = fit_head(features, classes, n_classes)
    return Head(head.mean, head.scale, head.weights / temperature)


def _softmax(logits: Floats) -> Floats:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
