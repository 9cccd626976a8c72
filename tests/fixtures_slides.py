"""Small synthetic slides on disk: Aperio-style pyramids, and the pictures to put on them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

SHARED = Path(__file__).resolve().parents[2] / "shared"
CMU_SMALL = SHARED / "data" / "slides" / "CMU-1-Small-Region.svs"
TCGA_SMALL = SHARED / "data" / "slides" / "tcga-cr-7395-01a-01-ts1.svs"
OME_SMALL = SHARED / "data" / "slides" / "instanseg_HE_example.tif"

RGB = NDArray[np.uint8]


def textured(height: int, width: int, seed: int = 0) -> RGB:
    """A smooth colourful picture with fine noise: no two places alike, mild enough for JPEG."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    waves = [np.sin(x / a + p) + np.cos(y / b - p) for a, b, p in ((9, 13, 0.1), (17, 7, 1.3), (5, 23, 2.1))]
    picture = np.stack(waves, axis=2) * 45 + 130 + rng.normal(0, 6, (height, width, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def halved(array: RGB, step: int) -> RGB:
    """Mean of whole step x step blocks, rounded half up; what does not fill a block is left out, as scanners do."""
    h, w = (n // step for n in array.shape[:2])
    blocks = array[: h * step, : w * step].reshape(h, step, w, step, 3).astype(np.float64)
    return np.floor(blocks.mean(axis=(1, 3)) + 0.5).astype(np.uint8)


def aperio_description(size: tuple[int, int], mpp: object = 0.5, magnification: object = 20) -> str:
    """The ImageDescription an Aperio scanner writes; None leaves an entry out."""
    width, height = size
    head = f"Aperio Image Library v11.2.1 \r\n{width}x{height} [0,0 {width}x{height}] (64x64) JPEG/RGB Q=90"
    entries = (("AppMag", magnification), ("StripeWidth", 2040), ("MPP", mpp))
    return head + "".join(f"|{key} = {value}" for key, value in entries if value is not None)


def write_svs(
    path: Path,
    array: RGB,
    *,
    mpp: object = 0.5,
    magnification: object = 20,
    steps: Sequence[int] = (1, 4),
    tile: int = 64,
    compression: str | None = "jpeg",
    quality: int = 90,
    resolution: tuple[float, float] | None = None,
    description: str | None = None,
    bigtiff: bool = False,
) -> Path:
    """Write a tiled pyramid that OpenSlide and tiffslide take for an Aperio slide.

    Parameters
    ----------
    array : (H, W, 3) uint8, level 0
    mpp, magnification : entries of the description, as text or number; None leaves them out
    steps : downsample of each level, 1 first
    compression : "jpeg", or None for exact pixels
    resolution : px per inch in the TIFF tags
    """
    size = (array.shape[1], array.shape[0])
    text = description if description is not None else aperio_description(size, mpp, magnification)
    options: dict[str, Any] = {"tile": (tile, tile), "photometric": "rgb", "metadata": None, "software": False}
    if compression is not None:
        options |= {"compression": compression, "compressionargs": {"level": quality}}
    if resolution is not None:
        options |= {"resolution": resolution, "resolutionunit": "INCH"}
    with tifffile.TiffWriter(path, bigtiff=bigtiff) as writer:
        for step in steps:
            level = array if step == 1 else halved(array, step)
            writer.write(level, description=text, subfiletype=0, **options)
            if step == 1:
                # Aperio's second image is an untiled thumbnail; tifffile counts levels on from there
                thumbnail = halved(array, max(1, min(array.shape[:2]) // 32))
                writer.write(thumbnail, description=text, photometric="rgb", metadata=None, software=False)
    return path
