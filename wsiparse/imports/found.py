"""Objects as the files of other programs have them, and where their coordinates lie. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wsiparse.choices import Coords
from wsiparse.errors import ImportFileError

__all__ = ["UNCLASSIFIED", "ClassKey", "Classes", "Collector", "Declared", "Found", "SourceFile", "number_or_nan"]

#: What objects without a class are called.
UNCLASSIFIED: Final = "Unclassified"

#: Objects handed on together.
BATCH: Final = 1 << 13

#: What a file says an object is: one of QuPath's annotations may be either.
DeclaredKind = Literal["cell", "region", "annotation"]

#: Provisional classes are a byte each.
_MOST_CLASSES: Final = 255


class ClassKey(NamedTuple):
    """A class of a file: its name as written, and what its objects are said to be."""

    name: str
    kind: DeclaredKind


class Classes:
    """The classes of all files, numbered as they come; a colour where a file gives one."""

    def __init__(self) -> None:
        self.keys: list[ClassKey] = []
        self.colours: dict[str, str] = {}
        self._number: dict[ClassKey, int] = {}
        self._names: dict[str, str] = {}

    def number(self, name: str, kind: DeclaredKind, colour: str | None = None) -> int:
        """The number of a class, from 1.

        Raises
        ------
        ImportFileError
            If there are more than a byte holds.
        """
        key = ClassKey(name or UNCLASSIFIED, kind)
        found = self._number.get(key)
        if found is None:
            if len(self.keys) == _MOST_CLASSES:
                raise ImportFileError(
                    f"more than {_MOST_CLASSES} classes of objects (the last is {key.name!r}). Give fewer: --rename "
                    "OLD=NEW joins classes under one name."
                )
            self.keys.append(key)
            found = self._number[key] = len(self.keys)
        if colour is not None:
            self.colours.setdefault(key.name, colour)
        return found

    def call(self, name: str, meant: str, colour: str | None = None) -> None:
        """A name that was used before it was known what it stands for: the number of a COCO category."""
        self._names[name] = meant
        if colour is not None:
            self.colours.setdefault(meant, colour)

    def named(self) -> tuple[ClassKey, ...]:
        """The classes by number - 1, called as they are meant."""
        return tuple(ClassKey(self._names.get(key.name, key.name), key.kind) for key in self.keys)


@dataclass(frozen=True, slots=True)
class Declared:
    """What a file says of its coordinates; None where it says nothing.

    Parameters
    ----------
    downsample : level-0 px per px of a grid that all its outlines follow: a label image's, or of our own results
    origin : level-0 px that its coordinates were reduced by
    slide : fingerprint of the slide it is of
    image : (width, height) of the image that its coordinates are px of
    """

    downsample: tuple[float, float] | None = None
    origin: tuple[int, int] | None = None
    slide: str | None = None
    image: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """Some thousand objects of a file, as they are in it.

    Parameters
    ----------
    coords : (V, 2) float64, x then y, px of the file; rings need not be closed
    ring_offsets : (R + 1,) int64
    polygon_offsets : (N + 1,) int64; a point is a ring of one vertex
    class_id : (N,) uint8, number of the class in `Classes`
    score : (N,) float32, probability, NaN where there is none
    first : number of the first of them in the file, for messages
    """

    coords: NDArray[np.float64]
    ring_offsets: NDArray[np.int64]
    polygon_offsets: NDArray[np.int64]
    class_id: NDArray[np.uint8]
    score: NDArray[np.float32]
    first: int = 0

    def __len__(self) -> int:
        return len(self.class_id)


@dataclass(eq=False)
class SourceFile:
    """A file on its way in.

    Parameters
    ----------
    program : what its objects are said to be from, such as "QuPath" or "COCO"
    coords : origin of its coordinates where neither the file nor the user says
    batches : its objects; taken once
    declared : what it says of its coordinates; complete once `batches` has been begun
    left : what is in it beside objects, and how many: lines, empty geometries
    pixels : its outlines follow the pixels of an image
    """

    program: str
    coords: Coords
    batches: Iterator[Found]
    declared: Declared = field(default_factory=Declared)
    left: dict[str, int] = field(default_factory=dict)
    pixels: bool = False

    def leave(self, what: str, n: int = 1) -> None:
        """Count what is left out."""
        self.left[what] = self.left.get(what, 0) + n


class Collector:
    """Rings as lists of points in, batches of arrays out.

    Parameters
    ----------
    source : what error messages call the file
    """

    def __init__(self, source: str) -> None:
        self.source = source
        self._taken = 0
        self._clear()

    def _clear(self) -> None:
        self._points: list[Sequence[float]] = []
        self._rings, self._polygons = [0], [0]
        self._class_id: list[int] = []
        self._score: list[float] = []

    def add(self, rings: Sequence[Sequence[Sequence[float]]], class_id: int, score: float = np.nan) -> None:
        """One object: its shell and holes, [x, y] a point; a point alone is a ring of one.

        Raises
        ------
        ImportFileError
            If the rings are no lists of points.
        """
        try:
            for ring in rings:
                self._points.extend(ring)
                self._rings.append(len(self._points))
        except TypeError:
            raise self._malformed() from None
        self._polygons.append(len(self._rings) - 1)
        self._class_id.append(class_id)
        self._score.append(score)

    @property
    def full(self) -> bool:
        """Whether it is time to `take`."""
        return len(self._class_id) >= BATCH or len(self._points) >= 64 * BATCH

    def take(self) -> Found:
        """What was added since the last time.

        Raises
        ------
        ImportFileError
            If a coordinate is no number.
        """
        first, self._taken = self._taken, self._taken + len(self._class_id)
        found = Found(
            self._array(),
            np.array(self._rings, np.int64),
            np.array(self._polygons, np.int64),
            np.array(self._class_id, np.uint8),
            np.array(self._score, np.float32),
            first,
        )
        self._clear()
        return found

    def _array(self) -> NDArray[np.float64]:
        if not self._points:
            return np.zeros((0, 2))
        try:
            array = np.array(self._points, np.float64)
        except (TypeError, ValueError, OverflowError):
            try:  # some points have a height and some have none
                array = np.array([(point[0], point[1]) for point in self._points], np.float64)
            except (TypeError, ValueError, LookupError, OverflowError):
                raise self._malformed() from None
        if array.ndim != 2 or array.shape[1] < 2:
            raise self._malformed()
        return np.ascontiguousarray(array[:, :2])

    def _malformed(self) -> ImportFileError:
        return ImportFileError(
            f"{self.source}: an outline among objects {self._taken + 1}-{self._taken + len(self._class_id) + 1} is no "
            "list of points [x, y]. Export it again."
        )


def number_or_nan(value: Any) -> float:
    """A probability of a file as a number; NaN for what is none between 0 and 1."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    return float("nan")
