"""Files of other programs, one after the other, as tables in the free frame of one slide; they wait on the disk.

What an object is, and what its class is called, is known when all files have been read; until then classes are numbers.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from wsiparse.atomic import output_error, output_errors, sha256_file, sha256_tree
from wsiparse.choices import CoordinateUnit, Coords, ObjectKind, Outline
from wsiparse.coords import Frame, free_frame, um2_per_px
from wsiparse.errors import ImportFileError
from wsiparse.imports.clean import OFF, Place, tidy
from wsiparse.imports.files import open_source
from wsiparse.imports.found import Classes, Declared, SourceFile
from wsiparse.store.records import Sizes, pack, unpack
from wsiparse.types import Box, ObjectTable

__all__ = ["Asked", "FileFacts", "Gathered", "Target", "Waiting", "gather"]

#: Share of the objects off the slide above which the frame is wrong.
_MOST_OFF: Final = 0.5

#: Batches of a class whose areas are kept.
_BATCHES: Final = 8

#: Objects whose centres are kept to judge where they lie.
_SAMPLE: Final = 20_000

#: A label image given with its scale may be so much larger than the slide, for a px at its edge.
_LARGER: Final = 1.01

#: How far a label image may differ from the slide's size, px of it.
_ROUNDED: Final = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """What the user says of the files.

    Parameters
    ----------
    name : program they are from; "" for what the files tell
    kind : what all objects are; "auto" as the files say
    outline : which outline of a cell that has two
    coords : origin of the coordinates; None for what the files tell, or is usual for their kind
    unit : of the coordinates
    downsample : level-0 px per px of the files; None for what they tell, or 1
    renamed : class of the files -> what it is called
    """

    name: str = ""
    kind: ObjectKind = "auto"
    outline: Outline = "cell"
    coords: Coords | None = None
    unit: CoordinateUnit = "px"
    downsample: float | None = None
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Target:
    """The slide that the objects are of.

    Parameters
    ----------
    name : stem of its file
    fingerprint : of its content
    size : (width, height), level-0 px
    mpp : (x, y), um per level-0 px
    bounds : scanned part, level-0 px
    """

    name: str
    fingerprint: str
    size: tuple[int, int]
    mpp: tuple[float, float]
    bounds: Box


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file that was imported: name, content, what it is from, and how many objects were in it."""

    name: str
    sha256: str
    program: str
    objects: int


@dataclass(eq=False)
class Gathered:
    """What the files hold.

    Parameters
    ----------
    classes : of all objects
    files : in the order given
    counts : what was done to objects, see `wsiparse.imports.clean`
    left : what was left out of the files, and how many
    grids : for each class number, the downsamples of the grids its outlines follow; None for none
    areas : for the number of each class that is annotated, areas of some of its objects, (n,) float64 each, um^2
    sample : (n, 2) float64, centres of some objects, level-0 px
    """

    classes: Classes
    files: list[FileFacts] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)
    grids: dict[int, set[tuple[float, float] | None]] = field(default_factory=dict)
    areas: dict[int, list[NDArray[np.float64]]] = field(default_factory=dict)
    sample: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))


