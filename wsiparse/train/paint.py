"""What looks like nuclei and is none: strokes of ink over a crop, and whole crops of glass, dirt and red cells."""

from __future__ import annotations

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

__all__ = ["bare_crop", "draw_ink"]

#: Optical densities of felt pens: black, blue, green, red.
_INKS: Final = np.array([[1.2, 1.2, 1.2], [1.3, 0.8, 0.25], [1.2, 0.45, 0.9], [0.25, 1.2, 1.1]])


def _smooth(size: int, sigma: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """(size, size) smooth noise of mean 0 and deviation 1."""
    coarse = max(2, int(size / sigma) + 2)
    field = ndimage.zoom(rng.standard_normal((coarse, coarse)), size / coarse, order=1, grid_mode=True, mode="nearest")
    return np.asarray((field - field.mean()) / (field.std() + 1e-6))


def draw_ink(crop: Tensor, rng: np.random.Generator) -> Tensor:
    """A stroke of ink across a crop; below dense ink nothing is a nucleus, below thin ink nobody knows.

    Parameters
    ----------
    crop : (planes, S, S) float32, 0-1, as in `wsiparse.train.targets`
    rng : all chance

    Returns
    -------
    (planes, S, S) float32, a crop of its own
    """
    size = crop.shape[-1]
    y, x = np.indices((size, size), dtype=np.float64)
    angle, bend = rng.uniform(0, np.pi), rng.normal(0, 0.004)
    along = (x - rng.uniform(0, size)) * np.cos(angle) + (y - rng.uniform(0, size)) * np.sin(angle)
    across = -(x - size / 2) * np.sin(angle) + (y - size / 2) * np.cos(angle) + bend * along**2
    ragged = across + 3 * _smooth(size, 12, rng) + rng.uniform(-size / 2, size / 2)
    outwards = (np.abs(ragged) - rng.uniform(8, 70)) / rng.uniform(0.7, 4)
    cover = 1 / (1 + np.exp(np.minimum(outwards, 700)))
    cover *= np.clip(rng.uniform(0.5, 1.3) + 0.25 * _smooth(size, rng.uniform(3, 30), rng), 0, 1.6)
    ink = _INKS[rng.integers(len(_INKS))] * rng.uniform(0.7, 1.4)
    passed = torch.from_numpy((10 ** -(cover[None] * ink[:, None, None])).astype(np.float32))
    dense = torch.from_numpy(cover > 0.45)
    thin = torch.from_numpy((cover > 0.08) & (cover <= 0.45))
    out = crop.clone()
    out[:3] *= passed
    out[3:6, dense] = 0
    out[6:8, dense] = 1
    out[6:, thin] = 0
    out[8:, dense] = 0
    return out


def bare_crop(planes: int, size: int, rng: np.random.Generator) -> Tensor:
    """A crop without nuclei: glass or pale tissue with dust, fibres, folds or red cells.

    Returns
    -------
    (planes, size, size) float32, 0-1, as in `wsiparse.train.targets`
    """
    glass = np.array([0.03, 0.04, 0.03]) * rng.uniform(0.2, 2, 3)
    eosin = np.array([0.07, 0.99, 0.11]) * rng.uniform(0.8, 1.2, 3)
    density = np.broadcast_to(glass[:, None, None], (3, size, size)).copy()
    kind = int(rng.integers(4))
    if kind == 1:  # keratin, collagen: bands of eosin
        y, x = np.indices((size, size)) / size
        angle = rng.uniform(0, np.pi)
        phase = (x * np.cos(angle) + y * np.sin(angle)) * rng.uniform(20, 90) + 1.5 * _smooth(size, 40, rng)
        bands = 0.5 + 0.5 * np.sin(phase) * rng.uniform(0.2, 1) + 0.2 * _smooth(size, 4, rng)
        density += eosin[:, None, None] * np.clip(bands, 0, 2) * rng.uniform(0.1, 0.7)
    elif kind == 2:  # red cells
        count = int(rng.integers(20, 220))
        y, x = np.indices((size, size), dtype=np.float64)
        rings = np.zeros((size, size))
        reach = 12
        for cy, cx, radius in zip(
            rng.uniform(0, size, count), rng.uniform(0, size, count), rng.uniform(5, 8, count), strict=True
        ):
            box = (slice(max(0, int(cy) - reach), int(cy) + reach), slice(max(0, int(cx) - reach), int(cx) + reach))
            away = np.hypot((y[box] - cy), (x[box] - cx) * rng.uniform(0.8, 1.2)) / radius
            rings[box] = np.maximum(rings[box], np.where(away < 1, 0.7 + 0.3 * away, 0))
        red = np.array([0.12, 0.75, 0.65]) * rng.uniform(0.6, 1.2)
        density += red[:, None, None] * ndimage.gaussian_filter(rings, 0.8)
    elif kind == 3:  # dust and bluish haze
        specks = np.clip(_smooth(size, rng.uniform(3, 10), rng) - rng.uniform(1.2, 2.2), 0, 1)
        haze = np.clip(0.3 + 0.3 * _smooth(size, 50, rng), 0, 1) * rng.uniform(0, 0.4)
        density += np.array([0.5, 0.5, 0.4])[:, None, None] * specks
        density += (np.array([0.65, 0.7, 0.29]) * rng.uniform(0.3, 1, 3))[:, None, None] * haze
    density += 0.004 * rng.standard_normal((3, size, size))
    crop = torch.zeros((planes, size, size))
    crop[:3] = torch.from_numpy(np.clip(10**-density, 0, 1).astype(np.float32))
    crop[6:8] = 1
    return crop
