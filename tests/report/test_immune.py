from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.report.stats.compartments import region_compartments
from wsiparse.report.stats.immune import infiltrate, nearest_distances
from wsiparse.report.stats.tissue import Tissue

TISSUE = Tissue(np.ones((50, 100), np.bool_), (8.0, 8.0), (800.0, 400.0))
HALVES = region_compartments(
    [("T", shapely.box(0, 0, 300, 400)), ("S", shapely.box(300, 0, 700, 400))], TISSUE, tumour=("T",)
)


def test_counts_and_densities_are_those_of_a_drawing() -> None:
    cells = np.array([[10.0, 10.0], [299.0, 50.0], [301.0, 50.0], [400.0, 300.0], [750.0, 20.0]])
    got = infiltrate(cells, HALVES, stroma=[HALVES.names.index("S")])
    assert (got.n_tumour, got.n_stroma) == (2, 2)
    assert (got.tumour_mm2, got.stroma_mm2) == (pytest.approx(0.12), pytest.approx(0.16))
    assert got.tumour_per_mm2 == pytest.approx(2 / 0.12)
    assert got.stroma_per_mm2 == pytest.approx(2 / 0.16)
    assert infiltrate(cells, HALVES).n_stroma == 3


def test_no_stroma_has_no_density_and_tumour_is_no_stroma() -> None:
    only = region_compartments([("T", shapely.box(0, 0, 800, 400))], TISSUE, tumour=("T",))
    got = infiltrate(np.zeros((0, 2)), only)
    assert (got.stroma_per_mm2, got.tumour_per_mm2) == (None, 0.0)
    with pytest.raises(ValueError, match="not tumour"):
        infiltrate(np.zeros((0, 2)), only, stroma=[0])


clouds = st.integers(0, 10**6).map(lambda s: np.random.default_rng(s).uniform(0, 400, (30, 2)))


@given(clouds, clouds, st.integers(0, 99))
def test_nearest_distances_equal_a_full_table_in_any_order(immune, tumour, seed: int) -> None:
    got = nearest_distances(immune, tumour)
    table = np.hypot(*(immune[:, None] - tumour).transpose(2, 0, 1))
    np.testing.assert_allclose(got.distance_um, table.min(axis=1), rtol=1e-12)
    order = np.random.default_rng(seed).permutation(30)
    other = nearest_distances(immune[order], tumour[order])
    assert other.distance_um.tobytes() == got.distance_um[order].tobytes()
    assert other.mean_um == got.mean_um
    assert got.quantile_um(1.0) == got.distance_um.max()
    assert got.share_within(20.0) == (table.min(axis=1) <= 20).mean()


@given(clouds, st.integers(0, 99))
def test_the_infiltrate_is_the_same_in_any_order(cells, seed: int) -> None:
    random = np.random.default_rng(seed)
    assert infiltrate(cells, HALVES) == infiltrate(cells[random.permutation(30)], HALVES)


def test_distances_without_cells_say_whose_are_missing() -> None:
    some, none = np.zeros((1, 2)), np.zeros((0, 2))
    assert nearest_distances(none, some).reason == "no immune cells were found"
    got = nearest_distances(some, none)
    assert (got.reason, got.quantile_um(0.5), got.share_within(5.0), got.mean_um) == (
        "no tumour cells were found",
        None,
        None,
        None,
    )


def test_random_cells_lie_as_near_as_theory_says() -> None:
    # distance to the nearest of points of density d: mean 1 / (2 sqrt d) (Clark and Evans 1954)
    random = np.random.default_rng(0)
    tumour = random.uniform(0, 2000, (4000, 2))
    immune = random.uniform(200, 1800, (3000, 2))
    mean = nearest_distances(immune, tumour).mean_um
    assert mean == pytest.approx(1 / (2 * np.sqrt(1e-3)), rel=0.03)
