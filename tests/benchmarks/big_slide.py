"""Slides of any size, generated: a JPEG pyramid that readers take for an Aperio slide, 41 % of it tissue.

One painted block of tissue is repeated under an irregular mask; every JPEG tile is encoded once, so a slide of
80k x 80k px takes seconds and little memory. Run as a program:

    python -m tests.benchmarks.big_slide 40000 slide.svs
    python -m tests.benchmarks.big_slide 100000 large.svs --height 80000 --mpp 0.25 --levels 1
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy import ndimage

from wsiparse.slides.synthetic import paint_he

TILE: Final = 256

#: Edge of the painted block, px of level 0.
BLOCK: Final = 2048
LEVELS: Final = 3
TISSUE: Final = 0.41


def tissue_tiles(rows: int, columns: int, seed: int = 0) -> NDArray[np.bool_]:
    """(rows, columns) bool: which tiles of level 0 are tissue, in rounded patches of many sizes; `TISSUE` of them.

    Whole groups of 16 x 16 tiles agree, so that a tile of any level is either tissue or glass.
    """
    group = 4 ** (LEVELS - 1)
    coarse = (-(-rows // group), -(-columns // group))
    rng = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(rng.standard_normal(coarse), 2.0, mode="nearest")
    chosen = noise > np.quantile(noise, 1 - TISSUE)
    return np.kron(chosen, np.ones((group, group), np.bool_))[:rows, :columns].astype(np.bool_)


def write_big_slide(
    path: Path, edge: int, *, height: int | None = None, mpp: str = "0.5", levels: int = LEVELS, seed: int = 0
) -> float:
    """Write a slide; returns the part of it that is tissue.

    Parameters
    ----------
    edge : width of level 0, px, rounded up to whole blocks of tiles
    height : of level 0, px, rounded likewise; None for a square
    levels : how many, 1-3, each a quarter of the size of the one before
    """
    unit = TILE * 4 ** (LEVELS - 1)
    width, height = (-(-n // unit) * unit for n in (edge, height or edge))
    inner = slice(BLOCK // 2, BLOCK // 2 + BLOCK)  # the middle of a painted island is tissue throughout
    block = paint_he(2 * BLOCK, 2 * BLOCK, seed=seed).image[inner, inner]
    tissue = tissue_tiles(height // TILE, width // TILE, seed)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for level in range(levels):
            factor = 4**level
            size = (height // factor, width // factor)
            if level:
                n = block.shape[0] // 4
                block = ((block.reshape(n, 4, n, 4, 3).astype(np.uint32).sum(axis=(1, 3)) + 8) // 16).astype(np.uint8)
            text = f"Aperio Image Library v12.0.0\n{size[1]}x{size[0]} ({TILE}x{TILE}) JPEG/YCC Q=80"
            writer.write(
                _encoded(block, tissue[::factor, ::factor]),
                shape=(*size, 3),
                dtype=np.uint8,
                photometric="ycbcr",
                subsampling=(1, 1),
                tile=(TILE, TILE),
                compression="jpeg",
                description=f"{text}|AppMag = 20|MPP = {mpp}",
                metadata=None,
                subfiletype=0,
                software=False,
            )
    return float(tissue.mean())


def _encoded(block: NDArray[np.uint8], tissue: NDArray[np.bool_]) -> Iterator[bytes]:
    """JPEG bytes of every tile of a level, row by row."""
    block = np.tile(block, (max(1, TILE // block.shape[0]),) * 2 + (1,))
    n = block.shape[0] // TILE
    known: dict[tuple[int, int], bytes] = {}
    glass = _jpeg(np.full((TILE, TILE, 3), 243, np.uint8))
    for row, kinds in enumerate(tissue):
        for column, inside in enumerate(kinds):
            if not inside:
                yield glass
                continue
            place = (row % n, column % n)
            if place not in known:
                y, x = place[0] * TILE, place[1] * TILE
                known[place] = _jpeg(block[y : y + TILE, x : x + TILE])
            yield known[place]


def _jpeg(image: NDArray[np.uint8]) -> bytes:
    image = np.ascontiguousarray(image)
    data: bytes = imagecodecs.jpeg8_encode(image, level=80, colorspace="RGB", outcolorspace="YCBCR", subsampling="444")
    return data


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("edge", type=int, help="width of level 0, px")
    parser.add_argument("path", type=Path)
    parser.add_argument("--height", type=int, help="px of level 0, where it is not the width")
    parser.add_argument("--mpp", default="0.5", help="um per px of level 0")
    parser.add_argument("--levels", type=int, default=LEVELS)
    given = parser.parse_args()
    share = write_big_slide(given.path, given.edge, height=given.height, mpp=given.mpp, levels=given.levels)
    print(f"{given.path}: {given.path.stat().st_size / 1e6:.0f} MB, {100 * share:.0f} % tissue")
