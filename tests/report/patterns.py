"""Tissue and cells with known truth: irregular masks, Poisson and Thomas patterns, tumours with known borders."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.report.stats.tissue import Tissue

CELL_UM = 8.0
Floats = NDArray[np.float64]


def irregular_tissue(width_mm: float, height_mm: float, seed: int) -> Tissue:
    """A ragged piece with fragments, bays and holes, cells of 8 um."""
    shape = round(height_mm * 1000 / CELL_UM), round(width_mm * 1000 / CELL_UM)
    random = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(random.standard_normal(shape), min(shape) / 10)
    y, x = np.indices(shape)
    out = np.hypot((y - shape[0] / 2) / (shape[0] / 2), (x - shape[1] / 2) / (shape[1] / 2))
    mask = (coarse / coarse.std() - 2.5 * (out - 0.75) > -0.3) & (out < 1)
    fine = ndimage.gaussian_filter(random.standard_normal(shape), 8)
    mask &= fine < 2 * fine.std()
    return Tissue(mask, (CELL_UM, CELL_UM), (shape[1] * CELL_UM, shape[0] * CELL_UM))


@dataclass(frozen=True, eq=False)
class Pattern:
    """Cells of a known intensity: Poisson, or Thomas when `per_cluster` > 0.

    Parameters
    ----------
    tissue : where cells are kept
    intensity : (h, w) per mm^2, of cells (Poisson) or of the cells of clusters centred there (Thomas)
    per_cluster : mean number of cells of a cluster (Poisson distributed)
    sigma_um : sd of a cell's distance to its cluster's centre along each axis
    """

    tissue: Tissue
    intensity: Floats
    per_cluster: float = 0.0
    sigma_um: float = 0.0

    @property
    def _pad(self) -> int:
        return math.ceil(5 * self.sigma_um / CELL_UM) + 1

    def draw(self, random: np.random.Generator) -> Floats:
        """(N, 2) points on the tissue, x then y, um."""
        cell_mm2 = CELL_UM**2 * 1e-6
        if not self.per_cluster:
            return _scatter(random.poisson(self.intensity * cell_mm2) * self.tissue.mask, 0, random)
        wide = np.pad(self.intensity, self._pad, mode="edge")
        centres = _scatter(random.poisson(wide * cell_mm2 / self.per_cluster), self._pad, random)
        cells = np.repeat(centres, random.poisson(self.per_cluster, len(centres)), axis=0)
        cells = cells + random.normal(0, self.sigma_um, cells.shape)
        kept: Floats = cells[self.tissue.contains(cells)]
        return kept

    def mean_intensity(self) -> float:
        """Expected count over tissue area, per mm^2."""
        field = self.intensity
        if self.per_cluster:
            # a cluster's centre lies evenly in its mask cell; its cells are counted by mask cell again
            reach = self._pad
            edges = (np.arange(-reach, reach + 1, 1 / 16) + 1 / 32) * CELL_UM
            within = np.clip(1 - np.abs(edges) / CELL_UM, 0, None) / 16
            z = np.arange(-reach, reach + 1)[:, None] * CELL_UM - edges
            kernel = (np.exp(-(z**2) / (2 * self.sigma_um**2)) * within).sum(axis=1)
            kernel /= kernel.sum()
            wide = np.pad(field, self._pad, mode="edge")
            for axis in (0, 1):
                wide = ndimage.correlate1d(wide, kernel, axis, mode="nearest")
            field = wide[self._pad : -self._pad, self._pad : -self._pad]
        return float(field[self.tissue.mask].mean())


def _scatter(counts: NDArray[np.integer], pad: int, random: np.random.Generator) -> Floats:
    cells = np.repeat(np.arange(counts.size), counts.ravel())
    y, x = np.divmod(cells, counts.shape[1])
    corner = np.stack([x, y], axis=1) - pad
    points: Floats = (corner + random.random(corner.shape)) * CELL_UM
    return points


def surface(tissue: Tissue, kind: str, per_mm2: float) -> Floats:
    """(h, w) intensity over a tissue, scaled to a mean over it: "flat", "trend" (e^3 from end to end) or "hot"."""
    xs, ys = tissue.centres_um()
    x, y = np.meshgrid(xs / tissue.slide_um[0], ys / tissue.slide_um[1])
    if kind == "flat":
        field = np.ones(tissue.mask.shape)
    elif kind == "trend":
        field = np.exp(1.5 * (x - y))
    elif kind == "hot":
        # two foci 0.5 and 0.9 mm wide (sd), 20 and 15 times as dense as the rest
        mm_x, mm_y = xs[None] / 1000, ys[:, None] / 1000
        w, h = (v / 1000 for v in tissue.slide_um)
        field = 0.2 + 4 * np.exp(-((mm_x - 0.4 * w) ** 2 + (mm_y - 0.5 * h) ** 2) / (2 * 0.9**2))
        field += 3 * np.exp(-((mm_x - 0.7 * w) ** 2 + (mm_y - 0.4 * h) ** 2) / (2 * 0.5**2))
    else:
        raise ValueError(kind)
    scaled: Floats = field * (per_mm2 / field[tissue.mask].mean())
    return scaled


def tumour_truth(tissue: Tissue, kind: str) -> NDArray[np.bool_]:
    """(h, w) bool: the cells of tissue that are tumour; "lobed" (about 0.9 mm radius), "round" (0.5 mm) or "nests"."""
    xs, ys = tissue.centres_um()
    x, y = np.meshgrid(xs, ys)
    cx, cy = tissue.slide_um[0] / 2, tissue.slide_um[1] / 2
    radius, angle = np.hypot(x - cx, y - cy), np.arctan2(y - cy, x - cx)
    if kind == "lobed":
        truth = radius < 900 * (1 + 0.2 * np.sin(3 * angle) + 0.08 * np.sin(7 * angle))
    elif kind == "round":
        truth = radius < 500
    elif kind == "nests":
        truth = np.hypot((x + (y // 600 % 2) * 150) % 600 - 300, y % 600 - 300) < 200
    else:
        raise ValueError(kind)
    inside: NDArray[np.bool_] = truth & tissue.mask
    return inside


def two_densities(tissue: Tissue, inside: NDArray[np.bool_], rates: tuple[float, float], seed: int) -> Floats:
    """Poisson cells with one density inside and another outside, per mm^2."""
    random = np.random.default_rng(seed)
    return Pattern(tissue, np.where(inside, rates[0], rates[1]).astype(np.float64)).draw(random)
