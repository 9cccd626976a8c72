from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy import ndimage

from tests.tiling.painted_pieces import CELL_UM, Mask, discs_of_tissue, seen, squares_of_tissue, strips_of_tissue
from wsiparse.coords import Frame
from wsiparse.tiling import AnalysisArea, covered_mm2, find_tissue
from wsiparse.tiling.cover import WHOLE, shares_in


def cover_of(tissue: Mask, **painted: float) -> NDArray[np.uint8]:
    return find_tissue(seen(tissue, **painted), CELL_UM).shares


def measured(tissue: Mask, **painted: float) -> float:
    """Area found over the area that was painted."""
    return float(cover_of(tissue, **painted).sum()) / WHOLE * CELL_UM**2 / float(tissue.sum())


#: Largest error of the area, by the width of a piece, um.
BOUND = {60: 0.05, 100: 0.05, 200: 0.02, 400: 0.02, 800: 0.02}


@pytest.mark.parametrize("gap_um", [50, 90, 200, 400])
@pytest.mark.parametrize("width_um", [60, 100, 200, 400])
def test_strips_have_the_area_that_was_painted(width_um: int, gap_um: int) -> None:
    tissue = strips_of_tissue(width_um, gap_um, 0.37 * (gap_um % 70), count=2)
    assert measured(tissue) == pytest.approx(1, abs=BOUND[width_um])


@pytest.mark.parametrize(("edge_um", "gap_um"), [(100, 60), (200, 50), (200, 400), (800, 80)])
def test_fragments_have_the_area_that_was_painted(edge_um: int, gap_um: int) -> None:
    tissue = squares_of_tissue(edge_um, gap_um, 0.3, count=2 if edge_um < 800 else 1)
    assert measured(tissue) == pytest.approx(1, abs=BOUND[edge_um])


@pytest.mark.parametrize(("diameter_um", "gap_um"), [(600, 50), (600, 300), (200, 60), (100, 90)])
def test_round_cores_have_the_area_that_was_painted(diameter_um: int, gap_um: int) -> None:
    tissue = discs_of_tissue(diameter_um, gap_um, count=2 if diameter_um < 600 else 1)
    assert measured(tissue) == pytest.approx(1, abs=BOUND.get(diameter_um, 0.02))


@pytest.mark.parametrize(
    "painted",
    [{"strength": 0.1, "noise": 1.0}, {"strength": 0.3}, {"strength": 2.5}, {"dab": 1.2}, {"grey": True}],
    ids=["a tenth of the stain", "pale", "dark", "brown", "grey"],
)
def test_other_stains_have_the_same_area(painted: dict[str, float]) -> None:
    tissue = strips_of_tissue(200, 120, 0.5, count=2)
    assert measured(tissue, **painted) == pytest.approx(1, abs=0.03)


def test_strands_of_fat_are_their_own_area_and_vacuoles_are_glass() -> None:
    # vacuoles of 70 um with walls of 6 um, in a lobule of 1 mm
    rng = np.random.default_rng(3)
    size = 1280
    centres = np.zeros((size, size), np.bool_)
    centres[tuple((rng.random((330, 2)) * size).astype(int).T)] = True
    _, (row, column) = ndimage.distance_transform_edt(~centres, return_indices=True)
    owner = row * size + column
    walls = (owner != np.roll(owner, 1, 0)) | (owner != np.roll(owner, 1, 1))
    y, x = np.mgrid[0:size, 0:size] - size / 2
    tissue = ndimage.binary_dilation(walls, iterations=3) & (np.hypot(x, y) < 500)
    assert measured(tissue) == pytest.approx(1, abs=0.15)
    beside = np.pad(tissue, ((0, 0), (0, 640)))
    beside[300:900, 1380:1800] = True
    assert cover_of(beside)[:, :160].sum() / WHOLE * CELL_UM**2 == pytest.approx(tissue.sum(), rel=0.25)
    shares = cover_of(tissue)
    # nuclei of fat cells lie in the walls: none is lost
    counted = np.kron(shares > 0, np.ones((CELL_UM, CELL_UM), np.bool_))
    assert counted[tissue].mean() > 0.99


