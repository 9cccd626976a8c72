"""Which libraries read slides here, and whether each really does."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import numpy as np

from wsiparse.coords import frame_at
from wsiparse.errors import WsiparseError
from wsiparse.slides.base import open_slide
from wsiparse.types import Box

__all__ = ["ReaderFact", "reader_facts"]

#: Largest difference per channel that JPEG makes on one plain colour.
_JPEG_LEVELS: Final = 4


@dataclass(frozen=True, slots=True)
class ReaderFact:
    """One library.

    Parameters
    ----------
    name : "openslide", "tiffslide" or "imagecodecs"
    version : "" if it is not installed
    backend : what does the work beneath it, "" if nothing else does
    fault : why it cannot be used, one line; "" if it reads
    """

    name: str
    version: str
    backend: str
    fault: str


def reader_facts(folder: Path | None = None) -> list[ReaderFact]:
    """Try every reader on a small slide made for it.

    Parameters
    ----------
    folder : where the slide may lie meanwhile; None for the system's folder for temporary files
    """
    codecs = _imagecodecs()
    if codecs.fault:
        return [codecs, *(ReaderFact(n, _version(n), "", "not tried") for n in ("openslide-python", "tiffslide"))]
    try:
        with tempfile.TemporaryDirectory(prefix="wsiparse-", dir=folder) as name:
            path = Path(name) / "trial.svs"
            from wsiparse.slides.synthetic import write_svs

            picture = np.full((128, 192, 3), (200, 120, 160), np.uint8)  # whole tiles: a cut one rings at its edge
            write_svs(path, picture, tile=64, levels=1)
            openslide = ReaderFact("openslide", _version("openslide-python"), *_openslide(path, picture))
            tiffslide = ReaderFact("tiffslide", _version("tiffslide"), "", _read_fault("tiffslide", path, picture))
    except OSError as error:
        fault = f"a slide to try them on cannot be written ({error.strerror or error})"
        return [codecs, *(ReaderFact(n, _version(n), "", fault) for n in ("openslide-python", "tiffslide"))]
    return [openslide, tiffslide, codecs]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _openslide(path: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> tuple[str, str]:
    """What runs beneath openslide-python, and why it does not read."""
    fault = _read_fault("openslide", path, picture)
    library = sys.modules.get("openslide")
    if library is None:
        return "", fault
    where = f"openslide-bin {_version('openslide-bin')}" if "openslide_bin" in sys.modules else "the system's library"
    return f"OpenSlide {library.__library_version__} from {where}", fault


def _read_fault(reader: str, path: Path, picture: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    height, width = picture.shape[:2]
    try:
        with open_slide(path, reader=reader) as slide:
            pixels = slide.read(Box(0, 0, width, height), frame_at(slide.size, (0.5, 0.5), 0.5))
    except (ImportError, OSError, WsiparseError) as error:
        return " ".join(str(error).split())
    worst = int(np.abs(pixels.astype(int) - picture).max())
    return "" if worst <= _JPEG_LEVELS else f"reads wrong pixels (off by {worst} of 255)"


def _imagecodecs() -> ReaderFact:
    try:
        import imagecodecs
    except (ImportError, OSError) as error:
        return ReaderFact("imagecodecs", _version("imagecodecs"), "", " ".join(str(error).split()))
    absent = [name for name in ("JPEG8", "JPEG2K", "LZW", "DEFLATE") if not getattr(imagecodecs, name).available]
    backend = "" if absent else str(imagecodecs.jpeg8_version())
    return ReaderFact("imagecodecs", imagecodecs.__version__, backend, f"without {', '.join(absent)}" if absent else "")
