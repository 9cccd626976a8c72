from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wsiparse.viewer.kernels import paint_lines

pytestmark = pytest.mark.kernels


@st.composite
def walks(draw: st.DrawFn) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Polylines along the axes that wander in and out of the picture."""
    points, rings = [], [0]
    for _ in range(draw(st.integers(0, 3))):
        steps = draw(st.lists(st.tuples(st.booleans(), st.integers(-9, 9)), max_size=8))
        place = [draw(st.integers(-5, 15)), draw(st.integers(-5, 15))]
        points.append(tuple(place))
        for along_x, step in steps:
            place[0 if along_x else 1] += step
            points.append(tuple(place))
        rings.append(len(points))
    return np.array(points, np.int64).reshape(-1, 2), np.array(rings, np.int64)


@given(walks(), st.integers(0, 3), st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_pixels_near_a_line_are_set_and_no_others(
    lines: tuple[NDArray[np.int64], NDArray[np.int64]], half: int, shape: tuple[int, int]
) -> None:
    points, rings = lines
    image = np.zeros(shape, np.uint8)
    paint_lines(image, points, rings, half)
    # the slow twin asks each pixel how far its centre is from every line
    wanted = np.zeros(shape, np.uint8)
    for r in range(len(rings) - 1):
        ring = points[rings[r] : rings[r + 1]]
        for (ax, ay), (bx, by) in pairwise(ring):
            for y, x in np.ndindex(shape):
                away_x = max(min(ax, bx) - (x + 0.5), x + 0.5 - max(ax, bx), 0)
                away_y = max(min(ay, by) - (y + 0.5), y + 0.5 - max(ay, by), 0)
                wanted[y, x] |= max(away_x, away_y) < half
    np.testing.assert_array_equal(image, wanted)
