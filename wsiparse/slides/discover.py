"""Which slides a command line means: files, folders and patterns become one ordered list."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

from wsiparse.errors import SlideNotFoundError, UnsupportedSlideError
from wsiparse.names import folded
from wsiparse.slides.declared import reading_endings
from wsiparse.slides.dicom import file_series, is_dicom
from wsiparse.slides.files import expanded
from wsiparse.slides.multiscales import holds_image, is_zarr_folder
from wsiparse.slides.own_results import OwnResults

__all__ = ["SLIDE_EXTENSIONS", "find_slides", "identity", "slide_of_folder"]

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
    say: Callable[[str], object] | None = None,
    absent: Callable[[Path, SlideNotFoundError], None] | None = None,
) -> list[Path]:
    """All slides that the given files, folders and patterns name, in natural order, each once.

    A file is taken whatever it is called, and so is a Zarr folder; the folder of a MIRAX slide is that slide. Another
    folder contributes the files in it with a slide extension, the first of each DICOM series (also where its files
    have no ending), and the OME-Zarr images; hidden files and the companion folders of .mrxs slides are left out.
    A name with ``*``, ``?`` or ``[`` that is not itself a file is a pattern; ``**`` matches any depth. Results of this
    program are never searched (see `wsiparse.slides.own_results`), only taken when a file in them is named itself.

    Parameters
    ----------
    paths : what the user gave
    recursive : look into sub-folders too
    extensions : endings to look for in folders, with or without the dot, any case; default `SLIDE_EXTENSIONS`, and what
        readers of other packages open
    say : told in one line what was left out: results, and names of a slide that is there under another
    absent : told of what would raise, which is then left out

    Raises
    ------
    SlideNotFoundError
        If a path does not exist, a pattern matches nothing, or a folder holds no slide.

    Examples
    --------
    >>> import wsiparse
    >>> [path.name for path in wsiparse.find_slides(["*.svs"])]
    ['slide.svs']
    """
    endings = (
        tuple(sorted({"." + e.lower().lstrip(".") for e in extensions}))
        if extensions
        else (*SLIDE_EXTENSIONS, *reading_endings())
    )
    found: dict[str, Path] = {}
    own, seen, lines = OwnResults(), dict[str, str](), list[str]()
    for given in paths:
        path = expanded(given)
        try:
            slides = _expand(path, recursive, endings, own)
        except SlideNotFoundError as error:
            if absent is None:
                raise
            absent(path, error)
            continue
        for slide in slides:
            first = found.setdefault(identity(slide, seen), slide)
            if first.name != slide.name:
                lines.append(f"{slide}: is the same file as {first}, taken once")
    if say is not None:
        own.tell(say)
        for line in dict.fromkeys(lines):
            say(line)
    return sorted(found.values(), key=_natural)


def identity(path: Path, seen: dict[str, str]) -> str:
    """What tells a file apart from others: its full path with links followed, as it was written first.

    A file system that does not tell upper from lower case, or Unicode forms, gives one file under several names.

    Parameters
    ----------
    seen : paths by what such file systems make of them; filled
    """
    real = os.path.realpath(path)
    first = seen.setdefault(folded(real), real)
    if first == real:
        return real
    try:
        return first if os.path.samefile(first, real) else real  # noqa: PTH121
    except OSError:
        return real


def _expand(path: Path, recursive: bool, endings: tuple[str, ...], own: OwnResults) -> list[Path]:
    if is_zarr_folder(path):
        return [path]
    # unlike Path's, these tests are False, not an error, where nobody may look
    if os.path.isdir(path):  # noqa: PTH112
        if own.is_own(path.absolute()) or own.holds(path):
            raise SlideNotFoundError(f"{path}: holds results of wsiparse, not slides. Give the folder of the slides.")
        mirax = _mirax_file(path)
        slides = [mirax] if mirax is not None else list(_in_folder(path, recursive, endings, own))
        if not slides:
            where = "in it or below" if recursive else "in it; --recursive looks into sub-folders"
            raise SlideNotFoundError(f"{path}: no slides {where} (looked for {', '.join(endings)}).")
        return slides
    if os.path.exists(path):  # noqa: PTH110
        return [path]
    if glob.has_magic(str(path)):
        matches = [Path(m) for m in glob.glob(str(path), recursive=True)]  # noqa: PTH207  (Path.glob takes no absolute pattern)
        matches = [m for m in matches if not own.holds(m) and not (m.is_dir() and own.is_own(m.absolute()))]
        slides = [m for m in matches if m.is_file() or holds_image(m)]
        for folder in (m for m in matches if m.is_dir() and not _is_companion(m) and not is_zarr_folder(m)):
            slides += _in_folder(folder, recursive, endings, own)
        if not slides:
            raise SlideNotFoundError(f"{path}: no slide matches this pattern. Check it with ls.")
        return slides
    raise SlideNotFoundError(f"{path}: no such file or folder. Check the path and that the drive is mounted.")


def _in_folder(folder: Path, recursive: bool, endings: tuple[str, ...], own: OwnResults) -> Iterator[Path]:
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
        nameless = not is_slide and endings[: len(SLIDE_EXTENSIONS)] == SLIDE_EXTENSIONS and _may_be_dicom(entry)
        is_slide = is_slide or nameless
        if is_slide and (nameless or entry.suffix.lower() == ".dcm"):
            uid = file_series(entry)
            if uid in series:
                continue
            series |= {uid} - {""}
        if not os.path.isdir(entry):  # noqa: PTH112
            # whatever it is: opening a link to nowhere or a pipe says what is wrong, leaving it out would hide it
            if is_slide:
                yield entry
        elif is_zarr_folder(entry):
            if is_slide and holds_image(entry) and not own.is_own(entry):
                yield entry
        # a link may lead back up; following none keeps the walk finite
        elif recursive and not entry.is_symlink() and not _is_companion(entry) and not own.is_own(entry):
            yield from _in_folder(entry, recursive, endings, own)


def slide_of_folder(folder: Path) -> Path | None:
    """The slide that a folder is: NAME.mrxs beside a MIRAX slide's folder, the first file of a DICOM series.

    Raises
    ------
    UnsupportedSlideError
        If it holds several series.
    """
    own = _mirax_file(folder)
    if own is not None:
        return own
    first: dict[str, Path] = {}
    try:
        for entry in sorted(folder.iterdir()):
            if not entry.name.startswith(".") and is_dicom(entry):
                first.setdefault(file_series(entry), entry)
    except OSError:
        return None
    if len(first) > 1:
        raise UnsupportedSlideError(
            f"{folder}: holds {len(first)} DICOM series. Give one file of a series, such as "
            f"{next(iter(first.values()))}, or run the whole folder."
        )
    return next(iter(first.values()), None)


def _may_be_dicom(entry: Path) -> bool:
    """Whether a file without a slide's ending is DICOM: archives export IM0001, or a UID as the name."""
    ending = entry.suffix.lower()
    return (ending in ("", ".dicom", ".dic") or ending[1:].isdecimal()) and is_dicom(entry)


def _mirax_file(folder: Path) -> Path | None:
    """A MIRAX slide NAME.mrxs keeps its pixels in a folder NAME beside it."""
    beside = (folder.with_name(folder.name + ending) for ending in (".mrxs", ".MRXS"))
    return next((path for path in beside if path.is_file()), None)


def _is_companion(folder: Path) -> bool:
    return _mirax_file(folder) is not None


def _natural(path: Path) -> tuple[list[tuple[int, int, str]], str]:
    parts = re.split(r"(\d+)", str(path).lower())
    return [(1, int(p), "") if p.isdecimal() else (0, 0, p) for p in parts], str(path)
