"""Tiled TIFFs of every kind the direct reader takes, written tile by tile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from tests.fixtures_slides import RGB, aperio_description, halved
from wsiparse.slides.tilecache import TileCache

#: What tifffile calls each way of storing tiles, with the options that it needs.
PLAIN: dict[str, dict[str, Any]] = {
    "none": {"compression": None},
    "lzw": {"compression": "lzw"},
    "lzw differences": {"compression": "lzw", "predictor": True},
    "deflate": {"compression": "zlib"},
    "deflate differences": {"compression": "zlib", "predictor": True},
    "old deflate": {"compression": 32946},
    "zstd": {"compression": "zstd"},
    "zstd differences": {"compression": "zstd", "predictor": True},
    "webp": {"compression": "webp", "compressionargs": {"level": 80}},
}

#: What the YCbCrSubSampling tag says; 4:4:0 has no name in it that tifffile writes.
SUBSAMPLINGS = {"444": (1, 1), "422": (2, 1), "420": (2, 2), "440": (1, 1), "411": (4, 1)}


def jpeg(tile: RGB, *, subsampling: str = "444", rgb: bool = False, quality: int = 85) -> bytes:
    """A tile as JPEG with its tables inside."""
    data: bytes = imagecodecs.jpeg8_encode(
        np.ascontiguousarray(tile),
        level=quality,
        colorspace="RGB",
        outcolorspace="RGB" if rgb else "YCBCR",
        subsampling=subsampling,
    )
    return data


def without_tables(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG split into its tables (as TIFF tag 347 wants them) and the rest without JFIF and Adobe markers."""
    tables, rest, at = b"\xff\xd8", b"\xff\xd8", 2
    while data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4])
        segment = data[at : at + 2 + length]
        if data[at + 1] in (0xDB, 0xC4):
            tables += segment
        elif data[at + 1] not in (0xE0, 0xEE):
            rest += segment
        at += 2 + length
    return tables + b"\xff\xd9", rest + data[at:]


def cut(picture: RGB, tile: tuple[int, int]) -> Iterator[RGB]:
    """Whole tiles row by row; what lies past the picture repeats its edge."""
    height, width = picture.shape[:2]
    padded = np.pad(picture, ((0, -height % tile[1]), (0, -width % tile[0]), (0, 0)), mode="edge")
    for y in range(0, height, tile[1]):
        for x in range(0, width, tile[0]):
            yield padded[y : y + tile[1], x : x + tile[0]]


def write_jpeg_tiff(
    path: Path,
    picture: RGB,
    *,
    tile: tuple[int, int] = (64, 64),
    steps: Sequence[int] = (1, 2, 4),
    subsampling: str = "444",
    rgb: bool = False,
    tables: bool = False,
    missing: Sequence[int] = (),
    bigtiff: bool = False,
    byteorder: str = "<",
    aperio: bool = True,
) -> Path:
    """Write a pyramid of JPEG tiles.

    Parameters
    ----------
    steps : downsample of each level, 1 first
    rgb : samples are RGB, else YCbCr
    tables : kept once a level in the JPEGTables tag
    missing : indices of level-0 tiles that are left out
    aperio : with Aperio's description, else a generic TIFF
    """
    with tifffile.TiffWriter(path, bigtiff=bigtiff, byteorder=byteorder) as writer:
        for step in steps:
            level = picture if step == 1 else halved(picture, step)
            coded = [jpeg(t, subsampling=subsampling, rgb=rgb) for t in cut(level, tile)]
            options: dict[str, Any] = {}
            if tables:
                shared, _ = without_tables(coded[0])
                coded = [without_tables(data)[1] for data in coded]
                options["jpegtables"] = shared
            if not rgb:
                options["subsampling"] = SUBSAMPLINGS[subsampling]
            writer.write(
                (b"" if step == 1 and k in missing else data for k, data in enumerate(coded)),
                shape=level.shape,
                dtype=np.uint8,
                photometric="rgb" if rgb else "ycbcr",
                tile=(tile[1], tile[0]),
                compression="jpeg",
                description=aperio_description((level.shape[1], level.shape[0])) if aperio else None,
                subfiletype=0 if aperio or step == 1 else 1,
                metadata=None,
                software=False,
                **options,
            )
    return path


def write_plain_tiff(
    path: Path,
    picture: RGB,
    coding: str,
    *,
    tile: tuple[int, int] = (64, 64),
    steps: Sequence[int] = (1, 2, 4),
    aperio: bool = True,
    **options: Any,
) -> Path:
    """Write a pyramid whose tiles tifffile codes itself, one of `PLAIN`."""
    with tifffile.TiffWriter(path, **options) as writer:
        for step in steps:
            level = picture if step == 1 else halved(picture, step)
            writer.write(
                level,
                photometric="rgb",
                tile=(tile[1], tile[0]),
                description=aperio_description((level.shape[1], level.shape[0])) if aperio else None,
                subfiletype=0 if aperio or step == 1 else 1,
                metadata=None,
                software=False,
                **PLAIN[coding],
            )
    return path


def write_jpeg2000_tiff(path: Path, picture: RGB, *, tile: tuple[int, int] = (64, 64), level: int = 0) -> Path:
    """Write an Aperio slide of JPEG 2000 tiles (compression 33005); `level` 0 is lossless."""
    coded = (
        imagecodecs.jpeg2k_encode(np.ascontiguousarray(t), level=level, codecformat="j2k", reversible=level == 0)
        for t in cut(picture, tile)
    )
    with tifffile.TiffWriter(path) as writer:
        writer.write(
            coded,
            shape=picture.shape,
            dtype=np.uint8,
            photometric="rgb",
            tile=(tile[1], tile[0]),
            compression=33005,
            description=aperio_description((picture.shape[1], picture.shape[0])),
            metadata=None,
            software=False,
        )
    return path


def tile_place(path: Path, index: int, page: int = 0) -> tuple[int, int]:
    """Offset and byte count of one tile."""
    with tifffile.TiffFile(path) as tiff:
        found = tiff.pages[page]
        return found.dataoffsets[index], found.databytecounts[index]


def set_tag(path: Path, name: str, values: NDArray[np.int64] | Sequence[int] | int, page: int = 0) -> None:
    """Overwrite the value of a tag of the same length."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[page].tags[name].overwrite(values)


def kept_bytes(cache: TileCache[Any]) -> int:
    """Bytes of all tiles that a cache keeps now."""
    return cache._recent_bytes + cache._seam_bytes
