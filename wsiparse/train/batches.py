"""What one step sees: a batch that depends on the recipe, the tiles, the seed and the step, and on nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from wsiparse.train.augment import cut_crop, vary_colour
from wsiparse.train.paint import bare_crop, draw_ink
from wsiparse.train.recipe import Recipe, SetRecipe

__all__ = ["batch_of"]


def batch_of(
    step: int, recipe: Recipe, sets: Sequence[tuple[SetRecipe, Sequence[Tensor]]], device: str = "cpu"
) -> tuple[Tensor, Tensor]:
    """Images and targets of a step.

    Parameters
    ----------
    step : number of the step, from 0
    recipe : recipe of the training
    sets : for each set its recipe and the planes of its tiles, (C, H, W) uint8
    device : where the batch is wanted

    Returns
    -------
    (B, 3, S, S) float32 in [-1, 1] and (B, C, S, S) float32, planes as in `wsiparse.train.targets`, 0-1
    """
    rng = np.random.default_rng((recipe.seed, step))
    share = np.array([s.share for s, _ in sets])
    crops = []
    for _ in range(recipe.batch):
        settings, tiles = sets[int(rng.choice(len(sets), p=share / share.sum()))]
        planes = tiles[int(rng.integers(len(tiles)))]
        dice = rng.random()
        if dice < recipe.bare:
            crop = bare_crop(len(planes), recipe.crop_px, rng)
        else:
            crop = cut_crop(planes, recipe.crop_px, settings.zoom, rng)
            if dice > 1 - recipe.ink:
                crop = draw_ink(crop, rng)
        crops.append(crop)
    planes = torch.stack(crops).to(device)
    return vary_colour(planes[:, :3], rng) * 2 - 1, planes
