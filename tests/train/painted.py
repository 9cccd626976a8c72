"""Small painted tiles: dark ellipses on pink: small round ones inflammatory, long ones connective, large epithelial."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

EPITHELIAL, INFLAMMATORY, CONNECTIVE = 3, 2, 4

#: Half axes, px, and colour of each class.
LOOKS = {
    EPITHELIAL: ((9, 8), (120, 90, 160)),
    INFLAMMATORY: ((5, 5), (50, 40, 120)),
    CONNECTIVE: ((10, 3), (90, 50, 110)),
}

#: Trains in a second or two.
TINY = {
    "widths": (8, 8, 16, 16),
    "deep": 1,
    "steps": 40,
    "batch": 2,
    "crop_px": 64,
    "rate": 0.01,
    "warm_up": 5,
    "average": 0.9,
    "measure_every": 40,
    "save_every": 10,
    "precision": "float32",
}


def painted(seed: int, size: int = 96) -> tuple[NDArray[np.uint8], NDArray[np.uint16], dict[int, int]]:
    """Pixels, labels and classes by label; nuclei do not overlap, a few touch."""
    rng = np.random.default_rng(seed)
    rgb = np.full((size, size, 3), (235, 190, 215), np.float64)
    labels = np.zeros((size, size), np.uint16)
    types: dict[int, int] = {}
    y, x = np.indices((size, size))
    for _ in range(60):
        name = int(rng.choice(list(LOOKS)))
        (a, b), colour = LOOKS[name]
        cy, cx, angle = *rng.uniform(0, size, 2), rng.uniform(0, np.pi)
        u = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        v = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        if inside.sum() < 30 or (labels[inside] > 0).any():
            continue
        types[len(types) + 1] = name
        labels[inside] = len(types)
        rgb[inside] = colour
    rgb += rng.normal(0, 4, rgb.shape)
    return np.clip(rgb, 0, 255).astype(np.uint8), labels, types


def write_tiles(folder: Path, count: int, *, points: bool = False, typed: bool = True, first: int = 0) -> Path:
    """A folder of painted tiles with outlines, or with points."""
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(count):
        rgb, labels, types = painted(first + k)
        stem = folder / f"tile_{k:02}"
        Image.fromarray(rgb).save(stem.with_suffix(".png"))
        if points:
            rows = []
            for name, kind in types.items():
                py, px = np.nonzero(labels == name)
                rows.append([float(px.mean() + 0.5), float(py.mean() + 0.5), kind])
            stem.with_suffix(".points.json").write_text(json.dumps(rows))
            continue
        Image.fromarray(labels).save(stem.with_suffix(".label.png"))
        if typed:
            stem.with_suffix(".types.json").write_text(json.dumps(types))
    return folder
