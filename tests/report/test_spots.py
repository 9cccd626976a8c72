from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.stats.density import density_grid
from wsiparse.report.stats.hotspots import hot_spots
from wsiparse.report.stats.spots import GRID_UM, SPOTS, Spot, choose_spots
from wsiparse.report.stats.tissue import Tissue

MPP, SIZE = (0.25, 0.25), (8000, 6000)


def spots_in(counts: np.ndarray, most: int = SPOTS) -> list[Spot]:
    """Spots of a slide full of tissue with so many cells in each square."""
    h, w = counts.shape
    tissue = Tissue(np.ones((h * 25, w * 25), np.bool_), (8.0, 8.0), (w * GRID_UM, h * GRID_UM))
    rows, columns = np.nonzero(counts)
    n = counts[rows, columns]
    corner = np.repeat(np.stack([columns, rows], axis=1), n, axis=0) * GRID_UM
    grid = density_grid(corner + 50.0, np.zeros(len(corner), np.int64), 1, tissue, GRID_UM)
    assert grid is not None
    size = round(w * GRID_UM / MPP[0]), round(h * GRID_UM / MPP[1])
    return choose_spots(grid, 0, hot_spots(grid, 0), mpp=MPP, slide_size=size, most=most)


@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 9))
def test_spots_are_apart_hold_cells_and_hot_ones_come_first(seed: int, h: int, w: int) -> None:
    counts = np.random.default_rng(seed).poisson(1.5, (h, w))
    got = spots_in(counts)
    assert len(got) <= SPOTS
    for a, b in itertools.combinations(got, 2):
        assert max(abs(a.row - b.row), abs(a.column - b.column)) > 1
    assert all(spot.n == counts[spot.row, spot.column] > 0 for spot in got)
    assert [spot.hot for spot in got] == sorted((spot.hot for spot in got), reverse=True)
    # greedy: whatever was not taken is empty or beside one that was taken, unless there are enough
    if len(got) < SPOTS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            assert any(max(abs(s.row - row), abs(s.column - column)) <= 1 for s in got)


def test_where_nothing_is_tested_the_densest_square_comes_first() -> None:
    counts = np.zeros((3, 3), np.int64)
    counts[2, 0], counts[0, 2] = 5, 9
    got = spots_in(counts)
    assert [(s.row, s.column, s.z, s.hot) for s in got] == [(0, 2, None, False), (2, 0, None, False)]


def test_boxes_are_the_squares_in_px_and_end_with_the_slide() -> None:
    counts = np.zeros((2, 2), np.int64)
    counts[1, 1] = 3
    [spot] = spots_in(counts)
    assert (spot.box.x, spot.box.y, spot.box.width, spot.box.height) == (800, 800, 800, 800)
    assert spot.corner_um == (200.0, 200.0)
    assert spot.density_per_mm2 == 75.0
