from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.train.painted import painted
from wsiparse.train.augment import cut_crop, vary_colour
from wsiparse.train.batches import batch_of
from wsiparse.train.paint import bare_crop, draw_ink
from wsiparse.train.recipe import Recipe, SetRecipe
from wsiparse.train.targets import Annotation, planes_of_labels

RECIPE = Recipe(batch=4, crop_px=64)


def planes(seed: int = 0, size: int = 96) -> torch.Tensor:
    rgb, labels, types = painted(seed, size)
    classes = np.array([0, *(types[k] - 1 for k in sorted(types))], np.int64)
    return torch.from_numpy(planes_of_labels(rgb, Annotation(labels.astype(np.int32), classes), 3))


def sets() -> list[tuple[SetRecipe, list[torch.Tensor]]]:
    return [(SetRecipe(share=3), [planes(0), planes(1)]), (SetRecipe(zoom=(0.5, 0.9)), [planes(2, 40)])]


def test_a_step_gives_the_same_batch_whenever_it_is_made() -> None:
    batch_of(4, RECIPE, sets())
    first, again, other = (batch_of(step, RECIPE, sets()) for step in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_a_batch_leaves_the_global_generator_alone() -> None:
    before = torch.random.get_rng_state()
    batch_of(5, RECIPE, sets())
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("step", range(6))
def test_images_and_targets_are_in_range_and_of_the_size_asked_for(step: int) -> None:
    images, targets = batch_of(step, RECIPE.model_copy(update={"ink": 0.5, "bare": 0.3}), sets())
    assert images.shape == (4, 3, 64, 64)
    assert targets.shape == (4, 11, 64, 64)
    assert images.abs().max() <= 1
    assert targets.min() >= 0
    assert targets.max() <= 1


@pytest.mark.parametrize("seed", range(12))
def test_targets_move_with_the_pixels(seed: int) -> None:
    marked = planes()
    marked[3] = marked[0]  # a target that is the red channel must stay the red channel
    crop = cut_crop(marked, 64, (0.7, 1.4), np.random.default_rng(seed))
    assert torch.equal(crop[3], crop[0])


@pytest.mark.parametrize("seed", range(8))
def test_a_tile_smaller_than_the_crop_is_mirrored_and_nothing_is_invented(seed: int) -> None:
    small = planes(3, 24)
    crop = cut_crop(small, 64, (1.0, 1.0), np.random.default_rng(seed))
    assert crop.shape[1:] == (64, 64)
    assert float(crop[6].min()) > 0.99, "known everywhere"
    assert float(crop[:3].min()) >= float(small[:3].min()) / 255 - 1e-6
    assert float(crop[:3].max()) <= float(small[:3].max()) / 255 + 1e-6


def test_colours_vary_and_dark_stays_darker_than_light() -> None:
    images = torch.ones((32, 3, 32, 32)) * torch.tensor([0.92, 0.74, 0.84])[None, :, None, None]
    images[:, :, :, 16:] = torch.tensor([0.35, 0.25, 0.5])[None, :, None, None]
    varied = vary_colour(images, np.random.default_rng(0))
    light, dark = varied[:, :, :, :12].mean((1, 2, 3)), varied[:, :, :, 20:].mean((1, 2, 3))
    assert (dark < light).all()
    assert float(light.std()) > 0.03


def test_a_bare_crop_has_no_nucleus_and_says_so_everywhere() -> None:
    for seed in range(12):
        crop = bare_crop(11, 64, np.random.default_rng(seed))
        assert not crop[3:6].any()
        assert (crop[6:8] == 1).all()
        assert not crop[8:].any()
        assert 0 <= float(crop[:3].min()) <= float(crop[:3].max()) <= 1


def test_nothing_is_a_nucleus_below_dense_ink_and_far_from_it_all_is_as_before() -> None:
    crop = planes().float() / 255
    inked = [draw_ink(crop, np.random.default_rng(seed)) for seed in range(12)]
    covered = 0
    for one in inked:
        changed = (one[3:] != crop[3:]).any(0)
        covered += int(changed.sum())
        assert (one[:3] <= crop[:3]).all()
        untouched = (one[:3] == crop[:3]).all(0)
        assert not (changed & untouched).any()
        dark = (one[:3].sum(0) < 0.15) & (crop[:3].sum(0) > 0.9)
        assert not one[3][dark].any()
    assert covered > 0
    assert torch.equal(crop, planes().float() / 255), "the crop given is left alone"
