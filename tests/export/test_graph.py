"""Neighbours of cells, against the circles of Delaunay's definition."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.export.graph import cell_graph


def empty_circles(um: np.ndarray, longest: float) -> set[tuple[int, int]]:
    """Edges of triangles whose circle holds no other point: by the determinant, over all triangles."""
    out = set()
    for triangle in itertools.combinations(range(len(um)), 3):
        a, b, c = um[list(triangle)]
        doubled = 2 * (a[0] * (b[1] - c[1]) + b[0] * (c[1] - a[1]) + c[0] * (a[1] - b[1]))
        if abs(doubled) < 1e-9:
            continue
        squares = [p @ p for p in (a, b, c)]
        x = (squares[0] * (b[1] - c[1]) + squares[1] * (c[1] - a[1]) + squares[2] * (a[1] - b[1])) / doubled
        y = (squares[0] * (c[0] - b[0]) + squares[1] * (a[0] - c[0]) + squares[2] * (b[0] - a[0])) / doubled
        radius = np.hypot(*(a - (x, y)))
        others = np.delete(np.arange(len(um)), triangle)
        if (np.hypot(*(um[others] - (x, y)).T) > radius).all():
            out |= set(itertools.combinations(triangle, 2))
    return {(i, j) for i, j in out if np.hypot(*(um[i] - um[j])) <= longest}


@given(st.integers(4, 14), st.integers(0, 10**6))
def test_neighbours_are_those_of_empty_circles(n: int, seed: int) -> None:
    um = np.random.default_rng(seed).uniform(0, 100, (n, 2))
    assert set(map(tuple, cell_graph(um).tolist())) == empty_circles(um, 50.0)


@pytest.mark.parametrize(
    ("um", "edges"),
    [
        ([], []),
        ([(0, 0)], []),
        ([(0, 0), (50, 0)], [(0, 1)]),
        ([(0, 0), (50.1, 0)], []),
        ([(0, 0), (30, 0), (0, 30)], [(0, 1), (0, 2), (1, 2)]),
        # on a line
        ([(60, 60), (0, 0), (30, 30), (90, 90), (200, 200)], [(0, 2), (0, 3), (1, 2)]),
    ],
)
def test_few_cells_and_cells_on_a_line(um: list, edges: list) -> None:
    assert cell_graph(np.array(um, np.float64).reshape(-1, 2)).tolist() == [list(pair) for pair in edges]


def test_a_cell_on_another_is_its_neighbour() -> None:
    um = np.array([(0, 0), (20, 0), (0, 20), (20, 20.5), (20, 0)], np.float64)
    assert [1, 4] in cell_graph(um).tolist()
    far = np.array([(0, 0), (20, 0), (0, 20), (20, 20.5)], np.float64) + 1e6
    assert cell_graph(far).tolist() == cell_graph(far - 1e6).tolist()
