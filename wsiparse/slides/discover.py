"""Which slides a command line means: files, folders and patterns become one ordered list."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from wsiparse.errors import SlideNotFoundError
from wsiparse.slides.dicom import file_series
from wsiparse.slides.files import expanded
from wsiparse.slides.multiscales import holds_image, is_zarr_folder

__all__ = ["SLIDE_EXTENSIONS", "find_slides"]

#: File name endings that are taken for slides inside a folder, lower case.
SLIDE_EXTENSIONS: Final = (
    ".svs", ".tif", ".tiff", ".btf", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi", ".dcm",
    ".zarr",
)  # fmt: skip


def find_slides(
    paths: Iterable[str | Path],
    *,
    recursive: bool = False,
    extensions: Sequence[str] | None = None,
    absent: Callable[[Path, SlideNotFoundError], None] | None = None,
) -> list[Path]:
    """All slides that the given files, folders and patterns name, in natural order, each once.

    A file is taken whatever it is called, and so is a Zarr folder. Another folder contributes the files in it with a
    slide extension, the first of each DICOM series, and the OME-Zarr images; hidden files and the companion folders of
    .mrxs slides are left out. A name with ``*``, ``?`` or ``[`` that is not itself a file is a pattern; ``**`` matches
    any depth.

    Parameters
    ----------
    paths : what the user gave
    recursive : look into sub-folders too
    extensions : endings to look for in folders, with or without the dot, any case; default `SLIDE_EXTENSIONS`
    absent : told of what would raise, which is then left out

    Raises
    ------
    SlideNotFoundError
        If a path does not exist, a pattern matches nothing, or a folder holds no slide.
    """
    endings = tuple(sorted({"." + e.lower().lstrip(".") for e in extensions})) if extensions else SLIDE_EXTENSIONS
    found: dict[str, Path] = {}
    for given in paths:
        path = expanded(given)
        try:
            slides = _expand(path, recursive, endings)
        except SlideNotFoundError as error:
            if absent is None:
                raise
            absent(path, error)
            continue
        for slide in slides:
            found.setdefault(os.path.realpath(slide), slide)
    return sorted(found.values(), key=_natural)


def _expand(path: Path, recursive: bool, endings: tuple[str, ...]) -> list[Path]:
    if is_zarr_folder(path):
        return [path]
    # unlike Path's, these tests are False, not an error, where nobody may look
    if os.path.isdir(path):  # noqa: PTH112
        slides = list(_in_folder(path, recursive, endings))
        if not slides:
            where = "in it or below" if recursive else "in it; --recursive looks into sub-folders"
            raise SlideNotFoundError(f"{path}: no slides {where} (looked for {', '.join(endings)}).")
        return slides
    if os.path.exists(path):  # noqa: PTH110
        return [path]
    if glob.has_magic(str(path)):
        matches = [Path(m) for m in glob.glob(str(path), recursive=True)]  # noqa: PTH207  (Path.glob takes no absolute pattern)
        slides = [m for m in matches if m.is_file() or holds_image(m)]
        for folder in (m for m in matches if m.is_dir() and not _is_companion(m) and not is_zarr_folder(m)):
            slides += _in_folder(folder, recursive, endings)
        if not slides:
            raise SlideNotFoundError(f"{path}: no slide matches this pattern. Check it with ls.")
        return slides
    raise SlideNotFoundError(f"{path}: no such file or folder. Check the path and that the drive is mounted.")


def _in_folder(folder: Path, recursive: bool, endings: tuple[str, ...]) -> Iterator[Path]:
    try:
        entries = sorted(folder.iterdir())
    except PermissionError:
        raise SlideNotFoundError(
            f"{folder}: no permission to look into it. Ask its owner, or run chmod +rx on it."
        ) from None
    series: set[str] = set()
    for entry in entries:
        if entry.name.startswith("."):
            continue
        is_slide = entry.name.lower().endswith(endings)
        if is_slide and entry.suffix.lower() == ".dcm":
            uid = file_series(entry)
            if uid in series:
                continue
            series |= {uid} - {""}
        if not os.path.isdir(entry):  # noqa: PTH112
            # whatever it is: opening a link to nowhere or a pipe says what is wrong, leaving it out would hide it
            if is_slide:
                yield entry
        elif is_zarr_folder(entry):
            if is_slide and holds_image(entry):
                yield entry
        # a link may lead back up; following none keeps the walk finite
        elif recursive and not entry.is_symlink() and not _is_companion(entry):
            yield from _in_folder(entry, recursive, endings)


def _is_companion(folder: Path) -> bool:
    """A MIRAX slide NAME.mrxs keeps its pixels in a folder NAME beside it."""
    return any(folder.with_name(folder.name + ending).is_file() for ending in (".mrxs", ".MRXS"))


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"(\d+)", str(path).lower())
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts], str(path)
