from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fixtures_slides import textured
from wsiparse.coords import Frame
from wsiparse.slides.resample import axis_weights, block_mean, choose_level, level_steps, read_frame, resample
from wsiparse.types import Box

steps = st.one_of(
    st.integers(1, 9).map(float),
    st.floats(1.0, 9.0),
    st.floats(0.15, 0.999),
    st.sampled_from([0.5, 1 / 3, 1.5, 0.909, 0.9999, 1.0001, 2.0005]),
)

PICTURE = textured(70, 90)


def frame(step_x: float, step_y: float, size: tuple[int, int] = (10, 10)) -> Frame:
    return Frame(size, (step_x, step_y), (step_x, step_y))


def read_picture(box: Box, over: Frame) -> np.ndarray:
    def level(number: int, wanted: Box) -> np.ndarray:
        assert number == 0
        assert wanted.clip((90, 70)) == wanted
        return PICTURE[wanted.y : wanted.y1, wanted.x : wanted.x1]

    return read_frame(box, over, ((90, 70),), (1, 2, 3), level)


@given(step=steps, start=st.integers(-50, 10**6), count=st.integers(1, 40))
def test_every_row_of_weights_sums_to_the_same_total(step: float, start: int, count: int) -> None:
    weights = axis_weights(start, count, step)
    assert (weights.weights.sum(axis=1) == weights.total).all()


@given(step=steps, start=st.integers(-50, 10**6), count=st.integers(2, 40), data=st.data())
def test_the_weights_of_a_pixel_do_not_depend_on_where_the_request_starts(
    step: float, start: int, count: int, data: st.DataObject
) -> None:
    skip = data.draw(st.integers(1, count - 1))
    whole, part = axis_weights(start, count, step), axis_weights(start + skip, count - skip, step)
    np.testing.assert_array_equal(whole.first[skip:], part.first)
    np.testing.assert_array_equal(whole.weights[skip:], part.weights)


@given(
    step_x=steps,
    step_y=steps,
    box=st.builds(Box, st.integers(-30, 60), st.integers(-30, 60), st.integers(1, 80), st.integers(1, 80)),
    data=st.data(),
)
def test_a_crop_of_a_read_is_a_read_of_the_crop(step_x: float, step_y: float, box: Box, data: st.DataObject) -> None:
    left, top = data.draw(st.integers(0, box.width - 1)), data.draw(st.integers(0, box.height - 1))
    width, height = data.draw(st.integers(1, box.width - left)), data.draw(st.integers(1, box.height - top))
    over = frame(step_x, step_y)
    whole = read_picture(box, over)
    part = read_picture(Box(box.x + left, box.y + top, width, height), over)
    assert whole.shape == (box.height, box.width, 3)
    np.testing.assert_array_equal(whole[top : top + height, left : left + width], part)


