"""Pieces of stained tissue on glass whose area is known, painted at 1 um per px and seen on an overview of 8."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from tests.tiling.test_tissue import EOSIN, GLASS, HEMATOXYLIN, clouds

Mask = NDArray[np.bool_]

CELL_UM = 8


def strips_of_tissue(width_um: float, gap_um: float, turn: float, *, count: int = 4, margin_um: float = 160) -> Mask:
    """Strips side by side, turned by radians; (h, w) bool at 1 um per px. With `count` 1 a single piece."""
    length = max(900.0, width_um)
    across = count * width_um + (count - 1) * gap_um
    reach = np.hypot(length, across) + 2 * margin_um
    size = int(np.ceil(reach / CELL_UM)) * CELL_UM
    y, x = (np.mgrid[0:size, 0:size] + 0.5) - size / 2 - np.array([0.31, 2.7])[:, None, None]
    u = x * np.cos(turn) + y * np.sin(turn) + across / 2
    v = -x * np.sin(turn) + y * np.cos(turn)
    along = np.mod(u, width_um + gap_um)
    return np.asarray((u >= 0) & (u < across) & (along < width_um) & (np.abs(v) < length / 2))


def squares_of_tissue(edge_um: float, gap_um: float, turn: float, *, count: int = 4) -> Mask:
    """Squares in rows and columns, as fragments and cores lie; (h, w) bool at 1 um per px."""
    across = count * edge_um + (count - 1) * gap_um
    size = int(np.ceil((1.5 * across + 320) / CELL_UM)) * CELL_UM
    y, x = (np.mgrid[0:size, 0:size] + 0.5) - size / 2 - np.array([1.3, 3.1])[:, None, None]
    u, v = x * np.cos(turn) + y * np.sin(turn) + across / 2, -x * np.sin(turn) + y * np.cos(turn) + across / 2
    inside = (u >= 0) & (u < across) & (v >= 0) & (v < across)
    return np.asarray(inside & (np.mod(u, edge_um + gap_um) < edge_um) & (np.mod(v, edge_um + gap_um) < edge_um))


def discs_of_tissue(diameter_um: float, gap_um: float, *, count: int = 3) -> Mask:
    """Round cores in rows and columns; (h, w) bool at 1 um per px."""
    pitch = diameter_um + gap_um
    size = int(np.ceil((count * pitch + 320) / CELL_UM)) * CELL_UM
    y, x = np.mgrid[0:size, 0:size] + 0.5 - (size - count * pitch) / 2 - 1.7
    inside = (x >= 0) & (x < count * pitch) & (y >= 0) & (y < count * pitch)
    return np.asarray(inside & (np.hypot(np.mod(x, pitch) - pitch / 2, np.mod(y, pitch) - pitch / 2) < diameter_um / 2))


def seen(
    tissue: Mask,
    *,
    strength: float = 1.0,
    dab: float = 0.0,
    grey: bool = False,
    noise: float = 2.0,
    seed: int = 0,
    cell_px: int = CELL_UM,
) -> NDArray[np.uint8]:
    """The overview of a slide with such tissue: stroma that varies, nuclei, a lens and a camera; (h, w, 3) uint8."""
    rng = np.random.default_rng(seed)
    shape = tissue.shape
    stroma = np.clip(1 + 0.3 * clouds(rng, shape, 9), 0.3, None)
    nuclei = ndimage.binary_dilation(rng.random(shape) < 0.0015, iterations=3)
    density = stroma[..., None] * 0.45 * EOSIN + (nuclei * 1.4 + 0.06)[..., None] * HEMATOXYLIN
    if dab:
        density = density + dab * np.clip(clouds(rng, shape, 15), 0, None)[..., None] * np.array([0.268, 0.570, 0.776])
    light = np.array(GLASS) * np.exp(-strength * density * tissue[..., None])
    light = np.stack([ndimage.gaussian_filter(light[..., k], 0.6) for k in range(3)], axis=-1)
    light += rng.normal(0, noise, light.shape)
    if grey:
        light[:] = light.mean(axis=2, keepdims=True)
    pixels = np.clip(np.rint(light), 0, 255)
    h, w = (n // cell_px for n in shape)
    cells = pixels[: h * cell_px, : w * cell_px].reshape(h, cell_px, w, cell_px, 3).mean(axis=(1, 3))
    return np.rint(cells).astype(np.uint8)
