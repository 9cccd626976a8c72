"""Artefacts painted over pictures, with the truth about where they are."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.artefacts.find import Ground, find_artefacts
from wsiparse.coords import Frame
from wsiparse.types import Box

#: Optical densities of felt pens, red, green, blue.
PENS: Final = {
    "black": (1.2, 1.2, 1.2),
    "blue": (1.3, 0.8, 0.25),
    "green": (1.2, 0.45, 0.9),
    "red": (0.25, 1.2, 1.1),
    "violet": (0.8, 1.2, 0.35),
    "brown": (0.6, 0.9, 1.2),
}


def drawn_over(
    rgb: NDArray[np.uint8], pen: str, half_um: float, mpp: float, seed: int = 0
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture with an uneven stroke across its middle, and where the stroke is."""
    rng = np.random.default_rng(seed)
    height, width = rgb.shape[:2]
    y, x = (np.indices((height, width)) + 0.5) * mpp
    angle = rng.uniform(0, np.pi)
    across = (x - width * mpp / 2) * np.sin(angle) - (y - height * mpp / 2) * np.cos(angle)
    cover = np.clip((half_um - np.abs(across)) / 1.5 + 0.5, 0, 1)
    noise = ndimage.gaussian_filter(rng.standard_normal((height, width)), 2 / mpp)
    streaks = np.clip(1 + 0.15 * noise / noise.std(), 0.5, 1.6)
    density = (cover * streaks)[..., None] * np.array(PENS[pen])
    painted = np.clip((rgb.astype(np.float64) + 1) * 10**-density - 1, 0, 255)
    return np.rint(painted).astype(np.uint8), cover > 0.5


def blurred(
    rgb: NDArray[np.uint8], sigma_um: float, mpp: float, radius_um: float
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A picture with a disk in its middle out of focus, under the noise of a sensor, and where the disk is."""
    sigma = sigma_um / mpp
    soft = ndimage.gaussian_filter(rgb.astype(np.float32), (sigma, sigma, 0))
    soft = np.clip(np.rint(soft + np.random.default_rng(0).normal(0, 1, rgb.shape)), 0, 255)
    y, x = np.indices(rgb.shape[:2])
    disk = np.hypot(y - rgb.shape[0] / 2, x - rgb.shape[1] / 2) * mpp < radius_um
    return np.where(disk[..., None], soft, rgb).astype(np.uint8), disk


def looked_at(
    rgb: NDArray[np.uint8], tissue: NDArray[np.bool_], kinds: tuple[str, ...], block_px: int = 512
) -> dict[str, NDArray[np.bool_]]:
    """Artefacts of a picture of 1 um per px as masks of it; tissue, (h / 8, w / 8) bool, is looked at."""
    import shapely

    height, width = rgb.shape[:2]
    overview = Frame((tissue.shape[1], tissue.shape[0]), (8.0, 8.0), (8.0, 8.0))
    ground = Ground(
        Frame((width, height), (1.0, 1.0), (1.0, 1.0)),
        (width, height),
        overview,
        tissue,
        np.zeros_like(tissue),
        np.array([243.0, 243.0, 243.0], np.float32),
    )
    read = lambda box: rgb[box.y : box.y1, box.x : box.x1]  # noqa: E731
    found = find_artefacts(read, ground, kinds, block_px=block_px).shapes
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return {kind: shapely.contains_xy(shape, x, y) for kind, shape in found.items()}


def halves(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Mean of 2 x 2 px."""
    h, w = (n // 2 * 2 for n in rgb.shape[:2])
    return np.rint(rgb[:h, :w].reshape(h // 2, 2, w // 2, 2, 3).mean(axis=(1, 3))).astype(np.uint8)


__all__ = ["PENS", "Box", "blurred", "drawn_over", "halves", "looked_at"]
