from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from wsiparse.recognize.biomedparse.resample import resize_like_pillow


def noise(height: int, width: int, seed: int) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def with_pillow(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.int64]:
    """Along x, then along y: what one call does, except that newer Pillows begin with y for tall thin images."""
    wide = Image.fromarray(image).resize((size[1], image.shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(wide.resize((size[1], size[0]), Image.Resampling.BICUBIC)).astype(np.int64)


def with_torch(image: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.int64]:
    out = resize_like_pillow(torch.from_numpy(image)[None], size)
    assert out.dtype == torch.float32
    assert torch.equal(out, out.round())
    return out[0].permute(1, 2, 0).numpy().astype(np.int64)


def test_a_cell_tile_enlarged_fourfold_is_pillows_to_the_last_level() -> None:
    noisy = noise(256, 256, 0)
    smooth = with_pillow(noise(32, 32, 1), (256, 256)).astype(np.uint8)
    np.testing.assert_array_equal(with_torch(smooth, (1024, 1024)), with_pillow(smooth, (1024, 1024)))
    # full-contrast noise: half-way cases of Pillow's fixed-point weights fall either way
    difference = np.abs(with_torch(noisy, (1024, 1024)) - with_pillow(noisy, (1024, 1024)))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@pytest.mark.parametrize("edge", [128, 200, 333, 512, 768])
def test_tiles_of_other_sizes_are_within_one_level_of_pillow(edge: int) -> None:
    smooth = with_pillow(noise(40, 40, edge), (edge, edge)).astype(np.uint8)
    difference = np.abs(with_torch(smooth, (1024, 1024)) - with_pillow(smooth, (1024, 1024)))
    assert difference.max() <= 1
    assert (difference > 0).mean() < 1e-3


@settings(max_examples=40)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    more=st.tuples(st.integers(0, 60), st.integers(0, 60)),
    seed=st.integers(0, 2**32 - 1),
)
def test_noise_enlarged_to_any_size_is_within_two_levels_of_pillow(
    height: int, width: int, more: tuple[int, int], seed: int
) -> None:
    """Two, not one: a half-way case of the first pass can be weighted with more than one in the second."""
    image, size = noise(height, width, seed), (height + more[0], width + more[1])
    assert np.abs(with_torch(image, size) - with_pillow(image, size)).max() <= 2


def test_pillow_enlarges_a_tile_along_x_first() -> None:
    image = noise(64, 48, 4)
    at_once = Image.fromarray(image).resize((130, 200), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.asarray(at_once), with_pillow(image, (200, 130)))


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = noise(12, 17, 3)
    np.testing.assert_array_equal(with_torch(image, (12, 17)), image)


@pytest.mark.parametrize("flat", [0, 255])
def test_flat_images_stay_flat(flat: int) -> None:
    assert (with_torch(np.full((5, 7, 3), flat, np.uint8), (20, 21)) == flat).all()
