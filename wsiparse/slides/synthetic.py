"""Generated H&E-like slides with known truth, and a writer for small pyramidal tiled TIFFs in Aperio's dialect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

__all__ = ["SyntheticField", "paint_he", "write_svs"]

#: Optical density per unit of stain, RGB: hematoxylin of Ruifrok & Johnston 2001, an eosin as pink as scanners show it.
_HEMATOXYLIN = np.array([0.650, 0.704, 0.286])
_EOSIN = np.array([0.092, 0.954, 0.283])


@dataclass(frozen=True, slots=True)
class SyntheticField:
    """A painted picture and its truth.

    Parameters
    ----------
    image : (H, W, 3) uint8
    labels : (H, W) int32, instance ids 1..n of the nuclei, 0 elsewhere
    inflammatory : (n,) bool, per instance
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.int32]
    inflammatory: NDArray[np.bool_]


def _smooth_noise(rng: np.random.Generator, height: int, width: int, cell: int) -> NDArray[np.float64]:
    """Bilinear value noise in [0, 1] with features of about `cell` px."""
    grid = rng.random((height // cell + 2, width // cell + 2))
    y, x = np.arange(height) / cell, np.arange(width) / cell
    y0, x0 = y.astype(int), x.astype(int)
    fy, fx = (y - y0)[:, None], (x - x0)[None, :]
    top = grid[y0][:, x0] * (1 - fx) + grid[y0][:, x0 + 1] * fx
    bottom = grid[y0 + 1][:, x0] * (1 - fx) + grid[y0 + 1][:, x0 + 1] * fx
    return np.asarray(top * (1 - fy) + bottom * fy)


def paint_he(
    width: int,
    height: int,
    *,
    nuclei_per_mm2: float = 3000.0,
    mpp: float = 0.5,
    large_um: tuple[float, float] = (4.5, 6.5),
    seed: int = 0,
) -> SyntheticField:
    """Paint elliptic nuclei without overlap on an irregular island of eosin-stained tissue.

    A fifth of the nuclei are inflammatory: small, round and dark. The rest are larger, paler and elongated.

    Parameters
    ----------
    width, height : px
    nuclei_per_mm2 : wanted density on tissue; crowding may leave it lower, `labels` tell the truth
    mpp : um per px
    large_um : least and most of the longer half axis of a nucleus that is not inflammatory (those have 3.2-3.7)
    seed : seed of the random numbers; the same arguments always give the same bytes
    """
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[0:height, 0:width]
    radius = np.hypot((xx - width / 2) / (0.46 * width), (yy - height / 2) / (0.46 * height))
    tissue = radius + 0.35 * (_smooth_noise(rng, height, width, max(16, width // 8)) - 0.5) < 1.0
    eosin = np.where(tissue, 0.12 + 0.16 * _smooth_noise(rng, height, width, 24), 0.0)
    hematoxylin = np.where(tissue, 0.04 + 0.05 * _smooth_noise(rng, height, width, 12), 0.0)
    labels = np.zeros((height, width), np.int32)
    inflammatory: list[bool] = []
    wanted = int(nuclei_per_mm2 * tissue.sum() * (mpp / 1000) ** 2)
    for _ in range(20 * wanted):
        if len(inflammatory) >= wanted:
            break
        small = bool(rng.random() < 0.2)
        least, most = (3.2, 3.7) if small else large_um
        a = (least + (most - least) * rng.random()) / mpp
        b = a * (0.9 + 0.1 * rng.random()) if small else a * (0.55 + 0.25 * rng.random())
        cx, cy, turn = rng.random() * width, rng.random() * height, rng.random() * np.pi
        reach = int(np.ceil(a)) + 3
        x0, x1, y0, y1 = int(cx) - reach, int(cx) + reach + 1, int(cy) - reach, int(cy) + reach + 1
        if x0 < 0 or y0 < 0 or x1 > width or y1 > height or not tissue[y0:y1, x0:x1].all():
            continue
        dx, dy = xx[y0:y1, x0:x1] + 0.5 - cx, yy[y0:y1, x0:x1] + 0.5 - cy
        u, v = dx * np.cos(turn) + dy * np.sin(turn), dy * np.cos(turn) - dx * np.sin(turn)
        inside = (u / a) ** 2 + (v / b) ** 2 <= 1
        around = (u / (a + 2)) ** 2 + (v / (b + 2)) ** 2 <= 1
        if labels[y0:y1, x0:x1][around].any():
            continue
        inflammatory.append(small)
        labels[y0:y1, x0:x1][inside] = len(inflammatory)
        stain = 0.95 if small else 0.55 + 0.15 * rng.random()
        hematoxylin[y0:y1, x0:x1][inside] = stain * (1 + 0.15 * (rng.random(int(inside.sum())) - 0.5))
        eosin[y0:y1, x0:x1][inside] *= 0.4
    od = hematoxylin[..., None] * _HEMATOXYLIN + eosin[..., None] * _EOSIN
    image = 243.0 * 10.0**-od + rng.normal(0, 1.5, (height, width, 3))
    return SyntheticField(np.clip(np.rint(image), 0, 255).astype(np.uint8), labels, np.asarray(inflammatory, np.bool_))


def write_svs(
    path: Path,
    image: NDArray[np.uint8],
    *,
    mpp: str | None = "0.5",
    tile: int = 256,
    levels: int = 2,
    compression: str | None = "jpeg",
) -> None:
    """Write (H, W, 3) uint8 as a pyramidal tiled TIFF that readers take for an Aperio slide.

    Parameters
    ----------
    image : (H, W, 3) uint8, level 0
    mpp : text of the MPP entry, written as it is; None leaves it out
    tile : tile edge, px, a multiple of 16
    levels : pyramid levels, each a quarter of the size of the one before
    compression : "jpeg" (quality 90) or None for exact pixels
    """
    with tifffile.TiffWriter(path, bigtiff=False) as writer:
        level = image
        for k in range(levels):
            h, w = level.shape[:2]
            facts = "|AppMag = 20" + (f"|MPP = {mpp}" if mpp is not None else "")
            scaled = "" if k == 0 else f" {image.shape[1]}x{image.shape[0]} ->"
            text = f"Aperio Image Library v12.0.0\n{scaled} {w}x{h} ({tile}x{tile}) JPEG/RGB Q=90{facts}"
            writer.write(
                level,
                photometric="rgb",
                tile=(tile, tile),
                compression=compression,
                compressionargs={"level": 90} if compression == "jpeg" else None,
                description=text,
                metadata=None,
                subfiletype=0,
                software=False,
            )
            h, w = h // 4, w // 4
            if min(h, w) < 1:
                break
            blocks = level[: 4 * h, : 4 * w].reshape(h, 4, w, 4, 3).astype(np.uint32)
            level = ((blocks.sum(axis=(1, 3)) + 8) // 16).astype(np.uint8)
