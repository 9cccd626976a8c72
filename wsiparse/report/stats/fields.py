"""How much tissue is enough: how far a density from a few random fields lies from that of the whole slide. Pure.

The slide is cut into square fields; those at least half full of tissue are the population, N of them, with counts n_i
on tissue areas a_i. Of m fields taken at random without putting back, the density r = sum n / sum a varies about
R = sum n_i / sum a_i with the standard error (ratio estimator: Cochran, Sampling Techniques, 1977, 6.1 and 2.6)

    SE(r) = sqrt((1 - m / N) S^2 / m) / a,   S^2 = sum (n_i - R a_i)^2 / (N - 1),   a = sum a_i / N

So that 95 of 100 such samples lie within a share d of R,

    m = m0 / (1 + m0 / N),   m0 = (1.96 S / (d R a))^2,   rounded up

fields are needed. The formula holds for samples of about ten fields and more; fewer are told as ten.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from wsiparse.report.stats.density import squares_over
from wsiparse.report.stats.tissue import Tissue

__all__ = ["FIELDS_UM", "FieldSample", "fields_needed"]

Floats = NDArray[np.float64]

#: Edges of the fields, um: about a high-power field, a large field, a core of a tissue array.
FIELDS_UM: Final = (250.0, 500.0, 1000.0)
#: Share of tissue a field needs.
_LEAST_SHARE: Final = 0.5
#: Fewer fields on the slide, or in a sample, are outside what the formula holds for.
_LEAST_FIELDS: Final = 20
_LEAST_SAMPLE: Final = 10


@dataclass(frozen=True, slots=True)
class FieldSample:
    """Fields needed for a density that lies close to the slide's.

    Parameters
    ----------
    field_um : edge of a field
    on_slide : fields at least half full of tissue, N
    per_mm2 : density over them, R
    of_ten : standard error of the density from ten random fields over R, None where unknown
    within : share d
    needed : fields, None where unknown
    mm2 : their mean area of tissue together
    reason : why there is none, "" otherwise
    """

    field_um: float
    on_slide: int
    per_mm2: float | None
    of_ten: float | None
    within: float
    needed: int | None
    mm2: float | None
    reason: str = ""


def fields_needed(
    points_um: Floats, tissue: Tissue, *, field_um: float, within: float = 0.2, level: float = 0.95
) -> FieldSample:
    """Random fields that a density needs to lie within a share of the whole slide's; see the module's text.

    Parameters
    ----------
    points_um : (N, 2) float64, centroids in the tissue, x then y, um
    tissue : what was analysed
    field_um : edge of a field, um
    within : share of the slide's density, 0-1
    level : share of samples
    """
    squares = squares_over(tissue, field_um)
    if squares is None:
        return FieldSample(field_um, 0, None, None, within, None, None, "no tissue was analysed")
    area = tissue.area_between(*squares.lines_um).ravel() * 1e-6
    count = squares.count(points_um, np.zeros(len(points_um), np.int64), 1).ravel()
    full = area >= _LEAST_SHARE * field_um**2 * 1e-6
    a, n, fields = area[full], count[full].astype(np.float64), int(full.sum())
    if fields < _LEAST_FIELDS:
        reason = f"{fields} fields at least half full of tissue, {_LEAST_FIELDS} are needed"
        return FieldSample(field_um, fields, None, None, within, None, None, reason)
    rate, mean = n.sum() / a.sum(), float(a.mean())
    if not rate:
        return FieldSample(field_um, fields, 0.0, None, within, None, None, "none found")
    relative = float(np.sqrt(((n - rate * a) ** 2).sum() / (fields - 1)) / (rate * mean))
    first = (float(stats.norm.ppf((1 + level) / 2)) * relative / within) ** 2
    needed = min(max(math.ceil(first / (1 + first / fields)), _LEAST_SAMPLE), fields)
    of_ten = relative * math.sqrt((1 - _LEAST_SAMPLE / fields) / _LEAST_SAMPLE)
    return FieldSample(field_um, fields, float(rate), of_ten, within, needed, needed * mean)
