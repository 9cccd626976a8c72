from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.viewer.pyramid import OVERLAP_PX, TILE_PX, TilePyramid, finest_overlay

pyramids = st.builds(TilePyramid, st.tuples(st.integers(1, 5000), st.integers(1, 5000)), finest=st.integers(-2, 3))


@given(pyramids)
def test_the_coarsest_level_is_one_tile_and_sizes_halve(pyramid: TilePyramid) -> None:
    assert pyramid.grid(pyramid.exponent(0)) == (1, 1)
    assert pyramid.exponent(pyramid.levels - 1) == pyramid.finest
    for level in range(1, pyramid.levels):
        coarse, fine = (pyramid.level_size(pyramid.exponent(n)) for n in (level - 1, level))
        assert coarse == tuple((n + 1) // 2 for n in fine)


@given(pyramids, st.data())
def test_tiles_cover_a_level_and_overlap_by_what_they_share(pyramid: TilePyramid, data: st.DataObject) -> None:
    exponent = pyramid.exponent(data.draw(st.integers(0, pyramid.levels - 1)))
    size, grid = pyramid.level_size(exponent), pyramid.grid(exponent)
    for axis in (0, 1):
        count = np.zeros(size[axis], int)
        for n in range(grid[axis]):
            box = pyramid.box(exponent, *((n, 0) if axis == 0 else (0, n)))
            a, b = ((box.x, box.x1), (box.y, box.y1))[axis]
            assert b - a <= TILE_PX + 2 * OVERLAP_PX
            count[a:b] += 1
        assert count.min() == 1
        assert (count > 1).sum() <= 2 * OVERLAP_PX * (grid[axis] - 1)


@pytest.mark.parametrize(("column", "row"), [(-1, 0), (0, -1), (3, 0), (0, 3)])
def test_a_tile_outside_the_grid_is_refused(column: int, row: int) -> None:
    with pytest.raises(ValueError, match="grid of 3 x 3"):
        TilePyramid((1500, 1100)).box(0, column, row)


@pytest.mark.parametrize("level", [-1, 3])
def test_a_level_that_is_not_there_is_refused(level: int) -> None:
    with pytest.raises(ValueError, match=r"0\.\.2"):
        TilePyramid((1500, 1100)).exponent(level)


@pytest.mark.parametrize(("mpp", "finest"), [(0.1, 0), (0.25, -1), (0.5, -2), (5.0, -3)])
def test_outlines_go_on_below_the_scale_of_coarse_slides(mpp: float, finest: int) -> None:
    assert finest_overlay(mpp) == finest
