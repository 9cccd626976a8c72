"""A field of touching nuclei of any size with known truth, made window by window, the same every time.

Ellipses of 80-600 px, 30 % of them in chains of two or three that touch; the mask does not show where one ends and
the next begins. A handful of square patches is made by dart throwing; the field lays them side by side, chosen by a
hash of their position, so that a window costs a copy. Patches are 277 px wide, a length that no block size divides,
so seams of blocks cut nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

PATCH_PX: Final = 277
PATCHES: Final = 64
NUCLEI_PER_PATCH: Final = 57
CLUSTERED: Final = 0.3


def _radius(axes: tuple[float, float], turn: float, direction: float) -> float:
    """Distance from an ellipse's centre to its outline in a direction."""
    a, b = axes
    c, s = np.cos(direction - turn), np.sin(direction - turn)
    return float(a * b / np.hypot(b * c, a * s))


@dataclass(frozen=True)
class Nucleus:
    x: float
    y: float
    axes: tuple[float, float]
    turn: float

    def depth(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Normalised elliptic distance: below 1 inside."""
        c, s = np.cos(self.turn), np.sin(self.turn)
        u, v = (x - self.x) * c + (y - self.y) * s, (y - self.y) * c - (x - self.x) * s
        return np.hypot(u / self.axes[0], v / self.axes[1])


def _chain(random: np.random.Generator, length: int) -> list[Nucleus]:
    """Nuclei one after the other, each overlapping its predecessor by 5-12 % of their common extent."""
    chain: list[Nucleus] = []
    heading = random.uniform(0, 2 * np.pi)
    for _ in range(length):
        area, aspect = random.uniform(80, 600), random.uniform(0.65, 1.0)
        b = np.sqrt(area / np.pi * aspect)
        new = Nucleus(0.0, 0.0, (b / aspect, b), random.uniform(0, np.pi))
        if chain:
            last = chain[-1]
            heading += random.uniform(-0.8, 0.8)
            reach = _radius(last.axes, last.turn, heading) + _radius(new.axes, new.turn, heading + np.pi)
            reach *= random.uniform(0.88, 0.95)
            new = Nucleus(last.x + reach * np.cos(heading), last.y + reach * np.sin(heading), new.axes, new.turn)
        chain.append(new)
    return chain


@lru_cache(maxsize=1)
def _patches(seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Truth labels (PATCHES, 277, 277) uint8, 1.. per patch, and the number of nuclei of each."""
    labels = np.zeros((PATCHES, PATCH_PX, PATCH_PX), np.uint8)
    for k in range(PATCHES):
        random = np.random.default_rng([seed, k])
        patch = labels[k]
        count = 0
        while count < NUCLEI_PER_PATCH:
            # singles and chains so that the share of nuclei in chains (mean length 2.5) is as wanted
            single = random.random() > CLUSTERED / (CLUSTERED + 2.5 * (1 - CLUSTERED))
            chain = _chain(random, 1 if single else int(random.integers(2, 4)))
            cx, cy = random.uniform(0, PATCH_PX, 2)
            placed = [Nucleus(n.x + cx, n.y + cy, n.axes, n.turn) for n in chain]
            if len(placed) + count > NUCLEI_PER_PATCH:
                placed = placed[:1]
            extent = [max(n.axes) + 2 for n in placed]
            x0 = int(min(n.x - e for n, e in zip(placed, extent, strict=True)))
            x1 = int(max(n.x + e for n, e in zip(placed, extent, strict=True))) + 1
            y0 = int(min(n.y - e for n, e in zip(placed, extent, strict=True)))
            y1 = int(max(n.y + e for n, e in zip(placed, extent, strict=True))) + 1
            if min(x0, y0) < 0 or max(x1, y1) > PATCH_PX:
                continue
            y, x = np.mgrid[y0:y1, x0:x1] + 0.5
            depth = np.stack([n.depth(x, y) for n in placed])
            inside = depth.min(axis=0) < 1
            room = patch[y0:y1, x0:x1]
            # one free pixel around, so that patches and neighbours never touch by accident
            grown = inside.copy()
            grown[1:] |= inside[:-1]
            grown[:-1] |= inside[1:]
            grown[:, 1:] |= inside[:, :-1]
            grown[:, :-1] |= inside[:, 1:]
            if (room[grown] > 0).any():
                continue
            room[inside] = (depth.argmin(axis=0) + count + 1)[inside]
            count += len(placed)
    labels.flags.writeable = False
    return labels, labels.reshape(PATCHES, -1).max(axis=1).astype(np.int64)


@lru_cache(maxsize=1)
def _speckle() -> NDArray[np.uint8]:
    """Optical density of stained tissue, (1031, 1031) uint8, hundredths; laid side by side it never meets itself."""
    return np.random.default_rng(1).normal(70, 15, (1031, 1031)).clip(20, 200).astype(np.uint8)


@dataclass(frozen=True)
class NucleiField:
    """The field over a canvas.

    Parameters
    ----------
    size : (width, height), px; whole patches only are filled
    seed : another field
    """

    size: tuple[int, int]
    seed: int = 0

    @property
    def grid(self) -> tuple[int, int]:
        """Patches along x and y."""
        return self.size[0] // PATCH_PX, self.size[1] // PATCH_PX

    def _kinds(self, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which patch lies where."""
        mixed = (rows[:, None] * 73856093 ^ columns[None, :] * 19349663) + self.seed * 83492791
        return (mixed ^ mixed >> 7) % PATCHES

    @property
    def count(self) -> int:
        """Number of nuclei."""
        columns, rows = self.grid
        counts = _patches(self.seed)[1]
        return int(counts[self._kinds(np.arange(columns), np.arange(rows))].sum())

    def truth(self, x: int, y: int, width: int, height: int) -> NDArray[np.int32]:
        """Labels of a window: 1 + 64 * patch number + nucleus, 0 background."""
        labels, _ = _patches(self.seed)
        out = np.zeros((height, width), np.int32)
        columns, rows = self.grid
        for row in range(y // PATCH_PX, min(rows, (y + height - 1) // PATCH_PX + 1)):
            for column in range(x // PATCH_PX, min(columns, (x + width - 1) // PATCH_PX + 1)):
                kind = self._kinds(np.array([column]), np.array([row]))[0, 0]
                y0, x0 = row * PATCH_PX, column * PATCH_PX
                ya, yb = max(y, y0), min(y + height, y0 + PATCH_PX)
                xa, xb = max(x, x0), min(x + width, x0 + PATCH_PX)
                part = labels[kind, ya - y0 : yb - y0, xa - x0 : xb - x0].astype(np.int32)
                number = (row * columns + column) * 64
                out[ya - y : yb - y, xa - x : xb - x] = np.where(part > 0, part + number, 0)
        return out

    def mask(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """1 on nuclei, 0 elsewhere, of a window."""
        labels, _ = _patches(self.seed)
        out = np.zeros((height, width), np.uint8)
        columns, rows = self.grid
        for row in range(y // PATCH_PX, min(rows, (y + height - 1) // PATCH_PX + 1)):
            for column in range(x // PATCH_PX, min(columns, (x + width - 1) // PATCH_PX + 1)):
                kind = self._kinds(np.array([column]), np.array([row]))[0, 0]
                y0, x0 = row * PATCH_PX, column * PATCH_PX
                ya, yb = max(y, y0), min(y + height, y0 + PATCH_PX)
                xa, xb = max(x, x0), min(x + width, x0 + PATCH_PX)
                part = labels[kind, ya - y0 : yb - y0, xa - x0 : xb - x0]
                np.minimum(part, 1, out=out[ya - y : yb - y, xa - x : xb - x])
        return out

    def od(self, x: int, y: int, width: int, height: int) -> NDArray[np.uint8]:
        """Optical density times 100 on nuclei, 0 elsewhere, of a window."""
        speckle = _speckle()
        rows, columns = (np.arange(a, a + n) % len(speckle) for a, n in ((y, height), (x, width)))
        return speckle[rows[:, None], columns] * self.mask(x, y, width, height)