@given(step=st.tuples(st.integers(1, 12), st.integers(1, 12)), size=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_the_fast_path_for_whole_steps_equals_the_general_one(step: tuple[int, int], size: tuple[int, int]) -> None:
    width, height = step[0] * size[0], step[1] * size[1]
    source = textured(height, width, seed=width * 100 + height)
    general = resample(
        source, (0, 0), axis_weights(0, size[0], float(step[0])), axis_weights(0, size[1], float(step[1]))
    )
    np.testing.assert_array_equal(block_mean(source, step), general)


@pytest.mark.kernels
@given(
    step=st.one_of(st.just((2, 2)), st.tuples(st.integers(1, 40), st.integers(1, 40))),
    size=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    seed=st.integers(0, 2**32 - 1),
    low=st.sampled_from([0, 250, 255]),
)
def test_compiled_means_equal_the_general_weights_to_the_last_bit(
    step: tuple[int, int], size: tuple[int, int], seed: int, low: int
) -> None:
    shape = (step[1] * size[1], step[0] * size[0], 3)
    source = np.random.default_rng(seed).integers(low, 256, shape).astype(np.uint8)
    general = resample(
        source, (0, 0), axis_weights(0, size[0], float(step[0])), axis_weights(0, size[1], float(step[1]))
    )
    np.testing.assert_array_equal(block_mean(source, step), general)
    np.testing.assert_array_equal(block_mean(np.asfortranarray(source), step), general)


@pytest.mark.kernels
def test_the_largest_blocks_are_still_exact() -> None:
    source = np.full((512, 512, 3), 255, np.uint8)
    source[256:, :, 0] = 0
    source[0, 0] = (0, 254, 1)
    for step in ((256, 256), (32, 512), (511, 1)):
        part = source[: 512 // step[1] * step[1], : 512 // step[0] * step[0]]
        x, y = (axis_weights(0, part.shape[1 - k] // step[k], float(step[k])) for k in (0, 1))
        np.testing.assert_array_equal(block_mean(part, step), resample(part, (0, 0), x, y))


def test_only_whole_blocks_of_rgb_are_averaged() -> None:
    for shape, step in (((7, 8, 3), (2, 2)), ((8, 8, 4), (2, 2)), ((300, 300, 3), (300, 300))):
        with pytest.raises(ValueError, match="blocks of"):
            block_mean(np.zeros(shape, np.uint8), step)


@given(step=st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_whole_steps_give_the_mean_rounded_half_up(step: tuple[int, int]) -> None:
    sx, sy = step
    h, w = 70 // sy, 90 // sx
    blocks = PICTURE[: h * sy, : w * sx].reshape(h, sy, w, sx, 3).astype(np.int64)
    exact = (2 * blocks.sum(axis=(1, 3)) + sx * sy) // (2 * sx * sy)
    np.testing.assert_array_equal(read_picture(Box(0, 0, w, h), frame(sx, sy)), exact)


@given(step_x=st.floats(1.0, 7.0), step_y=st.floats(1.0, 7.0))
def test_fractional_steps_give_the_area_average(step_x: float, step_y: float) -> None:
    # the integral of the picture, interpolated linearly between pixel edges, is exact at any fractional edge
    integral = np.zeros((71, 91, 3))
    integral[1:, 1:] = PICTURE.astype(np.float64).cumsum(axis=0).cumsum(axis=1)
    w, h = int(90 / step_x), int(70 / step_y)
    xs, ys = np.minimum(np.arange(w + 1) * step_x, 90), np.minimum(np.arange(h + 1) * step_y, 70)
    rows = np.stack(
        [np.stack([np.interp(ys, np.arange(71), integral[:, x, c]) for x in range(91)], 1) for c in range(3)], 2
    )
    edges = np.stack(
        [np.stack([np.interp(xs, np.arange(91), rows[y, :, c]) for y in range(h + 1)]) for c in range(3)], 2
    )
    exact = (edges[1:, 1:] - edges[:-1, 1:] - edges[1:, :-1] + edges[:-1, :-1]) / (step_x * step_y)
    got = read_picture(Box(0, 0, w, h), frame(step_x, step_y))
    assert np.abs(got - exact).max() < 1.0


def test_a_finer_frame_passes_through_level_pixels_and_is_cubic_between() -> None:
    third = read_picture(Box(0, 0, 270, 210), frame(1 / 3, 1 / 3))
    np.testing.assert_array_equal(third[1::3, 1::3], PICTURE)
    ramp = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(4, axis=0)
    x, y = axis_weights(4, 30, 0.5), axis_weights(0, 8, 0.5)
    # a cubic kernel reproduces straight lines: 5 grey levels per half px, from the centre of the first px
    np.testing.assert_allclose(resample(ramp, (0, 0), x, y)[4, :, 0], 17.5 + 5 * np.arange(30), atol=0.51)


@given(value=st.integers(0, 255), step_x=steps, step_y=steps)
def test_a_constant_picture_stays_constant(value: int, step_x: float, step_y: float) -> None:
    source = np.full((60, 60, 3), value, np.uint8)
    got = resample(source, (0, 0), axis_weights(0, 5, step_x), axis_weights(0, 5, step_y))
    assert (got == value).all()


def test_overshoot_of_the_cubic_is_clipped() -> None:
    source = np.zeros((8, 8, 3), np.uint8)
    source[:, 4:] = 255
    got = resample(source, (0, 0), axis_weights(0, 24, 1 / 3), axis_weights(0, 24, 1 / 3))
    assert got[:, :9].max() == 0
    assert got[:, 15:].min() == 255


def test_pixels_off_the_slide_are_background_and_a_partly_covered_one_keeps_its_colour() -> None:
    got = read_picture(Box(20, 15, 6, 6), frame(4, 4))
    assert (got[3:] == (1, 2, 3)).all()
    assert (got[:, 3:] == (1, 2, 3)).all()
    # 90 = 22 * 4 + 2: the last column averages the two columns that exist
    assert np.abs(got[0, 2].astype(int) - PICTURE[60:64, 88:90].mean(axis=(0, 1))).max() <= 40
    np.testing.assert_array_equal(got[:2, :2], read_picture(Box(20, 15, 2, 2), frame(4, 4)))


def test_a_read_far_from_the_slide_is_all_background() -> None:
    assert (read_picture(Box(5000, -9000, 7, 5), frame(1.3, 0.7)) == (1, 2, 3)).all()


@pytest.mark.parametrize(
    ("sizes", "downsample", "level"),
    [
        (((4000, 4000), (1000, 1000), (250, 250)), (1.0, 1.0), 0),
        (((4000, 4000), (1000, 1000), (250, 250)), (3.99, 3.99), 1),
        (((4000, 4000), (1000, 1000), (250, 250)), (3.9, 3.9), 0),
        (((4000, 4000), (1000, 1000), (250, 250)), (32.0, 32.0), 2),
        (((4000, 4000), (1000, 1000), (250, 250)), (32.0, 5.0), 1),
        (((4000, 4000), (1000, 1000), (250, 250)), (0.5, 0.5), 0),
        (((4443, 3567), (2221, 1783)), (2.0, 2.0), 1),
        (((4000, 4000), (2000, 4000)), (2.0, 1.0), 1),
    ],
)
def test_the_level_is_the_coarsest_that_is_not_coarser_than_the_frame_on_either_axis(
    sizes: tuple[tuple[int, int], ...], downsample: tuple[float, float], level: int
) -> None:
    assert choose_level(sizes, frame(*downsample)) == level


def test_level_steps_come_from_the_sizes_of_each_axis() -> None:
    assert level_steps(((4443, 3567), (2221, 1783), (556, 446))) == ((1.0, 1.0), (2.0, 2.0), (8.0, 8.0))
    # averaged over both axes, as the libraries do, this level would have a step of 63.9895
    assert level_steps(((40000, 41088), (625, 642)))[1] == (64.0, 64.0)
    assert level_steps(((1000, 1000), (400, 250)))[1] == (2.5, 4.0)


@given(st.integers(1, 10**5), st.integers(1, 64))
def test_a_level_rounded_down_or_up_has_a_whole_step(size: int, step: int) -> None:
    for reduced in {max(1, size // step), -(-size // step)}:
        found = level_steps(((size, size), (reduced, reduced)))[1][0]
        assert found == round(found)


def test_memory_stays_bounded_for_a_region_of_any_size() -> None:
    largest = 0

    def level(_: int, wanted: Box) -> np.ndarray:
        nonlocal largest
        largest = max(largest, wanted.width * wanted.height)
        return np.full((wanted.height, wanted.width, 3), 7, np.uint8)

    got = read_frame(Box(0, 0, 300, 300), frame(100, 100), ((30000, 30000),), (255, 255, 255), level)
    assert (got == 7).all()
    assert largest <= 4096 * 4096
