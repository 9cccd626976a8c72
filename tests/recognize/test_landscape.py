from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from wsiparse.recognize.embedded.cut import Cut, landscape_of

pytestmark = pytest.mark.kernels


def mixed(maps: NDArray[np.float32], cut: Cut) -> NDArray[np.float32]:
    """What is smoothed."""
    return np.asarray(cut.centre_share * maps[1] + (1 - cut.centre_share) * maps[0] - cut.boundary_share * maps[2])


def to_bytes(smooth: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.asarray(np.rint(np.clip(smooth, 0, 1) * 255).astype(np.uint8))


def slow(maps: NDArray[np.float32], cut: Cut) -> NDArray[np.uint8]:
    """NumPy, an axis after the other, the sums in the order that is promised."""
    radius = int(4 * cut.sigma_px + 0.5)
    weights = np.exp(-0.5 / max(cut.sigma_px, 1e-9) ** 2 * np.arange(-radius, radius + 1) ** 2)
    weights = (weights / weights.sum())[radius:]
    image = mixed(maps, cut)
    for axis in (0, 1):
        lines = np.moveaxis(image, axis, 0).astype(np.float64)
        n = len(lines)
        padded = np.pad(lines, ((radius, radius), (0, 0)), mode="symmetric")
        total = lines * weights[0]
        for k in range(radius, 0, -1):
            total += (padded[radius - k : radius - k + n] + padded[radius + k : radius + k + n]) * weights[k]
        image = np.moveaxis(total.astype(np.float32), 0, axis)
    return to_bytes(image)


@given(
    height=st.integers(1, 24),
    width=st.integers(1, 24),
    sigma=st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0, 1.25, 2.0, 4.0]),
    centre=st.sampled_from([0.0, 0.5, 0.7, 1.0]),
    boundary=st.sampled_from([0.0, 0.3, 1.0]),
    seed=st.integers(0, 99),
)
def test_one_pass_gives_the_bytes_of_several(
    height: int, width: int, sigma: float, centre: float, boundary: float, seed: int
) -> None:
    """Images smaller than the window are mirrored several times."""
    maps = np.random.default_rng(seed).random((6, height, width), np.float32)
    cut = Cut(centre_share=centre, boundary_share=boundary, sigma_px=sigma)
    np.testing.assert_array_equal(landscape_of(maps, cut), slow(maps, cut))


def test_maps_near_0_and_1_and_of_a_part_of_an_array_too() -> None:
    rng = np.random.default_rng(1)
    whole = (1 / (1 + np.exp(-rng.normal(0, 6, (2, 6, 80, 90))))).astype(np.float32)
    for maps in (whole[1], whole[0, :, 3:70, 5:-2]):
        np.testing.assert_array_equal(landscape_of(maps), slow(maps, Cut()))
        scipys = to_bytes(gaussian_filter(mixed(maps, Cut()), Cut().sigma_px, output=np.float32))
        # it may round its products in another way where the processor multiplies and adds at once
        assert np.abs(scipys.astype(np.int64) - landscape_of(maps)).max() <= 1
