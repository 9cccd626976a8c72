from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from wsiparse.recognize.stain import (
    OD_OF_BYTE,
    RUIFROK,
    fit_stains,
    hematoxylin_lut,
    macenko,
    od_bytes,
    optical_density,
    otsu,
    plausible,
    through_lut,
)
from wsiparse.types import OD_STEPS

#: A scanner whose hematoxylin and eosin differ from Ruifrok's by 7 and 15 degrees.
SCANNER = np.array([[0.60, 0.76, 0.24], [0.30, 0.92, 0.25]]) / np.linalg.norm(
    [[0.60, 0.76, 0.24], [0.30, 0.92, 0.25]], axis=1, keepdims=True
)


def stained(stains: NDArray[np.float64], seed: int = 0) -> NDArray[np.uint8]:
    """Pixels that hold the two stains in all proportions, either alone included."""
    rng = np.random.default_rng(seed)
    share = np.clip(rng.uniform(-0.2, 1.2, 40_000), 0, 1)
    amount = rng.uniform(0.4, 1.2, 40_000)
    od = (amount * share)[:, None] * stains[0] + (amount * (1 - share))[:, None] * stains[1]
    return np.clip(np.rint(256 * 10.0**-od - 1), 0, 255).astype(np.uint8).reshape(200, 200, 3)


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 9), st.integers(1, 9), st.just(3))))
def test_a_byte_of_od_is_the_mean_of_the_channels_to_half_a_step(rgb: NDArray[np.uint8]) -> None:
    exact = -np.log10((rgb.astype(np.float64) + 1) / 256).mean(axis=-1)
    found = od_bytes(rgb)
    assert (found.dtype, found.shape) == (np.uint8, rgb.shape[:-1])
    assert (np.abs(found / OD_STEPS - exact) <= 0.0051).all()


def test_bytes_of_od_of_all_grays_are_those_of_the_formula() -> None:
    gray = np.arange(256)
    exact = -100 * np.log10((gray + 1) / 256)
    found = od_bytes(np.stack([gray] * 3, axis=-1).astype(np.uint8))
    clear = np.abs(exact % 1 - 0.5) > 0.006  # elsewhere the table's own rounding may tip the scale
    assert clear.sum() > 240
    np.testing.assert_array_equal(found[clear], np.rint(exact[clear]))
    assert (found[255], found[0]) == (0, 241)


def test_bytes_of_od_do_not_care_for_the_order_of_channels_or_the_layout() -> None:
    rgb = stained(SCANNER)
    expected = od_bytes(rgb)
    np.testing.assert_array_equal(od_bytes(rgb[..., ::-1]), expected)
    np.testing.assert_array_equal(od_bytes(np.asfortranarray(rgb)), expected)
    np.testing.assert_array_equal(od_bytes(rgb[::3, 1::2]), expected[::3, 1::2])


def test_density_is_zero_for_white_and_finite_for_black() -> None:
    od = optical_density(np.array([255, 127, 0], np.uint8))
    np.testing.assert_allclose(od, [0, np.log10(2), np.log10(256)], atol=1e-6)


def test_macenko_recovers_the_stains_of_a_scanner() -> None:
    found = macenko(stained(SCANNER))
    assert found is not None
    angle = np.degrees(np.arccos(np.clip((found * SCANNER).sum(axis=1), -1, 1)))
    assert (angle < 3).all()


def test_fit_prefers_the_slides_own_stains_when_they_are_plausible() -> None:
    assert np.abs(fit_stains(stained(SCANNER)) - SCANNER).max() < 0.05


def test_fit_falls_back_to_fixed_vectors_on_glass_and_on_ink() -> None:
    np.testing.assert_array_equal(fit_stains(np.full((100, 100, 3), 250, np.uint8)), RUIFROK)
    ink = stained(np.array([[0.9, 0.3, 0.3], [0.2, 0.3, 0.93]]))
    np.testing.assert_array_equal(fit_stains(ink), RUIFROK)


@pytest.mark.parametrize(
    "stains",
    [
        [[0.65, 0.70, 0.29], [0.65, 0.71, 0.27]],  # one stain twice
        [[0.07, 0.99, 0.11], [0.65, 0.70, 0.29]],  # swapped
        [[0.65, 0.70, -0.29], [0.07, 0.99, 0.11]],  # emits light
    ],
)
def test_impossible_pairs_are_not_plausible(stains: list[list[float]]) -> None:
    pair = np.array(stains)
    assert not plausible(pair / np.linalg.norm(pair, axis=1, keepdims=True))


@given(st.lists(st.integers(0, 255), min_size=3, max_size=3))
def test_the_table_gives_the_first_coefficient_of_the_unmixing(rgb: list[int]) -> None:
    unit = SCANNER / np.linalg.norm(SCANNER, axis=1, keepdims=True)
    rest = np.cross(unit[0], unit[1])
    basis = np.vstack([unit, rest / np.linalg.norm(rest)])
    od = OD_OF_BYTE[np.array(rgb)].astype(np.float64)
    expected = np.linalg.solve(basis.T, od)[0]
    got = through_lut(np.array(rgb, np.uint8), hematoxylin_lut(SCANNER))
    assert float(got) == pytest.approx(expected, abs=1e-5)


def test_eosin_alone_holds_no_hematoxylin() -> None:
    od = 0.8 * RUIFROK[1]
    rgb = np.rint(256 * 10.0**-od - 1).astype(np.uint8)
    assert abs(float(through_lut(rgb, hematoxylin_lut(RUIFROK)))) < 0.02


def test_otsu_separates_two_heaps() -> None:
    rng = np.random.default_rng(1)
    values = np.concatenate([rng.normal(0.1, 0.02, 5000), rng.normal(0.6, 0.05, 1000)])
    assert 0.15 < otsu(values) < 0.45


def test_otsu_of_equal_values_is_that_value() -> None:
    assert otsu(np.full(10, 0.25)) == pytest.approx(0.25)
