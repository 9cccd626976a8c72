"""Regions in microns that fit on the slide: told where the tissue tells them, and never of files that are right."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from numpy.typing import NDArray
from scipy import ndimage
from shapely.geometry.base import BaseGeometry

from wsiparse.coords import Frame
from wsiparse.tiling import microns_told

CELL_UM = 8.0
CELLS = (400, 300)


def told(
    regions: BaseGeometry, tissue: NDArray[np.bool_], mpp: tuple[float, float], offset: tuple[float, float] = (0, 0)
) -> tuple[str, ...]:
    frame, size = frame_of(mpp)
    return microns_told(regions, tissue, frame, slide_size=size, mpp=mpp, offset=offset)


def frame_of(mpp: tuple[float, float]) -> tuple[Frame, tuple[int, int]]:
    cell = (CELL_UM / mpp[0], CELL_UM / mpp[1])
    return Frame(CELLS, cell, (CELL_UM, CELL_UM)), (int(CELLS[0] * cell[0]), int(CELLS[1] * cell[1]))


def in_microns(regions: BaseGeometry, mpp: tuple[float, float], offset: tuple[float, float] = (0, 0)) -> BaseGeometry:
    """As a file in microns of QuPath's frame is read."""
    return shapely.transform(regions, lambda xy: (xy - offset) * mpp + offset)


def random_tissue(seed: int) -> NDArray[np.bool_]:
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=CELLS[::-1]), rng.uniform(8, 40))
    mask: NDArray[np.bool_] = field > np.quantile(field, 1 - rng.uniform(0.05, 0.6))
    return mask


def drawn(tissue: NDArray[np.bool_], mpp: float, seed: int, part: float) -> BaseGeometry | None:
    """One to five ovals about places of tissue, within the upper left `part` of the slide."""
    rng = np.random.default_rng(seed)
    ys, xs = np.nonzero(tissue[: int(CELLS[1] * part), : int(CELLS[0] * part)])
    if not len(xs):
        return None
    cell = CELL_UM / mpp
    shapes = []
    for k in rng.integers(len(xs), size=rng.integers(1, 6)):
        oval = shapely.Point((xs[k] + 0.5) * cell, (ys[k] + 0.5) * cell).buffer(rng.uniform(5, 60) * cell * part, 8)
        shapes.append(shapely.affinity.scale(oval, 1, rng.uniform(0.3, 1)))
    _, size = frame_of((mpp, mpp))
    return shapely.intersection(shapely.union_all(shapes), shapely.box(0, 0, size[0] * part, size[1] * part))


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_regions_that_are_right_are_never_doubted_even_where_all_lie_in_the_corner(mpp: float) -> None:
    for seed in range(40):
        tissue = random_tissue(seed)
        for part in (1.0, mpp):
            regions = drawn(tissue, mpp, seed + 1000, part)
            if regions is not None:
                assert told(regions, tissue, (mpp, mpp)) == (), (seed, part)


@pytest.mark.parametrize("mpp", [0.25, 0.5])
def test_regions_in_microns_are_noticed_in_a_fifth_of_random_slides(mpp: float) -> None:
    noticed = 0
    for seed in range(40):
        tissue = random_tissue(seed)
        regions = drawn(tissue, mpp, seed + 1000, 1.0)
        assert regions is not None
        noticed += bool(told(in_microns(regions, (mpp, mpp)), tissue, (mpp, mpp)))
    assert noticed > 8, noticed


def piece() -> NDArray[np.bool_]:
    """Tissue in the middle of the slide, 1600 x 1200 um."""
    tissue = np.zeros(CELLS[::-1], np.bool_)
    tissue[75:225, 100:300] = True
    return tissue


@pytest.mark.parametrize(("mpp", "offset"), [((0.25, 0.25), (0, 0)), ((0.5, 0.4), (0, 0)), ((0.5, 0.5), (300, 200))])
def test_both_shares_and_the_remedy_are_told(mpp: tuple[float, float], offset: tuple[float, float]) -> None:
    um = shapely.box(850.0, 650.0, 1500.0, 1100.0)  # within the piece
    true = shapely.transform(um, lambda xy: xy / mpp)
    assert told(true, piece(), mpp, offset) == ()
    (line,) = told(in_microns(true, mpp, offset), piece(), mpp, offset)
    assert "read as px, 0 % of their area is tissue; read as microns, 100 % would be" in line
    assert "divide all coordinates by " + ("0.5 (x) and 0.4 (y)" if mpp[0] != mpp[1] else f"{mpp[0]:g}") in line


def test_where_both_readings_fall_on_tissue_nothing_can_be_known() -> None:
    everywhere = np.ones(CELLS[::-1], np.bool_)
    assert told(shapely.box(100, 100, 700, 700), everywhere, (0.25, 0.25)) == ()
    nowhere = np.zeros(CELLS[::-1], np.bool_)
    assert told(shapely.box(100, 100, 700, 700), nowhere, (0.25, 0.25)) == ()


def test_pixels_of_a_micron_and_regions_that_reach_too_far_are_not_doubted() -> None:
    corner = shapely.box(10, 10, 200, 200)
    assert told(corner, piece(), (1.0, 1.0)) == ()
    far = shapely.union(corner, shapely.box(9000, 100, 9100, 200))  # past a quarter of the slide's 12,800 px
    assert told(far, piece(), (0.25, 0.25)) == ()
