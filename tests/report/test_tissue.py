from __future__ import annotations

import itertools
from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wsiparse.report.stats import tissue as module
from wsiparse.report.stats.tissue import Tissue

LINES = st.lists(st.floats(-20, 140), min_size=2, max_size=12, unique=True).map(sorted)


@given(
    hnp.arrays(np.bool_, (11, 13)),
    LINES,
    LINES,
    st.sampled_from([None, shapely.Point(50, 40).buffer(37.3), shapely.box(10.5, 3, 80, 77.7)]),
    st.integers(1, 5),
    st.tuples(st.integers(0, 11), st.integers(0, 11)),
)
@settings(max_examples=60)
def test_areas_are_the_same_a_few_rows_at_a_time_and_at_once(
    mask: NDArray[np.bool_],
    xs: list[float],
    ys: list[float],
    region: shapely.Polygon | None,
    rows: int,
    part: tuple[int, int],
) -> None:
    found = []
    for most in (rows, 1000):
        tissue = Tissue(mask, (8.0, 7.0), (100.0, 76.0), region)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "_ROWS", most)
            found.append((tissue.area_between(np.array(xs), np.array(ys)), tissue.area_um2(), tissue.area_mm2))
            np.testing.assert_array_equal(tissue.cells, found[-1][1] > 0)
            np.testing.assert_array_equal(tissue.area_um2(slice(*part)), found[-1][1][slice(*part)])
    (between, each, total), (between_once, each_once, total_once) = found
    np.testing.assert_array_equal(between, between_once)
    np.testing.assert_array_equal(each, each_once)
    assert total == pytest.approx(total_once, rel=1e-12)
    assert total == pytest.approx(each.sum() * 1e-6, rel=1e-12)


@given(hnp.arrays(np.bool_, (11, 13)), LINES, LINES)
@settings(max_examples=40)
def test_areas_are_those_of_cell_by_cell_overlaps(mask: NDArray[np.bool_], xs: list[float], ys: list[float]) -> None:
    # lengths as they are in mathematics: lines may lie 1e-300 um apart
    def overlap(low: float, high: float, start: int, end: int) -> Fraction:
        return max(min(Fraction(high), Fraction(end)) - max(Fraction(low), Fraction(start)), Fraction(0))

    tissue = Tissue(mask, (8.0, 7.0), (100.0, 76.0))
    cells = [((8 * x, min(8 * x + 8, 100)), (7 * y, min(7 * y + 7, 76))) for y, x in np.argwhere(mask).tolist()]
    found = tissue.area_between(np.array(xs), np.array(ys))
    for i, (y0, y1) in enumerate(itertools.pairwise(ys)):
        for j, (x0, x1) in enumerate(itertools.pairwise(xs)):
            expected = sum(overlap(x0, x1, *column) * overlap(y0, y1, *row) for column, row in cells)
            assert found[i, j] == pytest.approx(float(expected), abs=1e-6)
