from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsiparse.coords import SNAP, Frame, frame_at, to_level0, to_qupath, um2_per_px, um_to_px
from wsiparse.errors import PlanError

sizes = st.tuples(st.integers(1, 200_000), st.integers(1, 200_000))
mpps = st.floats(0.05, 2.0)


@given(sizes, mpps, mpps, st.floats(0.1, 20))
def test_a_frame_holds_whole_pixels_inside_the_slide(
    size: tuple[int, int], mx: float, my: float, target: float
) -> None:
    frame = frame_at(size, (mx, my), target)
    for n, f, extent in zip(frame.size, frame.downsample, size, strict=True):
        assert n == 1 or n * f <= extent * (1 + 1e-8)
        assert (n + 1) * f > extent * (1 - 1e-8)


@given(mpps, st.integers(1, 9), st.floats(-0.9 * SNAP, 0.9 * SNAP))
def test_downsamples_close_to_a_whole_number_become_it(mpp: float, whole: int, off: float) -> None:
    frame = frame_at((100_000, 100_000), (mpp, mpp), mpp * whole * (1 + off))
    assert frame.downsample == (whole, whole)
    assert frame.mpp == (mpp * whole, mpp * whole)


@given(mpps, st.integers(2, 8), st.floats(-0.9 * SNAP, 0.9 * SNAP))
def test_enlargements_close_to_a_whole_number_become_it(mpp: float, times: int, off: float) -> None:
    frame = frame_at((1000, 1000), (mpp, mpp), mpp / times * (1 + off))
    assert frame.downsample == (1 / times, 1 / times)


def test_the_real_scanners_of_the_field_get_whole_factors() -> None:
    for mpp, factor in ((0.499, 1), (0.2527, 2), (0.2425, 2), (0.1725, 3)):
        assert frame_at((1000, 1000), (mpp, mpp), 0.5).downsample[0] == factor


def test_a_scale_between_whole_numbers_is_kept_as_it_is() -> None:
    assert frame_at((1000, 1000), (0.3, 0.3), 0.5).downsample[0] == pytest.approx(5 / 3)


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan"), float("inf")])
def test_an_unusable_target_is_a_plan_error(target: float) -> None:
    with pytest.raises(PlanError, match="positive number of microns"):
        frame_at((10, 10), (0.5, 0.5), target)


def test_points_go_to_level0_and_to_qupath_and_lengths_to_pixels() -> None:
    frame = Frame((10, 10), (2.0, 4.0), (0.5, 1.0))
    level0 = to_level0(np.array([[1, 1], [3, 2]], np.int32), frame)
    np.testing.assert_array_equal(level0, [[2, 4], [6, 8]])
    np.testing.assert_array_equal(to_qupath(level0, (2, 3)), [[0, 1], [4, 5]])
    assert um2_per_px(frame) == 0.5
    assert um_to_px(1.0, frame) == pytest.approx(2**0.5)


@pytest.mark.parametrize(
    "wrong",
    [{"size": (0, 1)}, {"downsample": (0.0, 1.0)}, {"downsample": (float("nan"), 1.0)}, {"mpp": (1.0, -1.0)}],
)
def test_a_frame_checks_itself(wrong: dict[str, tuple[float, float]]) -> None:
    with pytest.raises(ValueError, match="frame"):
        Frame(**({"size": (1, 1), "downsample": (1.0, 1.0), "mpp": (1.0, 1.0)} | wrong))  # type: ignore[arg-type]
