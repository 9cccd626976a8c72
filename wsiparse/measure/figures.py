"""Figures of an evaluation or a comparison from the sums of its fields. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from wsiparse.measure.intervals import Estimate, bland_altman, draw_weights, ratio
from wsiparse.measure.matching import SUMS, FieldSums

__all__ = ["ALL", "FIGURES", "NOTHING", "NO_CLASS", "field_rows", "figures_of"]

Floats = NDArray[np.float64]

#: What all nuclei together are called, and the last two rows and columns of a confusion matrix.
ALL: Final = "all nuclei"
NO_CLASS: Final = "no class"
NOTHING: Final = "nothing there"

#: Figure -> what it says; "count_ratio" is found over annotated, 1 where the counts agree.
FIGURES: Final = {
    "precision": "share of found nuclei that are annotated",
    "recall": "share of annotated nuclei that are found",
    "f1": "F1 of centroids within 3 um",
    "iou_f1": "F1 of outlines with IoU > .5",
    "pq": "panoptic quality",
    "aji": "aggregated Jaccard index",
    "count_ratio": "found over annotated",
}

_NOT_PARTIAL: Final = "not every nucleus of these fields is annotated"
_NO_OUTLINES: Final = "one side has points, no outlines"


def _at(sums: Floats, name: str) -> Floats:
    return np.asarray(sums[:, SUMS.index(name)])


def _parts(sums: Floats) -> dict[str, tuple[Floats, Floats, Literal["logit", "log"]]]:
    """Numerator, denominator and scale of every figure, (F,) each."""
    both = _at(sums, "truth") + _at(sums, "found")
    return {
        "precision": (_at(sums, "pairs"), _at(sums, "found"), "logit"),
        "recall": (_at(sums, "pairs"), _at(sums, "truth"), "logit"),
        "f1": (2 * _at(sums, "pairs"), both, "logit"),
        "iou_f1": (2 * _at(sums, "overlaps"), both, "logit"),
        "pq": (2 * _at(sums, "iou"), both, "logit"),
        "aji": (_at(sums, "aji_above"), _at(sums, "aji_below"), "logit"),
        "count_ratio": (_at(sums, "found"), _at(sums, "truth"), "log"),
    }


def _figure(name: str, sums: Floats, weights: Floats, *, outlined: bool, partial: bool, overall: bool) -> Estimate:
    # of all nuclei without partner nothing is known; a wrong class among pairs is known
    if partial and (overall or name == "count_ratio") and name != "recall":
        return Estimate(None, reason=_NOT_PARTIAL)
    if name in ("iou_f1", "pq", "aji") and not outlined:
        return Estimate(None, reason=_NOT_PARTIAL if partial else _NO_OUTLINES)
    above, below, scale = _parts(sums)[name]
    return ratio(above, below, weights, scale)


def figures_of(
    fields: Sequence[FieldSums], classes: Sequence[str], *, partial: bool = False, seed: int = 0
) -> dict[str, Any]:
    """Everything over all fields.

    Parameters
    ----------
    fields : at least one
    classes : names, of the columns of `FieldSums.classes`
    partial : see `wsiparse.measure.matching.compare_sides`
    seed : of the bootstrap

    Returns
    -------
    "rows": one for all nuclei and one for each class that either side has: "class", "annotated", "found", "pairs", the
    figures of `FIGURES` as dicts of `Estimate`, "limits" as that of `Limits`; "confusion": "names" and "counts"
    """
    weights = draw_weights(len(fields), seed)
    mm2 = np.array([f.mm2 for f in fields])
    stacks = [(ALL, np.array([f.nuclei for f in fields]))]
    stacks += [(name, np.array([f.classes[k] for f in fields])) for k, name in enumerate(classes)]
    outlined = all(f.outlined for f in fields)
    rows = []
    for name, sums in stacks:
        truth, found = _at(sums, "truth"), _at(sums, "found")
        if name != ALL and not truth.sum() + found.sum():
            continue
        limits = bland_altman(truth, found, mm2)
        if partial:
            limits = bland_altman(truth[:0], found[:0], mm2[:0])
        rows.append(
            {
                "class": name,
                "annotated": int(truth.sum()),
                "found": int(found.sum()),
                "pairs": int(_at(sums, "pairs").sum()),
                **{
                    figure: asdict(
                        _figure(figure, sums, weights, outlined=outlined, partial=partial, overall=name == ALL)
                    )
                    for figure in FIGURES
                },
                "limits": {**asdict(limits), **({"reason": _NOT_PARTIAL} if partial else {})},
            }
        )
    confusion = np.sum([f.confusion for f in fields], axis=0)
    names = [*classes, NO_CLASS, NOTHING]
    used = [k for k in range(len(names)) if confusion[k].any() or confusion[:, k].any() or k == len(names) - 1]
    return {
        "rows": rows,
        "confusion": {"names": [names[k] for k in used], "counts": confusion[np.ix_(used, used)].tolist()},
    }


def field_rows(fields: Sequence[FieldSums], classes: Sequence[str], *, partial: bool = False) -> list[dict[str, Any]]:
    """One flat row a field and class, without intervals: slide, field, mm2, class, counts, figures; None where absent.

    Parameters
    ----------
    fields, classes, partial : as of `figures_of`
    """
    rows = []
    for field in fields:
        for name, sums in ((ALL, field.nuclei), *zip(classes, field.classes, strict=True)):
            if name != ALL and not sums[:2].any():
                continue
            numbers = {}
            for figure, (above, below, _) in _parts(sums[None]).items():
                absent = partial and (name == ALL or figure == "count_ratio") and figure != "recall"
                known = not absent and below[0] > 0 and np.isfinite(above[0])
                numbers[figure] = float(above[0] / below[0]) if known else None
            counts = dict(zip(("annotated", "found", "pairs"), (int(n) for n in sums[:3]), strict=True))
            place = {"slide": field.slide, "field": field.field, "mm2": field.mm2, "class": name}
            rows.append({**place, **counts, **numbers})
    return rows
