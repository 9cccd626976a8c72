"""Histograms of a report: sizes, probabilities, distances. Pure."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from wsiparse.report.stats.objects import ReportObjects
from wsiparse.types import PromptSet

__all__ = ["binned", "histograms"]

Floats = NDArray[np.float64]

#: Bins of a histogram of sizes or distances.
_BINS: Final = 24
_SCORE_EDGES: Final = np.linspace(0.0, 1.0, 21)


def binned(values: Floats, *, from_zero: bool = True) -> dict[str, Any]:
    """A histogram with round edges that holds 99 % of the values; the rest is counted as above.

    Parameters
    ----------
    values : (N,) float64, finite, any unit
    from_zero : the first edge is 0; else it is a round number at or below the smallest value

    Returns
    -------
    edges (k + 1 numbers, ascending), counts (k ints; the last bin includes its upper edge), above
    """
    if not len(values):
        return {"edges": [0.0, 1.0], "counts": [0], "above": 0}
    low = 0.0 if from_zero else float(values.min())
    high = max(float(np.quantile(values, 0.99)), low)
    step = _round_up((high - low) / _BINS or 1.0)
    start = np.floor(low / step)
    edges = (start + np.arange(max(1, int(np.ceil(high / step - start - 1e-9))) + 1)) * step
    edges[0] = min(edges[0], low)  # which may lie a rounding below the first of the round numbers
    edges[-1] = max(edges[-1], high)  # which may lie a rounding above the last of the round numbers
    counts, _ = np.histogram(values, bins=edges)
    above = int((values > edges[-1]).sum())
    return {"edges": [float(e) for e in edges], "counts": [int(c) for c in counts], "above": above}


def histograms(objects: ReportObjects, prompts: PromptSet) -> list[dict[str, Any]]:
    """Of every class: sizes in um^2, and mean probabilities of objects."""
    out = []
    for k, prompt in enumerate(prompts):
        mine = objects.of([k])
        area, score = objects.area_um2(mine), objects.score[mine].astype(np.float64)
        # points of other programs have no area, and their objects may have no probability
        area, score = area[area > 0], score[np.isfinite(score)]
        sizes = binned(area)
        counts, _ = np.histogram(score, bins=_SCORE_EDGES)
        out.append(
            {
                "class": prompt.class_name,
                "area": {
                    "edges_um2": sizes["edges"],
                    "counts": sizes["counts"],
                    "above": sizes["above"],
                    "median_um2": float(np.median(area)) if len(area) else None,
                },
                "score": {
                    "edges": [round(float(e), 2) for e in _SCORE_EDGES],
                    "counts": [int(c) for c in counts],
                    "median": float(np.median(score)) if len(score) else None,
                },
            }
        )
    return out


def _round_up(step: float) -> float:
    """The next number of 1, 2 or 5 times a power of ten."""
    power = 10.0 ** np.floor(np.log10(step))
    return float(next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= step * (1 - 1e-9)))