def test_a_lumen_is_glass_and_its_wall_is_not() -> None:
    y, x = np.mgrid[0:960, 0:960] - 480 + 0.5
    ring = (np.hypot(x, y) < 350) & (np.hypot(x, y) > 60)
    shares = cover_of(ring)
    assert shares.sum() / WHOLE * CELL_UM**2 == pytest.approx(ring.sum(), rel=0.02)
    assert shares[60, 60] == 0


@pytest.mark.parametrize("width_um", [60, 100, 200])
def test_every_place_of_a_thin_piece_counts_and_little_beside_it(width_um: int) -> None:
    tissue = strips_of_tissue(width_um, 90, 0.4, count=2)
    counted = np.kron(cover_of(tissue) > 0, np.ones((CELL_UM, CELL_UM), np.bool_))
    assert counted[tissue].mean() > 0.9999
    assert not counted[ndimage.distance_transform_edt(~tissue) > 32].any()


def test_objects_per_area_are_those_painted() -> None:
    # centres of nuclei at 3,000 per mm2 within the tissue; debris would lie beside it
    rng = np.random.default_rng(8)
    for width_um in (60, 100, 200):
        tissue = strips_of_tissue(width_um, 60, 0.25, count=3)
        points = rng.random((400_000, 2)) * tissue.shape[::-1]
        points = points[tissue[points[:, 1].astype(int), points[:, 0].astype(int)]]
        shares = cover_of(tissue)
        frame = Frame(shares.shape[::-1], (CELL_UM * 4.0,) * 2, (float(CELL_UM),) * 2)
        area = AnalysisArea((shares.shape[1] * 32, shares.shape[0] * 32), frame, shares > 0, cover=shares)
        counted = area.keeps(points * 4).sum()
        assert counted == len(points)
        density = counted / area.area_mm2((0.25, 0.25))
        assert density == pytest.approx(len(points) / (tissue.sum() * 1e-6), rel=0.02)


def test_dense_dark_tissue_is_covered_whole() -> None:
    tissue = squares_of_tissue(500, 100, 0.2, count=1)
    inside = ndimage.distance_transform_edt(tissue) > 24
    for strength in (1.0, 4.0):
        shares = np.kron(cover_of(tissue, strength=strength), np.ones((CELL_UM, CELL_UM), np.uint8))
        assert (shares[inside] == WHOLE).all()


@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6))),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.data(),
)
def test_the_area_is_the_sum_over_cells(shares: NDArray[np.uint8], size: tuple[int, int], data: st.DataObject) -> None:
    rows, columns = shares.shape
    down = (max(1.0, size[0] / columns), max(1.0, size[1] / rows))
    excluded = [data.draw(hnp.arrays(np.bool_, shares.shape)) for _ in range(data.draw(st.integers(0, 2)))]
    want = Fraction(0)
    for y, x in np.ndindex(shares.shape):
        if not any(cells[y, x] for cells in excluded):
            ends = [
                max(min(Fraction(k + 1) * Fraction(f), n) - min(Fraction(k) * Fraction(f), n), Fraction(0))
                for k, f, n in zip((x, y), down, size, strict=True)
            ]
            want += ends[0] * ends[1] * int(shares[y, x]) / WHOLE
    frame = Frame((columns, rows), down, down)
    got = covered_mm2(shares, frame, size, (1e3, 1e3), excluded=excluded)
    assert got == pytest.approx(float(want), rel=1e-9, abs=1e-9)
    everything = shapely.box(-1, -1, 50, 50)
    assert covered_mm2(shares, frame, size, (1e3, 1e3), region=everything, excluded=excluded) == pytest.approx(
        got, rel=1e-9, abs=1e-9
    )


def test_cells_outside_the_mask_have_no_share() -> None:
    mask = np.array([[True, False]])
    assert shares_in(mask, None).tolist() == [[WHOLE, 0]]
    assert shares_in(mask, np.array([[7, 9]], np.uint8)).tolist() == [[7, 0]]
