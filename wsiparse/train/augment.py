"""Crops as other laboratories and scanners would show them: place, scale, stain, light, blur, noise, JPEG.

All chance comes from one generator per step, so a step gives the same batch whenever and wherever it is made.
"""

from __future__ import annotations

import io
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

__all__ = ["cut_crop", "vary_colour"]

#: Optical densities of hematoxylin and eosin (Ruifrok & Johnston 2001) and what is at right angles to both, rows.
_STAINS: Final = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105], [-0.332, -0.076, 0.940]])

#: Share of crops that are only turned and mirrored: they keep their pixels.
_STRAIGHT_SHARE: Final = 0.4


def _mirrored(index: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Indices outside 0..size-1 mirrored at the edges, edge pixels doubled, as often as needed."""
    index = np.mod(index, 2 * size)
    return np.minimum(index, 2 * size - 1 - index)


def cut_crop(planes: Tensor, size: int, zoom: tuple[float, float], rng: np.random.Generator) -> Tensor:
    """A random square of a tile, turned, mirrored and scaled; beyond the tile's edges it is mirrored.

    Parameters
    ----------
    planes : (C, H, W) uint8
    size : edge of the square, px
    zoom : least and largest enlargement
    rng : all chance

    Returns
    -------
    (C, size, size) float32, 0-1
    """
    height, width = planes.shape[1:]
    x0, y0 = (int(rng.integers(min(0, n - size), max(n - size, 0) + 1)) for n in (width, height))
    flip, turn = bool(rng.integers(2)), int(rng.integers(4))
    straight = rng.random() < _STRAIGHT_SHARE and zoom[0] <= 1 <= zoom[1]
    factor = float(np.exp(rng.uniform(*np.log(zoom))))
    angle, stretch = rng.uniform(0, 2 * np.pi), rng.uniform(-0.08, 0.08)
    if straight:
        rows, columns = (torch.from_numpy(_mirrored(np.arange(a, a + size), n)) for a, n in ((y0, height), (x0, width)))
        crop = planes[:, rows][:, :, columns].float() / 255
    else:
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        matrix = rotation @ np.diag([np.exp(stretch), np.exp(-stretch)]) / factor
        middle = np.array([x0 + size / 2, y0 + size / 2])
        theta = np.empty((1, 2, 3), np.float32)
        scale = np.array([width / 2, height / 2])
        theta[0, :, :2] = matrix * (size / 2) / scale[:, None]
        theta[0, :, 2] = middle / scale - 1
        grid = functional.affine_grid(torch.from_numpy(theta), [1, 1, size, size], align_corners=False)
        source = planes[None].float() / 255
        crop = functional.grid_sample(
            source, grid.to(source.device), mode="bilinear", padding_mode="reflection", align_corners=False
        )[0]
    if flip:
        crop = crop.flip(2)
    return torch.rot90(crop, turn, (1, 2))


def _colour_matrices(count: int, rng: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(count, 3, 3) matrices and (count, 3) shifts of optical densities: stains stronger, weaker, of another hue."""
    matrices = np.empty((count, 3, 3))
    for k in range(count):
        strength = np.exp(rng.normal(0, [0.22, 0.22, 0.15]))
        hue = _STAINS + rng.normal(0, 0.05, (3, 3))
        matrices[k] = np.linalg.inv(_STAINS) @ np.diag(strength) @ hue * np.exp(rng.normal(0, 0.12))
    return matrices.astype(np.float32), rng.normal(0, 0.015, (count, 3)).astype(np.float32)


def _blurred(images: Tensor, sigma: NDArray[np.float64]) -> Tensor:
    """Each image under a Gaussian of its own; a sigma of 0 changes nothing."""
    reach = 5
    offset = np.arange(-reach, reach + 1)
    weight = np.exp(-0.5 * (offset[None] / np.maximum(sigma, 1e-3)[:, None]) ** 2)
    kernel = torch.from_numpy((weight / weight.sum(1, keepdims=True)).astype(np.float32)).to(images.device)
    b, c, h, w = images.shape
    kernel = kernel.repeat_interleave(c, 0)
    x = functional.pad(images.reshape(1, b * c, h, w), (reach,) * 4, mode="reflect")
    x = functional.conv2d(x, kernel[:, None, None, :], groups=b * c)
    return functional.conv2d(x, kernel[:, None, :, None], groups=b * c).reshape(b, c, h, w)


def _jpeg(image: Tensor, quality: int, subsampling: int) -> Tensor:
    """(3, H, W) float 0-1 as a JPEG file would keep it."""
    pixels = (image.clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).cpu().numpy()
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=subsampling)
    back = np.array(Image.open(file))
    return torch.from_numpy(back).to(image.device).permute(2, 0, 1).float() / 255


def vary_colour(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A batch with other stains, light, sharpness, noise and compression.

    Parameters
    ----------
    images : (B, 3, H, W) float32, 0-1
    rng : all chance

    Returns
    -------
    (B, 3, H, W) float32, 0-1
    """
    count = len(images)
    matrices, shifts = _colour_matrices(count, rng)
    kept = rng.random(count) < 0.1
    matrices[kept], shifts[kept] = np.eye(3, dtype=np.float32), 0
    density = -torch.log10((images * 255 + 1) / 256)
    density = torch.einsum("bchw,bcd->bdhw", density, torch.from_numpy(matrices).to(images.device))
    density = density + torch.from_numpy(shifts).to(images.device)[:, :, None, None]
    images = (torch.pow(10.0, -density) * 256 - 1) / 255

    light = rng.normal(1, 0.06, (count, 1)) * rng.normal(1, 0.02, (count, 3))
    contrast = np.exp(rng.normal(0, 0.12, count))
    light[kept], contrast[kept] = 1, 1
    gain = torch.from_numpy((light * contrast[:, None]).astype(np.float32)).to(images.device)[:, :, None, None]
    lift = torch.from_numpy((0.6 * (1 - contrast)).astype(np.float32)).to(images.device)[:, None, None, None]
    images = (images * gain + lift).clamp(0, 1)

    sigma = np.where(rng.random(count) < 0.45, rng.uniform(0.4, 1.8, count), 0)
    some = np.flatnonzero(sigma)
    if len(some):
        images[some] = _blurred(images[some], sigma[some])
    sharpen = np.flatnonzero((rng.random(count) < 0.12) & (sigma == 0))
    amount = rng.uniform(0.2, 1.2, count).astype(np.float32)
    if len(sharpen):
        soft = _blurred(images[sharpen], np.full(len(sharpen), 1.0))
        gain = torch.from_numpy(amount[sharpen]).to(images.device)[:, None, None, None]
        images[sharpen] = images[sharpen] + gain * (images[sharpen] - soft)
    noisy = np.flatnonzero(rng.random(count) < 0.25)
    strength = rng.uniform(0.005, 0.035, count).astype(np.float32)
    for k in noisy:
        grain = torch.from_numpy(rng.standard_normal(images.shape[1:], dtype=np.float32))
        images[k] += grain.to(images.device) * float(strength[k])
    for k in np.flatnonzero(rng.random(count) < 0.25):
        images[k] = _jpeg(images[k], int(rng.integers(40, 95)), int(rng.choice([0, 2])))
    return images.clamp(0, 1)
