"""The small slides that are spoilt: every kind of file and codec a reader of ours takes. Made anew, the same each time.

A slide is a mapping from file names to content: one file, or the files of an OME-Zarr folder ``a.zarr/...``.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from tests.fixtures_slides import halved, textured, write_svs
from tests.slides.hazards import pyramid_below
from tests.slides.zarrs import write_ome_zarr

__all__ = ["Files", "make_seeds", "place"]

Files = dict[str, bytes]

PICTURE = textured(90, 130, seed=8)


def make_seeds(folder: Path) -> dict[str, Files]:
    """All of them by name; `folder` is empty and is used to make them."""
    seeds: dict[str, Files] = {}
    for big in (False, True):
        path = write_svs(folder / "a.svs", PICTURE, steps=(1, 2), tile=32, bigtiff=big)
        seeds["big.svs" if big else "jpeg.svs"] = {"a.svs": path.read_bytes()}
    seeds["plain.svs"] = {"a.svs": write_svs(path, PICTURE, steps=(1,), tile=32, compression=None).read_bytes()}
    for codec in ("jpeg2000", "jpegxl", "webp", "lzw", "lzma", "deflate", "zstd"):
        options = {"predictor": True} if codec in ("lzw", "deflate") else {}
        tifffile.imwrite(
            folder / "a.tif", PICTURE, tile=(32, 32), photometric="rgb", compression=codec, metadata=None, **options
        )
        seeds[f"{codec}.tif"] = {"a.tif": (folder / "a.tif").read_bytes()}
    for rows, codec in ((7, "lzw"), (90, None), (16, "jpeg")):
        tifffile.imwrite(
            folder / "a.tif", PICTURE, rowsperstrip=rows, photometric="rgb", compression=codec, metadata=None
        )
        seeds[f"strips_{rows}.tif"] = {"a.tif": (folder / "a.tif").read_bytes()}
    seeds["below.ome.tif"] = {"a.ome.tif": pyramid_below(folder / "a.ome.tif").read_bytes()}
    alpha = np.dstack([PICTURE, PICTURE[..., 0]])
    for name, array in (("rgb", PICTURE), ("alpha", alpha), ("grey", PICTURE[..., 0]), ("palette", None)):
        picture = Image.fromarray(PICTURE).quantize(16) if array is None else Image.fromarray(array)
        seeds[f"{name}.png"] = {
            "a.png": _saved(picture, "PNG", transparency=3) if array is None else _saved(picture, "PNG")
        }
    seeds["baseline.jpg"] = {"a.jpg": _saved(Image.fromarray(PICTURE), "JPEG", quality=80)}
    seeds["progressive.jpg"] = {"a.jpg": _saved(Image.fromarray(PICTURE), "JPEG", progressive=True, subsampling=2)}
    seeds["a.bmp"] = {"a.bmp": _saved(Image.fromarray(PICTURE), "BMP")}
    for version, options in (("0.4", {}), ("0.5", {}), ("0.5 sharded", {"shards": (3, 64, 64)})):
        top = folder / f"{version}.zarr"
        small = PICTURE if options else halved(PICTURE, 2)
        write_ome_zarr(top, small, version=version[:3], steps=(1,) if options else (1, 2), chunk=32, **options)
        seeds[f"{version}.zarr"] = {
            f"a.zarr/{p.relative_to(top).as_posix()}": p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()
        }
    return seeds


def _saved(picture: Image.Image, format_: str, **options: object) -> bytes:
    out = io.BytesIO()
    picture.save(out, format_, **options)
    return out.getvalue()


def place(files: Files, folder: Path) -> Path:
    """Write a slide's files into an empty folder; returns what is opened."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder / next(iter(files)).split("/")[0]