class Waiting:
    """Tables on the disk, in the order they came; use as a context manager, which deletes them.

    Parameters
    ----------
    path : file to be made
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sizes: list[Sizes] = []
        with output_errors(path):
            self._file: FileIO = path.open("w+b", buffering=0)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with output_errors(self._path):
            self._path.unlink(missing_ok=True)

    def add(self, table: ObjectTable) -> None:
        """Take a table, without class shares.

        Raises
        ------
        OutputError
            If the disk is full.
        """
        with output_errors(self._path):
            for buffer in pack(table):
                while buffer:
                    buffer = buffer[self._file.write(buffer) :]
        self._sizes.append(Sizes.of(table))

    def __iter__(self) -> Iterator[ObjectTable]:
        self._file.seek(0)
        for sizes in self._sizes:
            try:
                yield unpack(self._file.read(sizes.payload), sizes)
            except OSError as error:
                raise output_error(self._path, error, "read") from error


def gather(files: Sequence[Path], target: Target, asked: Asked, waiting: Waiting) -> Gathered:
    """Read all files.

    Parameters
    ----------
    files : of other programs
    target : the slide
    asked : by the user
    waiting : gets their objects, in the free frame of the slide, ``class_id`` the number of the class

    Raises
    ------
    ImportFileError
        If a file cannot be used, is of another slide, holds no object, or most of its objects lie off the slide.
    """
    gathered = Gathered(Classes())
    frame = free_frame(target.size, target.mpp)
    for path in files:
        _take(path, target, asked, waiting, gathered, frame)
    return gathered


def _take(path: Path, target: Target, asked: Asked, waiting: Waiting, gathered: Gathered, frame: Frame) -> None:
    source = open_source(path, gathered.classes, outline=asked.outline, slide=target.name)
    batches = iter(source.batches)
    first = next(batches, None)  # what a file says of its coordinates is known then
    used = source.declared
    place, grid = _placed(path, source, target, asked)
    counts: Counter[str] = Counter()
    objects = 0
    for batch in itertools.chain([] if first is None else [first], batches):
        objects += len(batch)
        if not len(batch):
            continue
        table = tidy(batch, place, frame, str(path), counts)
        if not len(table):
            continue
        waiting.add(table)
        for number in np.unique(table.class_id).tolist():
            gathered.grids.setdefault(number, set()).add(grid)
            if (
                gathered.classes.keys[number - 1].kind == "annotation"
                and len(gathered.areas.get(number, ())) < _BATCHES
            ):
                mine = table.area_px[table.class_id == number] * um2_per_px(frame)
                gathered.areas.setdefault(number, []).append(mine)
        if len(gathered.sample) < _SAMPLE:
            gathered.sample = np.concatenate([gathered.sample, table.centroid * frame.downsample])
    if source.declared != used:
        raise ImportFileError(
            f"{path}: what it says of its image ({source.declared.image}) comes after the objects. Give their scale "
            "with --downsample, or write the images before the annotations."
        )
    if not objects:
        told = "; ".join(f"{n} {what}" for what, n in source.left.items())
        raise ImportFileError(f"{path}: no objects in it{f' ({told})' if told else ''}. Export them again.")
    if counts[OFF] > _MOST_OFF * objects:
        raise ImportFileError(_off(path, counts[OFF], objects, place, target))
    gathered.counts += counts
    gathered.left.update(source.left)
    digest = sha256_tree(path) if path.is_dir() else sha256_file(path)
    gathered.files.append(FileFacts(path.name, digest, source.program, objects))


def _off(path: Path, off: int, objects: int, place: Place, target: Target) -> str:
    width, height = target.size
    return (
        f"{path}: {off} of {objects} objects lie off the slide, which is {width} x {height} px: they are of another "
        "slide, or in another frame. Coordinates in um need --unit um, those of a smaller level --downsample (level-0 "
        "px per px), those of a program that crops to the scanned part, as QuPath does, --coords qupath, of others "
        f"--coords level0 (taken here: origin {place.origin[0]:g}, {place.origin[1]:g}, scale {place.scale[0]:g})."
    )


def _placed(path: Path, source: SourceFile, target: Target, asked: Asked) -> tuple[Place, tuple[float, float] | None]:
    """Where the coordinates of a file lie, and the grid that its outlines follow."""
    declared = source.declared
    if declared.slide is not None and declared.slide != target.fingerprint:
        raise ImportFileError(
            f"{path}: of another slide: its objects were found on one whose content differs from {target.name}. Give "
            "the slide it is of."
        )
    origin = _origin(source, target, asked)
    if asked.unit == "um":
        x, y = target.mpp
        return Place(origin, (1 / x, 1 / y), target.size), None
    if asked.downsample is not None:
        scale = (asked.downsample, asked.downsample)
    elif declared.image is not None:
        scale, whole = _scale_of_image(path, declared, target)
        if asked.coords is None and declared.origin is None:
            origin = (0.0, 0.0) if whole else (float(target.bounds.x), float(target.bounds.y))
    else:
        scale = (1.0, 1.0)
    if source.pixels and declared.image is not None and origin == (0.0, 0.0):
        width, height = (max(n, m * f) for n, m, f in zip(target.size, declared.image, scale, strict=True))
        if max(width / target.size[0], height / target.size[1]) > _LARGER:
            raise ImportFileError(
                f"{path}: of {declared.image[0]} x {declared.image[1]} px of {scale[0]:g} level-0 px each, larger than "
                f"the slide of {target.size[0]} x {target.size[1]} px. Give its slide, or another --downsample."
            )
        return Place(origin, scale, (width, height)), scale
    return Place(origin, scale, target.size), declared.downsample if asked.downsample is None else None


def _origin(source: SourceFile, target: Target, asked: Asked) -> tuple[float, float]:
    if asked.coords is None and source.declared.origin is not None:
        x, y = source.declared.origin
        return float(x), float(y)
    if (asked.coords or source.coords) == "qupath":
        return float(target.bounds.x), float(target.bounds.y)
    return 0.0, 0.0


def _scale_of_image(path: Path, declared: Declared, target: Target) -> tuple[tuple[float, float], bool]:
    """Level-0 px per px of the image a file is of, and whether that is the whole slide and not its scanned part."""
    assert declared.image is not None
    width, height = declared.image
    for whole, size in ((True, target.size), (False, (target.bounds.width, target.bounds.height))):
        if declared.image == size:
            return (1.0, 1.0), whole
        fx, fy = size[0] / width, size[1] / height
        for f in (round(fx), (fx * fy) ** 0.5):
            if f > 0 and abs(size[0] / f - width) <= _ROUNDED and abs(size[1] / f - height) <= _ROUNDED:
                return (float(f), float(f)), whole
    raise ImportFileError(
        f"{path}: is of an image of {width} x {height} px, which is no smaller copy of the slide of {target.size[0]} x "
        f"{target.size[1]} px. Give the slide it is of, or say with --downsample how many level-0 px a px of it is."
    )
